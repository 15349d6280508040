# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences."""

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
    from . import operators, properties

    return (
        properties.FACEBLUR_AP_preferences,
        operators.FACEBLUR_OT_forget_analyses,
        operators.FACEBLUR_OT_find_provider,
    )
