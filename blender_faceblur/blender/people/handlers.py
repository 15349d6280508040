# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget people and their faces when another project is opened or the extension is disabled."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from ..common.context import DrawHandlers
from .cache import SHOWN_FACES
from .contact_sheet import SHEETS, make_next
from .forgetting import forget
from .memory import MEMORY
from .sheet import SHEET, draw_sheet

_DRAWN = (DrawHandlers("PREVIEW"), DrawHandlers("WINDOW"))


@persistent
def _forget_project(*_: object) -> None:
    forget()
    SHOWN_FACES.by_scene.clear()
    SHEETS.forget()
    SHEET.close()


def _draw() -> None:
    """Draw handler, called by Blender for each preview and timeline."""
    draw_sheet(bpy.context)


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_forget_project)
    for drawn in _DRAWN:
        drawn.add(_draw)


def unregister_handlers() -> None:
    for drawn in _DRAWN:
        drawn.remove_all()
    SHEET.close()
    bpy.app.handlers.load_pre.remove(_forget_project)
    if bpy.app.timers.is_registered(make_next):
        bpy.app.timers.unregister(make_next)
    forget()
    MEMORY.weights = None
