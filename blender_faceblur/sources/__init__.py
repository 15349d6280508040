# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of a film or a still exactly as Blender's strip shows them, for analysis outside of Blender."""

from __future__ import annotations

from pathlib import Path

from ..core.types import FaceBlurError
from .base import FrameSource, fingerprint, sniff
from .image import ImageSource
from .movie import MovieSource

__all__ = ["FrameSource", "ImageSource", "MovieSource", "fingerprint", "open_source"]


def open_source(path: Path) -> FrameSource:
    """Open a film or a picture; its content decides which, not its name.

    Raises FaceBlurError, in one line, for whatever Blender could not show or would show unpredictably.
    """
    path = Path(path).absolute()
    try:
        if path.is_dir():
            raise FaceBlurError(f"{path.name}: is a folder, not a film or a picture")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise FaceBlurError(f"{path}: no such file") from None
    except OSError as error:
        raise FaceBlurError(f"{path.name}: cannot be read ({error.strerror})") from None
    if not size:
        raise FaceBlurError(f"{path.name}: the file is empty")
    if sniff(head, path.name) == "image":
        return ImageSource(path)
    return MovieSource(path)
