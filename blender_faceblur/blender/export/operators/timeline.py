# SPDX-License-Identifier: GPL-3.0-or-later
"""Export Timeline: the timeline of a baked project as an OpenTimelineIO file."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ....exchange.timeline import ENDING
from ...common.context import get_sequencer_scene
from ...common.jobs import JOB
from ...common.selection import has_strips
from ..timeline import export_timeline


class FACEBLUR_OT_export_timeline(bpy.types.Operator):
    """Write the timeline as an OpenTimelineIO file for other editing programs, such as DaVinci Resolve or Premiere Pro.
    It refers to the baked films, and never to footage that still has to be covered"""

    bl_idname = "faceblur.export_timeline"
    bl_label = "Export Covered Timeline"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="The file to be written")
    filter_glob: StringProperty(default=f"*{ENDING}", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    overwrite: BoolProperty(name="Overwrite", description="Replace an existing file")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_strips(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.filepath:
            project = Path(bpy.data.filepath) if bpy.data.filepath else Path("untitled.blend")
            self.filepath = str(project.with_suffix(ENDING))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            # The file selector has asked before an existing file is replaced: it shows its name in red.
            path = Path(bpy.path.abspath(self.filepath))
            result = export_timeline(get_sequencer_scene(context), path, self.overwrite or self.options.is_invoke)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        JOB.notes = result.notes
        for note in result.notes:
            self.report({"WARNING"}, note)
        self.report(
            {"INFO"},
            translate("{name} holds {clips}", name=result.path.name, clips=count(result.clips, "clip")),
        )
        return {"FINISHED"}
