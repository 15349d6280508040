# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and delete films of earlier bakes, and their pieces, that no strip shows.

They are never deleted unasked: Undo, the project as it is on the disk, or a copy of it may still show them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from .baking import FOLDER
from .orders import KEY, list_strips, resolve_path

_PIECES = ".pieces"
_NAME = re.compile(r"([0-9a-f]{16})-[0-9a-f]{8}(-[0-9a-f]{8}(-\d+)?(\.\w+)?|\.pieces)")
"""What `baking` and `films` call films, folders of pictures, and pieces. The first part is a mask's key."""

_LOOK = 25
"""The length of a name's beginning that a film and its pieces share: the mask's key and a hash of the effect."""


@dataclass(frozen=True, slots=True)
class Unused:
    """Films and pieces that no strip of this project shows, their bytes, and the names of the projects beside this one.
    Copies of this project may show them."""

    paths: list[Path]
    size: int
    others: list[str]


def find_unused() -> Unused:
    """What can be deleted in the folder beside the project: only what was made for masks of this project, and not
    what it refers to."""
    project = Path(bpy.data.filepath).resolve()
    folder = project.parent / FOLDER
    keys = {str(mask[KEY]) for mask in bpy.data.masks if KEY in mask}
    shown = _list_shown()
    # Pieces are of use for the next correction as long as their film is shown.
    looks = {path.name[:_LOOK] for path in shown}
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else ():
        match = _NAME.fullmatch(path.name)
        if match is None or match[1] not in keys or path.is_symlink() or path in shown:
            continue
        if path.suffix != _PIECES or path.with_suffix("").name not in looks:
            found.append(path)
    others = [other.name for other in sorted(project.parent.glob("*.blend")) if not other.samefile(project)]
    return Unused(found, sum(_measure(path) for path in found), others if found else [])


def delete_unused(paths: Iterable[Path]) -> None:
    """Delete what `find_unused` found. Raises FaceBlurError for the first one that cannot be deleted."""
    for path in paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise FaceBlurError(
                translate("{path} cannot be deleted: {strerror}.", path=path, strerror=error.strerror)
            ) from error


def _list_shown() -> set[Path]:
    """All files that this project refers to, and the folders of the pictures of its strips, absolute."""
    shown: set[Path] = set()

    def visit(owner: bpy.types.ID, path: str, _: object) -> None:
        shown.add(Path(bpy.path.abspath(path, library=owner.library)).resolve())

    bpy.data.file_path_foreach(visit)
    for strip in list_strips():
        if strip.type == "IMAGE":
            folder = resolve_path(strip.directory).resolve()
            shown |= {folder, *(folder / element.filename for element in strip.elements)}
    return shown


def _measure(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
