# SPDX-License-Identifier: GPL-3.0-or-later
"""Dark pictures are brightened without noise, and moving things are not smeared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.brightening import Averager, brighten, compute_stretch

SHAPE = (120, 160, 3)


def make_dark(seed: int, square_at: int = 40, noise: float = 6.0) -> NDArray[np.uint8]:
    """A dark, noisy picture with a square of 30 levels on a background of 15."""
    picture = np.full(SHAPE, 15.0)
    picture[40:80, square_at : square_at + 40] = 30.0
    picture += np.random.default_rng(seed).normal(0, noise, SHAPE)
    levels: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return levels


def test_only_dark_pictures_are_brightened() -> None:
    assert compute_stretch(np.full((48, 64, 3), 120, np.uint8)) is None
    lit = make_dark(0)
    lit[:10, :40] = 200
    assert compute_stretch(lit) is None
    stretch = compute_stretch(make_dark(0, noise=0))
    assert stretch is not None
    seen = brighten(make_dark(0, noise=0), stretch)
    assert int(seen[60, 60, 0]) - int(seen[10, 10, 0]) > 90


def test_noise_is_averaged_away_where_nothing_moves() -> None:
    averager = Averager()
    for seed in range(8):
        averager.take(make_dark(seed))
    clean = make_dark(0, noise=0).astype(float)
    before, after = (np.abs(p - clean).mean() for p in (make_dark(7).astype(float), averager.average().astype(float)))
    assert after < 0.5 * before


def test_moving_things_are_not_smeared() -> None:
    averager = Averager()
    for seed in range(8):
        averager.take(make_dark(seed, square_at=20 + 12 * seed))
    seen = averager.average().astype(float)
    # The square has just left the first range, and has just reached the second.
    assert abs(seen[45:75, 94:102].mean() - 15) < 3 and abs(seen[45:75, 134:142].mean() - 30) < 3


def test_clean_pictures_and_new_shots_stay_unchanged() -> None:
    averager = Averager()
    for _ in range(3):
        averager.take(make_dark(0, noise=0))
    newest = make_dark(1, square_at=90, noise=0)
    averager.take(newest)
    assert averager.average() is newest
    averager.clear()
    noisy = make_dark(2)
    averager.take(noisy)
    assert averager.average() is noisy
