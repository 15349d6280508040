# SPDX-License-Identifier: GPL-3.0-or-later
"""What was watched of a source, and what a correction makes unwatched again."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import to_json
from blender_faceblur.core.review.overview import DIGESTS, Overview, read_overview
from blender_faceblur.core.review.watched import SCHEMA, WatchedFrames, from_text, list_spans, to_text
from blender_faceblur.core.types import Ellipse, Evidence, Sample, SourceInfo, Track, TrackDocument

BLOCK = DIGESTS.block
FRAMES = 205
RATE = 24


@pytest.fixture
def document() -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 320, 180, FRAMES, Fraction(RATE), "f1")
    tracks = [
        Track(name, [Sample(f, Ellipse(x + 0.1 * f, 60, 10, 12), Evidence.DETECTED, 0.9) for f in range(start, stop)])
        for name, x, start, stop in (("Face 01", 50, 0, FRAMES), ("Face 02", 150, 100, 140))
    ]
    return TrackDocument(source, "balanced", 1.4, [], [], tracks, [])


def read(document: TrackDocument) -> Overview:
    overview = read_overview(to_json(document))
    assert overview is not None
    return overview


def watch(overview: Overview, reviewer: str = "", start: int = 0, stop: int = FRAMES) -> WatchedFrames:
    watched, digests = WatchedFrames(), overview.compute_digests()
    for frame in range(start, stop):
        watched.add(frame, int(digests[frame // BLOCK]), reviewer)
    return watched


def exchange(one: list[Sample], at: int, other: list[Sample], there: int) -> None:
    """Exchange the ellipses of two samples."""
    ellipse = one[at].ellipse
    one[at] = replace(one[at], ellipse=other[there].ellipse)
    other[there] = replace(other[there], ellipse=ellipse)


def test_frames_count_as_watched_one_by_one(document: TrackDocument) -> None:
    overview = read(document)
    watched = watch(overview, "", 33, 57)
    assert list_spans(watched.compute_watched(overview.compute_digests(), FRAMES)) == [(33, 57)]
    digest = int(overview.compute_digests()[3])
    assert not watched.add(33, digest, "") and watched.add(32, digest, "")
    assert list_spans(watched.compute_watched(overview.compute_digests(), FRAMES)) == [(32, 57)]


def test_a_correction_makes_only_its_stretch_unwatched_and_its_undo_restores_it(document: TrackDocument) -> None:
    watched = watch(read(document))
    before = read(document)
    track = editing.get_track(document, "Face 01")
    editing.set_key(track, 150, Ellipse(100, 90, 15, 15), RATE // 2)
    after = read(document)
    seen = watched.compute_watched(after.compute_digests(), FRAMES)
    # The key changes the track half a second before and after it.
    ((start, stop),) = list_spans(~seen)
    assert 150 - RATE // 2 - BLOCK < start <= 150 - RATE // 2 + 1
    assert 150 + RATE // 2 <= stop < 150 + RATE // 2 + BLOCK + 1
    assert watched.compute_watched(before.compute_digests(), FRAMES).all()


def test_switching_off_hiding_adding_and_deleting_a_face_make_it_unwatched(document: TrackDocument) -> None:
    overview = read(document)
    watched = watch(overview)

    def list_unwatched(overview: Overview, off: tuple[str, ...] = ()) -> list[tuple[int, int]]:
        return list_spans(~watched.compute_watched(overview.compute_digests(off), FRAMES))

    assert list_unwatched(overview) == []
    assert list_unwatched(overview, ("Face 02",)) == [(100, 140)]
    editing.switch(editing.get_track(document, "Face 02"), 115, 118, False)
    assert list_unwatched(read(document)) == [(110, 120)]
    editing.switch(editing.get_track(document, "Face 02"), 115, 118, True)
    assert list_unwatched(read(document)) == []
    samples = [Sample(f, Ellipse(20, 20, 5, 5), Evidence.DETECTED, 0.9) for f in range(201, 204)]
    document.tracks.append(Track("Face 03", samples))
    assert list_unwatched(read(document)) == [(200, FRAMES)]
    del document.tracks[1:]
    assert list_unwatched(read(document)) == [(100, 140)]


def test_names_and_order_do_not_matter_but_the_margin_and_the_source_do(document: TrackDocument) -> None:
    watched = watch(read(document))
    document.tracks.reverse()
    document.tracks[0].name = "Ann"
    assert watched.compute_watched(read(document).compute_digests(), FRAMES).all()
    assert not watched.compute_watched(read(document).compute_digests(salt="drawn"), FRAMES).any()
    document.margin = 1.5
    assert not watched.compute_watched(read(document).compute_digests(), FRAMES).any()
    document.margin = 1.4
    document.source = replace(document.source, fingerprint="f2")
    assert not watched.compute_watched(read(document).compute_digests(), FRAMES).any()


def test_two_tracks_with_exchanged_covers_in_one_frame_are_noticed(document: TrackDocument) -> None:
    """The sum of the tracks' digests must not be blind to which frame has which ellipse."""
    overview = read(document)
    first, second = (track.samples for track in document.tracks)
    exchange(first, 120, first, 121)
    assert (read(document).compute_digests() != overview.compute_digests()).sum() == 1
    exchange(first, 120, first, 121)
    assert (read(document).compute_digests() == overview.compute_digests()).all()
    exchange(first, 120, second, 25)
    assert (read(document).compute_digests() != overview.compute_digests()).sum() == 1


