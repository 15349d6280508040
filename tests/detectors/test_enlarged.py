# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that detectors see only in an enlarged picture, of a few pixels or half hidden, are covered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from blender_faceblur.core.detection.enlarged import ENLARGED, _enlarge, _search, split_length
from blender_faceblur.core.types import Detection, TrackDocument

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


@pytest.mark.parametrize("length", [1088, 1089, 1280, 1920, 2100, 3000])
def test_the_parts_of_an_enlarged_picture_share_the_largest_face(length: int) -> None:
    overlap = 0.12 * length
    parts = split_length(length, overlap)
    assert parts[0][0][0] == 0 and parts[-1][0][1] == length
    assert all(stop - start <= ENLARGED.part_px for (start, stop), _ in parts)
    assert all(start % 32 == 0 for (start, _), _ in parts)
    for (one, own), (other, next_own) in itertools.pairwise(parts):
        assert one[1] - other[0] >= overlap - 32 * (len(parts) > 2) and own[1] == next_own[0]
    assert [parts[0][1][0], parts[-1][1][1]] == [0, length]


@pytest.mark.parametrize("part", [(0, 0, 192, 192), (33, 57, 225, 249), (448, 168, 640, 360), (0, 0, 640, 360)])
def test_a_part_is_cut_out_as_if_the_whole_picture_was_enlarged(
    part: tuple[int, int, int, int],
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    whole = cv2.resize(picture, (640, 360), interpolation=cv2.INTER_LINEAR)
    left, top, right, bottom = part
    assert np.array_equal(_enlarge(picture, part), whole[top:bottom, left:right])


@pytest.mark.parametrize("x", [0, 400, 470, 500, 860])
def test_a_face_where_parts_meet_is_found_once(x: int) -> None:
    """A stand-in for the detector finds the bright square in what it sees."""

    def detect(picture: NDArray[np.uint8]) -> list[Detection]:
        rows, columns = np.nonzero(picture[..., 0] > 200)
        if not len(rows):
            return []
        return [Detection((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), 0.9, "square")]

    picture = np.zeros((544, 960, 3), np.uint8)
    picture[200:300, x : x + 100] = 255
    (found,) = _search(detect, picture, [])
    assert np.abs(np.subtract(found.box, (x, 200, x + 100, 300))).max() <= 1
