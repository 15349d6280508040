# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a trajectory into samples: fill gaps, extrapolate ends, enlarge uncertain boxes, smooth the motion."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array, compute_areas, fit_ellipses, reduce_to_faces
from ..types import Ellipse, Evidence, Sample
from .averaging import Runs
from .observations import Trajectory
from .smoothing import fill_rolls, smooth_ellipses


@dataclass(frozen=True, slots=True)
class FillingSettings:
    """How far a track goes beyond its ends, and by how much boxes grow where the face's position is less certain.

    A face's size is the side of the square with its box's area.
    """

    extrapolate_s: float = 0.25
    """Seconds for which the box is extrapolated beyond both ends of a track. Raising it covers faces that are detected
    late or lost early, and covers the background for longer. Origin not recorded."""
    leaving_s: float = 1.0
    """Seconds, at most, for which the box of a face that leaves the picture is extrapolated. Raising it covers slow
    exits to their end. Origin not recorded."""
    end_speed_s: float = 0.2
    """Seconds at a track's end over which its speed is measured for the extrapolation. Raising it averages over more
    motion and reacts less to the latest. Origin not recorded."""
    edge_share: float = 0.15
    """Share of the box's width or height within which a box counts as touching the picture's edge. Raising it lets
    more faces be extrapolated out of the picture. Origin not recorded."""
    gone_divisor: float = 3.0
    """A face has left the picture when its box, enlarged on each side by its size divided by this, lies outside.
    Raising it ends the cover sooner. Origin not recorded."""
    speed_decay: float = 0.8
    """Factor on the speed after each extrapolated frame of a face that is not leaving the picture. Raising it lets the
    cover move farther before it stops. Origin not recorded."""
    growth_share_per_s: float = 0.3
    """Growth of a box, as a share of its width and height, per second of distance to the nearest detection. Raising it
    covers more where the face is only tracked. Origin not recorded."""
    most_growth_share: float = 0.2
    """The greatest such growth. Raising it covers more where the face is not detected for long. Origin not recorded."""
    extrapolated_growth_share_per_s: float = 4.0
    """The same growth for extrapolated boxes, per second of distance to the track's end. Raising it covers more where a
    face comes in or goes out faster than it was seen. Origin: with the limit, so that a face which comes in at the
    edge of the demo film at twice its later speed is covered to 90 % in its first frame."""
    most_extrapolated_growth_share: float = 0.6
    """The greatest such growth. Raising it covers more around the ends of tracks. Origin: see
    `extrapolated_growth_share_per_s`."""
    slow_sizes: float = 0.08
    """Motion from one frame to the next, in sizes of the face, that does not blur it. Raising it enlarges fewer boxes.
    Origin not recorded."""
    uncertain_confidence: float = 0.45
    """Confidence (0..1) up to which a box is covered whole: it may lie beside the face. Raising it covers more around
    faces that are dark, blurred or half hidden. Origin: with `certain_confidence`, chosen so that smaller covers lose
    no clear face in worse versions of the shared clips."""
    certain_confidence: float = 0.8
    """Confidence (0..1) from which only the face in the box is covered (see `geometry.FaceShapeSettings`) and its noise
    smoothed away; in between both hold in part. Raising it covers more around such faces. Origin: see
    `uncertain_confidence`."""
    certain_s: float = 0.2
    """Seconds to the nearest detection up to which a box is that certain; after twice as long it is covered whole.
    Raising it covers less where the face is only tracked. Origin: see `uncertain_confidence`."""
    certain_size_px: float = 40.0
    """Size of a face, in pixels of the source, from which its box is that certain; for smaller ones, of which a pixel
    more or less is a large part, it is less in proportion. Raising it covers more around small faces. Origin: see
    `uncertain_confidence`."""
    motion_growth_share: float = 0.5
    """Growth of each side of the box along the motion, as a share of the motion beyond `slow_sizes`. Raising it covers
    more of the blur. Origin not recorded."""
    together_frames: int = 8192
    """Frames of several tracks that are smoothed together. Raising it takes memory, about 3 kB a frame, and no less
    time. Origin: two hundred tracks of two seconds."""


