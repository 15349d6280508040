# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks for Fusion, After Effects and Nuke, read back by stand-ins of these programs, contain every covered face."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_faceblur.batch import cli
from blender_faceblur.batch.options import TRACKS_ENDINGS
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
    TrackStatus,
)
from blender_faceblur.exchange.after_effects import write_after_effects
from blender_faceblur.exchange.fusion import write_fusion
from blender_faceblur.exchange.nuke import write_nuke
from blender_faceblur.exchange.tables import write_tracks
from blender_faceblur.painting.mattes import list_coverages

from .mask_readers import (
    AfterEffectsFile,
    FusionFile,
    MaskFile,
    NukeFile,
    NukeNode,
    make_host,
    read_setting,
    run_after_effects,
    run_nuke,
)

WIDTH, HEIGHT, FRAMES, MARGIN = 320, 180, 30, 1.4
SIZE = (WIDTH, HEIGHT)
PROGRAMS: dict[str, tuple[Callable[[TrackDocument, TextIO], None], Callable[[str, tuple[int, int]], MaskFile]]] = {
    ".setting": (write_fusion, FusionFile),
    ".jsx": (write_after_effects, AfterEffectsFile),
    ".py": (write_nuke, NukeFile),
}


def make_document(*tracks: Track, aspect: Fraction = Fraction(1), analysed: bool = True) -> TrackDocument:
    info = SourceInfo("a.mp4", "movie", WIDTH, HEIGHT, FRAMES, Fraction(25), "ab", aspect)
    spans = [] if analysed else [(0, 10), (20, FRAMES)]
    return TrackDocument(info, "balanced", MARGIN, [], [], list(tracks), [], analysed=spans)


def make_track(name: str, start: int, stop: int, x: float = 40, off: tuple[tuple[int, int], ...] = ()) -> Track:
    """A face that moves, grows and turns through the vertical."""
    ellipses = {f: Ellipse(x + 4 * f, 60 + 2 * f, 10 + f / 3, 16, 1.4 + f / 50) for f in range(start, stop)}
    # As angles come from a fit of an ellipse: within half a turn.
    turned = {f: Ellipse(e.cx, e.cy, e.rx, e.ry, math.remainder(e.angle, math.pi)) for f, e in ellipses.items()}
    return Track(name, [Sample(f, e, Evidence.DETECTED, 0.9) for f, e in turned.items()], off=list(off))


def write_text(document: TrackDocument, ending: str = ".setting") -> str:
    stream = io.StringIO()
    PROGRAMS[ending][0](document, stream)
    return stream.getvalue()


def read_back(document: TrackDocument, ending: str) -> MaskFile:
    return PROGRAMS[ending][1](write_text(document, ending), SIZE)


def trace(ellipse: Ellipse, share: float) -> tuple[Any, Any]:
    t = np.linspace(0, 2 * np.pi, 90)
    u, v = share * ellipse.rx * np.cos(t), share * ellipse.ry * np.sin(t)
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    return ellipse.cx + u * cos - v * sin, ellipse.cy + u * sin + v * cos


every_program = pytest.mark.parametrize("ending", PROGRAMS)


@every_program
def test_every_covered_face_is_inside_of_the_masks_and_nothing_else(ending: str) -> None:
    tracks = (make_track("Face 01", 5, 25, off=((12, 18),)), make_track("Face 02", 0, FRAMES, x=150))
    file = read_back(make_document(*tracks), ending)
    assert len(file.names) == 2
    for track in tracks:
        covered = {frame for span in track.list_covered_spans() for frame in range(*span)}
        assert covered
        for sample in track.samples:
            if sample.source_frame in covered:
                ellipse = sample.ellipse.scaled(MARGIN)
                assert file.contains(sample.source_frame, *trace(ellipse, 0.999)).all(), sample
                # What a cover may be larger than its face by, and a mask than its cover.
                larger = ellipse.grown(2.0 + 2.2)
                assert not file.contains(sample.source_frame, *trace(larger, 1.005)).any(), sample
    # Three frames away from what is covered, the first face is not.
    for frame in (2, 15, 28):
        place = tracks[0].samples[min(max(frame - 5, 0), 19)].ellipse
        assert not file.contains(frame, *trace(place, 0.5)).any(), frame


@every_program
def test_all_that_our_own_cover_hides_is_inside_of_the_masks(ending: str) -> None:
    kept = make_track("Face 03", 3, 20, x=220)
    kept.status, kept.allowed_person = TrackStatus.ALLOWED, "Anna"
    long = Track("Plate", [Sample(f, Ellipse(150, 40 + 3 * f, 60, 9, 0.4), Evidence.DETECTED, 0.9) for f in range(20)])
    tracks = (make_track("Face 01", 5, 25, off=((12, 18), (20, 21))), make_track("Face 02", 0, FRAMES, x=150))
    document = make_document(*tracks, long)
    document.uncovered.append(kept)
    file = read_back(document, ending)
    assert len(file.names) == 3
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    seen, more = 0, 0
    for frame, coverage in enumerate(list_coverages(document)):
        hidden, inside = coverage == 255, file.contains(frame, x, y)
        seen += int(hidden.sum())
        assert inside[hidden].all(), (frame, int((hidden & ~inside).sum()))
        more += int((inside & ~hidden).sum())
    # Mostly the frames before and after a span.
    assert seen > 50_000 and more < 0.25 * seen


