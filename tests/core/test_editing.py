# SPDX-License-Identifier: GPL-3.0-or-later
"""An editor's changes to tracks, and how a new analysis keeps them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import pytest

from blender_faceblur.core.document import editing
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    ReviewItem,
    ReviewReason,
    Sample,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from blender_faceblur.reporting.wording import describe_status


def make_track(name: str, frames: Iterable[int], x: float = 100.0, step: float = 0.0) -> Track:
    return Track(name, [Sample(f, Ellipse(x + step * f, 100, 20, 25), Evidence.DETECTED, 0.9) for f in frames])


def make_document(*tracks: Track) -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 640, 360, 100, Fraction(25), "0" * 64)
    return TrackDocument(source, "balanced", 1.4, [], [], list(tracks), [])


def at(track: Track, frame: int) -> Ellipse:
    sample = editing.get_sample(track, frame)
    assert sample is not None
    return sample.ellipse


def test_a_new_key_is_locked_and_moves_its_neighbours() -> None:
    track = make_track("Face 01", range(50))
    editing.set_key(track, 20, Ellipse(140, 100, 40, 25), reach=10)
    assert editing.list_locked_frames(track) == [20]
    assert at(track, 20) == Ellipse(140, 100, 40, 25)
    assert at(track, 15).cx == pytest.approx(120) and at(track, 25).cx == pytest.approx(120)
    assert at(track, 15).rx == pytest.approx(20 * 2**0.5)
    assert at(track, 10) == at(track, 30) == Ellipse(100, 100, 20, 25)


def test_a_new_key_does_not_move_other_keys_or_samples_beyond_them() -> None:
    track = make_track("Face 01", range(50))
    editing.set_key(track, 24, Ellipse(110, 100, 20, 25), reach=3)
    before = list(track.samples)
    editing.set_key(track, 20, Ellipse(140, 100, 20, 25), reach=10)
    assert [s for s in track.samples if s.source_frame >= 24] == [s for s in before if s.source_frame >= 24]
    assert at(track, 22).cx == pytest.approx(100 + (110 - 100) / 3 + 20)
    editing.clear_key(track, 24)
    assert editing.list_locked_frames(track) == [20] and at(track, 24).cx == 110
    with pytest.raises(FaceBlurError, match="no locked key"):
        editing.clear_key(track, 24)


def test_a_key_beyond_the_end_interpolates_the_frames_in_between() -> None:
    track = make_track("Face 01", range(10))
    editing.set_key(track, 15, Ellipse(160, 100, 20, 25), reach=10)
    assert track.list_spans() == [(0, 16)]
    assert 120 < at(track, 12).cx < 145
    editing.set_key(track, 60, Ellipse(160, 100, 20, 25), reach=10)
    assert track.list_spans() == [(0, 16), (60, 61)]
    with pytest.raises(FaceBlurError, match="size"):
        editing.set_key(track, 60, Ellipse(160, 100, 0, 25), reach=10)


def test_ends_are_extrapolated_and_trimmed() -> None:
    track = make_track("Face 01", range(10, 20))
    editing.extend(track, 25)
    editing.extend(track, 5)
    assert track.list_spans() == [(5, 26)] and track.samples[0].evidence is Evidence.EXTRAPOLATED
    with pytest.raises(FaceBlurError, match="from frame 5 to 25"):
        editing.extend(track, 12)
    editing.trim(track, 8, 22)
    assert track.list_spans() == [(8, 22)]
    with pytest.raises(FaceBlurError, match="no frames left"):
        editing.trim(track, 30, 40)


def test_merging_reverses_splitting() -> None:
    document = make_document(make_track("Face 01", range(50)), make_track("Face 02", range(50), 400))
    one, other = editing.split(document, "Face 01", 20)
    assert (one.list_spans(), other.list_spans(), other.name) == ([(0, 20)], [(20, 50)], "Face 03")
    merged = editing.merge(document, ["Face 03", "Face 01"])
    assert merged.name == "Face 01" and merged.list_spans() == [(0, 50)] and len(document.tracks) == 2
    with pytest.raises(FaceBlurError, match=r"In frame 0 .* different places"):
        editing.merge(document, ["Face 01", "Face 02"])
    with pytest.raises(FaceBlurError, match="between"):
        editing.split(document, "Face 01", 0)
    with pytest.raises(FaceBlurError, match="no covered track 'Face 09'"):
        editing.split(document, "Face 09", 5)


def test_a_merged_track_is_off_only_where_all_were_off() -> None:
    one, other = make_track("Face 01", range(20)), make_track("Face 02", range(10, 30))
    one.off, other.off = [(5, 15)], [(12, 25)]
    merged = editing.merge(make_document(one, other), ["Face 01", "Face 02"])
    assert merged.off == [(5, 10), (12, 15), (20, 25)]


def test_deleted_tracks_can_be_restored() -> None:
    document = make_document(make_track("Face 01", range(10)))
    document.uncovered.append(
        Track(
            "Ignored 01",
            make_track("", range(5)).samples,
            status=TrackStatus.SUPPRESSED,
            suppression=Suppression(SuppressionReason.LOW_CONFIDENCE, 5),
        )
    )
    document.review_items.append(ReviewItem(0, 5, (0, 0, 1, 1), 0.3, ReviewReason.LOW_CONFIDENCE, "Ignored 01", 5))
    editing.delete(document, "Face 01")
    assert not document.tracks and document.uncovered[-1].status is TrackStatus.DELETED
    assert editing.bring_back(document, "Face 01").status is TrackStatus.COVERED
    assert editing.bring_back(document, "Ignored 01").name == document.review_items[0].track == "Face 02"
    assert [track.name for track in document.tracks] == ["Face 01", "Face 02"] and not document.uncovered


def test_frame_ranges_are_switched_off_and_on() -> None:
    track = make_track("Face 01", range(50))
    editing.switch(track, 10, 20, on=False)
    editing.switch(track, 15, 30, on=False)
    editing.switch(track, 12, 14, on=True)
    assert track.off == [(10, 12), (14, 30)]
    assert track.list_covered_spans() == [(0, 10), (12, 14), (30, 50)]


def test_new_tracks_get_free_names() -> None:
    document = make_document(make_track("Face 02", range(3)))
    assert editing.add_track(document, make_track("", range(3)).samples).name == "Face 03"
    assert editing.add_track(document, make_track("", range(3)).samples, TrackKind.REGION).name == "Region 01"
    with pytest.raises(FaceBlurError, match="already"):
        editing.add_track(document, make_track("", range(3)).samples, name="Face 03")


def test_a_never_region_exempts_only_tracks_that_stay_in_it() -> None:
    poster, passer = make_track("Face 01", range(50), 300), make_track("Face 02", range(50), 100, 8)
    document = make_document(poster, passer)
    assert editing.never_blur(document, Ellipse(300, 100, 40, 50), 0, 100, "Poster") == ["Face 01"]
    assert [t.name for t in document.tracks] == ["Face 02"]
    poster = next(t for t in document.uncovered if t.name == "Face 01")
    assert (poster.status, poster.never_region) == (TrackStatus.EXEMPT, "Poster")
    assert "Poster" in describe_status(poster)


def test_a_track_is_renamed_or_deleted_with_its_layer() -> None:
    document = make_document(make_track("Face 01", range(10)), make_track("Face 02", range(10)))
    tracks = {"Anna": "Face 01", "Face 02": "Face 02", "left over": "Face 03"}
    renamed, reshaped = editing.apply_layer_edits(document, tracks, ["Anna", "left over"], {"left over": None})
    assert renamed == {"Anna": "Anna", "Face 02": None, "left over": None} and reshaped == set()
    assert [track.name for track in document.tracks] == ["Anna"]
    assert [(track.name, track.status) for track in document.uncovered] == [("Face 02", TrackStatus.DELETED)]


def test_a_layer_cannot_take_the_name_of_another_track() -> None:
    document = make_document(make_track("Face 01", range(10)), make_track("Face 02", range(10)))
    assert editing.apply_layer_edits(document, {"Face 02": "Face 01"}, ["Face 02"], {}) == ({}, set())
    assert [track.name for track in document.tracks] == ["Face 01", "Face 02"]


def test_changed_covers_become_locked_keys_without_the_margin() -> None:
    track = make_track("Face 01", range(10))
    track.off = [(2, 4)]
    document = make_document(track)
    covers = {"Anna": {3: Ellipse(50, 60, 14, 28), 7: None, 12: Ellipse(50, 60, 14, 28)}}
    assert editing.apply_layer_edits(document, {"Anna": "Face 01"}, ["Anna"], covers)[1] == {"Anna"}
    assert document.margin == 1.4
    moved = at(track, 3)
    assert (moved.cx, moved.rx, moved.ry) == pytest.approx((50, 10, 20))
    assert editing.list_locked_frames(track) == [3, 12] and track.off == [(2, 3), (7, 8)]


def test_a_track_that_is_no_longer_made_of_ellipses_is_locked() -> None:
    track = make_track("Face 01", range(10))
    tracks = {"Face 01": "Face 01"}
    assert editing.apply_layer_edits(make_document(track), tracks, ["Face 01"], {"Face 01": None}) == ({}, set())
    assert track.locked and editing.list_locked_frames(track) == []


def analyse_again(old: TrackDocument, *tracks: Track, start: int = 20, stop: int = 60) -> TrackDocument:
    return editing.merge_analysis(old, make_document(*tracks), start, stop)


def test_a_new_analysis_changes_only_its_range() -> None:
    old = make_document(make_track("Anna", range(100)))
    merged = analyse_again(old, make_track("Face 01", range(100), 104))
    (anna,) = merged.tracks
    assert anna.name == "Anna" and anna.list_spans() == [(0, 100)]
    assert at(anna, 19).cx == at(anna, 60).cx == 100 and at(anna, 20).cx == at(anna, 59).cx == 104


def test_a_new_analysis_keeps_every_correction() -> None:
    anna, region, locked = (
        make_track("Anna", range(100)),
        make_track("Region 01", range(100), 300),
        make_track("Bert", range(100), 500),
    )
    region.kind, locked.locked, anna.off = TrackKind.REGION, True, [(30, 40)]
    editing.set_key(anna, 50, Ellipse(110, 100, 30, 30), reach=5)
    old = make_document(anna, region, locked)
    old.reviewed = ["reviewed"]
    merged = analyse_again(old, make_track("Face 01", range(100), 104), make_track("Face 02", range(100), 505))
    assert [t.name for t in merged.tracks] == ["Anna", "Region 01", "Bert"] and merged.reviewed == ["reviewed"]
    kept = editing.get_track(merged, "Anna")
    assert (
        at(kept, 50) == Ellipse(110, 100, 30, 30)
        and editing.list_locked_frames(kept) == [50]
        and kept.off == [(30, 40)]
    )
    assert editing.get_track(merged, "Region 01").samples == region.samples
    assert editing.get_track(merged, "Bert").samples == locked.samples


def test_a_new_margin_does_not_change_the_size_of_locked_covers() -> None:
    anna = make_track("Anna", range(100))
    editing.set_key(anna, 50, Ellipse(110, 100, 30, 30), reach=5)
    old, new = make_document(anna), make_document(make_track("Face 01", range(100), 104))
    new.margin, new.preset, new.notes = 2.0, "thorough", ["a note"]
    ranged = editing.merge_analysis(old, new, 20, 60)
    assert (ranged.margin, ranged.preset, ranged.notes) == (1.4, "balanced", ["a note"])
    whole = editing.merge_analysis(old, new, 0, 100)
    assert (whole.margin, whole.preset) == (2.0, "thorough")
    assert at(whole.tracks[0], 50).rx * 2.0 == pytest.approx(30 * 1.4) and at(whole.tracks[0], 51).rx == 20


def test_a_track_that_is_not_found_again_is_suppressed() -> None:
    old = make_document(make_track("Face 01", range(25, 40)), make_track("Face 02", range(10, 40), 300))
    merged = analyse_again(old, make_track("Face 01", range(30, 50), 500))
    assert [t.list_spans() for t in merged.tracks] == [[(10, 20)], [(30, 50)]]
    assert len({t.name for t in merged.tracks}) == 2
    (aside,) = merged.uncovered
    assert aside.list_spans() == [(25, 40)] and "not found again" in describe_status(aside)
    assert aside.suppression == Suppression(SuppressionReason.NOT_FOUND_AGAIN)


def test_a_new_analysis_does_not_restore_deleted_tracks() -> None:
    old = make_document(make_track("Face 01", range(100)))
    editing.delete(old, "Face 01")
    merged = analyse_again(old, make_track("Face 01", range(100)))
    assert not merged.tracks and [t.status for t in merged.uncovered] == [TrackStatus.DELETED]


def test_analysed_ranges_are_recorded() -> None:
    old, new = make_document(make_track("Face 01", range(20, 40))), make_document(make_track("Face 01", range(40, 60)))
    old.analysed = [(20, 40)]
    assert old.list_unanalysed_spans() == [(0, 20), (40, 100)] and make_document().list_unanalysed_spans() == []
    merged = editing.merge_analysis(old, new, 40, 60)
    assert merged.analysed == [(20, 60)] and merged.list_unanalysed_spans() == [(0, 20), (60, 100)]
    assert [track.list_spans() for track in merged.tracks] == [[(20, 60)]]
    assert editing.merge_analysis(old, new, 70, 90).analysed == [(20, 40), (70, 90)]
    assert editing.merge_analysis(old, new, 0, 100).analysed == []
    whole = make_document(make_track("Face 01", range(100)))
    assert editing.merge_analysis(whole, new, 40, 60).analysed == []


def test_a_new_analysis_of_all_analysed_ranges_sets_the_margin() -> None:
    old, new = make_document(make_track("Face 01", range(20, 40))), make_document(make_track("Face 01", range(20, 40)))
    old.analysed, new.margin = [(20, 40)], 2.0
    assert editing.merge_analysis(old, new, 20, 40).margin == 2.0
    assert editing.merge_analysis(old, new, 25, 40).margin == 1.4


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_end_of_the_earlier_analysis_is_an_item_only_if_the_track_still_ends_there(goes_on: bool) -> None:
    old = make_document(make_track("Face 01", range(10, 40)))
    old.analysed = [(10, 40)]
    box = 80.0, 75.0, 120.0, 125.0
    old.review_items = [
        ReviewItem(35, 40, box, 0.9, ReviewReason.ENDS, "Face 01"),
        ReviewItem(10, 15, box, 0.9, ReviewReason.BEGINS, "Face 01"),
    ]
    # The new analysis looked at some earlier frames too.
    merged = analyse_again(old, make_track("Face 07", range(34, 60 if goes_on else 38)), start=40, stop=70)
    assert merged.analysed == [(10, 70)]
    (track,) = merged.tracks
    assert track.name == "Face 01" and len(track.samples) == (50 if goes_on else 30)
    assert old.tracks[0].samples == track.samples[:30], "nothing of what was found before is replaced"
    reasons = [item.reason for item in merged.review_items]
    assert reasons == [ReviewReason.BEGINS] + ([] if goes_on else [ReviewReason.ENDS])


def test_a_track_of_which_a_part_is_of_unknown_sharpness_counts_as_sharp() -> None:
    document = make_document()
    document.tracks = [make_track("Face 01", range(20), 100.0), make_track("Face 02", range(20, 40), 100.0)]
    document.tracks[0].sharpness = 0.25
    first, rest = editing.split(document, "Face 01", 10)
    assert first.sharpness == rest.sharpness == 0.25
    rest.sharpness = 0.5
    assert editing.merge(document, [first.name, rest.name]).sharpness == 0.5
    assert editing.merge(document, ["Face 01", "Face 02"]).sharpness is None
