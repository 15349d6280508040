# SPDX-License-Identifier: GPL-3.0-or-later
"""The search of enlarged pictures: what counts as a face there, what is followed, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.enlarged import ENLARGED, EnlargedSearch
from blender_faceblur.core.detection.settings import PRESETS
from blender_faceblur.core.geometry import Array
from blender_faceblur.core.types import Detection

PICTURE: NDArray[np.uint8] = np.zeros((360, 640, 3), np.uint8)


class Finder:
    """Finds a bright square in an enlarged picture, whole or a part of it."""

    def __init__(self) -> None:
        self.confidence = 0.9
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, picture: NDArray[np.uint8]) -> list[Detection]:
        self.sizes.append(picture.shape[:2])
        rows, columns = np.nonzero(picture[..., 0] > 127)
        if not len(rows):
            return []
        box = float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1
        return [Detection(box, self.confidence, "finder")]


def draw(x: int) -> NDArray[np.uint8]:
    picture = PICTURE.copy()
    picture[100:112, x : x + 10] = 255
    return picture


def make_search(finder: Finder, score: float = 1.0) -> EnlargedSearch:
    def score_faces(picture: NDArray[np.uint8], boxes: Sequence[Array]) -> list[float]:
        return [score for _ in boxes]

    return EnlargedSearch(finder, score_faces, 25.0)


def test_a_look_finds_a_face_in_pixels_of_the_picture_and_follows_it_in_a_small_window() -> None:
    finder = Finder()
    search = make_search(finder)
    (found,) = search.search(0, draw(200), [], is_look=True)
    np.testing.assert_allclose(found.box, (200, 100, 210, 112), atol=0.51)
    assert search.is_following(3)
    (found,) = search.search(3, draw(204), [], is_look=False)
    np.testing.assert_allclose(found.box, (204, 100, 214, 112), atol=0.51)
    # A picture this wide is searched in two parts that overlap.
    assert finder.sizes == [(720, 736), (720, 736), (192, 192)]


def test_what_the_other_network_denies_is_no_face() -> None:
    search = make_search(Finder(), ENLARGED.look_face_score - 0.01)
    assert search.search(0, draw(200), [], is_look=True) == [] and not search.is_following(1)


def test_what_is_found_as_it_is_is_not_followed() -> None:
    search = make_search(Finder())
    known = [(np.array([198.0, 98, 212, 114]), 0.3)]
    assert search.search(0, draw(200), known, is_look=True) == [] and not search.is_following(1)


def test_a_small_face_is_found_in_what_looks_weakly_like_a_large_one() -> None:
    large, sure = np.array([150.0, 50, 300, 250]), ENLARGED.same_size_confidence
    assert len(make_search(Finder()).search(0, draw(200), [(large, sure - 0.01)], is_look=True)) == 1
    # It may be an eye of a face that is clear.
    assert make_search(Finder()).search(0, draw(200), [(large, sure)], is_look=True) == []


def test_a_face_that_is_followed_may_be_less_clear_than_when_it_was_found() -> None:
    finder = Finder()
    search = make_search(finder)
    search.search(0, draw(200), [], is_look=True)
    finder.confidence = ENLARGED.keep_confidence
    assert len(search.search(3, draw(202), [], is_look=False)) == 1
    assert search.search(6, draw(300), [], is_look=False) == []


def test_it_is_followed_until_looks_have_not_confirmed_it_for_a_while_and_not_beyond_its_shot() -> None:
    scores = [1.0]
    finder = Finder()
    search = EnlargedSearch(finder, lambda picture, boxes: scores[:1] * len(boxes), 25.0)
    search.search(0, draw(200), [], is_look=True)
    scores[0] = 0.0
    last = round(ENLARGED.keep_s * 25)
    assert len(search.search(24, draw(200), [], is_look=True)) == 1
    assert len(search.search(last, draw(200), [], is_look=False)) == 1
    assert search.is_following(last) and not search.is_following(last + 1)
    scores[0] = 1.0
    search.search(last + 50, draw(200), [], is_look=True)
    search.forget()
    assert not search.is_following(last + 51)


def test_large_faces_are_left_to_the_picture_as_it_is() -> None:
    picture = PICTURE.copy()
    picture[100:220, 200:300] = 255
    assert make_search(Finder()).search(0, picture, [], is_look=True) == []


def test_looks_are_due_on_frames_on_which_detectors_run() -> None:
    search = make_search(Finder())
    due = [frame for frame in range(154) if search.is_due(frame, 3)]
    assert due == [0, 51, 102, 153]


def test_presets_seek_enlarged_faces_only_with_a_second_opinion() -> None:
    assert [preset.name for preset in PRESETS if preset.seeks_enlarged] == ["balanced"]
    assert all(preset.second_opinion for preset in PRESETS if preset.seeks_enlarged)
