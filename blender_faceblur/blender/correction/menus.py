# SPDX-License-Identifier: GPL-3.0-or-later
"""The menus of corrections."""

from __future__ import annotations

import bpy

from ...core.translation import mark, translate
from ..common.context import get_sequencer_scene


class FACEBLUR_MT_correct(bpy.types.Menu):
    bl_label = "Correct Face"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for name in (
            "follow",
            "begin_here",
            "end_here",
            "split_face",
            "merge_faces",
            "clear_key",
            "lock_face",
            "delete_face",
        ):
            layout.operator(f"faceblur.{name}")
        layout.menu("FACEBLUR_MT_switch_off")
        layout.menu("FACEBLUR_MT_switch_on")
        layout.operator_menu_enum("faceblur.add", "kind", text="Add")


def draw_pie(layout: bpy.types.UILayout, context: bpy.types.Context, face: str) -> None:
    """The pie menu of a face, whose name is its title; of the picture if `face` is empty."""
    pie = layout.menu_pie()
    settings = get_sequencer_scene(context).faceblur
    if face:
        pie.operator("faceblur.begin_here", icon="TRIA_RIGHT_BAR")
        pie.operator("faceblur.end_here", icon="TRIA_LEFT_BAR")
        pie.operator("faceblur.follow", icon="TRACKING").direction = "BOTH"
        pie.menu("FACEBLUR_MT_correct", text="More")
        off = pie.operator("faceblur.switch_face", text="Off in This Frame", icon="CHECKBOX_DEHLT")
        off.action, off.where = "OFF", "FRAME"
        off = pie.operator("faceblur.switch_face", text="Off in Whole Film", icon="CHECKBOX_DEHLT")
        off.action, off.where = "OFF", "FILM"
        pie.operator("faceblur.split_face", icon="SNAP_MIDPOINT")
        pie.operator("faceblur.delete_face", icon="TRASH")
        return
    pie.operator("faceblur.review_previous", icon="TRIA_LEFT")
    pie.operator("faceblur.review_next", icon="TRIA_RIGHT")
    pie.operator("faceblur.see_behind", icon="XRAY")
    add = pie.operator("faceblur.add", text="Add Face", icon="USER")
    add.kind, add.extent = "FACE", settings.extent
    pie.operator("faceblur.add", text="Never Blur Here", icon="CANCEL").kind = "NEVER"
    add = pie.operator("faceblur.add", text="Add Region", icon="SELECT_SET")
    add.kind, add.extent = "REGION", settings.extent


def draw_face_menu(layout: bpy.types.UILayout) -> None:
    """All corrections of the active face, whose name is the menu's title."""
    for where, text in WHERE:
        off = layout.operator("faceblur.switch_face", text=translate("Switch Off in {text}", text=translate(text)))
        off.action, off.where = "OFF", where
    layout.menu("FACEBLUR_MT_switch_on", text="Switch On")
    layout.separator()
    layout.operator("faceblur.follow", icon="TRACKING").direction = "BOTH"
    for name in ("begin_here", "end_here", "split_face", "merge_faces", "clear_key", "lock_face"):
        layout.operator(f"faceblur.{name}")
    layout.separator()
    layout.operator("faceblur.delete_face", icon="TRASH")


def draw_off_menu(layout: bpy.types.UILayout) -> None:
    for where, text in WHERE:
        off = layout.operator("faceblur.switch_face", text=text)
        off.action, off.where = "OFF", where


WHERE = mark((("FRAME", "This Frame"), ("RANGE", "Preview Range"), ("FILM", "Whole Film")))
