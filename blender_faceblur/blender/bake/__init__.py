# SPDX-License-Identifier: GPL-3.0-or-later
"""Baked covers: films that contain the covers, in the place of covered sources."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register the classes and handlers of this room."""
    from . import handlers

    for item in _list_classes():
        bpy.utils.register_class(item)
    handlers.register_handlers()


def unregister() -> None:
    from . import handlers

    handlers.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators, panels

    return (*operators.CLASSES, *panels.CLASSES)
