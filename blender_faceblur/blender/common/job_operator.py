# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that wait for a worker process: modal in a window, which stays responsive, and blocking without one."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from .jobs import JOB, Step, describe_step, redraw, run_to_end, stop

_TICK_S = 0.1
"""How often the window's timer asks a job for progress. Raising it makes the progress bar jerk."""

_LONGEST_TICK_S = 0.02
"""The longest time that one tick may take. Raising it makes the window stutter, lowering it delays the job."""

JobSteps = Generator[Step | None, None, Any]
"""Yields progress, or None if nothing has happened; returns the result. Closing it ends all its processes."""


class JobOperator:
    """An operator whose work is a job. It keeps names only, because an editor may undo, delete and rename meanwhile."""

    bl_options = {"REGISTER", "UNDO"}
    cancelled = "Cancelled; nothing was changed"
    level = "INFO"
    """The report type of its success message."""

    _timer: bpy.types.Timer | None = None

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        """The job. With `wait_s` it yields None whenever nothing has happened for that long. Raises FaceBlurError."""
        raise NotImplementedError

    def finish(self, context: bpy.types.Context, result: Any) -> tuple[str, list[str]]:
        """Apply the result. Returns the message to report, empty if nothing was done, and a list of problems."""
        raise NotImplementedError

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        operator: Any = self
        status = self.go_on(context)
        if "RUNNING_MODAL" in status:
            context.window_manager.modal_handler_add(operator)
        return status

    def go_on(self, context: bpy.types.Context) -> set[str]:
        """Begin the job in an operator that is already modal: Blender 5.2.2 crashes if one becomes modal twice."""
        if not self._start(context, 0.0):
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(_TICK_S, window=context.window)
        _show_status(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        operator: Any = self
        if event.type == "ESC" and event.value == "PRESS":
            stop()
        elif event.type != "TIMER":
            return {"PASS_THROUGH"}
        if JOB.job is None:
            self.cancel(context)
            operator.report({"INFO"}, self.cancelled)
            return {"CANCELLED"}
        until = time.monotonic() + _LONGEST_TICK_S
        try:
            while (step := next(JOB.job)) is not None:
                JOB.step = step
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
        """Run the whole job at once, for scripts and background mode."""
        if not self._start(context, None):
            return {"CANCELLED"}
        assert JOB.job is not None
        try:
            return self._finish(context, run_to_end(JOB.job))
        except FaceBlurError as error:
            return self._fail([str(error)])
        finally:
            self._end(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """End the job. Blender also calls this when a file is opened or the window is closed meanwhile."""
        self._end(context)

    def _start(self, context: bpy.types.Context, wait_s: float | None) -> bool:
        try:
            JOB.job = self.begin(context, wait_s)
        except FaceBlurError as error:
            self._fail([str(error)])
            return False
        JOB.problems, JOB.notes, JOB.done = [], [], ""
        return True

    def _end(self, context: bpy.types.Context) -> None:
        stop()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        redraw()

    def _finish(self, context: bpy.types.Context, result: Any) -> set[str]:
        operator: Any = self
        try:
            message, problems = self.finish(context, result)
        except FaceBlurError as error:
            message, problems = "", [str(error)]
        if problems:
            self._fail(problems)
        if not message:
            return {"CANCELLED"}
        JOB.done = message
        operator.report({self.level}, message)
        return {"FINISHED"}

    def _fail(self, problems: list[str]) -> set[str]:
        operator: Any = self
        JOB.problems = problems
        for problem in problems:
            operator.report({"ERROR"}, problem)
        return {"CANCELLED"}


def _show_status(context: bpy.types.Context) -> None:
    if context.workspace is not None:
        context.workspace.status_text_set(translate("Face Blur: {step}   ESC: cancel", step=describe_step(JOB.step)))
