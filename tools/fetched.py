# SPDX-License-Identifier: GPL-3.0-or-later
"""Remembers verified weights, so that a later start needs no process to check them. For Python 3.8+."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def is_fetched(root: Path, arguments: list[str]) -> bool:
    """Whether `tools.models` ran with these arguments, found everything, and no file has changed since.

    Workers check the SHA-256 of each file again before they use it.
    """
    files = _read(_record(root)).get(" ".join(arguments), {})
    return bool(files) and all(_describe(Path(path)) == state for path, state in files.items())


def remember_fetched(root: Path, arguments: list[str], files: list[Path]) -> None:
    """Record that these files satisfy the arguments. If the record cannot be written, the next start checks again."""
    record = _record(root)
    content = _read(record)
    content[" ".join(arguments)] = {str(path): _describe(path) for path in files}
    try:
        record.parent.mkdir(exist_ok=True)
        part = record.with_name("{}.{}".format(record.name, os.getpid()))
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(record)
    except OSError:
        return


def _record(root: Path) -> Path:
    # Another list of weights, or another folder for them, has a separate record.
    listed = (root / "models" / "models.toml").read_bytes() + os.environ.get("FACEBLUR_MODELS", "").encode()
    return root / ".env" / "weights-{}.json".format(hashlib.sha256(listed).hexdigest()[:12])


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _describe(path: Path) -> list[int]:
    """Size and modification time; empty if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
