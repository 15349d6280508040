# SPDX-License-Identifier: GPL-3.0-or-later
"""Picture files, read and written in their own format, with the samples that they store.

FFmpeg's decoders give the stored samples in all of the formats. OpenCV, which decodes pictures for the analysis,
converts some of them (grey with alpha, Y'CbCr) or changes them (colours with alpha in TIFF), but knows more kinds of
TIFF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from ..sources.heif import HeifPicture, decode_heif, is_heif, parse_heif
from ..sources.image import check_size, decode_picture, decode_unchanged, has_film, has_second_page
from .colors import CodeSpace
from .formats import PlanarFormat, choose_planar, list_planes, parse_planar, rearrange
from .heif import add_alpha, encode_heif
from .jpeg import encode_jpeg, parse_jpeg

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"pHYs"})
"""What the numbers of the pixels mean, and the size of a pixel."""
_PNG_OWN = frozenset({b"IHDR", b"IDAT", b"IEND"})

_DECODERS = {"JPEG": "mjpeg", "PNG": "png", "TIFF": "tiff", "WebP": "webp", "BMP": "bmp"}

_PACKED = {
    ("grey", False): ("gray", "gray16"),
    ("grey", True): ("ya8", "ya16"),
    ("rgb", False): ("rgb24", "rgb48"),
    ("rgb", True): ("rgba", "rgba64"),
}
"""The pixel formats of 8 and 16 bits for a kind without and with alpha; the byte order of the latter is missing."""

_TIFF_COMPRESSION, _TIFF_PHOTOMETRIC, _TIFF_ALPHA = 259, 262, 338
_TIFF_RESOLUTIONS = (282, 283)
_TIFF_UNIT = 296
_TIFF_CMYK = 5
_TIFF_ASSOCIATED = 1
_TIFF_METHODS = {1: "raw", 5: "lzw", 32773: "packbits"}
"""FFmpeg's names of compression methods. Pictures with others are compressed with Deflate."""

_BMP_MASKS = 3
"""BI_BITFIELDS: the header says which bits belong to which channel."""

_WEBP_QUALITY = 90
"""Of lossy pictures, 0 to 100, since a file does not say with which quality it was made. Raising it makes pictures
larger than they were; lowering it shows that they were compressed twice (docs/rendering.md)."""

_CELL = 8
"""Side, in pixels, of the areas whose means are compared to find out whether two decoders agree."""
_MOST_DIFFERENCE = 0.25
"""The difference of two means, 0 to 1, from which the decoders disagree. Means of Y'CbCr pictures differ by less than
half of it where colours are clipped."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture as its file stores it."""

    kind: str
    """A key of `_DECODERS`, or HEIC or AVIF."""
    data: bytes
    """The file."""
    frame: Any
    """PyAV's frame. Its format is one that `choose_planar` knows, and keeps the stored samples."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what the output will not keep."""
    is_multiplied: bool = False
    """Whether the colours have been multiplied by alpha, although the file may store them otherwise."""
    heif: HeifPicture | None = None
    place: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Of HEIC and AVIF: left, top, width and height of the part of the frame that is shown."""


def read_picture(data: bytes, name: str) -> StoredPicture:
    """Decode a file's bytes. Raises FaceBlurError, beginning with `name`, for a format that cannot be kept."""
    if is_heif(data):
        return _read_heif(data, name)
    kind = _find_kind(data)
    if kind is None:
        raise FaceBlurError(f"{name}: this is not a JPEG, PNG, TIFF, WebP, BMP, HEIC or AVIF picture")
    shown, _ = decode_picture(data, name)
    others = _list_other_pictures(kind, data)
    if _is_cmyk(kind, data):
        note = "The picture has the colours cyan, magenta, yellow and black. The output has red, green and blue."
        return StoredPicture(kind, data, _to_frame(shown), [note, *others])
    kept = _decode_exactly(kind, data, shown)
    if kept is not None:
        frame, notes = kept
        return StoredPicture(kind, data, frame, notes + others)
    array = decode_unchanged(data, name)
    is_multiplied = kind == "TIFF" and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 4
    alpha = _list_tags(data).get(_TIFF_ALPHA) if is_multiplied else None
    notes = []
    if alpha is not None and alpha.read_short(data) != _TIFF_ASSOCIATED:
        notes.append("The colours of partly transparent pixels are rounded, because they are multiplied by alpha.")
    return StoredPicture(kind, data, _to_frame(array), notes + others, is_multiplied)


def _read_heif(data: bytes, name: str) -> StoredPicture:
    check_size(data, name)
    picture = parse_heif(data, name)
    frame, alpha, place = decode_heif(picture, name)
    notes = []
    if picture.left_out:
        notes.append(f"Not written: {', '.join(picture.left_out)}.")
    frame = frame if alpha is None else add_alpha(frame, alpha)
    return StoredPicture(picture.kind, data, frame, notes, heif=picture, place=place)


