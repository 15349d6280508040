# SPDX-License-Identifier: GPL-3.0-or-later
"""Write HEIC and AVIF pictures: x265 or SVT-AV1 compress the samples, and the container is written here.

FFmpeg's own writers know neither HEIC nor colour profiles and rotation in AVIF.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from ..sources.heif import HeifPicture, list_samples
from .formats import PlanarFormat, choose_planar, list_planes

_Property = tuple[bytes, bytes, bool]

_HEVC_RATE_FACTOR = "18"
_AV1_RATE_FACTOR = "10"
"""docs/rendering.md has the similarity and the sizes that these give."""

_AV1_SMALLEST = 4
"""SVT-AV1 takes no smaller pictures."""
_ALPHA_NAME = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
_NCLX_MATRIX = 8
_BT601 = 6


@dataclass(frozen=True, slots=True)
class _Encoded:
    data: bytes
    size: tuple[int, int]
    properties: list[_Property]


def encode_heif(
    picture: HeifPicture, painted: Any, place: tuple[int, int, int, int], planar: PlanarFormat
) -> tuple[bytes, list[str]]:
    """The bytes of a file like that of `picture`, with the samples of `painted`, of which `place` is shown.

    Only the picture, its transparency and what its numbers mean are written. Also returns sentences on what was lost.
    Raises av.error.FFmpegError.
    """
    planes: list[Any] = list(list_planes(painted, planar))
    alpha = planes.pop() if planar.has_alpha else None
    opaque = _build_frame(planes, _name_opaque(planar), painted)
    properties, notes = list(picture.properties), []
    if picture.kind == "AVIF":
        wanted = "yuv420p" if planar.bits == 8 else "yuv420p10le"
        if planar.kind == "rgb":
            notes.append("The colours are written as Y'CbCr, at half resolution, because the AV1 encoder takes no RGB.")
            opaque = opaque.reformat(format=wanted, dst_colorspace=5, dst_color_range=2)
            opaque.color_range, opaque.colorspace = 2, _BT601
            properties = [_with_matrix(one) for one in properties]
        elif planar.kind == "grey":
            notes.append(
                "The grey picture is written with colours, which are all grey: the AV1 encoder takes no other."
            )
            opaque = _add_neutral_chroma(opaque, wanted)
        elif planar.chroma_shift != (1, 1):
            notes.append("The colours are written at half resolution (4:2:0), because the AV1 encoder takes no other.")
            opaque = _change_format(opaque, wanted)
        else:
            opaque = _change_format(opaque, wanted)
        if planar.bits > 10:
            notes.append(f"The picture has {planar.bits} bits per channel. The AV1 encoder writes 10.")
    encode = _encode_hevc if picture.kind == "HEIC" else _encode_av1
    parts = [encode(opaque, place)]
    if alpha is not None:
        grey = _build_frame([alpha], "gray" if planar.bits == 8 else f"gray{planar.bits}le", painted)
        grey.color_range = 2
        if picture.kind == "AVIF":
            grey = _add_neutral_chroma(grey, "yuv420p" if planar.bits == 8 else "yuv420p10le")
        layer = encode(grey, place)
        name = (b"auxC", bytes(4) + _ALPHA_NAME, True)
        parts.append(_Encoded(layer.data, layer.size, [*layer.properties, name]))
        parts[1].properties.extend(one for one in properties if one[0] in (b"irot", b"imir"))
    turned = [one for one in properties if one[0] in (b"irot", b"imir")]
    others = [one for one in properties if one not in turned]
    shown = [one for one in parts[0].properties if one[0] == b"clap"]
    coded = [one for one in parts[0].properties if one[0] != b"clap"]
    parts[0] = _Encoded(parts[0].data, parts[0].size, [*coded, *others, *shown, *turned])
    return _write_container(picture, parts, planar.bits), notes


def add_alpha(frame: Any, alpha: NDArray[Any]) -> Any:
    """A frame in a format with transparency, which has the samples of `frame` and `alpha`."""
    planar = choose_planar(frame.format.name)
    planes: list[Any] = list(list_planes(frame, planar))
    if planar.kind == "grey":
        name = "ya8" if planar.bits == 8 else "ya16le"
    else:
        name = _name_opaque(planar).replace("yuv", "yuva").replace("gbr", "gbra")
    try:
        return _build_frame([*planes, alpha], name, frame)
    except ValueError:
        # FFmpeg has no format for it, such as 4:2:0 with 12 bits.
        raise FaceBlurError(f"covers cannot be painted into {planar.name} with transparency") from None


def _name_opaque(planar: PlanarFormat) -> str:
    end = "" if planar.bits == 8 else f"{planar.bits}le"
    if planar.kind == "grey":
        return "gray" + end
    if planar.kind == "rgb":
        return "gbrp" + end
    chroma = {(1, 1): "420", (1, 0): "422", (0, 0): "444"}[planar.chroma_shift]
    return f"yuv{chroma}p{end}"


def _build_frame(planes: list[Any], name: str, like: Any) -> Any:
    import av

    frame = av.VideoFrame(like.width, like.height, name)
    for target, samples in zip(list_planes(frame, choose_planar(name)), planes, strict=True):
        target[:] = samples
    for key in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(frame, key, getattr(like, key))
    return frame


def _change_format(frame: Any, name: str) -> Any:
    if frame.format.name == name:
        return frame
    changed = frame.reformat(
        format=name,
        src_colorspace=frame.colorspace,
        dst_colorspace=frame.colorspace,
        src_color_range=frame.color_range,
        dst_color_range=frame.color_range,
    )
    for key in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(changed, key, getattr(frame, key))
    return changed


def _add_neutral_chroma(grey: Any, name: str) -> Any:
    """A grey frame as Y'CbCr; 12 bits become 10."""
    import av

    frame = av.VideoFrame(grey.width, grey.height, name)
    luma, *chroma = list_samples(frame)
    shift = max(choose_planar(grey.format.name).bits - choose_planar(name).bits, 0)
    luma[:] = list_samples(grey)[0] >> shift
    for plane in chroma:
        plane[:] = 128 if name == "yuv420p" else 512
    for key in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(frame, key, getattr(grey, key))
    return frame


