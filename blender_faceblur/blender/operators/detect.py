# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect Faces: a modal operator that only looks in on processes of its own, so that the window goes on living."""

from __future__ import annotations

import time

import bpy

from ...core.types import FaceBlurError
from ...progress import count
from ..context import find_sequencer_scene, refresh_shown_sequencers
from ..detection import Found, cover_found, detect
from ..running import STATE, describe_step, redraw, stop
from ..settings import read_detection_settings, read_effect_settings
from .selection import is_busy, list_selected, refuse

_TICK_S, _LONGEST_TICK_S = 0.1, 0.02


class FACEBLUR_OT_detect(bpy.types.Operator):
    """Find the faces in the selected movie and image strips, follow them and cover them. ESC cancels"""

    bl_idname = "faceblur.detect"
    bl_label = "Detect Faces"
    bl_options = {"REGISTER", "UNDO"}

    _timer: bpy.types.Timer | None = None
    _scene = ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        if find_sequencer_scene(context) is None:
            return refuse(cls, "There are no strips: add a film to the sequencer first")
        return bool(list_selected(context)) or refuse(cls, "Select a movie or image strip")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._begin(context)
        self._timer = context.window_manager.event_timer_add(_TICK_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        _show_status(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC" and event.value == "PRESS":
            stop()
        elif event.type != "TIMER":
            return {"PASS_THROUGH"}
        if STATE.job is None:
            self.cancel(context)
            self.report({"INFO"}, "Detection cancelled; nothing was changed")
            return {"CANCELLED"}
        until = time.monotonic() + _LONGEST_TICK_S
        try:
            while (step := next(STATE.job)) is not None:
                STATE.step = step
                if time.monotonic() > until:
                    break
        except StopIteration as end:
            self._end(context)
            return self._finish(context, end.value)
        except FaceBlurError as error:
            self.cancel(context)
            return self._fail([str(error)])
        except BaseException:
            self.cancel(context)
            raise
        _show_status(context)
        redraw()
        return {"PASS_THROUGH"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Without a window: everything at once."""
        self._begin(context, wait_s=None)
        assert STATE.job is not None
        try:
            while True:
                try:
                    next(STATE.job)
                except StopIteration as end:
                    return self._finish(context, end.value)
        except FaceBlurError as error:
            return self._fail([str(error)])
        finally:
            self._end(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Also called by Blender when a file is opened or the window closed meanwhile."""
        self._end(context)

    def _begin(self, context: bpy.types.Context, wait_s: float | None = 0.0) -> None:
        scene = find_sequencer_scene(context)
        self._scene = scene.name
        names = [strip.name for strip in list_selected(context)]
        STATE.job = detect(scene, names, read_detection_settings(scene), wait_s)
        STATE.problems, STATE.notes = [], []

    def _end(self, context: bpy.types.Context) -> None:
        stop()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        redraw()

    def _finish(self, context: bpy.types.Context, results: list[Found]) -> set[str]:
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            return self._fail(["The scene is gone: nothing was covered."])
        problems = cover_found(scene, results, read_effect_settings(scene))
        STATE.provider = next((found.provider for found in results if found.provider), STATE.provider)
        STATE.notes = list(dict.fromkeys(note for found in results for note in found.notes))
        if not bpy.app.background:
            refresh_shown_sequencers()
        documents = [found.document for found in results if found.document is not None]
        if problems:
            self._fail(problems)
            if not documents:
                return {"CANCELLED"}
        faces, doubts = sum(len(d.tracks) for d in documents), sum(len(d.doubts) for d in documents)
        self.report({"INFO"}, f"{count(faces, 'face')} covered, {count(doubts, 'doubtful place')} left uncovered: look "
                    "at the result")
        return {"FINISHED"}

    def _fail(self, problems: list[str]) -> set[str]:
        STATE.problems = problems
        for problem in problems:
            self.report({"ERROR"}, problem)
        return {"CANCELLED"}


class FACEBLUR_OT_cancel(bpy.types.Operator):
    """End the detection; nothing is changed"""

    bl_idname = "faceblur.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return STATE.active or refuse(cls, "No detection is running")

    def execute(self, context: bpy.types.Context) -> set[str]:
        stop()
        return {"FINISHED"}


def _show_status(context: bpy.types.Context) -> None:
    if context.workspace is not None:
        context.workspace.status_text_set(f"Face Blur: {describe_step(STATE.step)}   ESC: cancel")
