# SPDX-License-Identifier: GPL-3.0-or-later
"""The time left that a job shows is true within a factor of two, for one strip and for several."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from blender_faceblur.blender.common import jobs
from blender_faceblur.blender.common.jobs import JobProgress, Step
from blender_faceblur.worker.protocol import Progress, Stage

MEASURED = [
    (2.35, 0),
    (4.77, 0),
    (5.1, 6),
    (5.41, 19),
    (5.75, 33),
    (6.1, 50),
    (6.41, 63),
    (6.74, 80),
    (7.05, 99),
    (7.39, 117),
    (7.7, 134),
    (8.04, 162),
    (8.34, 186),
    (8.66, 209),
    (8.96, 261),
    (9.25, 275),
]
"""Seconds since the start and frames done of an analysis of 275 frames with the preset balanced, on two cores."""
ENDED_S = 9.58


MEASURED_BUSY = [
    (9.0, 0),
    (17.6, 1),
    (21.5, 23),
    (23.1, 29),
    (24.3, 34),
    (26.1, 47),
    (27.5, 69),
    (29.0, 82),
    (30.4, 94),
    (31.8, 106),
    (33.1, 112),
    (35.0, 136),
    (36.3, 150),
]
"""The same of 150 frames, while other programs used the processors. The time left that was shown at 24.3 was 52 s."""
ENDED_BUSY_S = 36.6


class Clock:
    """`time.monotonic`, which only the replaced worker moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def replay(
    monkeypatch: pytest.MonkeyPatch, reports: list[list[tuple[float, int]]], ends: list[float], total: int
) -> tuple[list[tuple[float, Step]], float]:
    """Run one request after another; each reports at these seconds. Returns the steps with their times, and the end."""
    clock = Clock()
    seen: list[tuple[float, Step]] = []

    def watch(request: Any, wait_s: float | None, on_message: Any) -> Iterator[Progress | None]:
        began = clock.now
        for seconds, done in reports[request]:
            clock.now = began + seconds
            yield None
            yield Progress(Stage.DETECT, done, total, 0.0)
        clock.now = began + ends[request]

    monkeypatch.setattr(jobs, "time", clock)
    monkeypatch.setattr(jobs, "watch_job", watch)
    progress = JobProgress(len(reports), 0.0)
    for number in range(len(reports)):
        request: Any = number
        steps = progress.run(request, f"strip {number}", number + 1)
        seen.extend((clock.now, step) for step in steps if step is not None)
    return seen, clock.now


def check(seen: list[tuple[float, Step]], ended: float, least_s: float = 1.0) -> int:
    """Every estimate is true within a factor of two while more than `least_s` are left; returns how many there are."""
    estimates = [(ended - now, step.left_s) for now, step in seen if step.left_s is not None and ended - now > least_s]
    for true, shown in estimates:
        assert true / 2 <= shown <= true * 2, f"{shown:.1f} s were shown when {true:.1f} were left"
    assert all(0 <= a.share <= b.share <= 1 for (_, a), (_, b) in itertools.pairwise(seen))
    return len(estimates)


def test_the_time_left_of_a_short_strip_is_true_within_a_factor_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, ended = replay(monkeypatch, [MEASURED], [ENDED_S], 275)
    assert check(seen, ended) >= 7


def test_no_time_is_shown_where_it_would_be_too_long_to_be_true(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = replay(monkeypatch, [MEASURED], [ENDED_S], 275)
    shown = [step.left_s for _, step in seen if step.left_s is not None and " left" in jobs.describe_step(step)]
    hidden = [step.left_s for _, step in seen if step.left_s is not None and " left" not in jobs.describe_step(step)]
    assert shown and hidden and min(shown) >= 5 > max(hidden)


def test_the_time_left_on_a_busy_computer_is_true_within_a_factor_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, ended = replay(monkeypatch, [MEASURED_BUSY], [ENDED_BUSY_S], 150)
    assert check(seen, ended) >= 9


def test_the_time_left_counts_the_start_of_each_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, ended = replay(monkeypatch, [MEASURED] * 5, [ENDED_S] * 5, 275)
    assert check(seen, ended) >= 60
    assert {step.number for _, step in seen if step.left_s is not None} == {1, 2, 3, 4, 5}


def test_a_resumed_analysis_does_not_count_what_was_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    resumed = [(3.0, 800), *((3.0 + 0.5 * n, 800 + 10 * n) for n in range(21))]
    seen, ended = replay(monkeypatch, [resumed], [13.2], 1000)
    assert check(seen, ended) >= 15


def test_a_stored_analysis_does_not_make_the_rest_look_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, ended = replay(monkeypatch, [[(0.1, 275)], MEASURED, MEASURED], [0.2, ENDED_S, ENDED_S], 275)
    assert check(seen, ended) >= 15
