# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel with which an editor goes through the doubtful places."""

from __future__ import annotations

import bpy

from ...core.review import VERDICTS, estimate_left
from ...progress import count, describe_time
from ..context import find_sequencer_scene
from ..cover import find_mask
from ..operators.selection import find_active_footage
from ..review import PACE, count_left, find_current, list_places
from .panels import Tab, write_lines


class FACEBLUR_PT_review(Tab, bpy.types.Panel):
    bl_label = "Review"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 3

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find_mask(find_active_footage(context)) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene, strip = self.layout, find_sequencer_scene(context), find_active_footage(context)
        mask = find_mask(strip)
        left, places = count_left(scene), list_places(strip, mask)
        if left:
            layout.label(text=f"{count(left, 'doubtful place')} left, about "
                              f"{describe_time(estimate_left(left, PACE.each))}", icon="QUESTION")
        else:
            layout.label(text="All doubtful places are judged" if places else "No doubtful places", icon="CHECKMARK")
        place = find_current(mask)
        if place is not None:
            box = layout.box().column(align=True)
            number = next((n for n, other in enumerate(places, 1) if other.key == place.key), 0)
            row = box.row()
            row.label(text=f"{number} of {len(places)} in this strip" if number else "Not in this strip")
            if place.verdict:
                row.label(text=VERDICTS[place.verdict], icon="CHECKMARK")
            write_lines(box, context, place.sentence)
            box.label(text=f"Source frames {place.start} to {place.stop - 1}" if place.stop - place.start > 1
                      else f"Source frame {place.start}")
        row = layout.row(align=True)
        row.operator("faceblur.review_previous", text="Previous", icon="TRIA_LEFT")
        row.operator("faceblur.review_next", text="Next" if place is not None else "Begin", icon="TRIA_RIGHT")
        if place is None:
            return
        column = layout.column(align=True)
        row = column.row(align=True)
        row.scale_y = 1.2
        row.operator("faceblur.review_fine", icon="CHECKMARK")
        row.operator("faceblur.review_fix", icon="GREASEPENCIL")
        row = column.row(align=True)
        row.operator("faceblur.review_off", icon="HIDE_OFF")
        row.operator("faceblur.review_cover", icon="HIDE_ON")
