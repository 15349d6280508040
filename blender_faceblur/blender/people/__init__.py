# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a scene: who is who, who stays clear, and what is decided of them."""

from __future__ import annotations

import bpy


def register() -> None:
    """Tell Blender of this room: before the scene's settings, which hold `FACEBLUR_PG_people`, and after the tab."""
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
    # Imported late: the settings of a scene need the properties, and the panels need those settings.
    from . import operators, panels, properties

    return (*properties.GROUPS, *operators.CLASSES, *panels.CLASSES)
