# SPDX-License-Identifier: GPL-3.0-or-later
"""Number plates are detected like faces; afterwards their tracks are turned into plates."""

from __future__ import annotations

import math
from dataclasses import replace

from ..detection.settings import PLATES, list_detectors
from ..document.naming import name_track
from ..types import TrackDocument, TrackKind, TrackStatus

PLATE_PRESET = PLATES.name
"""The name of the preset that detects number plates."""

NOTE = (
    "Number plates: the detector was trained on Chinese plates. In tests it found nearly all large plates from "
    "Europe, the United States and Brazil, but often missed small ones. Check every frame that shows a vehicle."
)


def list_weights() -> list[str]:
    """The names of the models that the detection of plates needs."""
    return list_detectors(PLATES)


def mark_as_plates(document: TrackDocument) -> None:
    """Turn the tracks of an analysis for plates into plates, with their numbers kept.

    Their ellipses are enlarged to contain the corners of a plate.
    """
    names = {}
    for tracks, status in ((document.tracks, TrackStatus.COVERED), (document.uncovered, TrackStatus.SUPPRESSED)):
        for number, track in enumerate(tracks, 1):
            names[track.name] = name_track(TrackKind.PLATE, status, number, len(tracks))
            track.name, track.kind = names[track.name], TrackKind.PLATE
            # The smallest ellipse around a box is larger than the inscribed one by this factor.
            track.samples = [replace(s, ellipse=s.ellipse.scaled(math.sqrt(2))) for s in track.samples]
    document.review_items = [replace(d, track=names.get(d.track, d.track)) for d in document.review_items]
    document.notes.append(NOTE)


def merge_plates(document: TrackDocument, plates: TrackDocument) -> None:
    """Add the plates from another analysis of the same source to a document."""
    taken = {track.name for track in (*document.tracks, *document.uncovered)}
    for tracks, others in ((document.tracks, plates.tracks), (document.uncovered, plates.uncovered)):
        tracks += [track for track in others if track.name not in taken]
    document.review_items = sorted(
        [*document.review_items, *(d for d in plates.review_items if d.track)], key=lambda d: d.start
    )
    document.models += plates.models
    document.notes += [note for note in plates.notes if note not in document.notes]
