# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose a few frames of a moving ellipse, so that linear motion between them stays within bounds at every frame.

Blender moves every point of a mask spline linearly between keys. The points of an ellipse are an affine image of those
of a circle, so the shape between two keys is the circle's image under the mean of the keys' affine maps: its support
in a direction u is c . u + |A^T u|, with centre c and matrix A both linear in time.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import geometry
from ..geometry import Array, list_units
from .averaging import Runs


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
    together_frames: int = 4096
    """Frames of several tracks whose shapes are compared in one computation. Raising it only affects memory and speed.
    Origin: a computation on a few frames takes as long as on a hundred, and one on this many fits into the caches."""


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


def lead_out(ellipses: Array, room: Array, runs: Runs | None = None) -> Array:
    """Ellipses (N x 5) moved and enlarged a little beyond their turns, where straight lines between keys would cut
    inside.

    The difference from the mean over some frames points out of the curve; at most a share of `room` (N, pixels) is
    used. `runs`: which of the ellipses follow one another; None if all do.
    """
    runs = runs or Runs([len(ellipses)])
    out = ellipses.copy()
    reach = SPARSE_KEYS.turn_frames
    rows, long = runs.select(runs.lengths >= 2 * reach)
    if not len(long.lengths):
        return out
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (reach / 2)) ** 2)
    mean = long.average(ellipses[rows, :4], kernel / kernel.sum(), keep_trend=True)
    for columns, share in ((slice(0, 2), SPARSE_KEYS.lead_place_share), (slice(2, 4), SPARSE_KEYS.lead_size_share)):
        step = ellipses[rows, columns] - mean[:, columns]
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)
        out[rows, columns] += step * np.minimum(1, share * room[rows] / length)[:, None]
    return out


def choose_keys(candidates: Sequence[Array], bounds: Bounds) -> tuple[list[int], Array]:
    """Frames (K, including the first and the last) and ellipses (K x 5) to be keyed there.

    Each key is one of the `candidates` (N x 5 each, angles unwrapped) at its frame, as far from the previous key as the
    bounds of the frames in between allow; the earlier candidate wins a tie. The first candidate is the fallback, so it
    must be within the bounds at every frame, or at least contain the inner shape.
    """
    return choose_keys_together(candidates, bounds, Runs([len(candidates[0])]))


