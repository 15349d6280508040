# SPDX-License-Identifier: GPL-3.0-or-later
"""The correction of tracks by an editor: in the preview, in the list, and with Blender's own mask tools."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register the classes, handlers and buttons of this room."""
    from . import edit_masks, panels, status

    for item in _list_classes():
        bpy.utils.register_class(item)
    edit_masks.register_handlers()
    panels.edit_masks.add_buttons()
    status.add_hints()


def unregister() -> None:
    from . import edit_masks, panels, status

    status.remove_hints()
    panels.edit_masks.remove_buttons()
    edit_masks.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import gizmos, menus, operators, panels

    return (*operators.CLASSES, *panels.CLASSES, *gizmos.CLASSES, menus.FACEBLUR_MT_correct)
