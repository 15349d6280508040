# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of what stands between a film and its render."""

from __future__ import annotations

import bpy

from ..context import find_sequencer_scene
from ..running import STATE
from .panels import Tab, write_lines


class FACEBLUR_PT_guard(Tab, bpy.types.Panel):
    bl_label = "Before Rendering"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 6

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        row = layout.row(align=True)
        row.operator("faceblur.check", icon="VIEWZOOM")
        row.operator("faceblur.repair", icon="TOOL_SETTINGS")
        for fault in STATE.faults:
            box = layout.box()
            row = box.row(align=True)
            row.label(text=fault.strip, icon="ERROR" if fault.shows else "INFO")
            if fault.repair:
                row.operator("faceblur.repair", text="", icon="TOOL_SETTINGS").strip = fault.strip
            row.operator("faceblur.go_to_fault", text="", icon="VIEWZOOM").strip = fault.strip
            write_lines(box, context, fault.text)
        layout.operator("faceblur.must_be_covered", icon="LOCKED")
        layout.operator("faceblur.render", icon="RENDER_ANIMATION")


CLASSES = (FACEBLUR_PT_guard,)
