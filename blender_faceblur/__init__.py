# SPDX-License-Identifier: GPL-3.0-or-later
"""Face Blur: detects, tracks and covers faces in Blender's Video Sequence Editor and on the command line."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .blender import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from .blender import registration

    registration.unregister()
