# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks for Fusion, read back by a reader of their grammar, contain every covered face at every moment."""

from __future__ import annotations

import io
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
)
from blender_faceblur.exchange.fusion import write_fusion
from blender_faceblur.exchange.tables import write_tracks
from blender_faceblur.painting.mattes import list_coverages

WIDTH, HEIGHT, FRAMES, MARGIN = 320, 180, 30, 1.4
TOKEN = re.compile(r'\s*(?:(-?\d+(?:\.\d+)?)|"([^"\\\n]*)"|([A-Za-z_]\w*)|([{}()\[\]=,]))')


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


def read_setting(text: str) -> Any:
    """Lua's tables, and constructors like Input { ... }, which are taken for their tables with the name under ""."""
    tokens = [match.groups() for match in TOKEN.finditer(text)]
    assert "".join(TOKEN.sub("", text).split()) == ""
    at = 0

    def take(mark: str = "") -> tuple[str | None, ...]:
        nonlocal at
        assert not mark or tokens[at][3] == mark, (mark, tokens[at])
        at += 1
        return tokens[at - 1]

    def read_value() -> Any:
        number, string, name, _ = tokens[at]
        if number is not None or string is not None:
            take()
            return float(number) if number is not None else string
        if name in {"true", "false"}:
            take()
            return name == "true"
        if name is not None:
            take()
            if tokens[at][3] == "(":
                take("(")
                take(")")
            return {"": name, **read_value()}
        return read_table()

    def read_table() -> dict[Any, Any]:
        take("{")
        table: dict[Any, Any] = {}
        while tokens[at][3] != "}":
            if tokens[at][3] == "[":
                take("[")
                key: Any = float(str(take()[0]))
                take("]")
                take("=")
            elif tokens[at][2] is not None and tokens[at + 1][3] == "=":
                key = take()[2]
                take("=")
            else:
                key = sum(isinstance(key, int) for key in table)
            assert key not in table
            table[key] = read_value()
            if tokens[at][3] != "}":
                take(",")
        take("}")
        return table

    setting = read_value()
    assert at == len(tokens)
    return setting


def list_chain(setting: Any) -> list[str]:
    """The names of the masks from the last one, which an editor connects, to the first."""
    chain = [setting["ActiveTool"]]
    while "EffectMask" in (inputs := setting["Tools"][chain[-1]]["Inputs"]):
        assert inputs["EffectMask"]["Source"] == "Mask"
        chain.append(inputs["EffectMask"]["SourceOp"])
    return chain


def evaluate(tools: Any, source: Any, time: float) -> float:
    """An input's value; every key has to be linear."""
    assert source["Source"] == "Value"
    tool = tools[source["SourceOp"]]
    assert tool[""] == "BezierSpline"
    assert all(key["Flags"] == {"Linear": True} for key in tool["KeyFrames"].values())
    times = sorted(tool["KeyFrames"])
    return float(np.interp(time, times, [tool["KeyFrames"][one][0] for one in times]))


