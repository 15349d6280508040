# SPDX-License-Identifier: GPL-3.0-or-later
"""Face Blur: finds, follows and covers faces in Blender's Video Sequence Editor, and from the command line."""


def register() -> None:
    """Called by Blender when the extension is switched on."""
    from .blender.alignment import register_handlers

    register_handlers()


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
    from .blender.alignment import unregister_handlers

    unregister_handlers()
