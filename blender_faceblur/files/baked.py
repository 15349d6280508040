# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the sources of baked films are. Projects only store a random key, because names and folders of uncovered films
can say who is in them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.types import FaceBlurError
from .paths import get_cache_folder


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A source: the file `path`, or the sequence of the pictures `files` in the folder `path`; and how the project
    wrote that path."""

    path: Path
    written: str
    files: tuple[str, ...] = ()


def remember_source(key: str, path: Path, written: str, files: Sequence[str] = ()) -> None:
    """Store where a source is, see `KnownSource`. Raises FaceBlurError if that fails."""
    stored = _read()
    stored[key] = [str(path), written, *files]
    place = _get_place()
    part = place.with_suffix(".part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(stored, file)
        part.replace(place)
    except OSError as error:
        raise FaceBlurError(f"The place of {path.name} cannot be stored in {place}: {error.strerror}.") from error


def recall_source(key: str) -> KnownSource | None:
    """Where a source is; None if that is not known here."""
    entry = _read().get(key)
    return KnownSource(Path(entry[0]), entry[1], tuple(entry[2:])) if entry is not None else None


def _read() -> dict[str, list[str]]:
    with suppress(OSError, ValueError):
        stored = json.loads(_get_place().read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return {
                key: entry
                for key, entry in stored.items()
                if isinstance(entry, list) and len(entry) >= 2 and all(isinstance(text, str) for text in entry)
            }
    return {}


def _get_place() -> Path:
    return get_cache_folder() / "baked.json"
