# SPDX-License-Identifier: GPL-3.0-or-later
"""A marked place is tracked in both directions from its keys, as long as it is in the picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.tracking.retracking import track_keys
from blender_faceblur.core.types import Ellipse, Evidence, Sample

SIZE = (320, 180)
_rng = np.random.default_rng(3)
_PATCH = _rng.integers(0, 255, (40, 60), dtype=np.uint8)
_GROUND = _rng.integers(100, 140, (180, 320), dtype=np.uint8)


def place(frame: int) -> tuple[int, int]:
    return 40 + 3 * frame, 60 + frame // 2


def draw(frame: int, cut: int = 10**6) -> NDArray[np.uint8]:
    import cv2

    picture = _GROUND.copy() if frame < cut else 255 - _GROUND[:, ::-1]
    x, y = place(frame)
    wide = max(0, min(60, 320 - x))
    if wide and frame < cut:
        picture[y : y + 40, x : x + wide] = _PATCH[:, :wide]
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def at(frame: int) -> Ellipse:
    x, y = place(frame)
    return Ellipse(x + 30, y + 20, 30, 20, 0.1)


def retrack(keys: dict[int, Ellipse], start: int, stop: int, cut: int = 10**6) -> dict[int, Sample]:
    def pictures(first: int, last: int) -> Iterable[tuple[int, NDArray[np.uint8]]]:
        return ((frame, draw(frame, cut)) for frame in range(first, last))

    return {s.source_frame: s for s in track_keys(pictures, keys, start, stop, 1.0, {cut}, SIZE)}


def test_a_face_is_tracked_in_both_directions_from_one_key() -> None:
    samples = retrack({30: at(30)}, 0, 60)
    assert set(samples) == set(range(60)) - {30}
    for frame, sample in samples.items():
        assert abs(sample.ellipse.cx - at(frame).cx) < 3 and abs(sample.ellipse.cy - at(frame).cy) < 3
        assert sample.evidence is Evidence.FLOW and sample.ellipse.angle == 0.1
    assert samples[31].confidence > samples[59].confidence


def test_the_track_between_two_keys_meets_both() -> None:
    start, end = at(10), at(40)
    end = Ellipse(end.cx + 12, end.cy, 40, 24, 0.1)
    samples = retrack({10: start, 40: end}, 0, 60)
    assert abs(samples[11].ellipse.cx - at(11).cx) < 3 and abs(samples[39].ellipse.cx - at(39).cx - 12) < 3
    assert abs(samples[25].ellipse.cx - at(25).cx - 6) < 3
    assert samples[39].ellipse.rx > 37 and samples[11].ellipse.rx < 33


def test_the_track_ends_at_a_cut_and_where_the_face_leaves() -> None:
    assert max(retrack({10: at(10)}, 0, 60, cut=25)) == 24
    assert min(retrack({10: at(10)}, 0, 20, cut=5)) == 5
    last = max(retrack({60: at(60)}, 50, 120))
    # The place is gone from frame 94 on. It is tracked as long as a fifth of it is visible.
    assert 84 <= last <= 94
