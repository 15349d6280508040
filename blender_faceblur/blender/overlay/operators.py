# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator that makes the covers see-through in the preview."""

from __future__ import annotations

import bpy

from ..common.jobs import redraw
from .see_through import SEE_THROUGH, forget


class FACEBLUR_OT_see_behind(bpy.types.Operator):
    """Show what is behind the covers, in the preview only. Renders stay covered"""

    bl_idname = "faceblur.see_behind"
    bl_label = "See Through Covers"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if SEE_THROUGH.on:
            forget()
        else:
            SEE_THROUGH.on = True
        self.report(
            {"INFO"},
            "Covers are see-through in the preview. Renders stay covered"
            if SEE_THROUGH.on
            else "Covers are shown again",
        )
        redraw()
        return {"FINISHED"}
