# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored analyses, so that a source is not analysed again with the same settings and weights.

They hold the places and times of faces, and no pictures.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from ..core.document.tracks_file import read_document
from ..core.types import FaceBlurError, SourceInfo, TrackDocument

VERSION = 11
"""Increase it when the same source and settings give a different result."""

MOST_BYTES = 200_000_000


def name_stored(folder: Path, shape: list[object]) -> Path:
    """The file for one source and everything that affects its analysis (`shape`, as JSON values)."""
    return folder / (hashlib.sha256(json.dumps([VERSION, *shape]).encode()).hexdigest() + ".json")


def read_stored(path: Path, source: SourceInfo) -> TrackDocument | None:
    """The stored analysis of `source`; None where there is none or it is damaged."""
    if not path.is_file():
        return None
    with suppress(FaceBlurError):
        document = read_document(path)
        if document.source == source:
            return document
    return None


def store(path: Path, tracks: Path) -> None:
    """Store a copy of a tracks document. A failure is ignored: the next analysis only takes longer."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tracks, part)
        part.replace(path)
        _forget_oldest(path.parent)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def forget_all(folder: Path | None) -> int:
    """Remove all stored and unfinished analyses. Returns their number."""
    files = [path for path in folder.glob("*") if path.suffix in (".json", ".checkpoint")] if folder is not None else []
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)


def _forget_oldest(folder: Path) -> None:
    used = 0
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        used += path.stat().st_size
        if used > MOST_BYTES:
            with suppress(OSError):
                path.unlink()