def write_picture(stored: StoredPicture, painted: Any, path: Path) -> list[str]:
    """Write a picture in the format of `stored`, with the samples of `painted`, a frame in the planar format of
    `stored.frame`. Returns sentences on what was lost. Raises FaceBlurError if it cannot be written.

    Formats without loss are decoded again and compared.
    """
    import av
    import cv2

    planar = choose_planar(painted.format.name)
    is_lossy = stored.kind == "JPEG" or stored.heif is not None or planar.kind == "yuv"
    writers = {"JPEG": _write_jpeg, "PNG": _write_png, "TIFF": _write_tiff, "WebP": _write_webp, "BMP": _write_bmp}
    try:
        if stored.heif is not None:
            data, notes = encode_heif(stored.heif, painted, stored.place, planar)
            path.write_bytes(data)
            return notes
        data = writers[stored.kind](stored, painted, planar)
        path.write_bytes(data)
    except (av.error.FFmpegError, cv2.error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FaceBlurError(f"The covered picture cannot be written as {stored.kind}: {reason}.") from error
    return [] if is_lossy else _compare(stored.kind, data, painted, planar)


def _find_kind(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(_PNG_START):
        return "PNG"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return "BMP" if data.startswith(b"BM") else None


def _is_cmyk(kind: str, data: bytes) -> bool:
    if kind == "JPEG":
        return len(parse_jpeg(data).tables) == 4
    tag = _list_tags(data).get(_TIFF_PHOTOMETRIC) if kind == "TIFF" else None
    return tag is not None and tag.read_short(data) == _TIFF_CMYK


def _list_other_pictures(kind: str, data: bytes) -> list[str]:
    if kind == "JPEG":
        more = ["Further pictures in the file, such as one that makes it brighter on HDR screens, are not written."]
        film = ["The film in this motion photo is not written."]
        return more * parse_jpeg(data).has_more_pictures + film * has_film(data)
    if kind == "TIFF" and has_second_page(data):
        return ["Only the first of several pages is written."]
    return []


def _decode_with_ffmpeg(kind: str, data: bytes) -> Any:
    """The first picture; None if FFmpeg cannot decode it."""
    import av

    context: Any = av.CodecContext.create(_DECODERS[kind], "r")
    try:
        frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    except (av.error.FFmpegError, ValueError):
        return None
    return frames[0] if frames else None


def _decode_exactly(kind: str, data: bytes, shown: NDArray[np.uint8]) -> tuple[Any, list[str]] | None:
    """A frame with the stored samples, and sentences on what it does not keep.

    None if FFmpeg cannot read the file, reads something else than `shown`, or has the samples in a form that the
    format's writer does not take.
    """
    stored = _decode_with_ffmpeg(kind, data)
    if stored is None:
        return None
    frame = _unpack(stored)
    if kind == "BMP" and frame.format.name == "bgra" and not _has_bmp_alpha(data):
        frame = frame.reformat(format="bgr24")
    if not _can_be_kept(kind, frame) or not _agree(frame, shown):
        return None
    bits = 1 if stored.format.name.startswith("mono") else data[24] if kind == "PNG" else 8
    if stored.format.name == "pal8" and not (kind == "BMP" and frame.format.name == "gray"):
        return frame, ["The picture has a palette. The output stores the colour of each pixel instead."]
    if bits < 8:
        return frame, [f"The picture has {bits} bit{'s' * (bits > 1)} per pixel. The output has 8."]
    return frame, []


def _unpack(frame: Any) -> Any:
    """The frame without a palette: grey if all of its colours are grey."""
    import av

    if frame.format.name != "pal8":
        return frame
    indices: Any = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)[:, : frame.width]
    colors: Any = np.frombuffer(frame.planes[1], np.uint8).reshape(-1, 4)[:256, [2, 1, 0, 3]]
    used = colors[np.unique(indices)]
    if (used[:, 3] != 255).any():
        return av.VideoFrame.from_ndarray(colors[indices], format="rgba")
    if (used[:, :1] == used[:, 1:3]).all():
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(colors[:, 0][indices]), format="gray")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(colors[:, :3][indices]), format="rgb24")


def _can_be_kept(kind: str, frame: Any) -> bool:
    """Whether the format's writer takes the samples of the frame."""
    try:
        planar = choose_planar(frame.format.name)
    except FaceBlurError:
        return False
    if kind == "JPEG":
        return planar.bits == 8 and not planar.has_alpha and (planar.is_full_range or planar.kind == "grey")
    if kind == "WebP":
        return planar.bits == 8
    return planar.kind != "yuv" and planar.bits in (8, 16)


