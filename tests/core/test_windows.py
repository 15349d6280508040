# SPDX-License-Identifier: GPL-3.0-or-later
"""Known faces are detected in small parts of the picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.detection.windows import choose_windows, detect_in_windows, touches_edge
from blender_faceblur.core.types import Detection

SIZE = (960, 544)


def find(*places: tuple[float, float, float, float]) -> list[tuple[int, int, int]]:
    return choose_windows([np.array(place) for place in places], SIZE)


def test_a_window_lies_around_the_face_and_inside_the_picture() -> None:
    assert find((480, 260, 520, 310)) == [(404, 189, 192)]
    assert find((480, 260, 560, 360)) == [(360, 150, 320)]
    assert find((-20, -20, 20, 20), (940, 530, 990, 570)) == [(0, 0, 192), (768, 352, 192)]


@pytest.mark.parametrize(
    "places",
    [
        (),
        ((300, 100, 500, 350),),
        tuple((100 * i, 100, 100 * i + 90, 200) for i in range(3)),
    ],
)
def test_the_whole_picture_is_searched_without_a_usable_window(
    places: tuple[tuple[float, float, float, float], ...],
) -> None:
    assert find(*places) == []


def test_detections_are_in_pixels_of_the_whole_picture() -> None:
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    picture[280, 500] = 255

    def detect(image: NDArray[np.uint8]) -> list[Detection]:
        (y,), (x,) = (found.tolist() for found in np.nonzero(image[..., 0]))
        return [Detection((x - 20, y - 25, x + 20, y + 25), 0.9, "one", ((x, y),))]

    (one,) = detect_in_windows(detect, picture, [(404, 189, 192)])
    assert (one.box, one.landmarks) == ((480, 255, 520, 305), ((500, 280),))


def test_faces_cut_off_by_a_window_are_dropped() -> None:
    def detect(image: NDArray[np.uint8]) -> list[Detection]:
        return [Detection((-3.0, 50, 40, 90), 0.9, "one")]

    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    assert detect_in_windows(detect, picture, [(404, 189, 192)]) == []
    assert len(detect_in_windows(detect, picture, [(0, 189, 192)])) == 1


def test_a_box_touches_the_edge_within_a_small_share_of_its_size() -> None:
    assert touches_edge((5, 200, 105, 330), SIZE) and touches_edge((850, 200, 955, 330), SIZE)
    assert touches_edge((400, -30, 500, 60), SIZE) and touches_edge((400, 450, 500, 560), SIZE)
    assert not touches_edge((20, 200, 120, 330), SIZE) and not touches_edge((800, 380, 900, 520), SIZE)
