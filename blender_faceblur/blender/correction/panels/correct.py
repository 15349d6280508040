# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels in which an editor corrects the active face, adds missed faces and brings back ignored ones."""

from __future__ import annotations

import bpy

from ....core.review.overview import TrackOverview
from ....core.translation import translate
from ....core.types import TrackKind, TrackStatus
from ....reporting.wording import describe_status
from ...common.context import get_sequencer_scene
from ...common.panels import Tab, write_lines
from ...common.selection import get_active_footage
from ...cover.strips import get_mask
from ...masks.overlay_cache import get_cached
from ...overlay import see_through

_MOST_IGNORED = 30


class FACEBLUR_PT_correct(Tab, bpy.types.Panel):
    bl_label = "Correct"
    guide = "editing#correct"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_mask(get_active_footage(context)) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, get_sequencer_scene(context).faceblur
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
        column.prop(settings, "extent", text="")
        row = column.row(align=True)
        for kind, text, icon in (("FACE", "Add Face", "USER"), ("REGION", "Add Region", "SELECT_SET")):
            add = row.operator("faceblur.add", text=text, icon=icon)
            add.kind, add.extent = kind, settings.extent
        column.operator("faceblur.add", text="Never Blur Here", icon="CANCEL").kind = "NEVER"
        layout.operator("faceblur.detect", text="Detect in Preview Range", icon="PREVIEW_RANGE").in_range = True
        row = layout.row(align=True)
        row.prop(settings, "show_handles", toggle=True, icon="GIZMO")
        row.operator("faceblur.see_behind", text="See Through", depress=see_through.SEE_THROUGH.on, icon="HIDE_OFF")


class FACEBLUR_PT_left_out(Tab, bpy.types.Panel):
    """The tracks that are not covered because the program suppressed them or an editor deleted them."""

    bl_label = "Ignored"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)
    bl_order = 4

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
