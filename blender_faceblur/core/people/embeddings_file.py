# SPDX-License-Identifier: GPL-3.0-or-later
"""Face embeddings of a source, saved in the user's own folder if the editor asks for it, and read as untrusted data.

A file holds the tracks, and the frame, box, quality and embedding of each face crop. Its name is the source's
fingerprint. Embeddings identify people, so these files must not lie anywhere else. `forget_embeddings` removes all of
them.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..document.tracks_file import from_json, to_json
from ..types import Box, FaceBlurError, TrackDocument
from .similarity import FaceEmbedding

SCHEMA, VERSION = "faceblur-looks", 1
ENDING = ".looks.json"

_LENGTH = 128
# Limits for a file's content. A file that exceeds them is ignored as damaged.
_MOST_BYTES = 1 << 28
_MOST_EMBEDDINGS = 200_000
_FAR = 1e6
_FINGERPRINT = re.compile(r"[0-9a-f]{8,128}")

BoxEmbeddings = list[tuple[Box, FaceEmbedding]]


def write_embeddings(folder: Path, document: TrackDocument, embeddings: BoxEmbeddings, model: str) -> None:
    """Save the embeddings of a document's tracks, readable by this user only. `model` identifies the weights.

    Raises FaceBlurError where the file cannot be written.
    """
    if not _FINGERPRINT.fullmatch(document.source.fingerprint):
        raise FaceBlurError("The source's fingerprint is damaged. Run Detect Faces again.")
    path = folder / f"{document.source.fingerprint}{ENDING}"
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "model": model,
        "tracks": to_json(document),
        "looks": [
            [
                embedding.source_frame,
                *(round(float(edge), 1) for edge in box),
                round(embedding.quality, 4),
                [round(float(number), 5) for number in embedding.vector],
            ]
            for box, embedding in embeddings
        ],
    }
    part = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes a file that only this user can read, so it is private from the start.
        handle, part = tempfile.mkstemp(prefix=".", suffix=ENDING, dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            json.dump(content, stream, allow_nan=False, separators=(",", ":"))
        Path(part).replace(path)
    except OSError as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        raise FaceBlurError(f"The face embeddings cannot be saved in {folder}: {error.strerror}.") from error


def read_embeddings(folder: Path, fingerprint: str, model: str) -> tuple[TrackDocument, BoxEmbeddings] | None:
    """The saved embeddings of a source. None where there are none, or they are damaged or made with other weights."""
    # The fingerprint comes from a project, which is untrusted.
    if not _FINGERPRINT.fullmatch(fingerprint):
        return None
    path = folder / f"{fingerprint}{ENDING}"
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or [content.get(key) for key in ("schema", "version", "model")] != [
        SCHEMA,
        VERSION,
        model,
    ]:
        return None
    text, entries = content.get("tracks"), content.get("looks")
    if not isinstance(text, str) or not isinstance(entries, list) or len(entries) > _MOST_EMBEDDINGS:
        return None
    try:
        document = from_json(text)
    except FaceBlurError:
        return None
    embeddings = [_read_embedding(entry) for entry in entries]
    if document.source.fingerprint != fingerprint or None in embeddings:
        return None
    return document, [embedding for embedding in embeddings if embedding is not None]


def forget_embeddings(folder: Path | None) -> int:
    """Remove the saved embeddings of all projects. Returns the number of sources; raises FaceBlurError if any
    remain."""
    files = [path for path in folder.glob(f"*{ENDING}") if path.is_file()] if folder is not None else []
    try:
        for path in files:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise FaceBlurError(
            f"{folder} still holds face embeddings, which cannot be removed: {error.strerror}."
        ) from error
    if folder is not None:
        with suppress(OSError):
            folder.rmdir()
    return len(files)


def _read_embedding(entry: Any) -> tuple[Box, FaceEmbedding] | None:
    if not isinstance(entry, list) or len(entry) != 7 or type(entry[0]) is not int or entry[0] < 0:
        return None
    vector = entry[6]
    if not isinstance(vector, list) or len(vector) != _LENGTH:
        return None
    if not all(type(number) in (int, float) and abs(number) < _FAR for number in (*entry[1:6], *vector)):
        return None
    x1, y1, x2, y2, quality = (float(number) for number in entry[1:6])
    return (x1, y1, x2, y2), FaceEmbedding(entry[0], np.array(vector, np.float32), quality)
