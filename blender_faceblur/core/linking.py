# SPDX-License-Identifier: GPL-3.0-or-later
"""Make tracks of what was followed: chains joined, weak ones set aside, gaps filled, ends held, paths smoothed."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .appearance import are_alike
from .doubts import find_doubts
from .filling import HOLD_S, LEAVING_S, fill_path, split_at_gaps
from .geometry import Array, areas, centre_of, overlaps, shares_of_smaller, size_of
from .naming import name_track
from .rows import FacePath, RowTable
from .shots import drop_hasty
from .types import Doubt, ReviewReason, Sample, Suppression, SuppressionReason, Track, TrackKind, TrackStatus

_SAME_FACE = 0.4
_JOIN_GAP_S = 1.0
_JOIN_SIZES, _JOIN_RATIO = 0.8, 1.8
_HIDDEN_S, _HIDDEN_SIZES, _HIDDEN_RATIO = 3.0, 0.6, 1.4
"""For how long a face may be hidden, how far from where its speed takes it, and how much larger, it comes back."""
_SURE, _SUSTAINED_HITS, _LEAST_HITS, _SUSTAINED_SHARE = 0.72, 6, 3, 0.5
_SUSTAINED_CONFIDENCE, _SUSTAINED_PER_SIZE = 0.24, 0.2
_LONE_SIZE, _SELDOM_LOOKS, _SELDOM_SHARE, _NEVER_SELDOM = 0.06, 8, 0.4, 0.85
"""Size (of the picture's shorter side) from which faces are found by several detectors, looks that say how often, the
share of them that faces are found in, confidence beyond which that does not count. Chosen on 238 tracks in 57 films, of
which 11 are found so seldom: hands, a kettle, drums, a jacket; each is no face (docs/measuring.md)."""
_LONE_CARRY_S = 0.4
"""For how long what only one of several detectors finds, and so large, is carried before and after it was found."""
_PICTURE_WEAK = 0.35
_LIKELY_SIZE = 0.12
"""Of the picture's shorter side."""
_INSIDE = 0.85
_MARGIN, _LEAST_MARGIN_PX = 1 / 960, 1.0
"""Of the picture's longer side, on each side of a face where doubts are covered: the place of a face of a few pixels is
that unsure."""


@dataclass(slots=True)
class Linked:
    tracks: list[Track] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    aside: list[Track] = field(default_factory=list)


def link_tracks(
    table: RowTable, frame_count: int, frame_size: tuple[int, int], frame_rate: float, strong: float,
    cover_doubts: bool, several: bool,
) -> Linked:
    """Tracks over frames 0..frame_count and doubts from all rows. `strong`: see `settings.Preset`.

    `several`: more than one detector looked.
    """
    cuts = drop_hasty(table.cuts, frame_rate)
    paths = _join_segments(table.chains())
    paths = _join_met(paths, table.joins)
    paths = _join_fragments(paths, cuts, frame_rate)
    if several:
        paths = [_trim(path, round(_LONE_CARRY_S * frame_rate)) if _is_lone(path, frame_size) else path
                 for path in paths]
    looked = np.array(sorted(table.looked))
    margin = max(_LEAST_MARGIN_PX, _MARGIN * max(frame_size)) if cover_doubts else 0.0
    covered: list[tuple[Track, FacePath, Suppression | None]] = []
    aside: list[tuple[Track, FacePath, Suppression | None]] = []
    reasons = [(_find_seldom(path, frame_size, looked) if several else None)
               or _find_weakness(path, strong, frame_size, looked, single=frame_count == 1) for path in paths]
    hidden = [bool(reason) and not (cover_doubts and _is_likely(path, strong, frame_size))
             for path, reason in zip(paths, reasons, strict=True)]
    for path, reason, left_out in _drop_contained(list(zip(paths, reasons, hidden, strict=True))):
        samples: list[Sample] = []
        # What may be no face is not followed on its way out of the picture: its motion says as little as its size.
        leaving_s = HOLD_S if reason else LEAVING_S
        for part in split_at_gaps(path, cuts, round(_JOIN_GAP_S * frame_rate)):
            filled = fill_path(part, cuts, frame_count, frame_size, frame_rate, leaving_s, margin)
            samples += [s for s in filled if not samples or s.source_frame > samples[-1].source_frame]
        if samples:
            track = Track("", samples, status=TrackStatus.SUPPRESSED, suppression=reason) if left_out \
                else Track("", samples)
            (aside if left_out else covered).append((track, path, reason))
    linked = Linked()
    for tracks, status in ((covered, TrackStatus.COVERED), (aside, TrackStatus.SUPPRESSED)):
        tracks.sort(key=lambda t: (t[0].samples[0].source_frame, t[0].samples[0].ellipse.cx))
        for number, (track, path, reason) in enumerate(tracks, 1):
            track.name = name_track(TrackKind.FACE, status, number, len(tracks))
            if reason:
                linked.doubts.append(_to_doubt(track.name, path, reason, frame_count))
            else:
                linked.doubts += find_doubts(track, path, cuts, frame_count, frame_size, frame_rate,
                                             looked if several else looked[:0])
    linked.tracks, linked.aside = [track for track, *_ in covered], [track for track, *_ in aside]
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
    """Join a path that ends with one that begins soon after, near by and of like size, in the same shot.

    After a second it must come where its speed would have taken it, or where it was, closer in place and size, and
    look alike.
    """
    soon, latest = max(2, round(_JOIN_GAP_S * frame_rate)), max(2, round(_HIDDEN_S * frame_rate))
    open_paths: list[FacePath] = []
    done: list[FacePath] = []
    for path in paths:
        start = int(path.frames[0])
        done += [p for p in open_paths if start - p.frames[-1] > latest]
        open_paths = [p for p in open_paths if start - p.frames[-1] <= latest]
        best: tuple[bool, float, int] | None = None
        for i, earlier in enumerate(open_paths):
            last = int(earlier.frames[-1])
            if last >= start or bisect_right(cuts, last) != bisect_right(cuts, start):
                continue
            size, new_size = size_of(earlier.boxes[-1]), size_of(path.boxes[0])
            ratio = max(new_size / size, size / new_size)
            away = np.subtract(centre_of(path.boxes[0]), centre_of(earlier.boxes[-1]))
            long = start - last > soon
            distance = float(np.hypot(*away)) / size
            if long:
                if earlier.looks and path.looks and not are_alike(earlier.looks[-1][1], path.looks[0][1]):
                    continue
                way = _find_speed(earlier, frame_rate) * (start - last)
                distance = min(distance, float(np.hypot(*(away - way))) / size)
            if distance <= (_HIDDEN_SIZES if long else _JOIN_SIZES) and ratio <= (
                    _HIDDEN_RATIO if long else _JOIN_RATIO):
                best = min(best or (long, distance, i), (long, distance, i))
        if best is None:
            open_paths.append(path)
        else:
            open_paths[best[2]] = open_paths[best[2]].joined(path)
    return sorted(done + open_paths, key=lambda p: (p.frames[0], p.boxes[0, 0]))


def _find_speed(path: FacePath, frame_rate: float) -> Array:
    """Pixels a frame (2,) in a path's last half second."""
    tail = path.frames > path.frames[-1] - max(2, round(0.5 * frame_rate))
    if tail.sum() < 2:
        return np.zeros(2)
    centres = (path.boxes[tail, :2] + path.boxes[tail, 2:]) / 2
    frames = path.frames[tail]
    return np.asarray((centres[-1] - centres[0]) / (frames[-1] - frames[0]))


def _is_lone(path: FacePath, frame_size: tuple[int, int]) -> bool:
    """Whether only one detector ever found a path, which is so large that others should have."""
    return bool(path.voices.max() <= 1 and path.size() >= _LONE_SIZE * min(frame_size))


def _trim(path: FacePath, frames: int) -> FacePath:
    """The path without what lies more than so many frames before or after all in which it was found."""
    seen = path.frames[path.found()]
    return path.part((path.frames >= seen[0] - frames) & (path.frames <= seen[-1] + frames))


def _find_seldom(path: FacePath, frame_size: tuple[int, int], looked: NDArray[np.int_]) -> Suppression | None:
    """Why a path is taken for none because only one of several detectors ever finds it, now and then; else None."""
    chances, share = _find_share(path, looked)
    if (not _is_lone(path, frame_size) or path.confidence[path.found()].max() >= _NEVER_SELDOM
            or chances < _SELDOM_LOOKS or share >= _SELDOM_SHARE):
        return None
    return Suppression(SuppressionReason.RARELY_DETECTED, round(share * chances), chances)


def _find_share(path: FacePath, looked: NDArray[np.int_]) -> tuple[int, float]:
    """In how many frames all detectors looked while a path was there, and the share of these in which it was found."""
    seen = path.frames[path.found()]
    chances = looked[np.searchsorted(looked, seen[0]):np.searchsorted(looked, seen[-1], "right")]
    return len(chances), float(np.isin(chances, seen).mean()) if len(chances) else 1.0


def _find_weakness(
    path: FacePath, strong: float, frame_size: tuple[int, int], looked: NDArray[np.int_], single: bool
) -> Suppression | None:
    """Why a path is too weak to be covered; None when it isn't. `looked`: the frames with detections, sorted."""
    found = path.found()
    confidence = path.confidence[found]
    strong_hits = int(((confidence >= strong) | (path.voices[found] > 1)).sum())
    if single and confidence.max() >= _PICTURE_WEAK:
        return None
    if strong_hits >= 2 or confidence.max() >= _SURE:
        return None
    seen = path.frames[found]
    # Small faces are often only found weakly; a large one that never is found well is mostly foliage or cloth.
    enough = _SUSTAINED_CONFIDENCE + _SUSTAINED_PER_SIZE * path.size() / min(frame_size)
    chances, share = _find_share(path, looked)
    span = int(seen[-1] - seen[0]) + 1
    # Where only some frames were looked at, fewer hits stand for as long a time.
    if (
        len(seen) >= max(_LEAST_HITS, math.ceil(_SUSTAINED_HITS * chances / span))
        and share >= _SUSTAINED_SHARE
        and float(confidence.mean()) >= enough
    ):
        return None
    return Suppression(SuppressionReason.LOW_CONFIDENCE, len(confidence))


def _is_likely(path: FacePath, strong: float, frame_size: tuple[int, int]) -> bool:
    """Whether a weak path is covered where doubts are: a large thing that nothing ever took for a face surely is none.

    Small faces are often found weakly; cloth and foliage are found weakly as large faces.
    """
    return bool(path.size() < _LIKELY_SIZE * min(frame_size) or path.voices.max() > 1
                or path.confidence[path.found()].max() >= strong)


def _to_doubt(name: str, path: FacePath, reason: Suppression, frame_count: int) -> Doubt:
    low, high = path.boxes[:, :2].min(axis=0), path.boxes[:, 2:].max(axis=0)
    return Doubt(
        max(0, int(path.frames[0])), min(frame_count, int(path.frames[-1]) + 1), (*low.tolist(), *high.tolist()),
        float(path.confidence[path.found()].max()), ReviewReason(reason.reason), name, reason.detected_frames,
        reason.searched_frames)


def _drop_contained(
    paths: list[tuple[FacePath, Suppression | None, bool]],
) -> list[tuple[FacePath, Suppression | None, bool]]:
    """Without those that lie in the boxes of a covered one (the bool says which isn't) in all of their frames."""
    kept: list[tuple[FacePath, Suppression | None, bool]] = []
    for path, reason, left_out in sorted(paths, key=lambda p: (p[2], -len(p[0].frames))):
        for other, _, also_left_out in kept:
            common, one, two = np.intersect1d(path.frames, other.frames, return_indices=True)
            if also_left_out or len(common) < len(path.frames):
                continue
            share = np.diagonal(shares_of_smaller(path.boxes[one], other.boxes[two]))
            if (share >= _INSIDE).all() and (areas(path.boxes[one]) <= areas(other.boxes[two])).all():
                break
        else:
            kept.append((path, reason, left_out))
    return kept
