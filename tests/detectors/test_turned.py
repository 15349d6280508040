# SPDX-License-Identifier: GPL-3.0-or-later
"""A film that was shot upside down, or with the telephone on its side: its faces are covered from their first frame."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from blender_faceblur.core.detection.turned import turn_box, turn_picture
from blender_faceblur.core.types import TrackDocument

from .engine import analyse, compute_covered_share

SIZE, COUNT, COMES = (640, 360), 50, 10
FACE = np.array([178.0, 72, 268, 188])
"""From brow to chin and from cheek to cheek, in pixels of scikit-image's astronaut."""


def place_face(frame: int) -> tuple[int, int]:
    """Where the upper left corner of the astronaut's head lies, who comes into the picture at `COMES`."""
    return 60 + 3 * frame, 90


def make_pictures(quarters: int, blur_px: int) -> Iterator[NDArray[np.uint8]]:
    head = np.ascontiguousarray(data.astronaut()[0:240, 120:320, ::-1])
    for frame in range(COUNT):
        picture = np.full((SIZE[1], SIZE[0], 3), (110, 120, 100), np.uint8)
        if frame >= COMES:
            x, y = place_face(frame)
            picture[y : y + 240, x : x + 200] = head
        yield turn_picture(np.asarray(cv2.blur(picture, (blur_px, 1)), np.uint8), quarters)


def analyse_turned(preset: str, quarters: int, blur_px: int, seeks_turned: bool = True) -> TrackDocument:
    size = SIZE if quarters % 2 == 0 else SIZE[::-1]
    return analyse(preset, make_pictures(quarters, blur_px), size, COUNT, seeks_turned)


def list_uncovered(document: TrackDocument, quarters: int) -> list[int]:
    """The frames in which more than an eighth of the face is not covered."""
    across, down = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    inside = np.hypot(across, down) <= 1
    uncovered = []
    for frame in range(COMES, COUNT):
        x, y = place_face(frame)
        box = turn_box(FACE - np.tile((120, 0), 2) + np.tile((x, y), 2), quarters, SIZE)
        points = np.stack([across[inside], down[inside]], axis=1) * (box[2:] - box[:2]) / 2 + (box[:2] + box[2:]) / 2
        if compute_covered_share(document, frame, points) < 7 / 8:
            uncovered.append(frame)
    return uncovered


@pytest.mark.parametrize("blur_px", [1, 25])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_face_is_covered_however_the_film_was_turned(preset: str, quarters: int, blur_px: int) -> None:
    document = analyse_turned(preset, quarters, blur_px)
    assert list_uncovered(document, quarters) == []
    assert len(document.tracks) == 1


@pytest.mark.parametrize(("preset", "quarters", "blur_px"), [("balanced", 1, 25), ("fast", 1, 1)])
def test_it_would_be_missed_without_looks_at_turned_pictures(preset: str, quarters: int, blur_px: int) -> None:
    """Upside down, balanced covers it even then, since it is large and no other face is there."""
    document = analyse_turned(preset, quarters, blur_px, seeks_turned=False)
    assert len(list_uncovered(document, quarters)) > 20