@every_program
def test_a_face_is_covered_at_moments_between_two_frames(ending: str) -> None:
    track = make_track("Face 01", 5, 25)
    file = read_back(make_document(track), ending)
    for sample in track.samples:
        for part in (-0.5, -0.25, 0.25, 0.5):
            assert file.contains(sample.source_frame + part, *trace(sample.ellipse, 0.999)).all(), (sample, part)


@every_program
def test_a_round_face_whose_axes_change_places_stays_covered_between_two_frames(ending: str) -> None:
    shapes = [Ellipse(100 + f, 80, 20 + 1.5 * math.sin(f), 20 - 1.5 * math.sin(f), 0.2 * f) for f in range(FRAMES)]
    turned = [Ellipse(e.cx, e.cy, e.rx, e.ry, math.remainder(e.angle, math.pi)) for e in shapes]
    track = Track("Face 01", [Sample(f, e, Evidence.DETECTED, 0.9) for f, e in enumerate(turned)])
    file = read_back(make_document(track), ending)
    for frame in range(FRAMES - 1):
        assert file.contains(frame + 0.5, *trace(shapes[frame].scaled(MARGIN), 0.97)).all(), frame


def test_an_ellipse_does_not_turn_around_between_two_keys() -> None:
    angles = [sample.ellipse.angle for sample in make_track("Face 01", 0, FRAMES).samples]
    assert max(abs(np.diff(angles))) > 3, "the track has to pass the vertical"
    setting = read_setting(write_text(make_document(make_track("Face 01", 0, FRAMES))))
    keys = setting["Tools"]["FaceBlur1Angle"]["KeyFrames"]
    # Where the face is round, its longer axis becomes the shorter one; half a right angle is the most that takes.
    assert max(abs(np.diff([keys[frame][0] for frame in sorted(keys)]))) < 46


@every_program
def test_frames_that_were_not_analysed_are_covered_completely(ending: str) -> None:
    file = read_back(make_document(analysed=False), ending)
    y, x = np.mgrid[0 : HEIGHT + 1, 0 : WIDTH + 1]
    for time in (10, 15, 19, 9.5, 19.5):
        assert file.contains(time, x, y).all(), time
    for time in (0, 7, 22, FRAMES - 1):
        assert not file.contains(time, x, y).any(), time


@every_program
def test_a_film_without_faces_gives_a_mask_that_covers_nothing(ending: str) -> None:
    file = read_back(make_document(make_track("Face 01", 0, 3, off=((0, 3),))), ending)
    y, x = np.mgrid[0 : HEIGHT + 1, 0 : WIDTH + 1]
    assert len(file.names) == 1
    assert not any(file.contains(time, x, y).any() for time in range(FRAMES))


@every_program
def test_pixels_that_are_not_square_are_refused(ending: str) -> None:
    with pytest.raises(FaceBlurError, match="square pixels"):
        write_text(make_document(make_track("Face 01", 0, 3), aspect=Fraction(4, 3)), ending)


def test_a_picture_gives_masks_that_do_not_move() -> None:
    info = SourceInfo("a.jpg", "image", WIDTH, HEIGHT, 1, Fraction(25), "ab", Fraction(1))
    ellipse = Ellipse(100, 80, 20, 26, 0.3)
    track = Track("Face 01", [Sample(0, ellipse, Evidence.DETECTED, 0.9)])
    document = TrackDocument(info, "balanced", MARGIN, [], [], [track], [])
    for ending, (_, read) in PROGRAMS.items():
        host = {"frames": 1} if ending == ".jsx" else {}
        file = read(write_text(document, ending), SIZE, **host)
        for time in (0, 5, 1000):
            assert file.contains(time, *trace(ellipse.scaled(MARGIN), 0.999)).all(), ending


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            'x", } os.execute("a\\"\n',
            '"]]); app.quit(); (["',
            '"""), __import__("os").system("x") #',
            "\\",
            "</script>\u2028\u2029",
            "%s%d%(film)s {0}",
            "[python {import os}]",
            "]] --",
        ]
    ),
)


def clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def make_named(name: str, film: str) -> TrackDocument:
    document = make_document(make_track(name, 0, 3))
    document.source = SourceInfo(film, "movie", WIDTH, HEIGHT, FRAMES, Fraction(25), "ab", Fraction(1))
    return document


@settings(max_examples=100, deadline=None)
@given(name=HOSTILE, film=HOSTILE)
def test_a_name_cannot_write_into_a_file(name: str, film: str) -> None:
    document = make_named(name, film)
    plain = make_document(make_track("Face 01", 0, 3))
    setting, usual = read_setting(write_text(document)), read_setting(write_text(plain))
    for one in (setting, usual):
        assert one["Tools"]["FaceBlur1"]["Inputs"].pop("Comments").keys() == {"", "Value"}
    assert setting == usual
    roto = run_nuke(write_text(document, ".py"), [NukeNode(SIZE)])
    assert roto is not None and len(roto.shapes) == 1 and re.fullmatch("[A-Za-z0-9_]+", roto.shapes[0].name)
    with pytest.raises(ValueError, match="Select the node that shows"):
        run_nuke(write_text(document, ".py"), [])


