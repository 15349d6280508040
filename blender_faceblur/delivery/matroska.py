# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the shape of a film's pixels into a Matroska or WebM file, which PyAV cannot tell FFmpeg's muxer.

The muxer leaves room for it (the display size) if it takes the film for a stereoscopic one, which is undone here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

ROOM = {"stereo_mode": "left_right"}
"""The stream's metadata with which the muxer writes a display size."""

_SEGMENT, _TRACKS, _TRACK, _VIDEO, _CRC = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xBF
_STEREO, _DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x53B8, 0x54B0, 0x54BA
"""IDs of elements (RFC 9559)."""

_HEAD_BYTES = 4 << 20
"""How much of a file is searched for the description of its tracks, which comes before the first picture."""

_LARGEST_ERROR = Fraction(1, 2000)


def name_pixel_aspect(path: Path, size: tuple[int, int], aspect: Fraction) -> None:
    """Set the display size of the only video track, whose pictures have `size` (width, height), so that its pixels have
    the shape `aspect`. Raises ValueError if the file has no room for it."""
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD_BYTES))
        places = {key: (start, stop) for key, start, stop in _walk(head, 0, len(head))}
        tracks = places.get(_TRACKS)
        if tracks is None or tracks[1] == len(head) or not {_STEREO, _DISPLAY_WIDTH, _DISPLAY_HEIGHT} <= places.keys():
            raise ValueError("the file has no room for the shape of its pixels")
        limits = [(1 << 8 * (places[key][1] - places[key][0])) - 1 for key in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT)]
        width, height = _choose_display(size, aspect, limits[0], limits[1])
        for key, value in ((_STEREO, 0), (_DISPLAY_WIDTH, width), (_DISPLAY_HEIGHT, height)):
            start, stop = places[key]
            head[start:stop] = value.to_bytes(stop - start, "big")
        checksum = places.get(_CRC)
        if checksum is not None and checksum[0] - 2 == tracks[0]:
            head[checksum[0] : checksum[1]] = zlib.crc32(head[checksum[1] : tracks[1]]).to_bytes(4, "little")
        file.seek(0)
        file.write(head[: tracks[1]])


def _choose_display(size: tuple[int, int], aspect: Fraction, widest: int, highest: int) -> tuple[int, int]:
    """A display size of the right shape within the limits: the picture's height if that is exact enough."""
    shape = Fraction(size[0], size[1]) * aspect
    width = round(size[1] * shape)
    if width <= widest and size[1] <= highest and abs(Fraction(width, size[1]) / shape - 1) <= _LARGEST_ERROR:
        return width, size[1]
    near = shape.limit_denominator(min(highest, int(widest / max(shape, Fraction(1)))))
    return near.numerator, near.denominator


def _walk(data: bytearray, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The ID of each element, and where its content starts and stops, inside those that lead to the video track.

    Of the checksums it yields only that of the tracks.
    """
    while start < stop:
        key, at = _read_number(data, start, keep_length=True)
        size, at = _read_number(data, at)
        end = min(at + size, stop)
        if key in (_TRACKS, _VIDEO, _STEREO, _DISPLAY_WIDTH, _DISPLAY_HEIGHT):
            yield key, at, end
        if key == _TRACKS and data[at] == _CRC:
            yield _CRC, at + 2, at + 6
        if key in (_SEGMENT, _TRACKS, _TRACK, _VIDEO):
            yield from _walk(data, at, end)
        if key == _TRACKS:
            return
        start = end


def _read_number(data: bytearray, at: int, keep_length: bool = False) -> tuple[int, int]:
    """A number of variable length (RFC 8794), and where it ends. IDs keep the bit that marks their length."""
    length = 9 - data[at].bit_length()
    number = int.from_bytes(data[at : at + length], "big")
    return number if keep_length else number & ((1 << 7 * length) - 1), at + length
