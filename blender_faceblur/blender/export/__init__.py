# SPDX-License-Identifier: GPL-3.0-or-later
"""The export of covered footage, and the rendering of strips to footage."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register the classes of this room."""
    for item in _list_classes():
        bpy.utils.register_class(item)


def unregister() -> None:
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators

    return (*operators.CLASSES,)
