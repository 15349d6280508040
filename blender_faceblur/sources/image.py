# SPDX-License-Identifier: GPL-3.0-or-later
"""Still pictures, read as Blender's image strip shows them: stored pixels, orientation tags ignored."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..core.types import FaceBlurError, Picture, SourceInfo
from .base import FrameSource, fingerprint

_ORIENTATION = 0x0112
_UPRIGHT_TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
"""Degrees clockwise for the EXIF orientations; a mirrored one counts like the same one without mirroring."""


class ImageSource(FrameSource):
    """One picture, one frame."""

    def __init__(self, path: Path) -> None:
        data = read_data(path)
        self._picture, self.upright_turn = decode_picture(data, path.name)
        self.info = SourceInfo(
            file_name=path.name,
            kind="image",
            width=self._picture.shape[1],
            height=self._picture.shape[0],
            frame_count=1,
            frame_rate=Fraction(25),
            fingerprint=fingerprint(path),
            warnings=tuple(list_losses(data)),
        )

    def frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        picture = scale_picture(self._picture, size, grey)
        for source_frame in range(start, 1 if stop is None else stop):
            yield source_frame, picture


def read_data(path: Path) -> bytes:
    """A picture file's bytes. Raises FaceBlurError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FaceBlurError(f"{path.name}: there is no such file in {path.parent}") from None
    except OSError as error:
        raise FaceBlurError(f"{path.name}: the file cannot be read ({error.strerror})") from None


def decode_picture(data: bytes, name: str) -> tuple[Picture, int]:
    """The picture that Blender shows for a file's bytes, and its `FrameSource.upright_turn`.

    Raises FaceBlurError, beginning with `name`, if Blender would show nothing, or only part of it.
    """
    import cv2

    if _is_animated(data):
        raise FaceBlurError(f"{name}: Blender shows only one frame of an animated picture; convert it to a film")
    # Colours of transparent pixels are analysed too: not every output hides them.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    tag = parse_orientation(data)
    if tag is not None and data.startswith((b"II", b"MM")):
        # OpenCV rotates TIFF pictures even with IMREAD_IGNORE_ORIENTATION (seen in 4.11 and 4.14).
        changed = bytearray(data)
        struct.pack_into(tag[1], changed, tag[0], 1)
        data = bytes(changed)
    picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if picture is None:
        raise FaceBlurError(f"{name}: the picture is damaged or has an unknown format")
    return picture, 0 if tag is None else _UPRIGHT_TURNS.get(tag[2], 0)


def list_losses(data: bytes, keeps_tag: bool = True) -> list[str]:
    """Sentences about properties of a picture that Blender does not show, or that an ordinary output does not keep.

    `keeps_tag`: whether the output will carry the orientation tag.
    """
    import cv2

    warnings = []
    tag = parse_orientation(data)
    if tag is not None and tag[2] != 1:
        warnings.append(
            "Blender ignores the orientation tag and shows the picture without rotation"
            + ("; the output keeps the tag" if keeps_tag else "")
        )
    stored: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is not None and stored.dtype != np.uint8:
        warnings.append("more than 8 bits per channel: kept only if the output has the same depth")
    if stored is not None and stored.ndim == 3 and stored.shape[2] == 4:
        warnings.append("transparency: kept only if the output has an alpha channel")
    if data.startswith((b"II", b"MM")) and _has_second_page(data):
        warnings.append("only the first of several pages is shown and written")
    return warnings


def scale_picture(picture: Picture, size: tuple[int, int] | None, grey: bool) -> Picture:
    """Convert a picture to the format that a call of `FrameSource.frames` requests."""
    import cv2

    changed: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if grey else picture
    if size is not None and size != (picture.shape[1], picture.shape[0]):
        changed = cv2.resize(changed, size, interpolation=cv2.INTER_AREA)
    return cast(Picture, changed)


def _is_animated(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"acTL" in data[: data.find(b"IDAT")]
    return data[8:12] == b"WEBP" and data[12:16] == b"VP8X" and bool(data[20] & 0x02)


def parse_orientation(data: bytes) -> tuple[int, str, int] | None:
    """The offset of the orientation tag's value, its packing (struct), and the value; None if there is no tag.

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


def _has_second_page(data: bytes) -> bool:
    order = "<" if data.startswith(b"II") else ">"
    try:
        directory = struct.unpack_from(order + "I", data, 4)[0]
        entries = struct.unpack_from(order + "H", data, directory)[0]
        return bool(struct.unpack_from(order + "I", data, directory + 2 + 12 * entries)[0])
    except struct.error:
        return False
