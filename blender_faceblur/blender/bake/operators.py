# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake Covers, which is modal and leaves the window usable, and Unbake."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ...core.translation import count, translate
from ...core.types import FaceBlurError
from ..common.context import get_sequencer_scene, refresh_shown_sequencers
from ..common.job_operator import JobOperator, JobSteps
from ..common.jobs import JOB
from ..common.selection import is_busy, list_selected, refuse
from ..cover.baked import is_baked
from .baking import BakeResult, apply, bake, list_bakeable, unbake
from .orders import is_source_there
from .unused import delete_unused, find_unused

_MOST_LISTED = 12


class FACEBLUR_OT_bake(JobOperator, bpy.types.Operator):
    """Make films that contain the covers, in a folder beside the project, and show them instead of the covered films.
    The project then plays and renders as fast as without covers, and no face can show in any Blender. ESC cancels"""

    bl_idname = "faceblur.bake"
    bl_label = "Bake Covers"
    cancelled = "Bake cancelled; nothing was changed. What was painted is used by the next bake"

    selected: BoolProperty(name="Selected Strips", description="Bake only the selected strips, not all in this scene")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = get_sequencer_scene(context)
        if scene is None or not list_bakeable(scene):
            return refuse(cls, "There is no covered strip")
        return bool(bpy.data.filepath) or refuse(cls, "Save the project first. The films are stored beside it")

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        strips = list_bakeable(get_sequencer_scene(context))
        if self.selected:
            chosen = list_selected(context)
            strips = [strip for strip in strips if strip in chosen]
        return bake(strips, wait_s)

    def finish(self, context: bpy.types.Context, result: BakeResult) -> tuple[str, list[str]]:
        done, problems = apply(result)
        JOB.notes = list(dict.fromkeys(result.notes))
        if not bpy.app.background:
            refresh_shown_sequencers()
        if not result.films:
            return "All films are up to date", problems
        return (translate("{strips} baked", strips=count(len(done), "strip")) if done else ""), problems


class FACEBLUR_OT_unbake(bpy.types.Operator):
    """Give the selected baked strips their films, masks and effects back, so that covers can be changed. Without a
    selected baked strip it works on all in this scene"""

    bl_idname = "faceblur.unbake"
    bl_label = "Unbake"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(
        name="Source",
        subtype="FILE_PATH",
        description="The uncovered film, if it is no longer where it was or this computer does not know it",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        return bool(_list_baked(context)) or refuse(cls, "There is no baked strip")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Let the user choose the source if it is not where it was."""
        if all(is_source_there(strip) for strip in _list_baked(context)):
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        source = Path(bpy.path.abspath(self.filepath)) if self.filepath else None
        done, problems = unbake(_list_baked(context), source)
        JOB.problems = problems
        for problem in problems:
            self.report({"ERROR"}, problem)
        if not bpy.app.background:
            refresh_shown_sequencers()
        if not done:
            return {"CANCELLED"}
        self.report({"INFO"}, translate("{strips} unbaked", strips=count(len(done), "strip")))
        return {"FINISHED"}


class FACEBLUR_OT_delete_unused_bakes(bpy.types.Operator):
    """Delete the films of earlier bakes of this project, and their pieces, that none of its strips shows. They are
    listed first. The project has to be saved, and undo steps that show these films then need a new bake"""

    bl_idname = "faceblur.delete_unused_bakes"
    bl_label = "Delete Unused Bakes"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        # Without a window, Blender takes every project for changed.
        is_saved = bool(bpy.data.filepath) and (bpy.app.background or not bpy.data.is_dirty)
        return is_saved or refuse(cls, "Save the project first: on the disk it may still show these films")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not find_unused().paths:
            return self.execute(context)
        return set(context.window_manager.invoke_props_dialog(self, width=500))

    def draw(self, context: bpy.types.Context) -> None:
        unused = find_unused()
        for path in unused.paths[:_MOST_LISTED]:
            self.layout.label(text=path.name)
        if len(unused.paths) > _MOST_LISTED:
            self.layout.label(text=translate("and {paths} more", paths=len(unused.paths) - _MOST_LISTED))
        if unused.others:
            self.layout.label(text="Copies of this project may show them. Projects beside it:", icon="ERROR")
        for name in unused.others[:_MOST_LISTED]:
            self.layout.label(text=name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        unused = find_unused()
        try:
            delete_unused(unused.paths)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(
            {"INFO"},
            translate(
                "{bakes} deleted, {size:.0f} MB",
                bakes=count(len(unused.paths), "unused bake"),
                size=unused.size / 1000000.0,
            ),
        )
        return {"FINISHED"}


def _list_baked(context: bpy.types.Context) -> list[bpy.types.Strip]:
    scene = get_sequencer_scene(context)
    if scene is None:
        return []
    selected = [strip for strip in list_selected(context) if is_baked(strip)]
    return selected or [strip for strip in scene.sequence_editor.strips_all if is_baked(strip)]


CLASSES = (FACEBLUR_OT_bake, FACEBLUR_OT_unbake, FACEBLUR_OT_delete_unused_bakes)
