# SPDX-License-Identifier: GPL-3.0-or-later
"""The review queue: its order, its verdicts, and how verdicts survive a new analysis."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import from_json, to_json
from blender_faceblur.core.review import groups
from blender_faceblur.core.review import queue as review
from blender_faceblur.core.tracking import review_items
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    ReviewItem,
    ReviewReason,
    Sample,
    Shot,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
    Verdict,
)
from blender_faceblur.reporting.wording import describe_place


def make_track(name: str, frames: range, x: float = 300.0, size: float = 60.0) -> Track:
    return Track(name, [Sample(f, Ellipse(x, 200, size, size), Evidence.DETECTED, 0.8) for f in frames])


def make_item(track: Track, reason: ReviewReason, start: int, stop: int, confidence: float = 0.5) -> ReviewItem:
    own = [s for s in track.samples if start <= s.source_frame < stop]
    return replace(review_items.make_review_item(track.name, own, reason), confidence=confidence)


@pytest.fixture(autouse=True)
def single_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """No groups: every item of these documents, which stand for a second or two of film, is on its own."""
    apart = replace(groups.REVIEW_GROUPS, same_face_s=-1e9, same_place_s=-1e9, items_per_minute=1e9)
    monkeypatch.setattr(groups, "REVIEW_GROUPS", apart)


@pytest.fixture
def document() -> TrackDocument:
    one, two, small = (
        make_track("Face 01", range(10, 60)),
        make_track("Face 02", range(100, 190), 100.0),
        make_track("Face 03", range(20, 120), 500.0, 8.0),
    )
    weak = make_track("Ignored 01", range(70, 73), 400.0)
    weak.status, weak.suppression = TrackStatus.SUPPRESSED, Suppression(SuppressionReason.LOW_CONFIDENCE, 3)
    source = SourceInfo("a.mp4", "movie", 640, 480, 200, Fraction(25), "0" * 64)
    return TrackDocument(
        source,
        "balanced",
        1.4,
        [],
        [Shot(0, 95), Shot(95, 200)],
        [one, two, small],
        [
            make_item(one, ReviewReason.FAST_MOTION, 20, 30),
            make_item(one, ReviewReason.ENDS, 55, 60),
            replace(make_item(weak, ReviewReason.LOW_CONFIDENCE, 70, 73), detected_frames=3),
            make_item(two, ReviewReason.BEGINS, 100, 105),
            make_item(two, ReviewReason.SINGLE_DETECTOR, 100, 190),
            make_item(small, ReviewReason.ENDS, 115, 120),
        ],
        uncovered=[weak],
    )


def find(document: TrackDocument, kind: str, track: str) -> review.ReviewEntry:
    return next(d for d in review.list_review_entries(document) if d.key.startswith(kind) and d.track == track)


def test_faces_that_may_show_come_before_covered_ones(document: TrackDocument) -> None:
    order = [(d.key.split()[0], d.track) for d in review.list_review_entries(document)]
    assert order[0] in (("ends", "Face 01"), ("begins", "Face 02"))
    assert order[-1] == ("ends", "Face 03"), "a small face shows least"
    assert order.index(("weak", "Ignored 01")) < order.index(("lone", "Face 02"))


def test_the_frame_to_review_is_where_the_face_may_show(document: TrackDocument) -> None:
    assert find(document, "ends", "Face 01").frame == 60
    begins = find(document, "begins", "Face 02")
    assert begins.frame == 99
    assert describe_place(begins).startswith("'Face 02' begins 5 frames after a cut.")
    assert describe_place(find(document, "weak", "Ignored 01")) == (
        "'Ignored 01' was detected in only 3 frames, with low confidence. It is not covered. Is it a face?"
    )


def test_verdicts_are_kept_and_can_change(document: TrackDocument) -> None:
    ends = find(document, "ends", "Face 01")
    review.record_verdict(document, ends.key, Verdict.CONFIRMED)
    assert groups.count_left(document) == 5
    again = from_json(to_json(document))
    assert find(again, "ends", "Face 01").verdict == "fine"
    review.record_verdict(again, ends.key, Verdict.FIXED)
    assert again.reviewed == [f"{ends.key}=fixed"]


def test_the_reviewer_is_kept(document: TrackDocument) -> None:
    ends, begins = find(document, "ends", "Face 01"), find(document, "begins", "Face 02")
    review.record_verdict(document, ends.key, Verdict.CONFIRMED, "Ann=\nOh by Beå ")
    review.record_verdict(document, begins.key, Verdict.TURNED_OFF)
    again = from_json(to_json(document))
    assert [
        (find(again, *of).verdict, find(again, *of).reviewer)
        for of in (("ends", "Face 01"), ("begins", "Face 02"), ("fast", "Face 01"))
    ] == [("fine", "Ann=Oh by Beå"), ("off", ""), (None, "")]
    review.record_verdict(again, ends.key, Verdict.FIXED, "x" * 99)
    assert again.reviewed == [f"{begins.key}=off", f"{ends.key}=fixed by {'x' * 60}"]


@pytest.mark.parametrize("line", ["ends 1-2 3,4,5,6", "", "nonsense=fine", "ends 1-2 3,4,5,6=perhaps", "=" * 300])
def test_invalid_lines_are_no_verdicts(document: TrackDocument, line: str) -> None:
    document.reviewed = [line]
    assert groups.count_left(document) == 6
    if "=" not in line:
        with pytest.raises(FaceBlurError):
            review.record_verdict(document, line, "nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize(("shift", "later", "kept"), [(0, 0, True), (6, 1, True), (200, 0, False), (0, 40, False)])
def test_a_new_analysis_lists_again_only_new_items(
    document: TrackDocument, shift: float, later: int, kept: bool
) -> None:
    review.record_verdict(document, find(document, "ends", "Face 01").key, Verdict.CONFIRMED)
    old = document.review_items[1]
    x1, y1, x2, y2 = old.box
    moved = replace(
        old, start=old.start + later, stop=old.stop + later, box=(x1 + shift, y1, x2 + shift, y2), track="Face 02"
    )
    document.review_items[1] = moved
    assert (groups.count_left(document) == 5) is kept
    document.review_items[1] = replace(moved, reason=ReviewReason.BEGINS)
    assert groups.count_left(document) == 6, "of another kind"


def test_decisions_made_elsewhere_are_not_open_items(document: TrackDocument) -> None:
    editing.switch(editing.get_track(document, "Face 01"), 50, 70, False)
    assert find(document, "ends", "Face 01").verdict == "off"
    assert find(document, "fast", "Face 01").verdict is None, "only where all of it is off"
    editing.delete(document, "Face 02")
    assert find(document, "begins", "Face 02").verdict == "left"
    assert groups.count_left(document) == 3


def test_a_track_that_is_no_longer_covered_is_listed(document: TrackDocument) -> None:
    """An analysis that does not find a face again suppresses its track without adding a review item."""
    lost = document.tracks.pop(0)
    lost.name, lost.status = "Ignored 02", TrackStatus.SUPPRESSED
    lost.suppression = Suppression(SuppressionReason.NOT_FOUND_AGAIN)
    document.uncovered.append(lost)
    document.review_items = [d for d in document.review_items if d.track != "Face 01"]
    asked = find(document, "lost", "Ignored 02")
    assert not asked.covered and asked.risk > 0.4 and (asked.start, asked.stop) == (10, 60)


def test_restoring_a_track_keeps_its_review_item(document: TrackDocument) -> None:
    weak = find(document, "weak", "Ignored 01")
    order = [d.key for d in review.list_review_entries(document)]
    name = editing.bring_back(document, weak.track).name
    review.record_verdict(document, weak.key, Verdict.COVERED)
    again = find(document, "weak", name)
    assert again.covered and again.verdict == "covered"
    assert [d.key for d in review.list_review_entries(document)] == order


def test_a_reason_about_the_whole_track_switches_all_of_it_off(document: TrackDocument) -> None:
    assert find(document, "lone", "Face 02").off_frames == (100, 190)
    assert find(document, "fast", "Face 01").off_frames == (20, 30)


def test_only_items_in_the_shown_frames_are_counted(document: TrackDocument) -> None:
    assert groups.count_left(document, (0, 65)) == 2
    assert groups.count_left(document, (60, 70)) == 0


def test_a_correction_in_its_frames_fixes_an_item(document: TrackDocument) -> None:
    fast = find(document, "fast", "Face 01")
    assert not review.is_fixed(document, fast)
    editing.set_key(editing.get_track(document, "Face 01"), 24, Ellipse(310, 200, 60, 60), 5)
    assert review.is_fixed(document, fast)


def test_an_item_of_a_merged_track_refers_to_the_track_at_its_place(document: TrackDocument) -> None:
    document.review_items[0] = replace(document.review_items[0], track="Face 99")
    assert find(document, "fast", "Face 01").covered


def test_the_clearest_frame_is_large_confident_and_whole() -> None:
    samples = [
        Sample(0, Ellipse(300, 200, 20, 20), Evidence.DETECTED, 0.9),
        Sample(1, Ellipse(300, 200, 60, 60), Evidence.DETECTED, 0.8),
        Sample(2, Ellipse(300, 200, 80, 80), Evidence.FLOW, 0.8),
        Sample(3, Ellipse(300, 200, 62, 62), Evidence.DETECTED, 0.3),
        Sample(4, Ellipse(0, 200, 80, 80), Evidence.DETECTED, 0.9),
    ]
    assert review.choose_clearest(samples, (640, 480)).source_frame == 1


@pytest.mark.parametrize(
    "reason",
    [
        ReviewReason.FLOW_ONLY,
        ReviewReason.BEGINS,
        ReviewReason.ENDS,
        ReviewReason.SINGLE_DETECTOR,
        ReviewReason.FAST_MOTION,
        ReviewReason.DETECTORS_DISAGREE,
        ReviewReason.JUMP,
    ],
)
def test_every_reason_has_its_own_question(reason: ReviewReason, document: TrackDocument) -> None:
    document.review_items = [make_item(document.tracks[0], reason, 20, 30)]
    (place,) = (d for d in review.list_review_entries(document) if d.covered)
    assert describe_place(place).endswith("?") and not place.key.startswith("other ") and place.risk > 0


def make_hidden_item(document: TrackDocument, x: float = 300.0) -> str:
    """Suppress a small track at `x`, in the frames of 'Face 01', whose cover reaches from 216 to 384; its name."""
    hidden = make_track("Ignored 02", range(20, 40), x, 20.0)
    hidden.status, hidden.suppression = TrackStatus.SUPPRESSED, Suppression(SuppressionReason.RARELY_DETECTED)
    document.uncovered.append(hidden)
    document.review_items.append(make_item(hidden, ReviewReason.RARELY_DETECTED, 20, 40))
    return hidden.name


def list_tracks(document: TrackDocument, unreliable: tuple[str, ...] = ()) -> list[str]:
    return [entry.track for entry in review.list_review_entries(document, unreliable)]


def test_a_place_that_other_covers_hide_all_the_time_is_no_item(document: TrackDocument) -> None:
    name = make_hidden_item(document)
    assert name not in list_tracks(document) and groups.count_left(document) == 6
    assert name in list_tracks(document, ("Face 01",)), "the cover that hides it is switched off"
    editing.switch(editing.get_track(document, "Face 01"), 39, 40, False)
    assert name in list_tracks(document), "it can be seen in one frame"


@pytest.mark.parametrize(("x", "listed"), [(300.0, False), (345.0, False), (365.0, True), (500.0, True)])
def test_a_place_that_can_be_seen_in_part_is_an_item(x: float, listed: bool, document: TrackDocument) -> None:
    name = make_hidden_item(document, x)
    assert (name in list_tracks(document)) is listed


def test_several_covers_can_hide_a_place_together(document: TrackDocument) -> None:
    name = make_hidden_item(document, 384.0)
    assert name in list_tracks(document)
    document.tracks.append(make_track("Face 04", range(10, 60), 460.0))
    assert name not in list_tracks(document)


def test_a_track_that_ends_below_another_cover_is_an_item_only_if_that_ends_too(document: TrackDocument) -> None:
    document.tracks.append(make_track("Face 04", range(10, 60), 300.0, 20.0))
    document.review_items = [make_item(document.tracks[-1], ReviewReason.ENDS, 55, 60)]
    assert "Face 04" in list_tracks(document), "the other cover ends at the same frame"
    document.tracks[0] = make_track("Face 01", range(10, 70))
    assert "Face 04" not in list_tracks(document)


def test_the_frame_to_review_has_a_face(document: TrackDocument) -> None:
    parts = make_track("Ignored 02", range(20, 40), 500.0, 20.0)
    parts.samples = [s for s in parts.samples if not 24 <= s.source_frame < 38]
    parts.samples[2] = replace(parts.samples[2], confidence=0.99)
    parts.status, parts.suppression = TrackStatus.SUPPRESSED, Suppression(SuppressionReason.RARELY_DETECTED)
    item = make_item(parts, ReviewReason.RARELY_DETECTED, 20, 40)
    document.uncovered.append(parts)
    document.review_items.append(item)
    assert find(document, "disagree", "Ignored 02").frame == 22, "the clearest"
    document.uncovered.remove(parts)
    document.tracks.append(parts)
    document.review_items[-1] = replace(item, reason=ReviewReason.JUMP)
    assert find(document, "jumps", "Ignored 02").frame in (23, 38), "the nearest to the middle"


def test_what_shows_most_comes_first(document: TrackDocument) -> None:
    large, small = make_track("Face 04", range(10, 60), 100.0, 90.0), make_track("Face 05", range(10, 60), 500.0, 50.0)
    document.tracks += [large, small]
    document.review_items = [make_item(face, ReviewReason.JUMP, 20, 22) for face in (small, large)]
    assert [name for name in list_tracks(document) if name != "Ignored 01"] == ["Face 04", "Face 05"]


def test_sharp_faces_come_before_blurred_ones_and_unknown_ones_count_as_sharp(document: TrackDocument) -> None:
    def get_weight(sharpness: float | None) -> float:
        document.tracks[0].sharpness = sharpness
        return find(document, "ends", "Face 01").weight

    unknown, sharp, middling, blurred = (get_weight(sharpness) for sharpness in (None, 1.0, 0.5, 0.0))
    assert unknown == sharp > middling > blurred > 0
    large, small = document.tracks[0], document.tracks[2]
    large.sharpness = small.sharpness = 0.0
    order = [entry.track for entry in review.list_review_entries(document)]
    assert order.index(large.name) < order.index(small.name), "of equally blurred faces the larger one"
