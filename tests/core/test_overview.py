# SPDX-License-Identifier: GPL-3.0-or-later
"""The overview of a tracks document, which the overlay draws."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.document.tracks_file import to_json
from blender_faceblur.core.review.overview import Code, Overview, compute_worst, list_runs, read_overview
from blender_faceblur.core.review.queue import list_review_entries, record_verdict
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewItem,
    ReviewReason,
    Sample,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
    Verdict,
)
from blender_faceblur.reporting.wording import describe_status

LETTERS = {
    "d": Evidence.DETECTED,
    "f": Evidence.FLOW,
    "i": Evidence.INTERPOLATED,
    "h": Evidence.EXTRAPOLATED,
    "l": Evidence.LOCKED,
}


def make_track(name: str, start: int, letters: str, **more: object) -> Track:
    """A track with one sample per letter, where "-" is a gap."""
    return Track(
        name,
        [
            Sample(start + place, Ellipse(100.25 + place, 50, 10, 12, 0.5), LETTERS[letter], 0.9)
            for place, letter in enumerate(letters)
            if letter != "-"
        ],
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def document() -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 320, 180, 20, Fraction(24), "00")
    tracks = [make_track("Face 01", 2, "ddffdi-hl"), make_track("Face 02", 4, "dddddd", off=[(6, 8)], locked=True)]
    items = [
        ReviewItem(8, 10, (0.0, 0.0, 9.0, 9.0), 0.5, ReviewReason.LOW_CONFIDENCE, "Face 02"),
        ReviewItem(15, 17, (0.0, 0.0, 9.0, 9.0), 0.5, ReviewReason.UNKNOWN, text="?"),
    ]
    return TrackDocument(
        source,
        "balanced",
        1.5,
        [],
        [],
        tracks,
        items,
        uncovered=[
            make_track(
                "Ignored 01",
                12,
                "dd",
                status=TrackStatus.SUPPRESSED,
                suppression=Suppression(SuppressionReason.UNKNOWN, text="too weak"),
            )
        ],
    )


def read(document: TrackDocument) -> Overview:
    overview = read_overview(to_json(document))
    assert overview is not None
    return overview


def show(codes: NDArray[np.uint8]) -> str:
    return "".join(".olDFG?#"[code] for code in codes)


def test_each_frame_has_its_worst_code(document: TrackDocument) -> None:
    overview = read(document)
    assert show(overview.compute_codes(only="Face 01")) == "..DDFFDG.Gl........."
    assert show(overview.compute_codes(only="Face 02")) == "....DDooDD.........."
    assert show(overview.compute_codes()) == "..DDFFDGDGl........."
    assert show(overview.compute_codes(off={"Face 01"})) == "..ooDDooDDo........."
    assert show(overview.compute_review_codes()) == "........??.....??..."
    assert show(overview.compute_review_codes(only="Face 02")) == "........??.........."
    assert show(overview.compute_review_codes(off={"Face 02"})) == "...............??..."


def test_frames_that_were_not_analysed_are_marked(document: TrackDocument) -> None:
    document.analysed = [(3, 6), (7, 18)]
    assert show(read(document).compute_codes()) == "###DFF#GDGl.......##"
    assert show(read(document).compute_codes(only="Face 01")) == "..DDFFDG.Gl........."


def test_a_reviewed_item_is_not_open(document: TrackDocument) -> None:
    record_verdict(
        document, next(entry.key for entry in list_review_entries(document) if entry.start == 8), Verdict.CONFIRMED
    )
    assert show(read(document).compute_review_codes()) == "...............??..."


def test_uncovered_tracks_have_ellipses(document: TrackDocument) -> None:
    (aside,) = read(document).uncovered
    assert (aside.name, aside.get_index(11), aside.get_index(13)) == ("Ignored 01", None, 1)
    assert (aside.status, describe_status(aside)) == (TrackStatus.SUPPRESSED, "too weak")
    assert aside.ellipses is not None
    assert aside.ellipses[1] == pytest.approx((101.25, 50, 15, 18, 0.5))


def test_the_index_of_a_frame_after_a_gap_is_right(document: TrackDocument) -> None:
    track = read(document).tracks["Face 01"]
    assert track.get_index(8) is None
    assert track.codes[track.get_index(9)] == Code.INTERPOLATED
    assert read(document).tracks["Face 02"].is_off(7) and not read(document).tracks["Face 02"].is_off(8)


@pytest.mark.parametrize(
    "damage",
    [
        {"tracks": 3},
        {"expansion": "x"},
        {"source": {"frame_count": 10**15}},
        {"doubts": [[]]},
        {"uncovered": [{}]},
        {"tracks": [{"name": "A", "spans": [[0, 10**12]], "evidence": "d"}]},
        {"tracks": [{"name": "A", "spans": [[-5, 3]], "evidence": "d" * 8}]},
        {"tracks": [{"name": "A", "spans": [[5, 3]], "evidence": ""}]},
    ],
)
def test_a_damaged_document_gives_no_overview(document: TrackDocument, damage: dict[str, object]) -> None:
    assert read_overview(json.dumps({**json.loads(to_json(document)), **damage})) is None


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000])
def test_other_text_gives_no_overview(text: str) -> None:
    assert read_overview(text) is None


def test_each_range_has_its_worst_code() -> None:
    codes = np.array([0, 1, 5, 2, 3, 6], np.uint8)
    starts, stops = np.array([0, 2, 3, 5, 4, 1]), np.array([2, 3, 5, 6, 4, 6])
    assert compute_worst(codes, starts, stops).tolist() == [1, 5, 3, 6, 3, 6]


def test_equal_codes_are_grouped_into_runs() -> None:
    assert list_runs(np.array([2, 2, 0, 3], np.uint8)) == [(0, 2, 2), (2, 3, 0), (3, 4, 3)]
    assert list_runs(np.array([], np.uint8)) == []
