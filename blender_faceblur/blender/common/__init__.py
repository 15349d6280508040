# SPDX-License-Identifier: GPL-3.0-or-later
"""What all rooms of the extension share: strips, jobs, selection, and the tab and menu they add to."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room's classes, handlers and menu with Blender."""
    from . import handlers, menus

    for item in _list_classes():
        bpy.utils.register_class(item)
    handlers.register_handlers()
    menus.add_menu()


def unregister() -> None:
    from . import handlers, menus

    menus.remove_menu()
    handlers.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import menus, operators

    return (operators.FACEBLUR_OT_guide, operators.FACEBLUR_OT_announce, menus.FACEBLUR_MT_strip)