def _with_matrix(one: _Property) -> _Property:
    """The description of RGB as that of Y'CbCr, in full range."""
    name, content, is_needed = one
    if name != b"colr" or content[:4] != b"nclx":
        return one
    changed = content[:_NCLX_MATRIX] + struct.pack(">HB", _BT601, 0x80) + content[_NCLX_MATRIX + 3 :]
    return name, changed, is_needed


def _pad(frame: Any, width: int, height: int) -> Any:
    """The frame with its last column and row repeated up to this size."""
    import av

    if (frame.width, frame.height) == (width, height):
        return frame
    padded = av.VideoFrame(width, height, frame.format.name)
    for target, samples in zip(list_samples(padded), list_samples(frame), strict=True):
        down, right = (big - small for big, small in zip(target.shape, samples.shape, strict=True))
        target[:] = np.pad(samples, ((0, down), (0, right)), "edge")
    for key in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(padded, key, getattr(frame, key))
    return padded


def _encode_hevc(frame: Any, place: tuple[int, int, int, int]) -> _Encoded:
    params = f"log-level=error:info=0:keyint=1:crf={_HEVC_RATE_FACTOR}"
    smallest = 16
    size = tuple(max(side + side % 2, smallest) for side in (frame.width, frame.height))
    return _encode("libx265", {"preset": "medium", "x265-params": params}, _pad(frame, *size), frame, place)


def _encode_av1(frame: Any, place: tuple[int, int, int, int]) -> _Encoded:
    os.environ.setdefault("SVT_LOG", "1")
    # Readers of AVIF ignore the box clap, so odd sizes are encoded as they are.
    size = tuple(max(side, _AV1_SMALLEST) for side in (frame.width, frame.height))
    options = {"crf": _AV1_RATE_FACTOR, "preset": "6", "svtav1-params": "avif=1"}
    return _encode("libsvtav1", options, _pad(frame, *size), frame, place)


