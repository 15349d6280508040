# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect faces in strips."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room's classes with Blender."""
    for item in _list_classes():
        bpy.utils.register_class(item)


def unregister() -> None:
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators, panels

    return (operators.FACEBLUR_OT_detect, operators.FACEBLUR_OT_cancel, panels.FACEBLUR_PT_classes)
