# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that run in worker processes, and the state that panels show of the current and the last job. Never saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import bpy

from ...core.translation import mark, translate
from ...reporting.progress import describe_time
from ...worker.client import Request, watch_job
from ...worker.protocol import Message, Stage

T = TypeVar("T")

_LEAST_WORK_S = 1.0
"""How long a job must have worked before the remaining time is estimated. Raising it shows a time later, lowering it
shows times that are too long, because the first pictures take longest."""

_RECENT_S, _RECENT_SHARE = 5.0, 0.25
"""The speed is that of the last seconds, or of the last share of the time that a request has worked, whichever is
longer. Raising them makes the remaining time steadier, lowering them makes it follow the film's content."""


@dataclass(frozen=True, slots=True)
class Step:
    """The progress of a job: `share` is 0..1 of the whole job, `left_s` the seconds left (None if not yet known)."""

    strip: str
    number: int
    count: int
    stage: str
    done: int
    total: int
    share: float
    left_s: float | None


@dataclass(slots=True)
class JobState:
    """The state of our work, as the window shows it; one per process. Operators and the guard write it, panels read it.

    A new job clears `problems`, `notes`, `blackened` and `done`; `forget_results` clears all results when another
    project is opened.
    `step` is None until the job reports progress; `provider` is the hardware that the last detector ran on.
    """

    job: Generator[Step | None, None, Any] | None = None
    in_background: bool = False
    """Whether the job runs by itself, beside the editor's work. It prevents nothing, and another job replaces it."""
    step: Step | None = None
    provider: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    done: str = ""
    """What the last job, render or report has done; stays in the tab for an editor who was away."""
    blackened: list[Any] = field(default_factory=list)
    """The faults (`checks.CoverFault`) for which strips were black in the last render, as far as nobody has mended them
    since."""
    faults: list[Any] = field(default_factory=list)
    """The faults that the guard found in its last check (`checks.CoverFault`)."""
    verified: Any = None
    """The result of the last verification of a film (`verification.FilmVerification`)."""

    @property
    def running(self) -> bool:
        """Whether any job is running."""
        return self.job is not None

    @property
    def active(self) -> bool:
        """Whether a job is running that an editor has started and waits for."""
        return self.job is not None and not self.in_background

    def forget_results(self) -> None:
        self.problems, self.notes, self.blackened, self.faults = [], [], [], []
        self.verified, self.done = None, ""

    def forget_undetected(self, scene: str, strips: Collection[str]) -> None:
        """Forget the faults that faces were never detected in these strips."""
        for faults in (self.blackened, self.faults):
            faults[:] = [f for f in faults if not (f.undetected and f.scene == scene and f.strip in strips)]


