# SPDX-License-Identifier: GPL-3.0-or-later
"""Make tracks of what was followed: chains joined, weak ones set aside, gaps filled, ends held, paths smoothed."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .filling import HOLD_S, LEAVING_S, fill_path, split_at_cuts
from .geometry import areas, centre_of, overlaps, shares_of_smaller, size_of
from .rows import FacePath, RowTable
from .types import Doubt, Evidence, Sample, Track

_SAME_FACE = 0.4
_JOIN_GAP_S = 1.0
_JOIN_SIZES, _JOIN_RATIO = 0.8, 1.8
_SURE, _SUSTAINED_HITS, _LEAST_HITS, _SUSTAINED_SHARE = 0.72, 8, 3, 0.4
_SUSTAINED_CONFIDENCE, _SUSTAINED_PER_SIZE = 0.24, 0.2
_PICTURE_WEAK = 0.35
_UNSEEN_DOUBT_S = 0.7
_INSIDE = 0.85


@dataclass(slots=True)
class Linked:
    tracks: list[Track] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    aside: list[Track] = field(default_factory=list)


def link_tracks(
    table: RowTable, frame_count: int, frame_size: tuple[int, int], frame_rate: float, strong: float,
    cover_doubts: bool,
) -> Linked:
    """Tracks over frames 0..frame_count and doubts from all rows. `strong`: see `settings.Preset`."""
    cuts = sorted(table.cuts)
    paths = _join_segments(table.chains())
    paths = _join_met(paths, table.joins)
    paths = _join_fragments(paths, cuts, frame_rate)
    linked = Linked()
    looked = np.array(sorted(table.looked))
    kept = []
    weak: set[int] = set()
    for path in paths:
        reason = _find_weakness(path, strong, frame_size, looked, single=frame_count == 1)
        if reason:
            weak |= path.numbers
            linked.doubts.append(_to_doubt(path, path.frames[0], path.frames[-1] + 1, reason, frame_count))
        if not reason or cover_doubts:
            kept.append(path)
    for path in _drop_contained(kept):
        samples = []
        # What may be no face is not followed on its way out of the picture: its motion says as little as its size.
        leaving_s = HOLD_S if path.numbers <= weak else LEAVING_S
        for part in split_at_cuts(path, cuts):
            samples += fill_path(part, cuts, frame_count, frame_size, frame_rate, leaving_s)
        if samples:
            linked.doubts += _find_unseen(samples, frame_rate)
            linked.tracks.append(Track("", samples))
    linked.tracks.sort(key=lambda t: (t.samples[0].source_frame, t.samples[0].ellipse.cx))
    digits = max(2, len(str(len(linked.tracks))))
    for number, track in enumerate(linked.tracks, 1):
        track.name = f"Face {number:0{digits}}"
    linked.doubts.sort(key=lambda d: d.start)
    return linked


def _join_segments(paths: list[FacePath]) -> list[FacePath]:
    """Join chains of neighbouring processes that lie on each other in the frames which both looked at."""
    inner = [p for p in paths if p.owned.all()]
    edge = [p for p in paths if not p.owned.all()]
    pairs = []
    for i, j in itertools.combinations(range(len(edge)), 2):
        common, one, two = np.intersect1d(edge[i].frames, edge[j].frames, return_indices=True)
        if not len(common) or not (edge[i].owned[one] ^ edge[j].owned[two]).any():
            continue
        overlap = np.diagonal(overlaps(edge[i].boxes[one], edge[j].boxes[two])).mean()
        if overlap > _SAME_FACE:
            pairs.append((len(common) * float(overlap), i, j))
    # A chain of the middle may be joined on both of its sides, but only once on each.
    used: set[tuple[int, int]] = set()
    home = list(range(len(edge)))
    merged: dict[int, FacePath] = dict(enumerate(edge))
    for _, i, j in sorted(pairs, reverse=True):
        side = int(edge[i].frames[0] < edge[j].frames[0])
        if (i, side) in used or (j, 1 - side) in used:
            continue
        used |= {(i, side), (j, 1 - side)}
        a, b = home[i], home[j]
        if a != b:
            merged[a] = merged[a].joined(merged.pop(b))
            home = [a if h == b else h for h in home]
    # What a process saw only outside its own frames is the neighbour's to tell.
    outer = [p for p in merged.values() if p.owned.any()]
    return sorted(inner + outer, key=lambda p: (p.frames[0], p.boxes[0, 0]))


def _join_met(paths: list[FacePath], joins: list[tuple[int, int]]) -> list[FacePath]:
    """Join chains that met while one was carried back, unless both were found apart in the same frames."""
    place = {number: path for path in paths for number in path.numbers}
    for first, second in joins:
        one, two = place.get(first), place.get(second)
        if one is None or two is None or one is two:
            continue
        both = np.intersect1d(one.frames[one.found()], two.frames[two.found()])
        if len(both) > 1:
            continue
        whole = one.joined(two)
        for number in whole.numbers:
            place[number] = whole
    unique = {id(p): p for p in place.values()}
    return sorted(unique.values(), key=lambda p: (p.frames[0], p.boxes[0, 0]))


def _join_fragments(paths: list[FacePath], cuts: list[int], frame_rate: float) -> list[FacePath]:
    """Join a path that ends with one that begins soon after, near by and of like size, in the same shot."""
    gap = max(2, round(_JOIN_GAP_S * frame_rate))
    open_paths: list[FacePath] = []
    done: list[FacePath] = []
    for path in paths:
        start = int(path.frames[0])
        done += [p for p in open_paths if start - p.frames[-1] > gap]
        open_paths = [p for p in open_paths if start - p.frames[-1] <= gap]
        best: tuple[float, int] | None = None
        for i, earlier in enumerate(open_paths):
            last = int(earlier.frames[-1])
            if last >= start or bisect_right(cuts, last) != bisect_right(cuts, start):
                continue
            size, new_size = size_of(earlier.boxes[-1]), size_of(path.boxes[0])
            distance = float(np.hypot(*np.subtract(centre_of(path.boxes[0]), centre_of(earlier.boxes[-1])))) / size
            if distance <= _JOIN_SIZES and 1 / _JOIN_RATIO <= new_size / size <= _JOIN_RATIO:
                best = min(best or (distance, i), (distance, i))
        if best is None:
            open_paths.append(path)
        else:
            open_paths[best[1]] = open_paths[best[1]].joined(path)
    return sorted(done + open_paths, key=lambda p: (p.frames[0], p.boxes[0, 0]))


def _find_weakness(
    path: FacePath, strong: float, frame_size: tuple[int, int], looked: NDArray[np.int_], single: bool
) -> str:
    """Why a path is too weak to be covered; empty when it isn't. `looked`: the frames with detections, sorted."""
    found = path.found()
    confidence = path.confidence[found]
    strong_hits = int(((confidence >= strong) | (path.voices[found] > 1)).sum())
    if single and confidence.max() >= _PICTURE_WEAK:
        return ""
    if strong_hits >= 2 or confidence.max() >= _SURE:
        return ""
    seen = path.frames[found]
    sizes = np.sqrt(areas(path.boxes[found]))
    # Small faces are often only found weakly; a large one that never is found well is mostly foliage or cloth.
    enough = _SUSTAINED_CONFIDENCE + _SUSTAINED_PER_SIZE * float(np.median(sizes)) / min(frame_size)
    chances = int(np.searchsorted(looked, seen[-1], "right") - np.searchsorted(looked, seen[0]))
    span = int(seen[-1] - seen[0]) + 1
    # Where only some frames were looked at, fewer hits stand for as long a time.
    if (
        len(seen) >= max(_LEAST_HITS, math.ceil(_SUSTAINED_HITS * chances / span))
        and len(seen) >= _SUSTAINED_SHARE * chances
        and float(confidence.mean()) >= enough
    ):
        return ""
    frames = f"{len(confidence)} frame{'s' if len(confidence) > 1 else ''}"
    return f"found weakly in {frames} only"