def _has_bmp_alpha(data: bytes) -> bool:
    """Whether a picture of 32 bits has a mask for alpha. Without one the last 8 bits have no meaning."""
    size, compression = struct.unpack_from("<I", data, 14)[0], struct.unpack_from("<I", data, 30)[0]
    return bool(size >= 56 and compression == _BMP_MASKS and any(data[66:70]))


def _agree(frame: Any, shown: NDArray[np.uint8]) -> bool:
    """Whether a frame is the picture `shown` (BGR), in which faces were looked for."""
    import cv2

    if (frame.height, frame.width) != shown.shape[:2]:
        return False
    planar = choose_planar(frame.format.name)
    rearranged = rearrange(frame, planar)
    size = -(-frame.width // _CELL), -(-frame.height // _CELL)

    def reduce(samples: NDArray[Any]) -> NDArray[np.float32]:
        reduced: Any = cv2.resize(np.ascontiguousarray(samples), size, interpolation=cv2.INTER_AREA)
        return np.asarray(reduced, np.float32)

    space = CodeSpace.of(rearranged, planar)
    planes = list_planes(rearranged, planar)
    candidates: list[list[NDArray[Any]]] = [list(planes)]
    if planar.has_alpha and planar.kind != "yuv":
        # OpenCV multiplies the colours of some TIFF pictures by alpha.
        alpha = planes[-1].astype(np.float32) / space.opaque
        candidates.append([plane * alpha for plane in planes[:-1]])
    wanted = reduce(shown)[..., ::-1] / 255
    return any(
        np.abs(space.to_rgb([reduce(plane) for plane in candidate]) - wanted).max() <= _MOST_DIFFERENCE
        for candidate in candidates
    )


def _to_frame(array: NDArray[Any]) -> Any:
    """A frame with the samples of OpenCV's array, which have 8 or 16 bits."""
    import av

    channels = 1 if array.ndim == 2 else array.shape[2]
    names = {1: ("gray", "gray16le"), 3: ("rgb24", "rgb48le"), 4: ("rgba", "rgba64le")}
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    ordered = np.ascontiguousarray(array.reshape(*array.shape[:2], channels)[..., order])
    name = names[channels][array.dtype == np.uint16]
    return av.VideoFrame.from_ndarray(ordered[..., 0] if channels == 1 else ordered, format=name)


def _encode_with_ffmpeg(codec: str, frame: Any, options: dict[str, str]) -> bytes:
    import av

    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    context.time_base = Fraction(1, 25)
    context.options = options
    frame.pts, frame.time_base = 0, context.time_base
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _pack(painted: Any, planar: PlanarFormat, byte_order: str) -> Any:
    """The frame in the packed format with the same samples."""
    names = _PACKED[planar.kind, planar.has_alpha]
    return painted.reformat(format=names[0] if planar.bits == 8 else names[1] + byte_order)


def _write_jpeg(stored: StoredPicture, painted: Any, planar: PlanarFormat) -> bytes:
    header = parse_jpeg(stored.data)
    planes: list[Any] = list_planes(painted, planar)
    tables = header.tables
    if len(tables) != len(planes):
        # Whichever component a table was for, the finest divisors keep all that the picture had.
        tables = (tuple(min(values) for values in zip(*tables, strict=True)),) * len(planes)
    if planar.kind != "rgb":
        return encode_jpeg(planes, tables, header.density, planar.chroma_shift)
    green, blue, red = planes
    if parse_planar(stored.frame.format.name) is not None:
        return encode_jpeg([red, green, blue], tables, is_rgb=True)
    # OpenCV has decoded the picture, so its own components are not known.
    luma = CodeSpace(parse_planar("yuvj444p") or planar, 0.299, 0.114, is_full=True)
    codes = luma.to_codes(np.stack((red, green, blue), axis=-1).astype(np.float32) / 255)
    return encode_jpeg([np.clip(np.rint(part), 0, 255).astype(np.uint8) for part in codes], tables, header.density)


def _write_png(stored: StoredPicture, painted: Any, planar: PlanarFormat) -> bytes:
    packed = _pack(painted, planar, "be")
    encoded = _encode_with_ffmpeg("png", packed, {"pred": "mixed"})
    chunks = [chunk for chunk in _list_png_chunks(encoded) if chunk[4:8] in _PNG_OWN]
    kept = [chunk for chunk in _list_png_chunks(stored.data) if chunk[4:8] in _PNG_KEPT]
    return _PNG_START + b"".join([chunks[0], *kept, *chunks[1:]])


def _list_png_chunks(data: bytes) -> Iterator[bytes]:
    """The complete chunks whose checksum is right."""
    at = len(_PNG_START)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0] + 12
        chunk = data[at : at + length]
        if len(chunk) == length and zlib.crc32(chunk[4:-4]) == struct.unpack_from(">I", chunk, length - 4)[0]:
            yield chunk
        at += length