class JobProgress:
    """Runs one or more worker requests, one after the other, and computes the progress of them all.

    A process first loads its networks, for seconds in which nothing is done, and its first pictures take longest. So
    the time left comes from the speed of late, and has a start for each request that has not begun.
    """

    def __init__(self, count: int, wait_s: float | None, requests: int | None = None) -> None:
        """`count` is the number of sources, `requests` that of requests if it differs; for `wait_s` see `watch_job`."""
        self._count, self._wait_s, self._requests = count, wait_s, requests or count
        self._begun, self._starting_s, self._working_s, self._worked = 0, 0.0, 0.0, 0.0

    def run(
        self,
        request: Request,
        strip: str,
        number: int = 1,
        on_message: Callable[[Message], None] | None = None,
        span: tuple[float, float] | None = None,
    ) -> Generator[Step | None, None, None]:
        """Yield the steps of a request about source `number` (from 1), and None whenever nothing happens for `wait_s`.

        `on_message` gets all other messages. `span` is the share of the whole job (0..1) that is done before and after
        this request; without it, all requests count the same. Raises FaceBlurError if the request fails. Closing it
        ends all processes.
        """
        first, last = span or ((number - 1) / self._count, number / self._count)
        self._begun += 1
        began = time.monotonic()
        # The first reported share, which is more than `first` if an analysis is resumed, and the reports since it grew.
        given: float | None = None
        reports: list[tuple[float, float]] = []
        with closing(watch_job(request, self._wait_s, on_message)) as steps:
            for progress in steps:
                if progress is None:
                    yield None
                    continue
                part = 1.0 if progress.stage is Stage.LINK else progress.done / max(progress.total, 1)
                share = first + part * (last - first)
                if given is None or share <= given:
                    given, reports = share, []
                else:
                    reports.append((time.monotonic(), share))
                yield Step(
                    strip,
                    number,
                    self._count,
                    progress.stage,
                    progress.done,
                    progress.total,
                    share,
                    self._estimate_left(share, reports, began),
                )
        ended = time.monotonic()
        started = reports[0] if reports else (ended, last)
        self._worked += last - started[1]
        self._working_s += ended - started[0]
        self._starting_s += started[0] - began

    def _estimate_left(self, share: float, reports: list[tuple[float, float]], began: float) -> float | None:
        """The seconds left at `share` of the whole job; None if too little was done to know.

        `reports` are the times and shares of the running request, which began at `began`, since it has done something.
        """
        before, now = self._begun - 1, time.monotonic()
        start_s = self._starting_s / before if before else 0.0
        starts_s = start_s * (self._requests - self._begun)
        if reports and now - reports[0][0] >= _LEAST_WORK_S:
            since = max(reports[0][0], now - max(_RECENT_S, _RECENT_SHARE * (now - reports[0][0])))
            then, done = next(report for report in reversed(reports) if report[0] <= since)
            worked, working_s = share - done, now - then
            starts_s = (self._starting_s + reports[0][0] - began) / self._begun * (self._requests - self._begun)
        else:
            worked, working_s = self._worked, self._working_s
            starts_s += 0.0 if reports else max(start_s - (now - began), 0.0)
        if worked <= 0 or working_s < _LEAST_WORK_S:
            return None
        return (1 - share) * working_s / worked + starts_s


def run_to_end(job: Generator[Step | None, None, T], on_step: Callable[[Step], None] | None = None) -> T:
    """Run a job without a timer until it ends, and return its result. `on_step` gets its steps."""
    with closing(job):
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            if step is not None and on_step is not None:
                on_step(step)


JOB = JobState()
_STAGES = mark(
    {
        "follow": "tracking",
        "verify": "verifying",
        "recognise": "recognising",
        "evaluate": "reading the masks",
        "render": "rendering",
        "export": "exporting",
    }
)


def stop() -> None:
    """End the running job with all its processes; its operator notices at its next tick."""
    if JOB.job is not None:
        JOB.job.close()
    JOB.job, JOB.step, JOB.in_background = None, None, False


_LEAST_LEFT_S = 5.0
"""Shorter times left are not shown, but only the bar: up to there they were 1.4 to 3.2 times as long as the truth.
Raising it hides more of them."""


def describe_step(step: Step | None) -> str:
    if step is None:
        return translate("Starting")
    which = (
        translate("{strip} ({number} of {count})", strip=step.strip, number=step.number, count=step.count)
        if step.count > 1
        else step.strip
    )
    if step.stage == Stage.LINK:
        return translate("{which}: linking detections into tracks", which=which)
    stage = translate(_STAGES[step.stage]) if step.stage in _STAGES else ""
    if not step.total:
        return f"{which}: {stage}"
    left = (
        translate(", {time} left", time=describe_time(step.left_s))
        if step.left_s is not None and step.left_s >= _LEAST_LEFT_S
        else ""
    )
    return translate(
        "{which}: {stage}{done} of {total} frames{left}",
        which=which,
        stage=f"{stage}, " if stage else "",
        done=step.done,
        total=step.total,
        left=left,
    )


def describe_blackened(fault: Any) -> str:
    """A fault of `JobState.blackened` in words."""
    return translate("Rendered black: '{strip}'. {text}", strip=fault.strip, text=fault.text)


def redraw() -> None:
    """Redraw every visible sequencer."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()
