# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes foreign metadata out of a rendered picture and writes our record into it, without touching its pixels."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from ..core.types import FaceBlurError

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_WORDS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"})
_RECORD = rb"(faceblur:1:[0-9a-f]{64}:1)"
_TAIL = re.compile(rb"\n" + _RECORD + rb"\n\Z")


def finish_picture(path: Path, record: str) -> None:
    """Rewrite the picture in place: comments and EXIF removed from PNG and JPEG, the record put in.

    Other formats get the record behind their end, where readers don't look: their structure says how long they are.
    """
    data = path.read_bytes()
    words = record.encode("ascii")
    if data.startswith(_PNG_START):
        chunks = [chunk for chunk in _split_png(data, path) if chunk[4:8] not in _PNG_WORDS]
        body = b"tEXtComment\0" + words
        note = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        data = _PNG_START + b"".join([chunks[0], note, *chunks[1:]])
    elif data.startswith(b"\xff\xd8"):
        kept, rest = _split_jpeg(data, path)
        data = b"\xff\xd8" + kept + b"\xff\xfe" + struct.pack(">H", len(words) + 2) + words + rest
    else:
        data = _TAIL.sub(b"", data) + b"\n" + words + b"\n"
    path.write_bytes(data)


def read_picture_record(path: Path) -> str:
    """The record of a picture, empty where it has none."""
    data = path.read_bytes()
    if data.startswith(_PNG_START):
        match = re.search(rb"tEXtComment\0" + _RECORD, data)
    elif data.startswith(b"\xff\xd8"):
        match = re.search(rb"\xff\xfe.." + _RECORD, data, re.DOTALL)
    else:
        match = _TAIL.search(data)
    return match[1].decode("ascii") if match else ""


def verify_picture(path: Path, width: int, height: int) -> None:
    """Raise FaceBlurError unless the file is a whole picture of that size."""
    import cv2
    import numpy as np

    # Not cv2.imread: on Windows it cannot open names outside of the local code page.
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise FaceBlurError(f"{path.name} failed its check: it cannot be read.")
    if image.shape[:2] != (height, width):
        raise FaceBlurError(f"{path.name} failed its check: {image.shape[1]} x {image.shape[0]} pixels instead of "
                            f"{width} x {height}.")


def _split_png(data: bytes, path: Path) -> list[bytes]:
    chunks, at = [], len(_PNG_START)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0] + 12
        chunks.append(data[at:at + length])
        at += length
    if not chunks or chunks[-1][4:8] != b"IEND" or at != len(data):
        raise FaceBlurError(f"{path.name}: the rendered picture is not whole.")
    return chunks


def _split_jpeg(data: bytes, path: Path) -> tuple[bytes, bytes]:
    """The segments before the picture's data without EXIF, XMP and comments, and the rest from the first scan on."""
    at, kept = 2, b""
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0] + 2
        if marker == 0xDA:
            return kept, data[at:]
        if marker not in (0xE1, 0xED, 0xFE):
            kept += data[at:at + length]
        at += length
    raise FaceBlurError(f"{path.name}: the rendered picture is not whole.")
