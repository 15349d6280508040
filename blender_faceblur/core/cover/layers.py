# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the layers that cover a document's tracks. Blender's masks and the direct renderer both follow such plans."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..geometry import Array
from ..types import Ellipse, Track, TrackDocument
from .keyframes import HANDLE, interpolate, simplify

FEATHER_SHARE = 0.08
"""Width of the soft edge, as a share of the ellipse's shorter half axis. The whole edge lies outside the ellipse."""

CORNERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
"""The four points of an ellipse, in half axes from its centre."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The layer that covers one track: a closed Bezier curve of four points, keyed at a few frames.

    Between two keys every number is linear; before the first and after the last it is constant. The layer is opaque in
    its `spans` and absent elsewhere.
    """

    track: str
    frames: tuple[int, ...]
    """The source frames of the keys, ascending."""
    ellipses: tuple[Ellipse, ...]
    """The shape at each key, margin included, in pixels of the picture."""
    spans: tuple[tuple[int, int], ...]
    """Half-open source frame ranges, sorted and disjoint."""
    points: Array
    """The control points of each key's ellipse: K x 12 x 2, see `compute_control_points`."""
    feathers: Array
    """The width of each key's soft edge in pixels: K."""

    def covers(self, source_frame: float) -> bool:
        """Whether the layer is opaque at a frame; each range begins half a frame early, as in `compute_opacity_keys`
        of the masks."""
        at = bisect_right(self.spans, (source_frame + 0.5, math.inf)) - 1
        return at >= 0 and source_frame < self.spans[at][1]

    def outline_at(self, source_frame: float) -> tuple[Array, float]:
        """The curve's points at a frame, as `compute_control_points` gives them, and the width of its soft edge in
        pixels."""
        points = interpolate(self.frames, self.points, source_frame)
        return points, float(interpolate(self.frames, self.feathers, source_frame))


def plan_layers(document: TrackDocument, names: Collection[str] | None = None) -> list[LayerPlan]:
    """A plan for each covered track that has samples, in the document's order; only for the tracks `names` if given."""
    size = (document.source.width, document.source.height)
    return [
        plan_layer(track, document.margin, size)
        for track in document.tracks
        if track.samples and (names is None or track.name in names)
    ]


def plan_layer(track: Track, margin: float, size: tuple[int, int]) -> LayerPlan:
    """The layer of a track in a picture of `size` (width, height)."""
    keys = simplify(track, margin, size)
    return LayerPlan(
        track.name,
        tuple(key.source_frame for key in keys),
        tuple(key.ellipse for key in keys),
        tuple(track.list_covered_spans()),
        np.stack([compute_control_points(key.ellipse) for key in keys]),
        np.array([compute_feather(key.ellipse) for key in keys]),
    )


def compute_control_points(ellipse: Ellipse) -> Array:
    """Position, left handle and right handle of each of the four points, in pixels: 12 x 2."""
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    shares = [
        place
        for u, v in CORNERS
        for place in ((u, v), (u + v * HANDLE, v - u * HANDLE), (u - v * HANDLE, v + u * HANDLE))
    ]
    x, y = (np.asarray(shares) * (ellipse.rx, ellipse.ry)).T
    return np.stack((ellipse.cx + x * cos - y * sin, ellipse.cy + x * sin + y * cos), axis=1)


def compute_feather(ellipse: Ellipse) -> float:
    """The width of the soft edge around an ellipse, in pixels."""
    return FEATHER_SHARE * min(ellipse.rx, ellipse.ry)


def flatten(points: Array, steps: int) -> Array:
    """The closed curve through `points` (N x 3 x 2 flattened to 3N x 2: position, left and right handle) as a polygon.

    Each piece between two points gets `steps` vertices: N * steps x 2.
    """
    knots = points.reshape(-1, 3, 2)
    after = np.concatenate((knots[1:], knots[:1]))
    controls = np.stack((knots[:, 0], knots[:, 2], after[:, 1], after[:, 0]), axis=1)
    return np.asarray((_compute_bernstein(steps) @ controls).reshape(-1, 2))


@lru_cache(maxsize=8)
def _compute_bernstein(steps: int) -> Array:
    """The weights of a cubic curve's four control points at `steps` places: steps x 4."""
    t = np.arange(steps) / steps
    return np.stack(((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3), axis=1)