def choose_keys_together(candidates: Sequence[Array], bounds: Bounds, runs: Runs) -> tuple[list[int], Array]:
    """`choose_keys` for each of several runs of frames, whose keys follow one another in the result."""
    chooser = _Chooser(candidates, bounds)
    searches = [_search(chooser.usable, part.start, part.stop - 1) for part in runs.list_slices()]
    found: dict[int, tuple[list[int], list[int]]] = {}
    # All runs search at the same time, so that what they ask can be computed together.
    waiting = _advance(dict.fromkeys(range(len(searches))), searches, found)
    while waiting:
        answers = chooser.fit([stretch for stretch in waiting.values() if stretch is not None])
        waiting = _advance(dict(zip(waiting, answers, strict=True)), searches, found)
    frames = [frame for number in range(len(searches)) for frame in found[number][0]]
    chosen = [candidate for number in range(len(searches)) for candidate in found[number][1]]
    return frames, np.array([candidates[c][f] for f, c in zip(frames, chosen, strict=True)])


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Linear motion from one candidate at frame `begin` to another at frame `end`."""

    begin: int
    start: int
    end: int
    candidate: int


_Search = Generator[_Stretch, bool, tuple[list[int], list[int]]]
"""Yields stretches, is sent whether each fits, and returns frames and the candidates to be keyed there."""


def _advance(
    answers: dict[int, bool | None], searches: Sequence[_Search], found: dict[int, tuple[list[int], list[int]]]
) -> dict[int, _Stretch]:
    """Give searches, by number, the answers that they wait for (None at first); what each asks next.

    What those that end return is put into `found`.
    """
    asked: dict[int, _Stretch] = {}
    for number, answer in answers.items():
        try:
            asked[number] = next(searches[number]) if answer is None else searches[number].send(answer)
        except StopIteration as end:
            found[number] = end.value
    return asked


def _search(usable: Sequence[Sequence[bool]], first: int, last: int) -> _Search:
    """Search the keys for the frames from `first` to `last`; `usable` says for each candidate and frame whether it is
    within the bounds."""
    # The length of the previous stretch in frames: the next one is likely to be similar.
    guess = SPARSE_KEYS.first_guess_frames
    starts = [c for c in range(len(usable)) if usable[c][first]] or [0]
    frames, chosen = [first], [starts[0]]
    while frames[-1] < last:
        begin = frames[-1]
        best = (begin, 0, starts[0])
        for start in starts:
            for candidate in range(len(usable)):
                end = yield from _find_farthest(usable[candidate], begin, start, candidate, best[0], last, guess)
                if end > best[0]:
                    best = (end, candidate, start)
        if best[0] == begin:
            best = (begin + 1, 0, best[2])
        chosen[-1] = best[2]
        frames.append(best[0])
        chosen.append(best[1])
        starts = [best[1]]
        guess = max(2, (best[0] - begin) // 2)
    return frames, chosen


def _find_farthest(
    usable: Sequence[bool], begin: int, start: int, candidate: int, beaten: int, last: int, guess: int
) -> Generator[_Stretch, bool, int]:
    """The farthest frame at which the candidate can be keyed next; at most `beaten` if it does not reach farther."""
    low = max(begin, beaten)
    if low >= last:
        return low
    if low > begin and not (yield from _ask(usable, begin, start, low + 1, candidate)):
        return low
    step = guess if low == begin else 2
    high = last + 1
    # Double the step, then bisect: whether a stretch fits is nearly monotonic.
    while low + step <= last and low + step < high:
        if (yield from _ask(usable, begin, start, low + step, candidate)):
            low += step
            step *= 2
        else:
            high = low + step
    if high > last and low < last and (yield from _ask(usable, begin, start, last, candidate)):
        low = last
    while high - low > 1 and low < last:
        middle = (low + high) // 2
        if (yield from _ask(usable, begin, start, middle, candidate)):
            low = middle
        else:
            high = middle
    return low


def _ask(usable: Sequence[bool], begin: int, start: int, end: int, candidate: int) -> Generator[_Stretch, bool, bool]:
    if not usable[end]:
        return False
    if end == begin + 1:
        return True
    return (yield _Stretch(begin, start, end, candidate))


_INSIDE_AND_OUTSIDE = np.array([[1.0], [-1.0]])


class _Chooser:
    """Says which stretches stay within the bounds. `usable`: the same for each candidate and frame (C x N)."""

    def __init__(self, candidates: Sequence[Array], bounds: Bounds) -> None:
        self._maps = np.stack([_compute_maps(c) for c in candidates])
        everywhere = slice(0, len(candidates[0]))
        # Both bounds together: what a shape reaches beyond the inner one, and what the outer one reaches beyond it.
        self._centres = np.stack([bounds.inner_centres, bounds.outer_centres], axis=1)
        self._reaches = np.stack([bounds.inner_reaches, -bounds.outer_reaches], axis=1)
        self.usable: list[list[bool]] = [bounds.contain(everywhere, m[:, 0], _measure(m)).tolist() for m in self._maps]

    def fit(self, stretches: Sequence[_Stretch]) -> list[bool]:
        """Whether each stretch stays within the bounds of all frames between its ends (at least one)."""
        answers: list[bool] = []
        most = SPARSE_KEYS.together_frames
        group: list[_Stretch] = []
        count = 0
        for stretch in stretches:
            count += stretch.end - stretch.begin - 1
            if group and count > most:
                answers += self._fit_group(group)
                group, count = [], stretch.end - stretch.begin - 1
            group.append(stretch)
        return answers + self._fit_group(group)

    def _fit_group(self, group: Sequence[_Stretch]) -> list[bool]:
        if len(group) == 1:
            (one,) = group
            first, frames = self._maps[one.start, one.begin], slice(one.begin + 1, one.end)
            weight = np.arange(1, one.end - one.begin) / (one.end - one.begin)
            between = first + weight[:, None, None] * (self._maps[one.candidate, one.end] - first)
            return [bool(self._contain(between, self._centres[frames], self._reaches[frames]).all())]
        begin, start, end, candidate = np.array([(s.begin, s.start, s.end, s.candidate) for s in group]).T
        counts = end - begin - 1
        places = np.cumsum(counts) - counts
        step = np.arange(1, counts.sum() + 1) - np.repeat(places, counts)
        rows = np.repeat(begin, counts) + step
        firsts = self._maps[start, begin]
        ways = self._maps[candidate, end] - firsts
        weights = step / np.repeat(end - begin, counts)
        between = np.repeat(firsts, counts, axis=0) + weights[:, None, None] * np.repeat(ways, counts, axis=0)
        inside = self._contain(between, self._centres[rows], self._reaches[rows])
        fits: list[bool] = np.logical_and.reduceat(inside, places).tolist()
        return fits

    def _contain(self, shapes: Array, centres: Array, reaches: Array) -> NDArray[np.bool_]:
        """Which shapes (N x 3 x D) are within both bounds, whose centres and reaches are N x 2 x D."""
        room = _measure(shapes)[:, None] * _INSIDE_AND_OUTSIDE - reaches
        return np.asarray((np.abs(shapes[:, :1] - centres) <= room).all(axis=(1, 2)))


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
