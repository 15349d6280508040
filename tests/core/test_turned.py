# SPDX-License-Identifier: GPL-3.0-or-later
"""Turned faces: how boxes turn with their pictures, when a look is due, what confirms it, how long it counts."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.detection.settings import PLATES, PRESETS, TEXT
from blender_faceblur.core.detection.turned import TURNED, TurnedSearch, score_upright, turn_box, turn_picture
from blender_faceblur.core.geometry import Array
from blender_faceblur.core.types import Box, Detection

SMALL: NDArray[np.uint8] = np.zeros((180, 320, 3), np.uint8)
PICTURE: NDArray[np.uint8] = np.zeros((540, 960, 3), np.uint8)
UPSIDE_DOWN = ((120.0, 90.0), (100.0, 90.0), (110.0, 80.0), (118.0, 70.0), (102.0, 70.0))


class Finder:
    """Finds one face, which stands on its head, in the picture turned by half."""

    def __init__(self, confidence: float = 0.9) -> None:
        self.confidence = confidence

    def __call__(self, name: str, picture: NDArray[np.uint8], turns: Collection[int]) -> list[Detection]:
        assert name == "finder"
        box = (95.0, 60.0, 125.0, 100.0)
        return [Detection(box, self.confidence, name, UPSIDE_DOWN) for turn in turns if turn == 180]


def look(finder: Finder, score: float | None, upright: Sequence[Box] = (), confidence: float = 0.9) -> TurnedSearch:
    def score_faces(picture: NDArray[np.uint8], boxes: Sequence[Array]) -> list[float]:
        np.testing.assert_allclose(boxes, [[960 - 375, 540 - 300, 960 - 285, 540 - 180]])
        assert score is not None
        return [score]

    search = TurnedSearch(finder, 25.0, "finder", None if score is None else score_faces)
    search.look(50, SMALL, PICTURE, [Detection(box, confidence, "finder") for box in upright])
    return search


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4, -1])
def test_a_box_turns_with_its_picture(quarters: int) -> None:
    picture = np.zeros((90, 160, 3), np.uint8)
    picture[20:32, 100:140] = 255
    turned = turn_picture(picture, quarters)
    x1, y1, x2, y2 = turn_box(np.array([100.0, 20, 140, 32]), quarters, (160, 90)).astype(int)
    assert (turned[y1:y2, x1:x2] == 255).all() and turned.astype(bool).sum() == 3 * 12 * 40


@pytest.mark.parametrize(
    ("degrees", "side"), [(0, "top"), (90, "right"), (180, "bottom"), (-90, "left"), (200, "bottom")]
)
def test_a_face_is_scored_with_its_forehead_up(degrees: float, side: str) -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    {"top": picture[:10], "right": picture[:, 90:], "bottom": picture[90:], "left": picture[:, :10]}[side][:] = 255

    def score_faces(seen: NDArray[np.uint8], boxes: Sequence[Array]) -> list[float]:
        return [float(seen[:10].mean()) for _ in boxes]

    boxes = [np.array([30.0, 30, 60, 70])] * 2
    assert score_upright(score_faces, picture, boxes, [math.radians(degrees), None])[0] == 255


def test_the_second_opinion_confirms_a_look_and_it_counts_for_a_while() -> None:
    search = look(Finder(), 0.99)
    last = 50 + round(25 * TURNED.keep_s)
    assert search.list_turns(50) == search.list_turns(last) == [180] and not search.list_turns(last + 1)
    assert not look(Finder(), 0.5).list_turns(50)


def test_without_a_second_opinion_a_look_needs_more_confidence() -> None:
    assert look(Finder(0.85), None).list_turns(50) == [180]
    assert not look(Finder(0.7), None).list_turns(50)


def test_an_upright_face_is_no_turned_one_unless_it_is_much_clearer_turned() -> None:
    place = (285, 180, 375, 300)
    assert not look(Finder(), 0.99, [place]).list_turns(50)
    assert look(Finder(), 0.99, [place], confidence=0.7).list_turns(50) == [180]
    assert look(Finder(), 0.99, [(585, 240, 675, 360)]).list_turns(50) == [180]


def test_looks_fall_on_frames_that_detectors_see_about_once_a_second() -> None:
    search = TurnedSearch(Finder(), 25.0, "finder")
    due = [frame for frame in range(200) if search.is_due(frame, 3)]
    assert all(frame % 3 == 0 for frame in due) and np.ptp(np.diff(due)) == 0 and 20 <= due[1] <= 25
    assert [frame for frame in range(4) if TurnedSearch(Finder(), 0.5, "finder").is_due(frame, 1)] == [0, 1, 2, 3]


def test_every_second_look_is_at_a_larger_picture_and_bridges_the_other_one() -> None:
    search = TurnedSearch(Finder(), 25.0, "finder", lambda picture, boxes: [0.0] * len(boxes))
    sides = [search.choose_long_side(frame, 3) for frame in range(200) if search.is_due(frame, 3)]
    assert sides[::2] == [TURNED.fine_probe_long_side_px] * len(sides[::2])
    assert sides[1::2] == [TURNED.probe_long_side_px] * len(sides[1::2])
    assert TURNED.fine_probe_each * TURNED.probe_every_s <= TURNED.keep_s
    alone = TurnedSearch(Finder(), 25.0, "finder")
    assert {alone.choose_long_side(frame, 3) for frame in range(200)} == {TURNED.probe_long_side_px}


def test_presets_for_faces_look_for_turned_ones() -> None:
    assert {preset.name for preset in PRESETS if preset.seeks_turned} == {"fast", "balanced", "thorough"}
    assert not PLATES.seeks_turned and not TEXT.seeks_turned
