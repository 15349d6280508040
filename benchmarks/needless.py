# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the area comes from that is covered beyond every annotated face: which tracks, and which parts of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from blender_faceblur.core.types import Evidence

from .annotations import Truth
from .covers import TracksCover
from .labelled_tracks import LabelledClip, find_label, list_boxes
from .scoring import ALLOWED, draw_ellipse

NO_FACE, FACE, NO_LABEL = "tracks that show no face", "tracks of faces and heads", "tracks without a label"


@dataclass(slots=True)
class NeedlessArea:
    """Pixels beyond every annotated ellipse (enlarged as in `scoring`), by what a track shows and by its evidence.

    Where covers overlap, the first track has the pixel. `area`: the pixels of all annotated pictures.
    """

    pixels: Counter[tuple[str, Evidence]] = field(default_factory=Counter)
    area: int = 0

    def add(self, other: NeedlessArea) -> None:
        """Add another clip's pixels."""
        self.pixels.update(other.pixels)
        self.area += other.area

    def list_lines(self) -> list[str]:
        """The shares as they are printed, the largest first."""
        lines = []
        shown = Counter[str]()
        for (what, _), pixels in self.pixels.items():
            shown[what] += pixels
        for what, pixels in shown.most_common():
            parts = sorted(((count, kind) for (one, kind), count in self.pixels.items() if one == what), reverse=True)
            named = ", ".join(f"{kind.value} {100 * count / self.area:.3f}" for count, kind in parts)
            lines.append(f"{what}: {100 * pixels / self.area:.3f} % of the pictures ({named})")
        return lines


def attribute_area(cover: TracksCover, truth: Truth, labels: LabelledClip | None) -> NeedlessArea:
    """Attribute the needlessly covered area of a clip's annotated frames; without labels no track has one."""
    found = NeedlessArea()
    tracks = {track.name: track for track in cover.document.tracks}
    evidence = {name: {s.source_frame: s.evidence for s in track.samples} for name, track in tracks.items()}
    shows = {}
    for name, track in tracks.items():
        label = find_label(list_boxes(track), labels.tracks) if labels is not None else None
        shows[name] = NO_LABEL if label is None else NO_FACE if label.is_phantom else FACE
    for frame, faces in truth.frames.items():
        free = np.ones((cover.height, cover.width), np.uint8)
        for face in faces:
            free[draw_ellipse(face.ellipse.scaled(ALLOWED), free.shape) > 0] = 0
        for name, ellipse in cover.list_faces(frame):
            beyond = draw_ellipse(ellipse, free.shape) & free
            free[beyond > 0] = 0
            found.pixels[shows[name], evidence[name][frame]] += int(beyond.sum())
        found.area += free.size
    return found
