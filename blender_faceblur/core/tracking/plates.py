# SPDX-License-Identifier: GPL-3.0-or-later
"""Number plates are found like faces; afterwards their tracks are regions."""

from __future__ import annotations

import math
from dataclasses import replace

from ..detection.settings import PLATES, list_detectors
from ..document.naming import name_track
from ..types import TrackDocument, TrackKind, TrackStatus

PRESET = PLATES.name
"""The name of the preset that looks for them."""

NOTE = (
    "Number plates: the detector was trained with Chinese plates. Large ones of Europe, the United States and "
    "Brazil were nearly all found too, small ones often not: look at every frame that shows a vehicle."
)


def list_weights() -> list[str]:
    """The names of the models that looking for plates takes."""
    return list_detectors(PLATES)


def make_regions(document: TrackDocument) -> None:
    """Make plates of the tracks of an analysis that looked for them, numbered as they are, and large enough for the
    corners of a plate."""
    names = {}
    for tracks, status in ((document.tracks, TrackStatus.COVERED), (document.aside, TrackStatus.SUPPRESSED)):
        for number, track in enumerate(tracks, 1):
            names[track.name] = name_track(TrackKind.PLATE, status, number, len(tracks))
            track.name, track.kind = names[track.name], TrackKind.PLATE
            # The least ellipse around a box is that much larger than the one inside it.
            track.samples = [replace(s, ellipse=s.ellipse.scaled(math.sqrt(2))) for s in track.samples]
    document.review_items = [replace(d, track=names.get(d.track, d.track)) for d in document.review_items]
    document.notes.append(NOTE)


def add_regions(document: TrackDocument, plates: TrackDocument) -> None:
    """Put the regions of another analysis of the same source into a document."""
    taken = {track.name for track in (*document.tracks, *document.aside)}
    for tracks, others in ((document.tracks, plates.tracks), (document.aside, plates.aside)):
        tracks += [track for track in others if track.name not in taken]
    document.review_items = sorted(
        [*document.review_items, *(d for d in plates.review_items if d.track)], key=lambda d: d.start
    )
    document.models += plates.models
    document.notes += [note for note in plates.notes if note not in document.notes]
