# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab in the sidebar of sequencer and preview that contains all panels."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import bpy

from ...core.translation import CONTEXT, translate

_TALL = 2.0
"""Height of a row in a list with pictures, and width and height of a picture in it, in Blender's rows."""


class Tab:
    """Puts a panel into the tab."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Face Blur"
    bl_translation_context = CONTEXT
    guide = ""
    """The page of the guide about the panel, and after # its heading; empty if there is none."""

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        panel: Any = self
        if self.guide:
            panel.layout.operator("faceblur.guide", text="", icon="QUESTION", emboss=False).page = self.guide


def write_lines(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Show a text, translated if a catalogue has it, and wrapped to the width of the sidebar."""
    width = (context.region.width if context.region is not None else 300) / context.preferences.system.ui_scale
    column = layout.column(align=True)
    for number, line in enumerate(_wrap(translate(text), max(int(width / 7.5) - 4, 16))):
        column.label(text=line, icon=icon if number == 0 else ("BLANK1" if icon != "NONE" else "NONE"))


def draw_tall_list(
    layout: bpy.types.UILayout, kind: str, data: Any, items: str, active: str, rows: int, active_data: Any = None
) -> None:
    """Draw a list of the class `kind` whose rows are high enough for pictures.

    `data` has the items, and the number of the active one unless `active_data` has it.

    A higher row inside a list of usual height could be clicked in its upper part only.
    """
    column = layout.column()
    column.scale_y = _TALL
    column.template_list(kind, "", data, items, data if active_data is None else active_data, active, rows=rows)


def draw_picture(row: bpy.types.UILayout, icon: int, otherwise: str) -> None:
    """Put a picture, or the icon `otherwise` if its number is 0, into a row of a tall list."""
    if not icon:
        row.label(text="", icon=otherwise)
        return
    square = row.column()
    # The whole list is scaled, and the picture has the height of its rows by itself.
    square.scale_y = 1 / _TALL
    square.template_icon(icon_value=icon, scale=_TALL)


def _wrap(text: str, width: int) -> Iterable[str]:
    return textwrap.wrap(text, width) or [""]
