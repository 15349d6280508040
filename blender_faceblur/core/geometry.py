# SPDX-License-Identifier: GPL-3.0-or-later
"""How boxes and ellipses overlap and contain each other, on arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .types import Box

Array = NDArray[np.float64]

FACE_ASPECT = 1.3
"""Height by width of a face from brow to chin; used when a rolled face's box tells little about it."""

_STEEP, _FLAT = math.radians(30), math.radians(10)


def common_areas(first: Array, second: Array) -> Array:
    """Areas shared by every box of `first` (N x 4) and every box of `second` (M x 4): N x M."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2)


def areas(boxes: Array) -> Array:
    """Areas of N x 4 boxes, at least a tiny positive number."""
    return np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-9)


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union: N x M."""
    common = common_areas(first, second)
    return common / (areas(first)[:, None] + areas(second)[None, :] - common)


def shares_of_smaller(first: Array, second: Array) -> Array:
    """The part of the smaller box that lies in the larger one: N x M."""
    return common_areas(first, second) / np.minimum(areas(first)[:, None], areas(second)[None, :])


def centre_of(box: Box | Array) -> tuple[float, float]:
    return (float(box[0]) + float(box[2])) / 2, (float(box[1]) + float(box[3])) / 2


def size_of(box: Box | Array) -> float:
    """Side of the square with the box's area."""
    return math.sqrt(max(float(box[2] - box[0]) * float(box[3] - box[1]), 1e-9))


def roll_from_landmarks(landmarks: tuple[tuple[float, float], ...]) -> float:
    """How far a face leans clockwise on the screen, radians, from the line between its eyes' and its mouth's middle.

    That line stays long when a face turns to profile, where the eyes' own line shrinks to nothing.
    """
    (ax, ay), (bx, by), _, (cx, cy), (dx, dy) = landmarks
    return math.atan2((ax + bx) - (cx + dx), (cy + dy) - (ay + by))


def ellipses_in_boxes(boxes: Array, rolls: Array) -> Array:
    """Ellipses (N x 5: cx, cy, rx, ry, angle) of faces in axis-parallel boxes (N x 4) with rolls (N, radians).

    An upright face fills its box, and so does one that lies on its side. The box of a face that leans by 30 degrees
    or more from both says little about its shape, so its ellipse has a face's usual aspect and the box's area; in
    between it is a mixture.
    """
    half_w = (boxes[:, 2] - boxes[:, 0]) / 2
    half_h = (boxes[:, 3] - boxes[:, 1]) / 2
    cos2, sin2 = np.cos(rolls) ** 2, np.sin(rolls) ** 2
    spread = np.sqrt((cos2 + FACE_ASPECT**2 * sin2) * (sin2 + FACE_ASPECT**2 * cos2))
    short = np.sqrt(half_w * half_h / spread)
    lies = np.abs(np.sin(rolls)) > np.abs(np.cos(rolls))
    nearest = np.maximum(np.abs(np.sin(rolls)), np.abs(np.cos(rolls)))
    lean = np.clip((np.arccos(np.clip(nearest, 0, 1)) - _FLAT) / (_STEEP - _FLAT), 0, 1)
    out = np.stack([
        (boxes[:, 0] + boxes[:, 2]) / 2,
        (boxes[:, 1] + boxes[:, 3]) / 2,
        (1 - lean) * np.where(lies, half_h, half_w) + lean * short,
        (1 - lean) * np.where(lies, half_w, half_h) + lean * short * FACE_ASPECT,
        rolls,
    ], axis=1)
    upright = np.stack([out[:, 0], out[:, 1], 0.9 * half_w, 0.9 * half_h, np.zeros(len(out))], axis=1)
    return grow_to_contain(out, upright)


def supports(ellipses: Array, directions: Array) -> Array:
    """How far N ellipses (N x 5) reach in D directions (radians, clockwise from +x): N x D.

    The most of p . (cos, sin) over an ellipse's points p. It lies inside another where its reach is nowhere larger.
    """
    c, s = np.cos(directions), np.sin(directions)
    turn = directions[None, :] - ellipses[:, 4:5]
    reach = np.hypot(ellipses[:, 2:3] * np.cos(turn), ellipses[:, 3:4] * np.sin(turn))
    return ellipses[:, 0:1] * c + ellipses[:, 1:2] * s + reach


_DIRECTIONS = np.linspace(0, 2 * np.pi, 32, endpoint=False)


def grow_to_contain(ellipses: Array, contained: Array) -> Array:
    """`ellipses` (N x 5) with both semi-axes grown by the least margin that makes each contain its `contained` one.

    Growing both semi-axes by m moves the support by at least m * 2 sqrt(rx ry) / (rx + ry) in every direction.
    """
    lack = (supports(contained, _DIRECTIONS) - supports(ellipses, _DIRECTIONS)).max(axis=1)
    rx, ry = ellipses[:, 2], ellipses[:, 3]
    margin = np.clip(lack, 0, None) * (rx + ry) / (2 * np.sqrt(np.maximum(rx * ry, 1e-9)))
    # Between two of the 32 directions a lack can be larger by a part of the ellipses' difference in shape.
    margin[margin > 0] *= 1.02
    grown = ellipses.copy()
    grown[:, 2] += margin
    grown[:, 3] += margin
    return grown
