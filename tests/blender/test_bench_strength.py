# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects that bench strength computes for moving shots equal those that Blender's node groups render."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.obscuring import (
    COLUMNS,
    draw_cover,
    imitate,
    render_tiles,
    to_levels,
    to_linear,
)
from benchmarks.portraits import TILE_PX


@pytest.mark.parametrize(("kind", "samples"), [("mosaic", 5), ("mosaic", 6), ("blur", 6)])
def test_the_computed_effect_is_the_rendered_one(kind: str, samples: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    tiles = [
        np.asarray(
            cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC),
            np.uint8,
        )
        for _ in range(3)
    ]
    # One tile more than a sheet holds, so that a second sheet is rendered.
    many = tiles + [tiles[0]] * (COLUMNS - 2)
    rendered = render_tiles(many, kind, samples, tmp_path)
    assert len(rendered) == len(many) and np.abs(rendered[-1].astype(int) - rendered[0]).max() <= 1
    inside = cv2.erode(draw_cover().astype(np.uint8), np.ones((7, 7))).astype(bool)
    outside = ~cv2.dilate(draw_cover().astype(np.uint8), np.ones((25, 25))).astype(bool)
    for tile, found in zip(tiles, rendered, strict=False):
        apart = np.abs(to_levels(imitate(to_linear(tile), kind, samples)).astype(int) - found)[inside]
        assert apart.mean() < 0.5 and np.percentile(apart, 98) <= 2
        assert np.abs(tile.astype(int) - found)[outside].max() <= 1
