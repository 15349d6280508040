# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces the metadata of a rendered picture by its colour profile and our record, without changing pixels."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from ..core.types import FaceBlurError
from ..sources.heif import decode_heif, is_heif, list_item_kinds, parse_heif

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_FOREIGN = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"oFFs"})
_PNG_COLOURS = frozenset({b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"})
_RECORD = rb"(faceblur:1:[0-9a-f]{64}:1)"
_TAIL = re.compile(rb"\n" + _RECORD + rb"\n\Z")

_FREE = re.compile(rb"....free\n" + _RECORD + rb"\n\Z", re.DOTALL)

_PROFILE_START = b"ICC_PROFILE\0"
_PROFILE_PART = 65_000
_MOST_PROFILE_BYTES = 4 << 20

_TIFF_ORIENTATION, _TIFF_PROFILE = 0x0112, 0x8773
_TIFF_FOREIGN = frozenset(
    {0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x02BC, 0x8298, 0x83BB, 0x8649, 0x8769, 0x8825}
)
"""Names, makers, programs, dates, people, XMP, IPTC, Photoshop's, EXIF, GPS (TIFF 6.0, EXIF 2.3)."""

_SHORT, _UNDEFINED = 3, 7
_HEIF_OWN = ("hvc1", "av01")
"""The items of a picture and its transparency."""


def finish_picture(path: Path, record: str, orientation: int = 1, profile: bytes = b"") -> None:
    """Rewrite the picture in place: remove comments and EXIF, add our record, orientation and colour profile.

    `orientation` is EXIF's (1 to 8), `profile` an ICC profile that fits the pixels, or empty. BMP supports neither, and
    HEIC and AVIF have them already.
    A format without a field for the record gets it after its end, where readers do not look.
    """
    data = path.read_bytes()
    words = record.encode("ascii")
    if data.startswith(_PNG_START):
        data = _finish_png(data, path, words, orientation, profile)
    elif data.startswith(b"\xff\xd8"):
        data = _finish_jpeg(data, path, words, orientation, profile)
    elif is_heif(data):
        # A box that readers skip. The covered picture has its profile and orientation already.
        data = _FREE.sub(b"", data)
        data += struct.pack(">I4s", 10 + len(words), b"free") + b"\n" + words + b"\n"
    else:
        data = _TAIL.sub(b"", data)
        if data.startswith((b"II*\0", b"MM\0*")):
            data = _finish_tiff(data, path, orientation, profile)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            data = _finish_webp(data, path, orientation, profile)
        data += b"\n" + words + b"\n"
    path.write_bytes(data)


def read_profile(path: Path, keeps_grey: bool = False) -> bytes:
    """The ICC profile of a picture; empty if there is none, if it cannot be read, or if it does not fit the output.

    An output has RGB colours, and with `keeps_grey` also grey ones if the picture has.
    """
    data = path.read_bytes()
    profile = b""
    try:
        if data.startswith(_PNG_START):
            chunk = next((chunk for chunk in _split_png(data, path) if chunk[4:8] == b"iCCP"), b"")
            packed = chunk[8:-4].partition(b"\0")[2][1:]
            profile = zlib.decompressobj().decompress(packed, _MOST_PROFILE_BYTES) if packed else b""
        elif data.startswith(b"\xff\xd8"):
            parts = [segment[4:] for segment in _split_jpeg(data, path)[0] if segment[1] == 0xE2]
            numbered = sorted(part[len(_PROFILE_START) :] for part in parts if part.startswith(_PROFILE_START))
            profile = b"".join(part[2:] for part in numbered)
        elif data.startswith((b"II*\0", b"MM\0*")):
            order, entries, _ = _read_directory(data)
            for tag, _, count, value in entries:
                if tag == _TIFF_PROFILE:
                    at = struct.unpack(order + "I", value)[0]
                    profile = data[at : at + count]
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            profile = next((body for name, body in _split_webp(data, path) if name == b"ICCP"), b"")
    except (struct.error, zlib.error, FaceBlurError, IndexError):
        return b""
    fitting = (b"RGB ", b"GRAY") if keeps_grey else (b"RGB ",)
    return profile if profile[16:20] in fitting and profile[36:40] == b"acsp" else b""


def read_picture_record(path: Path) -> str:
    """The record of a picture, or an empty string."""
    data = path.read_bytes()
    if data.startswith(_PNG_START):
        match = re.search(rb"tEXtComment\0" + _RECORD, data)
    elif data.startswith(b"\xff\xd8"):
        match = re.search(rb"\xff\xfe.." + _RECORD, data, re.DOTALL)
    else:
        match = _TAIL.search(data)
    return match[1].decode("ascii") if match else ""


def list_notes(path: Path) -> list[str]:
    """The metadata of a picture that `finish_picture` did not write: names of chunks, segments or tags.

    Raises FaceBlurError or struct.error if the file is incomplete.
    """
    data = path.read_bytes()
    own = [_make_exif(orientation) for orientation in range(2, 9)]
    if data.startswith(_PNG_START):
        return [
            chunk[4:8].decode("ascii", "replace")
            for chunk in _split_png(data, path)
            if chunk[4:8] in _PNG_FOREIGN
            and chunk[8:-4] not in own
            and not re.fullmatch(rb"Comment\0" + _RECORD, chunk[8:-4])
        ]
    if data.startswith(b"\xff\xd8"):
        exif = [b"Exif\0\0" + body for body in own]
        return [
            {0xE1: "EXIF or XMP", 0xED: "IPTC"}.get(segment[1], "comment")
            for segment in _split_jpeg(data, path)[0]
            if segment[1] in (0xE1, 0xED, 0xFE) and segment[4:] not in exif and not re.fullmatch(_RECORD, segment[4:])
        ]
    if data.startswith((b"II*\0", b"MM\0*")):
        return [f"tag {tag}" for tag, *_ in _read_directory(data)[1] if tag in _TIFF_FOREIGN]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return [
            name.decode("ascii", "replace").strip()
            for name, body in _split_webp(data, path)
            if name in (b"EXIF", b"XMP ") and body not in own
        ]
    if is_heif(data):
        return [kind for kind in list_item_kinds(data) if kind not in _HEIF_OWN]
    return []


def verify_picture(path: Path, width: int, height: int) -> None:
    """Raise FaceBlurError unless the file is a complete picture of that size."""
    import cv2
    import numpy as np

    data = path.read_bytes()
    if is_heif(data):
        frame = decode_heif(parse_heif(data, path.name), path.name)[0]
        _check_size(path, (frame.width, frame.height), (width, height))
        return
    if data.startswith((b"II*\0", b"MM\0*")):
        # OpenCV rotates TIFF pictures even with IMREAD_IGNORE_ORIENTATION (seen in 4.11 and 4.14).
        data = _set_tags(data, {_TIFF_ORIENTATION: (_SHORT, 1, _pack_short(data, 1))})
    # Not cv2.imread: on Windows it cannot open names outside the local code page.
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None:
        raise FaceBlurError(f"{path.name} failed its check: it cannot be read.")
    _check_size(path, (image.shape[1], image.shape[0]), (width, height))


def _check_size(path: Path, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    if size != wanted:
        raise FaceBlurError(
            f"{path.name} failed its check: {size[0]} x {size[1]} pixels instead of {wanted[0]} x {wanted[1]}."
        )


def _finish_png(data: bytes, path: Path, words: bytes, orientation: int, profile: bytes) -> bytes:
    unwanted = _PNG_FOREIGN | _PNG_COLOURS if profile else _PNG_FOREIGN
    chunks = [chunk for chunk in _split_png(data, path) if chunk[4:8] not in unwanted]
    notes = [_make_chunk(b"tEXt", b"Comment\0" + words)]
    if profile:
        notes.append(_make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile, 9)))
    if orientation != 1:
        notes.append(_make_chunk(b"eXIf", _make_exif(orientation)))
    return _PNG_START + b"".join([chunks[0], *notes, *chunks[1:]])


def _make_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _make_exif(orientation: int) -> bytes:
    """A TIFF directory with only the orientation tag."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _TIFF_ORIENTATION, _SHORT, 1, orientation, 0, 0)


def _finish_jpeg(data: bytes, path: Path, words: bytes, orientation: int, profile: bytes) -> bytes:
    segments, rest = _split_jpeg(data, path)
    # APP1 holds EXIF and XMP, APP2 the profile, APP13 IPTC; FE are comments. APP0 stays in front.
    kept = [segment for segment in segments if segment[1] not in (0xE1, 0xE2, 0xED, 0xFE)]
    notes = []
    if orientation != 1:
        notes.append(_make_segment(0xE1, b"Exif\0\0" + _make_exif(orientation)))
    parts = [profile[at : at + _PROFILE_PART] for at in range(0, len(profile), _PROFILE_PART)]
    notes += [
        _make_segment(0xE2, _PROFILE_START + bytes([number, len(parts)]) + part) for number, part in enumerate(parts, 1)
    ]
    notes.append(_make_segment(0xFE, words))
    front = 1 if kept and kept[0][1] == 0xE0 else 0
    return b"\xff\xd8" + b"".join([*kept[:front], *notes, *kept[front:]]) + rest


def _make_segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def _finish_webp(data: bytes, path: Path, orientation: int, profile: bytes) -> bytes:
    """VP8X first, ICCP before the picture, EXIF after it (developers.google.com/speed/webp/docs/riff_container)."""
    chunks = [(name, body) for name, body in _split_webp(data, path) if name not in (b"EXIF", b"XMP ", b"ICCP")]
    header = next((body for name, body in chunks if name == b"VP8X"), b"")
    rest = [(name, body) for name, body in chunks if name != b"VP8X"]
    if not header:
        if not profile and orientation == 1:
            return _join_webp(rest)
        header = _make_webp_header(rest[0], path)
    flags = header[0] & ~(0x20 | 0x08 | 0x04) | (0x20 if profile else 0) | (0x08 if orientation != 1 else 0)
    front = [(b"VP8X", bytes([flags]) + header[1:])] + ([(b"ICCP", profile)] if profile else [])
    return _join_webp(front + rest + ([(b"EXIF", _make_exif(orientation))] if orientation != 1 else []))


def _make_webp_header(picture: tuple[bytes, bytes], path: Path) -> bytes:
    name, body = picture
    if name == b"VP8L":
        bits = struct.unpack_from("<I", body, 1)[0]
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    elif name == b"VP8 ":
        width, height, alpha = *(side - 1 for side in struct.unpack_from("<HH", body, 6)), 0
    else:
        raise FaceBlurError(f"{path.name}: the rendered picture is incomplete.")
    return struct.pack("<I", 0x10 * alpha) + struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]


def _split_webp(data: bytes, path: Path) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 12
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    while at + 8 <= end:
        length = struct.unpack_from("<I", data, at + 4)[0]
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    if not chunks or at > len(data) + 1:
        raise FaceBlurError(f"{path.name}: the rendered picture is incomplete.")
    return chunks


def _join_webp(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for name, part in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


Entry = tuple[int, int, int, bytes]
"""An entry of a TIFF directory: tag, type, count, and the four bytes with the value or its offset."""


def _finish_tiff(data: bytes, path: Path, orientation: int, profile: bytes) -> bytes:
    added = {_TIFF_ORIENTATION: (_SHORT, 1, _pack_short(data, orientation))}
    if profile:
        added[_TIFF_PROFILE] = (_UNDEFINED, len(profile), profile)
    try:
        return _set_tags(data, added)
    except struct.error as error:
        raise FaceBlurError(f"{path.name}: the rendered picture is incomplete.") from error


def _set_tags(data: bytes, added: dict[int, tuple[int, int, bytes]]) -> bytes:
    """The TIFF with these tags (tag -> type, count, value), without foreign ones; its directory moves to the end."""
    order, entries, behind = _read_directory(data)
    wanted = [entry for entry in entries if entry[0] not in _TIFF_FOREIGN and entry[0] not in added]
    # The data that foreign tags point to must not stay in the file either.
    scrubbed = bytearray(data)
    for tag, kind, count, value in entries:
        size = count * {1: 1, 2: 1, _SHORT: 2, 4: 4, 5: 8, _UNDEFINED: 1}.get(kind, 0)
        if tag in _TIFF_FOREIGN and size > 4:
            at = struct.unpack(order + "I", value)[0]
            scrubbed[at : at + size] = b"\0" * size
    data = bytes(scrubbed) + b"\0" * (len(scrubbed) % 2)
    for tag, (kind, count, value) in added.items():
        if len(value) > 4:
            wanted.append((tag, kind, count, struct.pack(order + "I", len(data))))
            data += value + b"\0" * (len(value) % 2)
        else:
            wanted.append((tag, kind, count, value))
    directory = struct.pack(order + "H", len(wanted)) + b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value for tag, kind, count, value in sorted(wanted)
    )
    return data[:4] + struct.pack(order + "I", len(data)) + data[8:] + directory + struct.pack(order + "I", behind)


def _read_directory(data: bytes) -> tuple[str, list[Entry], int]:
    """Byte order (struct), the first directory's entries, and the offset of the next directory (0 for none)."""
    order = "<" if data.startswith(b"II") else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    count = struct.unpack_from(order + "H", data, at)[0]
    entries = []
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, place)
        entries.append((tag, kind, number, data[place + 8 : place + 12]))
    return order, entries, struct.unpack_from(order + "I", data, at + 2 + 12 * count)[0]


def _pack_short(data: bytes, value: int) -> bytes:
    return struct.pack(("<" if data.startswith(b"II") else ">") + "HH", value, 0)


def _split_png(data: bytes, path: Path) -> list[bytes]:
    chunks, at = [], len(_PNG_START)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0] + 12
        chunks.append(data[at : at + length])
        at += length
    if not chunks or chunks[-1][4:8] != b"IEND" or at != len(data):
        raise FaceBlurError(f"{path.name}: the rendered picture is incomplete.")
    return chunks


def _split_jpeg(data: bytes, path: Path) -> tuple[list[bytes], bytes]:
    """The segments before the picture's data, and the rest from the first scan on."""
    at = 2
    segments: list[bytes] = []
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0] + 2
        if marker == 0xDA:
            return segments, data[at:]
        segments.append(data[at : at + length])
        at += length
    raise FaceBlurError(f"{path.name}: the rendered picture is incomplete.")
