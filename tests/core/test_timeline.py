# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenTimelineIO files, as the package opentimelineio reads them, and timecodes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest

from blender_faceblur.exchange.timeline import (
    Item,
    Lane,
    Media,
    Timeline,
    format_timeline,
    parse_timecode,
    split_number,
)

NTSC = Fraction(30000, 1001)


def _read(timeline: Timeline) -> Any:
    return otio.adapters.read_from_string(format_timeline(timeline), "otio_json")


FRAMES = (0, 1799, 1800, 17982, 107892, 1234567)


def test_a_timecode_names_the_frame_that_opentimelineio_takes_it_for() -> None:
    rates = [(Fraction(number, 1), False) for number in (24, 25, 30, 60)]
    rates += [(Fraction(number, 1001), False) for number in (24000, 30000, 60000)]
    rates += [(Fraction(number, 1001), True) for number in (30000, 60000)]
    for rate, drops in rates:
        for frame in FRAMES:
            text = otio.opentime.RationalTime(frame, float(rate)).to_timecode(float(rate), drops)
            assert (";" in text) == drops
            assert parse_timecode(text, rate) == frame, text


def test_what_is_no_timecode_names_no_frame() -> None:
    assert [parse_timecode(text, Fraction(24)) for text in ("", "12", "00:00:00:24", "1:00", "aa:bb:cc:dd")] == [
        None
    ] * 5


def test_numbered_pictures() -> None:
    assert split_number(("a9.png", "a10.png")) == ("a", 9, 1, ".png")
    assert split_number(("a 009 b.png", "a 010 b.png")) == ("a ", 9, 3, " b.png")
    assert split_number(("a1.png", "a3.png")) is None
    assert split_number(("a.png",)) is None


def test_gaps_rates_and_speeds_are_read_back() -> None:
    media = Media(Path("/films/a film #1.mp4"), NTSC, 300, first=1000)
    lane = Lane("A", "Video", [Item("late", 40, 50, media, 20, -0.5), Item("early", 10, 30, media, 5)])
    timeline = _read(Timeline("film", Fraction(25), 60, [lane], [(3, "one")]))
    track = timeline.tracks[0]
    assert [type(child) for child in track] == [otio.schema.Gap, otio.schema.Clip] * 2
    assert [clip.name for clip in track.find_clips()] == ["early", "late"]
    early, late = track.find_clips()
    assert early.range_in_parent().start_time == otio.opentime.RationalTime(10, 25)
    assert early.source_range.start_time.value == 1005
    assert early.source_range.start_time.rate == pytest.approx(float(NTSC))
    assert [effect.time_scalar for effect in late.effects] == [-0.5] and not early.effects
    # Resolve takes no URL here, and a path has nothing escaped.
    assert early.media_reference.target_url == str(media.path)
    assert early.available_range().duration.value == 300


def test_the_file_has_the_parts_that_opentimelineio_itself_would_write() -> None:
    """Written again by the package, for its release 0.15, it is the same."""
    media = Media(Path("/films/a.mp4"), Fraction(24), 300)
    pictures = Media(Path("/films/shot"), Fraction(24), 2, ("p1.png", "p2.png"))
    inner = Timeline("meta", Fraction(24), 5, [Lane("1", "Video", [Item("p", 1, 3, pictures, 1.0, 0.5)])])
    lanes = [Lane("1", "Video", [Item("a", 0, 5, media), Item("meta", 9, 14, inner)]), Lane("1", "Audio", [], False)]
    text = format_timeline(Timeline("film", Fraction(24), 20, lanes, [(3, "one")]))
    again = otio.adapters.read_from_string(text, "otio_json").to_json_string()
    assert _drop_new(json.loads(again)) == _drop_new(json.loads(text))


def _drop_new(value: Any) -> Any:
    """Without what later releases added to the parts: colours of items, and effects that are switched off."""
    if isinstance(value, dict):
        new = {"color"} if "enabled" in value else set()
        if value.get("OTIO_SCHEMA") == "LinearTimeWarp.1":
            new = {"enabled"}
        return {key: _drop_new(part) for key, part in value.items() if key not in new}
    return [_drop_new(part) for part in value] if isinstance(value, list) else value
