# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a film or a still exactly as Blender's strip shows them, for analysis outside Blender."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from ..core.types import FaceBlurError
from .base import FrameSource, check_regular, fingerprint, sniff
from .image import ImageSource
from .movie import MovieFacts, MovieSource
from .sequence import SequenceSource, check_names, fingerprint_files
from .unchanged import SourceGuard

__all__ = [
    "FrameSource",
    "ImageSource",
    "MovieFacts",
    "MovieSource",
    "SequenceSource",
    "SourceGuard",
    "compute_fingerprint",
    "fingerprint",
    "open_source",
]


def compute_fingerprint(path: Path, files: Sequence[str] = ()) -> str:
    """The fingerprint of a film's or picture's content, or of the pictures `files` in a folder.

    Equals `open_source(...).info.fingerprint`, without decoding pictures. Raises FaceBlurError.
    """
    return fingerprint_files(path, files) if len(files) > 1 else fingerprint(path.joinpath(*files))


def open_source(
    path: Path,
    files: Sequence[str] = (),
    frame_rate: Fraction | None = None,
    timing: tuple[Fraction, int] | None = None,
) -> FrameSource:
    """Open a film or a picture, or with `files` the sequence of these pictures in the folder `path`.

    A file's content decides its type, not its name. A single name is the same as that picture. `frame_rate` is
    that of a sequence, which has none of its own; films and single pictures ignore it. For `timing` see `MovieSource`.
    Raises FaceBlurError, in one line, for anything that cannot be read; see also `FrameSource.blender_problem`.
    """
    path = Path(path).absolute()
    if len(files) > 1:
        return SequenceSource(path, files, frame_rate)
    check_names(files)
    path = path.joinpath(*files)
    try:
        if path.is_dir():
            raise FaceBlurError(f"{path.name}: this is a folder, not a film or a picture")
        check_regular(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
    except (FileNotFoundError, NotADirectoryError):
        raise FaceBlurError(f"{path}: no such file") from None
    except OSError as error:
        raise FaceBlurError(f"{path.name}: the file cannot be read ({error.strerror})") from None
    if not size:
        raise FaceBlurError(f"{path.name}: the file is empty")
    if sniff(head, path.name) == "image":
        return ImageSource(path)
    if files:
        raise FaceBlurError(f"{path.name}: this is not a readable picture")
    return MovieSource(path, timing)
