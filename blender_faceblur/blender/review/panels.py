# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel of the review, and the mark in the preview that shows where to look."""

from __future__ import annotations

import bpy
import numpy as np

from ...core.geometry import Array
from ...core.review.queue import estimate_left
from ...core.translation import translate
from ...core.types import Box
from ...reporting.progress import describe_time
from ...reporting.wording import VERDICTS, describe_place
from ..common.context import DrawHandlers, get_sequencer_scene
from ..common.footage import compute_source_frame, describe_frames
from ..common.panels import Tab, write_lines
from ..common.selection import get_active_footage
from ..cover.projection import get_projection, get_region_projection
from ..cover.strips import get_mask
from .queue import PACE, count_left, get_current, get_number, list_queue
from .status import describe_left
from .watched import describe_watch

_CORNER = 0.25
"""Length of a corner's lines, as a share of the box's side."""


class FACEBLUR_PT_review(Tab, bpy.types.Panel):
    bl_label = "Review"
    guide = "editing#review"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 3
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_mask(get_active_footage(context)) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene, strip = self.layout, get_sequencer_scene(context), get_active_footage(context)
        mask = get_mask(strip)
        left, items = count_left(scene), list_queue(scene)
        if left:
            layout.label(text=describe_left(scene, left), icon="QUESTION")
            time = describe_time(estimate_left(left, PACE.seconds_each))
            layout.label(text=translate("About {time} for all strips", time=time), icon="TIME")
        else:
            layout.label(text="All items are reviewed" if items else "Nothing to review", icon="CHECKMARK")
        entry = get_current(mask)
        layout.operator("faceblur.review", icon="PLAY")
        # The text of an item has a varying number of lines. It comes last, so that the buttons stay under the mouse.
        column = layout.column(align=True)
        row = column.row(align=True)
        row.operator("faceblur.review_previous", text="Previous", icon="TRIA_LEFT")
        row.operator("faceblur.review_next", text="Next" if entry is not None else "Begin", icon="TRIA_RIGHT")
        row = column.row(align=True)
        row.operator("faceblur.review_fine", icon="CHECKMARK")
        row.operator("faceblur.review_fix", icon="GREASEPENCIL")
        row = column.row(align=True)
        row.operator("faceblur.review_off", icon="CHECKBOX_DEHLT")
        row.operator("faceblur.review_cover", icon="CHECKBOX_HLT")
        watched = describe_watch(scene)
        if watched:
            row = column.row(align=True)
            row.label(text=watched)
            row.operator("faceblur.watch_next", icon="PLAY")
        if entry is not None:
            box = layout.box().column(align=True)
            number = get_number(items, strip)
            row = box.row()
            row.label(
                text=translate("{number} of {entries} in all strips", number=number, entries=len(items))
                if number
                else "Not in this timeline"
            )
            if entry.verdict:
                row.label(
                    text=translate(VERDICTS[entry.verdict])
                    + (translate(", by {reviewer}", reviewer=entry.reviewer) if entry.reviewer else ""),
                    icon="CHECKMARK",
                )
            write_lines(box, context, describe_place(entry))
            if entry.pile is not None:
                box.operator("faceblur.review_open", icon="PRESET")
            box.label(text=describe_frames(strip, entry.start, entry.stop, max(mask.frame_end - mask.frame_start, 1)))


_HANDLERS = DrawHandlers("PREVIEW")


def add_mark() -> None:
    _HANDLERS.add(_draw_mark)


def remove_mark() -> None:
    _HANDLERS.remove_all()


def get_mark(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Box | None:
    """The current item's box, in source pixels, if it has no cover at the playhead; else None.

    A covered track needs no mark, as its handles show where to look. Only the frame of the item itself is marked, if
    that lies just before the track begins or just after it ends.
    """
    mask = get_mask(strip)
    entry = get_current(mask) if mask is not None else None
    if entry is None:
        return None
    frame = compute_source_frame(strip, scene.frame_current, max(mask.frame_end - mask.frame_start, 1))
    inside = frame is not None and entry.start <= frame < entry.stop
    return entry.box if (frame == entry.frame and not inside if entry.covered else inside) else None


def _draw_mark() -> None:
    """Draw handler, called by Blender for each preview."""
    context = bpy.context
    scene, space = get_sequencer_scene(context), context.space_data
    if scene is None or not scene.faceblur.show_overlay or not space.show_overlays or space.display_mode != "IMAGE":
        return
    strip = get_active_footage(context)
    box = get_mark(scene, strip) if strip is not None else None
    if box is not None:
        corners = np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])])
        projection = get_projection(scene, strip)
        _put_corners(
            get_region_projection(context.region).project(projection.project(corners)),
            context.preferences.system.ui_scale,
        )


def _put_corners(corners: Array, unit: float) -> None:
    """Draw the corners of a box (4 x 2, in region pixels). `unit` is the scale of the user interface."""
    import gpu
    from gpu_extras.batch import batch_for_shader

    ends = [corners + _CORNER * (np.roll(corners, step, axis=0) - corners) for step in (1, -1)]
    points = np.stack([corners, ends[0], corners, ends[1]], axis=1).reshape(-1, 2).astype(np.float32)
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    gpu.state.blend_set("ALPHA")
    for color, width in (((0.0, 0.0, 0.0, 0.6), 5.0), ((1.0, 1.0, 1.0, 1.0), 2.5)):
        shader.uniform_float("lineWidth", width * unit)
        shader.uniform_float("color", color)
        batch_for_shader(shader, "LINES", {"pos": points}).draw(shader)
    gpu.state.blend_set("NONE")
