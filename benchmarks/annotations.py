# SPDX-License-Identifier: GPL-3.0-or-later
"""The annotated faces of a clip, read from faces.json and from benchmarks/truth.

A dense run there is annotated by hand: boxes at key frames, straight lines between them, and every frame checked. Its
file states its clip (by SHA-256), the clip's origin and how the run was made. truth/others has some frames of clips
from other sources. docs/measuring.md describes the formats.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blender_faceblur.core.types import Box, Ellipse, FaceBlurError

DENSE = Path(__file__).resolve().parent / "truth"
OTHERS = DENSE / "others" / "clips.json"
CLEAR, HARD, IGNORE = "clear", "hard", "ignore"
_KINDS = {"faces": CLEAR, "hard": HARD, "ignore": IGNORE}


@dataclass(frozen=True, slots=True)
class TrueFace:
    """A face in one frame; `who` distinguishes people within a clip (0: not annotated)."""

    kind: str
    ellipse: Ellipse
    who: int = 0


@dataclass(frozen=True, slots=True)
class Truth:
    """The faces of a clip by frame. In a `dense` one no frame between the first and the last is missing."""

    name: str
    frames: dict[int, list[TrueFace]]
    dense: bool = False
    people: dict[int, str] = field(default_factory=dict)


def read_sparse(path: Path) -> dict[str, Truth]:
    """The clips of a faces.json by file name. Raises FaceBlurError if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {clip: _to_truth(clip, frames) for clip, frames in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise FaceBlurError(f"{path} cannot be read as annotated faces: {error}") from error


def read_others(path: Path = OTHERS) -> dict[str, Truth]:
    """Some frames of clips from other sources, by the clips' SHA-256. Raises FaceBlurError if the file is invalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {clip["sha256"]: _to_truth(clip["clip"], clip["frames"]) for clip in content["clips"]}
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise FaceBlurError(f"{path} cannot be read as annotated faces: {error!r}") from error


def _to_truth(clip: str, frames: dict[str, dict[str, list[list[float]]]]) -> Truth:
    return Truth(
        clip,
        {
            int(frame): [
                TrueFace(kind, Ellipse.inscribed(to_box(box)))
                for key, kind in _KINDS.items()
                for box in kinds.get(key, [])
            ]
            for frame, kinds in frames.items()
        },
    )


def read_dense(path: Path) -> tuple[str, str, Truth]:
    """A dense run: the clip's file name, its SHA-256, and the faces. Raises FaceBlurError if the file is invalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        first, stop = content["frames"]
        frames: dict[int, list[TrueFace]] = {frame: [] for frame in range(first, stop)}
        people = {}
        for number, face in enumerate(content["faces"], 1):
            people[number] = face["who"]
            for frame, kind, box in fill_keys(face["keys"]):
                frames[frame].append(TrueFace(kind, Ellipse.inscribed(box), number))
        for x1, y1, x2, y2 in content["ignore"]:
            for faces in frames.values():
                faces.append(TrueFace(IGNORE, Ellipse.inscribed((x1, y1, x2, y2))))
        return content["clip"], content["sha256"], Truth(f"{content['clip']} {path.stem}", frames, True, people)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FaceBlurError(f"{path} cannot be read as a dense run: {error!r}") from error


def list_dense(clip: Path, folder: Path = DENSE) -> list[Truth]:
    """The dense runs of exactly this file."""
    runs = [read_dense(path) for path in sorted(folder.glob("*.json"))]
    named = [run for run in runs if run[0] == clip.name]
    if not named:
        return []
    digest = compute_digest(clip)
    return [truth for _, sha256, truth in named if sha256 == digest]


def compute_digest(clip: Path) -> str:
    """A file's SHA-256, hexadecimal."""
    with clip.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill_keys(keys: list[list[Any]]) -> list[tuple[int, str, Box]]:
    """Frame, kind and box of every frame from [frame, kind, x1, y1, x2, y2], straight lines between the keys.

    A key's kind holds until the next key. Kind "gone" ends a run; its own frame no longer has a face.
    """
    filled: list[tuple[int, str, Box]] = []
    for key, later in zip(keys, [*keys[1:], None], strict=True):
        frame, kind = key[:2]
        if kind == "gone":
            continue
        if kind not in (CLEAR, HARD, IGNORE):
            raise ValueError(f"there is no kind {kind!r}")
        box = to_box(key[2:])
        if later is None:
            filled.append((frame, kind, box))
            continue
        if later[0] <= frame:
            raise ValueError(f"frame {later[0]} must not follow frame {frame}")
        goal = box if later[1] == "gone" else to_box(later[2:])
        for between in range(frame, later[0]):
            part = (between - frame) / (later[0] - frame)
            x1, y1, x2, y2 = ((1 - part) * a + part * b for a, b in zip(box, goal, strict=True))
            filled.append((between, kind, (x1, y1, x2, y2)))
    return filled


def to_box(values: list[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in values)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"{values} is not a box")
    return x1, y1, x2, y2
