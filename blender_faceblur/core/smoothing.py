# SPDX-License-Identifier: GPL-3.0-or-later
"""Quieten the path of a face without ever uncovering what was found of it."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .geometry import Array, ellipses_in_boxes, grow_to_contain
from .sparse import Bounds, choose_keys, find_centres, find_reaches, lead_out

_PLACE_S, _ROLL_S = 0.05, 0.25
_CALM_S = 0.25
_ROOM_SHARE, _ROOM_PX, _MOST_ROOM = 0.25, 2.0, 0.03
"""How far the sparse path may lie beyond the smooth one: a part of the face's height, at least some pixels, at most a
part of the picture's shorter side: what a large face is given too much is a large part of the picture."""
_USED_ROOM = 0.5
_SLACK = 1e-3


def _bell(sigma: float) -> Array:
    reach = max(1, round(2 * sigma))
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return bell / bell.sum()


def _averaged(values: Array, bell: Array, keep_trend: bool = False) -> Array:
    """`keep_trend` lets a steady motion go on beyond both ends, so that they do not lag behind it."""
    reach = len(bell) // 2
    padded = np.pad(values, reach, mode="reflect", reflect_type="odd") if keep_trend else np.pad(values, reach, "edge")
    return sliding_window_view(padded, len(bell)) @ bell


def _raised(values: Array, bell: Array) -> Array:
    """A smooth curve that is nowhere below `values`: the mean of the maxima of windows which all hold the place."""
    reach = len(bell) // 2
    padded = np.pad(values, 2 * reach, mode="edge")
    highest = sliding_window_view(padded, len(bell)).max(axis=1)
    return sliding_window_view(highest, len(bell)) @ bell


def fill_rolls(rolls: Array, confidence: Array, frame_rate: float) -> Array:
    """Rolls (N, radians, NaN where unknown) averaged over time and filled; half turns are no change to an ellipse."""
    known = np.isfinite(rolls)
    if not known.any():
        return np.zeros(len(rolls))
    weight = np.where(known, confidence, 0.0)
    doubled = np.where(known, 2 * rolls, 0.0)
    bell = _bell(_ROLL_S * frame_rate)
    sine = _averaged(weight * np.sin(doubled), bell)
    cosine = _averaged(weight * np.cos(doubled), bell)
    near = _averaged(weight, bell) > 1e-9
    at = np.nonzero(near)[0]
    angle = np.unwrap(np.arctan2(sine[at], cosine[at])) / 2
    return np.interp(np.arange(len(rolls)), at, angle)


def smooth_ellipses(boxes: Array, rolls: Array, frame_size: tuple[int, int], frame_rate: float) -> Array:
    """Ellipses (N x 5: cx, cy, rx, ry, angle) for consecutive frames' boxes (N x 4) and filled rolls (N).

    Each contains the ellipse in its own frame's box. They move evenly between as few frames as that allows: an editor
    is to correct keys, not noise.
    """
    raw = ellipses_in_boxes(boxes, rolls)
    if len(raw) < 3:
        return raw
    # An ellipse turned by half a turn is the same; its way there is not.
    raw[:, 4] = np.unwrap(raw[:, 4], period=np.pi)
    smooth = _smooth_tightly(raw, frame_rate)
    height = 2 * np.maximum(smooth[:, 2], smooth[:, 3])
    room = np.maximum(np.minimum(_ROOM_SHARE * height, _MOST_ROOM * min(frame_size)), _ROOM_PX)
    calm = _calm(smooth, _bell(_CALM_S * frame_rate))
    wider = np.zeros_like(smooth)
    wider[:, 2:4] = _USED_ROOM * room[:, None]
    # Tight where the face moves as lines do, wide and led out of its turns where it does not.
    candidates = [smooth] + [
        grow_to_contain(lead_out(path, room), raw) for path in (smooth, smooth + wider, calm + wider)]
    bounds = Bounds(
        find_centres(raw), find_reaches(raw) * (1 - _SLACK),
        find_centres(smooth), find_reaches(smooth) + room[:, None])
    frames, keys = choose_keys(candidates, bounds)
    at = np.arange(len(raw))
    even = np.stack([np.interp(at, frames, keys[:, i]) for i in range(5)], axis=1)
    return grow_to_contain(even, raw)


def _smooth_tightly(raw: Array, frame_rate: float) -> Array:
    bell = _bell(_PLACE_S * frame_rate)
    smooth = _calm(raw, bell)
    smooth[:, 4] = raw[:, 4]
    # How much each frame lacks, as one margin for both semi-axes, raised smoothly over its neighbours.
    margin = _raised(grow_to_contain(smooth, raw)[:, 2] - smooth[:, 2], bell)
    smooth[:, 2:4] += margin[:, None]
    return grow_to_contain(smooth, raw)


def _calm(ellipses: Array, bell: Array) -> Array:
    calm = np.stack([_averaged(ellipses[:, i], bell, keep_trend=True) for i in range(5)], axis=1)
    # A trend that goes on beyond an end can point below zero.
    calm[:, 2:4] = np.maximum(calm[:, 2:4], ellipses[:, 2:4] / 2)
    return calm
