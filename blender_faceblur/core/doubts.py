# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an editor should look: what makes a track, or a place that was left uncovered, doubtful."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .geometry import areas
from .rows import FacePath
from .types import Doubt, Evidence, ReviewReason, Sample, Track

_UNSEEN_S = 0.7
_EDGE_SIZES = 0.25
_LARGE = 0.2
_FAST_SIZES, _FAST_S = 0.25, 0.12
_USUALLY, _DISAGREE_S, _DISAGREE_LOOKS = 0.5, 0.45, 3
_JUMP_SIZES, _JUMP_RATIO, _SAME_JUMP_S = 0.35, 1.42, 0.5
"""How far from the middle between its neighbours, in its own size, or how much larger or smaller than they. On the
clips that accuracy is measured with, 204 s, these tell of 4 places, and the ones above of 1.
"""


def find_doubts(
    track: Track, path: FacePath, cuts: list[int], frame_count: int, frame_size: tuple[int, int], frame_rate: float,
    looked: NDArray[np.int_],
) -> list[Doubt]:
    """The doubtful places of a covered track; `path` is what it was made of.

    `cuts`: first frames of shots, sorted. `looked`: the frames that several detectors looked at, sorted; empty where
    there was only one.
    """
    def tell(samples: list[Sample], reason: ReviewReason) -> Doubt:
        return tell_samples(track.name, samples, reason)

    doubts = []
    for guessed, run in itertools.groupby(
            track.samples, key=lambda s: s.evidence in (Evidence.FLOW, Evidence.INTERPOLATED)):
        stretch = list(run)
        if guessed and len(stretch) >= _UNSEEN_S * frame_rate:
            doubts.append(tell(stretch, ReviewReason.FLOW_ONLY))
    edges = {0, frame_count, *cuts}
    for start, stop in track.spans():
        own = [s for s in track.samples if start <= s.source_frame < stop]
        for reason, outermost, frame in ((ReviewReason.BEGINS, own[:5], start),
                                         (ReviewReason.ENDS, own[-5:], stop)):
            if frame not in edges and not _lies_at_edge(outermost, frame_size):
                doubts.append(tell(outermost, reason))
    if len(looked) and path.voices.max() == 1 and path.size() > _LARGE * min(frame_size):
        doubts.append(tell(track.samples, ReviewReason.SINGLE_DETECTOR))
    hurries = [run for run in _find_fast(track.samples, cuts) if len(run) >= max(3, _FAST_S * frame_rate)]
    doubts += [tell(run, ReviewReason.FAST_MOTION) for run in hurries]
    fast = {sample.source_frame for run in hurries for sample in run}
    jumps = [(first - 1, last + 2, ReviewReason.JUMP)
             for first, last in _find_jumps(path, cuts, _SAME_JUMP_S * frame_rate) if first not in fast]
    lonely = [(first, last + 1, ReviewReason.DETECTORS_DISAGREE)
              for first, last in _find_lonely(path, looked, _DISAGREE_S * frame_rate)]
    for start, stop, reason in jumps + lonely:
        own = [s for s in track.samples if start <= s.source_frame < stop]
        if own:
            doubts.append(tell(own, reason))
    return doubts


def tell_samples(track: str, samples: list[Sample], reason: ReviewReason) -> Doubt:
    """A doubt about these samples of a track, in a box around all of them."""
    ellipses = [s.ellipse for s in samples]
    return Doubt(
        samples[0].source_frame, samples[-1].source_frame + 1,
        (min(e.cx - e.rx for e in ellipses), min(e.cy - e.ry for e in ellipses),
         max(e.cx + e.rx for e in ellipses), max(e.cy + e.ry for e in ellipses)),
        min(s.confidence for s in samples), reason, track)


def _lies_at_edge(samples: Iterable[Sample], frame_size: tuple[int, int]) -> bool:
    """Whether a face touches the picture's edge, or nearly."""
    width, height = frame_size
    return any(
        e.cx - e.rx < _EDGE_SIZES * e.rx or e.cx + e.rx > width - _EDGE_SIZES * e.rx
        or e.cy - e.ry < _EDGE_SIZES * e.ry or e.cy + e.ry > height - _EDGE_SIZES * e.ry
        for e in (s.ellipse for s in samples))


def _find_fast(samples: list[Sample], cuts: list[int]) -> list[list[Sample]]:
    """Runs of samples between which the face moves far, within shots."""
    runs: list[list[Sample]] = []
    last: Sample | None = None
    for one, other in itertools.pairwise(samples):
        step = np.hypot(other.ellipse.cx - one.ellipse.cx, other.ellipse.cy - one.ellipse.cy)
        joined = (other.source_frame == one.source_frame + 1
                  and bisect_right(cuts, one.source_frame) == bisect_right(cuts, other.source_frame))
        if joined and step > _FAST_SIZES * 2 * min(other.ellipse.rx, other.ellipse.ry):
            if runs and last is one:
                runs[-1].append(other)
            else:
                runs.append([one, other])
            last = other
    return runs


def _find_jumps(path: FacePath, cuts: list[int], apart: float) -> list[tuple[int, int]]:
    """First and last frame of where the face lies, for a moment, elsewhere than just before and after, within a shot.

    What comes less than `apart` frames after another is the same.
    """
    frames, middles = path.frames, (path.boxes[:, :2] + path.boxes[:, 2:]) / 2
    sizes = np.sqrt(areas(path.boxes))
    shots = np.searchsorted(cuts, frames, "right")
    joined = (frames[2:] == frames[:-2] + 2) & (shots[2:] == shots[:-2])
    away = np.hypot(*(middles[1:-1] - (middles[:-2] + middles[2:]) / 2).T) / sizes[1:-1]
    ratio = np.abs(np.log(sizes[1:-1] / np.sqrt(sizes[:-2] * sizes[2:])))
    jumps: list[tuple[int, int]] = []
    for frame in frames[1:-1][joined & ((away > _JUMP_SIZES) | (ratio > np.log(_JUMP_RATIO)))].tolist():
        if jumps and frame - jumps[-1][1] < apart:
            jumps[-1] = jumps[-1][0], frame
        else:
            jumps.append((frame, frame))
    return jumps


def _find_lonely(path: FacePath, looked: NDArray[np.int_], least: float) -> list[tuple[int, int]]:
    """First and last frame of stretches, `least` frames long, in which one detector alone finds a face that several
    find in most frames."""
    at = path.found() & np.isin(path.frames, looked)
    frames, agreed = path.frames[at].tolist(), path.voices[at] > 1
    if not len(frames) or agreed.mean() < _USUALLY:
        return []
    runs = ([frame for frame, _ in run] for many, run in itertools.groupby(
        zip(frames, agreed.tolist(), strict=True), key=lambda pair: pair[1]) if not many)
    return [(run[0], run[-1]) for run in runs if len(run) >= _DISAGREE_LOOKS and run[-1] + 1 - run[0] >= least]
