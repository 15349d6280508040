# SPDX-License-Identifier: GPL-3.0-or-later
"""Detections of several detectors are averaged where they agree, and joined where they disagree."""

from __future__ import annotations

import numpy as np
import pytest

from blender_faceblur.core.detection.fusion import fuse_detections
from blender_faceblur.core.types import Box, Detection


def detect(box: Box, confidence: float, detector: str = "a") -> Detection:
    return Detection(box, confidence, detector)


def test_agreeing_boxes_are_averaged_by_confidence() -> None:
    (fused,) = fuse_detections([detect((0, 0, 100, 100), 0.9), detect((4, 0, 104, 100), 0.3, "b")])
    np.testing.assert_allclose(fused.box, (1, 0, 101, 100))
    assert fused.confidence == 0.9 and fused.votes == 2


def test_both_boxes_are_covered_where_two_confident_detectors_disagree() -> None:
    (fused,) = fuse_detections([detect((0, 0, 100, 100), 0.9), detect((30, 0, 130, 100), 0.8, "b")])
    np.testing.assert_allclose(fused.box, (0, 0, 130, 100))


def test_a_low_confidence_box_beside_another_does_not_double_the_cover() -> None:
    (fused,) = fuse_detections([detect((0, 0, 100, 100), 0.9), detect((30, 0, 130, 100), 0.3, "b")])
    assert fused.box[2] < 110 and fused.votes == 2


@pytest.mark.parametrize("confidence", [0.9, 0.3])
def test_a_box_around_or_inside_another_is_fused(confidence: float) -> None:
    for other in ((-35, -35, 135, 135), (20, 20, 80, 85)):
        (fused,) = fuse_detections([detect((0, 0, 100, 100), 0.91), detect(other, confidence, "b")])
        union = np.concatenate([np.minimum((0, 0), other[:2]), np.maximum((100, 100), other[2:])])
        np.testing.assert_allclose(fused.box, union)
        assert fused.votes == 2


def test_two_boxes_of_one_detector_are_one_vote() -> None:
    (fused,) = fuse_detections(
        [detect((0, 0, 100, 100), 0.9), detect((1, 1, 99, 99), 0.7), detect((2, 2, 98, 98), 0.6)]
    )
    assert fused.votes == 1


def test_five_detectors_give_five_votes() -> None:
    fused = fuse_detections([detect((i, 0, 100 + i, 120), 0.3 + 0.1 * i, name) for i, name in enumerate("abcde")])
    assert [fused.votes for fused in fused] == [5]


def test_faces_side_by_side_stay_separate() -> None:
    fused = fuse_detections(
        [
            detect((0, 0, 100, 100), 0.9),
            detect((80, 0, 180, 100), 0.8),
            detect((500, 0, 510, 10), 0.0),
        ]
    )
    assert [round(fused.box[0]) for fused in fused] == [0, 80, 500]


def test_no_detections_give_no_faces() -> None:
    assert fuse_detections([]) == []
