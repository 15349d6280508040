# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu Strip > Face Blur, through which the menu search finds what the tab offers, with its shortcuts."""

from __future__ import annotations

import bpy


class FACEBLUR_MT_strip(bpy.types.Menu):
    bl_label = "Face Blur"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("faceblur.detect", icon="VIEWZOOM")
        layout.operator("faceblur.apply", text="Update Face Blur")
        layout.operator("faceblur.remove", text="Remove Face Blur")
        layout.separator()
        layout.menu("FACEBLUR_MT_correct")
        layout.menu("FACEBLUR_MT_review")
        layout.operator("faceblur.check", text="Check Before Rendering")
        layout.operator("faceblur.render")
        layout.operator("faceblur.must_be_covered")
        layout.operator("faceblur.leave_uncovered")
        layout.operator("faceblur.bake")
        layout.operator("faceblur.unbake")
        layout.operator("faceblur.delete_unused_bakes")
        layout.operator("faceblur.export_covered")
        layout.operator("faceblur.export_timeline")
        layout.operator("faceblur.export_masks")
        layout.operator("faceblur.verify")
        layout.operator("faceblur.report")
        layout.separator()
        layout.operator("faceblur.decide_on_faces")
        layout.operator("faceblur.recognise_faces")
        layout.operator("faceblur.apply_people")
        layout.operator("faceblur.go_to_face")
        layout.operator_menu_enum("faceblur.switch_faces", "action")
        layout.separator()
        layout.operator("faceblur.open_workspace")
        layout.operator("faceblur.guide", icon="HELP")


def add_menu() -> None:
    bpy.types.SEQUENCER_MT_strip.append(_draw)
    bpy.types.TOPBAR_MT_file_export.append(_draw_export)


def remove_menu() -> None:
    bpy.types.TOPBAR_MT_file_export.remove(_draw_export)
    bpy.types.SEQUENCER_MT_strip.remove(_draw)


def _draw(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu("FACEBLUR_MT_strip")


def _draw_export(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator("faceblur.export_timeline", text="Covered Timeline (.otio)")
    self.layout.operator("faceblur.export_masks", text="Face Masks (.setting, .jsx, .py)")
