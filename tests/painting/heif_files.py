# SPDX-License-Identifier: GPL-3.0-or-later
"""Make HEIC pictures as phones do, from their items, and read those that Face Blur makes with FFmpeg's reader."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
DEPTH = b"urn:mpeg:hevc:2015:auxid:2\0"
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
P3 = struct.pack(">4sHHHB", b"nclx", 12, 13, 6, 0x80)


@dataclass(slots=True)
class Item:
    """`properties` are names and contents, `references` names and numbers of items, which begin with 1."""

    kind: bytes
    data: bytes
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    references: list[tuple[bytes, Sequence[int]]] = field(default_factory=list)


def pack(name: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), name) + body


def announce(width: int, height: int) -> tuple[bytes, bytes]:
    return b"ispe", struct.pack(">III", 0, width, height)


def compress(frame: Any) -> tuple[bytes, bytes]:
    """A frame's data and header, by x265 without loss."""
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        options = {"x265-params": "log-level=none:lossless=1:keyint=1"}
        stream: Any = container.add_stream("libx265", rate=25, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
        context.color_range = frame.color_range
        context.time_base = stream.time_base = frame.time_base = Fraction(1, 25)
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    held.seek(0)
    with av.open(held) as container:
        header = bytes(container.streams.video[0].codec_context.extradata or b"")
        return b"".join(bytes(packet) for packet in container.demux(video=0) if packet.size), header


def make_item(frame: Any, *properties: tuple[bytes, bytes], **references: Sequence[int]) -> Item:
    data, header = compress(frame)
    own = [(b"hvcC", header), announce(frame.width, frame.height)]
    return Item(b"hvc1", data, [*own, *properties], [(name.encode(), to) for name, to in references.items()])


def fill(width: int, height: int, value: int, name: str = "yuv420p") -> Any:
    frame = av.VideoFrame(width, height, name)
    for plane in frame.planes:
        plane.update(bytes([value]) * plane.buffer_size)
    frame.color_range = 2
    return frame


def cut(frame: Any, left: int, top: int, width: int, height: int) -> Any:
    """A part of a frame in yuv420p; all numbers are even."""
    part = av.VideoFrame(width, height, "yuv420p")
    for index, plane in enumerate(part.planes):
        source: Any = np.frombuffer(frame.planes[index], np.uint8).reshape(frame.planes[index].height, -1)
        shift = 1 if index else 0
        target: Any = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
        rows = slice(top >> shift, (top + height) >> shift)
        target[:, : width >> shift] = source[rows, left >> shift : (left + width) >> shift]
    part.color_range = 2
    return part


def write_heic(path: Path, items: list[Item], primary: int, behind: bytes = b"", brand: bytes = b"heic") -> Path:
    """The first items have the numbers 1, 2 and so on; an item of the kind "grid" lies in the box idat."""
    known: list[tuple[bytes, bytes]] = []
    links, places, entries, idat = b"", [], b"", b""
    references = b""
    for number, item in enumerate(items, 1):
        hidden = 1 if item.kind in (b"Exif", b"mime") else 0
        entries += pack(b"infe", struct.pack(">IHH4sx", 2 << 24 | hidden, number, 0, item.kind))
        indices = []
        for one in item.properties:
            if one not in known:
                known.append(one)
            is_needed = one[0] in (b"hvcC", b"irot", b"imir", b"clap")
            indices.append(1 + known.index(one) | (0x80 if is_needed else 0))
        links += struct.pack(">HB", number, len(indices)) + bytes(indices)
        for name, numbers in item.references:
            references += pack(name, struct.pack(f">HH{len(numbers)}H", number, len(numbers), *numbers))
        places.append((1 if item.kind == b"grid" else 0, len(idat)))
        idat += item.data if item.kind == b"grid" else b""

    def make(start: int) -> bytes:
        lines = b""
        for number, (item, (method, offset)) in enumerate(zip(items, places, strict=True), 1):
            lines += struct.pack(">HHHHII", number, method, 0, 1, offset if method else start, len(item.data))
            start += 0 if method else len(item.data)
        return pack(
            b"meta",
            bytes(4),
            pack(b"hdlr", struct.pack(">II4s12sx", 0, 0, b"pict", b"")),
            pack(b"pitm", struct.pack(">IH", 0, primary)),
            pack(b"iloc", struct.pack(">IHH", 1 << 24, 0x4400, len(items)), lines),
            pack(b"iinf", struct.pack(">IH", 0, len(items)), entries),
            pack(b"iref", bytes(4), references) if references else b"",
            pack(
                b"iprp",
                pack(b"ipco", *(pack(*one) for one in known)),
                pack(b"ipma", struct.pack(">II", 0, len(items)), links),
            ),
            pack(b"idat", idat) if idat else b"",
        )

    front = pack(b"ftyp", brand, bytes(4), b"mif1", brand)
    data = [item.data for item in items if item.kind != b"grid"]
    path.write_bytes(front + make(len(front) + len(make(0)) + 8) + pack(b"mdat", *data) + behind)
    return path


def read_luma(path: Path) -> NDArray[np.uint8]:
    """The luma of a file with a single picture of 8 bits, by FFmpeg's reader, which does not turn it."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        frame = next(iter(container.decode(video=0)))
        rows: Any = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.planes[0].height, -1)
        return np.asarray(rows[:, : frame.width].copy())
