# SPDX-License-Identifier: GPL-3.0-or-later
"""Still pictures, read as Blender's image strip shows them: stored pixels, orientation tags ignored."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..core.types import FaceBlurError, SourceInfo
from .base import FrameSource, Picture, fingerprint


class ImageSource(FrameSource):
    """One picture, one frame."""

    def __init__(self, path: Path) -> None:
        import cv2

        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise FaceBlurError(f"{path.name}: cannot be read ({error.strerror})") from None
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        picture = cv2.imdecode(data, flags)
        if picture is None:
            raise FaceBlurError(f"{path.name}: the picture is damaged or of an unknown kind")
        self._picture: Picture = picture
        self.info = SourceInfo(
            file_name=path.name,
            kind="image",
            width=picture.shape[1],
            height=picture.shape[0],
            frame_count=1,
            frame_rate=Fraction(25),
            fingerprint=fingerprint(path),
            warnings=(),
        )

    def frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        import cv2

        picture = cv2.cvtColor(self._picture, cv2.COLOR_BGR2GRAY) if grey else self._picture
        if size is not None and size != (self.info.width, self.info.height):
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for source_frame in range(start, 1 if stop is None else stop):
            yield source_frame, picture
