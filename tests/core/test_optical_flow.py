# SPDX-License-Identifier: GPL-3.0-or-later
"""Optical flow moves boxes with the picture, alone or in a crowd, and gives up where it cannot know."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

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
            assert np.array_equal(alone, among)
    assert together[-1] is None, "outside of the picture"


def test_without_texture_or_in_another_picture_flow_gives_up() -> None:
    before, _ = make_pictures()
    other = np.asarray(before[::-1, ::-1], np.uint8).copy()
    assert sum(box is None for box in track_boxes(before, other, make_boxes(60))) >= 55
    assert track_boxes(before, before, []) == []
