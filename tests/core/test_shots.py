# SPDX-License-Identifier: GPL-3.0-or-later
"""Sudden changes of the picture are cuts, flashes and pans are not, and dissolves are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.tracking.shots import CutDetector, build_shots, drop_rapid_cuts
from blender_faceblur.core.types import Shot


def make_picture(seed: int) -> NDArray[np.float64]:
    """Spots of light on a dark background, 36 x 64 x 3."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (6, 8, 3))
    return np.asarray(np.kron(coarse, np.ones((6, 8, 1))), np.float64)


def find_shots(pictures: list[NDArray[np.float64]]) -> tuple[list[int], list[int]]:
    finder = CutDetector(25)
    seen = [finder.add_frame(np.clip(p, 0, 255).astype(np.uint8)) for p in pictures]
    return [i for i, (cut, _) in enumerate(seen) if cut], [i for i, (_, mixed) in enumerate(seen) if mixed]


def shake(picture: NDArray[np.float64], count: int, seed: int) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    return [picture + random.normal(0, 3, picture.shape) for _ in range(count)]


def test_a_cut_is_found_at_its_exact_frame() -> None:
    cuts, mixed = find_shots(shake(make_picture(1), 30, 0) + shake(make_picture(2), 30, 0))
    assert cuts == [30] and not mixed


def test_a_flash_is_not_a_cut() -> None:
    pictures = shake(make_picture(1), 30, 0)
    pictures[12] = pictures[12] * 0.5 + 120
    assert find_shots(pictures)[0] == []


def test_a_pan_is_neither_a_cut_nor_a_dissolve() -> None:
    wide = np.concatenate([make_picture(1), make_picture(2), make_picture(3)], axis=1)
    cuts, mixed = find_shots([wide[:, 2 * i : 2 * i + 64] for i in range(60)])
    assert not cuts and not mixed


def test_a_dissolve_is_found() -> None:
    one, two = make_picture(1), make_picture(2)
    pictures = [one] * 30 + [one * (1 - i / 20) + two * i / 20 for i in range(20)] + [two] * 30
    cuts, mixed = find_shots(pictures)
    assert not cuts and mixed
    shots = build_shots(len(pictures), cuts, mixed, 20)
    assert [s.gradual for s in shots] == [False, True]
    assert 30 <= shots[1].start <= 50


def test_shots_cover_all_frames() -> None:
    assert build_shots(100, [40, 70], [], 20) == [Shot(0, 40), Shot(40, 70), Shot(70, 100)]
    assert build_shots(1, [], [], 20) == [Shot(0, 1)]


def test_rapid_cuts_are_dropped() -> None:
    assert drop_rapid_cuts({20, 45, 46, 47, 48, 82, 116, 118}, 30) == [20, 82]
    assert drop_rapid_cuts([10, 16], 30) == [10, 16]
    assert drop_rapid_cuts([], 25) == []
