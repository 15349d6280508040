# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches a finished film or picture for traces of its source: place, device, people, embedded pictures."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError
from .picture import list_notes
from .remux import compute_blank, is_mark, move_chapters, read_timecode
from .verify import STEP_TOLERANCE_S

_RECORD = re.compile(r"faceblur:1:[0-9a-f]{64}:[0-9]{1,9}")

_OWN_FILM_KEYS = frozenset(
    {
        "encoder",
        "major_brand",
        "minor_version",
        "compatible_brands",
        "handler_name",
        "vendor_id",
        "language",
        "duration",
        "number_of_bytes",
        "number_of_frames",
        "bps",
    }
)
"""Keys that muxers write themselves; `handler_name` and `encoder` only with the values below."""

_OWN_WORDS = re.compile(r"(Lavf|Lavc|(Video|Sound|Subtitle|TimeCode)Handler\Z|\Z)")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a film may keep of its source: subtitle streams (hashes of their packets), chapters (title, and start in
    seconds since the first picture or sound) and the timecode."""

    subtitles: tuple[str, ...] = ()
    chapters: tuple[tuple[str, Fraction], ...] = ()
    timecode: str = ""

    @classmethod
    def read(cls, container: Any) -> _Kept:
        streams = list(container.streams.subtitles)
        chapters = move_chapters(container, compute_blank(container))
        starts = [
            (str(one["metadata"].get("title", "")), one["start"] * Fraction(one["time_base"])) for one in chapters
        ]
        digests = {stream.index: hashlib.sha256() for stream in streams}
        for packet in container.demux(streams) if streams else ():
            # MP4 and MOV fill the time without a subtitle with empty ones.
            if any(bytes(packet)):
                digests[packet.stream.index].update(bytes(packet))
        return cls(tuple(one.hexdigest() for one in digests.values()), tuple(starts), read_timecode(container))

    def holds_chapters(self, others: _Kept) -> bool:
        """Whether these are the chapters of another film. Containers may cut long titles."""
        return len(self.chapters) == len(others.chapters) and all(
            title.startswith(cut) and abs(start - at) <= STEP_TOLERANCE_S
            for (title, start), (cut, at) in zip(self.chapters, others.chapters, strict=True)
        )


def find_traces(film: Path, source: Path | None = None) -> list[str]:
    """Sentences about metadata, further streams, chapters and pictures in a finished film; see `delivery.remux`.

    Subtitles, chapters and a timecode are no traces if they are those of `source`, which `delivery.join` keeps on
    purpose. The sentences name the keys without repeating the values. Raises FaceBlurError if a file cannot be read.
    """
    theirs = _read_kept(source) if source is not None else _Kept()
    ours = _read_kept(film)
    with _open(film) as container:
        found = []
        foreign = set(_list_foreign(container.metadata, True))
        for stream in container.streams:
            foreign |= set(_list_foreign(stream.metadata, False))
        if ours.timecode and ours.timecode == theirs.timecode:
            foreign = {key for key in foreign if key.lower() != "timecode"}
        if foreign:
            found.append(f"It carries metadata: {', '.join(sorted(foreign))}.")
        others = [
            stream.type
            for stream in container.streams
            if stream.type not in ("video", "audio", "subtitle") and not (source is not None and is_mark(stream))
        ]
        left = list(theirs.subtitles)
        for digest in ours.subtitles:
            if digest in left:
                left.remove(digest)
            else:
                others.append("subtitle")
        if others:
            found.append(f"It carries {len(others)} further streams ({', '.join(sorted(map(str, set(others))))}).")
        if len(container.streams.video) > 1:
            found.append("It carries a further video stream, or a cover picture or thumbnail.")
        if ours.chapters and not theirs.holds_chapters(ours):
            found.append("It carries chapters.")
        return found


def _read_kept(film: Path) -> _Kept:
    with _open(film) as container:
        return _Kept.read(container)


@contextmanager
def _open(film: Path) -> Iterator[Any]:
    import av

    try:
        with av.open(str(film), options={"protocol_whitelist": "file"}) as container:
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise FaceBlurError(f"{film.name} cannot be opened: {error}") from error


def find_carried(film: Path, source: Path) -> list[str]:
    """Sentences about metadata that a film made of several sources copied literally from one of them.

    Metadata that programs write themselves does not count. Raises FaceBlurError if a file cannot be read.
    """
    import av

    tags: list[set[tuple[str, str]]] = []
    for path in (film, source):
        try:
            with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
                tags.append(
                    {
                        (key.lower(), value)
                        for metadata in (container.metadata, *(stream.metadata for stream in container.streams))
                        for key, value in metadata.items()
                    }
                )
        except (av.error.FFmpegError, OSError) as error:
            raise FaceBlurError(f"{path.name} cannot be opened: {error}") from error
    carried = sorted({key for key, value in tags[0] & tags[1] if key not in _OWN_FILM_KEYS and value})
    return [f"It carries metadata of {source.name}: {', '.join(carried)}."] if carried else []


def _list_foreign(metadata: Any, whole: bool) -> Iterator[str]:
    for key, value in metadata.items():
        name = key.lower()
        if name == "comment" and whole and _RECORD.fullmatch(value):
            continue
        words = name not in ("handler_name", "encoder") or _OWN_WORDS.match(value)
        if name not in _OWN_FILM_KEYS or not words:
            yield "".join(sign for sign in key if sign.isprintable())[:40]


def find_picture_traces(picture: Path) -> list[str]:
    """Sentences about metadata in a finished picture; see `delivery.picture`. Raises FaceBlurError."""
    try:
        notes = list_notes(picture)
    except (struct.error, OSError) as error:
        raise FaceBlurError(f"{picture.name} cannot be read: {error}") from error
    return [f"It carries metadata: {', '.join(notes)}."] if notes else []
