# SPDX-License-Identifier: GPL-3.0-or-later
"""HEIC and AVIF pictures: their container is read here, and FFmpeg decodes what it holds.

The container is a tree of boxes (ISO/IEC 14496-12) with numbered items (ISO/IEC 23008-12): the picture, which may be a
grid of tiles, its transparency, and others such as thumbnails. FFmpeg's own reader gives single tiles.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError

BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif"})
"""The main brands of files that hold a picture."""
ANIMATED_BRANDS = frozenset({b"avis", b"hevc", b"hevx", b"msf1"})

KEPT_PROPERTIES = frozenset({b"colr", b"clli", b"mdcv", b"cclv", b"amve", b"ndwt", b"pasp", b"irot", b"imir"})
"""Boxes that say what the numbers of the pixels mean, and how the picture is turned."""
_UNDERSTOOD = KEPT_PROPERTIES | {b"hvcC", b"av1C", b"ispe", b"clap", b"pixi", b"auxC", b"a1op", b"lsel", b"a1lx"}
_DECODERS = {b"hvc1": ("hevc", b"hvcC"), b"av01": ("av1", b"av1C")}
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_DEPTH = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth", b"urn:mpeg:hevc:2015:auxid:2")

_MOST_ITEMS = 4096
"""Of any kind. A picture of 268 million pixels in tiles of 512 x 512 has 1024."""
_SPARE_SIDE = 128
"""How many more columns and rows a codec may have than the container announces, for its padding."""


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    """Where its data lies: 0 for the file or 1 for the box idat, offset, length (0: up to the end)."""
    properties: list[tuple[bytes, bytes, bool]] = field(default_factory=list)
    """Name, content, and whether a reader must understand it."""
    references: dict[bytes, list[int]] = field(default_factory=dict)

    @property
    def auxiliary(self) -> bytes:
        """What an auxiliary picture is, as a URN; empty for other items."""
        return (self.find(b"auxC") or b"")[4:].split(b"\0")[0]

    def find(self, name: bytes) -> bytes | None:
        return next((content for one, content, _ in self.properties if one == name), None)


@dataclass(frozen=True, slots=True)
class _Tile:
    codec: str
    header: bytes
    data: bytes
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Layer:
    """The samples of a picture, or of its transparency: tiles from left to right and from top to bottom."""

    width: int
    height: int
    columns: int
    tiles: list[_Tile]


@dataclass(frozen=True, slots=True)
class HeifPicture:
    """A picture as its file stores it, before it is turned. Its sizes are those that the header announces."""

    kind: str
    """"HEIC" or "AVIF"."""
    width: int
    height: int
    colors: _Layer
    alpha: _Layer | None
    is_multiplied: bool
    """Whether the colours are multiplied by alpha."""
    place: tuple[int, int, int, int]
    """Left, top, width and height of the part that is shown."""
    properties: list[tuple[bytes, bytes, bool]]
    """Boxes of `KEPT_PROPERTIES`: name, content, and whether a reader must understand it."""
    left_out: list[str]
    """What else the file holds, in words for the user."""

    @property
    def upright_turn(self) -> int:
        """Degrees clockwise by which the picture must be rotated for people to stand upright."""
        return next(turn for turn, up in _DIRECTIONS.items() if self._show(up) == (0, -1))

    def _show(self, direction: tuple[int, int]) -> tuple[int, int]:
        """Where a direction (x to the right, y down) of the stored picture points when it is shown."""
        x, y = direction
        for name, content, _ in self.properties:
            if name == b"irot":
                for _ in range(content[0] & 3):
                    x, y = y, -x
            elif name == b"imir":
                x, y = (-x, y) if content[0] & 1 else (x, -y)
        return x, y


_DIRECTIONS = {0: (0, -1), 90: (-1, 0), 180: (0, 1), 270: (1, 0)}
"""Which direction of a stored picture is above, by the rotation that makes it upright."""


def is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS


def list_boxes(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box, and where its content begins and ends. Ends at the first that is damaged."""
    at, stop = start, len(data) if stop is None else stop
    while at + 8 <= stop:
        size, name = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
        begin = at + 8
        if size == 1:
            size, begin = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + size if size else stop
        if end < begin or end > stop:
            return
        yield name, begin, end
        at = end


