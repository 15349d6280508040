# SPDX-License-Identifier: GPL-3.0-or-later
"""A tracks document reads back as it was written, and a damaged file is refused."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.core.document.tracks_file import from_json, read_document, to_json, write_document
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    ModelUse,
    ReviewItem,
    ReviewReason,
    Sample,
    Shot,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)


def make_document(frames: int = 30) -> TrackDocument:
    source = SourceInfo(
        'Zwölf "Äpfel".mp4',
        "movie",
        1920,
        1080,
        frames,
        Fraction(30000, 1001),
        "ab" * 32,
        Fraction(16, 15),
        True,
        ("a warning",),
    )
    samples = [
        Sample(f, Ellipse(100.123 + f, -7.5, 20.001 + 0.37 * f, 31.5, -0.25), list(Evidence)[f % 4], 0.5)
        for f in range(frames)
        if f % 10
    ]
    return TrackDocument(
        source,
        "balanced",
        1.4,
        [ModelUse("centerface", "0" * 64, 640, 0.25)],
        [Shot(0, 10), Shot(10, frames, True)],
        [Track("Face 01", samples, sharpness=0.125)],
        [
            ReviewItem(
                3, 9, (1.0, 2.0, 30.5, 40.0), 0.31, ReviewReason.LOW_CONFIDENCE, "Ignored 01", 6, 7, "found weakly"
            )
        ],
        ["a note"],
        [
            Track(
                "Ignored 01",
                samples[:3],
                TrackKind.REGION,
                True,
                [(2, 3)],
                TrackStatus.SUPPRESSED,
                Suppression(SuppressionReason.RARELY_DETECTED, 3, 9, "found weakly"),
            )
        ],
        ["a key"],
        people_notes=["a note about people"],
    )


def test_a_written_document_reads_back_the_same(tmp_path: Path) -> None:
    document = make_document()
    write_document(document, tmp_path / "tracks.json")
    read = read_document(tmp_path / "tracks.json")
    assert [p.name for p in tmp_path.iterdir()] == ["tracks.json"]
    assert (read.source, read.models, read.shots, read.review_items, read.notes, read.people_notes) == (
        document.source,
        document.models,
        document.shots,
        document.review_items,
        document.notes,
        document.people_notes,
    )
    assert read.tracks[0].list_spans() == document.tracks[0].list_spans()
    (aside,) = read.uncovered
    assert (read.reviewed, aside.kind, aside.locked, aside.off, aside.status, aside.suppression) == (
        ["a key"],
        TrackKind.REGION,
        True,
        [(2, 3)],
        TrackStatus.SUPPRESSED,
        Suppression(SuppressionReason.RARELY_DETECTED, 3, 9, "found weakly"),
    )
    for one, two in zip(read.tracks[0].samples, document.tracks[0].samples, strict=True):
        assert one.evidence is two.evidence
        assert one.ellipse.cx == pytest.approx(two.ellipse.cx, abs=0.0051)
        assert 0 <= one.ellipse.rx - two.ellipse.rx < 0.0101
        assert one.ellipse.angle == pytest.approx(two.ellipse.angle, abs=6e-5)


def test_reading_and_writing_again_changes_nothing() -> None:
    document = make_document(1000)
    document.analysed = [(10, 900)]
    text = to_json(document)
    assert to_json(from_json(text)) == text and from_json(text).analysed == [(10, 900)]


@pytest.mark.parametrize("kind", ["movie", "image", "sequence"])
def test_every_kind_of_source_is_read(kind: str) -> None:
    assert from_json(change("source/kind", kind)).source.kind == kind


def test_a_hundred_thousand_samples_are_small_and_fast() -> None:
    document = make_document(110_000)
    began = time.process_time()
    text = to_json(document)
    from_json(text)
    assert time.process_time() - began < 5
    assert len(text) < 40 * 100_000


def change(path: str, value: Any) -> str:
    """The document's JSON with one value changed. The parts of the path are keys and indices."""
    content = json.loads(to_json(make_document()))
    *parts, last = path.split("/")
    place: Any = content
    for part in parts:
        place = place[int(part)] if part.isdigit() else place[part]
    key = int(last) if last.isdigit() else last
    if value is KeyError:
        del place[key]
    else:
        place[key] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "other"),
        ("version", 4),
        ("version", True),
        ("uncovered", 1),
        ("reviewed", [1]),
        ("uncovered/0/status", 2),
        ("uncovered/0/status", "kept clear: Ann"),
        ("uncovered/0/suppression", "weak"),
        ("uncovered/0/suppression/reason", "found weakly"),
        ("uncovered/0/suppression/detected_frames", -1),
        ("uncovered/0/suppression/text", 1),
        ("uncovered/0/allowed_person", 1),
        ("tracks/0/sharpness", 1001),
        ("tracks/0/sharpness", -1),
        ("tracks/0/sharpness", 0.5),
        ("tracks/0/sharpness", None),
        ("uncovered/0/never_region", ["x"]),
        ("doubts/0/reason", "found weakly"),
        ("doubts/0/searched_frames", 1.5),
        ("people_notes", [1]),
        ("analysed", [[3, 2]]),
        ("analysed", 1),
        ("uncovered/0/kind", "sign"),
        ("uncovered/0/off", [[3, 2]]),
        ("uncovered/0/off", [[2, 4], [3, 5]]),
        ("uncovered/0/locked", 1),
        ("version", "1"),
        ("expansion", 0.2),
        ("expansion", True),
        ("expansion", float("nan")),
        ("expansion", float("inf")),
        ("source", []),
        ("source/width", 0),
        ("source/width", 10.5),
        ("source/frame_count", 10**9),
        ("source/frame_rate", [0, 1]),
        ("source/frame_rate", [1]),
        ("source/kind", "folder"),
        ("source/file_name", 7),
        ("source/warnings", [1]),
        ("tracks", {}),
        ("tracks/0/name", "x" * 5000),
        ("tracks/0/cx", []),
        ("tracks/0/cx/0", 1.5),
        ("tracks/0/cx/0", True),
        ("tracks/0/cx/0", 10**30),
        ("tracks/0/rx/0", 0),
        ("tracks/0/rx/3", -4),
        ("tracks/0/evidence", "d"),
        ("tracks/0/evidence", "x" * 27),
        ("tracks/0/confidence/0", 1001),
        ("tracks/0/spans", [[0, 9]]),
        ("tracks/0/spans/0", [5, 5]),
        ("tracks/0/spans/1", [0, 9]),
        ("tracks/0/spans/2", [21, 31]),
        ("tracks/0/spans/0", [-1, 8]),
        ("shots/0", [0, 99, False]),
        ("shots/0", [0, 10]),
        ("doubts/0/box", [1, 2]),
        ("doubts/0/confidence", 2),
        ("doubts/0/start", 29),
        ("notes", KeyError),
        ("tracks/0/ry", KeyError),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: Any) -> None:
    with pytest.raises(FaceBlurError):
        from_json(change(path, value))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"schema": "faceblur-tracks"}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(FaceBlurError):
        from_json(text)


