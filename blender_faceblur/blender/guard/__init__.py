# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard, which checks every cover before a render, and the verification of a finished film."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room, after the rooms that prepare a render, as the guard must not report what they fix."""
    from . import handlers, rendered

    for item in _list_classes():
        bpy.utils.register_class(item)
    handlers.register_handlers()
    rendered.register_handlers()


def unregister() -> None:
    from . import handlers, rendered

    rendered.unregister_handlers()
    handlers.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators, panels

    return (*operators.CLASSES, *panels.CLASSES)
