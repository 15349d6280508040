# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators Edit Masks and Back to the Film."""

from __future__ import annotations

import bpy

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.selection import get_active_footage, is_busy, refuse
from ...cover.strips import get_mask
from ..edit_masks import close_masks, get_helper, open_masks


class FACEBLUR_OT_edit_masks(bpy.types.Operator):
    """Edit the mask of the active strip with Blender's own tools, over its footage, with its keys in the Dope Sheet"""

    bl_idname = "faceblur.edit_masks"
    bl_label = "Edit Masks"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        if get_helper() is not None:
            return refuse(cls, "A mask is already being edited. Use Back to the Film first")
        return get_mask(get_active_footage(context)) is not None or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            helper = open_masks(get_sequencer_scene(context), get_active_footage(context), context.window)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(
            {"INFO"},
            translate(
                "Mask frame {frame_current}. Move points and press I to set a key", frame_current=helper.frame_current
            ),
        )
        return {"FINISHED"}


class FACEBLUR_OT_back_from_masks(bpy.types.Operator):
    """Go back to the film. Edits of the mask become locked keys, which no later detection moves"""

    bl_idname = "faceblur.back_from_masks"
    bl_label = "Back to the Film"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_helper() is not None or refuse(cls, "No mask is being edited")

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            changed = close_masks()
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            # The helper scene was removed in spite of the error.
            return {"FINISHED"}
        if not bpy.app.background:
            refresh_shown_sequencers()
        self.report(
            {"INFO"}, translate("{faces} changed", faces=count(changed, "face")) if changed else "No face was changed"
        )
        return {"FINISHED"}
