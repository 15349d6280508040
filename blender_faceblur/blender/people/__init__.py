# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a scene: whose face each track is, who stays visible, and how that is applied."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register this room, after the tab and before the scene's settings, which hold `FACEBLUR_PG_people`."""
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
    # Imported late, as the scene's settings import the properties and the panels import those settings.
    from . import operators, panels, properties

    return (*properties.GROUPS, *operators.CLASSES, *panels.CLASSES)
