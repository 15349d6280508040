# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about people, saved as JSON for the next run: names, modes, and the person of each track.

The file holds no embeddings and no pictures, so nobody can be recognised with it. It is read as untrusted data.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..document.editing import get_sample
from ..types import FaceBlurError, Track, TrackDocument
from .decisions import Decision, Mode

SCHEMA, VERSION = "faceblur-people", 1
# Limits for a file's content. A file that exceeds them is refused as damaged.
_MOST_BYTES = 1 << 26
_MOST_ENTRIES = 100_000
_LONGEST_TEXT = 2_000
_FAR_PX = 1_000_000
EDITOR, MACHINE = "editor", "machine"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The person of one track of one source: the track whose face contains `x`, `y` in `frame`."""

    fingerprint: str
    file_name: str
    track: str
    frame: int
    x: float
    y: float
    person: str
    by: str = MACHINE
    clear: tuple[tuple[int, int], ...] = ()
    why: str = ""


@dataclass(slots=True)
class Decisions:
    """The content of a people file. `references` is the path of the folder with the people's pictures."""

    others_clear: bool = False
    references: str = ""
    modes: dict[str, Mode] = field(default_factory=dict)
    tracks: list[Assignment] = field(default_factory=list)

    def list_assigned(self, document: TrackDocument) -> dict[str, str]:
        """The people that an editor has assigned to tracks of a document, by track name."""
        assigned = {}
        for entry in self.tracks:
            if entry.by != EDITOR or entry.fingerprint != document.source.fingerprint:
                continue
            for track in document.tracks:
                sample = get_sample(track, entry.frame)
                if sample is None:
                    continue
                away = math.hypot(
                    (entry.x - sample.ellipse.cx) / sample.ellipse.rx, (entry.y - sample.ellipse.cy) / sample.ellipse.ry
                )
                if away < 0.7:
                    assigned[track.name] = entry.person
        return assigned

    def remember(self, document: TrackDocument, tracks: Mapping[str, Track], decided: Sequence[Decision]) -> None:
        """Replace the earlier decisions about this source. An editor's assignments stay.

        `tracks` are the document's tracks by name, before the decisions were applied.
        """
        source = document.source
        self.tracks = [t for t in self.tracks if t.fingerprint != source.fingerprint or t.by == EDITOR]
        for decision in decided:
            if decision.by_editor:
                continue
            samples = tracks[decision.track].samples
            middle = samples[len(samples) // 2]
            self.tracks.append(
                Assignment(
                    source.fingerprint,
                    source.file_name,
                    decision.track,
                    middle.source_frame,
                    round(middle.ellipse.cx, 1),
                    round(middle.ellipse.cy, 1),
                    decision.person,
                    MACHINE,
                    tuple(decision.clear),
                    decision.why,
                )
            )


def write_decisions(decisions: Decisions, path: Path) -> None:
    """Write the file in one step: `path` holds either all of it or its former content. Raises FaceBlurError."""
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "others": "clear" if decisions.others_clear else "covered",
        "references": decisions.references,
        "people": [{"name": name, "mode": mode.value} for name, mode in decisions.modes.items()],
        "tracks": [
            {
                "source": t.fingerprint,
                "file": t.file_name,
                "track": t.track,
                "at": [t.frame, t.x, t.y],
                "person": t.person,
                "by": t.by,
                "clear": [list(span) for span in t.clear],
                "why": t.why,
            }
            for t in decisions.tracks
        ],
    }
    part = None
    try:
        handle, part = tempfile.mkstemp(prefix=".faceblur-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            json.dump(content, stream, ensure_ascii=False, allow_nan=False, indent=1)
        Path(part).replace(path)
    except OSError as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        raise FaceBlurError(f"The people file {path} cannot be written: {error.strerror}.") from error


def read_decisions(path: Path) -> Decisions:
    """Read a people file. Raises FaceBlurError, which names the faulty part."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FaceBlurError(f"{path.name} is too large to be a people file.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FaceBlurError(f"{path.name} cannot be read as a people file: {str(error)[:200]}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("version") != VERSION:
        raise FaceBlurError(f"{path.name} is not a people file of this version.")
    others = _parse_text(content, "others")
    if others not in ("clear", "covered"):
        raise _wrong("others")
    modes = {}
    for person in _list_entries(content, "people"):
        mode, name = _parse_text(person, "mode"), _parse_text(person, "name")
        if mode not in [m.value for m in Mode] or not name or name in modes:
            raise _wrong("people")
        modes[name] = Mode(mode)
    return Decisions(
        others == "clear",
        _parse_text(content, "references"),
        modes,
        [_read_assignment(entry) for entry in _list_entries(content, "tracks")],
    )


def _read_assignment(entry: dict[str, Any]) -> Assignment:
    place = entry.get("at")
    if (
        not isinstance(place, list)
        or len(place) != 3
        or type(place[0]) is not int
        or not all(type(v) in (int, float) and abs(v) <= _FAR_PX for v in place)
    ):
        raise _wrong("at")
    clear = entry.get("clear")
    if (
        not isinstance(clear, list)
        or len(clear) > _MOST_ENTRIES
        or not all(isinstance(s, list) and len(s) == 2 and all(type(v) is int for v in s) for s in clear)
    ):
        raise _wrong("clear")
    by = _parse_text(entry, "by")
    if by not in (EDITOR, MACHINE):
        raise _wrong("by")
    return Assignment(
        _parse_text(entry, "source"),
        _parse_text(entry, "file"),
        _parse_text(entry, "track"),
        place[0],
        float(place[1]),
        float(place[2]),
        _parse_text(entry, "person"),
        by,
        tuple((a, b) for a, b in clear),
        _parse_text(entry, "why"),
    )


def _list_entries(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = content.get(key)
    if not isinstance(values, list) or len(values) > _MOST_ENTRIES or not all(isinstance(v, dict) for v in values):
        raise _wrong(key)
    return values


def _parse_text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    # JSON can hold halves of surrogate pairs, which cannot be written again.
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or value.encode("utf-8", "ignore").decode() != value:
        raise _wrong(key)
    return value


def _wrong(where: str) -> FaceBlurError:
    return FaceBlurError(f"The people file is damaged: '{where}' is wrong.")
