# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes small test films whose pictures carry their own number in blocks that survive compression."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 8
SIZE = (160, 96)


def draw_number(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Draw a number below 256 as a BGR picture: a row of bits, a row of the same bits inverted, four colours."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    rows = [round(height * part / 3) for part in range(4)]
    columns = [round(width * part / BITS) for part in range(BITS + 1)]
    for bit in range(BITS):
        level = 235 if number >> (BITS - 1 - bit) & 1 else 20
        picture[rows[0] : rows[1], columns[bit] : columns[bit + 1]] = level
        picture[rows[1] : rows[2], columns[bit] : columns[bit + 1]] = 255 - level
    colours = ((30, 30, 200), (30, 180, 30), (200, 40, 40), (128, 128, 128))
    for part, colour in enumerate(colours):
        picture[rows[2] :, width * part // 4 : width * (part + 1) // 4] = colour
    return picture


def read_number(picture: NDArray[np.uint8]) -> int | None:
    """Read the number that `draw_number` drew, at any size; None if the bits contradict their inverted copies."""
    height, width = picture.shape[:2]
    number = 0
    for bit in range(BITS):
        x = int(width * (bit + 0.5) / BITS)
        reach_x, reach_y = max(1, width // (BITS * 4)), max(1, height // 12)
        levels = []
        for row in range(2):
            y = int(height * (row + 0.5) / 3)
            levels.append(float(picture[y - reach_y : y + reach_y, x - reach_x : x + reach_x].mean()))
        if abs(levels[0] - levels[1]) < 90:
            return None
        number = number << 1 | (levels[0] > levels[1])
    return number


def write_film(
    path: Path,
    numbers: Iterable[int] = range(30),
    *,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    pixel_format: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    first_tick: int = 0,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    rotation: int | None = None,
    pixel_aspect: Fraction | None = None,
    sound: bool = False,
    context: Mapping[str, Any] | None = None,
    duplicate_stream: bool = False,
) -> Path:
    """Write a film of numbered pictures and return its path.

    `ticks` are the pictures' timestamps in `time_base` (one per picture; a variable rate). Without them the timestamps
    follow `rate` from `first_tick`. `context` sets attributes of the encoder (colours, GOP...).
    """
    import av

    numbers = list(numbers)
    base = time_base or 1 / Fraction(rate)
    step = 1 / Fraction(rate) / base
    stamps = list(ticks) if ticks is not None else [first_tick + round(index * step) for index in range(len(numbers))]
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate), options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.time_base = base
        stream.time_base = base
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        for name, value in (context or {}).items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        second: Any = None
        if duplicate_stream:
            second = container.add_stream(codec, rate=Fraction(rate))
            second.width, second.height, second.pix_fmt = *size, "yuv420p"
        voice: Any = container.add_stream("aac", rate=48000) if sound else None
        for number, stamp in zip(numbers, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(draw_number(number, size), "bgr24")
            frame.pts, frame.time_base = stamp, base
            container.mux(stream.encode(frame))
            if second is not None:
                other = av.VideoFrame.from_ndarray(draw_number(255 - number, size), "bgr24")
                other.pts, other.time_base = stamp, base
                container.mux(second.encode(other))
        container.mux(stream.encode(None))
        if second is not None:
            container.mux(second.encode(None))
        if voice is not None:
            samples = round(48000 * float((stamps[-1] - stamps[0]) * base))
            for start in range(0, max(samples, 1024), 1024):
                tone = (0.1 * np.sin(np.arange(start, start + 1024) * 0.06)).astype(np.float32)[None]
                part = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                part.pts, part.sample_rate, part.time_base = start, 48000, Fraction(1, 48000)
                container.mux(voice.encode(part))
            container.mux(voice.encode(None))
    return path


def patch_edit_list(path: Path, media_time: int) -> None:
    """Make an MP4's first edit begin at `media_time` (track time scale), as editing programs write it."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    version = data[at]
    entry = at + 8
    if version == 1:
        struct.pack_into(">q", data, entry + 8, media_time)
    else:
        struct.pack_into(">i", data, entry + 4, media_time)
    path.write_bytes(data)