def contains(setting: Any, time: float, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which points (pixels from the upper left corner) the last mask covers.

    Centres are shares of the picture from its lower left corner, sizes are shares of its width, angles are degrees
    counterclockwise.
    """
    tools = setting["Tools"]
    inside = np.zeros(x.shape, dtype=bool)
    for name in list_chain(setting):
        assert tools[name][""] == "EllipseMask"
        inputs = tools[name]["Inputs"]
        path = tools[inputs["Center"]["SourceOp"]]
        assert path[""] == "XYPath" and inputs["Center"]["Source"] == "Value"
        dx = x - evaluate(tools, path["Inputs"]["X"], time) * WIDTH
        dy = (HEIGHT - y) - evaluate(tools, path["Inputs"]["Y"], time) * HEIGHT
        turn = math.radians(evaluate(tools, inputs["Angle"], time))
        u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        rx = evaluate(tools, inputs["Width"], time) * WIDTH / 2
        ry = evaluate(tools, inputs["Height"], time) * WIDTH / 2
        inside |= (u / rx) ** 2 + (v / ry) ** 2 <= 1
    return inside


def write(document: TrackDocument) -> Any:
    stream = io.StringIO()
    write_fusion(document, stream)
    return read_setting(stream.getvalue())


def trace(ellipse: Ellipse, share: float) -> tuple[Any, Any]:
    t = np.linspace(0, 2 * np.pi, 90)
    u, v = share * ellipse.rx * np.cos(t), share * ellipse.ry * np.sin(t)
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    return ellipse.cx + u * cos - v * sin, ellipse.cy + u * sin + v * cos


def test_every_covered_face_is_inside_of_the_masks_and_nothing_else() -> None:
    tracks = (make_track("Face 01", 5, 25, off=((12, 18),)), make_track("Face 02", 0, FRAMES, x=150))
    setting = write(make_document(*tracks))
    assert len(list_chain(setting)) == 2
    for track in tracks:
        covered = {frame for span in track.list_covered_spans() for frame in range(*span)}
        assert covered
        for sample in track.samples:
            if sample.source_frame in covered:
                ellipse = sample.ellipse.scaled(MARGIN)
                assert contains(setting, sample.source_frame, *trace(ellipse, 0.999)).all(), sample
                larger = ellipse.grown(3.1)
                assert not contains(setting, sample.source_frame, *trace(larger, 1.001)).any(), sample
    # Two frames away from what is covered, the first face is not.
    for frame in (3, 14, 15, 26):
        place = tracks[0].samples[min(max(frame - 5, 0), 19)].ellipse
        assert not contains(setting, frame, *trace(place, 0.5)).any(), frame


def test_all_that_our_own_cover_hides_is_inside_of_the_masks() -> None:
    document = make_document(make_track("Face 01", 5, 25), make_track("Face 02", 0, FRAMES, x=150))
    setting = write(document)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    seen = 0
    for frame, coverage in enumerate(list_coverages(document)):
        hidden = coverage == 255
        seen += int(hidden.sum())
        assert contains(setting, frame, x, y)[hidden].all(), frame
    assert seen > 0


def test_a_face_is_covered_at_moments_between_two_frames() -> None:
    track = make_track("Face 01", 5, 25)
    setting = write(make_document(track))
    for sample in track.samples:
        for part in (-0.5, -0.25, 0.25, 0.5):
            assert contains(setting, sample.source_frame + part, *trace(sample.ellipse, 0.999)).all(), (sample, part)


def test_an_ellipse_does_not_turn_around_between_two_keys() -> None:
    angles = [sample.ellipse.angle for sample in make_track("Face 01", 0, FRAMES).samples]
    assert max(abs(np.diff(angles))) > 3, "the track has to pass the vertical"
    setting = write(make_document(make_track("Face 01", 0, FRAMES)))
    keys = setting["Tools"]["FaceBlur1Angle"]["KeyFrames"]
    assert max(abs(np.diff([keys[frame][0] for frame in sorted(keys)]))) < 2


def test_frames_that_were_not_analysed_are_covered_completely() -> None:
    setting = write(make_document(analysed=False))
    y, x = np.mgrid[0 : HEIGHT + 1, 0 : WIDTH + 1]
    for time in (10, 15, 19, 9.5, 19.5):
        assert contains(setting, time, x, y).all(), time
    for time in (0, 8, 21, FRAMES - 1):
        assert not contains(setting, time, x, y).any(), time


def test_a_name_cannot_write_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.setting"
    track = make_track('x", } os.execute("a\\"\n', 0, 3)
    write_tracks(make_document(track), path, ".setting")
    setting = read_setting(path.read_text(encoding="utf-8"))
    assert set(setting["Tools"]["FaceBlur1"]["Inputs"]["Comments"]) == {"", "Value"}


def test_a_film_without_faces_gives_a_mask_that_covers_nothing() -> None:
    setting = write(make_document(make_track("Face 01", 0, 3, off=((0, 3),))))
    y, x = np.mgrid[0 : HEIGHT + 1, 0 : WIDTH + 1]
    assert list_chain(setting) == ["FaceBlur1"]
    assert not any(contains(setting, time, x, y).any() for time in range(FRAMES))


def test_pixels_that_are_not_square_are_refused() -> None:
    with pytest.raises(FaceBlurError, match="square pixels"):
        write(make_document(make_track("Face 01", 0, 3), aspect=Fraction(4, 3)))