@dataclass(frozen=True, slots=True)
class _Tag:
    """A tag of a TIFF directory."""

    order: str
    """The byte order, for struct."""
    count: int
    at: int
    """Where its value or the offset of its value lies in the file."""

    def read_short(self, data: bytes) -> int:
        return int(struct.unpack_from(self.order + "H", data, self.at)[0])

    def read_ratio(self, data: bytes | bytearray) -> tuple[int, int] | None:
        """None if the value lies outside of the file."""
        try:
            above, below = struct.unpack_from(self.order + "II", data, self.find_ratio(data))
        except struct.error:
            return None
        return int(above), int(below)

    def find_ratio(self, data: bytes | bytearray) -> int:
        return int(struct.unpack_from(self.order + "I", data, self.at)[0])


def _list_tags(data: bytes) -> dict[int, _Tag]:
    """The tags of the first directory; none for a damaged file."""
    order = "<" if data.startswith(b"II") else ">"
    tags: dict[int, _Tag] = {}
    try:
        directory = struct.unpack_from(order + "I", data, 4)[0]
        for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
            at = directory + 2 + 12 * entry
            number, _, count = struct.unpack_from(order + "HHI", data, at)
            tags[number] = _Tag(order, count, at + 8)
    except struct.error:
        return {}
    return tags


def _write_tiff(stored: StoredPicture, painted: Any, planar: PlanarFormat) -> bytes:
    before = _list_tags(stored.data)
    method = before[_TIFF_COMPRESSION].read_short(stored.data) if _TIFF_COMPRESSION in before else 0
    options = {"compression_algo": _TIFF_METHODS.get(method, "deflate")}
    data = bytearray(_encode_with_ffmpeg("tiff", _pack(painted, planar, "le"), options))
    # FFmpeg always writes that colours are not multiplied by alpha, and 72 dots per inch.
    for number, tag in _list_tags(bytes(data)).items():
        source = before.get(number)
        if number == _TIFF_ALPHA:
            known = source.read_short(stored.data) if source is not None and source.count == 1 else 0
            value = _TIFF_ASSOCIATED if stored.is_multiplied else known
            struct.pack_into(tag.order + "H", data, tag.at, value)
        elif number in _TIFF_RESOLUTIONS and source is not None:
            ratio = source.read_ratio(stored.data)
            if ratio is not None:
                struct.pack_into(tag.order + "II", data, tag.find_ratio(data), *ratio)
        elif number == _TIFF_UNIT and source is not None:
            struct.pack_into(tag.order + "H", data, tag.at, source.read_short(stored.data))
    return bytes(data)


def _write_webp(stored: StoredPicture, painted: Any, planar: PlanarFormat) -> bytes:
    if planar.kind == "yuv":
        return _encode_with_ffmpeg("libwebp", painted, {"quality": str(_WEBP_QUALITY)})
    return _encode_with_ffmpeg("libwebp", painted.reformat(format="bgra"), {"lossless": "1"})


def _write_bmp(stored: StoredPicture, painted: Any, planar: PlanarFormat) -> bytes:
    import cv2

    if not planar.has_alpha:
        array: Any = painted.reformat(format="gray" if planar.kind == "grey" else "bgr24").to_ndarray()
        return bytes(cv2.imencode(".bmp", array)[1].tobytes())
    # Neither OpenCV nor FFmpeg writes a mask for alpha, without which readers ignore it.
    array = painted.reformat(format="bgra").to_ndarray()
    height, width = array.shape[:2]
    pixels = array[::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, _BMP_MASKS, len(pixels), 2835, 2835, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    start = struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header))
    return b"BM" + start + header + bytes(pixels)


def _compare(kind: str, data: bytes, painted: Any, planar: PlanarFormat) -> list[str]:
    """Compare what was written with what was painted. Raises FaceBlurError where they differ visibly."""
    written = _decode_with_ffmpeg(kind, data)
    if written is not None:
        written = _unpack(written)
        written = rearrange(written, choose_planar(written.format.name))
    if written is None or written.format.name != planar.name:
        raise FaceBlurError(f"The covered picture cannot be read again after it was written as {kind}.")
    pairs = list(zip(list_planes(written, planar), list_planes(painted, planar), strict=True))
    if all(np.array_equal(*pair) for pair in pairs):
        return []
    if planar.has_alpha:
        visible = pairs[-1][1] > 0
        if all(np.array_equal(after[visible], before[visible]) for after, before in pairs):
            return [f"The colours of completely transparent pixels are lost, because {kind}'s encoder removes them."]
    raise FaceBlurError(f"The covered picture was not written as {kind} without loss.")
