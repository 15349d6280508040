# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotated and tiled passes: boxes and landmarks are mapped back to the original picture."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.detection.settings import DetectorUse
from blender_faceblur.core.types import Detection
from blender_faceblur.detectors.base import FaceDetector
from blender_faceblur.detectors.passes import DetectionPass, MultiPassDetector, combine_passes, split_side

RED = (0, 0, 255)


class FindsRed(FaceDetector):
    """Takes every red spot for a face; its landmarks are the centre, except the first, which lies above it."""

    name = "red"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        import cv2

        self.sizes.append((image_bgr.shape[1], image_bgr.shape[0]))
        spots = ((image_bgr[..., 2] > 127) & (image_bgr[..., 0] < 127)).astype(np.uint8)
        found = []
        for x, y, w, h, _ in cv2.connectedComponentsWithStats(spots)[2][1:].tolist():
            middle = (x + w / 2, y + h / 2)
            found.append(
                Detection(
                    (x, y, x + w, y + h), 0.9, self.name, ((middle[0], middle[1] - 10), middle, middle, middle, middle)
                )
            )
        return found


def paint(width: int, height: int, x: int, y: int, size: int) -> NDArray[np.uint8]:
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[y : y + size, x : x + size] = RED
    return picture


@pytest.mark.parametrize("turn", [0, 90, 180, 270, 360, -90])
def test_quarter_turns_are_exact(turn: int) -> None:
    found = MultiPassDetector([DetectionPass(FindsRed(), (turn,))]).detect(paint(160, 90, 100, 20, 12))
    assert [d.box for d in found] == [pytest.approx((100, 20, 112, 32))]
    assert found[0].landmarks is not None
    turned = math.radians(-turn)
    above = (106 + 10 * math.sin(turned), 26 - 10 * math.cos(turned))
    assert found[0].landmarks[0] == pytest.approx(above) and found[0].landmarks[1] == pytest.approx((106, 26))


@pytest.mark.parametrize("turn", [35, -35, 20])
@pytest.mark.parametrize(("x", "y"), [(2, 3), (135, 60), (70, 40)])
def test_other_turns_are_mapped_back_to_the_place(turn: int, x: int, y: int) -> None:
    red = FindsRed()
    found = MultiPassDetector([DetectionPass(red, (turn,))]).detect(paint(160, 90, x, y, 24))
    assert red.sizes[0][0] > 160 and red.sizes[0][1] > 90, "the corners must stay visible"
    x1, y1, x2, y2 = found[0].box
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((x + 12, y + 12), abs=0.7)
    assert x1 <= x and y1 <= y and x2 >= x + 24 and y2 >= y + 24


def test_the_same_face_in_two_turns_is_reported_once() -> None:
    assert (
        len(
            MultiPassDetector([DetectionPass(FindsRed(), (0, 90, 35)), DetectionPass(FindsRed())]).detect(
                paint(200, 100, 60, 40, 20)
            )
        )
        == 1
    )


@pytest.mark.parametrize(("x", "y"), [(10, 10), (75, 40), (77, 42), (148, 84), (72, 2)])
def test_tiles_are_enlarged_and_cover_the_whole_picture(x: int, y: int) -> None:
    red = FindsRed()
    found = MultiPassDetector([DetectionPass(red, (0,), 2)]).detect(paint(160, 96, x, y, 8))
    assert [d.box for d in found] == [pytest.approx((x, y, x + 8, y + 8), abs=0.6)]
    assert len(red.sizes) == 4 and max(red.sizes)[0] <= 160 * 1.25 + 2


def test_faces_larger_than_the_limit_are_dropped() -> None:
    picture = paint(200, 100, 60, 40, 20)
    assert len(MultiPassDetector([DetectionPass(FindsRed(), (90,), 1, 0.11)]).detect(picture)) == 1
    assert MultiPassDetector([DetectionPass(FindsRed(), (90,), 1, 0.09)]).detect(picture) == []


def test_each_pass_has_its_own_threshold() -> None:
    red = FindsRed()
    used: list[tuple[FaceDetector, DetectorUse]] = [
        (red, DetectorUse("red", 640, 0.2)),
        (red, DetectorUse("red", 320, 0.95)),
    ]
    low, high = (detector.detect(paint(200, 100, 60, 40, 20)) for detector, _ in combine_passes(used, (1280, 720)))
    assert len(low) == 1 and high == []


def test_a_box_at_the_edge_may_be_less_confident() -> None:
    for threshold, edge_threshold, inside, cut in ((0.95, 0.5, 0, 1), (0.95, None, 0, 0), (0.5, 0.95, 1, 0)):
        detector = MultiPassDetector([DetectionPass(FindsRed(), threshold=threshold, edge_threshold=edge_threshold)])
        assert len(detector.detect(paint(160, 90, 60, 30, 20))) == inside
        assert len(detector.detect(paint(160, 90, 60, 0, 20))) == cut


def test_parts_cover_the_side_and_overlap() -> None:
    for length, parts in ((100, 2), (101, 3), (7, 2)):
        ranges = split_side(length, parts)
        assert len(ranges) == parts and ranges[0][0] == 0 and ranges[-1][1] == length
        assert all(b < a for (_, a), (b, _) in itertools.pairwise(ranges))


def test_passes_of_one_size_are_combined_and_none_is_lost() -> None:
    red = FindsRed()
    used: list[tuple[FaceDetector, DetectorUse]] = [
        (red, DetectorUse("red", 1280, 0.2)),
        (red, DetectorUse("red", 640, 0.2)),
        (red, DetectorUse("red", 960, 0.2, turns=(90,))),
    ]
    assert len(combine_passes(used, (1920, 1080))) == 3
    ((small, use),) = combine_passes(used, (320, 240))
    assert use.detector == "red"
    small.detect(paint(320, 240, 5, 5, 9))
    assert red.sizes == [(320, 240), (240, 320)]
