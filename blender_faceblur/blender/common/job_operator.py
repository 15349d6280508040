# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that wait for a worker process: modal in a window, which stays responsive, and blocking without one."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from .context import is_shown_or_rendered, is_tool_running
from .jobs import JOB, Step, describe_step, redraw, run_to_end, stop

_TICK_S = 0.1
"""How often the window's timer asks a job for progress. Raising it makes the progress bar jerk."""

_LONGEST_TICK_S = 0.02
"""The longest time that one tick may take. Raising it makes the window stutter, lowering it delays the job."""

JobSteps = Generator[Step | None, None, Any]
"""Yields progress, or None if nothing has happened; returns the result. Closing it ends all its processes."""


class JobOperator:
    """An operator whose work is a job. It keeps names only, because an editor may undo, delete and rename meanwhile."""

    # Without REGISTER: Blender's Adjust Last Operation would run the whole job again, and block the window.
    bl_options = {"UNDO"}
    cancelled = "Cancelled; nothing was changed"
    level = "INFO"
    """The report type of its success message."""

    in_background = False
    """Whether it runs by itself, beside the editor's work: ESC does not end it, it does not use the status bar, and it
    ends when the editor starts another job, a render or playback."""

    _timer: bpy.types.Timer | None = None
    _job: JobSteps | None = None
    _result: Any = None
    _done = False

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
        self._show_status(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        operator: Any = self
        if event.type == "ESC" and event.value == "PRESS" and not self.in_background:
            stop()
        elif event.type != "TIMER":
            return {"PASS_THROUGH"}
        if self.in_background and JOB.job is self._job and is_shown_or_rendered(context):
            stop()
        if self._job is None or JOB.job is not self._job:
            self.cancel(context)
            if not self.in_background:
                operator.report({"INFO"}, self.cancelled)
            return {"CANCELLED"}
        try:
            if not self._done:
                self._advance()
        except FaceBlurError as error:
            self._end(context)
            return self._fail([str(error)])
        except BaseException:
            self._end(context)
            raise
        # A tool that is dragging strips keeps pointers to them, and a render reads the masks in its own thread.
        if self._done and not is_tool_running(context, operator.bl_idname) and not bpy.app.is_job_running("RENDER"):
            result = self._result
            self._end(context)
            return self._finish(context, result)
        self._show_status(context)
        redraw()
        return {"PASS_THROUGH"}

    def _advance(self) -> None:
        """Drive the job for at most `_LONGEST_TICK_S`, and keep its result when it ends."""
        assert self._job is not None
        until = time.monotonic() + _LONGEST_TICK_S
        try:
            while (step := next(self._job)) is not None:
                JOB.step = step
                if time.monotonic() > until:
                    break
        except StopIteration as end:
            self._done, self._result = True, end.value

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Run the whole job at once, for scripts and background mode."""
        if not self._start(context, None):
            return {"CANCELLED"}
        assert self._job is not None
        try:
            return self._finish(context, run_to_end(self._job))
        except FaceBlurError as error:
            return self._fail([str(error)])
        finally:
            self._end(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """End the job without a result. Blender also calls this when a file is opened or the window is closed."""
        self._end(context)

    def _start(self, context: bpy.types.Context, wait_s: float | None) -> bool:
        try:
            self._job = self.begin(context, wait_s)
        except FaceBlurError as error:
            self._fail([str(error)])
            return False
        if JOB.running:
            # Only a job in the background, which is taken up again later: see `is_busy`.
            stop()
        JOB.job, JOB.in_background = self._job, self.in_background
        self._done, self._result = False, None
        if not self.in_background:
            JOB.problems, JOB.notes, JOB.blackened, JOB.done = [], [], [], ""
        return True

    def _end(self, context: bpy.types.Context) -> None:
        if JOB.job is self._job:
            stop()
        self._job = None
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None and not self.in_background:
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
            # An error opens a popup under the mouse, which must not interrupt other work.
            operator.report({"WARNING" if self.in_background else "ERROR"}, problem)
        return {"CANCELLED"}

    def _show_status(self, context: bpy.types.Context) -> None:
        if context.workspace is not None and not self.in_background:
            words = translate("Face Blur: {step}   ESC: cancel", step=describe_step(JOB.step))
            context.workspace.status_text_set(words)