@settings(max_examples=100, deadline=None)
@given(name=HOSTILE, film=HOSTILE)
def test_a_name_cannot_write_into_a_script_for_after_effects(name: str, film: str) -> None:
    document = make_named(name, film)
    done = run_after_effects(write_text(document, ".jsx"), make_host(SIZE, FRAMES, 25))
    assert done["alerts"] == [] and [mask["name"] for mask in done["layers"][0]["masks"]] == [clean(name)[:31]]
    done = run_after_effects(write_text(document, ".jsx"), make_host(SIZE, FRAMES, 25, selected=False))
    assert done["layers"] == [] and len(done["alerts"]) == 1
    assert clean(film) in done["alerts"][0]


def test_names_that_nuke_does_not_take_stay_different() -> None:
    roto = run_nuke(
        write_text(make_document(*(make_track(n, 0, 3) for n in ("Zoe", "Zoe!", "李", "王"))), ".py"), [NukeNode(SIZE)]
    )
    assert roto is not None and [shape.name for shape in roto.shapes] == ["Zoe", "Zoe_2", "Face", "Face_2"]


@pytest.mark.parametrize(
    "changes",
    [
        {"selected": False},
        {"width": WIDTH + 2},
        {"aspect": 1.09},
        {"rate": 24.0},
        {"filmRate": 23.976, "rate": 23.976},
        {"duration": 7.0},
        {"stretch": 200},
        {"remapped": True},
        {"threeD": True},
        {"start": 2.02},
    ],
    ids="-".join,
)
def test_after_effects_refuses_a_layer_that_shows_something_else(changes: dict[str, Any]) -> None:
    text = write_text(make_document(make_track("Face 01", 0, 3)), ".jsx")
    assert len(run_after_effects(text, make_host(SIZE, FRAMES, 25.0))["layers"]) == 1
    done = run_after_effects(text, make_host(SIZE, FRAMES, 25.0, **changes))
    assert done["layers"] == [] and done["undo"] == 0
    assert len(done["alerts"]) == 1 and done["alerts"][0].startswith("No masks were made.")


def test_after_effects_is_left_without_a_layer_if_its_masks_are_not_complete() -> None:
    text = write_text(make_document(make_track("Face 01", 0, 3), make_track("Face 02", 0, 3)), ".jsx")
    broken = text.replace(
        "path.setValuesAtTimes(times, shapes);", "path.setValuesAtTimes(times, shapes); path.numKeys--;"
    )
    assert broken != text
    done = run_after_effects(broken, make_host(SIZE, FRAMES, 25.0))
    assert done["layers"] == [] and "of the" in done["alerts"][0]


def test_the_script_for_after_effects_is_javascript_of_1999() -> None:
    text = write_text(make_document(make_track("Face 01", 0, 3)), ".jsx")
    code = re.sub(r'"(?:[^"\\\\]|\\\\.)*"|//[^\n]*', "", text)
    later = r"\b(let|const|class|JSON|forEach|map|filter|indexOf|Object|of)\b|=>|`|,\s*[\]}]"
    assert re.search(later, code) is None, re.search(later, code)


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT + 2), (WIDTH * 2, HEIGHT * 2)])
def test_nuke_refuses_a_node_that_shows_something_else(size: tuple[int, int]) -> None:
    text = write_text(make_document(make_track("Face 01", 0, 3)), ".py")
    with pytest.raises(ValueError, match="has 320 x 180 square pixels"):
        run_nuke(text, [NukeNode(size)])
    with pytest.raises(ValueError, match="nothing else"):
        run_nuke(text, [NukeNode(SIZE), NukeNode(SIZE)])


def test_nuke_asks_on_which_frame_the_film_begins() -> None:
    text = write_text(make_document(make_track("Face 01", 0, FRAMES)), ".py")
    roto = run_nuke(text, [NukeNode(SIZE)], answer="101")
    assert roto is not None and min(roto.shapes[0][0].center.keys) == 101 - 2
    assert run_nuke(text, [NukeNode(SIZE)], answer=None) is None


def test_the_ending_of_a_file_decides_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = make_document(make_track("Face 01", 0, 3))
    for ending in PROGRAMS:
        path = tmp_path / f"a{ending}"
        write_tracks(document, path, ending)
        assert path.read_text(encoding="utf-8") == write_text(document, ending)
    assert sorted(PROGRAMS) == sorted(set(TRACKS_ENDINGS.values()) - {".json", ".csv", ".txt"})
    assert cli.main([str(tmp_path / "a.mp4"), "--save-tracks", str(tmp_path / "a.nk")]) == cli.USAGE
    assert "End its name with .py" in capsys.readouterr().err
