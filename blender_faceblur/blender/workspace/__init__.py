# SPDX-License-Identifier: GPL-3.0-or-later
"""The workspace "Face Blur", which is built by code when an editor asks for it."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room's classes and its entry in File > New."""
    from . import operators

    for item in _list_classes():
        bpy.utils.register_class(item)
    operators.add_entry()


def unregister() -> None:
    from . import operators

    operators.remove_entry()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators

    return operators.CLASSES
