# SPDX-License-Identifier: GPL-3.0-or-later
"""Number plates and text are detected like faces; afterwards their tracks are turned into plates and lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..detection.settings import PLATES, TEXT, Preset, list_detectors
from ..document.naming import name_track
from ..types import TrackDocument, TrackKind, TrackStatus


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """A class of objects that is detected besides faces, on request, in an analysis of its own."""

    name: str
    """What options and properties call it."""
    kind: TrackKind
    preset: Preset
    note: str
    """What a user must know about the detector."""

    def list_weights(self) -> list[str]:
        """The names of the models that its detection needs."""
        return list_detectors(self.preset)


PLATE_CLASS = ObjectClass(
    "plates",
    TrackKind.PLATE,
    PLATES,
    "Number plates: the detector was trained on Chinese plates. In tests it found nearly all large plates from "
    "Europe, the United States and Brazil, but often missed small ones. Check every frame that shows a vehicle.",
)
TEXT_CLASS = ObjectClass(
    "text",
    TrackKind.TEXT,
    TEXT,
    "Text: the detector finds printed lines that are large enough to read. It misses handwriting, and text that is "
    "small, blurred or strongly tilted. Check every frame that shows a sign or a screen.",
)
OBJECT_CLASSES = (PLATE_CLASS, TEXT_CLASS)


def choose_classes(names: Iterable[str]) -> list[ObjectClass]:
    """The classes of those names, in a fixed order."""
    wanted = set(names)
    return [one for one in OBJECT_CLASSES if one.name in wanted]


def mark_objects(document: TrackDocument, kind: TrackKind) -> None:
    """Turn the tracks of an analysis for a class of objects into tracks of that kind, with their numbers kept.

    Their ellipses are enlarged to contain the corners of a plate or line.
    """
    (found,) = (one for one in OBJECT_CLASSES if one.kind is kind)
    names = {}
    for tracks, status in ((document.tracks, TrackStatus.COVERED), (document.uncovered, TrackStatus.SUPPRESSED)):
        for number, track in enumerate(tracks, 1):
            names[track.name] = name_track(kind, status, number, len(tracks))
            track.name, track.kind = names[track.name], kind
            # The smallest ellipse around a box is larger than the inscribed one by this factor.
            track.samples = [replace(s, ellipse=s.ellipse.scaled(math.sqrt(2))) for s in track.samples]
    document.review_items = [replace(d, track=names.get(d.track, d.track)) for d in document.review_items]
    document.notes.append(found.note)


def merge_objects(document: TrackDocument, objects: TrackDocument) -> None:
    """Add the objects from another analysis of the same source to a document."""
    taken = {track.name for track in (*document.tracks, *document.uncovered)}
    for tracks, others in ((document.tracks, objects.tracks), (document.uncovered, objects.uncovered)):
        tracks += [track for track in others if track.name not in taken]
    document.review_items = sorted(
        [*document.review_items, *(d for d in objects.review_items if d.track)], key=lambda d: d.start
    )
    document.models += objects.models
    document.notes += [note for note in objects.notes if note not in document.notes]
