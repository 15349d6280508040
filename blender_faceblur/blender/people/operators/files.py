# SPDX-License-Identifier: GPL-3.0-or-later
"""Save people and assignments to a file, and load them."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.context import get_sequencer_scene
from ...common.jobs import redraw
from ..files import read_file, write_file
from .choice import is_ready


class _PeopleFile:
    """A file of people and assignments, the same as for the command's option --people."""

    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(
        name="File",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
        description="A JSON file of people. It holds names and positions, but no pictures or embeddings",
    )
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"}, description="Files to list")
    check_existing: BoolProperty(default=True, options={"HIDDEN"}, description="Ask before a file is replaced")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_ready(cls, context)

    def get_path(self) -> Path:
        """The chosen path, with the ending .json. Raises FaceBlurError if no file is named."""
        path = Path(bpy.path.abspath(self.filepath))
        if not self.filepath or path.is_dir():
            raise FaceBlurError("Enter a file name.")
        return path.with_name(f"{path.name}.json") if path.suffix.lower() != ".json" else path


class FACEBLUR_OT_save_people(_PeopleFile, bpy.types.Operator):
    """Save names, assignments and who stays visible to a file, for other projects and the command's option --people.
    The file holds no pictures or embeddings of faces"""

    bl_idname = "faceblur.save_people"
    bl_label = "Save People"
    bl_options = {"REGISTER"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        project = bpy.data.filepath.removesuffix(".blend")
        self.filepath = f"{project}.people.json" if project else "people.json"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            path = self.get_path()
            written = write_file(get_sequencer_scene(context), path)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, translate("{faces} saved to {name}", faces=count(written, "face"), name=path.name))
        return {"FINISHED"}


class FACEBLUR_OT_load_people(_PeopleFile, bpy.types.Operator):
    """Load names, ticks and assignments for the films of this scene from a file. The covers do not change until you use
    Apply People"""

    bl_idname = "faceblur.load_people"
    bl_label = "Load People"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            taken, missing = read_file(get_sequencer_scene(context), self.get_path())
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        redraw()
        more = (
            translate(". {names} have no face here: add pictures of them", names=", ".join(missing[:5]))
            if missing
            else ""
        )
        self.report({"INFO"}, translate("{faces} loaded{more}", faces=count(taken, "face"), more=more))
        return {"FINISHED"}


CLASSES = (
    FACEBLUR_OT_save_people,
    FACEBLUR_OT_load_people,
)
