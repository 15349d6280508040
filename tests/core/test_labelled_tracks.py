# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of tracks, what they count, and the fit of weights to them."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.annotations import CLEAR, TrueFace, Truth
from benchmarks.covers import TracksCover
from benchmarks.labelled_tracks import (
    TRACKS,
    LabelledClip,
    LabelledTrack,
    PhantomCount,
    Shows,
    count_phantoms,
    find_label,
    read_labels,
)
from benchmarks.needless import FACE as FACES
from benchmarks.needless import NO_FACE, NO_LABEL, NeedlessArea, attribute_area
from benchmarks.opinion import fit_weights
from blender_faceblur.core.types import (
    Box,
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    Shot,
    SourceInfo,
    Track,
    TrackDocument,
)

FACE: Box = (100, 100, 150, 160)
HAND: Box = (400, 100, 450, 160)
LABELS = (
    LabelledTrack(Shows.FACE, {0: FACE, 10: FACE, 20: FACE}),
    LabelledTrack(Shows.OTHER, {0: HAND, 20: HAND}),
)


def make_track(box: Box, frames: range) -> Track:
    return Track("", [Sample(frame, Ellipse.inscribed(box), Evidence.DETECTED, 0.9) for frame in frames])


def test_the_labels_are_valid_and_clips_for_the_test_are_kept_apart() -> None:
    labels = read_labels()
    fitted = {clip.name for clip in labels.values() if not clip.proves}
    proving = {clip.name for clip in labels.values() if clip.proves}
    assert len(fitted) > 30 and len(proving) > 8 and not fitted & proving and "hamilton.mp4" in proving
    shown = [track.shows for clip in labels.values() for track in clip.tracks]
    assert {*shown} == {*Shows} and all(track.keys for clip in labels.values() for track in clip.tracks)


def test_a_track_has_the_label_of_the_place_where_it_is() -> None:
    assert find_label(dict.fromkeys(range(30), (105, 98, 152, 158)), LABELS) is Shows.FACE
    assert find_label({frame: HAND if frame > 5 else FACE for frame in range(21)}, LABELS) is Shows.OTHER
    assert find_label(dict.fromkeys(range(30), (700, 100, 750, 160)), LABELS) is None
    assert find_label({5: FACE}, LABELS) is None


def test_phantoms_and_their_area_are_counted() -> None:
    source = SourceInfo("film.mp4", "movie", 1000, 1000, 50, Fraction(25), "0" * 64)
    tracks = [make_track(FACE, range(50)), make_track(HAND, range(25)), make_track((700, 0, 750, 60), range(3))]
    document = TrackDocument(source, "balanced", 2.0, [], [], tracks, [])
    count = count_phantoms(document, LabelledClip("film.mp4", True, LABELS))
    assert (count.phantoms, count.unlabelled) == (1, 1) and count.minutes == pytest.approx(1 / 30)
    assert count.covered / count.pictures == pytest.approx(np.pi * 50 * 60 / 1e6 / 2)
    total = PhantomCount()
    total.add(count)
    total.add(count)
    assert total.phantoms == 2 and "2 tracks show no face, 30.00 a minute, on 0.471 %" in total.describe()


def test_only_labelled_frames_are_counted() -> None:
    source = SourceInfo("film.mp4", "movie", 1000, 1000, 50, Fraction(25), "0" * 64)
    tracks = [make_track(HAND, range(25)), make_track((700, 0, 750, 60), range(20, 50))]
    document = TrackDocument(source, "balanced", 2.0, [], [], tracks, [])
    whole = count_phantoms(document, LabelledClip("film.mp4", True, LABELS))
    part = count_phantoms(document, LabelledClip("film.mp4", True, LABELS, 10))
    assert (whole.phantoms, whole.unlabelled) == (1, 1) and (part.phantoms, part.unlabelled) == (1, 0)
    assert part.minutes == pytest.approx(whole.minutes / 5) and part.covered == pytest.approx(whole.covered * 10 / 25)
    assert LabelledClip("film.mp4", True, LABELS, 90).count_labelled(50) == 50


def test_needless_area_is_attributed_to_tracks_and_their_evidence() -> None:
    source = SourceInfo("film.mp4", "movie", 1000, 500, 20, Fraction(25), "0" * 64)
    face, hand = make_track(FACE, range(20)), make_track(HAND, range(20))
    hand.samples[10:] = [replace(sample, evidence=Evidence.FLOW) for sample in hand.samples[10:]]
    for track, name in ((face, "Face 01"), (hand, "Face 02")):
        track.name = name
    cover = TracksCover(TrackDocument(source, "balanced", 1.0, [], [Shot(0, 20)], [face, hand], []), 1.0)
    truth = Truth("film", {frame: [TrueFace(CLEAR, Ellipse.inscribed(FACE))] for frame in (5, 15)})
    found = attribute_area(cover, truth, LabelledClip("film.mp4", True, LABELS))
    hand_area = np.pi * 25 * 30
    assert found.area == 2 * 1000 * 500 and not found.pixels[FACES, Evidence.DETECTED]
    for evidence in (Evidence.DETECTED, Evidence.FLOW):
        assert found.pixels[NO_FACE, evidence] == pytest.approx(hand_area, rel=0.2)
    unlabelled, total = attribute_area(cover, truth, None), NeedlessArea()
    assert unlabelled.pixels[NO_LABEL, Evidence.FLOW] == found.pixels[NO_FACE, Evidence.FLOW]
    total.add(found)
    total.add(unlabelled)
    assert total.area == 2 * found.area
    assert [line.partition(":")[0] for line in total.list_lines()] == [NO_FACE, NO_LABEL, FACES]


def test_damaged_labels_are_an_error(tmp_path: Path) -> None:
    content = json.loads(TRACKS.read_text(encoding="utf-8"))
    content["clips"][0]["tracks"][0]["shows"] = "ghost"
    (tmp_path / "clips.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FaceBlurError, match="labelled tracks"):
        read_labels(tmp_path / "clips.json")


def test_the_fit_finds_the_weights_that_made_the_labels() -> None:
    random = np.random.default_rng(0)
    evidence = random.normal(0, 1, (4000, 2))
    chance = 1 / (1 + np.exp(-(0.5 + evidence @ (2.0, -1.0))))
    offset, weights = fit_weights(evidence, random.uniform(0, 1, 4000) < chance, 1.0)
    np.testing.assert_allclose([offset, *weights], [0.5, 2.0, -1.0], atol=0.2)
