# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of the contact sheet on which an editor decides about faces, and what each decision does to tracks."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from ..document.editing import bring_back, delete, get_track, switch
from ..types import ReviewReason, Sample, Track, TrackDocument, TrackKind, TrackStatus


@dataclass(frozen=True, slots=True)
class FaceSheetSettings:
    """Which faces have a picture of their own in the sheet."""

    small_share: float = 0.04
    """Side of a face, as a share of the frame's shorter side, below which it is in the pile of small faces. Raising it
    makes the sheet shorter and its pile larger. Origin: a guess; 43 pixels at 1080p."""


FACE_SHEET = FaceSheetSettings()


_DOUBTS = (ReviewReason.UNLIKELY_FACE, ReviewReason.SINGLE_DETECTOR)
"""Why a covered track may be no face."""


class SheetPile(StrEnum):
    """Whether a face has a picture of its own or is decided on with others."""

    NONE = "none"
    DOUBTFUL = "doubtful"
    """It is covered, and the review asks whether it is a face."""
    SMALL = "small"
    IGNORED = "ignored"
    """It is not covered, because the program suppressed it or an editor deleted it."""


class FaceDecision(StrEnum):
    COVER = "cover"
    KEEP_VISIBLE = "keep_visible"
    NOT_A_FACE = "not_a_face"


@dataclass(frozen=True, slots=True)
class SheetFace:
    """A track in the sheet."""

    track: str
    pile: SheetPile
    is_covered: bool
    """False if its cover is off in any frame."""
    side_px: float
    """The side of a square of the same area as its largest ellipse."""
    frames: int


def list_sheet_faces(document: TrackDocument) -> list[SheetFace]:
    """The tracks that an editor can decide on, largest and longest first."""
    least = FACE_SHEET.small_share * min(document.source.width, document.source.height)
    doubtful = {item.track for item in document.review_items if item.reason in _DOUBTS}
    faces = [
        _describe(track, least, track.name in doubtful)
        for track in (*document.tracks, *document.uncovered)
        if track.samples and track.kind is not TrackKind.NEVER and track.status is not TrackStatus.EXEMPT
    ]
    return sorted(faces, key=lambda face: -face.side_px * face.frames)


def _describe(track: Track, least_px: float, is_doubtful: bool) -> SheetFace:
    side = max(_compute_side(sample) for sample in track.samples)
    if track.status in (TrackStatus.SUPPRESSED, TrackStatus.DELETED):
        pile = SheetPile.IGNORED
    elif side < least_px:
        pile = SheetPile.SMALL
    else:
        pile = SheetPile.DOUBTFUL if is_doubtful else SheetPile.NONE
    covered = track.status is TrackStatus.COVERED and not track.off
    return SheetFace(track.name, pile, covered, side, len(track.samples))


def _compute_side(sample: Sample) -> float:
    return 2.0 * math.sqrt(sample.ellipse.rx * sample.ellipse.ry)


def decide(document: TrackDocument, names: Collection[str], decision: FaceDecision) -> list[str]:
    """Apply a decision to tracks, in all frames of the source; returns the names of the tracks that it changed.

    A track that was not covered and now is may have another name. Tracks that are already so are left alone.
    """
    covered = {track.name for track in document.tracks}
    changed = []
    for name in names:
        if name not in covered:
            if decision is FaceDecision.COVER:
                changed.append(bring_back(document, name).name)
            continue
        track = get_track(document, name)
        if decision is FaceDecision.NOT_A_FACE:
            delete(document, name)
        else:
            off = list(track.off)
            # All frames, because a later correction may make the track longer.
            switch(track, 0, document.source.frame_count, decision is FaceDecision.COVER)
            if track.off == off:
                continue
        changed.append(name)
    return changed
