# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the editor's choice of people to the covers, and forget all people."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.jobs import JOB, redraw
from ...common.selection import is_busy, refuse
from ...review.queue import list_covered
from ...thumbnails import store as thumbnails
from ..decisions import apply_people
from ..forgetting import forget_everything
from ..memory import list_masks


class FACEBLUR_OT_apply_people(bpy.types.Operator):
    """Blur everyone except the people who surely stay visible. Uncertain faces stay blurred and are listed in Review"""

    bl_idname = "faceblur.apply_people"
    bl_label = "Apply People"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = get_sequencer_scene(context)
        return (scene is not None and next(list_covered(scene), None) is not None) or refuse(
            cls, "No strip is covered: Detect Faces first"
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        try:
            applied = apply_people(scene)
        except FaceBlurError as error:
            JOB.problems = [str(error)]
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        JOB.problems = []
        if not bpy.app.background:
            refresh_shown_sequencers()
        more = (
            translate(", {items} to review", items=count(applied.review_items, "item")) if applied.review_items else ""
        )
        self.report(
            {"INFO"},
            translate(
                "{clear} of {faces} stay visible{more}",
                clear=applied.clear,
                faces=count(applied.tracks, "face"),
                more=more,
            ),
        )
        return {"FINISHED"}


class FACEBLUR_OT_forget_people(bpy.types.Operator):
    """Delete all face embeddings, in memory and in your folder, and all people of this scene. Faces that are visible
    stay visible, unless you choose to cover everyone again"""

    bl_idname = "faceblur.forget_people"
    bl_label = "Forget People"
    bl_options = {"REGISTER", "UNDO"}

    cover: BoolProperty(
        name="Cover Everyone Again",
        default=True,
        options={"SKIP_SAVE"},
        description=("Blur the people who stay visible. Otherwise the tracks keep their names"),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        result: set[str] = context.window_manager.invoke_props_dialog(self)
        return result

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        thumbnails.forget()
        try:
            forgotten = forget_everything(scene)
            if self.cover and scene is not None and list_masks(scene):
                apply_people(scene)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            refresh_shown_sequencers()
        redraw()
        self.report({"INFO"}, translate("{embeddings} deleted", embeddings=count(forgotten, "face embedding")))
        return {"FINISHED"}


CLASSES = (
    FACEBLUR_OT_apply_people,
    FACEBLUR_OT_forget_people,
)
