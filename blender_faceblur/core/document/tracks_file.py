# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks document as JSON: written compactly, and read as untrusted data.

Version 3: an object with the `schema` "faceblur-tracks". A track has `spans` ([start, stop], half-open) and one column
per value over all frames of its spans: `cx`, `cy`, `rx`, `ry` in hundredths of a pixel, `angle` in ten-thousandths of a
radian, `confidence` in thousandths, and `evidence` as one letter per frame (d detected, f optical flow, i interpolated,
h extrapolated, l locked). `kind`, `locked` and `off` (ranges like spans) are there where they differ from the default,
and `sharpness`, in thousandths, where it was measured.
`tracks` holds the covered tracks. Each track in `uncovered` has a `status` and the members that belong to it
(`suppression`, `allowed_person`, `never_region`). `doubts` are the review items, each with a `reason`. The enums in
`types` list the possible values. Where only parts of the source were analysed, `analysed` holds their ranges. Documents
of versions 1 and 2 are converted by `migration`.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from ..detection.settings import MARGINS
from ..types import (
    Box,
    Ellipse,
    Evidence,
    FaceBlurError,
    ModelUse,
    ReviewItem,
    ReviewReason,
    Sample,
    Shot,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from .migration import migrate

SCHEMA, VERSION = "faceblur-tracks", 3
OLDEST = 1

_LETTERS = {
    Evidence.DETECTED: "d",
    Evidence.FLOW: "f",
    Evidence.INTERPOLATED: "i",
    Evidence.EXTRAPOLATED: "h",
    Evidence.LOCKED: "l",
}
_EVIDENCE = {letter: evidence for evidence, letter in _LETTERS.items()}
# Limits for a file's content. A file that exceeds them is refused as damaged.
_MOST_BYTES = 1 << 29
_MOST_FRAMES = 10_000_000
_MOST_ENTRIES = 100_000
_MOST_SIDE = 65_536
_MOST_SAMPLES = 20_000_000
_FAR_PX = 1_000_000
_LONGEST_TEXT = 2_000


_LINE = 200


def to_json(document: TrackDocument) -> str:
    """The document as one line of JSON."""
    source = document.source
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "source": {
            "file_name": source.file_name,
            "kind": source.kind,
            "width": source.width,
            "height": source.height,
            "frame_count": source.frame_count,
            "frame_rate": _from_fraction(source.frame_rate),
            "fingerprint": source.fingerprint,
            "pixel_aspect": _from_fraction(source.pixel_aspect),
            "variable_rate": source.variable_rate,
            "warnings": list(source.warnings),
        },
        "preset": document.preset,
        "expansion": document.margin,
        "models": [
            {"name": m.name, "sha256": m.sha256, "input_long_side": m.input_long_side, "threshold": m.threshold}
            for m in document.models
        ],
        "shots": [[s.start, s.stop, s.gradual] for s in document.shots],
        "doubts": [
            {
                "start": d.start,
                "stop": d.stop,
                "box": [round(float(v), 2) for v in d.box],
                "confidence": round(d.confidence, 3),
                "reason": d.reason,
                "track": d.track,
                **_from_detail(d),
            }
            for d in document.review_items
        ],
        "notes": list(document.notes),
        "people_notes": list(document.people_notes),
        "reviewed": list(document.reviewed),
        **({"analysed": [list(span) for span in document.analysed]} if document.analysed else {}),
    }
    tracks = (
        f'"{key}":[' + ",\n".join(map(_from_track, own)) + "]"
        for key, own in (("tracks", document.tracks), ("uncovered", document.uncovered))
    )
    return _dump(content)[:-1] + ",\n" + ",\n".join(tracks) + "}"


