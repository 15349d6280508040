# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect Faces: a modal operator that only polls worker processes, so that the window stays responsive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

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
from ..cover.covering import load_covers
from ..cover.properties import read_effect_settings
from ..thumbnails import store as thumbnails
from .detect import SourceDetection, cover_found, detect
from .new_footage import WaitingStrip, allow, begin_attempt, choose_next, forbid_all, take_back_attempt
from .properties import read_detection_settings


class _Detection(JobOperator):
    """What the operators that detect faces share."""

    # Without REGISTER there is no "Adjust Last Operation", which would detect again.
    bl_options = {"UNDO"}

    _scene = ""

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
        covered = [name for found in result for name in found.covered]
        JOB.forget_undetected(scene.name, covered)
        # Not only what is new: a strip may have been detected in part before.
        documents = load_covers(scene, covered)
        if not documents:
            return "", problems
        kinds = [track.kind for document in documents for track in document.tracks]
        faces = kinds.count(TrackKind.FACE)
        words = count_covered(faces, len(kinds) - faces)
        return translate(
            "{covered}, {items} to review", covered=words, items=count(sum(count_left(d) for d in documents), "item")
        ), problems


class FACEBLUR_OT_detect(_Detection, bpy.types.Operator):
    """Detect, track and cover the faces in the selected movie and image strips. ESC cancels"""

    bl_idname = "faceblur.detect"
    bl_label = "Detect Faces"
    cancelled = "Detection cancelled; nothing was changed"

    in_range: BoolProperty(
        name="Preview Range Only",
        options={"SKIP_SAVE"},
        description=("Detect only in the timeline's preview range (key P), and keep the faces found elsewhere"),
    )

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


class FACEBLUR_OT_detect_new(_Detection, bpy.types.Operator):
    """Detect, track and cover the faces in new footage of a scene whose footage must all be covered"""

    bl_idname = "faceblur.detect_new"
    bl_label = "Detect New Footage"
    bl_options = {"UNDO", "INTERNAL"}
    in_background = True

    _strips: Sequence[WaitingStrip] = ()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = get_sequencer_scene(context)
        return not JOB.running and scene is not None and bool(choose_next(scene))

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        scene = get_sequencer_scene(context)
        self._strips = choose_next(scene)
        self._scene = scene.name
        # Whatever becomes of it, an error does not let it be tried again.
        begin_attempt(self._strips)
        return detect(scene, [strip.name for strip in self._strips], read_detection_settings(scene), wait_s)

    def cancel(self, context: bpy.types.Context) -> None:
        take_back_attempt(self._strips)
        super().cancel(context)


class FACEBLUR_OT_allow_detection(bpy.types.Operator):
    """Detect the faces in new footage of this project while Blender is idle, until another file is opened"""

    bl_idname = "faceblur.allow_detection"
    bl_label = "Detect New Footage"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None or refuse(cls, "There are no strips")

    def execute(self, context: bpy.types.Context) -> set[str]:
        allow(get_sequencer_scene(context))
        return {"FINISHED"}


class FACEBLUR_OT_cancel(bpy.types.Operator):
    """Cancel the running job. Nothing is changed"""

    bl_idname = "faceblur.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return JOB.running or refuse(cls, "No job is running")

    def execute(self, context: bpy.types.Context) -> set[str]:
        if JOB.in_background:
            # Otherwise it would begin again at once.
            forbid_all()
        stop()
        return {"FINISHED"}


CLASSES = (FACEBLUR_OT_detect, FACEBLUR_OT_detect_new, FACEBLUR_OT_allow_detection, FACEBLUR_OT_cancel)
