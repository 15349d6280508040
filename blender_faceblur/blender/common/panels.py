# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab in the sidebar of sequencer and preview that contains all panels."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import bpy

from ...core.translation import CONTEXT, translate


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


def _wrap(text: str, width: int) -> Iterable[str]:
    return textwrap.wrap(text, width) or [""]
