# SPDX-License-Identifier: GPL-3.0-or-later
"""A timeline as an OpenTimelineIO file (`.otio`), for editors whose film ends in another program.

The format is OpenTimelineIO's own JSON, in the versions of its parts that release 0.15 introduced. The package
`opentimelineio` is not used to write it, because it has no build for each Python inside of Blender; a test reads what
is written here with it.

A clip's `source_range` begins with the first picture that it shows and is as long as the clip in its track. With a
`LinearTimeWarp`, it shows at time t after its beginning what its media has at start + t * time_scalar.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

ENDING = ".otio"

_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.])(\d{2,3})")

_MEDIA_KEY = "DEFAULT_MEDIA"


@dataclass(frozen=True, slots=True)
class Media:
    """A file, or numbered pictures `files` in the folder `path`.

    `length` is in units of 1 / `rate` seconds; None for a picture, which is as long as one wishes. `first` is the
    media's own time at its beginning, in the same unit: its timecode.
    """

    path: Path
    rate: Fraction
    length: float | None = None
    files: tuple[str, ...] = ()
    first: int = 0


@dataclass(slots=True)
class Item:
    """What a track shows in the timeline's frames `start` to `stop - 1`: a part of a media, or another timeline.

    `media_start` is in the media's unit and counts from its beginning, like `Media.length`; of a timeline in its
    frames. `speed` is how fast the media plays, in its seconds for each second of the timeline; negative is backwards.
    """

    name: str
    start: int
    stop: int
    content: Media | Timeline
    media_start: float = 0.0
    speed: float = 1.0
    is_enabled: bool = True


@dataclass(slots=True)
class Lane:
    """A track. Its items do not overlap. `kind` is Video or Audio, as OpenTimelineIO calls it."""

    name: str
    kind: str
    items: list[Item] = field(default_factory=list)
    is_enabled: bool = True


@dataclass(slots=True)
class Timeline:
    """Frames count from 0 and play at `rate`. The lowest video track comes first. `markers` are frames and names."""

    name: str
    rate: Fraction
    length: int
    lanes: list[Lane] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)


def format_timeline(timeline: Timeline) -> str:
    """The content of the file."""
    data = {
        "OTIO_SCHEMA": "Timeline.1",
        "metadata": {},
        "name": timeline.name,
        "global_start_time": _to_time(0, timeline.rate),
        "tracks": _to_stack(timeline, timeline.name),
    }
    return json.dumps(data, indent=4, ensure_ascii=False) + "\n"


def parse_timecode(text: str, rate: Fraction) -> int | None:
    """The number of the frame that a timecode (hh:mm:ss:ff; with a ; before the frames it drops numbers) names; None
    for anything else."""
    match = _TIMECODE.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds, frames = (int(match[number]) for number in (1, 2, 3, 5))
    per_second, minutes = round(rate), 60 * hours + minutes
    if frames >= per_second:
        return None
    # Drop-frame timecodes (SMPTE ST 12-1) skip the first 2 of 30 numbers, or 4 of 60, in nine of ten minutes.
    dropped = per_second // 15 * (minutes - minutes // 10) if match[4] == ";" else 0
    return (60 * minutes + seconds) * per_second + frames - dropped


def split_number(files: tuple[str, ...]) -> tuple[str, int, int, str] | None:
    """Prefix, first number, least digits and suffix of files that are numbered one by one; None if they are not."""
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", files[0])
    if match is None:
        return None
    prefix, digits, suffix = match[1], match[2], match[3]
    first = int(digits)
    if any(name != f"{prefix}{first + n:0{len(digits)}d}{suffix}" for n, name in enumerate(files)):
        return None
    return prefix, first, len(digits), suffix


def _to_stack(timeline: Timeline, name: str) -> dict[str, Any]:
    return {
        "OTIO_SCHEMA": "Stack.1",
        **_list_common(name),
        "source_range": None,
        "markers": [
            {
                "OTIO_SCHEMA": "Marker.2",
                "metadata": {},
                "name": text,
                "color": "GREEN",
                "comment": "",
                "marked_range": _to_range(frame, timeline.rate, 0, timeline.rate),
            }
            for frame, text in timeline.markers
        ],
        "children": [_to_track(lane, timeline) for lane in timeline.lanes],
    }


def _to_track(lane: Lane, timeline: Timeline) -> dict[str, Any]:
    children: list[dict[str, Any]] = []
    reached = 0
    for item in sorted(lane.items, key=lambda one: one.start):
        if item.start > reached:
            children.append(_to_gap(item.start - reached, timeline.rate))
        children.append(_to_child(item, timeline.rate))
        reached = item.stop
    return {
        "OTIO_SCHEMA": "Track.1",
        **_list_common(lane.name, lane.is_enabled),
        "source_range": None,
        "kind": lane.kind,
        "children": children,
    }


def _to_gap(length: int, rate: Fraction) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "Gap.1", **_list_common(""), "source_range": _to_range(0, rate, length, rate)}


def _to_child(item: Item, rate: Fraction) -> dict[str, Any]:
    length = item.stop - item.start
    if isinstance(item.content, Timeline):
        stack = _to_stack(item.content, item.name)
        stack["source_range"] = _to_range(item.media_start, item.content.rate, length, rate)
        stack["enabled"] = item.is_enabled
        return stack
    media = item.content
    clip = {
        "OTIO_SCHEMA": "Clip.2",
        **_list_common(item.name, item.is_enabled),
        "source_range": _to_range(media.first + item.media_start, media.rate, length, rate),
        "media_references": {_MEDIA_KEY: _to_reference(media)},
        "active_media_reference_key": _MEDIA_KEY,
    }
    if item.speed != 1.0:
        clip["effects"] = [
            {
                "OTIO_SCHEMA": "LinearTimeWarp.1",
                "metadata": {},
                "name": "",
                "effect_name": "LinearTimeWarp",
                "time_scalar": item.speed,
            }
        ]
    return clip


def _to_reference(media: Media) -> dict[str, Any]:
    shared = {
        "metadata": {},
        "name": media.path.name,
        "available_image_bounds": None,
        "available_range": None
        if media.length is None
        else _to_range(media.first, media.rate, media.length, media.rate),
    }
    if not media.files:
        # A plain path, as Resolve writes it itself. Resolve 20.2 does not take file URLs
        # (github.com/AcademySoftwareFoundation/OpenTimelineIO/issues/1985); the format allows both.
        return {"OTIO_SCHEMA": "ExternalReference.1", **shared, "target_url": str(media.path)}
    parts = split_number(media.files)
    assert parts is not None
    prefix, first, digits, suffix = parts
    return {
        "OTIO_SCHEMA": "ImageSequenceReference.1",
        **shared,
        "target_url_base": media.path.as_uri() + "/",
        "name_prefix": quote(prefix),
        "name_suffix": quote(suffix),
        "start_frame": first,
        "frame_step": 1,
        "rate": float(media.rate),
        "frame_zero_padding": digits,
        "missing_frame_policy": "error",
    }


def _list_common(name: str, is_enabled: bool = True) -> dict[str, Any]:
    return {"metadata": {}, "name": name, "effects": [], "markers": [], "enabled": is_enabled}


def _to_range(start: float, start_rate: Fraction, length: float, length_rate: Fraction) -> dict[str, Any]:
    return {
        "OTIO_SCHEMA": "TimeRange.1",
        "start_time": _to_time(start, start_rate),
        "duration": _to_time(length, length_rate),
    }


def _to_time(value: float, rate: Fraction) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": float(rate), "value": float(value)}
