# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a film's decoded frames into the pictures that detectors and thumbnails use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError, Picture
from .streams import PQ

if TYPE_CHECKING:
    import av

_AREA = 0x20
_BILINEAR = 0x2
"""swscale flags (libswscale/swscale.h). Full chroma interpolation would cost 17 ms more at 1080p for half a level."""


class PictureConverter:
    """Turns decoded frames into pictures: BGR or grey, the requested size, the orientation that Blender shows."""

    def __init__(
        self,
        coded_size: tuple[int, int],
        form: str,
        rotation: int,
        size: tuple[int, int] | None,
        grey: bool,
        name: str,
    ) -> None:
        import cv2
        from av.video.reformatter import VideoReformatter

        self._coded_size, self._form, self._name = coded_size, form, name
        self._layout = "gray" if grey else "bgr24"
        shown_size = size or (coded_size[::-1] if rotation in (90, 270) else coded_size)
        self._size = shown_size[::-1] if rotation in (90, 270) else shown_size
        self._flags = _BILINEAR if self._size == coded_size else _AREA
        # One for each source, so that its scaling tables are computed once.
        self._reformatter = VideoReformatter()
        # Blender counts clockwise (ffmpeg_get_video_rotation).
        turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        self._turn = turns.get(rotation)
        self._rotate = cv2.rotate

    def __call__(self, frame: av.VideoFrame) -> Picture:
        check_alike(frame, self._coded_size, self._form, self._name)
        scaled = self._reformatter.reformat(
            frame, self._size[0], self._size[1], self._layout, interpolation=self._flags, threads=1
        )
        picture: Any = scaled.to_ndarray()
        if int(frame.color_trc) == PQ and picture.ndim == 3:
            picture = make_pq_table()[picture]
        if self._turn is not None:
            picture = self._rotate(picture, self._turn)
        return cast(Picture, picture)


def check_alike(frame: av.VideoFrame, size: tuple[int, int], form: str, name: str) -> None:
    """Raise FaceBlurError if a picture has another size or format than the first."""
    if (frame.width, frame.height) != size or frame.format.name != form:
        raise FaceBlurError(f"{name}: the picture's size or format changes midway, which Blender cannot show")


def make_pq_table() -> NDArray[np.uint8]:
    """From 8-bit PQ code values (SMPTE ST 2084) to sRGB with white at 203 cd/m2, brighter values clipped.

    PQ's own values are too flat for a detector. (ITU-R BT.2408 gives 203 cd/m2 for white.)
    """
    code = np.arange(256) / 255
    root = code ** (1 / 78.84375)
    nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    linear = np.clip(nits / 203, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table: NDArray[np.uint8] = np.round(255 * encoded).astype(np.uint8)
    return table