FILLING = FillingSettings()

_EVIDENCE = (Evidence.DETECTED, Evidence.FLOW, Evidence.INTERPOLATED, Evidence.EXTRAPOLATED)
_DETECTED, _FLOW, _INTERPOLATED, _EXTRAPOLATED = range(4)


def split_at_gaps(trajectory: Trajectory, cuts: list[int], longest: int) -> list[Trajectory]:
    """Split a trajectory at cuts and at gaps of more than `longest` frames, in which nothing is covered."""
    shot = np.searchsorted(cuts, trajectory.frames, side="right")
    apart = (np.diff(shot) > 0) | (np.diff(trajectory.frames) > longest + 1)
    return [trajectory.select(rows) for rows in np.split(np.arange(len(shot)), np.nonzero(apart)[0] + 1)]


@dataclass(frozen=True, slots=True)
class TrajectoryPart:
    """A trajectory, or a part of one, that is to be filled within its shot, and extrapolated for `extrapolate_s`, or
    for at most `leaving_s` where it leaves the picture. Extrapolated boxes of what is doubtful grow no more than others
    without a detection."""

    trajectory: Trajectory
    extrapolate_s: float
    leaving_s: float
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class _Filled:
    """A box for each of N consecutive frames (N x 4), and how far it grew for what is uncertain."""

    frames: NDArray[np.int_]
    boxes: Array
    grown: Array
    evidence: NDArray[np.int_]
    confidence: Array
    rolls: Array
    """Radians; NaN where they are unknown."""

    @property
    def is_upside_down(self) -> bool:
        return bool(np.nansum(np.cos(self.rolls)) < 0)


def fill_trajectories(
    parts: Sequence[TrajectoryPart],
    cuts: list[int],
    frame_count: int,
    frame_size: tuple[int, int],
    frame_rate: float,
    margin: float = 0.0,
    shows_faces: bool = True,
) -> list[list[Sample]]:
    """Samples of each trajectory within its shot: gaps filled, ends extrapolated, `margin` pixels added, motion
    smoothed. What shows no faces fills its boxes."""
    samples: list[list[Sample]] = []
    waiting: list[_Filled] = []
    for part in parts:
        waiting.append(_fill(part, cuts, frame_count, frame_size, frame_rate))
        if sum(len(one.frames) for one in waiting) >= FILLING.together_frames:
            samples += _smooth(waiting, frame_count, frame_size, frame_rate, margin, shows_faces)
            waiting.clear()
    return samples + (_smooth(waiting, frame_count, frame_size, frame_rate, margin, shows_faces) if waiting else [])


def _smooth(
    filled: Sequence[_Filled],
    frame_count: int,
    frame_size: tuple[int, int],
    frame_rate: float,
    margin: float,
    shows_faces: bool,
) -> list[list[Sample]]:
    """The samples of trajectories, all smoothed together, as a crowd has hundreds of them (see `Runs`)."""
    runs = Runs([len(one.frames) for one in filled])
    rolls = np.concatenate([fill_rolls(one.rolls, one.confidence, frame_rate) for one in filled])
    boxes, confidence = (
        np.concatenate([one.boxes for one in filled]),
        np.concatenate([one.confidence for one in filled]),
    )
    away = np.concatenate([_compute_distances(one.evidence == _DETECTED) for one in filled]) / frame_rate
    grown = np.concatenate([one.grown for one in filled]) + margin * np.array([-1.0, -1.0, 1.0, 1.0])
    raw = fit_ellipses(grown, rolls)
    certainty = _compute_certainty(boxes, confidence, away)
    if shows_faces:
        # Only the face's own box is reduced to the face; what was added for motion and doubt stays.
        is_upside_down = np.repeat([one.is_upside_down for one in filled], runs.lengths)
        whole = fit_ellipses(boxes, rolls)
        raw += certainty[:, None] * (reduce_to_faces(whole, rolls, is_upside_down) - whole)
    ellipses = smooth_ellipses(raw, certainty, frame_size, frame_rate, runs)
    return [
        [
            Sample(frame, Ellipse(*ellipse), _EVIDENCE[kind], sure)
            for frame, ellipse, kind, sure in zip(
                one.frames.tolist(),
                ellipses[rows].tolist(),
                one.evidence.tolist(),
                one.confidence.tolist(),
                strict=True,
            )
            if 0 <= frame < frame_count
        ]
        for one, rows in zip(filled, runs.list_slices(), strict=True)
    ]


