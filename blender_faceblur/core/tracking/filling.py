# SPDX-License-Identifier: GPL-3.0-or-later
"""Make samples of a path: gaps filled, ends held, growth where the place is less sure, the way smoothed."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array, areas
from ..types import Ellipse, Evidence, Sample
from .observations import Trajectory
from .smoothing import fill_rolls, smooth_ellipses


@dataclass(frozen=True, slots=True)
class FillingSettings:
    """How a track goes on beyond its ends, and by how much its boxes grow where the face's place is less certain.

    A face's size is the side of the square with its box's area.
    """

    hold_s: float = 0.25
    """Seconds for which the box is extrapolated beyond both ends of a track. Raising it covers faces that are detected
    late or lost early, and covers the background for longer. Origin not recorded."""
    leave_s: float = 1.0
    """Seconds for which the box of a face that leaves the picture is extrapolated at most. Raising it covers slow
    exits to their end. Origin not recorded."""
    end_speed_s: float = 0.2
    """Seconds at a track's end over which its speed is measured for the extrapolation. Raising it averages over more
    motion and reacts less to the last one. Origin not recorded."""
    edge_share: float = 0.15
    """Share of the box's width or height within which a box counts as touching the picture's edge. Raising it lets
    more faces be extrapolated out of the picture. Origin not recorded."""
    gone_divisor: float = 3.0
    """A face has left when its box, one part in this many wider on each side, has left the picture. Raising it ends
    the cover sooner. Origin not recorded."""
    hold_speed_decay: float = 0.8
    """What is left of the speed after each extrapolated frame of a face in the open. Raising it lets the cover go
    farther before it stands still. Origin not recorded."""
    growth_share_per_s: float = 0.3
    """By how much of its width and height a box grows a second of distance to the nearest detection. Raising it covers
    more where the face is tracked only. Origin not recorded."""
    most_growth_share: float = 0.2
    """The most that it grows so. Raising it covers more where the face is not detected for long. Origin not
    recorded."""
    slow_sizes: float = 0.08
    """Motion from one frame to the next, in sizes of the face, that does not blur it. Raising it widens fewer boxes.
    Origin not recorded."""
    motion_growth_share: float = 0.5
    """By how much of the motion beyond that each side of the box grows, along the motion. Raising it covers more of
    the blur. Origin not recorded."""


FILLING = FillingSettings()

_EVIDENCE = (Evidence.DETECTED, Evidence.FLOW, Evidence.INTERPOLATED, Evidence.EXTRAPOLATED)
_DETECTED, _FLOW, _INTERPOLATED, _EXTRAPOLATED = range(4)


def split_at_gaps(trajectory: Trajectory, cuts: list[int], longest: int) -> list[Trajectory]:
    """The path's parts between cuts, and between gaps of more than `longest` frames: there it is nowhere."""
    shot = np.searchsorted(cuts, trajectory.frames, side="right")
    apart = (np.diff(shot) > 0) | (np.diff(trajectory.frames) > longest + 1)
    return [trajectory.part(rows) for rows in np.split(np.arange(len(shot)), np.nonzero(apart)[0] + 1)]


def fill_trajectory(
    trajectory: Trajectory,
    cuts: list[int],
    frame_count: int,
    frame_size: tuple[int, int],
    frame_rate: float,
    leaving_s: float,
    margin: float = 0.0,
) -> list[Sample]:
    """The path with its gaps filled, its ends held, `margin` pixels added and its way smoothed, within its shot."""
    first, last = int(trajectory.frames[0]), int(trajectory.frames[-1])
    shot = bisect_right(cuts, first)
    begin = max(0, cuts[shot - 1] if shot else 0)
    end = min(frame_count, cuts[shot] if shot < len(cuts) else frame_count)
    frames = np.arange(first, last + 1)
    boxes = np.stack([np.interp(frames, trajectory.frames, trajectory.boxes[:, i]) for i in range(4)], axis=1)
    confidence = np.interp(frames, trajectory.frames, trajectory.confidence)
    evidence = np.full(len(frames), _INTERPOLATED)
    evidence[trajectory.frames - first] = np.where(trajectory.is_detected(), _DETECTED, _FLOW)
    rolls = np.full(len(frames), np.nan)
    rolls[trajectory.frames - first] = trajectory.rolls
    before = _extend(boxes[::-1], min(first - begin, frame_count), frame_size, frame_rate, leaving_s)[::-1]
    after = _extend(boxes, min(end - last - 1, frame_count), frame_size, frame_rate, leaving_s)
    boxes = np.concatenate([before, boxes, after])
    frames = np.arange(first - len(before), last + 1 + len(after))
    evidence = np.pad(evidence, (len(before), len(after)), constant_values=_EXTRAPOLATED)
    confidence = np.pad(confidence, (len(before), len(after)), mode="edge")
    rolls = np.pad(rolls, (len(before), len(after)), constant_values=np.nan)
    boxes = _grow_moving(_grow_unseen(boxes, evidence == _DETECTED, frame_rate))
    boxes += margin * np.array([-1.0, -1.0, 1.0, 1.0])
    ellipses = smooth_ellipses(boxes, fill_rolls(rolls, confidence, frame_rate), frame_size, frame_rate)
    return [
        Sample(frame, Ellipse(*ellipse), _EVIDENCE[kind], sure)
        for frame, ellipse, kind, sure in zip(
            frames.tolist(), ellipses.tolist(), evidence.tolist(), confidence.tolist(), strict=True
        )
        if 0 <= frame < frame_count
    ]


def _extend(boxes: Array, room: int, frame_size: tuple[int, int], frame_rate: float, leaving_s: float) -> Array:
    """Boxes that hold the end of a path for at most `room` frames (K x 4).

    A face in the open stays where its motion dies out. One that touches the picture's edge and moves outward goes
    on until its box with a third more on each side has left the picture, for at most `leaving_s`.
    """
    hold_frames = max(3, round(FILLING.hold_s * frame_rate))
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
            if gone or step >= max(hold_frames, round(leaving_s * frame_rate)):
                break
            box = box + np.tile(speed, 2)
        elif step >= hold_frames:
            break
        else:
            box = box + np.tile(speed * FILLING.hold_speed_decay ** (step + 1), 2)
        extrapolated.append(box)
    return np.array(extrapolated).reshape(-1, 4)


def _grow_moving(boxes: Array) -> Array:
    """Boxes lengthened along fast motion, which smears a face over its way and leaves its place less sure."""
    if len(boxes) < 2:
        return boxes
    step = np.abs(np.gradient((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0))
    slow = FILLING.slow_sizes * np.sqrt(areas(boxes))
    growth = FILLING.motion_growth_share * np.maximum(step - slow[:, None], 0.0)
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
    growth = np.minimum(FILLING.growth_share_per_s * away, FILLING.most_growth_share)[:, None]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * growth
    return np.concatenate([boxes[:, :2] - half, boxes[:, 2:] + half], axis=1)
