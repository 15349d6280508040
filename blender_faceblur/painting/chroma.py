# SPDX-License-Identifier: GPL-3.0-or-later
"""Read where a film's chroma samples lie, which PyAV does not tell, from the header of its codec: H.264, H.265, AV1."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SPS = 33
"""The NAL unit type of a sequence parameter set (ITU-T H.265, table 7-1)."""
_SPS_H264 = 7
"""The same in H.264 (ITU-T H.264, table 7-1)."""
_PROFILES_WITH_CHROMA = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""H.264's profiles whose parameter set names the chroma format (7.3.2.1.1)."""
_AV1_PLACES = (0, 1, 3, 0)
"""AV1's chroma_sample_position: unknown, left, top left (AV1 specification, 6.4.2)."""

_PLACES = 6
"""Left, centre, top left, top, bottom left, bottom."""


class _Bits:
    """A NAL unit's payload, bit by bit. Raises ValueError at its end."""

    def __init__(self, payload: bytes) -> None:
        plain = payload.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in plain)
        self._at = 0

    def read(self, count: int) -> int:
        self._at += count
        if self._at > len(self._bits):
            raise ValueError("the parameter set is cut off")
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def read_ue(self) -> int:
        """An Exp-Golomb number (9.1); signed ones take the same bits."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def read_se(self) -> int:
        """A signed Exp-Golomb number (9.1.1)."""
        number = self.read_ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)

    def skip_ue(self, count: int) -> None:
        for _ in range(count):
            self.read_ue()


def read_chroma_location(extradata: bytes, codec: str) -> int:
    """FFmpeg's number of the chroma location (AVChromaLocation) in a stream's header; 0 if it names none.

    `codec` is FFmpeg's name. Codecs other than H.264, H.265 and AV1 name none.
    """
    try:
        if codec == "av1":
            # In the box av1C, which Matroska has too (AV1 in ISOBMFF, 2.3).
            return _AV1_PLACES[extradata[2] & 3] if extradata[0] == 0x81 else 0
        if codec == "h264":
            units = list(_list_units_h264(extradata))
            unit = next((unit for unit in units if unit[0] & 31 == _SPS_H264), None)
            return 0 if unit is None else _read_set_h264(_Bits(unit[1:]))
        if codec != "hevc":
            return 0
        unit = next((unit for unit in _list_units(extradata) if unit[0] >> 1 & 63 == _SPS), None)
        return 0 if unit is None else _read_set(_Bits(unit[2:]))
    except (ValueError, IndexError):
        return 0


def _list_units(extradata: bytes) -> Iterator[bytes]:
    """The NAL units of a header: in an MP4's box (ISO/IEC 14496-15, 8.3.3.1), or after start codes."""
    if extradata[:1] != b"\1":
        yield from filter(None, re.split(rb"\x00\x00\x00?\x01", extradata))
        return
    at = 23
    for _ in range(extradata[22]):
        count, at = int.from_bytes(extradata[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def _list_units_h264(extradata: bytes) -> Iterator[bytes]:
    """The NAL units of a header: in an MP4's box (ISO/IEC 14496-15, 5.3.3.1), or after start codes."""
    if extradata[:1] != b"\1":
        yield from filter(None, re.split(rb"\x00\x00\x00?\x01", extradata))
        return
    at = 6
    for _ in range(extradata[5] & 31):
        size = int.from_bytes(extradata[at : at + 2], "big")
        yield extradata[at + 2 : at + 2 + size]
        at += 2 + size


def _read_set_h264(bits: _Bits) -> int:
    """ITU-T H.264, 7.3.2.1.1."""
    profile = bits.read(8)
    bits.read(16)
    bits.read_ue()
    if profile in _PROFILES_WITH_CHROMA:
        chroma = bits.read_ue()
        if chroma == 3:
            bits.read(1)
        bits.skip_ue(2)
        bits.read(1)
        if bits.read(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.read_ue()
    order = bits.read_ue()
    if order == 0:
        bits.read_ue()
    elif order == 1:
        bits.read(1)
        bits.skip_ue(2)
        bits.skip_ue(bits.read_ue())
    bits.read_ue()
    bits.read(1)
    bits.skip_ue(2)
    if not bits.read(1):
        bits.read(1)
    bits.read(1)
    if bits.read(1):
        bits.skip_ue(4)
    return _read_vui(bits)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    """ITU-T H.264, 7.3.2.1.1.1: a list ends early where a scale is 0."""
    scale = 8
    for _ in range(size):
        scale = (scale + bits.read_se()) % 256
        if not scale:
            return


def _read_set(bits: _Bits) -> int:
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 88 + 8)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    bits.read(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.read_ue()
    if bits.read_ue() == 3:
        bits.read(1)
    bits.skip_ue(2)
    if bits.read(1):
        bits.skip_ue(4)
    bits.skip_ue(2)
    order_bits = bits.read_ue() + 4
    bits.skip_ue(3 * (layers + 1 if bits.read(1) else 1))
    bits.skip_ue(6)
    if bits.read(1) and bits.read(1):
        _skip_scaling_lists(bits)
    bits.read(2)
    if bits.read(1):
        bits.read(8)
        bits.skip_ue(2)
        bits.read(1)
    _skip_reference_sets(bits, bits.read_ue())
    if bits.read(1):
        bits.read(bits.read_ue() * (order_bits + 1))
    bits.read(2)
    return _read_vui(bits)


def _skip_scaling_lists(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.read(1):
                bits.read_ue()
            else:
                bits.skip_ue((1 if size > 1 else 0) + min(64, 1 << (4 + 2 * size)))


def _skip_reference_sets(bits: _Bits, count: int) -> None:
    """Short-term reference picture sets (ITU-T H.265, 7.3.7). A set may follow from the one before it."""
    pictures = 0
    for index in range(count):
        if index and bits.read(1):
            bits.read(1)
            bits.read_ue()
            used = 0
            for _ in range(pictures + 1):
                used += 1 if bits.read(1) or bits.read(1) else 0
            pictures = used
        else:
            pictures = bits.read_ue() + bits.read_ue()
            for _ in range(pictures):
                bits.read_ue()
                bits.read(1)


def _read_vui(bits: _Bits) -> int:
    """The chroma location in video usability information (annex E)."""
    if not bits.read(1):
        return 0
    if bits.read(1) and bits.read(8) == 255:
        bits.read(32)
    if bits.read(1):
        bits.read(1)
    if bits.read(1):
        bits.read(4)
        if bits.read(1):
            bits.read(24)
    place = bits.read_ue() + 1 if bits.read(1) else 0
    return place if place <= _PLACES else 0
