# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents that Face Blur 0.1.0 saved mean the same to this version; `words_of_0_1_0` puts them into 0.1.0's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import VERSION, from_json, read_document, to_json
from blender_faceblur.core.people import decisions as people
from blender_faceblur.core.review import queue as review
from blender_faceblur.core.review.overview import read_overview
from blender_faceblur.core.types import (
    FaceBlurError,
    ReviewReason,
    Suppression,
    SuppressionReason,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from blender_faceblur.core.verification import exposure, findings
from blender_faceblur.reporting import report, wording
from tests.words_of_0_1_0 import describe_finding_reason, describe_place, describe_reason, describe_status

FOLDER = Path(__file__).parent.parent / "data" / "v0_1_0" / "states"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))

KINDS = {"face": "face", "plate": "region", "region": "region", "never": "never"}
"""The kinds of tracks in 0.1.0's words."""


@pytest.fixture(params=["as it was saved", "saved again"])
def document(request: pytest.FixtureRequest) -> TrackDocument:
    read = read_document(FOLDER / "tracks.json")
    return read if request.param == "as it was saved" else from_json(to_json(read))


def as_json(value: object) -> Any:
    return json.loads(json.dumps(value))


def test_the_file_has_an_older_version() -> None:
    assert json.loads((FOLDER / "tracks.json").read_text(encoding="utf-8"))["version"] == 2 < VERSION


def test_covered_tracks_have_the_same_frames_and_locks(document: TrackDocument) -> None:
    assert (
        as_json(
            [
                [
                    t.name,
                    KINDS[t.kind],
                    t.locked,
                    t.off,
                    t.list_spans(),
                    editing.list_locked_frames(t),
                    t.list_covered_spans(),
                ]
                for t in document.tracks
            ]
        )
        == EXPECTED["tracks"]
    )
    assert {t.status for t in document.tracks} == {TrackStatus.COVERED}
    assert exposure.compute_block_px(document, 6.0) == EXPECTED["block_px"]


def test_each_uncovered_track_keeps_its_reason(document: TrackDocument) -> None:
    assert (
        as_json(
            [
                [
                    t.name,
                    KINDS[t.kind],
                    t.list_spans(),
                    describe_status(t),
                    people.get_kept_person(t),
                    t.is_editor_decision,
                    t.is_editor_decision,
                ]
                for t in document.uncovered
            ]
        )
        == EXPECTED["uncovered"]
    )
    states = {t.name: (t.kind, t.status, t.suppression, t.allowed_person, t.never_region) for t in document.uncovered}
    face, suppressed = TrackKind.FACE, TrackStatus.SUPPRESSED
    assert states == {
        "Perhaps plate 01": (TrackKind.PLATE, suppressed, Suppression(SuppressionReason.LOW_CONFIDENCE, 2), "", ""),
        "Never 01": (TrackKind.NEVER, TrackStatus.EXEMPT, None, "", ""),
        "Face 04": (face, TrackStatus.EXEMPT, None, "", "Never 01"),
        "Face 21": (face, TrackStatus.DELETED, None, "", ""),
        "Perhaps 01": (face, suppressed, Suppression(SuppressionReason.NOT_FOUND_AGAIN), "", ""),
        "Perhaps 02": (face, suppressed, Suppression(SuppressionReason.RARELY_DETECTED, 21, 61), "", ""),
        "Perhaps 03": (face, suppressed, Suppression(SuppressionReason.LOW_CONFIDENCE, 3), "", ""),
        "Perhaps 04": (TrackKind.REGION, suppressed, Suppression(SuppressionReason.LOW_CONFIDENCE, 2), "", ""),
        "Face 06": (face, TrackStatus.ALLOWED, None, "Ann Example", ""),
        "Face 03": (face, TrackStatus.ALLOWED, None, people.NOBODY_OF, ""),
        "Perhaps 77": (face, suppressed, Suppression(SuppressionReason.UNKNOWN, text="somebody says so"), "", ""),
        "Perhaps 78": (face, suppressed, Suppression(SuppressionReason.UNKNOWN), "", ""),
    }


def test_plates_are_plates(document: TrackDocument) -> None:
    assert [t.name for t in document.tracks if t.kind is TrackKind.PLATE] == ["Plate 01"]
    assert [t.name for t in document.tracks if t.kind is TrackKind.REGION] == ["Region 01"]


def test_review_items_keep_their_keys_reasons_and_verdicts(document: TrackDocument) -> None:
    places = [
        {
            "key": p.key,
            "start": p.start,
            "stop": p.stop,
            "box": p.box,
            "sentence": describe_place(p),
            "risk": p.risk,
            "track": p.track,
            "covered": p.covered,
            "off_frames": p.off_frames,
            "verdict": p.verdict or "",
            "reviewer": p.reviewer,
        }
        for p in review.list_review_entries(document)
    ]
    # This version decides on the order, and on the frame that Review goes to.
    expected = [{name: value for name, value in p.items() if name != "frame"} for p in EXPECTED["places"]]
    assert sorted(as_json(places), key=lambda p: p["key"]) == sorted(expected, key=lambda p: p["key"])
    assert {p["verdict"] for p in places} == {"", "fine", "fixed", "off", "left"}
    assert as_json([[d.track, describe_reason(d)] for d in document.review_items]) == EXPECTED["doubts"]
    known = {d.reason for d in document.review_items}
    later = {ReviewReason.NOT_FOUND_AGAIN, ReviewReason.UNLIKELY_FACE}
    assert known == set(ReviewReason) - later, "the file has an item for each reason that its version knew"


