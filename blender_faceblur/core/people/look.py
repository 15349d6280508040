# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggest which tracks show one person without a face recogniser: by time, place and colours.

This finds what a film cuts away from and comes back to, as in interviews, and tracks that were interrupted. It knows
nobody: a person who has moved is not found again. Suggestions decide nothing by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Sample, Track

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
    pairs = [
        (measure_overlap(looks[known[i].name], looks[known[j].name]), known[i].name, known[j].name)
        for i, j in _list_near(known, frame_rate)
    ]
    frames = {name: set[int]() for _, *names in pairs for name in names}
    for track in known:
        if track.name in frames:
            frames[track.name].update(sample.source_frame for sample in track.samples)
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


def _list_near(tracks: Sequence[Track], frame_rate: float) -> Iterator[tuple[int, int]]:
    """Pairs of which the second track begins soon after the end of the first one, at its place and in its size."""
    if not tracks:
        return
    # Frame, x, y and side at the beginning and at the end of each track.
    begin, end = (np.array([_describe(track.samples[at]) for track in tracks]) for at in (0, -1))
    for number, (frame, x, y, side) in enumerate(end):
        gap = begin[:, 0] - frame
        away = np.hypot(begin[:, 1] - x, begin[:, 2] - y)
        larger, smaller = np.maximum(begin[:, 3], side), np.minimum(begin[:, 3], side)
        near = (
            (gap > 0)
            & (gap <= LOOK.most_gap_s * frame_rate)
            & (away <= LOOK.most_distance * (larger + smaller) / 2)
            & (larger <= LOOK.most_size_ratio * smaller)
        )
        yield from ((number, int(other)) for other in np.flatnonzero(near))


def _describe(sample: Sample) -> tuple[float, float, float, float]:
    ellipse = sample.ellipse
    return sample.source_frame, ellipse.cx, ellipse.cy, 2.0 * math.sqrt(ellipse.rx * ellipse.ry)
