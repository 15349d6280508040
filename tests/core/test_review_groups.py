# SPDX-License-Identifier: GPL-3.0-or-later
"""A review ends: items about one face or place are one, what could show least is a pile, and nothing is left out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from blender_faceblur.core.review.groups import REVIEW_GROUPS, count_left, list_open, list_review_groups
from blender_faceblur.core.review.queue import ReviewEntry, list_review_entries, record_verdict
from blender_faceblur.core.tracking.review_items import make_review_item
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewReason,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
    TrackStatus,
    Verdict,
)
from blender_faceblur.reporting.wording import describe_place

RATE = 25


def make_track(name: str, frames: range, x: float, size: float = 20.0, y: float = 200.0) -> Track:
    return Track(name, [Sample(f, Ellipse(x, y, size, size), Evidence.DETECTED, 0.8) for f in frames])


def make_document(seconds: float, tracks: list[Track], kind: str = "movie") -> TrackDocument:
    source = SourceInfo("a.mp4", kind, 1280, 720, round(seconds * RATE), Fraction(RATE), "0" * 64)
    return TrackDocument(source, "balanced", 1.4, [], [], tracks, [])


def add(document: TrackDocument, track: Track, reason: ReviewReason, start: int, stop: int) -> None:
    own = [s for s in track.samples if start <= s.source_frame < stop]
    document.review_items.append(make_review_item(track.name, own, reason))


def list_all(document: TrackDocument) -> list[str]:
    return sorted(one.key for entry in list_review_groups(document) for one in (entry, *entry.members))


@pytest.fixture
def crowd() -> TrackDocument:
    """A minute with 60 faces that appear for half a second, and one large face that ends."""
    tracks = [
        make_track(f"Face {n:02}", range(25 * n, 25 * n + 12), 40 + 200 * (n % 6), 4.0 + 0.05 * n) for n in range(60)
    ]
    large = make_track("Face 99", range(100, 900), 640, 120.0, 450.0)
    document = make_document(60, [*tracks, large])
    for track in tracks:
        first = track.samples[0].source_frame
        add(document, track, ReviewReason.BEGINS, first, first + 5)
        add(document, track, ReviewReason.ENDS, first + 7, first + 12)
    add(document, large, ReviewReason.ENDS, 895, 900)
    return document


def test_items_about_one_face_are_one_until_it_is_long_ago() -> None:
    face = make_track("Face 01", range(1500), 300)
    document = make_document(60, [face])
    for start in (100, 200, 330, 1200):
        add(document, face, ReviewReason.FAST_MOTION, start, start + 10)
    assert [1 + len(entry.members) for entry in list_review_groups(document)] == [3, 1]


def test_a_track_that_ends_where_another_begins_is_one_item_but_neighbours_are_two() -> None:
    one, two, other = (
        make_track("Face 01", range(100, 200), 300),
        make_track("Face 02", range(205, 300), 310),
        make_track("Face 03", range(205, 300), 380),
    )
    document = make_document(60, [one, two, other])
    add(document, one, ReviewReason.ENDS, 195, 200)
    for track in (two, other):
        add(document, track, ReviewReason.BEGINS, 205, 210)
    groups = list_review_groups(document)
    assert sorted(sorted({e.track for e in (g, *g.members)}) for g in groups) == [["Face 01", "Face 02"], ["Face 03"]]
    assert "Also: 'Face 02' begins" in describe_place(next(g for g in groups if g.members))


def test_a_minute_of_a_crowd_has_at_most_twelve_items_and_all_of_it_is_in_them(crowd: TrackDocument) -> None:
    groups = list_review_groups(crowd)
    assert len(groups) == count_left(crowd) == REVIEW_GROUPS.items_per_minute
    assert list_all(crowd) == sorted(entry.key for entry in list_review_entries(crowd)) and len(list_all(crowd)) == 121
    assert groups[0].track == "Face 99", "what could show most comes first"
    (pile,) = (entry for entry in groups if entry.pile is not None)
    assert pile is groups[-1] and pile.pile is not None and pile.pile.uncovered == 0
    assert pile.pile.largest_px <= min(entry.size_px for entry in groups[:-1])
    assert describe_place(pile).startswith(f"{pile.pile.places} more places with {pile.pile.covered} faces, of at most")


@pytest.mark.parametrize("seconds", [1, 4, 7.5, 30, 61, 64, 66, 150])
def test_a_film_has_at_most_twelve_items_a_minute_or_four_if_it_is_short(crowd: TrackDocument, seconds: float) -> None:
    crowd.source = replace(crowd.source, frame_count=round(seconds * RATE))
    crowd.review_items = [item for item in crowd.review_items if item.stop <= crowd.source.frame_count]
    count = count_left(crowd)
    assert bool(count) == bool(crowd.review_items)
    assert count <= max(REVIEW_GROUPS.least_items, REVIEW_GROUPS.items_per_minute * seconds / 60)


def test_pictures_have_no_piles(crowd: TrackDocument) -> None:
    crowd.source = replace(crowd.source, kind="image")
    assert len(list_review_groups(crowd)) > REVIEW_GROUPS.items_per_minute


def accept(document: TrackDocument, entry: ReviewEntry) -> None:
    for one in list_open(entry):
        record_verdict(document, one.key, Verdict.CONFIRMED)


def test_a_group_is_open_until_all_of_it_has_a_verdict(crowd: TrackDocument) -> None:
    pile = list_review_groups(crowd)[-1]
    record_verdict(crowd, pile.key, Verdict.CONFIRMED)
    again = list_review_groups(crowd)[-1]
    assert again.key != pile.key and not again.verdict and len(list_open(again)) == len(list_open(pile)) - 1
    accept(crowd, again)
    assert list_review_groups(crowd)[-1].verdict is Verdict.CONFIRMED and count_left(crowd) == 11
    for entry in list_review_groups(crowd):
        accept(crowd, entry)
    assert count_left(crowd) == 0 and all(entry.verdict for entry in list_review_entries(crowd))


def test_what_is_not_covered_is_named_first() -> None:
    face, weak = (
        make_track("Face 01", range(100, 200), 300),
        make_track("Ignored 01", range(180, 190), 305, 18.0, 216.0),
    )
    document = make_document(60, [face])
    weak.status = TrackStatus.SUPPRESSED
    document.uncovered.append(weak)
    for reason, start in ((ReviewReason.ENDS, 195), (ReviewReason.FAST_MOTION, 150), (ReviewReason.JUMP, 160)):
        add(document, face, reason, start, min(start + 8, 200))
    add(document, weak, ReviewReason.RARELY_DETECTED, 180, 190)
    (group,) = list_review_groups(document)
    assert group.track == "Face 01" and group.covered
    assert describe_place(group).partition(" Also: ")[2].startswith("'Ignored 01' was detected by only one detector")
    assert "and is not covered; it " in describe_place(group)


def test_a_group_is_shown_where_any_of_its_items_is(crowd: TrackDocument) -> None:
    pile = list_review_groups(crowd)[-1]
    for one in (pile, *pile.members):
        assert count_left(crowd, (one.start, one.stop)) >= 1
    assert count_left(crowd, (1499, 1500)) == 0


def test_a_pile_can_be_opened(crowd: TrackDocument) -> None:
    pile = list_review_groups(crowd)[-1]
    opened = list_review_groups(crowd, opened=[one.key for one in (pile, *pile.members)])
    assert len(opened) == 61 and all(entry.pile is None for entry in opened)


def test_a_pile_says_how_many_of_its_faces_are_blurred(crowd: TrackDocument) -> None:
    for number, track in enumerate(crowd.tracks[:-1]):
        track.sharpness = (0.0, 1.0, None)[number % 3]
    (pile,) = [entry for entry in list_review_groups(crowd) if entry.pile is not None]
    inside = {entry.track for entry in (pile, *pile.members)}
    blurred = sum(track.sharpness == 0.0 and track.name in inside for track in crowd.tracks)
    assert blurred and f", {blurred} of them blurred" in describe_place(pile)
