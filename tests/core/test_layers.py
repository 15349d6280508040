# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a track's layer: where it is opaque, and its outline between two keys."""

from __future__ import annotations

import numpy as np

from blender_faceblur.core.cover.layers import FEATHER_SHARE, compute_control_points, flatten, plan_layer
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track

SIZE = (640, 360)


def make_track(frames: list[int]) -> Track:
    samples = [Sample(f, Ellipse(100 + 4 * f, 120, 30, 40), Evidence.DETECTED, 0.9) for f in frames]
    return Track("Face 01", samples)


def test_a_layer_is_opaque_from_half_a_frame_before_its_spans() -> None:
    track = make_track([*range(5, 10), *range(20, 24)])
    track.off = [(6, 8)]
    layer = plan_layer(track, 1.4, SIZE)
    shown = [frame / 4 for frame in range(4 * 30) if layer.covers(frame / 4)]
    expected = [f / 4 for f in range(120) for a, b in ((5, 6), (8, 10), (20, 24)) if a - 0.5 <= f / 4 < b]
    assert shown == expected


def test_the_outline_contains_the_ellipse_with_its_margin_and_follows_it_linearly() -> None:
    track = make_track(list(range(40)))
    layer = plan_layer(track, 1.4, SIZE)
    for frame in (0, 3, 17.5, 39):
        points, feather = layer.outline_at(frame)
        polygon = flatten(points, 32)
        away = np.hypot((polygon[:, 0] - (100 + 4 * frame)) / (30 * 1.4), (polygon[:, 1] - 120) / (40 * 1.4))
        assert away.min() > 0.999 and away.max() < 1.15
        assert FEATHER_SHARE * 30 * 1.4 <= feather <= FEATHER_SHARE * 30 * 1.4 + 1


def test_the_control_points_of_a_turned_ellipse_lie_on_it() -> None:
    ellipse = Ellipse(50, 60, 20, 10, 0.5)
    polygon = flatten(compute_control_points(ellipse), 64) - (50, 60)
    cos, sin = np.cos(0.5), np.sin(0.5)
    u, v = polygon[:, 0] * cos + polygon[:, 1] * sin, polygon[:, 1] * cos - polygon[:, 0] * sin
    assert np.allclose(np.hypot(u / 20, v / 10), 1, atol=4e-4)