def _fill(
    part: TrajectoryPart, cuts: list[int], frame_count: int, frame_size: tuple[int, int], frame_rate: float
) -> _Filled:
    trajectory, extrapolate_s, leaving_s = part.trajectory, part.extrapolate_s, part.leaving_s
    first, last = int(trajectory.frames[0]), int(trajectory.frames[-1])
    shot = bisect_right(cuts, first)
    begin = max(0, cuts[shot - 1] if shot else 0)
    end = min(frame_count, cuts[shot] if shot < len(cuts) else frame_count)
    frames = np.arange(first, last + 1)
    boxes = np.stack([np.interp(frames, trajectory.frames, trajectory.boxes[:, i]) for i in range(4)], axis=1)
    confidence = np.interp(frames, trajectory.frames, trajectory.confidence)
    evidence = np.full(len(frames), _INTERPOLATED)
    evidence[trajectory.frames - first] = np.where(trajectory.is_detected(), _DETECTED, _FLOW)
    boxes = _limit_undetected(boxes, evidence == _DETECTED)
    rolls = np.full(len(frames), np.nan)
    rolls[trajectory.frames - first] = trajectory.rolls
    before = _extend(boxes[::-1], min(first - begin, frame_count), frame_size, frame_rate, extrapolate_s, leaving_s)[
        ::-1
    ]
    after = _extend(boxes, min(end - last - 1, frame_count), frame_size, frame_rate, extrapolate_s, leaving_s)
    boxes = np.concatenate([before, boxes, after])
    frames = np.arange(first - len(before), last + 1 + len(after))
    evidence = np.pad(evidence, (len(before), len(after)), constant_values=_EXTRAPOLATED)
    confidence = np.pad(confidence, (len(before), len(after)), mode="edge")
    rolls = np.pad(rolls, (len(before), len(after)), constant_values=np.nan)
    grown = _grow_undetected(boxes, evidence == _DETECTED, frame_rate)
    grown = _grow_moving(grown if part.is_doubtful else _grow_extrapolated(grown, evidence, frame_rate))
    return _Filled(frames, boxes, grown, evidence, confidence, rolls)


def _compute_certainty(boxes: Array, confidence: Array, undetected_s: Array) -> Array:
    """How certain it is (N, 0..1) that boxes (N x 4) lie where their faces are.

    `undetected_s` (N): seconds to the nearest detection.
    """
    low, high = FILLING.uncertain_confidence, FILLING.certain_confidence
    sure = np.clip((confidence - low) / (high - low), 0, 1)
    sure *= np.clip(2 - undetected_s / FILLING.certain_s, 0, 1)
    return np.asarray(sure * np.minimum(1, np.sqrt(compute_areas(boxes)) / FILLING.certain_size_px))


