# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that runs in processes of its own, and what the panel shows of it and of what ran last. Never saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import bpy

from ...reporting.progress import describe_time
from ...worker.client import Request, watch_job
from ...worker.protocol import Message, Stage

T = TypeVar("T")

_TELLING = 0.02
"""The share of a work that must be done before the rest's time is told."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a job is: `share` 0..1 of everything, seconds left (None as long as it is not known)."""

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
    """What the window shows of our work; one for the process. Operators and the guard write it, panels read it.

    A new job begins with no problems and notes; `faults` and `verified` are reset before another project is opened.
    `step` is None before the first word of the job; `provider` is what the last detector ran on.
    """

    job: Generator[Step | None, None, Any] | None = None
    step: Step | None = None
    provider: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Any] = field(default_factory=list)
    """What the guard found when it was last asked (`checks.CoverFault`)."""
    verified: Any = None
    """What came of the film that was verified last (`verification.FilmVerification`)."""

    @property
    def active(self) -> bool:
        return self.job is not None


class JobProgress:
    """A work of one or several requests in processes of their own, one after the other, and how far it is."""

    def __init__(self, count: int, wait_s: float | None) -> None:
        """`count` is the number of requests; `wait_s` see `run_job`."""
        self._count, self._wait_s, self._began = count, wait_s, time.monotonic()

    def run(
        self,
        request: Request,
        strip: str,
        number: int = 1,
        on_message: Callable[[Message], None] | None = None,
        span: tuple[float, float] | None = None,
    ) -> Generator[Step | None, None, None]:
        """Yield the steps of the request of this number (from 1), and None whenever nothing happens for `wait_s`.

        What else is said is heard by `on_message`. `span` are the shares of the work (0..1) that are done before and
        after it; without, all requests count alike. Raises FaceBlurError with what went wrong. Closing ends all
        processes.
        """
        first, last = span or ((number - 1) / self._count, number / self._count)
        with closing(watch_job(request, self._wait_s, on_message)) as steps:
            for progress in steps:
                if progress is None:
                    yield None
                    continue
                part = 1.0 if progress.stage is Stage.LINK else progress.done / max(progress.total, 1)
                share = first + part * (last - first)
                past = time.monotonic() - self._began
                yield Step(
                    strip,
                    number,
                    self._count,
                    progress.stage,
                    progress.done,
                    progress.total,
                    share,
                    past / share * (1 - share) if share > _TELLING else None,
                )


def run_to_end(job: Generator[Step | None, None, T], tell: Callable[[Step], None] | None = None) -> T:
    """Run a job in one go, without a timer; `tell` gets its steps. What it returns. Raises what it raises."""
    with closing(job):
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            if step is not None and tell is not None:
                tell(step)


JOB = JobState()
_STAGES = {
    "follow": "following, ",
    "verify": "verifying, ",
    "recognise": "recognising, ",
    "render": "rendering, ",
    "export": "exporting, ",
}


def stop() -> None:
    """End the job that runs, with all its processes; its operator finds out at its next tick."""
    if JOB.job is not None:
        JOB.job.close()
    JOB.job, JOB.step = None, None


def describe_step(step: Step | None) -> str:
    if step is None:
        return "Starting"
    which = f"{step.strip} ({step.number} of {step.count})" if step.count > 1 else step.strip
    if step.stage == Stage.LINK:
        return f"{which}: joining what was found"
    if not step.total:
        return f"{which}: {_STAGES.get(step.stage, '').removesuffix(', ')}"
    left = f", {describe_time(step.left_s)} left" if step.left_s is not None else ""
    return f"{which}: {_STAGES.get(step.stage, '')}{step.done} of {step.total} frames{left}"


def redraw() -> None:
    """Have every sequencer on the screen drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()
