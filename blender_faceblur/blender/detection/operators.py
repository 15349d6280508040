# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect Faces: a modal operator that only polls worker processes, so that the window stays responsive."""

from __future__ import annotations

from contextlib import suppress

import bpy
from bpy.props import BoolProperty

from ...core.review.groups import count_left
from ...core.translation import count, translate
from ...core.types import FaceBlurError, TrackKind
from ...reporting.progress import count_covered
from ..common.context import get_sequencer_scene, refresh_shown_sequencers
from ..common.job_operator import JobOperator, JobSteps
from ..common.jobs import JOB, stop
from ..common.selection import get_active_footage, is_busy, list_selected, refuse
from ..cover.properties import read_effect_settings
from ..thumbnails import store as thumbnails
from .detect import SourceDetection, cover_found, detect
from .properties import read_detection_settings


class FACEBLUR_OT_detect(JobOperator, bpy.types.Operator):
    """Detect, track and cover the faces in the selected movie and image strips. ESC cancels"""

    bl_idname = "faceblur.detect"
    bl_label = "Detect Faces"
    cancelled = "Detection cancelled; nothing was changed"

    in_range: BoolProperty(
        name="Preview Range Only",
        options={"SKIP_SAVE"},
        description=("Detect only in the timeline's preview range (key P), and keep the faces found elsewhere"),
    )

    _scene = ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        if get_sequencer_scene(context) is None:
            return refuse(cls, "There are no strips. Add a film to the sequencer first")
        return bool(list_selected(context)) or refuse(cls, "Select a movie or image strip")

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        scene = get_sequencer_scene(context)
        self._scene = scene.name
        names = [strip.name for strip in list_selected(context)]
        return detect(scene, names, read_detection_settings(scene), wait_s, in_range=self.in_range)

    def finish(self, context: bpy.types.Context, result: list[SourceDetection]) -> tuple[str, list[str]]:
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            return "", [translate("The scene '{scene}' no longer exists, so nothing was covered.", scene=self._scene)]
        problems = cover_found(scene, result, read_effect_settings(scene))
        JOB.provider = next((found.provider for found in result if found.provider), JOB.provider)
        JOB.notes = list(dict.fromkeys(note for found in result for note in found.notes))
        if not bpy.app.background:
            refresh_shown_sequencers()
            with suppress(FaceBlurError):
                # The list also works without thumbnails.
                thumbnails.start(scene, get_active_footage(context))
        documents = [found.document for found in result if found.document is not None]
        if not documents:
            return "", problems
        kinds = [track.kind for document in documents for track in document.tracks]
        faces = kinds.count(TrackKind.FACE)
        covered = count_covered(faces, len(kinds) - faces)
        return translate(
            "{covered}, {items} to review", covered=covered, items=count(sum(count_left(d) for d in documents), "item")
        ), problems


class FACEBLUR_OT_cancel(bpy.types.Operator):
    """Cancel the running job. Nothing is changed"""

    bl_idname = "faceblur.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return JOB.active or refuse(cls, "No job is running")

    def execute(self, context: bpy.types.Context) -> set[str]:
        stop()
        return {"FINISHED"}