def _to_doubt(path: FacePath, start: int, stop: int, reason: str, frame_count: int) -> Doubt:
    low, high = path.boxes[:, :2].min(axis=0), path.boxes[:, 2:].max(axis=0)
    return Doubt(
        max(0, int(start)), min(frame_count, int(stop)), (*low.tolist(), *high.tolist()),
        float(path.confidence[path.found()].max()), reason)


def _find_unseen(samples: list[Sample], frame_rate: float) -> list[Doubt]:
    """Long stretches that were covered without the face being found: the editor should look."""
    doubts = []
    for evident, run in itertools.groupby(samples, key=lambda s: s.evidence is Evidence.DETECTED):
        stretch = list(run)
        if evident or len(stretch) < _UNSEEN_DOUBT_S * frame_rate:
            continue
        low_x = min(s.ellipse.cx - s.ellipse.rx for s in stretch)
        low_y = min(s.ellipse.cy - s.ellipse.ry for s in stretch)
        high_x = max(s.ellipse.cx + s.ellipse.rx for s in stretch)
        high_y = max(s.ellipse.cy + s.ellipse.ry for s in stretch)
        doubts.append(Doubt(
            stretch[0].source_frame, stretch[-1].source_frame + 1, (low_x, low_y, high_x, high_y),
            min(s.confidence for s in stretch), "covered by following only, not found again in these frames"))
    return doubts


def _drop_contained(paths: list[FacePath]) -> list[FacePath]:
    """Without the paths that lie in another path's boxes in all of their frames."""
    kept: list[FacePath] = []
    for path in sorted(paths, key=lambda p: -len(p.frames)):
        for other in kept:
            common, one, two = np.intersect1d(path.frames, other.frames, return_indices=True)
            if len(common) < len(path.frames):
                continue
            share = np.diagonal(shares_of_smaller(path.boxes[one], other.boxes[two]))
            wider = np.prod(other.boxes[two, 2:] - other.boxes[two, :2], axis=1)
            own = np.prod(path.boxes[one, 2:] - path.boxes[one, :2], axis=1)
            if (share >= _INSIDE).all() and (own <= wider).all():
                break
        else:
            kept.append(path)
    return kept
