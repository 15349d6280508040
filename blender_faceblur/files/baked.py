# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the sources of baked films are. Projects only store a random key, because names and folders of uncovered films
can say who is in them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ..core.types import FaceBlurError
from .paths import get_cache_folder


def remember_source(key: str, path: Path, written: str) -> None:
    """Store the path of a source, and how the project wrote it. Raises FaceBlurError if that fails."""
    stored = _read()
    stored[key] = [str(path), written]
    place = _get_place()
    part = place.with_suffix(".part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(stored, file)
        part.replace(place)
    except OSError as error:
        raise FaceBlurError(f"The place of {path.name} cannot be stored in {place}: {error.strerror}.") from error


def recall_source(key: str) -> tuple[Path, str] | None:
    """The path of a source, and how the project wrote it; None if it is not known here."""
    entry = _read().get(key)
    return (Path(entry[0]), entry[1]) if entry is not None else None


def _read() -> dict[str, list[str]]:
    with suppress(OSError, ValueError):
        stored = json.loads(_get_place().read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return {
                key: entry
                for key, entry in stored.items()
                if isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
            }
    return {}


def _get_place() -> Path:
    return get_cache_folder() / "baked.json"
