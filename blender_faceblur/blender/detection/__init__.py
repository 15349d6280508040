# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect faces in strips."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room's classes with Blender."""
    from . import new_footage, panels

    for item in _list_classes():
        bpy.utils.register_class(item)
    new_footage.register_handlers()
    panels.add_new_footage()


def unregister() -> None:
    from . import new_footage, panels

    panels.remove_new_footage()
    new_footage.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators, panels

    return (*operators.CLASSES, panels.FACEBLUR_PT_classes)
