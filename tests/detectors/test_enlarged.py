# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that detectors see only in an enlarged picture, of a few pixels or half hidden, are covered."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from blender_faceblur.core.types import TrackDocument

from .engine import analyse, compute_covered_share

SIZE, COUNT = (640, 360), 60
FACE = np.array([58.0, 72, 148, 188])
"""From brow to chin and from cheek to cheek, in pixels of the astronaut's head."""


def place_head(frame: int) -> tuple[int, int]:
    """Where the upper left corner of the head lies."""
    return 200 + 2 * frame, 120


def make_pictures(scale: float, hidden_from: float) -> Iterator[NDArray[np.uint8]]:
    """The head, smaller by `scale`, behind a wall that hides it from a share of its height on."""
    head = np.ascontiguousarray(data.astronaut()[0:240, 120:320, ::-1])
    head = np.asarray(cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = head.shape[:2]
    shown = round(hidden_from * height)
    noise = np.random.default_rng(1).normal(0, 1, (45, 80, 3)).astype(np.float32)
    behind = 105 + 20 * np.asarray(cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC))
    for frame in range(COUNT):
        picture = np.clip(behind, 0, 255).astype(np.uint8)
        x, y = place_head(frame)
        picture[y : y + shown, x : x + width] = head[:shown]
        if shown < height:
            picture[y + shown : y + shown + 90] = 70
        yield picture


def list_uncovered(document: TrackDocument, scale: float, hidden_from: float) -> list[int]:
    """The frames in which more than an eighth of the part of the face that shows is not covered."""
    across, down = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    inside = np.hypot(across, down) <= 1
    points = np.stack([across[inside], down[inside]], axis=1) * (FACE[2:] - FACE[:2]) / 2 + (FACE[:2] + FACE[2:]) / 2
    points = points[points[:, 1] < hidden_from * 240] * scale
    return [
        frame for frame in range(COUNT) if compute_covered_share(document, frame, points + place_head(frame)) < 7 / 8
    ]


@pytest.mark.parametrize(("scale", "hidden_from"), [(0.1, 1.0), (0.35, 0.45)])
def test_a_face_that_is_tiny_or_half_hidden_is_covered(scale: float, hidden_from: float) -> None:
    document = analyse("balanced", make_pictures(scale, hidden_from), SIZE, COUNT)
    assert list_uncovered(document, scale, hidden_from) == []
    assert len(document.tracks) == 1


@pytest.mark.parametrize(("scale", "hidden_from"), [(0.1, 1.0), (0.35, 0.45)])
def test_it_would_be_missed_in_the_picture_as_it_is(scale: float, hidden_from: float) -> None:
    document = analyse("balanced", make_pictures(scale, hidden_from), SIZE, COUNT, seeks_enlarged=False)
    assert len(list_uncovered(document, scale, hidden_from)) > COUNT / 2
