# SPDX-License-Identifier: GPL-3.0-or-later
"""Render to Footage: what a strip shows becomes a film, in which faces can be detected."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import bpy

from ...core.types import FaceBlurError
from ..context import find_sequencer_scene
from ..rendered import Asked, ask, put_in_place, render_alone
from .selection import is_busy, refuse

_TICK_S = 0.1


class FACEBLUR_OT_render_to_footage(bpy.types.Operator):
    """Make a film of what the active strip shows, and put it in its place, so that faces can be detected in it: for
    scenes, meta strips, and strips under effects. It lies beside the project, uncovered. ESC cancels"""

    bl_idname = "faceblur.render_to_footage"
    bl_label = "Render to Footage"
    bl_options = {"REGISTER", "UNDO"}

    _job: Generator[float | None, None, Path] | None = None
    _asked: Asked | None = None
    _timer: bpy.types.Timer | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = find_sequencer_scene(context)
        strip = scene.sequence_editor.active_strip if scene is not None else None
        if strip is None or strip.type in ("SOUND", "MASK"):
            return refuse(cls, "Make a strip active that shows a picture")
        return bool(bpy.data.filepath) or refuse(cls, "Save the project first: the film is put beside it")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self._begin(context, wait=False)
        except FaceBlurError as error:
            return self._fail(error)
        self._timer = context.window_manager.event_timer_add(_TICK_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC" and event.value == "PRESS":
            self.cancel(context)
            self.report({"INFO"}, "Rendering cancelled; nothing was changed")
            return {"CANCELLED"}
        if event.type != "TIMER" or self._job is None:
            return {"PASS_THROUGH"}
        share = None
        try:
            while (now := next(self._job)) is not None:
                share = now
        except StopIteration as end:
            self.cancel(context)
            return self._finish(end.value)
        except FaceBlurError as error:
            self.cancel(context)
            return self._fail(error)
        except BaseException:
            self.cancel(context)
            raise
        if share is not None and context.workspace is not None and self._asked is not None:
            context.workspace.status_text_set(
                f"Face Blur: rendering '{self._asked.strip}', {100 * share:.0f} %   ESC: cancel")
        return {"PASS_THROUGH"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Without a window: everything at once."""
        try:
            self._begin(context, wait=True)
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

    def _begin(self, context: bpy.types.Context, wait: bool) -> None:
        scene = find_sequencer_scene(context)
        self._asked = ask(scene, scene.sequence_editor.active_strip)
        self._job = render_alone(self._asked, wait)

    def _end(self) -> None:
        if self._job is not None:
            self._job.close()
            self._job = None

    def _finish(self, made: Path) -> set[str]:
        assert self._asked is not None
        scene = bpy.data.scenes.get(self._asked.scene)
        try:
            if scene is None:
                raise FaceBlurError(f"The scene '{self._asked.scene}' is gone; {made} was made for it.")
            put_in_place(scene, self._asked, made)
        except FaceBlurError as error:
            return self._fail(error)
        self.report({"WARNING"}, f"{made.name} shows its faces and is black in renders until they are detected")
        return {"FINISHED"}

    def _fail(self, error: FaceBlurError) -> set[str]:
        self.report({"ERROR"}, str(error))
        return {"CANCELLED"}