def parse_heif(data: bytes, name: str) -> HeifPicture:
    """Read the container, without decoding. Raises FaceBlurError, beginning with `name`."""
    try:
        return _parse(data)
    except _UnsupportedError as error:
        raise FaceBlurError(f"{name}: {error}") from None
    except (struct.error, IndexError, KeyError, ValueError, ZeroDivisionError):
        raise FaceBlurError(f"{name}: the picture is damaged or has an unknown format") from None


def list_item_kinds(data: bytes) -> list[str]:
    """The kind of each item, such as "hvc1" or "Exif", and the name of each other box, such as "mpvd".

    Raises struct.error or IndexError if the file is damaged.
    """
    kinds = []
    for name, begin, end in list_boxes(data):
        if name == b"meta":
            items: dict[int, _Item] = {}
            for inner, at, stop in list_boxes(data, begin + 4, end):
                if inner == b"iinf":
                    _read_kinds(data, (at, stop), items)
            kinds += [item.kind for item in items.values()]
        elif name not in (b"ftyp", b"mdat", b"free"):
            kinds.append(name)
    return [kind.decode("ascii", "replace") for kind in kinds]


class _UnsupportedError(Exception):
    """A picture that is not damaged, but cannot be covered. Its text is for the user."""


def _parse(data: bytes) -> HeifPicture:
    meta = next(((begin + 4, end) for name, begin, end in list_boxes(data) if name == b"meta"), None)
    if meta is None:
        raise ValueError("no items")
    boxes = {name: (begin, end) for name, begin, end in list_boxes(data, *meta)}
    begin = boxes[b"pitm"][0]
    primary = struct.unpack_from(">I" if data[begin] else ">H", data, begin + 4)[0]
    items: dict[int, _Item] = {}
    _read_kinds(data, boxes[b"iinf"], items)
    _read_places(data, boxes[b"iloc"], items)
    _read_properties(data, boxes[b"iprp"], items)
    if b"iref" in boxes:
        _read_references(data, boxes[b"iref"], items)
    idat = data[slice(*boxes[b"idat"])] if b"idat" in boxes else b""
    item = items[primary]
    if item.kind not in (b"grid", *_DECODERS):
        kind = item.kind.decode("ascii", "replace")
        raise _UnsupportedError(f"pictures of the kind {kind!r} in HEIC and AVIF files are not supported")
    colors = _read_layer(data, idat, items, item)
    unknown = [name for name, _, is_needed in item.properties if is_needed and name not in _UNDERSTOOD]
    if unknown:
        raise _UnsupportedError(f"the picture needs {unknown[0].decode('ascii', 'replace')!r}, which is not supported")
    alpha, is_multiplied = _read_alpha(data, idat, items, primary)
    if alpha is not None and (alpha.width, alpha.height) != (colors.width, colors.height):
        raise _UnsupportedError("the transparency does not have the picture's size")
    codec = colors.tiles[0].codec
    return HeifPicture(
        "HEIC" if codec == "hevc" else "AVIF",
        colors.width,
        colors.height,
        colors,
        alpha,
        is_multiplied,
        _read_place(item, colors.width, colors.height),
        [one for one in item.properties if one[0] in KEPT_PROPERTIES],
        _list_left_out(data, items, primary),
    )


def _read_alpha(data: bytes, idat: bytes, items: dict[int, _Item], primary: int) -> tuple[_Layer | None, bool]:
    """The primary item's transparency, and whether its colours are multiplied by it."""
    for number, item in items.items():
        if item.auxiliary in _ALPHA and primary in item.references.get(b"auxl", ()):
            layer = _read_layer(data, idat, items, item)
            return layer, number in items[primary].references.get(b"prem", ())
    return None, False


