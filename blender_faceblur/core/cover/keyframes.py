# SPDX-License-Identifier: GPL-3.0-or-later
"""Make keyframes of a track: as few ellipses as linear motion allows, always containing the tracked one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array
from ..tracking.sparse import Bounds, choose_keys, compute_centres, compute_reaches, lead_out
from ..types import Ellipse, Evidence, Keyframe, Sample, Track

HANDLE = 0.5523
"""Length of a Bezier handle for a quarter of a unit circle; the curve lies nowhere inside the circle and at most 0.03 %
outside."""


@dataclass(frozen=True, slots=True)
class KeyframeSettings:
    """How far a mask between its keys may reach beyond the tracked ellipses. It always contains them."""

    tolerance_share: float = 0.04
    """How far the mask may reach beyond the ellipse with its margin, as a share of the face's height without it.
    Raising it saves keys and covers more around the face. Origin: chosen with `SmoothingSettings.noise_share`."""
    tolerance_px: float = 2.0
    """The least such tolerance, in pixels of the source, for small faces. Raising it saves keys and covers more around
    small faces. Origin: chosen with `SmoothingSettings.noise_share`."""
    locked_tolerance_px: float = 0.5
    """The tolerance where an editor has locked a key, in pixels of the source. Raising it lets the mask differ from the
    editor's shape. Origin not recorded."""
    bezier_excess_share: float = 3e-4
    """How far a Bezier circle with handles of `HANDLE` reaches beyond a true one, as a share of its radius. Raising it
    above the true value wastes tolerance. Origin: computed, see `HANDLE`."""
    between_share: float = 0.04
    """Share of the tolerance that is reserved on both sides, because two ellipses can differ by that much more between
    two of the compared directions. Raising it is safer and costs keys. Origin: about the greatest difference for
    ellipses within the tolerance of each other, in 24 directions."""
    small_candidate_share: float = 0.2
    """Position of the first candidate for a key between the bounds, as a share (0..1) of the tolerance. Raising it
    covers more and makes longer stretches fit. Origin: introduced with straight stretches, which saved a third of the
    keys at the same coverage; how it was chosen is not recorded."""
    large_candidate_share: float = 0.5
    """Position of the other candidates, likewise. Raising it covers more and makes longer stretches fit. Origin:
    introduced with straight stretches; how it was chosen is not recorded."""


KEYFRAMES = KeyframeSettings()


def compute_tolerance_px(ellipses: Array) -> Array:
    """How far the mask may reach beyond tracked ellipses (N x 5, without margin): 4 % of the height or 2 px."""
    heights = 2 * np.maximum(ellipses[:, 2], ellipses[:, 3])
    return np.maximum(KEYFRAMES.tolerance_share * heights, KEYFRAMES.tolerance_px)


def simplify(track: Track, margin: float, frame_size: tuple[int, int]) -> list[Keyframe]:
    """Keys, margin included, between which linear motion stays close to the track's ellipses.

    At every frame of every span of the track the mask contains `sample.ellipse.scaled(margin)`, and reaches at most
    `compute_tolerance_px` beyond it; that limit does not apply where the ellipse is entirely outside the picture of
    `frame_size` (width, height). Each span has a key on its first and on its last frame, and shapes that an editor has
    locked are matched within half a pixel.
    """
    keys: list[Keyframe] = []
    at = 0
    for start, stop in track.list_spans():
        keys += _simplify_span(track.samples[at : at + stop - start], margin, frame_size)
        at += stop - start
    return keys


def interpolate(frames: Sequence[int], values: Array, source_frame: float) -> Array:
    """The value at a frame of `values` (K x ...) that are keyed at `frames` (K, ascending), as Blender computes it.

    It is linear between keys, and constant before the first key and after the last.
    """
    right = min(bisect_left(frames, source_frame), len(frames) - 1)
    left = max(right - 1, 0) if frames[right] > source_frame else right
    if left == right:
        return np.asarray(values[right])
    part = (source_frame - frames[left]) / (frames[right] - frames[left])
    return np.asarray(values[left] + part * (values[right] - values[left]))


def _simplify_span(samples: list[Sample], margin: float, frame_size: tuple[int, int]) -> list[Keyframe]:
    faces = np.array([(e.cx, e.cy, e.rx, e.ry, e.angle) for e in (s.ellipse for s in samples)])
    # Half a turn leaves an ellipse unchanged, but not the points that Blender moves.
    faces[:, 4] = np.unwrap(faces[:, 4], period=np.pi)
    tolerance = compute_tolerance_px(faces)
    tolerance[[s.evidence is Evidence.LOCKED for s in samples]] = KEYFRAMES.locked_tolerance_px
    faces[:, 2:4] *= margin
    reaches = compute_reaches(faces)
    inner = reaches + KEYFRAMES.between_share * tolerance[:, None]
    outer = reaches * (1 - KEYFRAMES.bezier_excess_share) + (1 - KEYFRAMES.between_share) * tolerance[:, None]
    outer[_is_outside(faces, tolerance, frame_size)] = np.inf
    centres = compute_centres(faces)
    little, half = faces.copy(), faces.copy()
    little[:, 2:4] += KEYFRAMES.small_candidate_share * tolerance[:, None]
    half[:, 2:4] += KEYFRAMES.large_candidate_share * tolerance[:, None]
    frames, keys = choose_keys([little, half, lead_out(half, tolerance)], Bounds(centres, inner, centres, outer))
    return [Keyframe(samples[i].source_frame, Ellipse(*key)) for i, key in zip(frames, keys.tolist(), strict=True)]


def _is_outside(ellipses: Array, tolerance: Array, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    far = np.maximum(ellipses[:, 2], ellipses[:, 3]) + tolerance
    x, y = ellipses[:, 0], ellipses[:, 1]
    return (x + far < 0) | (y + far < 0) | (x - far > frame_size[0]) | (y - far > frame_size[1])
