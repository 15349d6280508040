# SPDX-License-Identifier: GPL-3.0-or-later
"""Alignment maps landmarks to the template, whatever the position, size and rotation of the face."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.recognition import RECOGNIZERS
from blender_faceblur.recognition.alignment import crop_aligned, fit_similarity_transform

TEMPLATE = np.asarray(RECOGNIZERS[0].template)
SIDE = RECOGNIZERS[0].side


def place(scale: float, turn_deg: float, x: float, y: float) -> NDArray[np.float64]:
    """The template's points, scaled, turned and moved."""
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    points: NDArray[np.float64] = scale * TEMPLATE @ np.array([[c, s], [-s, c]]) + (x, y)
    return points


@pytest.mark.parametrize(("scale", "turn_deg"), [(1, 0), (0.3, 20), (4, -35), (1.5, 180)])
def test_the_transform_maps_points_to_the_template(scale: float, turn_deg: float) -> None:
    points = place(scale, turn_deg, 700, 40)
    matrix = fit_similarity_transform(points, TEMPLATE)
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE)
    assert math.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(1 / scale)


def test_a_face_is_never_mirrored_or_squeezed() -> None:
    matrix = fit_similarity_transform(TEMPLATE[[1, 0, 2, 4, 3]] * (1, 1.7), TEMPLATE)
    assert matrix[0, 0] == matrix[1, 1] and matrix[0, 1] == -matrix[1, 0]


@pytest.mark.parametrize("points", [np.full((5, 2), 3.0), np.full((5, 2), np.nan)])
def test_landmarks_in_one_point_are_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="one point"):
        fit_similarity_transform(points, TEMPLATE)


@pytest.mark.parametrize(("scale", "turn_deg"), [(1, 0), (0.5, -30), (2.7, 15), (6, 90)])
def test_the_crop_has_the_landmarks_at_the_template(scale: float, turn_deg: float) -> None:
    import cv2

    points = place(scale, turn_deg, 400.5, 300.25)
    points += (700, 600) - points.mean(axis=0)
    picture = np.zeros((1200, 1400, 3), np.uint8)
    for x, y in points:
        # OpenCV draws with 4 fractional bits, from the centre of the first pixel.
        cv2.circle(
            picture, (round((x - 0.5) * 16), round((y - 0.5) * 16)), round(5 * scale * 16), (255, 255, 255), -1, shift=4
        )
    cut = crop_aligned(picture, points, TEMPLATE, SIDE)
    assert cut.shape == (SIDE, SIDE, 3)
    _, _, _, centres = cv2.connectedComponentsWithStats((cut[..., 0] > 127).astype(np.uint8))
    found = np.array(sorted(centres[1:].tolist())) + 0.5
    assert np.abs(found - np.array(sorted(TEMPLATE.tolist()))).max() < 0.6


def test_a_face_beyond_the_edge_is_cropped_too() -> None:
    picture = np.full((60, 80, 3), 90, np.uint8)
    for x in (-300.0, 20.0, 400.0):
        cut = crop_aligned(picture, place(1, 0, x, -100), TEMPLATE, SIDE)
        assert cut.shape == (SIDE, SIDE, 3) and (cut == 90).all()
