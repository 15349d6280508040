# SPDX-License-Identifier: GPL-3.0-or-later
"""Still pictures, read as Blender's image strip shows them: stored pixels, orientation tags ignored."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError, Picture, SourceInfo
from .base import FrameSource, check_regular, fingerprint
from .conversion import make_pq_table
from .heif import decode_heif, is_heif, parse_heif
from .streams import PQ

_ORIENTATION = 0x0112
_UPRIGHT_TURNS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
"""Degrees clockwise for the EXIF orientations; a mirrored one counts like the same one without mirroring."""

_MOST_PIXELS = 1 << 28
"""16384 x 16384, more than any camera takes. Blender and OpenCV need about 17 bytes for each pixel of a picture (15 GB
were measured at 30000 x 30000), so the largest one needs 4.6 GB."""
_MOST_SIDE = 65_536
"""The longest side that Blender renders, and that a tracks document may have."""
_MOST_BYTES = (1 << 31) - 1
"""The longest buffer that OpenCV decodes."""
_STARTS = {b"\xff\xd8": "JPEG", b"\x89PNG": "PNG", b"II": "TIFF", b"MM": "TIFF", b"BM": "BMP"}
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WebP",
}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_NO_MEMORY = -4
"""OpenCV's code of an error that says that there is not enough memory."""
_SILENCED = Lock()
"""The error output belongs to the whole process."""


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
            warnings=() if is_heif(data) else tuple(list_losses(data, path.name)),
        )
        self.blender_losses = self.info.warnings
        if is_heif(data):
            self.blender_problem = (
                f"{path.name}: Blender does not show HEIC and AVIF pictures; convert it to PNG or JPEG"
            )

    def read_frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        picture = scale_picture(self._picture, size, grey)
        for source_frame in range(start, 1 if stop is None else stop):
            yield source_frame, picture


def read_data(path: Path) -> bytes:
    """A picture file's bytes. Raises FaceBlurError, also for a file that is too large to be decoded."""
    try:
        check_regular(path)
        if path.stat().st_size > _MOST_BYTES:
            raise FaceBlurError(f"{path.name}: the file is too large for a picture")
        return path.read_bytes()
    except FileNotFoundError:
        raise FaceBlurError(f"{path.name}: there is no such file in {path.parent}") from None
    except OSError as error:
        raise FaceBlurError(f"{path.name}: the file cannot be read ({error.strerror})") from None
    except MemoryError:
        raise FaceBlurError(f"{path.name}: there is not enough memory to read the picture") from None


def decode_picture(data: bytes, name: str) -> tuple[Picture, int]:
    """The picture that Blender shows for a file's bytes, and its `FrameSource.upright_turn`.

    Of HEIC and AVIF, which Blender does not show, the stored one, in which PQ is converted as in films.

    Raises FaceBlurError, beginning with `name`, if Blender would show nothing, or only part of it. A picture that
    claims too many pixels is refused before it is decoded: a small file can ask for any amount of memory and time.
    """
    import cv2

    check_size(data, name)
    if is_heif(data):
        return _decode_heif(data, name)
    if _is_animated(data):
        raise FaceBlurError(f"{name}: Blender shows only one frame of an animated picture; convert it to a film")
    # Colours of transparent pixels are analysed too: not every output hides them.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    tag = parse_orientation(data)
    return _decode(_remove_rotation(data), flags, name), 0 if tag is None else _UPRIGHT_TURNS.get(tag[2], 0)


def check_size(data: bytes, name: str) -> None:
    """Raise FaceBlurError, beginning with `name`, if a picture's header claims too many pixels."""
    size = read_size(data)
    if size is not None and (size[0] * size[1] > _MOST_PIXELS or max(size) > _MOST_SIDE):
        raise FaceBlurError(
            f"{name}: the picture is too large ({size[0]} x {size[1]}); at most "
            f"{_MOST_PIXELS / 1e6:.0f} million pixels are possible, and {_MOST_SIDE} on a side"
        )


