# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a track of a new analysis is one that was there before."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import Track


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """When a track of a new analysis is one that was there before."""

    same_face_semi_axes: float = 0.5
    """How far apart two centres may lie on the same face, in the smaller semi-axis. Raising it passes what an editor
    decided on to more new tracks, and to somebody else's face sooner. Origin not recorded."""


MATCHING = MatchingSettings()


def is_same_track(track: Track, old: Track) -> bool:
    """Whether `track` is nowhere but where `old` is: no frame more, and its centre on the same face in each.

    So strict because a face that was switched off passes this on: one frame of somebody else would be uncovered.
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
