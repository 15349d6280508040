# SPDX-License-Identifier: GPL-3.0-or-later
"""The chosen keys stay within their bounds in every frame, are as far apart as possible, and have a fallback."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.tracking.averaging import Runs
from blender_faceblur.core.tracking.sparse import (
    Bounds,
    choose_keys,
    choose_keys_together,
    compute_centres,
    compute_reaches,
)


def make_path(count: int) -> NDArray[np.float64]:
    t = np.arange(count) / 25
    columns = 300 + 90 * np.sin(t), 200 + 40 * np.cos(1.7 * t), 30 + 5 * np.sin(t), 40 + 5 * np.cos(t), 0 * t
    return np.stack(columns, axis=1)


def make_bounds(path: NDArray[np.float64], room: float) -> Bounds:
    centres, reaches = compute_centres(path), compute_reaches(path)
    return Bounds(centres, reaches, centres, reaches + room)


def wider(path: NDArray[np.float64], by: float) -> NDArray[np.float64]:
    return path + np.array([0, 0, by, by, 0], np.float64)


@pytest.mark.parametrize("room", [0.5, 3.0, 12.0])
def test_keys_stay_within_the_bounds(room: float) -> None:
    path = make_path(400)
    frames, keys = choose_keys([wider(path, room / 2), wider(path, 0.2 * room)], make_bounds(path, room))
    assert frames[0] == 0 and frames[-1] == 399 and len(frames) == len(keys) and (np.diff(frames) > 0).all()
    at = np.arange(400)
    # No ellipse is rotated here, so the drawn shape is the ellipse of the mean parameters.
    between = np.stack([np.interp(at, frames, keys[:, i]) for i in range(5)], axis=1)
    excess = compute_reaches(between) - compute_reaches(path)
    off = np.abs(compute_centres(between) - compute_centres(path))
    assert (excess - off).min() >= -1e-9 and (excess + off).max() <= room + 1e-9


def test_more_room_or_more_candidates_need_fewer_keys() -> None:
    path = make_path(400)
    counts = [len(choose_keys([wider(path, room / 2)], make_bounds(path, room))[0]) for room in (1, 4, 16)]
    assert counts[0] > counts[1] > counts[2]
    two = choose_keys([wider(path, 2), wider(path, 1)], make_bounds(path, 4))[0]
    assert len(two) <= counts[1]


def test_the_first_candidate_is_the_fallback() -> None:
    """Where no candidate stays within the outer bound, every frame gets a key, and the inner bound still holds."""
    path = make_path(30)
    frames, keys = choose_keys([wider(path, 9), wider(path, 20)], make_bounds(path, 4))
    assert frames == list(range(30))
    np.testing.assert_allclose(keys, wider(path, 9))


def test_one_or_two_frames_are_all_keyed() -> None:
    for count in (1, 2):
        path = make_path(count)
        frames, keys = choose_keys([wider(path, 1)], make_bounds(path, 2))
        assert frames == list(range(count)) and keys.shape == (count, 5)


def test_keys_of_several_tracks_are_those_of_each_alone() -> None:
    lengths = (1, 2, 40, 400, 3, 90)
    paths = [make_path(length) + np.array([0, 0, 0, 0, 0.1 * length]) for length in lengths]
    whole = np.concatenate(paths)
    frames, keys = choose_keys_together([wider(whole, 2), wider(whole, 1)], make_bounds(whole, 4), Runs(lengths))
    found: list[int] = []
    begin = 0
    for path in paths:
        own, ellipses = choose_keys([wider(path, 2), wider(path, 1)], make_bounds(path, 4))
        count = len(found)
        found += [begin + frame for frame in own]
        np.testing.assert_allclose(keys[count : len(found)], ellipses, rtol=0, atol=1e-9)
        begin += len(path)
    assert frames == found
