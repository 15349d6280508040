# SPDX-License-Identifier: GPL-3.0-or-later
"""The line in an output that identifies its source, its settings and its length for a later run.

It holds a hash and a number of frames, but no name, location or content of the source. It is written into the comment
of a film or picture before the output is verified and moved into place, so a file that carries it under its final name
was once complete. `--resume` counts its frames again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

_PATTERN = re.compile(r"faceblur:1:([0-9a-f]{64}):([0-9]{1,9})")


def make_record(fingerprint: str, settings: Mapping[str, str | int | float | bool], frames: int) -> str:
    """The line for a source's fingerprint, the settings that affect the output, and its number of frames."""
    return f"faceblur:1:{_hash(fingerprint, settings)}:{frames}"


def parse_frames(record: str, fingerprint: str, settings: Mapping[str, str | int | float | bool]) -> int | None:
    """How many frames the output must have, or None if the line belongs to another source or other settings."""
    match = _PATTERN.fullmatch(record)
    if match is None or match[1] != _hash(fingerprint, settings):
        return None
    return int(match[2])


def read_film_record(path: Path) -> str:
    """The comment of a film; empty if it has none, or is not a film."""
    import av

    try:
        with av.open(str(path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
    except (av.error.FFmpegError, OSError):
        return ""
    return str(tags.get("comment", ""))


def _hash(fingerprint: str, settings: Mapping[str, str | int | float | bool]) -> str:
    content = json.dumps([fingerprint, dict(settings)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()
