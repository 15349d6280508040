# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel shows of the work that runs in this Blender, and of what ran last. Never saved."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import bpy

from ..progress import describe_time


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
class State:
    """`step` is None before the first word of the job; `provider` is what the last detector ran on."""

    job: Generator[Step | None, None, Any] | None = None
    step: Step | None = None
    provider: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Any] = field(default_factory=list)
    """What the guard found when it was last asked (`guard.Fault`)."""
    verified: Any = None
    """What came of the film that was verified last (`verifying.Verified`)."""

    @property
    def active(self) -> bool:
        return self.job is not None


STATE = State()
_STAGES = {"follow": "following, ", "verify": "verifying, ", "recognise": "recognising, ", "render": "rendering, ",
           "export": "exporting, "}


def stop() -> None:
    """End the job that runs, with all its processes; its operator finds out at its next tick."""
    if STATE.job is not None:
        STATE.job.close()
    STATE.job, STATE.step = None, None


def describe_step(step: Step | None) -> str:
    if step is None:
        return "Starting"
    which = f"{step.strip} ({step.number} of {step.count})" if step.count > 1 else step.strip
    if step.stage == "link":
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
