# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches a finished film or picture for traces of its source: place, device, people, embedded pictures."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError
from .picture import list_notes

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

_OWN_WORDS = re.compile(r"(Lavf|Lavc|VideoHandler\Z|SoundHandler\Z|\Z)")


def find_traces(film: Path) -> list[str]:
    """Sentences about metadata, further streams, chapters and pictures in a finished film; see `delivery.remux`.

    They name the keys without repeating the values. Raises FaceBlurError if the file cannot be read.
    """
    import av

    found = []
    try:
        with av.open(str(film), options={"protocol_whitelist": "file"}) as container:
            foreign = set(_list_foreign(container.metadata, True))
            for stream in container.streams:
                foreign |= set(_list_foreign(stream.metadata, False))
            if foreign:
                found.append(f"It carries metadata: {', '.join(sorted(foreign))}.")
            others = [stream.type for stream in container.streams if stream.type not in ("video", "audio")]
            if others:
                found.append(f"It carries {len(others)} further streams ({', '.join(sorted(map(str, set(others))))}).")
            if len(container.streams.video) > 1:
                found.append("It carries a further video stream, or a cover picture or thumbnail.")
            if container.chapters():
                found.append("It carries chapters.")
    except (av.error.FFmpegError, OSError) as error:
        raise FaceBlurError(f"{film.name} cannot be opened: {error}") from error
    return found


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