def _dump(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _dump_whole(numbers: list[int]) -> str:
    # Split into lines: the time that Blender takes to store a line grows with the square of its length.
    parts = (numbers[at : at + _LINE] for at in range(0, len(numbers), _LINE))
    return "[" + ",\n".join(",".join(map(str, part)) for part in parts) + "]"


def _from_fraction(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]


def _from_track(track: Track) -> str:
    ellipses = [s.ellipse for s in track.samples]
    unusual = {
        "kind": track.kind if track.kind is not TrackKind.FACE else None,
        "locked": track.locked or None,
        "off": [list(span) for span in track.off] or None,
        "status": track.status if track.status is not TrackStatus.COVERED else None,
        "suppression": {"reason": track.suppression.reason, **_from_detail(track.suppression)}
        if track.suppression is not None
        else None,
        "allowed_person": track.allowed_person or None,
        "never_region": track.never_region or None,
        "sharpness": None if track.sharpness is None else round(track.sharpness * 1000),
    }
    text = _dump(
        {
            "name": track.name,
            "spans": [list(span) for span in track.list_spans()],
            "evidence": "".join(_LETTERS[s.evidence] for s in track.samples),
            **{name: value for name, value in unusual.items() if value is not None},
        }
    )
    numbers = {
        "cx": [round(e.cx * 100) for e in ellipses],
        "cy": [round(e.cy * 100) for e in ellipses],
        # Rounded up, so that a file never covers less than the document. A value that was read is written unchanged.
        "rx": [math.ceil(round(e.rx * 100, 4)) for e in ellipses],
        "ry": [math.ceil(round(e.ry * 100, 4)) for e in ellipses],
        "angle": [round(e.angle * 10_000) for e in ellipses],
        "confidence": [round(s.confidence * 1000) for s in track.samples],
    }
    return text[:-1] + "".join(f',\n"{name}":{_dump_whole(values)}' for name, values in numbers.items()) + "}"


def _from_detail(why: Suppression | ReviewItem) -> dict[str, int | str]:
    detail: dict[str, int | str] = {
        "detected_frames": why.detected_frames,
        "searched_frames": why.searched_frames,
        "text": why.text,
    }
    return {name: value for name, value in detail.items() if value}


def from_json(text: str) -> TrackDocument:
    """Parse a tracks document. Raises FaceBlurError, which names the faulty part."""
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FaceBlurError(f"This is not a tracks document: {str(error)[:200]}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise FaceBlurError(f"This is not a tracks document: its schema is not '{SCHEMA}'.")
    version = content.get("version")
    if type(version) is not int or not OLDEST <= version <= VERSION:
        raise FaceBlurError(
            f"The tracks document has version {str(version)[:20]}; this program reads {OLDEST} to {VERSION}."
        )
    if version < VERSION:
        migrate(content)
    source = _to_source(_get_item(content, "source", dict))
    frames = source.frame_count
    margin = _parse_number(content, "expansion", MARGINS[0], MARGINS[1])
    tracks = [_to_track(t, frames) for t in _list_entries(content, "tracks", dict)]
    for track in tracks:
        # The list that holds a track decides whether it is covered.
        track.cover()
    aside = [_to_track(t, frames) for t in _list_entries(content, "uncovered", dict)]
    for track in aside:
        if track.status is TrackStatus.COVERED:
            track.status = TrackStatus.SUPPRESSED
    if sum(len(t.samples) for t in (*tracks, *aside)) > _MOST_SAMPLES:
        raise _wrong("tracks", "holds too many samples")
    return TrackDocument(
        source,
        _parse_text(content, "preset"),
        margin,
        [
            ModelUse(
                _parse_text(m, "name"),
                _parse_text(m, "sha256"),
                _parse_whole(m, "input_long_side", 1, _MOST_SIDE),
                _parse_number(m, "threshold", 0, 1),
            )
            for m in _list_entries(content, "models", dict)
        ],
        [_to_shot(s, frames) for s in _list_entries(content, "shots", list)],
        tracks,
        [_to_review_item(d, frames) for d in _list_entries(content, "doubts", dict)],
        [_check_text(n, "notes") for n in _list_entries(content, "notes", str)],
        aside,
        [_check_text(key, "reviewed") for key in _list_entries(content, "reviewed", str)],
        _to_ranges(content, "analysed", frames) if "analysed" in content else [],
        [_check_text(n, "people_notes") for n in _list_entries(content, "people_notes", str)],
    )


def write_document(document: TrackDocument, path: Path) -> None:
    """Write the document in one step: `path` holds either all of it or its former content. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=".faceblur-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(to_json(document))
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_document(path: Path) -> TrackDocument:
    """Read a tracks document. Raises FaceBlurError where it cannot be read or is damaged."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FaceBlurError(f"{path.name} is too large to be a tracks document.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FaceBlurError(f"The tracks document {path.name} cannot be read: {error}") from error
    return from_json(text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _wrong(where: str, what: str) -> FaceBlurError:
    return FaceBlurError(f"The tracks document is damaged: '{where}' {what}.")


def _get_item(content: dict[str, Any], key: str, kind: type) -> Any:
    value = content.get(key)
    if type(value) is not kind:
        raise _wrong(key, "is missing" if key not in content else "has the wrong type")
    return value


def _list_entries(content: dict[str, Any], key: str, kind: type) -> list[Any]:
    values = _get_item(content, key, list)
    if len(values) > _MOST_ENTRIES:
        raise _wrong(key, "is too long")
    if any(type(value) is not kind for value in values):
        raise _wrong(key, "holds an entry of the wrong type")
    return list(values)


def _parse_text(content: dict[str, Any], key: str) -> str:
    return _check_text(_get_item(content, key, str), key)


def _check_text(value: str, key: str) -> str:
    if len(value) > _LONGEST_TEXT:
        raise _wrong(key, "is too long")
    # A lone surrogate is valid JSON, but no file can be written with it.
    if value.encode("utf-8", "ignore").decode() != value:
        raise _wrong(key, "holds a character that does not exist")
    return value


E = TypeVar("E", bound=StrEnum)


def _parse_choice(content: dict[str, Any], key: str, kind: type[E]) -> E:
    value = _parse_text(content, key)
    if value not in list(kind):
        raise _wrong(key, f"is not one of {', '.join(kind)}")
    return kind(value)


def _to_detail(content: dict[str, Any]) -> tuple[int, int, str]:
    detected, searched = (
        _parse_whole(content, name, 0, _MOST_FRAMES) if name in content else 0
        for name in ("detected_frames", "searched_frames")
    )
    return detected, searched, _parse_text(content, "text") if "text" in content else ""


def _check_number(value: Any, key: str, low: float, high: float, whole: bool) -> Any:
    if type(value) not in ((int,) if whole else (int, float)) or not low <= value <= high:
        raise _wrong(key, f"is not a {'whole ' if whole else ''}number from {low} to {high}")
    return value


def _parse_whole(content: dict[str, Any], key: str, low: int, high: int) -> int:
    return int(_check_number(content.get(key), key, low, high, True))


def _parse_number(content: dict[str, Any], key: str, low: float, high: float) -> float:
    return float(_check_number(content.get(key), key, low, high, False))


def _parse_fraction(content: dict[str, Any], key: str) -> Fraction:
    pair = _get_item(content, key, list)
    if len(pair) != 2:
        raise _wrong(key, "is not a pair of numbers")
    over, under = (_check_number(v, key, 1, 10**12, True) for v in pair)
    return Fraction(over, under)


def _to_source(content: dict[str, Any]) -> SourceInfo:
    kind = _parse_text(content, "kind")
    if kind not in ("movie", "image", "sequence"):
        raise _wrong("kind", "is neither movie nor image nor sequence")
    return SourceInfo(
        _parse_text(content, "file_name"),
        kind,
        _parse_whole(content, "width", 1, _MOST_SIDE),
        _parse_whole(content, "height", 1, _MOST_SIDE),
        _parse_whole(content, "frame_count", 1, _MOST_FRAMES),
        _parse_fraction(content, "frame_rate"),
        _parse_text(content, "fingerprint"),
        _parse_fraction(content, "pixel_aspect"),
        _get_item(content, "variable_rate", bool),
        tuple(_check_text(w, "warnings") for w in _list_entries(content, "warnings", str)),
    )


def _to_range(pair: list[Any], key: str, frames: int) -> tuple[int, int]:
    start = _check_number(pair[0], key, 0, frames - 1, True)
    return start, _check_number(pair[1], key, start + 1, frames, True)


def _to_shot(content: list[Any], frames: int) -> Shot:
    if len(content) != 3 or type(content[2]) is not bool:
        raise _wrong("shots", "holds an entry that is not [start, stop, gradual]")
    start, stop = _to_range(content, "shots", frames)
    return Shot(start, stop, content[2])


def _to_review_item(content: dict[str, Any], frames: int) -> ReviewItem:
    start, stop = _to_range([content.get("start"), content.get("stop")], "doubts", frames)
    values = _list_entries(content, "box", float) if content.get("box") else []
    if len(values) != 4:
        raise _wrong("box", "is not four numbers")
    box: Box = tuple(_check_number(v, "box", -_FAR_PX, _FAR_PX, False) for v in values)
    return ReviewItem(
        start,
        stop,
        box,
        _parse_number(content, "confidence", 0, 1),
        _parse_choice(content, "reason", ReviewReason),
        _parse_text(content, "track") if "track" in content else "",
        *_to_detail(content),
    )


def _to_track(content: dict[str, Any], frame_count: int) -> Track:
    frames = [frame for span in _to_ranges(content, "spans", frame_count) for frame in range(*span)]
    columns = [
        _parse_column(content, "cx", len(frames), -_FAR_PX * 100, _FAR_PX * 100),
        _parse_column(content, "cy", len(frames), -_FAR_PX * 100, _FAR_PX * 100),
        _parse_column(content, "rx", len(frames), 1, _FAR_PX * 100),
        _parse_column(content, "ry", len(frames), 1, _FAR_PX * 100),
        _parse_column(content, "angle", len(frames), -10_000_000, 10_000_000),
        _parse_column(content, "confidence", len(frames), 0, 1000),
    ]
    letters = _get_item(content, "evidence", str)
    if len(letters) != len(frames) or not set(letters) <= set(_EVIDENCE):
        raise _wrong("evidence", "does not fit the spans")
    suppression = _get_item(content, "suppression", dict) if "suppression" in content else None
    return Track(
        _parse_text(content, "name"),
        [
            Sample(
                frame, Ellipse(cx / 100, cy / 100, rx / 100, ry / 100, angle / 10_000), _EVIDENCE[letter], sure / 1000
            )
            for frame, cx, cy, rx, ry, angle, sure, letter in zip(frames, *columns, letters, strict=True)
        ],
        _parse_choice(content, "kind", TrackKind) if "kind" in content else TrackKind.FACE,
        _get_item(content, "locked", bool) if "locked" in content else False,
        _to_ranges(content, "off", frame_count) if "off" in content else [],
        _parse_choice(content, "status", TrackStatus) if "status" in content else TrackStatus.COVERED,
        Suppression(_parse_choice(suppression, "reason", SuppressionReason), *_to_detail(suppression))
        if suppression is not None
        else None,
        _parse_text(content, "allowed_person") if "allowed_person" in content else "",
        _parse_text(content, "never_region") if "never_region" in content else "",
        _parse_whole(content, "sharpness", 0, 1000) / 1000 if "sharpness" in content else None,
    )


def _to_ranges(content: dict[str, Any], key: str, frame_count: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for pair in _list_entries(content, key, list):
        if len(pair) != 2:
            raise _wrong(key, "holds an entry that is not [start, stop]")
        start, stop = _to_range(pair, key, frame_count)
        if ranges and start < ranges[-1][1]:
            raise _wrong(key, "is not in order")
        ranges.append((start, stop))
    return ranges


def _parse_column(content: dict[str, Any], key: str, count: int, low: int, high: int) -> list[int]:
    values: list[int] = _get_item(content, key, list)
    if len(values) != count:
        raise _wrong(key, "does not fit the spans")
    if values and (set(map(type, values)) != {int} or min(values) < low or max(values) > high):
        raise _wrong(key, f"holds a value that is not a whole number from {low} to {high}")
    return values
