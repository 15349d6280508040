# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the finished film, and write down what was covered and on what evidence."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty

from ....core.types import FaceBlurError
from ....reporting.progress import count
from ....reporting.report import collect_report, write_report
from ...common.context import find_sequencer_scene
from ...common.footage import find_footage
from ...common.job_operator import Job, JobOperator
from ...common.jobs import STATE
from ...common.selection import find_active_footage, find_named, has_strips, refuse
from ...cover.covering import find_mask, read_effect
from ...masks.changes import take_in
from ..verification import Verified, find_film, list_parts, list_unverified, verify_film


class FACEBLUR_OT_verify(JobOperator, bpy.types.Operator):
    """Compare the rendered film with its sources: is every face covered in every frame, and is there one that nobody
    expected? ESC cancels"""

    bl_idname = "faceblur.verify"
    bl_label = "Verify Render"
    cancelled = "Verifying cancelled"

    film: StringProperty(name="Film", subtype="FILE_PATH", options={"SKIP_SAVE"},
                         description="The finished film; empty: where this scene's settings render to")

    _unverified: tuple[str, ...] = ()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_strips(cls, context)

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> Job:
        scene = find_sequencer_scene(context)
        film = Path(bpy.path.abspath(self.film)) if self.film else find_film(scene)
        if not film.is_file():
            raise FaceBlurError(f"{film} is not there: render the film first.")
        STATE.verified = None
        self._unverified = tuple(list_unverified(scene))
        return verify_film(film, scene.frame_start, list_parts(scene), wait_s)

    def finish(self, context: bpy.types.Context, result: Verified) -> tuple[str, list[str]]:
        STATE.verified = result
        problems = [*result.problems, *self._unverified]
        doubts = sum(not leak for _, _, leak, _ in result.list_findings())
        if not result.leaks:
            said = f"Every expected face is covered in {result.film.name}; {count(doubts, 'doubtful place')}"
            return said, problems
        return "Look at what leaked", [f"{count(result.leaks, 'face')} uncovered in {result.film.name}",
                                       *problems]


class FACEBLUR_OT_go_to_finding(bpy.types.Operator):
    """Go to the frame in which most of the face shows"""

    bl_idname = "faceblur.go_to_finding"
    bl_label = "Go to Finding"
    bl_options = {"REGISTER", "UNDO"}

    frame: IntProperty(name="Frame", description="Of the timeline")
    strip: StringProperty(name="Strip", description="Name of the strip")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = find_sequencer_scene(context)
        strip = find_named(self, scene, self.strip)
        if strip is None:
            return {"CANCELLED"}
        scene.sequence_editor.active_strip = strip
        scene.frame_set(self.frame)
        return {"FINISHED"}


class FACEBLUR_OT_report(bpy.types.Operator):
    """Write what was covered in the active strip, on what evidence, with what corrections and doubts, and what
    verifying the film found: one page without links, or data"""

    bl_idname = "faceblur.report"
    bl_label = "Write Report"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="Ends in .html or .json")
    filter_glob: StringProperty(default="*.html;*.json", options={"HIDDEN"}, description="What is listed")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find_mask(find_active_footage(context)) is not None or refuse(cls, "Select a strip that is covered")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = f"{find_active_footage(context).name} report.html"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        strip = find_active_footage(context)
        try:
            footage = find_footage(strip)
            found = next(((STATE.verified.film, verification) for part, verification in STATE.verified.parts
                          if part.strip == strip.name), None) if STATE.verified is not None else None
            effect = read_effect(strip)
            settings = {"effect": effect.kind, "samples_across": effect.samples_across} if effect is not None else {}
            content = collect_report(
                footage.path, found[0] if found else None, take_in(find_mask(strip)), settings,
                found[1] if found else None, blender=bpy.app.version_string)
            write_report(content, Path(bpy.path.abspath(self.filepath)))
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Written: {self.filepath}")
        return {"FINISHED"}


CLASSES = (FACEBLUR_OT_verify, FACEBLUR_OT_go_to_finding, FACEBLUR_OT_report)
