# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu of corrections."""

from __future__ import annotations

import bpy


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
