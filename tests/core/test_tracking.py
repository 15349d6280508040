# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces are followed through missed frames, backward from where they were found, and never across a cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.fusion import FusedDetection
from blender_faceblur.core.tracking.tracker import Flow, FrameRecord, Observation, Tracker

RATE = 25.0


def box_at(frame: int) -> NDArray[np.float64]:
    """A face that moves 3 pixels a frame to the right."""
    return np.array([100.0 + 3 * frame, 100, 150 + 3 * frame, 165])


def move_along(
    before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[NDArray[np.float64]]
) -> list[NDArray[np.float64] | None]:
    """Flow of a world that moves 3 pixels a frame; pictures are frame numbers here."""
    step = 3.0 * (int(after[0, 0]) - int(before[0, 0]))
    return [box + np.array([step, 0, step, 0]) for box in boxes]


def lose_all(
    before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[NDArray[np.float64]]
) -> list[NDArray[np.float64] | None]:
    return [None] * len(boxes)


def follow(
    found: dict[int, float],
    count: int,
    flow: Flow = move_along,
    cut: int = -1,
    box: Callable[[int], NDArray[np.float64]] = box_at,
) -> dict[int, list[Observation]]:
    """Rows by frame for a face found with the given confidence at the given frames."""
    tracker = Tracker(RATE, 0.5, flow)
    records: list[FrameRecord] = []
    for frame in range(count):
        hits = [FusedDetection(box(frame), found[frame], 0.1, 1)] if frame in found else []
        picture = np.full((1, 1), frame, np.uint8)
        records += tracker.step(frame, hits, picture, frame == cut, False)
    records += tracker.finish()
    assert [r.source_frame for r in records] == list(range(count))
    return {r.source_frame: r.observations for r in records}


def test_missed_frames_are_bridged_by_flow() -> None:
    rows = follow(dict.fromkeys([*range(10), *range(22, 30)], 0.9), 30)
    assert all(len(rows[f]) == 1 for f in range(30))
    assert {rows[f][0].tracklet for f in range(30)} == {0}
    for frame in range(10, 22):
        assert rows[frame][0].votes == 0
        np.testing.assert_allclose(rows[frame][0].box, box_at(frame))


def test_a_face_is_carried_back_from_where_it_was_found() -> None:
    rows = follow(dict.fromkeys(range(40, 50), 0.9), 50)
    assert not rows[10]
    for frame in range(16, 40):
        np.testing.assert_allclose(rows[frame][0].box, box_at(frame))
        assert rows[frame][0].votes == 0


def test_nothing_is_carried_across_a_cut() -> None:
    before = follow(dict.fromkeys(range(10), 0.9), 30, cut=12)
    assert before[11] and not any(before[f] for f in range(12, 30))
    after = follow(dict.fromkeys(range(20, 40), 0.9), 40, cut=15)
    assert after[15] and not any(after[f] for f in range(15))


def test_a_face_is_not_carried_for_ever() -> None:
    rows = follow(dict.fromkeys(range(10), 0.9), 100)
    assert rows[9 + 30] and not any(rows[f] for f in range(9 + 33, 100))


def test_a_weak_hit_alone_is_hardly_carried() -> None:
    rows = follow({10: 0.3}, 40)
    assert not rows[9] and not any(rows[f] for f in range(20, 40))


def test_a_face_that_flow_loses_is_taken_up_again_near_by() -> None:
    rows = follow(dict.fromkeys([*range(10), *range(14, 30)], 0.9), 30, flow=lose_all)
    assert not rows[11]
    assert rows[14][0].tracklet == rows[9][0].tracklet


def test_fast_motion_is_matched_through_flow() -> None:
    def fast(frame: int) -> NDArray[np.float64]:
        return np.array([100.0 + 45 * frame, 100, 150 + 45 * frame, 165])

    def flow(
        before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64] | None]:
        step = 45.0 * (int(after[0, 0]) - int(before[0, 0]))
        return [box + np.array([step, 0, step, 0]) for box in boxes]

    rows = follow(dict.fromkeys(range(12), 0.9), 12, flow=flow, box=fast)
    assert {r.tracklet for f in range(12) for r in rows[f]} == {0}
