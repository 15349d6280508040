# SPDX-License-Identifier: GPL-3.0-or-later
"""Make tracks of what was followed: chains joined, weak ones set aside, gaps filled, ends held, paths smoothed."""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .following import FrameRecord
from .geometry import Array, areas, centre_of, overlaps, shares_of_smaller, size_of
from .smoothing import fill_rolls, smooth_ellipses
from .types import Doubt, Ellipse, Evidence, Sample, Track

_SAME_FACE = 0.4
_JOIN_GAP_S = 1.0
_JOIN_SIZES, _JOIN_RATIO = 0.8, 1.8
_HOLD_S, _LEAVING_S = 0.25, 1.0
_SURE, _SUSTAINED_HITS, _LEAST_HITS, _SUSTAINED_SHARE = 0.72, 8, 3, 0.4
_SUSTAINED_CONFIDENCE, _SUSTAINED_PER_SIZE = 0.24, 0.2
_PICTURE_WEAK = 0.35
_GROWTH_PER_S, _MOST_GROWTH = 0.3, 0.2
_SLOW_SIZES, _SMEAR = 0.08, 0.5
"""Motion a frame, in sizes of the face, that does not smear it; and by how much of the rest each side grows."""
_UNSEEN_DOUBT_S = 0.7
_INSIDE = 0.85

_EVIDENCE = (Evidence.DETECTED, Evidence.FLOW, Evidence.INTERPOLATED, Evidence.HELD)
_DETECTED, _FLOW, _INTERPOLATED, _HELD = range(4)


@dataclass(frozen=True, slots=True)
class Segment:
    """The frames that one process owns out of those that it looked at; half-open."""

    start: int
    stop: int


class RowTable:
    """All rows of all segments in compact columns: about 40 bytes per face and frame."""

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments
        self.cuts: set[int] = set()
        self.mixing: set[int] = set()
        self.looked: set[int] = set()
        """Frames in which the detectors were run."""
        self.joins: list[tuple[int, int]] = []
        self._frames = array("i")
        self._chains = array("q")
        self._numbers = array("f")
        self._seen = [0] * len(segments)

    def add(self, segment: int, record: FrameRecord) -> None:
        """Take a frame from a segment; ValueError when a frame that the segment owns comes out of order or twice."""
        own = self.segments[segment]
        if own.start <= record.source_frame < own.stop:
            if record.source_frame != own.start + self._seen[segment]:
                raise ValueError(f"frame {record.source_frame} came when {own.start + self._seen[segment]} was due")
            self._seen[segment] += 1
            if record.cut:
                self.cuts.add(record.source_frame)
            if record.mixed:
                self.mixing.add(record.source_frame)
            if record.looked:
                self.looked.add(record.source_frame)
        for row in record.rows:
            self._frames.append(record.source_frame)
            self._chains.append(self._global(segment, row.chain))
            roll = float("nan") if row.roll is None else row.roll
            self._numbers.extend((*row.box.tolist(), row.confidence, roll, row.voices))
        for first, second in record.joins:
            self.joins.append((self._global(segment, first), self._global(segment, second)))

    def _global(self, segment: int, chain: int) -> int:
        return chain * len(self.segments) + segment

    def missing(self) -> int:
        """How many owned frames were not reported."""
        return sum(s.stop - s.start for s in self.segments) - sum(self._seen)

    def chains(self) -> list[_Path]:
        """One path per chain, in order of first frame."""
        frames = np.frombuffer(self._frames, np.int32) if self._frames else np.zeros(0, np.int32)
        numbers = np.frombuffer(self._numbers, np.float32).reshape(-1, 7) if self._frames else np.zeros((0, 7))
        chain_of = np.frombuffer(self._chains, np.int64) if self._frames else np.zeros(0, np.int64)
        order = np.lexsort((frames, chain_of))
        edges = np.nonzero(np.diff(chain_of[order]))[0] + 1
        paths = []
        for part in np.split(order, edges) if len(order) else []:
            number = int(chain_of[part[0]])
            segment = number % len(self.segments)
            own = self.segments[segment]
            rows = numbers[part].astype(float)
            if not (rows[:, 6] > 0).any():
                # Carried back from frames that this process was stopped before it told: who goes on finds it there.
                continue
            at = frames[part].astype(int)
            paths.append(_Path({number}, at, rows[:, :4], rows[:, 4], rows[:, 5], rows[:, 6],
                               (at >= own.start) & (at < own.stop)))
        return sorted(paths, key=lambda p: (p.frames[0], p.boxes[0, 0]))


