# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a face probably is at a place where an editor says there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..types import Ellipse, TrackDocument, TrackKind


@dataclass(frozen=True, slots=True)
class SizeGuessSettings:
    """How the size of an added face is guessed. An editor can resize it, so the numbers are round ones."""

    neighbours: int = 3
    """How many of the nearest faces count. Raising it makes the guess depend on faces farther away, at other depths.
    Origin: chosen, not measured."""
    reach_s: float = 1.0
    """In seconds: how long before and after the frame a face may be seen to count. Raising it takes in
    faces that have changed their size. Origin: chosen, not measured."""
    bare_share: float = 0.16
    """Height of a face in a picture without other faces, as a share of the picture's height. Raising it makes it
    larger. Origin: chosen, not measured."""
    bare_aspect: float = 0.75
    """Width of that face as a share of its height. Raising it makes it wider. Origin: chosen, not measured."""


SIZE_GUESS = SizeGuessSettings()


def guess_face(
    document: TrackDocument, source_frame: int, x: float, y: float, settings: SizeGuessSettings = SIZE_GUESS
) -> Ellipse:
    """An upright face (without the margin) with its middle at a point, in source pixels.

    Its radii are the geometric means of those of the nearest faces in the picture, each in its frame that is nearest in
    time and in the same shot.
    """
    start, stop = next(
        ((shot.start, shot.stop) for shot in document.shots if shot.start <= source_frame < shot.stop),
        (0, document.source.frame_count),
    )
    reach = settings.reach_s * float(document.source.frame_rate)
    found = []
    for track in document.tracks:
        near = min(
            (sample for sample in track.samples if start <= sample.source_frame < stop),
            key=lambda sample: abs(sample.source_frame - source_frame),
            default=None,
        )
        if track.kind is TrackKind.FACE and near is not None and abs(near.source_frame - source_frame) <= reach:
            found.append((math.hypot(near.ellipse.cx - x, near.ellipse.cy - y), near.ellipse))
    if not found:
        ry = settings.bare_share * document.source.height / 2
        return Ellipse(x, y, settings.bare_aspect * ry, ry)
    nearest = [ellipse for _, ellipse in sorted(found, key=lambda pair: pair[0])[: settings.neighbours]]
    rx, ry = (
        math.exp(sum(math.log(max(radius, 1.0)) for radius in radii) / len(nearest))
        for radii in ([ellipse.rx for ellipse in nearest], [ellipse.ry for ellipse in nearest])
    )
    return Ellipse(x, y, rx, ry)
