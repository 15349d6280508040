# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program calls a track until an editor renames it."""

from __future__ import annotations

from ..types import TrackDocument, TrackKind, TrackStatus

_WORDS = {TrackKind.FACE: "Face", TrackKind.PLATE: "Plate", TrackKind.REGION: "Region", TrackKind.NEVER: "Never"}
_SUPPRESSED = "Perhaps"
_SUPPRESSED_WORDS = {TrackKind.FACE: _SUPPRESSED, TrackKind.PLATE: "Perhaps plate"}


def name_track(kind: TrackKind, status: TrackStatus, number: int, count: int = 0) -> str:
    """The name of the track of that number, from 1, of `count` that are alike: so that names sort like numbers."""
    word = _WORDS[kind] if status is not TrackStatus.SUPPRESSED else _SUPPRESSED_WORDS.get(kind, _SUPPRESSED)
    return f"{word} {number:0{max(2, len(str(count)))}}"


def choose_free_name(document: TrackDocument, kind: TrackKind, status: TrackStatus = TrackStatus.COVERED) -> str:
    """The next name for a track that no other has. Plates, which only an analysis calls so, are named as regions."""
    word = (
        _SUPPRESSED
        if status is TrackStatus.SUPPRESSED
        else _WORDS[kind if kind is TrackKind.FACE else TrackKind.REGION]
    )
    taken = {track.name for track in (*document.tracks, *document.aside)}
    number = 1 + sum(track.name.startswith(f"{word} ") for track in document.tracks)
    while f"{word} {number:02}" in taken:
        number += 1
    return f"{word} {number:02}"
