# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a file or a message holds, its reader returns something consistent or refuses it in one line."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blender_faceblur.core.document.tracks_file import from_json, to_json
from blender_faceblur.core.people.people_file import read_decisions, write_decisions
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.sources import MovieSource
from blender_faceblur.worker.protocol import Frame, ProtocolError, parse_line, to_line, to_record
from tests.films import read_number, write_film
from tests.worker.test_protocol import MESSAGES

from .test_people_file import FULL

STORED = Path(__file__).parents[1] / "data" / "v0_1_0" / "tracks.json"
OLD = json.loads(STORED.read_text(encoding="utf-8"))
NEW = json.loads(to_json(from_json(json.dumps(OLD))))

# The same examples in every run; a folder that may be shared or read-only keeps none.
STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

NUMBERS = st.integers(-(10**400), 10**400) | st.sampled_from([0, 1, -1, 2**31, 2**63, 10**400]) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.just("\ud800")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def change(draw: st.DrawFn, content: Any) -> Any:
    """The content with one to three parts replaced, removed or repeated."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 3)):
                place = inner
                continue
            how = draw(st.sampled_from(["replace", "remove", "repeat"]))
            if how == "replace":
                place[key] = draw(VALUES)
            elif how == "remove":
                del place[key]
            elif isinstance(place, list):
                place.append(inner)
            break
    return content


def check_line(text: str) -> None:
    assert text and "\n" not in text


@given(change(NEW) | change(OLD) | VALUES)
@STEADY
def test_a_tracks_document_is_read_consistently_or_refused(content: Any) -> None:
    try:
        document = from_json(json.dumps(content))
    except FaceBlurError as error:
        check_line(str(error))
        return
    assert from_json(to_json(document)) == document
    for track in (*document.tracks, *document.uncovered):
        frames = [sample.source_frame for sample in track.samples]
        assert frames == sorted(set(frames)) and all(0 <= frame < document.source.frame_count for frame in frames)


@given(st.data())
@STEADY
def test_a_people_file_is_read_consistently_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "people.json"
    write_decisions(FULL, path)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data.draw(change(whole) | VALUES)), encoding="utf-8")
    try:
        decisions = read_decisions(path)
    except FaceBlurError as error:
        check_line(str(error))
        return
    write_decisions(decisions, path)
    assert read_decisions(path) == decisions


KINDS = tuple({type(message) for message in MESSAGES})
LINES = st.sampled_from([json.loads(to_line(message)) for message in MESSAGES]).flatmap(change) | VALUES


@given(LINES)
@example({"type": "progress", "stage": "detect", "done": 1, "total": 2, "fps": 10**400})
@STEADY
def test_a_message_is_read_consistently_or_refused(content: Any) -> None:
    try:
        message = parse_line(json.dumps(content), KINDS)
    except ProtocolError:
        return
    assert parse_line(to_line(message), KINDS) == message
    if isinstance(message, Frame):
        try:
            record = to_record(message)
        except ProtocolError:
            return
        assert len(record.observations) == len(message.rows)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
@STEADY
def test_a_line_that_is_no_message_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        parse_line(line, KINDS)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.integers(0, 300),
    st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(10)]),
    st.sampled_from([".mkv", ".mp4"]),
)
@settings(STEADY, max_examples=15)
def test_each_frame_shows_the_picture_that_is_said_to_be_shown(
    tmp_path: Path, gaps: list[int], first: int, rate: Fraction, suffix: str
) -> None:
    """`find_frames_showing` computes from times what `frames` finds by decoding."""
    ticks = [first]
    for gap in gaps:
        ticks.append(ticks[-1] + gap)
    path = write_film(
        tmp_path / f"film{suffix}", range(len(ticks)), rate=rate, ticks=ticks, time_base=Fraction(1, 1000)
    )
    with MovieSource(path) as source:
        shown = [read_number(picture) for _, picture in source.read_frames()]
        assert isinstance(source, MovieSource)
        times = [time for time, _ in source.read_pictures()]
        assert len(times) == len(ticks)
        for number, (time, following) in enumerate(zip(times, [*times[1:], None], strict=True)):
            frames, position = source.find_frames_showing(time, following)
            assert list(frames) == [frame for frame, other in enumerate(shown) if other == number]
            # Frames have whole times, so that a position may be off by half a tick.
            assert not frames or frames.start == 0 or frames.start - 1.05 < position < frames.start + 0.05
        assert source.find_frames_showing(times[0], None)[0] == range(source.info.frame_count)
