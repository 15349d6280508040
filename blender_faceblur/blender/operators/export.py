# SPDX-License-Identifier: GPL-3.0-or-later
"""Export Covered Footage: a modal operator beside which the window goes on living, as the work is on a copy."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ...core.types import FaceBlurError
from ...progress import count
from ..export import Exported, Step, export_covered
from ..running import STATE
from ..strips import find_modifier
from .selection import is_busy, refuse

_TICK_S = 0.1


class FACEBLUR_OT_export_covered(bpy.types.Operator):
    """Make films with the covers in them, and a copy of this project that shows these instead of the covered strips:
    it needs no Face Blur, and nothing in it can be uncovered. The project itself is not changed. ESC cancels"""

    bl_idname = "faceblur.export_covered"
    bl_label = "Export Covered Footage"
    bl_options = {"REGISTER"}

    folder: StringProperty(name="Folder", subtype="DIR_PATH", description=(
        "Where the films and the copy of the project go; where none is named, beside the project"))
    overwrite: BoolProperty(name="Overwrite", description="Replace what an earlier export left in the folder")

    _job: Generator[Step | None, None, Exported] | None = None
    _timer: bpy.types.Timer | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        covered = any(find_modifier(strip) is not None for scene in bpy.data.scenes if scene.sequence_editor is not None
                      for strip in scene.sequence_editor.strips_all if hasattr(strip, "modifiers"))
        return covered or refuse(cls, "There is no covered strip")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self._begin(wait=False)
        except FaceBlurError as error:
            return self._fail(error)
        self._timer = context.window_manager.event_timer_add(_TICK_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC" and event.value == "PRESS":
            self.cancel(context)
            self.report({"INFO"}, "Export cancelled; films that were finished are in the folder")
            return {"CANCELLED"}
        if event.type != "TIMER" or self._job is None:
            return {"PASS_THROUGH"}
        step = None
        try:
            while (now := next(self._job)) is not None:
                step = now
        except StopIteration as end:
            self.cancel(context)
            return self._finish(end.value)
        except FaceBlurError as error:
            self.cancel(context)
            return self._fail(error)
        except BaseException:
            self.cancel(context)
            raise
        if step is not None and context.workspace is not None:
            context.workspace.status_text_set(f"Face Blur: {_describe(step)}   ESC: cancel")
        return {"PASS_THROUGH"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Without a window: everything at once."""
        try:
            self._begin(wait=True)
            assert self._job is not None
            while True:
                try:
                    next(self._job)
                except StopIteration as end:
                    return self._finish(end.value)
        except FaceBlurError as error:
            return self._fail(error)
        finally:
            self._end()

    def cancel(self, context: bpy.types.Context) -> None:
        """Also called by Blender when a file is opened or the window closed meanwhile."""
        self._end()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None:
            context.workspace.status_text_set(None)

    def _begin(self, wait: bool) -> None:
        STATE.problems, STATE.notes = [], []
        if self.folder:
            folder = Path(bpy.path.abspath(self.folder))
        elif bpy.data.filepath:
            folder = Path(bpy.data.filepath).with_suffix("").with_name(f"{Path(bpy.data.filepath).stem} covered")
        else:
            raise FaceBlurError("Save the project first, or name a folder.")
        self._job = export_covered(folder, self.overwrite, wait=wait)

    def _end(self) -> None:
        if self._job is not None:
            self._job.close()
            self._job = None

    def _finish(self, exported: Exported) -> set[str]:
        STATE.notes = exported.notes
        for note in exported.notes:
            self.report({"WARNING"}, note)
        self.report({"INFO"}, f"{count(len(exported.films), 'film')} and {exported.project.name} are in "
                    f"{exported.project.parent}: look at them")
        return {"FINISHED"}

    def _fail(self, error: FaceBlurError) -> set[str]:
        STATE.problems = [str(error)]
        self.report({"ERROR"}, str(error))
        return {"CANCELLED"}


def _describe(step: Step) -> str:
    which = f"{step.film} ({step.number} of {step.count})" if step.count > 1 else step.film
    return f"Exporting {which}: {step.done} of {step.total} frames" if step.total else f"Exporting {which}"
