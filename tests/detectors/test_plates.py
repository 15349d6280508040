# SPDX-License-Identifier: GPL-3.0-or-later
"""The outputs of the number plate network become boxes; with its weights, drawn plates are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError, TrackKind
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.lpd_yunet import LpdYuNet, build_priors, decode
from blender_faceblur.files.paths import get_model_path

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
        places[at, column : column + 2] = (x - cx) / (0.1 * side), (y - cy) / (0.1 * side)
    classes, overlaps = np.zeros((count, 2), np.float32), np.zeros((count, 1), np.float32)
    classes[at, 1], overlaps[at] = 0.81, 1.0
    (plate,) = decode(places, classes, overlaps, SIZE, 0.5)
    assert plate.box == pytest.approx((98, 90, 150, 110), abs=1e-3)
    assert plate.confidence == pytest.approx(0.9) and plate.detector == "lpd_yunet"
    assert decode(places, classes, overlaps, SIZE, 0.95) == []


def test_boxes_wider_than_the_networks_own_pictures_are_dropped() -> None:
    size = (704, 256)
    priors = build_priors(size)
    places, classes, overlaps = (np.zeros((len(priors), columns), np.float32) for columns in (14, 2, 1))
    for at, width, score in ((5, 300, 0.5), (900, 360, 0.9)):
        cx, cy, side = priors[at]
        for column, x in zip((4, 6, 10, 12), (0, width, width, 0), strict=True):
            places[at, column : column + 2] = (
                (x - cx) / (0.1 * side),
                ((100 if column < 8 else 160) - cy) / (0.1 * side),
            )
        classes[at, 1], overlaps[at] = score, 1.0
    (plate,) = decode(places, classes, overlaps, size, 0.3)
    assert plate.box == pytest.approx((0, 100, 300, 160), abs=1e-2)


def test_outputs_of_another_size_are_refused() -> None:
    with pytest.raises(FaceBlurError, match="another"):
        decode(np.zeros((5, 14), np.float32), np.zeros((5, 2), np.float32), np.zeros((5, 1), np.float32), SIZE, 0.5)


def test_detectors_state_what_they_find() -> None:
    assert get_detector("lpd_yunet") is LpdYuNet and LpdYuNet.finds is TrackKind.PLATE
    assert get_detector("yunet_n").finds is TrackKind.FACE


def find_weights() -> Path:
    try:
        return get_model_path(LpdYuNet.name)
    except FaceBlurError as error:
        pytest.skip(str(error))


def draw_plate(width: float, lean: float, left: float, top: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A picture of 640 x 360 with a number plate in it, and the plate's corners (4 x 2)."""
    import cv2

    plate = np.full((140, 440, 3), (160, 60, 20), np.uint8)
    cv2.rectangle(plate, (8, 8), (431, 131), (255, 255, 255), 4)
    cv2.putText(plate, "A8 2M463", (18, 105), cv2.FONT_HERSHEY_SIMPLEX, 2.9, (255, 255, 255), 12, cv2.LINE_AA)
    picture = np.full((360, 640, 3), 90, np.uint8)
    picture[120:330, 120:520] = 66
    along, across = width / 440 * np.cos(lean), width / 440 * np.sin(lean)
    place = np.array([[along, -across, left], [across, along, top]])
    cv2.warpAffine(plate, place, (640, 360), picture, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)
    corners = np.array([(0, 0), (440, 0), (440, 140), (0, 140)]) @ place[:, :2].T + place[:, 2]
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8), corners


def test_with_the_weights_plates_are_found_in_place() -> None:
    detector = LpdYuNet(find_weights(), 0.5, "cpu")
    assert detector.detect(np.full((200, 300, 3), 128, np.uint8)) == []
    for width, lean in ((60, 0.0), (110, 0.15), (110, -0.3), (200, 0.0)):
        picture, corners = draw_plate(width, lean, 300, 240)
        (plate,) = detector.detect(picture)
        wanted = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        assert np.abs(np.array(plate.box) - wanted).max() < 0.1 * width, (width, lean)


def test_with_the_weights_a_plate_in_a_corner_is_found() -> None:
    detector = LpdYuNet(find_weights(), 0.3, "cpu")
    picture, corners = draw_plate(100, 0.0, 530, 320)
    # Its sides are not multiples of the network's stride, so black is added.
    (plate,) = detector.detect(picture[:355])
    assert plate.box == pytest.approx((*corners.min(axis=0), *corners.max(axis=0)), abs=12)
