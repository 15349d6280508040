# SPDX-License-Identifier: GPL-3.0-or-later
"""Write JPEG pictures from Y'CbCr, R'G'B' or grey samples, with given quantization tables.

Samples that come from a JPEG's own decoder get back almost exactly the coefficients they had, if the tables are the
same. An encoder that takes only RGB pictures and a quality would convert colours and quantize once more.

The files are baseline JPEG with Huffman codes made for the picture (ITU-T T.81).
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError

Coefficients = NDArray[np.int16]
"""MCUs x blocks of an MCU x 64, quantized, in zigzag order."""

_ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))
"""Row * 8 + column of the coefficients, in the order in which files store them (figure A.6)."""

_ZIGZAG_COLUMNS = np.array([n % 8 * 8 + n // 8 for n in _ZIGZAG])
"""The same positions as column * 8 + row."""

_SIZES = np.array([value.bit_length() for value in range(4096)], np.uint8)
"""The number of bits of a magnitude, which is its category (tables F.1 and F.2)."""

_BLOCKS_AT_ONCE = 1 << 15
"""Bounds the memory for one step; each block takes up to 64 symbols of about 40 bytes."""

_END_OF_BLOCK, _SIXTEEN_ZEROS = 0x00, 0xF0

_NO_DENSITY = struct.pack(">BHH", 0, 1, 1)
"""JFIF's unit and density where a picture names none: only that pixels are square."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the header of a JPEG says."""

    frame: int
    """The number of the frame marker: 0 and 1 for sequential, 2 for progressive pictures, others for rare kinds."""
    tables: tuple[tuple[int, ...], ...]
    """The quantization table of each component, in zigzag order."""
    density: bytes
    """JFIF's unit, horizontal and vertical density (5 bytes)."""
    has_more_pictures: bool
    """Whether the file holds further pictures in the Multi-Picture Format (CIPA DC-007)."""


def parse_jpeg(data: bytes) -> JpegHeader:
    """Read the segments before the first scan. Raises FaceBlurError if something is missing there."""
    tables: dict[int, tuple[int, ...]] = {}
    density, more, frame = _NO_DENSITY, False, None
    numbers: list[int] = []
    at = 2
    try:
        while data[at + 1] != 0xDA:
            marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
            if data[at] != 0xFF:
                break
            if marker == 0xFF:
                at += 1
                continue
            body = data[at + 4 : at + 2 + length]
            if marker == 0xE0 and body.startswith(b"JFIF\0"):
                density = body[7:12].ljust(5, b"\1")
            elif marker == 0xE2 and body.startswith(b"MPF\0"):
                more = True
            elif marker == 0xDB:
                tables.update(_parse_tables(body))
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                frame = marker - 0xC0
                numbers = [body[8 + 3 * component] for component in range(body[5])]
            at += 2 + length
    except (IndexError, struct.error):
        raise FaceBlurError("the picture's header is incomplete") from None
    if frame is None or not all(number in tables for number in numbers):
        raise FaceBlurError("the picture's header has no quantization tables")
    return JpegHeader(frame, tuple(tables[number] for number in numbers), density, more)