def _list_left_out(data: bytes, items: dict[int, _Item], primary: int) -> list[str]:
    found = set()
    parts = {part for item in items.values() for part in item.references.get(b"dimg", ())}
    for number, item in items.items():
        is_picture = item.kind == b"grid" or (item.kind in _DECODERS and number not in parts)
        if item.auxiliary in _DEPTH:
            found.add("the depth map")
        elif b"gainmap" in item.auxiliary or item.kind == b"tmap":
            found.add("the gain map, which makes the picture brighter on HDR screens")
        elif item.auxiliary and item.auxiliary not in _ALPHA:
            found.add("an auxiliary picture")
        elif is_picture and not item.auxiliary and number != primary and b"thmb" not in item.references:
            found.add("a further picture")
    if {name for name, _, _ in list_boxes(data)} & {b"moov", b"mpvd"}:
        found.add("the film in the file")
    return sorted(found)


def _read_kinds(data: bytes, box: tuple[int, int], items: dict[int, _Item]) -> None:
    begin, end = box
    entries = begin + (8 if data[begin] else 6)
    for name, at, _ in list_boxes(data, entries, end):
        version = data[at]
        if name != b"infe" or version < 2:
            continue
        number = struct.unpack_from(">I" if version > 2 else ">H", data, at + 4)[0]
        kind = at + (10 if version > 2 else 8)
        items[number] = _Item(bytes(data[kind : kind + 4]))
        if len(items) > _MOST_ITEMS:
            raise _UnsupportedError("the file has too many parts")


def _read_number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ValueError("cut off")
    return int.from_bytes(data[at : at + size], "big")


