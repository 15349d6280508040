# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooth the motion of a track without uncovering any part of the face that was detected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Array, grow_to_contain
from .averaging import Runs
from .sparse import Bounds, choose_keys_together, compute_centres, compute_reaches, lead_out


@dataclass(frozen=True, slots=True)
class SmoothingSettings:
    """How the motion of a track is smoothed, and how far its straight stretches may lie outside the smooth motion."""

    place_s: float = 0.08
    """Standard deviation, in seconds, of the Gaussian that smooths position and size. Raising it reduces jitter, and
    needs larger ellipses to keep fast faces inside. Origin: see `noise_share`."""
    roll_s: float = 0.25
    """Standard deviation, in seconds, of the Gaussian that averages roll angles. Raising it calms the rotation and lags
    behind faces that roll. Origin not recorded."""
    calm_s: float = 0.25
    """Standard deviation, in seconds, of the stronger smoothing that is tried as a second candidate. Raising it offers
    straighter, larger covers. Origin: introduced with straight stretches, which saved a third of the keys at the same
    coverage; how it was chosen is not recorded."""
    room_share: float = 0.08
    """Room that the straight stretches have outside the smooth ellipse, as a share of its height. Raising it saves keys
    and covers more around the face. Origin: see `noise_share`."""
    least_room_px: float = 1.0
    """The least such room, in pixels of the source, for small faces. Raising it saves keys and covers more around
    small faces. Origin: see `noise_share`."""
    most_room_share: float = 0.012
    """The most such room, as a share of the picture's shorter side: excess cover around a large face takes up much of
    the picture. Raising it saves keys and covers more around large faces. Origin: see `noise_share`."""
    candidate_room_share: float = 0.5
    """Share (0..1) of the room by which the wider candidates are enlarged. Raising it makes longer stretches fit and
    covers more around the face. Origin: raised from 0.3 when the keys were halved at about the same covered area."""
    noise_share: float = 0.12
    """Share of its semi-axes by which a frame's own ellipse may stick out of the smooth one: detected boxes vary by
    that much from one detection to the next while the face does not. Raising it covers less; a margin of 1.4 covers
    what sticks out. Origin: with the four below, chosen on the shared clips for covers of 1.5 times the face
    (docs/measuring.md)."""
    inner_slack: float = 1e-3
    """Share by which the detected ellipse may stick out of the straight stretch while keys are chosen; the ellipses are
    grown to contain it afterwards. Raising it only gives rounding errors more room. Origin not recorded."""


SMOOTHING = SmoothingSettings()


def _compute_gaussian(sigma: float) -> Array:
    reach = max(1, round(2 * sigma))
    kernel: Array = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return np.asarray(kernel / kernel.sum())


def fill_rolls(rolls: Array, confidence: Array, frame_rate: float) -> Array:
    """Rolls (N, radians, NaN if unknown) averaged over time and filled; half a turn does not change an ellipse."""
    known = np.isfinite(rolls)
    if not known.any():
        return np.zeros(len(rolls))
    weight = np.where(known, confidence, 0.0)
    doubled = np.where(known, 2 * rolls, 0.0)
    kernel = _compute_gaussian(SMOOTHING.roll_s * frame_rate)
    columns = np.stack([weight * np.sin(doubled), weight * np.cos(doubled), weight], axis=1)
    sine, cosine, near = Runs([len(rolls)]).average(columns, kernel).T
    at = np.nonzero(near > 1e-9)[0]
    angle = np.unwrap(np.arctan2(sine[at], cosine[at])) / 2
    return np.interp(np.arange(len(rolls)), at, angle)


def smooth_ellipses(
    raw: Array, certainty: Array, frame_size: tuple[int, int], frame_rate: float, runs: Runs | None = None
) -> Array:
    """Smooth the ellipses of consecutive frames (N x 5: cx, cy, rx, ry, angle); `runs`: which are consecutive, None if
    all are.

    Each contains its own frame's one, but for `SMOOTHING.noise_share` where `certainty` (N, 0..1) is 1. They move
    linearly between as few keys as that allows, so that an editor corrects keys rather than noise.
    """
    runs = runs or Runs([len(raw)])
    rows, long = runs.select(runs.lengths >= 3)
    if not len(long.lengths):
        return raw
    smoothed = raw.copy()
    smoothed[rows] = _smooth_long(raw[rows], certainty[rows], frame_size, frame_rate, long)
    return smoothed


def _smooth_long(raw: Array, certainty: Array, frame_size: tuple[int, int], frame_rate: float, runs: Runs) -> Array:
    # Half a turn leaves an ellipse unchanged, but interpolation must not rotate it by half a turn.
    raw[:, 4] = runs.unwrap(raw[:, 4], np.pi)
    inner = raw.copy()
    inner[:, 2:4] *= 1 - SMOOTHING.noise_share * certainty[:, None]
    smooth = _smooth_tightly(raw, inner, frame_rate, runs)
    height = 2 * np.maximum(smooth[:, 2], smooth[:, 3])
    room = np.maximum(
        np.minimum(SMOOTHING.room_share * height, SMOOTHING.most_room_share * min(frame_size)), SMOOTHING.least_room_px
    )
    calm = _smooth_calmly(smooth, _compute_gaussian(SMOOTHING.calm_s * frame_rate), runs)
    wider = np.zeros_like(smooth)
    wider[:, 2:4] = SMOOTHING.candidate_room_share * room[:, None]
    # A tight candidate for straight motion, and wider ones that lead out of turns.
    candidates = [smooth] + [
        grow_to_contain(lead_out(motion, room, runs), inner) for motion in (smooth, smooth + wider, calm + wider)
    ]
    bounds = Bounds(
        compute_centres(inner),
        compute_reaches(inner) * (1 - SMOOTHING.inner_slack),
        compute_centres(smooth),
        compute_reaches(smooth) + room[:, None],
    )
    # Each run has keys on its first and on its last frame, so that nothing is interpolated from one to the next.
    frames, keys = choose_keys_together(candidates, bounds, runs)
    at = np.arange(len(raw))
    even = np.stack([np.interp(at, frames, keys[:, i]) for i in range(5)], axis=1)
    return grow_to_contain(even, inner)


def _smooth_tightly(raw: Array, inner: Array, frame_rate: float, runs: Runs) -> Array:
    kernel = _compute_gaussian(SMOOTHING.place_s * frame_rate)
    smooth = _smooth_calmly(raw, kernel, runs)
    smooth[:, 4] = raw[:, 4]
    # What each frame lacks, as one margin for both semi-axes, spread smoothly over its neighbours.
    margin = runs.raise_to_maxima(grow_to_contain(smooth, inner)[:, 2] - smooth[:, 2], kernel)
    smooth[:, 2:4] += margin[:, None]
    return grow_to_contain(smooth, inner)


def _smooth_calmly(ellipses: Array, kernel: Array, runs: Runs) -> Array:
    calm = runs.average(ellipses, kernel, keep_trend=True)
    # A trend continued beyond an end can fall below zero.
    calm[:, 2:4] = np.maximum(calm[:, 2:4], ellipses[:, 2:4] / 2)
    return calm
