# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails of the tracked faces."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room's classes and handlers with Blender."""
    from . import store

    for item in _list_classes():
        bpy.utils.register_class(item)
    store.register_handlers()


def unregister() -> None:
    from . import store

    store.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators

    return (*operators.CLASSES,)
