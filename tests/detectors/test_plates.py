# SPDX-License-Identifier: GPL-3.0-or-later
"""What the number plates' network says becomes boxes; with its weights, a run on a picture."""

from __future__ import annotations

import numpy as np
import pytest

from blender_faceblur.core.types import FACE, PLATE, Detection, FaceBlurError
from blender_faceblur.detectors import find_detector
from blender_faceblur.detectors.lpd_yunet import LpdYuNet, build_priors, decode
from blender_faceblur.paths import find_model

SIZE = (320, 256)


def test_priors_lie_in_the_middle_of_their_cells() -> None:
    priors = build_priors(SIZE)
    assert len(priors) == 40 * 32 * 3 + 20 * 16 * 2 + 10 * 8 * 2 + 5 * 4 * 3
    assert priors[:4].tolist() == [[4, 4, 10], [4, 4, 16], [4, 4, 24], [12, 4, 10]]
    assert priors[-1].tolist() == [288, 224, 256]


def test_corners_become_a_box() -> None:
    priors = build_priors(SIZE)
    count, at = len(priors), 40 * 32 * 3 + 7
    cx, cy, side = priors[at]
    corners = [(100, 90), (150, 95), (148, 110), (98, 105)]
    places = np.zeros((count, 14), np.float32)
    for column, (x, y) in zip((4, 6, 10, 12), corners, strict=True):
        places[at, column:column + 2] = (x - cx) / (0.1 * side), (y - cy) / (0.1 * side)
    classes, overlaps = np.zeros((count, 2), np.float32), np.zeros((count, 1), np.float32)
    classes[at, 1], overlaps[at] = 0.81, 1.0
    (plate,) = decode(places, classes, overlaps, SIZE, 0.5)
    assert plate.box == pytest.approx((98, 90, 150, 110), abs=1e-3)
    assert plate.confidence == pytest.approx(0.9) and plate.kind == PLATE
    assert decode(places, classes, overlaps, SIZE, 0.95) == []


def test_outputs_of_another_size_are_refused() -> None:
    with pytest.raises(FaceBlurError, match="another"):
        decode(np.zeros((5, 14), np.float32), np.zeros((5, 2), np.float32), np.zeros((5, 1), np.float32), SIZE, 0.5)


def test_faces_are_the_usual_class() -> None:
    assert Detection((0, 0, 1, 1), 0.5, "x").kind == FACE
    assert find_detector("lpd_yunet") is LpdYuNet and find_detector("yunet_n").finds == FACE


def test_an_empty_picture_has_no_plates() -> None:
    try:
        model = find_model(LpdYuNet.name)
    except FaceBlurError as error:
        pytest.skip(str(error))
    assert LpdYuNet(model, 0.8).detect(np.full((200, 300, 3), 128, np.uint8)) == []