@dataclass(slots=True)
class _Path:
    """Rows of one face, sorted by frame, one per frame. `owned`: seen by the process that owns the frame."""

    numbers: set[int]
    frames: NDArray[np.int_]
    boxes: Array
    confidence: Array
    rolls: Array
    voices: Array
    owned: NDArray[np.bool_]

    def joined(self, other: _Path) -> _Path:
        """Both together; where both have a frame the owned row wins, then the found one, then the surer one."""
        frames = np.concatenate([self.frames, other.frames])
        owned = np.concatenate([self.owned, other.owned])
        voices = np.concatenate([self.voices, other.voices])
        confidence = np.concatenate([self.confidence, other.confidence])
        order = np.lexsort((-confidence, voices == 0, ~owned, frames))
        keep = order[np.concatenate([[True], np.diff(frames[order]) > 0])]
        return _Path(
            self.numbers | other.numbers, frames[keep], np.concatenate([self.boxes, other.boxes])[keep],
            confidence[keep], np.concatenate([self.rolls, other.rolls])[keep], voices[keep], owned[keep])

    def found(self) -> NDArray[np.bool_]:
        return self.voices > 0


@dataclass(slots=True)
class Linked:
    tracks: list[Track] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


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
        leaving_s = _HOLD_S if path.numbers <= weak else _LEAVING_S
        for part in _split_at_cuts(path, cuts):
            samples += _to_samples(part, cuts, frame_count, frame_size, frame_rate, leaving_s)
        if samples:
            linked.doubts += _find_unseen(samples, frame_rate)
            linked.tracks.append(Track("", samples))
    linked.tracks.sort(key=lambda t: (t.samples[0].source_frame, t.samples[0].ellipse.cx))
    digits = max(2, len(str(len(linked.tracks))))
    for number, track in enumerate(linked.tracks, 1):
        track.name = f"Face {number:0{digits}}"
    linked.doubts.sort(key=lambda d: d.start)
    return linked


def _join_segments(paths: list[_Path]) -> list[_Path]:
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
    merged: dict[int, _Path] = dict(enumerate(edge))
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


def _join_met(paths: list[_Path], joins: list[tuple[int, int]]) -> list[_Path]:
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


def _join_fragments(paths: list[_Path], cuts: list[int], frame_rate: float) -> list[_Path]:
    """Join a path that ends with one that begins soon after, near by and of like size, in the same shot."""
    gap = max(2, round(_JOIN_GAP_S * frame_rate))
    open_paths: list[_Path] = []
    done: list[_Path] = []
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
    path: _Path, strong: float, frame_size: tuple[int, int], looked: NDArray[np.int_], single: bool
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


def _to_doubt(path: _Path, start: int, stop: int, reason: str, frame_count: int) -> Doubt:
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


def _drop_contained(paths: list[_Path]) -> list[_Path]:
    """Without the paths that lie in another path's boxes in all of their frames."""
    kept: list[_Path] = []
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


def _split_at_cuts(path: _Path, cuts: list[int]) -> list[_Path]:
    shot = np.searchsorted(cuts, path.frames, side="right")
    return [
        _Path(path.numbers, path.frames[p], path.boxes[p], path.confidence[p], path.rolls[p], path.voices[p],
              path.owned[p])
        for p in np.split(np.arange(len(shot)), np.nonzero(np.diff(shot))[0] + 1)
    ]


