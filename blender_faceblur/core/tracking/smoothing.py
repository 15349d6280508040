# SPDX-License-Identifier: GPL-3.0-or-later
"""Quieten the path of a face without ever uncovering what was found of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..geometry import Array, ellipses_in_boxes, grow_to_contain
from .sparse import Bounds, choose_keys, compute_centres, compute_reaches, lead_out


@dataclass(frozen=True, slots=True)
class SmoothingSettings:
    """How the motion of a track is smoothed, and how far its straight stretches may lie beyond the smooth motion."""

    place_s: float = 0.05
    """Standard deviation, in seconds, of the bell that smooths place and size. Raising it calms noise, and needs larger
    ellipses to keep fast faces inside. Origin: lowered twice, from 0.1, while the number of keys was brought down at
    about the same covered area."""
    roll_s: float = 0.25
    """Standard deviation, in seconds, of the bell that averages roll angles. Raising it calms the turning and lags
    behind faces that roll. Origin not recorded."""
    calm_s: float = 0.25
    """Standard deviation, in seconds, of the stronger smoothing that is tried as a second candidate. Raising it offers
    straighter, larger covers. Origin: introduced with straight stretches, which took a third of the keys away at the
    same coverage; how it was chosen is not recorded."""
    room_share: float = 0.25
    """How far the straight stretches may lie beyond the smooth ellipse, as a share of its height. Raising it saves keys
    and covers more around the face. Origin: introduced with straight stretches; how it was chosen is not recorded."""
    least_room_px: float = 2.0
    """The least such room, in pixels of the source, for small faces. Raising it saves keys and covers more around
    small faces. Origin: introduced with straight stretches; how it was chosen is not recorded."""
    most_room_share: float = 0.03
    """The most such room, as a share of the picture's shorter side: what a large face is given too much is a large part
    of the picture. Raising it saves keys and covers more around large faces. Origin: introduced when it brought the
    needlessly covered area down by a quarter."""
    candidate_room_share: float = 0.5
    """Share (0..1) of the room by which the wider candidates are enlarged. Raising it makes longer stretches fit and
    covers more around the face. Origin: raised from 0.3 when the keys were halved at about the same covered area."""
    inner_slack: float = 1e-3
    """Share by which the detected ellipse may stand out of the straight stretch while keys are chosen; the ellipses
    are grown to contain it afterwards. Raising it only gives rounding errors more room. Origin not recorded."""


SMOOTHING = SmoothingSettings()


def _bell(sigma: float) -> Array:
    reach = max(1, round(2 * sigma))
    bell: Array = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return np.asarray(bell / bell.sum())


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
    bell = _bell(SMOOTHING.roll_s * frame_rate)
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
    room = np.maximum(
        np.minimum(SMOOTHING.room_share * height, SMOOTHING.most_room_share * min(frame_size)), SMOOTHING.least_room_px
    )
    calm = _calm(smooth, _bell(SMOOTHING.calm_s * frame_rate))
    wider = np.zeros_like(smooth)
    wider[:, 2:4] = SMOOTHING.candidate_room_share * room[:, None]
    # Tight where the face moves as lines do, wide and led out of its turns where it does not.
    candidates = [smooth] + [
        grow_to_contain(lead_out(path, room), raw) for path in (smooth, smooth + wider, calm + wider)
    ]
    bounds = Bounds(
        compute_centres(raw),
        compute_reaches(raw) * (1 - SMOOTHING.inner_slack),
        compute_centres(smooth),
        compute_reaches(smooth) + room[:, None],
    )
    frames, keys = choose_keys(candidates, bounds)
    at = np.arange(len(raw))
    even = np.stack([np.interp(at, frames, keys[:, i]) for i in range(5)], axis=1)
    return grow_to_contain(even, raw)


def _smooth_tightly(raw: Array, frame_rate: float) -> Array:
    bell = _bell(SMOOTHING.place_s * frame_rate)
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