def test_tracks_that_the_editor_shows_are_not_leaks(document: TrackDocument) -> None:
    assert (
        as_json(
            [
                [f.kind, f.track, f.start, f.stop, f.frames, f.worst, f.box, f.share, describe_finding_reason(f)]
                for f in findings.list_shown_on_purpose(document)
            ]
        )
        == EXPECTED["kept"]
    )
    chosen = {p.track for p in review.list_review_entries(document) if p.verdict and not p.covered}
    places = findings.list_places(document, chosen.__contains__)
    for frame, there in EXPECTED["kept_places"].items():
        assert [[p.track, p.kept is not None] for p in places[int(frame)]] == [
            [track, bool(kept)] for track, kept in there
        ]


def test_the_report_lists_the_same_corrections(document: TrackDocument, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "describe_status", describe_status)
    found = as_json(report._list_corrections(document))
    for track in (track for kind in ("regions", "deleted", "never", "aside") for track in found[kind]):
        # The report of 0.1.0 had no such entry.
        track.pop("status")
    assert found == EXPECTED["corrections"]
    assert document.all_notes == EXPECTED["notes"]


def test_the_present_words_exist_wherever_0_1_0_had_words(document: TrackDocument) -> None:
    for track in document.uncovered:
        assert bool(wording.describe_status(track)) == bool(describe_status(track))
        if track.suppression is not None and track.suppression.text:
            assert wording.describe_status(track) == track.suppression.text
    for item in document.review_items:
        assert bool(wording.describe_reason(item)) == bool(describe_reason(item))
        if item.text:
            assert wording.describe_reason(item) == item.text
    for place in review.list_review_entries(document):
        assert place.track in wording.describe_place(place)
        assert ("It is not covered." in wording.describe_place(place)) == bool(place.track and not place.covered)


def test_everyone_can_be_covered_again(document: TrackDocument) -> None:
    people.cover_everybody(document)
    assert (
        as_json(
            {
                "tracks": [[t.name, t.list_spans()] for t in document.tracks],
                "uncovered": [[t.name, describe_status(t)] for t in document.uncovered],
                "notes": document.all_notes,
                "doubts": [[d.track, describe_reason(d)] for d in document.review_items],
            }
        )
        == EXPECTED["covered_again"]
    )


def test_every_uncovered_track_can_be_restored(document: TrackDocument) -> None:
    names = [t.name for t in document.uncovered if t.kind is not TrackKind.NEVER]
    assert [[name, editing.bring_back(document, name).name] for name in names] == EXPECTED["brought_back"]
    assert all(t.status is TrackStatus.COVERED and describe_status(t) == "" for t in document.tracks)
    assert not any(map(wording.describe_status, document.tracks))


def test_the_overview_reads_the_same_states() -> None:
    text = (FOLDER / "tracks.json").read_text(encoding="utf-8")
    old, new = read_overview(text), read_overview(to_json(from_json(text)))
    assert old is not None and new is not None
    assert [(g.name, describe_status(g)) for g in old.uncovered] == [
        (name, why) for name, _, _, why, *_ in EXPECTED["uncovered"]
    ]
    for one, other in zip(old.uncovered, new.uncovered, strict=True):
        assert (one.kind, one.status, one.suppression, one.allowed_person, one.never_region) == (
            other.kind,
            other.status,
            other.suppression,
            other.allowed_person,
            other.never_region,
        )
    assert old.review_items == new.review_items


@pytest.mark.parametrize(
    ("sentence", "status"),
    [
        ("kept clear: kept clear: Bob", TrackStatus.ALLOWED),
        ("in the region of something", TrackStatus.EXEMPT),
        ("in the region 'It's here', where nothing is blurred", TrackStatus.EXEMPT),
        ("kept clear", TrackStatus.SUPPRESSED),
        ("deleted by the editor.", TrackStatus.SUPPRESSED),
        ("moves fast", TrackStatus.SUPPRESSED),
        ("found weakly in 1 frames only", TrackStatus.SUPPRESSED),
    ],
)
def test_a_sentence_of_0_1_0_gives_the_same_status(sentence: str, status: TrackStatus) -> None:
    content = json.loads((FOLDER / "tracks.json").read_text(encoding="utf-8"))
    content["aside"][3]["aside"] = sentence
    track = from_json(json.dumps(content)).uncovered[3]
    assert track.status is status
    assert status is TrackStatus.EXEMPT or describe_status(track) == sentence


@pytest.mark.parametrize(
    "path", ["aside/0/aside", "aside/0/name", "aside", "tracks", "doubts/0/reason", "notes", "doubts", "aside/0"]
)
@pytest.mark.parametrize("value", [None, 1, [1], {"a": 1}])
def test_a_damaged_document_is_refused(path: str, value: object) -> None:
    content = json.loads((FOLDER / "tracks.json").read_text(encoding="utf-8"))
    *parts, last = path.split("/")
    place: Any = content
    for part in parts:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value
    with pytest.raises(FaceBlurError):
        from_json(json.dumps(content))
    assert read_overview(json.dumps(content)) is None or path in ("notes", "aside/0/name")