def _parse_tables(body: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        yield number, struct.unpack_from(">64" + ("H" if wide else "B"), body, at + 1)
        at += 1 + 64 * (2 if wide else 1)


def encode_jpeg(
    planes: Sequence[NDArray[np.uint8]],
    tables: Sequence[Sequence[int]],
    density: bytes = _NO_DENSITY,
    chroma_shift: tuple[int, int] = (0, 0),
    is_rgb: bool = False,
) -> bytes:
    """The file with these planes: grey, or Y, Cb, Cr (full range), or with `is_rgb` R, G, B.

    The second and third plane have 1 / 2**shift of the columns and rows of the first, rounded up. `tables` are the
    planes' quantization tables in zigzag order.
    """
    height, width = planes[0].shape
    # Baseline files have tables of 8 bits. A smaller divisor keeps more.
    fitting = [np.clip(np.array(table), 1, 255).astype(np.uint8) for table in tables]
    factors = [(1 << chroma_shift[0], 1 << chroma_shift[1])] + [(1, 1)] * (len(planes) - 1)
    if len(planes) == 1:
        factors = [(1, 1)]
    mcus = -(-width // (8 * factors[0][0])), -(-height // (8 * factors[0][1]))
    parts = [
        _transform(plane, table, factor, mcus) for plane, table, factor in zip(planes, fitting, factors, strict=True)
    ]
    coefficients = np.concatenate(parts, axis=1)
    components = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
    scan, codes = _encode_scan(coefficients, components)

    names = b"RGB" if is_rgb else b"\1\2\3"
    frame = struct.pack(">BHHB", 8, height, width, len(planes))
    start = bytes([len(planes)])
    for number, (h, v) in enumerate(factors):
        frame += bytes([names[number], h << 4 | v, number])
        start += bytes([names[number], 0x11 if number else 0x00])
    segments = [_make_segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0))]
    if not is_rgb:
        segments = [_make_segment(0xE0, b"JFIF\0\1\1" + density + b"\0\0")]
    segments += [_make_segment(0xDB, bytes([number]) + table.tobytes()) for number, table in enumerate(fitting)]
    segments.append(_make_segment(0xC0, frame))
    segments += [
        _make_segment(0xC4, bytes([number % 2 << 4 | number // 2]) + code.describe())
        for number, code in enumerate(codes)
        if code.symbols
    ]
    segments.append(_make_segment(0xDA, start + b"\0\x3f\0"))
    return b"\xff\xd8" + b"".join(segments) + scan + b"\xff\xd9"


def _make_segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def _transform(
    plane: NDArray[np.uint8], table: NDArray[np.uint8], factor: tuple[int, int], mcus: tuple[int, int]
) -> Coefficients:
    """The quantized coefficients of a plane, in the order of the MCUs, of which there are `mcus` columns and rows."""
    (h, v), (columns, rows) = factor, mcus
    k, n = np.arange(8)[:, None], np.arange(8)
    cosines = np.cos((2 * n + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    turned = np.ascontiguousarray(cosines.T, np.float32)
    lowest = np.full(64, -1023, np.float32)
    lowest[0] = -1024
    done = np.empty((columns * rows, v * h, 64), np.int16)
    band = max(1, _BLOCKS_AT_ONCE // (columns * h * v))
    for first in range(0, rows, band):
        last = min(first + band, rows)
        part = plane[first * 8 * v : last * 8 * v]
        missing = (last - first) * 8 * v - part.shape[0], columns * 8 * h - part.shape[1]
        if part.shape[0] == 0:
            part, missing = plane[-1:], (missing[0] - 1, missing[1])
        samples = np.pad(part, ((0, missing[0]), (0, missing[1])), "edge").astype(np.float32) - 128
        across = (samples.reshape(-1, 8) @ turned).reshape(-1, 8, columns * h, 8).transpose(0, 2, 3, 1)
        both = np.ascontiguousarray(across).reshape(-1, 8) @ turned
        zigzag = both.reshape(-1, 64)[:, _ZIGZAG_COLUMNS] / table
        quantized = np.clip(np.rint(zigzag), lowest, 1023).astype(np.int16)
        ordered = quantized.reshape(last - first, v, columns, h, 64).transpose(0, 2, 1, 3, 4)
        done[first * columns : last * columns] = ordered.reshape(-1, v * h, 64)
    return done


@dataclass(frozen=True, slots=True)
class _Code:
    """A Huffman code."""

    lengths: tuple[int, ...]
    """How many symbols have a code of 1, 2, ..., 16 bits."""
    symbols: bytes
    """The symbols, ordered by the lengths of their codes."""

    def describe(self) -> bytes:
        """As the file stores it."""
        return bytes(self.lengths) + self.symbols


def _encode_scan(coefficients: Coefficients, components: NDArray[np.intp]) -> tuple[bytes, list[_Code]]:
    """The scan's data and its codes: for DC and AC of the first component, and for DC and AC of the others.

    `components` names the component of each block of an MCU.
    """
    differences = np.empty(coefficients.shape[:2], np.int16)
    for component in np.unique(components):
        mine = components == component
        levels = coefficients[:, mine, 0]
        differences[:, mine] = np.diff(levels.ravel(), prepend=np.int16(0)).reshape(levels.shape)
    step = max(1, _BLOCKS_AT_ONCE // len(components))
    starts = range(0, len(coefficients), step)

    def list_tokens(start: int) -> _Tokens:
        stop = start + step
        return _list_tokens(coefficients[start:stop], differences[start:stop], components)

    counts = np.zeros(4 * 256, np.int64)
    for start in starts:
        counts += np.bincount(list_tokens(start).symbols, minlength=len(counts))
    codes = [_make_code(part) for part in counts.reshape(4, 256)]
    words = np.zeros(4 * 256, np.uint64)
    lengths = np.zeros(4 * 256, np.int64)
    for number, code in enumerate(codes):
        for symbol, word, length in _list_words(code):
            words[number * 256 + symbol], lengths[number * 256 + symbol] = word, length

    packed, rest, rest_length = [], 0, 0
    for start in starts:
        tokens = list_tokens(start)
        bits = words[tokens.symbols] << tokens.sizes.astype(np.uint64) | tokens.values.astype(np.uint64)
        sizes = lengths[tokens.symbols] + tokens.sizes
        whole, rest, rest_length = _pack(
            np.concatenate(([np.uint64(rest)], bits)), np.concatenate(([rest_length], sizes))
        )
        packed.append(whole)
    if rest_length:
        # The last byte is filled with ones.
        packed.append(bytes([rest << (8 - rest_length) | (1 << (8 - rest_length)) - 1]))
    return b"".join(packed).replace(b"\xff", b"\xff\0"), codes


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What is written for some blocks, in this order: N symbols, each followed by the bits of a value."""

    symbols: NDArray[np.intp]
    """256 * number of the code + symbol."""
    values: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """The number of bits of each value; 0 if there is none."""


def _list_tokens(blocks: Coefficients, differences: NDArray[np.int16], components: NDArray[np.intp]) -> _Tokens:
    """Annex F.1.2. `blocks` is a part of the MCUs, `differences` have the DC coefficients of their blocks."""
    codes = np.tile(np.minimum(components, 1) * 2, len(blocks))
    flat = blocks.reshape(-1, 64)
    block, place = np.nonzero(flat[:, 1:])
    place += 1
    values = flat[block, place].astype(np.int64)
    before = np.zeros_like(place)
    before[1:] = np.where(block[1:] == block[:-1], place[:-1], 0)
    zeros = place - before - 1
    sizes = _SIZES[np.abs(values)].astype(np.int64)
    ac = (codes[block] + 1) * 256

    levels = differences.ravel().astype(np.int64)
    level_sizes = _SIZES[np.abs(levels)].astype(np.int64)

    long = np.repeat(np.arange(len(block)), zeros >> 4)
    last = np.zeros(len(flat), np.intp)
    # Of several places in one block the greatest, which comes last, remains.
    last[block] = place
    ends = np.flatnonzero(last < 63)

    nothing = np.zeros(len(long) + len(ends), np.int64)
    symbols = np.concatenate(
        (
            codes * 256 + level_sizes,
            ac[long] + _SIXTEEN_ZEROS,
            ac + ((zeros & 15) << 4 | sizes),
            (codes[ends] + 1) * 256 + _END_OF_BLOCK,
        )
    )
    plain = np.concatenate((levels, nothing[: len(long)], values, nothing[len(long) :]))
    lengths = np.concatenate((level_sizes, nothing[: len(long)], sizes, nothing[len(long) :]))
    # Negative values are stored as one less, without the bits above their size.
    stored = np.where(plain < 0, plain - 1, plain) & ((1 << lengths) - 1)
    places = np.concatenate(
        (np.arange(len(flat)) * 65, block[long] * 65 + place[long], block * 65 + place, ends * 65 + 64)
    )
    order = np.argsort(places, kind="stable")
    return _Tokens(symbols[order], stored[order], lengths[order])


def _make_code(counts: NDArray[np.int64]) -> _Code:
    """The best code for symbols that occur so often, of at most 16 bits (annex K.2)."""
    # The code of ones only must stay unused, so it gets a symbol of its own, the rarest one.
    heap = [(int(counts[symbol]), symbol, [symbol]) for symbol in np.flatnonzero(counts)]
    if not heap:
        return _Code((0,) * 16, b"")
    heap.append((0, 256, [256]))
    heapq.heapify(heap)
    depths = dict.fromkeys([symbol for _, symbol, _ in heap], 0)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        joined = first[2] + second[2]
        for symbol in joined:
            depths[symbol] += 1
        heapq.heappush(heap, (first[0] + second[0], max(first[1], second[1]), joined))
    lengths = Counter(depths.values())
    for length in range(max(lengths), 16, -1):
        while lengths[length]:
            shorter = length - 2
            while not lengths[shorter]:
                shorter -= 1
            lengths[length] -= 2
            lengths[length - 1] += 1
            lengths[shorter + 1] += 2
            lengths[shorter] -= 1
    lengths[max(length for length, count in lengths.items() if count)] -= 1
    ordered = sorted((symbol for symbol in depths if symbol != 256), key=lambda symbol: (depths[symbol], symbol))
    return _Code(tuple(lengths[length] for length in range(1, 17)), bytes(ordered))


def _list_words(code: _Code) -> Iterator[tuple[int, int, int]]:
    """Each symbol with its code word and the word's length (annex C)."""
    symbols = iter(code.symbols)
    word = 0
    for length, count in enumerate(code.lengths, 1):
        for _ in range(count):
            yield next(symbols), word, length
            word += 1
        word <<= 1


def _pack(bits: NDArray[np.uint64], sizes: NDArray[np.int64]) -> tuple[bytes, int, int]:
    """Words of up to 27 bits one after the other: the whole bytes, and the bits that remain with their number."""
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    starts = ends - sizes
    cells = total // 32 + 2
    # A word touches two cells of 32 bits at most. Words don't overlap, so sums join them, exactly in 64-bit floats.
    shifted = bits << (64 - sizes - starts % 32).astype(np.uint64)
    at = starts // 32
    filled = np.bincount(at, (shifted >> np.uint64(32)).astype(np.float64), cells)
    filled += np.bincount(at + 1, (shifted & np.uint64(0xFFFFFFFF)).astype(np.float64), cells)
    data = filled.astype(">u4").tobytes()
    whole, rest = divmod(total, 8)
    return data[:whole], data[whole] >> (8 - rest) if rest else 0, rest
