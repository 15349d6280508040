# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel with Bake Covers and Unbake."""

from __future__ import annotations

import bpy

from ..common.context import get_sequencer_scene
from ..common.jobs import JOB
from ..common.panels import Tab


class FACEBLUR_PT_bake(Tab, bpy.types.Panel):
    bl_label = "Bake"
    guide = "editing#bake-covers"
    bl_parent_id = "FACEBLUR_PT_guard"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.enabled = not JOB.active
        row = layout.row(align=True)
        row.operator("faceblur.bake", icon="RENDER_ANIMATION")
        row.operator("faceblur.unbake", icon="LOOP_BACK")
        layout.operator("faceblur.export_timeline", icon="EXPORT")
        layout.operator("faceblur.delete_unused_bakes", icon="TRASH")


CLASSES = (FACEBLUR_PT_bake,)
