# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that the program gives to tracks. An editor can rename them."""

from __future__ import annotations

from ..types import TrackDocument, TrackKind, TrackStatus

_WORDS = {
    TrackKind.FACE: "Face",
    TrackKind.PLATE: "Plate",
    TrackKind.TEXT: "Text",
    TrackKind.REGION: "Region",
    TrackKind.NEVER: "Never",
}
_SUPPRESSED = "Ignored"
_SUPPRESSED_WORDS = {TrackKind.FACE: _SUPPRESSED, TrackKind.PLATE: "Ignored plate", TrackKind.TEXT: "Ignored text"}


def name_track(kind: TrackKind, status: TrackStatus, number: int, count: int = 0) -> str:
    """The name of track `number` (from 1) of `count`, padded with zeros so that names sort like numbers."""
    word = _WORDS[kind] if status is not TrackStatus.SUPPRESSED else _SUPPRESSED_WORDS.get(kind, _SUPPRESSED)
    return f"{word} {number:0{max(2, len(str(count)))}}"


def choose_free_name(document: TrackDocument, kind: TrackKind, status: TrackStatus = TrackStatus.COVERED) -> str:
    """The next free name for a track. Plates and text get that of a region: only an analysis names tracks "Plate" or
    "Text"."""
    word = (
        _SUPPRESSED
        if status is TrackStatus.SUPPRESSED
        else _WORDS[kind if kind is TrackKind.FACE else TrackKind.REGION]
    )
    taken = {track.name for track in (*document.tracks, *document.uncovered)}
    number = 1 + sum(track.name.startswith(f"{word} ") for track in document.tracks)
    while f"{word} {number:02}" in taken:
        number += 1
    return f"{word} {number:02}"
