# SPDX-License-Identifier: GPL-3.0-or-later
"""Cover the faces of a strip, with node groups, effects, modifiers and mask strips."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room's classes and handlers with Blender, before the rooms whose panels are in its panel."""
    from . import fast_playback, handlers

    for item in _list_classes():
        bpy.utils.register_class(item)
    handlers.register_handlers()
    fast_playback.register_handlers()


def unregister() -> None:
    from . import fast_playback, handlers

    fast_playback.unregister_handlers()
    handlers.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators, panels

    return (
        operators.FACEBLUR_OT_apply,
        operators.FACEBLUR_OT_remove,
        panels.FACEBLUR_PT_main,
        panels.FACEBLUR_PT_messages,
    )
