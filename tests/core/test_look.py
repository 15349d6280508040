# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracks are suggested as one person only if time, place and colours agree, and never if they share a frame."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from blender_faceblur.core.people.look import LOOK, Look, compute_look, group_by_look, measure_overlap
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track

RATE = 25.0
FACE: NDArray[np.uint8] = astronaut()[50:210, 145:305]
OTHER: NDArray[np.uint8] = astronaut()[330:490, 20:180]
LOOKS = {"face": compute_look(FACE), "other": compute_look(OTHER)}


def track(name: str, start: int, stop: int, x: float = 200.0, side: float = 80.0) -> Track:
    ellipse = Ellipse(x, 150.0, side / 2, side / 2)
    return Track(name, [Sample(frame, ellipse, Evidence.DETECTED, 0.9) for frame in range(start, stop)])


def group(tracks: list[Track], *looks: Look) -> list[list[str]]:
    return group_by_look(tracks, {one.name: look for one, look in zip(tracks, looks, strict=True)}, RATE)


def test_a_face_that_a_film_comes_back_to_is_found_again_and_the_one_between_is_not_taken_for_it() -> None:
    tracks = [track("a", 0, 50), track("b", 50, 100), track("c", 100, 150)]
    assert group(tracks, LOOKS["face"], LOOKS["other"], LOOKS["face"]) == [["a", "c"]]


def test_people_who_look_the_same_are_never_one_group_if_they_share_a_frame() -> None:
    look = LOOKS["face"]
    twins = [track("a", 0, 50), track("b", 60, 90), track("c", 89, 120)]
    for tracks in (twins, [track("z", 0, 10), *twins]):
        groups = group(tracks, *[look] * len(tracks))
        assert groups, "the first one is at the place of both"
        assert not any({"b", "c"} <= set(names) for names in groups)


@pytest.mark.parametrize(
    "later",
    [
        track("b", 60, 90, x=200.0 + 1.1 * LOOK.most_distance * 80),
        track("b", 60, 90, side=80.0 * 1.1 * LOOK.most_size_ratio),
        track("b", 51 + round(LOOK.most_gap_s * RATE), 90 + round(LOOK.most_gap_s * RATE)),
    ],
)
def test_another_place_size_or_time_is_another_person(later: Track) -> None:
    assert group([track("a", 0, 50), later], LOOKS["face"], LOOKS["face"]) == []


def test_a_track_without_a_picture_is_in_no_group() -> None:
    assert group_by_look([track("a", 0, 50), track("b", 60, 90)], {"a": LOOKS["face"]}, RATE) == []


def test_a_look_depends_little_on_the_light_and_dark_pictures_are_told_apart() -> None:
    assert measure_overlap(LOOKS["face"], LOOKS["face"]) == pytest.approx(1.0)
    assert measure_overlap(LOOKS["face"], compute_look((FACE * 0.7).astype(np.uint8))) > LOOK.least_overlap
    dark = [compute_look((picture * 0.15).astype(np.uint8)) for picture in (FACE, OTHER)]
    assert measure_overlap(*dark) < LOOK.least_overlap
