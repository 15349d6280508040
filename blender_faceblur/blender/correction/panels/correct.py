# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels in which an editor corrects the active face, adds missed faces and brings back ignored ones."""

from __future__ import annotations

import bpy

from ....core.review.overview import TrackOverview
from ....core.translation import translate
from ....core.types import TrackKind, TrackStatus
from ....reporting.wording import describe_status
from ...common.context import get_sequencer_scene
from ...common.footage import compute_source_frame, describe_frames
from ...common.panels import Tab, write_lines
from ...common.selection import get_active_footage
from ...cover.strips import get_mask
from ...masks.faces import describe_origin, is_face, read_face
from ...masks.overlay_cache import get_cached
from ...masks.record import MaskRecord
from ...overlay import see_through

_MOST_IGNORED = 30


class FACEBLUR_PT_correct(Tab, bpy.types.Panel):
    bl_label = "Correct"
    guide = "editing#correct"
    bl_parent_id = "FACEBLUR_PT_faces"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_mask(get_active_footage(context)) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, get_sequencer_scene(context)
        settings, strip = scene.faceblur, get_active_footage(context)
        mask = get_mask(strip)
        _draw_active(layout, context, strip, mask)
        column = layout.column(align=True)
        row = column.row(align=True)
        row.operator("faceblur.follow_step", text="", icon="TRIA_LEFT").direction = "BACKWARD"
        row.operator("faceblur.follow", icon="TRACKING").direction = "BOTH"
        row.operator("faceblur.follow_step", text="", icon="TRIA_RIGHT").direction = "FORWARD"
        row = column.row(align=True)
        row.operator("faceblur.begin_here", icon="TRIA_RIGHT_BAR")
        row.operator("faceblur.end_here", icon="TRIA_LEFT_BAR")
        row = column.row(align=True)
        row.operator("faceblur.split_face", text="Split", icon="SNAP_MIDPOINT")
        row.operator("faceblur.merge_faces", icon="LINKED")
        row = column.row(align=True)
        row.menu("FACEBLUR_MT_switch_off", text="Off", icon="CHECKBOX_DEHLT")
        row.menu("FACEBLUR_MT_switch_on", text="On", icon="CHECKBOX_HLT")
        row = column.row(align=True)
        row.operator("faceblur.clear_key", icon="KEY_DEHLT")
        row.operator("faceblur.delete_face", text="Delete", icon="TRASH")
        column = layout.column(align=True)
        column.prop(settings, "extent")
        row = column.row(align=True)
        for kind, text, icon in (("FACE", "Add Face", "USER"), ("REGION", "Add Region", "SELECT_SET")):
            add = row.operator("faceblur.add", text=text, icon=icon)
            add.kind, add.extent = kind, settings.extent
        column.operator("faceblur.add", text="Never Blur Here", icon="CANCEL").kind = "NEVER"
        layout.operator("faceblur.detect", text="Detect in Preview Range", icon="PREVIEW_RANGE").in_range = True
        row = layout.row(align=True)
        row.prop(settings, "show_handles", toggle=True, icon="GIZMO")
        row.operator("faceblur.see_behind", text="See Through", depress=see_through.SEE_THROUGH.on, icon="HIDE_OFF")
        layout.operator("faceblur.edit_masks", icon="MOD_MASK")
        frame = compute_source_frame(strip, scene.frame_current, mask.frame_end - mask.frame_start)
        if frame is not None and mask.frame_start + frame != scene.frame_current:
            layout.label(text=translate("Frame in the Mask editor: {frame}", frame=mask.frame_start + frame))


def _draw_active(
    layout: bpy.types.UILayout, context: bpy.types.Context, strip: bpy.types.Strip, mask: bpy.types.Mask
) -> None:
    """Name, lock, time and origin of the active face."""
    active, record = mask.layers.active, MaskRecord.load(mask)
    if active is None or not is_face(record, active.name):
        return
    face = read_face(record, active.name)
    box = layout.box().column(align=True)
    row = box.row(align=True)
    row.label(text=active.name)
    overview = get_cached(mask).overview
    track_overview = overview.tracks.get(face.track) if overview is not None else None
    if track_overview is not None:
        row.operator("faceblur.lock_face", text="", icon="LOCKED" if track_overview.locked else "UNLOCKED")
    if face.spans:
        parts = translate(" in {spans} parts", spans=len(face.spans)) if len(face.spans) > 1 else ""
        length = max(mask.frame_end - mask.frame_start, 1)
        box.label(text=describe_frames(strip, face.spans[0][0], face.spans[-1][1], length) + parts)
    write_lines(box, context, describe_origin(face))


class FACEBLUR_PT_left_out(Tab, bpy.types.Panel):
    """The tracks that are not covered because the program suppressed them or an editor deleted them."""

    bl_label = "Ignored"
    bl_parent_id = "FACEBLUR_PT_faces"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_list_ignored(context))

    def draw(self, context: bpy.types.Context) -> None:
        ignored = _list_ignored(context)
        for track_overview in ignored[:_MOST_IGNORED]:
            row = self.layout.row(align=True)
            row.label(text=f"{track_overview.name}: {describe_status(track_overview)}")
            if track_overview.kind is not TrackKind.NEVER:
                row.operator("faceblur.bring_back", text="", icon="LOOP_BACK").name = track_overview.name
            row.operator("faceblur.go_to_frame", text="", icon="VIEWZOOM").source_frame = track_overview.spans[0]
        if len(ignored) > _MOST_IGNORED:
            write_lines(
                self.layout, context, translate("and {ignored} more: see Review", ignored=len(ignored) - _MOST_IGNORED)
            )


def _list_ignored(context: bpy.types.Context) -> list[TrackOverview]:
    """The uncovered tracks of the active strip, except those of people who stay visible (see the panel People)."""
    mask = get_mask(get_active_footage(context))
    overview = get_cached(mask).overview if mask is not None else None
    aside = overview.uncovered if overview is not None else []
    return [track_overview for track_overview in aside if track_overview.status is not TrackStatus.ALLOWED]


class _Switch:
    action = ""

    def draw(self, context: bpy.types.Context) -> None:
        menu: bpy.types.Menu = self
        for where, text in (("FRAME", "This Frame"), ("RANGE", "Preview Range"), ("FILM", "Whole Film")):
            entry = menu.layout.operator("faceblur.switch_face", text=text)
            entry.action, entry.where = self.action, where


class FACEBLUR_MT_switch_off(_Switch, bpy.types.Menu):
    bl_label = "Switch Off"
    action = "OFF"


class FACEBLUR_MT_switch_on(_Switch, bpy.types.Menu):
    bl_label = "Switch On"
    action = "ON"


CLASSES = (FACEBLUR_PT_correct, FACEBLUR_PT_left_out, FACEBLUR_MT_switch_off, FACEBLUR_MT_switch_on)
