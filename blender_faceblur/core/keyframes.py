# SPDX-License-Identifier: GPL-3.0-or-later
"""Make keyframes of a track: as few ellipses as linear motion between them allows, never inside the tracked one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .geometry import Array
from .sparse import Bounds, choose_keys, find_centres, find_reaches, lead_out
from .types import Ellipse, Evidence, Keyframe, Sample, Track

HANDLE = 0.5523
"""Length of a Bezier handle for a quarter of a unit circle; with it the curve is nowhere inside the circle and
nowhere more than 0.03 % outside."""

TOLERANCE_SHARE, TOLERANCE_PX = 0.08, 3.0
_LOCKED_PX = 0.5

_BEZIER_EXCESS = 3e-4
# Between two compared directions the difference of two ellipses that lie within the tolerance of each other can be
# larger by about 4 % of the tolerance.
_BETWEEN = 0.04
_LITTLE, _HALF = 0.2, 0.5
"""Where candidates lie between the bounds, in parts of the tolerance."""


def find_tolerance_px(ellipses: Array) -> Array:
    """How far the mask may lie outside tracked ellipses (N x 5, without expansion): 8 % of the height or 3 px."""
    return np.maximum(TOLERANCE_SHARE * 2 * np.maximum(ellipses[:, 2], ellipses[:, 3]), TOLERANCE_PX)


def simplify(track: Track, expansion: float, frame_size: tuple[int, int]) -> list[Keyframe]:
    """Keys (safety expansion included) between which linear motion keeps to the track's ellipses.

    At every frame of every span of the track the mask contains `sample.ellipse.scaled(expansion)`, and reaches at most
    `find_tolerance_px` beyond it; the latter is not asked where the ellipse is wholly outside the picture of
    `frame_size` (width, height). Each span has a key on its first and on its last frame, and what an editor has locked
    is met within half a pixel.
    """
    keys: list[Keyframe] = []
    at = 0
    for start, stop in track.spans():
        keys += _simplify_span(track.samples[at:at + stop - start], expansion, frame_size)
        at += stop - start
    return keys


def opacity_spans(track: Track) -> list[tuple[int, int]]:
    """The half-open frame ranges in which the track's mask is opaque; everywhere else it is fully transparent."""
    return track.covered_spans()


def interpolate(frames: Sequence[int], values: Array, source_frame: int) -> Array:
    """The value at a frame of `values` (K x ...) that are keyed at `frames` (K, in rising order), as Blender makes it.

    It is linear between keys. Before the first key the first value holds, after the last key the last one.
    """
    right = min(bisect_left(frames, source_frame), len(frames) - 1)
    left = max(right - 1, 0) if frames[right] > source_frame else right
    if left == right:
        return np.asarray(values[right])
    part = (source_frame - frames[left]) / (frames[right] - frames[left])
    return np.asarray(values[left] + part * (values[right] - values[left]))


def _simplify_span(samples: list[Sample], expansion: float, frame_size: tuple[int, int]) -> list[Keyframe]:
    faces = np.array([(e.cx, e.cy, e.rx, e.ry, e.angle) for e in (s.ellipse for s in samples)])
    # An ellipse turned by half a turn is the same; the points that Blender moves are not.
    faces[:, 4] = np.unwrap(faces[:, 4], period=np.pi)
    tolerance = find_tolerance_px(faces)
    tolerance[[s.evidence is Evidence.LOCKED for s in samples]] = _LOCKED_PX
    faces[:, 2:4] *= expansion
    reaches = find_reaches(faces)
    inner = reaches + _BETWEEN * tolerance[:, None]
    outer = reaches * (1 - _BEZIER_EXCESS) + (1 - _BETWEEN) * tolerance[:, None]
    outer[_is_outside(faces, tolerance, frame_size)] = np.inf
    centres = find_centres(faces)
    little, half = faces.copy(), faces.copy()
    little[:, 2:4] += _LITTLE * tolerance[:, None]
    half[:, 2:4] += _HALF * tolerance[:, None]
    frames, keys = choose_keys([little, half, lead_out(half, tolerance)], Bounds(centres, inner, centres, outer))
    return [Keyframe(samples[i].source_frame, Ellipse(*key)) for i, key in zip(frames, keys.tolist(), strict=True)]


def _is_outside(ellipses: Array, tolerance: Array, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    far = np.maximum(ellipses[:, 2], ellipses[:, 3]) + tolerance
    x, y = ellipses[:, 0], ellipses[:, 1]
    return (x + far < 0) | (y + far < 0) | (x - far > frame_size[0]) | (y - far > frame_size[1])
