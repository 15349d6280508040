# SPDX-License-Identifier: GPL-3.0-or-later
"""Analyses kept for the next time: the same source with the same settings and weights is not looked at twice.

A stored analysis holds places and times of faces, and no picture.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

VERSION = 1
"""Counts up when the same source and settings give another result."""

MOST_BYTES = 200_000_000


def name_analysis(fingerprint: str, preset: str, expansion: float, weights: dict[str, str]) -> str:
    """A file name for one source and all that shapes what is found in it. `weights` are SHA-256 by model."""
    shape = [VERSION, fingerprint, preset, expansion, sorted(weights.items())]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest() + ".json"


def store_analysis(folder: Path, name: str, tracks: Path) -> None:
    """Keep a copy of the tracks document. Where it cannot be kept nothing is lost, so that is no error."""
    part = folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tracks, part)
        part.replace(folder / name)
        _forget_oldest(folder)
    except OSError:
        part.unlink(missing_ok=True)


def forget_analyses(folder: Path) -> int:
    """Remove all stored analyses; how many there were."""
    files = list(folder.glob("*.json"))
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    used = 0
    for path in files:
        used += path.stat().st_size
        if used > MOST_BYTES:
            with suppress(OSError):
                path.unlink()
