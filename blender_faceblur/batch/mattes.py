# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the mattes of a run go: a film, a picture, or a folder of pictures, which are complete once they have their
names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..core.types import FaceBlurError, SourceInfo, TrackDocument
from ..files.workplace import Workplace, place_file
from ..painting.mattes import FILM_FORMATS, list_coverages, write_matte_film, write_matte_picture, write_matte_pictures

_PICTURE = re.compile(r".*\.[0-9]{6}\.png")


def is_sequence(place: Path) -> bool:
    """Whether mattes at this path are a folder of pictures."""
    return place.suffix.lower() not in (*FILM_FORMATS, ".png")


def holds_sequence(place: Path) -> bool:
    return place.is_dir() and any(map(_PICTURE.fullmatch, (path.name for path in place.iterdir())))


def choose_place(place: Path, info: SourceInfo) -> Path:
    """The path for a source's mattes: a picture has one, in a file."""
    return place.with_suffix(".png") if info.kind == "image" and place.suffix.lower() != ".png" else place


def check(place: Path, info: SourceInfo, overwrite: bool) -> None:
    """Raise FaceBlurError, before the long work, where mattes cannot have that name."""
    if info.kind != "image" and place.suffix.lower() == ".png":
        raise FaceBlurError(f"{place}: the mattes of a film are many pictures. Name a folder, and --matte-format png.")
    if not is_sequence(place):
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceBlurError(f"The folder {place.parent} cannot be written to: {error.strerror}.") from error
    if not place.exists():
        return
    if not place.is_dir():
        raise FaceBlurError(f"{place} is a file. Name a folder for the mattes, or end the name with .mkv or .mov.")
    others = [path.name for path in place.iterdir() if not _PICTURE.fullmatch(path.name)]
    if others:
        raise FaceBlurError(f"{place} holds other files, such as {others[0]}. Name an empty folder for the mattes.")
    if not overwrite and any(place.iterdir()):
        raise FaceBlurError(f"{place} already holds mattes. Use --overwrite to replace them.")


def save(
    document: TrackDocument, place: Path, workplace: Workplace, overwrite: bool, on_progress: Callable[[int], None]
) -> None:
    """Write the mattes beside their place, then move them there. Raises FaceBlurError if that fails."""
    if is_sequence(place):
        _save_sequence(document, place, workplace, on_progress)
        return
    part = workplace.name_part(place, place.suffix.lower())
    try:
        if place.suffix.lower() == ".png":
            write_matte_picture(next(list_coverages(document)), part)
        else:
            write_matte_film(document, part, on_progress)
        place_file(part, place, overwrite)
    finally:
        workplace.remove_part(part)


def _save_sequence(
    document: TrackDocument, place: Path, workplace: Workplace, on_progress: Callable[[int], None]
) -> None:
    part = workplace.make_part_folder(place)
    try:
        write_matte_pictures(document, part, place.stem.removesuffix(".matte"), on_progress)
        place.mkdir(parents=True, exist_ok=True)
        # `check` has seen that there is nothing else; fewer frames than before must leave none of the old ones.
        for path in place.iterdir():
            if _PICTURE.fullmatch(path.name):
                path.unlink()
        for path in sorted(part.iterdir()):
            path.replace(place / path.name)
    except OSError as error:
        raise FaceBlurError(f"{place} cannot be written: {error.strerror}.") from error
    finally:
        workplace.remove_part(part)
