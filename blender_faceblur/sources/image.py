# SPDX-License-Identifier: GPL-3.0-or-later
"""Still pictures, read as Blender's image strip shows them: stored pixels, orientation tags ignored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..core.types import FaceBlurError, SourceInfo
from .base import FrameSource, Picture, fingerprint

_ORIENTATION = 0x0112
_UPRIGHT_TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
"""Degrees clockwise for the EXIF orientations; mirrored ones count like their unmirrored neighbours."""


class ImageSource(FrameSource):
    """One picture, one frame."""

    def __init__(self, path: Path) -> None:
        import cv2

        try:
            data = bytearray(path.read_bytes())
        except OSError as error:
            raise FaceBlurError(f"{path.name}: cannot be read ({error.strerror})") from None
        if _is_animated(data):
            raise FaceBlurError(f"{path.name}: an animated picture, Blender shows one frame at most; make it a film")
        warnings = []
        tag = find_orientation(data)
        if tag is not None:
            at, layout, orientation = tag
            if orientation != 1:
                self.upright_turn = _UPRIGHT_TURNS.get(orientation, 0)
                warnings.append("Blender ignores the orientation tag and shows the picture as its pixels lie; "
                                "the output keeps the tag")
            if data.startswith((b"II", b"MM")):
                # OpenCV turns TIFF pictures even when told not to (seen in 4.11 and 4.14).
                struct.pack_into(layout, data, at, 1)
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise FaceBlurError(f"{path.name}: the picture is damaged or of an unknown kind")
        if stored.dtype != np.uint8:
            warnings.append("more than 8 bits a colour: kept only if the output is written with as many")
        if stored.ndim == 3 and stored.shape[2] == 4:
            warnings.append("transparency: kept only if the output is written with it")
        if data.startswith((b"II", b"MM")) and _has_second_page(data):
            warnings.append("only the first of several pages is shown and written")
        # Colours below transparent places are looked at too: hiding them is not certain in every output.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        self._picture: Picture = picture
        self.info = SourceInfo(
            file_name=path.name,
            kind="image",
            width=picture.shape[1],
            height=picture.shape[0],
            frame_count=1,
            frame_rate=Fraction(25),
            fingerprint=fingerprint(path),
            warnings=tuple(warnings),
        )

    def frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        import cv2

        picture: Any = cv2.cvtColor(self._picture, cv2.COLOR_BGR2GRAY) if grey else self._picture
        if size is not None and size != (self.info.width, self.info.height):
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for source_frame in range(start, 1 if stop is None else stop):
            yield source_frame, picture


def _is_animated(data: bytearray) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"acTL" in data[: data.find(b"IDAT")]
    return data[8:12] == b"WEBP" and data[12:16] == b"VP8X" and bool(data[20] & 0x02)


def find_orientation(data: bytes | bytearray) -> tuple[int, str, int] | None:
    """Where the orientation tag's value lies, how it is packed (struct), and its value; None if there is none.

    TIFF 6.0 section 2 describes the directory, which EXIF embeds in JPEG (APP1), PNG (eXIf) and WebP (EXIF).
    """
    if data.startswith((b"II", b"MM")):
        base = 0
    elif data.startswith(b"\xff\xd8"):
        base = data.find(b"Exif\0\0") + 6
    elif data.startswith(b"\x89PNG"):
        base = data.find(b"eXIf") + 4
    else:
        base = data.find(b"EXIF") + 8
        if data[base : base + 6] == b"Exif\0\0":
            base += 6
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[base : base + 4]))
    if order is None:
        return None
    try:
        directory = base + struct.unpack_from(order + "I", data, base + 4)[0]
        for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
            at = directory + 2 + 12 * entry
            if struct.unpack_from(order + "H", data, at)[0] == _ORIENTATION:
                return at + 8, order + "H", struct.unpack_from(order + "H", data, at + 8)[0]
    except struct.error:
        return None
    return None


def _has_second_page(data: bytearray) -> bool:
    order = "<" if data.startswith(b"II") else ">"
    try:
        directory = struct.unpack_from(order + "I", data, 4)[0]
        entries = struct.unpack_from(order + "H", data, directory)[0]
        return bool(struct.unpack_from(order + "I", data, directory + 2 + 12 * entries)[0])
    except struct.error:
        return False