def _to_samples(
    path: _Path, cuts: list[int], frame_count: int, frame_size: tuple[int, int], frame_rate: float, leaving_s: float
) -> list[Sample]:
    """The path with its gaps filled, its ends held and its way smoothed, within its shot."""
    first, last = int(path.frames[0]), int(path.frames[-1])
    shot = bisect_right(cuts, first)
    begin = max(0, cuts[shot - 1] if shot else 0)
    end = min(frame_count, cuts[shot] if shot < len(cuts) else frame_count)
    frames = np.arange(first, last + 1)
    boxes = np.stack([np.interp(frames, path.frames, path.boxes[:, i]) for i in range(4)], axis=1)
    confidence = np.interp(frames, path.frames, path.confidence)
    evidence = np.full(len(frames), _INTERPOLATED)
    evidence[path.frames - first] = np.where(path.found(), _DETECTED, _FLOW)
    rolls = np.full(len(frames), np.nan)
    rolls[path.frames - first] = path.rolls
    before = _extend(boxes[::-1], min(first - begin, frame_count), frame_size, frame_rate, leaving_s)[::-1]
    after = _extend(boxes, min(end - last - 1, frame_count), frame_size, frame_rate, leaving_s)
    boxes = np.concatenate([before, boxes, after])
    frames = np.arange(first - len(before), last + 1 + len(after))
    evidence = np.pad(evidence, (len(before), len(after)), constant_values=_HELD)
    confidence = np.pad(confidence, (len(before), len(after)), mode="edge")
    rolls = np.pad(rolls, (len(before), len(after)), constant_values=np.nan)
    boxes = _grow_moving(_grow_unseen(boxes, evidence == _DETECTED, frame_rate))
    ellipses = smooth_ellipses(boxes, fill_rolls(rolls, confidence, frame_rate), frame_rate)
    return [
        Sample(frame, Ellipse(*ellipse), _EVIDENCE[kind], sure)
        for frame, ellipse, kind, sure in zip(
            frames.tolist(), ellipses.tolist(), evidence.tolist(), confidence.tolist(), strict=True)
        if 0 <= frame < frame_count
    ]


def _extend(boxes: Array, room: int, frame_size: tuple[int, int], frame_rate: float, leaving_s: float) -> Array:
    """Boxes that hold the end of a path for at most `room` frames (K x 4).

    A face in the open stays where its motion dies out. One that touches the picture's edge and moves outward goes
    on until its box with a third more on each side has left the picture, for at most `leaving_s`.
    """
    hold = max(3, round(_HOLD_S * frame_rate))
    tail = boxes[-max(3, round(0.2 * frame_rate)):]
    centres = (tail[:, :2] + tail[:, 2:]) / 2
    speed = (centres[-1] - centres[0]) / max(len(tail) - 1, 1)
    box = boxes[-1]
    slack = 0.15 * (box[2:] - box[:2])
    outward = bool(
        ((box[:2] - slack <= 0) & (speed < 0)).any() or ((box[2:] + slack >= np.array(frame_size)) & (speed > 0)).any())
    held = []
    for step in range(room):
        if outward:
            margin = (box[2:] - box[:2]) / 3
            gone = (box[2:] + margin < 0).any() or (box[:2] - margin > np.array(frame_size)).any()
            if gone or step >= max(hold, round(leaving_s * frame_rate)):
                break
            box = box + np.tile(speed, 2)
        elif step >= hold:
            break
        else:
            box = box + np.tile(speed * 0.8 ** (step + 1), 2)
        held.append(box)
    return np.array(held).reshape(-1, 4)


def _grow_moving(boxes: Array) -> Array:
    """Boxes lengthened along fast motion, which smears a face over its way and leaves its place less sure."""
    if len(boxes) < 2:
        return boxes
    step = np.abs(np.gradient((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0))
    slow = _SLOW_SIZES * np.sqrt(areas(boxes))
    growth = _SMEAR * np.maximum(step - slow[:, None], 0.0)
    return np.concatenate([boxes[:, :2] - growth, boxes[:, 2:] + growth], axis=1)


def _grow_unseen(boxes: Array, found: NDArray[np.bool_], frame_rate: float) -> Array:
    """Boxes widened with the time to the nearest frame in which the face was found: there its place is less sure."""
    if not found.any():
        return boxes
    at = np.arange(len(found))
    seen = np.nonzero(found)[0]
    right = np.clip(np.searchsorted(seen, at), 0, len(seen) - 1)
    left = np.clip(right - 1, 0, len(seen) - 1)
    away = np.minimum(np.abs(at - seen[left]), np.abs(at - seen[right])) / frame_rate
    growth = np.minimum(_GROWTH_PER_S * away, _MOST_GROWTH)[:, None]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * growth
    return np.concatenate([boxes[:, :2] - half, boxes[:, 2:] + half], axis=1)