def _encode(
    encoder: str, options: dict[str, str], padded: Any, frame: Any, place: tuple[int, int, int, int]
) -> _Encoded:
    import av

    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        stream: Any = container.add_stream(encoder, rate=25, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = padded.width, padded.height, padded.format.name
        context.color_range, context.colorspace = padded.color_range, padded.colorspace
        context.color_primaries, context.color_trc = padded.color_primaries, padded.color_trc
        context.time_base = stream.time_base = padded.time_base = Fraction(1, 25)
        padded.pts = 0
        container.mux([*stream.encode(padded), *stream.encode(None)])
    # What the muxer made of the codec's header and data is what the container of a picture wants.
    held.seek(0)
    with av.open(held) as container:
        context = container.streams.video[0].codec_context
        header = bytes(context.extradata or b"")
        data = b"".join(bytes(packet) for packet in container.demux(video=0) if packet.size)
    planar = choose_planar(frame.format.name)
    width, height = padded.width, padded.height
    channels = 1 if planar.kind == "grey" else 3
    properties: list[_Property] = [
        (b"hvcC" if encoder == "libx265" else b"av1C", header, True),
        (b"ispe", struct.pack(">III", 0, width, height), False),
        (b"pixi", struct.pack(">IB", 0, channels) + bytes([planar.bits]) * channels, False),
    ]
    if place != (0, 0, width, height):
        left, top, wide, high = place
        # Offsets of the middle, in halves of a pixel.
        right, down = 2 * left + wide - width, 2 * top + high - height
        properties.append((b"clap", struct.pack(">IIIIiIiI", wide, 1, high, 1, right, 2, down, 2), True))
    return _Encoded(data, (width, height), properties)


def _box(name: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _write_container(picture: HeifPicture, parts: list[_Encoded], bits: int) -> bytes:
    """A file with one picture, and its transparency as the second part (ISO/IEC 23008-12)."""
    is_hevc = picture.kind == "HEIC"
    brands = (b"heic" if bits == 8 else b"heix", b"mif1", b"miaf") if is_hevc else (b"avif", b"mif1", b"miaf")
    kind = b"hvc1" if is_hevc else b"av01"
    entries = [_box(b"infe", struct.pack(">IHH4sx", 2 << 24, number, 0, kind)) for number, _ in enumerate(parts, 1)]
    known: list[tuple[bytes, bytes]] = []
    associations = []
    for number, part in enumerate(parts, 1):
        indices = []
        for name, content, is_needed in part.properties:
            if (name, content) not in known:
                known.append((name, content))
            indices.append(1 + known.index((name, content)) | (0x80 if is_needed else 0))
        associations.append(struct.pack(">HB", number, len(indices)) + bytes(indices))
    ipco = _box(b"ipco", *(_box(name, content) for name, content in known))
    ipma = _box(b"ipma", struct.pack(">II", 0, len(parts)), *associations)
    references = b""
    if len(parts) > 1:
        links = [_box(b"auxl", struct.pack(">HHH", 2, 1, 1))]
        if picture.is_multiplied:
            links.append(_box(b"prem", struct.pack(">HHH", 1, 1, 2)))
        references = _box(b"iref", bytes(4), *links)
    handler = _box(b"hdlr", struct.pack(">II4s12sx", 0, 0, b"pict", b""))

    def write_meta(start: int) -> bytes:
        places = b""
        for number, part in enumerate(parts, 1):
            places += struct.pack(">HHHII", number, 0, 1, start, len(part.data))
            start += len(part.data)
        return _box(
            b"meta",
            bytes(4),
            handler,
            _box(b"pitm", struct.pack(">IH", 0, 1)),
            _box(b"iloc", struct.pack(">IHH", 0, 0x4400, len(parts)), places),
            _box(b"iinf", struct.pack(">IH", 0, len(parts)), *entries),
            references,
            _box(b"iprp", ipco, ipma),
        )

    front = _box(b"ftyp", brands[0], bytes(4), *brands)
    start = len(front) + len(write_meta(0)) + 8
    return front + write_meta(start) + _box(b"mdat", *(part.data for part in parts))
