# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose a few frames of a moving ellipse, so that linear motion between them stays within bounds at every frame.

Blender moves every point of a mask spline linearly between keys. The points of an ellipse are an affine image of those
of a circle, so the shape between two keys is the circle's image under the mean of the keys' affine maps: its support
in a direction u is c . u + |A^T u|, with centre c and matrix A both linear in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import geometry
from ..geometry import Array, list_units
from .averaging import average


@dataclass(frozen=True, slots=True)
class SparseKeySettings:
    """How a moving ellipse is reduced to a few keys."""

    half_turn_directions: int = 12
    """Number of directions, over half a turn, in which two shapes are compared; opposite ones share them. Raising it
    makes "contains" more precise and takes proportionally longer. Origin not recorded; `KeyframeSettings.between_share`
    depends on it."""
    turn_frames: int = 6
    """Frames on each side whose mean shows which way the motion curves. Raising it notices wider turns and smooths away
    sharp ones. Origin not recorded."""
    lead_place_share: float = 0.3
    """Share (0..1) of the room by which a candidate's centre is moved out of a turn. Raising it saves keys in turns and
    moves the cover off the face. Origin: introduced with leading keys, for fewer keys on moving faces; how it was
    chosen is not recorded."""
    lead_size_share: float = 0.15
    """Share (0..1) of the room by which its semi-axes are enlarged there. Raising it saves keys and covers more.
    Origin: introduced with leading keys; how it was chosen is not recorded."""
    first_guess_frames: int = 8
    """Frames that the search for the next key tries first. Raising it only affects speed: the search doubles and halves
    from there. Origin not recorded."""


SPARSE_KEYS = SparseKeySettings()

_ANGLES = np.linspace(0, np.pi, SPARSE_KEYS.half_turn_directions, endpoint=False)
_UNITS, _DOUBLED = list_units(_ANGLES), list_units(2 * _ANGLES)


def compute_reaches(ellipses: Array) -> Array:
    """How far N ellipses (N x 5: cx, cy, rx, ry, angle) reach from their centres in the D compared directions."""
    return geometry.compute_reaches(ellipses, _DOUBLED)


def compute_centres(ellipses: Array) -> Array:
    """Centres of N ellipses along the D compared directions: N x D."""
    centres: Array = ellipses[:, :2] @ _UNITS
    return centres


@dataclass(frozen=True, slots=True)
class Bounds:
    """For each of N frames, a shape to be contained and a shape not to be exceeded, as supports in D directions (N x
    D)."""

    inner_centres: Array
    inner_reaches: Array
    outer_centres: Array
    outer_reaches: Array

    def contain(self, frames: slice, centres: Array, reaches: Array) -> NDArray[np.bool_]:
        """Which of some consecutive frames (K) are within the bounds, given their shapes' centres and reaches."""
        inside = reaches - np.abs(centres - self.inner_centres[frames]) >= self.inner_reaches[frames]
        inside &= reaches + np.abs(centres - self.outer_centres[frames]) <= self.outer_reaches[frames]
        return np.asarray(inside.all(axis=1))


def lead_out(ellipses: Array, room: Array) -> Array:
    """Ellipses moved and enlarged a little beyond their turns, where straight lines between keys would cut inside.

    The difference from the mean over some frames points out of the curve; at most a share of `room` (N, pixels) is
    used.
    """
    out = ellipses.copy()
    reach = SPARSE_KEYS.turn_frames
    if len(ellipses) < 2 * reach:
        return out
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (reach / 2)) ** 2)
    mean = average(ellipses[:, :4], kernel / kernel.sum(), keep_trend=True)
    for columns, share in ((slice(0, 2), SPARSE_KEYS.lead_place_share), (slice(2, 4), SPARSE_KEYS.lead_size_share)):
        step = ellipses[:, columns] - mean[:, columns]
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)
        out[:, columns] += step * np.minimum(1, share * room / length)[:, None]
    return out


def choose_keys(candidates: list[Array], bounds: Bounds) -> tuple[list[int], Array]:
    """Frames (K, including the first and the last) and ellipses (K x 5) to be keyed there.

    Each key is one of the `candidates` (N x 5 each, angles unwrapped) at its frame, as far from the previous key as the
    bounds of the frames in between allow; the earlier candidate wins a tie. The first candidate is the fallback, so it
    must be within the bounds at every frame, or at least contain the inner shape.
    """
    return _Chooser(candidates, bounds).choose()


