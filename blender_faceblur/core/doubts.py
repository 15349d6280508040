# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an editor should look: what makes a track, or a place that was left uncovered, doubtful."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable

import numpy as np

from .geometry import areas
from .rows import FacePath
from .types import Doubt, Evidence, Sample, Track

UNSEEN = "covered by following only, not found again in these frames"
BEGINS, ENDS = "begins in the middle of the picture", "ends in the middle of the picture"
ONE_VOICE = "large, and found by one detector only"
FAST = "moves fast"

_UNSEEN_S = 0.7
_EDGE_SIZES = 0.25
_LARGE = 0.2
_FAST_SIZES, _FAST_S = 0.25, 0.12


def find_doubts(
    track: Track, path: FacePath, cuts: list[int], frame_count: int, frame_size: tuple[int, int], frame_rate: float,
    several: bool,
) -> list[Doubt]:
    """The doubtful places of a covered track; `path` is what it was made of, `several` whether detectors could agree.

    `cuts`: first frames of shots, sorted.
    """
    def tell(samples: list[Sample], reason: str) -> Doubt:
        return tell_samples(track.name, samples, reason)

    doubts = []
    for guessed, run in itertools.groupby(
            track.samples, key=lambda s: s.evidence in (Evidence.FLOW, Evidence.INTERPOLATED)):
        stretch = list(run)
        if guessed and len(stretch) >= _UNSEEN_S * frame_rate:
            doubts.append(tell(stretch, UNSEEN))
    edges = {0, frame_count, *cuts}
    for start, stop in track.spans():
        own = [s for s in track.samples if start <= s.source_frame < stop]
        for reason, outermost, frame in ((BEGINS, own[:5], start), (ENDS, own[-5:], stop)):
            if frame not in edges and not _lies_at_edge(outermost, frame_size):
                doubts.append(tell(outermost, reason))
    found = path.found()
    size = float(np.median(np.sqrt(areas(path.boxes[found]))))
    if several and path.voices.max() == 1 and size > _LARGE * min(frame_size):
        doubts.append(tell(track.samples, ONE_VOICE))
    for hurry in _find_fast(track.samples, cuts):
        if len(hurry) >= max(3, _FAST_S * frame_rate):
            doubts.append(tell(hurry, FAST))
    return doubts


def tell_samples(track: str, samples: list[Sample], reason: str) -> Doubt:
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
