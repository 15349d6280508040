# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggest which tracks show one person without a face recogniser: by time, place and colours.

This finds what a film cuts away from and comes back to, as in interviews, and tracks that were interrupted. It knows
nobody: a person who has moved is not found again. Suggestions decide nothing by themselves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Ellipse, Track

Look = NDArray[np.float32]
"""How often each colour occurs in a picture of a face and its surroundings, in each of its parts; the sum is 1."""


@dataclass(frozen=True, slots=True)
class LookSettings:
    """When two tracks are suggested as one person."""

    most_gap_s: float = 120.0
    """Seconds from the end of one track to the beginning of the other up to which they are compared. Raising it finds
    people again after longer scenes, and takes more others for them. Origin: a guess."""
    most_distance: float = 0.75
    """Distance of the two places, in mean sides of the faces. Raising it finds people who have moved, and takes more
    neighbours for them. Origin: a guess; neighbours who sit side by side are at least one side apart."""
    most_size_ratio: float = 1.5
    """Side of the larger face divided by that of the smaller one. Raising it finds people who came nearer. Origin: a
    guess."""
    least_overlap: float = 0.75
    """Share (0..1) of the colours that two pictures have in common. Raising it makes smaller groups. Origin: chosen on
    hamilton.mp4 and on a film that cuts between three clips; docs/people.md has what others showed."""
    grid: int = 2
    """Rows and columns of parts in which colours are counted. Raising it makes turned faces differ more. Origin: a
    guess."""
    bright_percentile: float = 95.0
    """Percentile of a picture's values that becomes white, so that dark pictures are told apart by their colours.
    Raising it lets single lights keep a picture dark. Origin: a guess."""
    levels: int = 4
    """Levels of each colour channel. Raising it makes changes of light differ more. Origin: a guess."""


LOOK = LookSettings()


def compute_look(picture: NDArray[np.uint8]) -> Look:
    """The look of a picture (rows x columns x at least RGB)."""
    part_rows, part_columns = (np.arange(size) * LOOK.grid // size for size in picture.shape[:2])
    part = part_rows[:, None] * LOOK.grid + part_columns
    values = picture[..., :3].astype(np.float32)
    values *= 256 / max(float(np.percentile(values, LOOK.bright_percentile)) + 1, 1.0)
    levels = np.minimum(values * LOOK.levels / 256, LOOK.levels - 1).astype(np.intp)
    color = (levels[..., 0] * LOOK.levels + levels[..., 1]) * LOOK.levels + levels[..., 2]
    bins = LOOK.grid**2 * LOOK.levels**3
    counts = np.bincount((part * LOOK.levels**3 + color).ravel(), minlength=bins)
    return np.asarray(counts / color.size, np.float32)


def measure_overlap(one: Look, other: Look) -> float:
    """The share (0..1) of the colours that two pictures have in common."""
    return float(np.minimum(one, other).sum())


def group_by_look(tracks: Sequence[Track], looks: Mapping[str, Look], frame_rate: float) -> list[list[str]]:
    """Names of tracks that probably show one person, for groups of at least two. `frame_rate` is the source's.

    Two tracks with a frame in common are never in one group. A track without a look is in none.
    """
    known = sorted((t for t in tracks if t.samples and t.name in looks), key=lambda t: t.samples[0].source_frame)
    frames = {track.name: {sample.source_frame for sample in track.samples} for track in known}
    pairs = [
        (measure_overlap(looks[one.name], looks[other.name]), one.name, other.name)
        for one, other in itertools.combinations(known, 2)
        if _is_near(one, other, frame_rate)
    ]
    groups = {track.name: [track.name] for track in known}
    for overlap, one, other in sorted(pairs, reverse=True):
        if overlap < LOOK.least_overlap:
            break
        first, second = groups[one], groups[other]
        if first is second or any(frames[a] & frames[b] for a in first for b in second):
            continue
        first += second
        for name in second:
            groups[name] = first
    return [group for name, group in groups.items() if len(group) > 1 and group[0] == name]


def _is_near(one: Track, other: Track, frame_rate: float) -> bool:
    """Whether the second track begins soon after the end of the first one, at its place and in its size."""
    last, first = one.samples[-1], other.samples[0]
    gap = first.source_frame - last.source_frame
    if not 0 < gap <= LOOK.most_gap_s * frame_rate:
        return False
    sides = _compute_side(last.ellipse), _compute_side(first.ellipse)
    away = math.hypot(first.ellipse.cx - last.ellipse.cx, first.ellipse.cy - last.ellipse.cy)
    return away <= LOOK.most_distance * sum(sides) / 2 and max(sides) <= LOOK.most_size_ratio * min(sides)


def _compute_side(ellipse: Ellipse) -> float:
    return 2.0 * math.sqrt(ellipse.rx * ellipse.ry)
