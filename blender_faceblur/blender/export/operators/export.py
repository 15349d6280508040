# SPDX-License-Identifier: GPL-3.0-or-later
"""Export Covered Footage: a modal operator during which the window stays usable, as it works on a copy."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.job_operator import JobOperator, JobSteps
from ...common.jobs import JOB
from ...common.marks import get_modifier
from ...common.selection import is_busy, refuse
from ...cover.baked import is_baked
from ..covered_footage import Exported, export_covered


class FACEBLUR_OT_export_covered(JobOperator, bpy.types.Operator):
    """Make films that contain the covers, and a copy of this project that shows them instead of the covered strips.
    Nothing in the copy can be uncovered, and it does not need Face Blur. ESC cancels"""

    bl_idname = "faceblur.export_covered"
    bl_label = "Export Covered Footage"
    # No undo step, as the project does not change; not REGISTER, see JobOperator.
    bl_options: set[str] = set()
    cancelled = "Export cancelled; the finished films are in the folder"

    folder: StringProperty(
        name="Folder",
        subtype="DIR_PATH",
        description=("Folder for the films and the copy of the project; if empty, a folder beside the project"),
    )
    overwrite: BoolProperty(name="Overwrite", description="Replace the files of an earlier export in the folder")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        covered = any(
            is_baked(strip) or get_modifier(strip) is not None
            for scene in bpy.data.scenes
            if scene.sequence_editor is not None
            for strip in scene.sequence_editor.strips_all
            if hasattr(strip, "modifiers")
        )
        return covered or refuse(cls, "There is no covered strip")

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        if self.folder:
            folder = Path(bpy.path.abspath(self.folder))
        elif bpy.data.filepath:
            folder = Path(bpy.data.filepath).with_suffix("").with_name(f"{Path(bpy.data.filepath).stem} covered")
        else:
            raise FaceBlurError("Save the project first, or choose a folder.")
        return export_covered(folder, self.overwrite, wait_s)

    def finish(self, context: bpy.types.Context, result: Exported) -> tuple[str, list[str]]:
        JOB.notes = result.notes
        for note in result.notes:
            self.report({"WARNING"}, note)
        return (
            translate(
                "{films} and {name} are in {parent}. Watch them before you pass them on",
                films=count(len(result.films), "film"),
                name=result.project.name,
                parent=result.project.parent,
            )
        ), []
