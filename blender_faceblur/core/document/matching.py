# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a track of a new analysis is the same as an earlier track."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..types import Track


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """When a track of a new analysis is the same as an earlier track."""

    same_face_semi_axes: float = 0.5
    """How far apart two centres on the same face may lie, as a multiple of the smallest semi-axis. Raising it passes an
    editor's decision on to more new tracks, and sooner to another person's face. Origin not recorded."""


MATCHING = MatchingSettings()


def is_same_track(track: Track, old: Track) -> bool:
    """Whether `track` lies only where `old` lies: in no other frame, and with its centre on the same face in each.

    The test is strict because the new track stays uncovered where the old one was: a single frame of another person
    must not be uncovered.
    """
    known = {sample.source_frame: sample.ellipse for sample in old.samples}
    for sample in track.samples:
        there = known.get(sample.source_frame)
        if there is None:
            return False
        least = MATCHING.same_face_semi_axes * min(there.rx, there.ry, sample.ellipse.rx, sample.ellipse.ry)
        if (there.cx - sample.ellipse.cx) ** 2 + (there.cy - sample.ellipse.cy) ** 2 > least**2:
            return False
    return bool(track.samples)


def list_same_tracks(tracks: Iterable[Track], old: Collection[Track]) -> set[str]:
    """The names of those tracks that are the same as one of the `old` ones."""
    return {track.name for track in tracks if any(is_same_track(track, other) for other in old)}
