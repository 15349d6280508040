# SPDX-License-Identifier: GPL-3.0-or-later
"""Make thumbnails of the faces for the list, and delete them."""

from __future__ import annotations

import bpy

from ...core.translation import count, translate
from ...core.types import FaceBlurError
from ..common.context import get_sequencer_scene
from ..common.jobs import redraw
from ..common.selection import get_active_footage, refuse
from ..cover.strips import get_mask
from . import store as thumbnails


class FACEBLUR_OT_make_thumbnails(bpy.types.Operator):
    """Show thumbnails of the active strip's faces in the list. They are kept in memory only and never saved"""

    bl_idname = "faceblur.make_thumbnails"
    bl_label = "Make Thumbnails"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if thumbnails.is_running():
            return refuse(cls, "The thumbnails are being made")
        return get_mask(get_active_footage(context)) is not None or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            making = thumbnails.start(get_sequencer_scene(context), get_active_footage(context))
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(
            {"INFO"},
            translate("Making {thumbnails}", thumbnails=count(making, "thumbnail"))
            if making
            else "All faces have thumbnails",
        )
        return {"FINISHED"}


class FACEBLUR_OT_forget_thumbnails(bpy.types.Operator):
    """Remove the thumbnails of faces from memory"""

    bl_idname = "faceblur.forget_thumbnails"
    bl_label = "Forget Thumbnails"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        self.report({"INFO"}, translate("{thumbnails} deleted", thumbnails=count(thumbnails.forget(), "thumbnail")))
        redraw()
        return {"FINISHED"}


CLASSES = (FACEBLUR_OT_make_thumbnails, FACEBLUR_OT_forget_thumbnails)