def _extend(
    boxes: Array,
    room: int,
    frame_size: tuple[int, int],
    frame_rate: float,
    extrapolate_s: float,
    leaving_s: float,
) -> Array:
    """Boxes (K x 4) that extrapolate the end of a trajectory for at most `room` frames.

    A face away from the picture's edges slows down and stops after `extrapolate_s`. One that touches an edge and moves
    outward goes on until its box, enlarged by a third on each side, has left the picture, for at most `leaving_s`.
    """
    extrapolated_frames = max(3, round(extrapolate_s * frame_rate))
    tail = boxes[-max(3, round(FILLING.end_speed_s * frame_rate)) :]
    centres = (tail[:, :2] + tail[:, 2:]) / 2
    speed = (centres[-1] - centres[0]) / max(len(tail) - 1, 1)
    box = boxes[-1]
    slack = FILLING.edge_share * (box[2:] - box[:2])
    outward = bool(
        ((box[:2] - slack <= 0) & (speed < 0)).any() or ((box[2:] + slack >= np.array(frame_size)) & (speed > 0)).any()
    )
    extrapolated = []
    for step in range(room):
        if outward:
            margin = (box[2:] - box[:2]) / FILLING.gone_divisor
            gone = (box[2:] + margin < 0).any() or (box[:2] - margin > np.array(frame_size)).any()
            if gone or step >= max(extrapolated_frames, round(leaving_s * frame_rate)):
                break
            box = box + np.tile(speed, 2)
        elif step >= extrapolated_frames:
            break
        else:
            box = box + np.tile(speed * FILLING.speed_decay ** (step + 1), 2)
        extrapolated.append(box)
    return np.array(extrapolated).reshape(-1, 4)


def _grow_moving(boxes: Array) -> Array:
    """Enlarge boxes along fast motion, which blurs a face and makes its position less certain."""
    if len(boxes) < 2:
        return boxes
    step = np.abs(np.gradient((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0))
    slow = FILLING.slow_sizes * np.sqrt(compute_areas(boxes))
    growth = FILLING.motion_growth_share * np.maximum(step - slow[:, None], 0.0)
    return np.concatenate([boxes[:, :2] - growth, boxes[:, 2:] + growth], axis=1)


def _grow_undetected(boxes: Array, found: NDArray[np.bool_], frame_rate: float) -> Array:
    """Enlarge boxes with the time to the nearest detection, as their position becomes less certain."""
    if not found.any():
        return boxes
    away = _compute_distances(found) / frame_rate
    growth = np.minimum(FILLING.growth_share_per_s * away, FILLING.most_growth_share)[:, None]
    return _enlarge(boxes, growth)


def _grow_extrapolated(boxes: Array, evidence: NDArray[np.int_], frame_rate: float) -> Array:
    """Enlarge extrapolated boxes with the time to the end of what was seen."""
    away = _compute_distances(evidence != _EXTRAPOLATED) / frame_rate
    growth = FILLING.extrapolated_growth_share_per_s * away
    return _enlarge(boxes, np.minimum(growth, FILLING.most_extrapolated_growth_share)[:, None])


def _enlarge(boxes: Array, growth: Array) -> Array:
    """Boxes (N x 4) that are larger by shares (N x 1) of their width and height."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * growth
    return np.concatenate([boxes[:, :2] - half, boxes[:, 2:] + half], axis=1)


def _limit_undetected(boxes: Array, found: NDArray[np.bool_]) -> Array:
    """Reduce boxes without a detection that are larger than those of the detections before and after them.

    What optical flow carries off a face grows with whatever it lies on then.
    """
    if not found.any():
        return boxes
    sizes = np.sqrt(compute_areas(boxes))
    left, right = _find_neighbours(found)
    share = np.minimum(1, np.maximum(sizes[left], sizes[right]) / sizes)[:, None]
    centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([centres - share * halves, centres + share * halves], axis=1)


def _compute_distances(found: NDArray[np.bool_]) -> Array:
    """Frames from each frame to the nearest one with a detection; infinite if there is none."""
    if not found.any():
        return np.full(len(found), np.inf)
    at, (left, right) = np.arange(len(found)), _find_neighbours(found)
    return np.asarray(np.minimum(np.abs(at - left), np.abs(at - right)), float)


def _find_neighbours(found: NDArray[np.bool_]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The last frame with a detection before each frame, and the first one from it on; at the ends the nearest."""
    seen = np.nonzero(found)[0]
    right = np.clip(np.searchsorted(seen, np.arange(len(found))), 0, len(seen) - 1)
    left = np.clip(right - 1, 0, len(seen) - 1)
    return seen[left], seen[right]
