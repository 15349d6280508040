# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact sheet of faces: its order, its piles, and what each decision does to tracks."""

from __future__ import annotations

from fractions import Fraction

import pytest

from blender_faceblur.core.review.face_sheet import FaceDecision, SheetPile, decide, list_sheet_faces
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewItem,
    ReviewReason,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
    TrackStatus,
)

FRAMES = 50


def make_track(name: str, count: int, radius: float) -> Track:
    return Track(name, [Sample(f, Ellipse(300, 200, radius, radius), Evidence.DETECTED, 0.8) for f in range(count)])


@pytest.fixture
def document() -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 1280, 720, FRAMES, Fraction(25), "0" * 64)
    ignored = make_track("Ignored 01", 40, 80)
    ignored.status = TrackStatus.SUPPRESSED
    tracks = [make_track("short", 5, 60), make_track("small", 50, 10), make_track("large", 40, 60)]
    return TrackDocument(source, "balanced", 1.4, [], [], tracks, [], uncovered=[ignored])


def test_the_largest_and_longest_faces_come_first_and_small_and_ignored_ones_are_piles(document: TrackDocument) -> None:
    faces = list_sheet_faces(document)
    assert [(face.track, face.pile) for face in faces] == [
        ("Ignored 01", SheetPile.IGNORED),
        ("large", SheetPile.NONE),
        ("small", SheetPile.SMALL),
        ("short", SheetPile.NONE),
    ]
    assert faces[1].side_px == 120 and faces[1].frames == 40
    assert [face.is_covered for face in faces] == [False, True, True, True]


def test_covered_tracks_of_which_the_review_asks_whether_they_are_faces_are_a_pile(document: TrackDocument) -> None:
    for name, reason in (
        ("large", ReviewReason.UNLIKELY_FACE),
        ("small", ReviewReason.UNLIKELY_FACE),
        ("short", ReviewReason.ENDS),
        ("Ignored 01", ReviewReason.UNLIKELY_FACE),
    ):
        document.review_items.append(ReviewItem(0, 5, (0, 0, 9, 9), 0.5, reason, name))
    piles = {face.track: face.pile for face in list_sheet_faces(document)}
    assert piles == {
        "large": SheetPile.DOUBTFUL,
        "small": SheetPile.SMALL,
        "short": SheetPile.NONE,
        "Ignored 01": SheetPile.IGNORED,
    }


def test_keep_visible_is_for_all_frames_and_cover_reverts_it(document: TrackDocument) -> None:
    large = document.tracks[2]
    assert decide(document, ["large"], FaceDecision.KEEP_VISIBLE) == ["large"]
    assert large.list_covered_spans() == [] and large.off == [(0, FRAMES)]
    assert not next(face for face in list_sheet_faces(document) if face.track == "large").is_covered
    assert decide(document, ["large"], FaceDecision.KEEP_VISIBLE) == []
    assert decide(document, ["large", "short"], FaceDecision.COVER) == ["large"]
    assert large.list_covered_spans() == [(0, 40)]


def test_not_a_face_uncovers_and_cover_brings_back(document: TrackDocument) -> None:
    assert decide(document, ["small", "short"], FaceDecision.NOT_A_FACE) == ["small", "short"]
    assert [track.name for track in document.tracks] == ["large"]
    assert {f.track for f in list_sheet_faces(document) if f.pile is SheetPile.IGNORED} == {
        "small",
        "short",
        "Ignored 01",
    }
    made = decide(document, ["small", "Ignored 01"], FaceDecision.COVER)
    assert {track.name for track in document.tracks} == {"large", *made} and len(made) == 2
    assert all(track.list_covered_spans() for track in document.tracks)


def test_what_is_not_covered_stays_so_unless_it_is_to_be_covered(document: TrackDocument) -> None:
    for decision in (FaceDecision.KEEP_VISIBLE, FaceDecision.NOT_A_FACE):
        assert decide(document, ["Ignored 01"], decision) == []
    assert document.uncovered[0].status is TrackStatus.SUPPRESSED