def _read_places(data: bytes, box: tuple[int, int], items: dict[int, _Item]) -> None:
    begin, end = box
    version = data[begin]
    sizes = struct.unpack_from(">H", data, begin + 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    wide = 4 if version > 1 else 2
    at = begin + 6
    count = _read_number(data, at, wide)
    at += wide
    for _ in range(count):
        number = _read_number(data, at, wide)
        at += wide
        method = 0
        if version:
            method = _read_number(data, at, 2) & 15
            at += 2
        source = _read_number(data, at, 2)
        base = _read_number(data, at + 2, base_size)
        at += 2 + base_size
        extents = _read_number(data, at, 2)
        if extents > 1 and not offset_size + length_size:
            raise ValueError("the same place many times")
        at += 2
        for _ in range(extents):
            at += index_size
            offset = base + _read_number(data, at, offset_size)
            length = _read_number(data, at + offset_size, length_size)
            at += offset_size + length_size
            if at > end:
                raise ValueError("cut off")
            # Other files (source), and items inside of items (method 2), are not followed.
            if number in items and not source and method < 2:
                items[number].parts.append((method, offset, length))


def _read_properties(data: bytes, box: tuple[int, int], items: dict[int, _Item]) -> None:
    known: list[tuple[bytes, bytes]] = []
    for name, begin, end in list_boxes(data, *box):
        if name == b"ipco":
            known = [(one, bytes(data[at:stop])) for one, at, stop in list_boxes(data, begin, end)]
    for name, begin, end in list_boxes(data, *box):
        if name != b"ipma":
            continue
        version, wide = data[begin], data[begin + 3] & 1
        at = begin + 8
        for _ in range(struct.unpack_from(">I", data, begin + 4)[0]):
            number = _read_number(data, at, 4 if version else 2)
            at += 4 if version else 2
            count, at = data[at], at + 1
            for _ in range(count):
                value = _read_number(data, at, 1 + wide)
                at += 1 + wide
                top = 1 << (7 + 8 * wide)
                index = value & (top - 1)
                if at > end:
                    raise ValueError("cut off")
                if number in items and index:
                    items[number].properties.append((*known[index - 1], bool(value & top)))


def _read_references(data: bytes, box: tuple[int, int], items: dict[int, _Item]) -> None:
    begin, end = box
    wide = 4 if data[begin] else 2
    for name, at, stop in list_boxes(data, begin + 4, end):
        number = _read_number(data, at, wide)
        count = _read_number(data, at + wide, 2)
        if at + wide + 2 + wide * count > stop:
            raise ValueError("cut off")
        targets = [_read_number(data, at + wide + 2 + wide * n, wide) for n in range(count)]
        if number in items:
            items[number].references.setdefault(name, []).extend(targets)


def _read_data(data: bytes, idat: bytes, item: _Item) -> bytes:
    # A small file must not become a large one by naming the same bytes again and again.
    parts, count = [], 0
    for method, offset, length in item.parts:
        holder = idat if method else data
        stop = offset + length if length else len(holder)
        if stop > len(holder) or offset > stop:
            raise ValueError("cut off")
        count += stop - offset
        if count > len(data):
            raise ValueError("more than the file holds")
        parts.append(holder[offset:stop])
    if not parts:
        raise ValueError("no data")
    return b"".join(parts)


def _read_extent(item: _Item) -> tuple[int, int]:
    """Width and height that the item announces."""
    width, height = struct.unpack_from(">II", item.find(b"ispe") or b"", 4)
    if not width or not height:
        raise ValueError("no pixels")
    return width, height


def _read_tile(data: bytes, idat: bytes, item: _Item) -> _Tile:
    codec, header = _DECODERS[item.kind]
    return _Tile(codec, item.find(header) or b"", _read_data(data, idat, item), _read_extent(item))


def _read_layer(data: bytes, idat: bytes, items: dict[int, _Item], item: _Item) -> _Layer:
    if item.kind != b"grid":
        tile = _read_tile(data, idat, item)
        return _Layer(*tile.size, 1, [tile])
    # ISO/IEC 23008-12, 6.6.2.3.
    grid = _read_data(data, idat, item)
    rows, columns = grid[2] + 1, grid[3] + 1
    width, height = struct.unpack_from(">II" if grid[1] & 1 else ">HH", grid, 4)
    parts = [items[number] for number in item.references.get(b"dimg", [])]
    if len(parts) != rows * columns:
        raise ValueError("tiles are missing")
    first = _read_extent(parts[0])
    if any(_read_extent(part) != first or part.kind != parts[0].kind for part in parts):
        raise ValueError("tiles of several sizes")
    covers = first[0] * (columns - 1) < width <= first[0] * columns
    if not covers or not first[1] * (rows - 1) < height <= first[1] * rows:
        raise ValueError("the tiles do not make the picture")
    if any(one in (b"irot", b"imir", b"clap") for part in parts for one, _, _ in part.properties):
        raise _UnsupportedError("turned tiles are not supported")
    tiles, count = [], 0
    for part in parts:
        tiles.append(_read_tile(data, idat, part))
        count += len(tiles[-1].data)
        if count > len(data):
            raise ValueError("more than the file holds")
    return _Layer(width, height, columns, tiles)


def _read_place(item: _Item, width: int, height: int) -> tuple[int, int, int, int]:
    """The part that the box clap (ISO/IEC 14496-12, 12.1.4) shows."""
    order = [name for name, _, _ in item.properties if name in (b"clap", b"irot", b"imir")]
    if b"clap" not in order:
        return 0, 0, width, height
    if order[0] != b"clap" or order.count(b"clap") > 1:
        raise _UnsupportedError("a picture that is turned before it is cut is not supported")
    numbers = struct.unpack_from(">IIIIiIiI", item.find(b"clap") or b"")
    wide, high, right, down = (Fraction(*numbers[n : n + 2]) for n in range(0, 8, 2))
    left, top = (width - wide) / 2 + right, (height - high) / 2 + down
    if any(one.denominator != 1 for one in (wide, high, left, top)):
        raise _UnsupportedError("a picture that is cut between two pixels is not supported")
    if left < 0 or top < 0 or wide < 1 or high < 1 or left + wide > width or top + high > height:
        raise ValueError("cut outside of the picture")
    return int(left), int(top), int(wide), int(high)


def decode_heif(picture: HeifPicture, name: str) -> tuple[Any, NDArray[Any] | None, tuple[int, int, int, int]]:
    """Decode a picture: PyAV's frame with its samples, and its transparency in the same depth, not turned.

    What the box clap hides is not part of them, except for one column and row that may share their colour samples with
    the first visible ones; the last result is the place of the visible part in the frame. Raises FaceBlurError.
    """
    import av

    try:
        frame, bits = _decode_layer(picture.colors, picture.place)
        alpha = None
        if picture.alpha is not None:
            layer, alpha_bits = _decode_layer(picture.alpha, picture.place)
            samples = list_samples(layer)[0]
            most, alpha_most = (1 << bits) - 1, (1 << alpha_bits) - 1
            depth = np.uint8 if bits == 8 else np.uint16
            alpha = ((samples.astype(np.uint32) * most + alpha_most // 2) // alpha_most).astype(depth)
            if alpha.shape != (frame.height, frame.width):
                raise ValueError("the transparency has another size")
        _set_colors(frame, picture)
    except (av.error.FFmpegError, ValueError, KeyError):
        raise FaceBlurError(f"{name}: the picture is damaged or has an unknown format") from None
    except MemoryError:
        raise FaceBlurError(f"{name}: there is not enough memory to decode the picture") from None
    left, top, width, height = picture.place
    return frame, alpha, (left - left // 2 * 2, top - top // 2 * 2, width, height)


def list_samples(frame: Any) -> list[NDArray[Any]]:
    """Views of a planar frame's planes."""
    depth = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    planes = []
    for plane in frame.planes:
        rows: Any = np.frombuffer(plane, depth)
        planes.append(rows.reshape(plane.height, -1)[:, : plane.width])
    return planes


def _decode_layer(layer: _Layer, place: tuple[int, int, int, int]) -> tuple[Any, int]:
    """A frame with the samples in `place`, from an even column and row on, and their bits."""
    import av

    left, top = place[0] // 2 * 2, place[1] // 2 * 2
    width, height = place[0] + place[2] - left, place[1] + place[3] - top
    whole: Any = None
    for number, tile in enumerate(layer.tiles):
        decoded = _decode_tile(tile)
        if whole is None:
            whole = av.VideoFrame(width, height, decoded.format.name)
            for key in ("color_range", "colorspace", "color_primaries", "color_trc"):
                setattr(whole, key, getattr(decoded, key))
        if decoded.format.name != whole.format.name:
            raise ValueError("tiles of several formats")
        row, column = divmod(number, layer.columns)
        for target, samples in zip(list_samples(whole), list_samples(decoded), strict=True):
            # Chroma has fewer columns and rows.
            across, down = -(-decoded.width // samples.shape[1]), -(-decoded.height // samples.shape[0])
            x, y = (column * tile.size[0] - left) // across, (row * tile.size[1] - top) // down
            wide, high = -(-tile.size[0] // across), -(-tile.size[1] // down)
            _paste(target, samples[:high, :wide], x, y)
    return whole, whole.format.components[0].bits


def _paste(target: NDArray[Any], samples: NDArray[Any], x: int, y: int) -> None:
    """Write samples into a larger or smaller picture, with their left top corner at x, y."""
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + samples.shape[1], target.shape[1]), min(y + samples.shape[0], target.shape[0])
    if left < right and top < bottom:
        target[top:bottom, left:right] = samples[top - y : bottom - y, left - x : right - x]


def _decode_tile(tile: _Tile) -> Any:
    import av

    context: Any = av.CodecContext.create("libdav1d" if tile.codec == "av1" else tile.codec, "r")
    # The header of the codec may promise more pixels than the container.
    context.options = {"max_pixels": str((tile.size[0] + _SPARE_SIDE) * (tile.size[1] + _SPARE_SIDE))}
    if tile.codec == "hevc":
        context.extradata = tile.header
    frames = [*context.decode(av.Packet(tile.data)), *context.decode(None)]
    # A picture in several layers of quality has its best one at the end.
    frame = frames[-1]
    if frame.width < tile.size[0] or frame.height < tile.size[1]:
        raise ValueError("smaller than announced")
    return frame


def _set_colors(frame: Any, picture: HeifPicture) -> None:
    """The container's description of the colours has precedence over the codec's."""
    for name, content, _ in picture.properties:
        if name == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
            primaries, curve, matrix = struct.unpack_from(">HHH", content, 4)
            frame.color_primaries, frame.color_trc, frame.colorspace = primaries, curve, matrix
            frame.color_range = 2 if content[10] & 0x80 else 1