def test_who_watched_is_known_and_records_can_be_joined(document: TrackDocument) -> None:
    overview = read(document)
    digests = overview.compute_digests()
    ann, unnamed = watch(overview, "Ann", 0, 100), watch(overview, "", 80, 120)
    ann.join(unnamed)
    ann.join(unnamed)
    assert ann.list_reviewers() == ["", "Ann"]
    assert list_spans(ann.compute_watched(digests, FRAMES)) == [(0, 120)]
    assert list_spans(ann.compute_watched(digests, FRAMES, "Ann")) == [(0, 100)]
    assert list_spans(ann.compute_watched(digests, FRAMES, "")) == [(80, 120)]


def test_a_record_is_the_same_after_it_was_stored(document: TrackDocument) -> None:
    watched = watch(read(document), "Ann Ödegård", 3, 177)
    text = to_text(watched)
    assert text.isascii() and from_text(text) == watched
    assert len(text) < 40 * FRAMES // BLOCK + 200


def test_only_the_latest_states_of_a_block_are_kept() -> None:
    watched = WatchedFrames()
    for digest in range(10):
        watched.add(0, digest, "")
    assert list(watched.blocks[0]) == [6, 7, 8, 9]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"},
        {"version": 2},
        {"block": 11},
        {"reviewers": [5]},
        {"reviewers": ["x" * 500]},
        {"reviewers": 3},
        {"watched": [[0, "ff", 1, 1]]},
        {"watched": [[-1, "ff", 0, 1]]},
        {"watched": [[10**9, "ff", 0, 1]]},
        {"watched": [[0, "ff", 0, 1 << BLOCK]]},
        {"watched": [[0, "ff", 0, True]]},
        {"watched": [[0, 255, 0, 1]]},
        {"watched": [[0, "ff", 0]]},
        {"watched": None},
    ],
)
def test_a_strangers_record_that_is_wrong_counts_as_nothing_watched(change: dict[str, object]) -> None:
    content = {
        "schema": SCHEMA,
        "version": 1,
        "block": BLOCK,
        "reviewers": ["Ann"],
        "watched": [[0, "ff", 0, 1]],
    }
    assert from_text(json.dumps(content)).blocks == {0: {255: {"Ann": 1}}}
    assert from_text(json.dumps(content | change)).blocks == {}


@pytest.mark.parametrize("text", ["", "[", "5", "null", "[]", 7, None, b"{}", "[" * 100_000])
def test_what_is_no_record_counts_as_nothing_watched(text: object) -> None:
    assert from_text(text).blocks == {}


def test_blocks_beyond_the_source_are_ignored(document: TrackDocument) -> None:
    watched = WatchedFrames()
    watched.add(10 * FRAMES, 1, "")
    assert not watched.compute_watched(read(document).compute_digests(), FRAMES).any()


def test_unanalysed_frames_are_known(document: TrackDocument) -> None:
    assert read(document).compute_analysed().all()
    document.analysed = [(0, 50), (100, FRAMES)]
    assert list_spans(~read(document).compute_analysed()) == [(50, 100)]
    assert np.flatnonzero(read(document).compute_analysed())[0] == 0
