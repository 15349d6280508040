# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify the finished film, go to the findings, and write a report."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ....reporting.report import ReportSubject, collect_report, write_report
from ...common.context import get_sequencer_scene
from ...common.job_operator import JobOperator, JobSteps
from ...common.jobs import JOB
from ...common.selection import get_active_footage, get_named_strip, has_strips, refuse
from ...cover.baked import is_baked
from ...cover.strips import get_mask
from ...masks.changes import sync_from_blender
from ...review.watched import compute_source_watch
from ..verification import FilmVerification, get_cover, get_film, list_parts, list_unverified, verify_film


class FACEBLUR_OT_verify(JobOperator, bpy.types.Operator):
    """Compare the rendered film with its sources: check that every face is covered in every frame, and look for faces
    that have no track. ESC cancels"""

    bl_idname = "faceblur.verify"
    bl_label = "Verify Render"
    cancelled = "Verification cancelled"

    film: StringProperty(
        name="Film",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
        description="The finished film; if empty, the output file of this scene",
    )

    _unverified: tuple[str, ...] = ()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_strips(cls, context)

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        scene = get_sequencer_scene(context)
        film = Path(bpy.path.abspath(self.film)) if self.film else get_film(scene)
        if not film.is_file():
            raise FaceBlurError(translate("{film} does not exist. Render the film first.", film=film))
        JOB.verified = None
        self._unverified = tuple(list_unverified(scene))
        return verify_film(film, scene.frame_start, list_parts(scene), wait_s)

    def finish(self, context: bpy.types.Context, result: FilmVerification) -> tuple[str, list[str]]:
        JOB.verified = result
        problems = [*result.problems, *self._unverified]
        left = sum(not leak for _, _, leak, _ in result.list_findings())
        if not result.leaks and self._unverified:
            return translate(
                "No face is uncovered in what was verified. {items} to review", items=count(left, "item")
            ), problems
        if not result.leaks:
            message = translate(
                "Every expected face is covered in {name}. {items} to review",
                name=result.film.name,
                items=count(left, "item"),
            )
            return message, problems
        return "Look at the uncovered faces", [
            translate("{faces} uncovered in {name}", faces=count(result.leaks, "face"), name=result.film.name),
            *problems,
        ]


class FACEBLUR_OT_go_to_finding(bpy.types.Operator):
    """Go to the frame in which most of the face is visible"""

    bl_idname = "faceblur.go_to_finding"
    bl_label = "Go to Finding"
    bl_options = {"REGISTER", "UNDO"}

    frame: IntProperty(name="Frame", description="Frame of the timeline")
    strip: StringProperty(name="Strip", description="Name of the strip")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        strip = get_named_strip(self, scene, self.strip)
        if strip is None:
            return {"CANCELLED"}
        scene.sequence_editor.active_strip = strip
        scene.frame_set(self.frame)
        return {"FINISHED"}


class FACEBLUR_OT_report(bpy.types.Operator):
    """Write a report on the active strip: its covers and their evidence, corrections, review items, and the results of
    the verification. The report is a single HTML page or a JSON file"""

    bl_idname = "faceblur.report"
    bl_label = "Write Report"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="Report file, ending in .html or .json")
    filter_glob: StringProperty(default="*.html;*.json", options={"HIDDEN"}, description="Files to list")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        strip = get_active_footage(context)
        is_covered = strip is not None and (get_mask(strip) is not None or is_baked(strip))
        return is_covered or refuse(cls, "Select a strip that is covered")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = f"{get_active_footage(context).name} report.html"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        strip = get_active_footage(context)
        try:
            footage, mask, effect = get_cover(strip)
            found = (
                next(
                    (
                        (JOB.verified.film, verification)
                        for part, verification in JOB.verified.parts
                        if part.strip == strip.name
                    ),
                    None,
                )
                if JOB.verified is not None
                else None
            )
            settings = {"effect": effect.kind, "samples_across": effect.samples_across} if effect is not None else {}
            subject = ReportSubject(
                footage.path,
                found[0] if found else None,
                sync_from_blender(mask),
                settings,
                found[1] if found else None,
                blender=bpy.app.version_string,
                watched=compute_source_watch(get_sequencer_scene(context), mask),
            )
            write_report(collect_report(subject), Path(bpy.path.abspath(self.filepath)))
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        JOB.done = translate("Report written to {filepath}", filepath=self.filepath)
        self.report({"INFO"}, JOB.done)
        return {"FINISHED"}


CLASSES = (FACEBLUR_OT_verify, FACEBLUR_OT_go_to_finding, FACEBLUR_OT_report)
