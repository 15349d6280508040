# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators that show covers otherwise in the preview: see-through, or plain while it plays."""

from __future__ import annotations

import bpy

from ...core.translation import translate
from ..common.jobs import redraw
from ..cover.fast_playback import is_available, is_fast_playback_wanted, set_fast_playback
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


class FACEBLUR_OT_fast_playback(bpy.types.Operator):
    """While the preview plays, draw plain shapes over the faces instead of computing the covers, which takes longer"""

    bl_idname = "faceblur.fast_playback"
    bl_label = "Fast Playback"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not is_available():
            cls.poll_message_set(translate("Blender can do that from version 5.2 on"))
        return is_available()

    def execute(self, context: bpy.types.Context) -> set[str]:
        set_fast_playback(not is_fast_playback_wanted())
        self.report(
            {"INFO"},
            "Playing shows plain shapes; a standing picture and renders have the covers"
            if is_fast_playback_wanted()
            else "Playing shows the covers themselves",
        )
        redraw()
        return {"FINISHED"}
