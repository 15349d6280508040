# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharpness: what blur takes away, what it does not depend on, and that nobody is called blurred by mistake."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from blender_faceblur.core.detection.sharpness import measure_sharpness
from blender_faceblur.core.types import Picture

FACE = np.array([177.0, 68.0, 272.0, 195.0])
"""The face in the picture."""
WIDE = float(FACE[2] - FACE[0])


@pytest.fixture(scope="module")
def picture() -> Picture:
    return np.ascontiguousarray(astronaut()[:, :, ::-1])


def blur(picture: Picture, share: float) -> Picture:
    """Out of focus: a Gaussian with this standard deviation, in widths of the face."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), share * WIDE), np.uint8)


def test_the_more_a_face_is_blurred_the_less_sharp_it_is(picture: Picture) -> None:
    values = [measure_sharpness(blur(picture, share), FACE) for share in (0.01, 0.04, 0.06, 0.09, 0.15)]
    assert values[0] == 1.0 and values[-1] == 0.0
    assert values == sorted(values, reverse=True) and len(set(values)) >= 4


@pytest.mark.parametrize("degrees", [0, 90])
def test_motion_in_one_direction_blurs_as_well(picture: Picture, degrees: int) -> None:
    kernel = np.zeros((41, 41), np.float32)
    kernel[20] = 1 / 41
    moved = np.asarray(cv2.filter2D(picture, -1, kernel if degrees == 0 else kernel.T), np.uint8)
    assert measure_sharpness(moved, FACE) < 0.5 < measure_sharpness(picture, FACE)


def test_neither_light_nor_size_makes_a_sharp_face_blurred(picture: Picture) -> None:
    dim = (0.15 * picture).astype(np.uint8)
    small = np.asarray(cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.uint8)
    large = np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
    for changed, scale in ((dim, 1.0), (small, 0.25), (large, 2.0)):
        assert measure_sharpness(changed, scale * FACE) > 0.9


@pytest.mark.parametrize("box", [(-300, 0, -200, 100), (600, 10, 700, 130), (10, 10, 13, 13)])
def test_what_cannot_be_told_counts_as_sharp(picture: Picture, box: tuple[float, ...]) -> None:
    assert measure_sharpness(picture, np.array(box, float)) == 1.0
    plain: NDArray[np.uint8] = np.full_like(picture, 90)
    assert measure_sharpness(plain, np.array(box, float)) == 1.0