def _decode_heif(data: bytes, name: str) -> tuple[Picture, int]:
    parsed = parse_heif(data, name)
    frame = decode_heif(parsed, name)[0]
    picture: Any = frame.to_ndarray(format="bgr24")
    if int(frame.color_trc) == PQ:
        picture = make_pq_table()[picture]
    return cast(Picture, picture), parsed.upright_turn


def decode_unchanged(data: bytes, name: str) -> NDArray[Any]:
    """The picture in its own depth, without rotation: height x width, for grey, or x 3 or 4 (BGR and alpha).

    OpenCV multiplies the colours of TIFF pictures of 8 bits by their alpha. Raises FaceBlurError, beginning with
    `name`, if the picture cannot be decoded.
    """
    import cv2

    return _decode(_remove_rotation(data), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION, name)


def _remove_rotation(data: bytes) -> bytes:
    """The file's bytes with an orientation tag that OpenCV does not follow."""
    tag = parse_orientation(data)
    if tag is None or not data.startswith((b"II", b"MM")):
        return data
    # OpenCV rotates TIFF pictures even with IMREAD_IGNORE_ORIENTATION (seen in 4.11 and 4.14).
    changed = bytearray(data)
    struct.pack_into(tag[1], changed, tag[0], 1)
    return bytes(changed)


@contextmanager
def _silence() -> Iterator[None]:
    """Discard what libpng and libjpeg write about damaged pictures: each failure is reported in one line, by us."""
    with _SILENCED:
        try:
            kept = os.dup(2)
        except OSError:
            # A windowed program on Windows has no error output.
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _decode(data: bytes, flags: int, name: str) -> NDArray[Any]:
    import cv2

    try:
        with _silence():
            picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        if isinstance(error, MemoryError) or getattr(error, "code", 0) == _NO_MEMORY:
            raise FaceBlurError(f"{name}: there is not enough memory to decode the picture") from None
        picture = None
    if picture is None:
        raise FaceBlurError(f"{name}: the picture is damaged or has an unknown format")
    return cast(NDArray[Any], picture)


