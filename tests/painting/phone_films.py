# SPDX-License-Identifier: GPL-3.0-or-later
"""Make films and photos with the traits of those of phones: PyAV does not write them itself, so boxes are changed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tools.film import draw_frame

SIZE = (320, 180)
MS = Fraction(1, 1000)
TICKS = tuple(33 * n + (n * n * 7) % 11 for n in range(18))
"""The times of the pictures in milliseconds: about 30 a second, and none at its place."""
HIDDEN = 3
"""How many pictures at the beginning an edit list hides."""
HLG = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 18}
PLACE = "+48.1173+011.5167+520.000/"
OWNER = "Jane's phone"

_HEADERS = {b"stsd": 8, b"hvc1": 78, b"hev1": 78, b"meta": 4}
"""How many bytes of a box stand before the boxes in it."""


def change_boxes(data: bytes, path: Sequence[bytes], change: Callable[[bytes, bytes], bytes]) -> bytes:
    """Replace all boxes with this path of names by what `change` makes of their name and content."""
    result, at = b"", 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        size = size or len(data) - at
        content = data[at + 8 : at + size]
        if name == path[0]:
            if len(path) == 1:
                result += change(name, content)
                at += size
                continue
            front = _HEADERS.get(name, 0)
            content = content[:front] + change_boxes(content[front:], path[1:], change)
        result += struct.pack(">I4s", 8 + len(content), name) + content
        at += size
    return result


def write_phone_film(path: Path, unit: bytes = b"", has_spatial_sound: bool = True) -> list[Any]:
    """A film as an iPhone makes it: HLG with 10 bits in H.265 with Dolby Vision 8.4 (`unit` is its layer, which follows
    each picture), turned by 90 degrees, with pictures at varying times, an edit list, sound in four channels, a second
    sound whose codec nobody knows, and a track of places. Returns the ellipse of the face in each upright picture."""
    tags = {
        "com.apple.quicktime.location.ISO6709": PLACE,
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.creationdate": "2025-05-05T10:00:00+0200",
        "com.apple.quicktime.author": OWNER,
    }
    plain = path.with_name("plain.mov")
    faces = []
    with av.open(str(plain), "w", container_options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(tags)
        stream: Any = container.add_stream("libx265", rate=30, options={"x265-params": "keyint=6:log-level=none"})
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p10le"
        stream.codec_context.time_base = stream.time_base = MS
        stream.codec_context.codec_tag = "hvc1"
        for name, value in HLG.items():
            setattr(stream.codec_context, name, value)
        stream.set_display_rotation(-90)
        sounds = [container.add_stream("aac", rate=48000, layout=layout) for layout in ("quad", "mono")]
        places = container.add_mux_stream("mov_text")
        for sound, channels in zip(sounds, (4, 1), strict=True):
            sound.codec_context.bit_rate = 96_000 * channels
            wave = (6000 * np.sin(np.arange(28800) / 20)).astype(np.float32)[None] / 32768
            frame = av.AudioFrame.from_ndarray(np.repeat(wave, channels, 0), "fltp", sound.codec_context.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            container.mux([*sound.encode(frame), *sound.encode(None)])
        for number, tick in enumerate(TICKS):
            picture, truth = draw_frame(number / len(TICKS), *SIZE, "steady")
            faces.append(truth[0].ellipse)
            stored = np.ascontiguousarray(np.rot90(picture))
            frame = av.VideoFrame.from_ndarray(stored, "bgr24").reformat(format="yuv420p10le", dst_colorspace=9)
            frame.pts, frame.time_base = tick, MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        packet = av.Packet(struct.pack(">H", len(PLACE)) + PLACE.encode())
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = places, MS, 0, 0, 500
        container.mux(packet)
    if unit:
        _add_units(plain, unit)
    data = plain.read_bytes()
    table = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    tracks = iter((b"", b"", b"apac" if has_spatial_sound else b"", b"mebx"))

    def rename(_: bytes, content: bytes) -> bytes:
        name = next(tracks)
        # FFmpeg would know the codec by its own header too.
        return _pack(b"stsd", content[:12] + name + content[16:].replace(b"esds", b"dapa") if name else content)

    data = change_boxes(data, table, rename)
    data = change_boxes(data, (b"moov", b"trak", b"mdia", b"hdlr"), _rename_subtitles)
    # ISO/IEC 14496-15 and Dolby's specification of streams: profile 8, level 4, with a base layer in HLG (4).
    configuration = struct.pack(">I4s5B19x", 32, b"dvvC", 1, 0, 8 << 1, 4 << 3 | 0b101, 4 << 4) if unit else b""
    for tag in (b"hvc1", b"hev1"):
        data = change_boxes(data, (*table, tag), lambda name, content: _pack(name, content + configuration))
    path.write_bytes(data)
    plain.unlink()
    hide(path)
    return faces


def _pack(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def _rename_subtitles(name: bytes, content: bytes) -> bytes:
    return _pack(name, content.replace(b"sbtl", b"meta").replace(b"text", b"meta"))


def _add_units(path: Path, unit: bytes) -> None:
    """Put a NAL unit after each picture."""
    whole = path.with_name("units.mov")
    options = {"movflags": "use_metadata_tags"}
    with av.open(str(path)) as before, av.open(str(whole), "w", container_options=options) as after:
        after.metadata.update(before.metadata)
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            if packet.dts is None:
                continue
            new = packet
            if packet.stream.type == "video":
                new = av.Packet(bytes(packet) + struct.pack(">I", len(unit)) + unit)
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.duration, new.is_keyframe = packet.duration, packet.is_keyframe
            new.stream = streams[packet.stream.index]
            after.mux(new)
    whole.replace(path)


def hide(path: Path) -> None:
    """Let the edit lists begin at picture `HIDDEN`."""
    with av.open(str(path)) as container:
        bases = [Fraction(stream.time_base) for stream in container.streams if stream.type in ("video", "audio")]
    content, at = bytearray(path.read_bytes()), -1
    for base in bases:
        at = content.index(b"elst", at + 1)
        start = int.from_bytes(content[at + 16 : at + 20], "big")
        content[at + 16 : at + 20] = (start + round(TICKS[HIDDEN] * MS / base)).to_bytes(4, "big")
    path.write_bytes(content)
