# SPDX-License-Identifier: GPL-3.0-or-later
"""Face Blur: finds, follows and covers faces in Blender's Video Sequence Editor, and from the command line."""


def register() -> None:
    """Called by Blender when the extension is switched on."""
    from .blender import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
    from .blender import registration

    registration.unregister()
