# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces are tracked through missed frames and backwards from their detection, but never across a cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.fusion import FusedDetection
from blender_faceblur.core.tracking.tracker import Flow, FrameRecord, Observation, Tracker

RATE = 25.0


def box_at(frame: int) -> NDArray[np.float64]:
    """The box of a face that moves 3 pixels per frame to the right."""
    return np.array([100.0 + 3 * frame, 100, 150 + 3 * frame, 165])


def move_along(
    before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[NDArray[np.float64]]
) -> list[NDArray[np.float64] | None]:
    """The optical flow of a scene that moves 3 pixels per frame. Pictures are frame numbers here."""
    step = 3.0 * (int(after[0, 0]) - int(before[0, 0]))
    return [box + np.array([step, 0, step, 0]) for box in boxes]


def lose_all(
    before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[NDArray[np.float64]]
) -> list[NDArray[np.float64] | None]:
    return [None] * len(boxes)


def track_faces(
    found: dict[int, float],
    count: int,
    flow: Flow = move_along,
    cut: int = -1,
    box: Callable[[int], NDArray[np.float64]] = box_at,
) -> dict[int, list[Observation]]:
    """The observations by frame of a face that is detected in the given frames with the given confidence."""
    tracker = Tracker(RATE, 0.5, flow)
    records: list[FrameRecord] = []
    for frame in range(count):
        hits = [FusedDetection(box(frame), found[frame], 0.1, 1)] if frame in found else []
        picture = np.full((1, 1), frame, np.uint8)
        records += tracker.step(frame, hits, picture, frame == cut, False)
    records += tracker.finish()
    assert [r.source_frame for r in records] == list(range(count))
    return {r.source_frame: r.observations for r in records}


def test_missed_frames_are_bridged_by_optical_flow() -> None:
    observations = track_faces(dict.fromkeys([*range(10), *range(22, 30)], 0.9), 30)
    assert all(len(observations[f]) == 1 for f in range(30))
    assert {observations[f][0].tracklet for f in range(30)} == {0}
    for frame in range(10, 22):
        assert observations[frame][0].votes == 0
        np.testing.assert_allclose(observations[frame][0].box, box_at(frame))


def test_a_face_is_tracked_backwards_from_its_detection() -> None:
    observations = track_faces(dict.fromkeys(range(40, 50), 0.9), 50)
    assert not observations[10]
    for frame in range(16, 40):
        np.testing.assert_allclose(observations[frame][0].box, box_at(frame))
        assert observations[frame][0].votes == 0


def test_faces_that_begin_together_are_carried_back_together_and_join_what_they_meet() -> None:
    tracker = Tracker(RATE, 0.5, move_along)
    step, records = np.array([3.0, 0, 3, 0]), []
    rows = [np.array([0.0, 90 * row, 0, 90 * row]) for row in range(3)]
    for frame in range(60):
        found = [FusedDetection(box_at(frame) + row, 0.9, None, 2) for row in rows if frame >= 20]
        if frame < 8:
            # The same face as the first one, twelve frames earlier.
            found = [FusedDetection(box_at(frame) + rows[0], 0.9, None, 2)]
        records += tracker.step(frame, found, np.full((4, 4), frame, np.uint8), False, False)
    records += tracker.finish()
    shown = {record.source_frame: {o.tracklet: o.box for o in record.observations} for record in records}
    first, second = (next(n for n, box in shown[20].items() if np.allclose(box, box_at(20) + row)) for row in rows[1:])
    for frame in range(20):
        assert np.allclose(shown[frame][first], box_at(20) + rows[1] - (20 - frame) * step)
        assert np.allclose(shown[frame][second], box_at(20) + rows[2] - (20 - frame) * step)


def test_tracking_stops_at_a_cut() -> None:
    before = track_faces(dict.fromkeys(range(10), 0.9), 30, cut=12)
    assert before[11] and not any(before[f] for f in range(12, 30))
    after = track_faces(dict.fromkeys(range(20, 40), 0.9), 40, cut=15)
    assert after[15] and not any(after[f] for f in range(15))


def test_tracking_without_a_detection_ends() -> None:
    observations = track_faces(dict.fromkeys(range(10), 0.9), 100)
    assert observations[9 + 30] and not any(observations[f] for f in range(9 + 33, 100))


def test_a_low_confidence_detection_is_tracked_only_briefly() -> None:
    observations = track_faces({10: 0.3}, 40)
    assert not observations[9] and not any(observations[f] for f in range(20, 40))


def test_a_face_that_optical_flow_loses_is_continued_near_by() -> None:
    observations = track_faces(dict.fromkeys([*range(10), *range(14, 30)], 0.9), 30, flow=lose_all)
    assert not observations[11]
    assert observations[14][0].tracklet == observations[9][0].tracklet


def test_fast_motion_is_matched_with_optical_flow() -> None:
    def fast(frame: int) -> NDArray[np.float64]:
        return np.array([100.0 + 45 * frame, 100, 150 + 45 * frame, 165])

    def flow(
        before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64] | None]:
        step = 45.0 * (int(after[0, 0]) - int(before[0, 0]))
        return [box + np.array([step, 0, step, 0]) for box in boxes]

    observations = track_faces(dict.fromkeys(range(12), 0.9), 12, flow=flow, box=fast)
    assert {r.tracklet for f in range(12) for r in observations[f]} == {0}