def read_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by a picture's header, without decoding; None where the header cannot be read."""
    try:
        if data.startswith(b"\x89PNG"):
            return cast(tuple[int, int], struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8"):
            frame = _read_jpeg_frame(data)
            return (frame[0], frame[1]) if frame is not None else None
        if data.startswith(b"BM"):
            # The first header of OS/2 has 12 bytes. In all others a negative height means rows from the top.
            old = struct.unpack_from("<I", data, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
            return abs(width), abs(height)
        if data.startswith((b"II", b"MM")):
            return _read_tiff_size(data)
        if is_heif(data):
            return _read_heif_size(data)
        if data[8:16] == b"WEBPVP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    except struct.error:
        return None
    # The size fields of other WebP pictures have 14 bits.
    return None


def _read_jpeg_frame(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and number of channels; None where the frame header is missing.

    ITU-T T.81, B.2.2: it begins with one of the markers SOF0 to SOF15.
    """
    at = data.find(b"\xff", 2)
    while 0 <= at < len(data) - 9:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, channels = struct.unpack_from(">HHB", data, at + 5)
            return width, height, channels
        alone = marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8
        at = data.find(b"\xff", at + 2 + (0 if alone else struct.unpack_from(">H", data, at + 2)[0]))
    return None


def _read_tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data.startswith(b"II") else ">"
    directory = struct.unpack_from(order + "I", data, 4)[0]
    sizes = {}
    for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
        tag, kind = struct.unpack_from(order + "HH", data, directory + 2 + 12 * entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            sizes[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, directory + 10 + 12 * entry)[0]
    return (sizes[_TIFF_WIDTH], sizes[_TIFF_HEIGHT]) if len(sizes) == 2 else None


def _read_heif_size(data: bytes) -> tuple[int, int] | None:
    try:
        parsed = parse_heif(data, "")
    except FaceBlurError:
        return None
    return parsed.width, parsed.height


def list_losses(data: bytes, name: str, keeps_tag: bool = True) -> list[str]:
    """Sentences about properties of a picture that Blender does not show, or that an ordinary output does not keep.

    `keeps_tag`: whether the output will carry the orientation tag. Raises FaceBlurError, beginning with `name`, if the
    picture cannot be decoded.
    """
    import cv2

    warnings = []
    tag = parse_orientation(data)
    if tag is not None and tag[2] != 1:
        warnings.append(
            "Blender ignores the orientation tag and shows the picture without rotation"
            + ("; the output keeps the tag" if keeps_tag else "")
        )
    stored = _decode(data, cv2.IMREAD_UNCHANGED, name)
    written, known = _name_format(data), _FORMATS.get(Path(name).suffix.lower())
    if known is not None and written != known:
        warnings.append(f"this is a {written} picture, but it is written as {known}, as its name ends in that way")
    if stored.dtype != np.uint8 and stored.ndim == 2:
        warnings.append("more than 8 bits of grey are written with four channels (RGBA)")
    if stored.dtype != np.uint8:
        warnings.append("more than 8 bits per channel: kept only if the output has the same depth")
    if stored.ndim == 3 and stored.shape[2] == 4:
        warnings.append("transparency: kept only if the output has an alpha channel")
    if data.startswith((b"II", b"MM")) and has_second_page(data):
        warnings.append("only the first of several pages is shown and written")
    if data.startswith(b"\xff\xd8"):
        frame = _read_jpeg_frame(data)
        if frame is not None and frame[2] == 4:
            warnings.append("CMYK colours are written as RGB")
        if has_film(data):
            warnings.append("the film in this motion photo is not covered and not written")
    return warnings


def _name_format(data: bytes) -> str:
    return next((name for start, name in _STARTS.items() if data.startswith(start)), "WebP")


def has_film(data: bytes) -> bool:
    """Whether an MP4 film follows the picture, as in the motion photos of several phones."""
    at = data.find(b"ftyp")
    while at >= 0:
        # The box begins with its length, and holds short names of formats (ISO/IEC 14496-12, 4.3).
        if at >= 4 and 16 <= int.from_bytes(data[at - 4 : at]) <= 128 and data[at + 4 : at + 8].isalnum():
            return True
        at = data.find(b"ftyp", at + 1)
    return False


def scale_picture(picture: Picture, size: tuple[int, int] | None, grey: bool) -> Picture:
    """Convert a picture to the format that a call of `FrameSource.read_frames` requests."""
    import cv2

    changed: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if grey else picture
    if size is not None and size != (picture.shape[1], picture.shape[0]):
        changed = cv2.resize(changed, size, interpolation=cv2.INTER_AREA)
    return cast(Picture, changed)


def _is_animated(data: bytes) -> bool:
    if data.startswith(b"\x89PNG"):
        return b"acTL" in data[: data.find(b"IDAT")]
    return data[8:12] == b"WEBP" and data[12:16] == b"VP8X" and bool(int.from_bytes(data[20:21]) & 0x02)


def parse_orientation(data: bytes) -> tuple[int, str, int] | None:
    """The offset of the orientation tag's value, its packing (struct), and the value; None if there is no tag.

    TIFF 6.0 section 2 describes the directory, which EXIF embeds in JPEG (APP1), PNG (eXIf) and WebP (EXIF).
    """
    if is_heif(data):
        # Only its own boxes turn such a picture, and they are part of it.
        return None
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


def has_second_page(data: bytes) -> bool:
    """Whether a TIFF has more than one picture."""
    order = "<" if data.startswith(b"II") else ">"
    try:
        directory = struct.unpack_from(order + "I", data, 4)[0]
        entries = struct.unpack_from(order + "H", data, directory)[0]
        return bool(struct.unpack_from(order + "I", data, directory + 2 + 12 * entries)[0])
    except struct.error:
        return False