_INSIDE_AND_OUTSIDE = np.array([[1.0], [-1.0]])


class _Chooser:
    def __init__(self, candidates: list[Array], bounds: Bounds) -> None:
        self._candidates = candidates
        self._last = len(candidates[0]) - 1
        self._maps = [_compute_maps(c) for c in candidates]
        everywhere = slice(0, self._last + 1)
        # Both bounds together: what a shape reaches beyond the inner one, and what the outer one reaches beyond it.
        self._centres = np.stack([bounds.inner_centres, bounds.outer_centres], axis=1)
        self._reaches = np.stack([bounds.inner_reaches, -bounds.outer_reaches], axis=1)
        self._usable = [bounds.contain(everywhere, m[:, 0], _measure(m)).tolist() for m in self._maps]
        # The length of the previous stretch in frames: the next one is likely to be similar.
        self._guess = SPARSE_KEYS.first_guess_frames

    def choose(self) -> tuple[list[int], Array]:
        starts = [c for c, usable in enumerate(self._usable) if usable[0]] or [0]
        frames, chosen = [0], [starts[0]]
        while frames[-1] < self._last:
            begin = frames[-1]
            best = (begin, 0, starts[0])
            for start in starts:
                for candidate in range(len(self._maps)):
                    end = self._find_farthest(begin, start, candidate, best[0])
                    if end > best[0]:
                        best = (end, candidate, start)
            if best[0] == begin:
                best = (begin + 1, 0, best[2])
            chosen[-1] = best[2]
            frames.append(best[0])
            chosen.append(best[1])
            starts = [best[1]]
            self._guess = max(2, (best[0] - begin) // 2)
        return frames, np.array([self._candidates[c][f] for f, c in zip(frames, chosen, strict=True)])

    def _find_farthest(self, begin: int, start: int, candidate: int, beaten: int) -> int:
        """The farthest frame at which the candidate can be keyed next; at most `beaten` if it does not reach
        farther."""
        low = max(begin, beaten)
        if low >= self._last:
            return low
        if low > begin and not self._fits(begin, start, low + 1, candidate):
            return low
        step = self._guess if low == begin else 2
        high = self._last + 1
        # Double the step, then bisect: whether a stretch fits is nearly monotonic.
        while low + step <= self._last and low + step < high:
            if self._fits(begin, start, low + step, candidate):
                low += step
                step *= 2
            else:
                high = low + step
        if high > self._last and low < self._last and self._fits(begin, start, self._last, candidate):
            low = self._last
        while high - low > 1 and low < self._last:
            middle = (low + high) // 2
            if self._fits(begin, start, middle, candidate):
                low = middle
            else:
                high = middle
        return low

    def _fits(self, begin: int, start: int, end: int, candidate: int) -> bool:
        if not self._usable[candidate][end]:
            return False
        if end == begin + 1:
            return True
        first = self._maps[start][begin]
        frames, weight = slice(begin + 1, end), np.arange(1, end - begin) / (end - begin)
        between = first + weight[:, None, None] * (self._maps[candidate][end] - first)
        room = _measure(between)[:, None] * _INSIDE_AND_OUTSIDE - self._reaches[frames]
        return bool((np.abs(between[:, :1] - self._centres[frames]) <= room).all())


def _measure(maps: Array) -> Array:
    """The reaches (N x D) of shapes given as N x 3 x D; numpy's hypot takes several times as long."""
    reaches: Array = np.sqrt(maps[:, 1] * maps[:, 1] + maps[:, 2] * maps[:, 2])
    return reaches


def _compute_maps(ellipses: Array) -> Array:
    """c . u and both components of A^T u: N x 3 x D, all linear in time between two keys."""
    turn = _ANGLES[None, :] - ellipses[:, 4:5]
    return np.stack(
        [compute_centres(ellipses), ellipses[:, 2:3] * np.cos(turn), ellipses[:, 3:4] * np.sin(turn)], axis=1
    )
