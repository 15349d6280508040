# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay options, in the popover of the sequencer's overlays."""

from __future__ import annotations

import bpy

from ..common.context import get_sequencer_scene
from ..cover.fast_playback import is_available, is_fast_playback_wanted
from .see_through import SEE_THROUGH


class FACEBLUR_PT_overlays(bpy.types.Panel):
    bl_label = "Face Blur"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "HEADER"
    bl_parent_id = "SEQUENCER_PT_overlay"

    def draw(self, context: bpy.types.Context) -> None:
        scene = get_sequencer_scene(context)
        if scene is None:
            return
        column = self.layout.column(align=True)
        column.active = context.space_data.show_overlays
        column.prop(scene.faceblur, "show_overlay")
        column.prop(scene.faceblur, "show_coverage")
        if is_available():
            column.operator("faceblur.fast_playback", depress=is_fast_playback_wanted())
        column.operator("faceblur.see_behind", depress=SEE_THROUGH.on)