def test_an_unreadable_file_gives_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00")
    for name in ("bad.json", "absent.json"):
        with pytest.raises(FaceBlurError) as caught:
            read_document(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_failed_write_keeps_the_old_document(tmp_path: Path) -> None:
    path = tmp_path / "tracks.json"
    path.write_text("old")
    broken = make_document()
    broken.tracks[0].samples[0] = Sample(1, Ellipse(float("nan"), 0, 1, 1), Evidence.DETECTED, 1)
    with pytest.raises(ValueError, match="NaN"):
        write_document(broken, path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_document_of_the_first_version_is_read() -> None:
    content = json.loads(to_json(make_document()))
    content["version"] = 1
    content["doubts"][0]["reason"] = "found weakly in 6 frames only"
    del content["uncovered"], content["reviewed"], content["people_notes"]
    for name in ("track", "detected_frames", "searched_frames", "text"):
        del content["doubts"][0][name]
    del content["tracks"][0]["sharpness"]
    read = from_json(json.dumps(content))
    assert (read.uncovered, read.reviewed, read.review_items[0].track) == ([], [], "")
    assert (read.review_items[0].reason, read.review_items[0].detected_frames) == (ReviewReason.LOW_CONFIDENCE, 6)
    assert (read.tracks[0].kind, read.tracks[0].locked, read.tracks[0].off) == (TrackKind.FACE, False, [])
    assert read.tracks[0].sharpness is None


def test_frames_that_are_off_are_not_covered() -> None:
    track = make_document().tracks[0]
    assert track.list_spans() == [(1, 10), (11, 20), (21, 30)]
    track.off = [(0, 3), (9, 12), (15, 16), (21, 30)]
    assert track.list_covered_spans() == [(3, 9), (12, 15), (16, 20)]
