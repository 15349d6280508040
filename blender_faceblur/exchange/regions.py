# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones and time spans that an editor wants covered or left alone, from a TOML file.

[[cover]]                      # cover a zone: a screen, a name on a door
box = [100, 50, 420, 300]      # left, top, right, bottom in pixels; without it, the whole picture
from = "0:12.5"                # seconds, minutes and hours; without it, the beginning
to = "0:20"                    # without it, the end
film = "street.mp4"            # only in this film; without it, in all

[[leave]]                      # leave the faces in a zone alone: a poster; without a box, all faces in a time span
box = [900, 100, 1100, 380]
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.document.editing import add_track, bring_back, never_blur, switch
from ..core.document.naming import choose_free_name
from ..core.types import Box, Ellipse, Evidence, FaceBlurError, Sample, SourceInfo, TrackDocument, TrackKind
from .boxes import surround

_KEYS = {"box", "from", "to", "film"}
_TIME = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,6})?)")
_MOST_BYTES = 1 << 20
_FAR_PX = 1_000_000


@dataclass(frozen=True, slots=True)
class Region:
    """A zone (None: the whole picture) and its time span in seconds (None: to the film's end)."""

    covers: bool
    """Whether it is covered; otherwise faces in it are left alone."""
    box: Box | None
    start_s: Fraction
    stop_s: Fraction | None
    film: str

    def list_frames(self, info: SourceInfo) -> tuple[int, int]:
        """The half-open range of frames. A span to cover includes frames that it only touches, another does not.

        A picture has no time: what has to be covered in some span is covered there, and nothing is left alone.
        """
        if info.kind == "image":
            timed = self.start_s > 0 or self.stop_s is not None
            return (0, 0) if timed and not self.covers else (0, info.frame_count)
        outwards, inwards = (math.floor, math.ceil) if self.covers else (math.ceil, math.floor)
        start = outwards(self.start_s * info.frame_rate)
        stop = info.frame_count if self.stop_s is None else inwards(self.stop_s * info.frame_rate)
        return min(max(start, 0), info.frame_count), min(max(stop, 0), info.frame_count)


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of a file; `digest` is the hash of the file."""

    name: str
    regions: tuple[Region, ...]
    digest: str

    def apply(self, document: TrackDocument, source: Path) -> list[str]:
        """Cover the zones of a film and leave others alone; returns sentences for the user.

        Raises FaceBlurError where a region of this film does not meet its time or pictures: nothing of it would be
        covered. A region for all films may be longer than some.
        """
        chosen = [region for region in self.regions if region.film in ("", source.name)]
        covered, left = 0, 0
        notes: list[str] = []
        # Zones to leave come last, so that they win over nothing but faces: zones are no faces.
        for region in sorted(chosen, key=lambda region: not region.covers):
            start, stop = region.list_frames(document.source)
            if start >= stop:
                text = f"{self.name}: a time span lies outside of {source.name}, or is shorter than a frame."
                if region.film:
                    raise FaceBlurError(text)
                notes.append(text)
                continue
            if region.covers:
                _cover(document, region.box, start, stop)
                covered += 1
            else:
                left += _leave(document, region.box, start, stop)
        if covered:
            notes.append(f"{self.name}: {covered} zones are covered too.")
        if any(not region.covers for region in chosen):
            notes.append(f"{self.name}: {left} faces are not covered, or not all the time, because it says so.")
        return notes


def read_regions(path: Path) -> Regions:
    """Read a file of regions. Raises FaceBlurError, which names the faulty entry."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FaceBlurError(f"{path} is too large for a file of regions.")
        data = path.read_bytes()
        content = tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise FaceBlurError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise FaceBlurError(f"{path.name} is not a file of regions: {str(error)[:200]}.") from error
    unknown = content.keys() - {"cover", "leave"}
    if unknown:
        raise FaceBlurError(f"{path.name}: '{min(unknown)[:40]}' is unknown. Write [[cover]] or [[leave]].")
    regions = []
    for kind in ("cover", "leave"):
        entries = content.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise FaceBlurError(f"{path.name}: write [[{kind}]] with two brackets.")
        for number, entry in enumerate(entries, 1):
            try:
                regions.append(_parse_region(entry, kind == "cover"))
            except ValueError as error:
                raise FaceBlurError(f"{path.name}, [[{kind}]] number {number}: {error}.") from error
    if not regions:
        raise FaceBlurError(f"{path.name} holds no regions.")
    return Regions(path.name, tuple(regions), hashlib.sha256(data).hexdigest())


def _parse_region(entry: dict[str, Any], covers: bool) -> Region:
    unknown = entry.keys() - _KEYS
    if unknown:
        raise ValueError(f"'{min(unknown)[:40]}' is unknown; there are {', '.join(sorted(_KEYS))}")
    start = _parse_time(entry.get("from", 0))
    stop = _parse_time(entry["to"]) if "to" in entry else None
    if stop is not None and stop <= start:
        raise ValueError("'to' is not later than 'from'")
    if not covers and not entry.keys() & {"box", "from", "to"}:
        raise ValueError("it would leave all faces uncovered")
    film = entry.get("film", "")
    if not isinstance(film, str):
        raise ValueError("'film' is not a file's name")  # noqa: TRY004 - one kind for all that is wrong with an entry
    return Region(covers, _parse_box(entry["box"]) if "box" in entry else None, start, stop, film)


def _parse_time(value: Any) -> Fraction:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6:
        return Fraction(str(value))
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'\'{str(value)[:40]}\' is not a time like 12.5, "1:20" or "1:02:03.5"')
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


def _parse_box(value: Any) -> Box:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 4 or not all(type(n) in (int, float) and abs(n) < _FAR_PX for n in numbers):
        raise ValueError("'box' is not [left, top, right, bottom] in pixels")
    x1, y1, x2, y2 = map(float, numbers)
    if x2 <= x1 or y2 <= y1:
        raise ValueError("'box' has no size: it is [left, top, right, bottom]")
    return x1, y1, x2, y2


def _cover(document: TrackDocument, box: Box | None, start: int, stop: int) -> None:
    info = document.source
    x1, y1, x2, y2 = box or (0.0, 0.0, float(info.width), float(info.height))
    if x1 >= info.width or y1 >= info.height or x2 <= 0 or y2 <= 0:
        raise FaceBlurError(f"The zone {x1:g}, {y1:g}, {x2:g}, {y2:g} lies outside of {info.file_name}.")
    ellipse = surround((x1, y1, x2, y2), document.margin)
    samples = [Sample(frame, ellipse, Evidence.LOCKED, 1.0) for frame in range(start, stop)]
    add_track(document, samples, TrackKind.REGION).locked = True


def _leave(document: TrackDocument, box: Box | None, start: int, stop: int) -> int:
    """Leave the faces in a zone, or all of them, alone in a span; returns how many tracks that concerns."""
    if box is None:
        faces = [track for track in document.tracks if track.kind is TrackKind.FACE]
        inside = [track for track in faces if any(start <= sample.source_frame < stop for sample in track.samples)]
        for track in inside:
            switch(track, start, stop, False)
        return len(inside)
    # Through the corners, since faces may be there; a face belongs to the zone by its centre.
    ellipse = Ellipse.inscribed(box).scaled(math.sqrt(2))
    names = never_blur(document, ellipse, start, stop, choose_free_name(document, TrackKind.NEVER))
    for name in names if stop - start < document.source.frame_count else ():
        # Before and after the span the face is covered.
        switch(bring_back(document, name), start, stop, False)
    return len(names)
