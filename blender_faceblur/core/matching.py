# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a track of a new analysis is one that was there before."""

from __future__ import annotations

from .types import Track

_APART = 0.5
"""In the smaller half axis: two centres nearer than this are on the same face."""


def follows(track: Track, old: Track) -> bool:
    """Whether `track` is nowhere but where `old` is: no frame more, and its centre on the same face in each.

    So strict because a face that was switched off passes this on: one frame of somebody else would be uncovered.
    """
    known = {sample.source_frame: sample.ellipse for sample in old.samples}
    for sample in track.samples:
        there = known.get(sample.source_frame)
        if there is None:
            return False
        least = _APART * min(there.rx, there.ry, sample.ellipse.rx, sample.ellipse.ry)
        if (there.cx - sample.ellipse.cx) ** 2 + (there.cy - sample.ellipse.cy) ** 2 > least**2:
            return False
    return bool(track.samples)
