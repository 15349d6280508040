# SPDX-License-Identifier: GPL-3.0-or-later
"""Optical flow moves boxes with the picture, alone or in a crowd, and gives up where it cannot know."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.tracking import optical_flow
from blender_faceblur.core.tracking.optical_flow import OPTICAL_FLOW, track_boxes

SHIFT = np.array([3.0, -2.0])


def make_pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Soft noise, and the same moved by SHIFT."""
    noise = np.random.default_rng(1).integers(0, 255, (360, 640)).astype(np.uint8)
    before = cv2.GaussianBlur(noise, (0, 0), 4)
    after = cv2.warpAffine(before, np.array([[1, 0, SHIFT[0]], [0, 1, SHIFT[1]]]), (640, 360))
    return np.asarray(before, np.uint8), np.asarray(after, np.uint8)


def make_boxes(count: int) -> list[NDArray[np.float64]]:
    corners = np.random.default_rng(2).uniform((40, 40), (580, 290), (count, 2))
    return [np.array([x, y, x + 22, y + 28]) for x, y in corners]


@pytest.mark.parametrize("count", [1, OPTICAL_FLOW.crowd_boxes - 1, OPTICAL_FLOW.crowd_boxes, 300])
def test_boxes_move_with_the_picture_however_many_there_are(count: int) -> None:
    before, after = make_pictures()
    boxes = make_boxes(count)
    moved = track_boxes(before, after, boxes)
    known = [(box, one) for box, one in zip(boxes, moved, strict=True) if one is not None]
    assert len(known) >= 0.97 * count, "a few boxes lie where the noise is flat"
    assert all(np.abs(one - box - np.tile(SHIFT, 2)).max() < 0.05 for box, one in known)


def test_a_box_moves_alike_alone_and_among_others() -> None:
    before, after = make_pictures()
    boxes = [*make_boxes(20), np.array([-10.0, 100, 12, 130]), np.array([700.0, 100, 730, 130])]
    together = track_boxes(before, after, boxes)
    for box, among in zip(boxes, together, strict=True):
        (alone,) = track_boxes(before, after, [box])
        if alone is None or among is None:
            assert alone is among
        else:
            # Alone, only the surroundings of the box are looked at.
            assert np.abs(alone - among).max() < 0.01
    assert together[-1] is None, "outside of the picture"


def test_without_texture_or_in_another_picture_flow_gives_up() -> None:
    before, _ = make_pictures()
    other = np.asarray(before[::-1, ::-1], np.uint8).copy()
    assert sum(box is None for box in track_boxes(before, other, make_boxes(60))) >= 55
    assert track_boxes(before, before, []) == []


@pytest.mark.parametrize(("shift", "looks_at_all"), [((3.0, -2.0), False), ((39.0, 0.0), True)])
def test_only_the_surroundings_are_looked_at_unless_points_move_far(
    shift: tuple[float, float], looks_at_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Coarse enough to be recognised after a long way.
    noise = np.random.default_rng(1).normal(0, 1, (360, 640))
    before = np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 20), None, 0, 255, cv2.NORM_MINMAX), np.uint8)
    after = np.asarray(cv2.warpAffine(before, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (640, 360)), np.uint8)
    boxes, track = [np.array([301.0, 151, 341, 199])], optical_flow._track_points
    seen: list[tuple[int, ...]] = []

    def spy(first: NDArray[np.uint8], *more: Any) -> Any:
        seen.append(first.shape)
        return track(first, *more)

    monkeypatch.setattr(optical_flow, "_track_points", spy)
    (near,) = track_boxes(before, after, boxes)
    assert seen[0][0] < 300 and seen[0][1] < 300 and (before.shape in seen) == looks_at_all
    monkeypatch.setattr(optical_flow, "_track_near", track)
    (whole,) = track_boxes(before, after, boxes)
    assert near is not None and whole is not None
    assert np.abs(near - whole).max() < 0.01 and np.abs(near - boxes[0] - np.tile(shift, 2)).max() < 0.1
