# SPDX-License-Identifier: GPL-3.0-or-later
"""The grid and the colours of effects."""

from __future__ import annotations

import pytest

from blender_faceblur.core.cover.effects import compute_grid, compute_halvings, to_linear
from blender_faceblur.core.types import FaceBlurError


def test_a_stronger_setting_leaves_fewer_samples() -> None:
    assert compute_grid((1920, 1080), 120, 3) < compute_grid((1920, 1080), 120, 6)
    for face_px in (20, 77, 200, 1000):
        columns, rows = compute_grid((1920, 1080), face_px, 6)
        assert face_px * columns / 1920 <= 6.001 or columns == 2
        assert face_px * rows / 1080 <= 6.001 or rows == 2
        assert 0.37 * 1920 < columns * 2 ** compute_halvings((1920, 1080), columns, rows) <= 1920


@pytest.mark.parametrize("color", ["", "12345", "GGGGGG", "#12345", "1234567", "٣٣٣٣٣٣"])
def test_an_invalid_colour_is_refused(color: str) -> None:
    with pytest.raises(FaceBlurError, match="not a colour"):
        to_linear(color)
