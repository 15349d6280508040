# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose an encoder that holds a film's pixel format, and its options."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..core.types import FaceBlurError
from .formats import PlanarFormat, choose_planar

CODECS = ("h264", "h265", "av1", "vp9", "prores", "dnxhr", "ffv1")
QUALITIES = ("lossless", "high", "medium", "low")

_OWN_CODECS = {
    "h264": "h264",
    "hevc": "h265",
    "av1": "av1",
    "vp9": "vp9",
    "prores": "prores",
    "dnxhd": "dnxhr",
    "ffv1": "ffv1",
}
"""FFmpeg's codec names and ours."""

_FALLBACKS = ("h264", "h265", "ffv1")
"""For films whose codec has no encoder here, or none for their pixel format: the first that holds it."""

_HARDWARE = {
    "h264": ("h264_nvenc", "h264_videotoolbox", "h264_qsv", "h264_amf"),
    "h265": ("hevc_nvenc", "hevc_videotoolbox", "hevc_qsv", "hevc_amf"),
    "av1": ("av1_nvenc", "av1_qsv", "av1_amf"),
}

_SOFTWARE = {
    "h264": ("libx264", "libx264rgb"),
    "h265": ("libx265",),
    "av1": ("libsvtav1",),
    "vp9": ("libvpx-vp9",),
    "prores": ("prores_ks",),
    "dnxhr": ("dnxhd",),
    "ffv1": ("ffv1",),
}

_SAME_SAMPLES = {
    "gbrp": ("rgb24", "bgr24", "bgr0"),
    "gbrap": ("bgra",),
    "gbrp16le": ("rgb48le",),
    "gbrap16le": ("rgba64le",),
}
"""Packed formats with the same samples as a planar one, for encoders that take only those."""

_X264_RATE_FACTORS = {"high": 16, "medium": 19, "low": 22}
"""With the preset superfast, 16 is as similar to the source as 15 is with veryfast, at 1.3 to 2.1 times the speed and
1.2 to 1.7 times the bytes (docs/rendering.md)."""
_X265_RATE_FACTORS = {"lossless": 0, "high": 17, "medium": 20, "low": 23}

_AV1_RATE_FACTORS = {"high": 18, "medium": 26, "low": 34}
_VP9_RATE_FACTORS = {"lossless": 0, "high": 16, "medium": 22, "low": 30}
_HARDWARE_QUALITIES = {"high": 18, "medium": 22, "low": 26}

_CHROMA_LOCATIONS = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5}
"""AVChromaLocation and the values of H.264's and H.265's chroma_sample_loc_type."""

_AV1_LOCATIONS = {1: "left", 3: "topleft"}
"""AVChromaLocation and SVT-AV1's words."""

_TOP_FIRST = (2, 4)
_INTERLACING = ("libx264", "libx264rgb", "prores_ks", "ffv1")
"""Encoders that mark interlaced pictures as such."""

_MASTERING = ("libx264", "libx264rgb", "libx265", "libsvtav1")
"""Encoders that write the mastering display and the content light level."""

_OPAQUE = ("libx265", "libvpx-vp9")
"""Encoders whose transparency is lost: it is a layer of its own in H.265, and lies beside the pictures in VP9."""

_LOCATING = {"libx264": range(1, 7), "libx265": range(1, 7), "libsvtav1": (1, 3)}
"""Encoders that write the chroma location, and the AVChromaLocations that they can write."""

CAPTIONING = ("libx264", "libx264rgb", "libx265")
"""Encoders that write the closed captions of the pictures (CEA-708)."""

_HALVING = ("libx264", "libx264rgb", "libx265")
"""Encoders that take no picture whose last column or row shares a chroma sample with nothing."""

_SMALLEST = {"dnxhd": (256, 120), "libx265": (16, 16)}
"""Encoders that refuse smaller pictures."""

_PRORES_PROFILES = {"yuv422p10le": "3", "yuv444p10le": "4", "yuva444p10le": "4"}


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """SMPTE ST 2086: the chromaticities of green, blue, red and white (x, y; 1/50000), and the highest and lowest
    luminance (1/10000 cd/m2)."""

    green: tuple[int, int]
    blue: tuple[int, int]
    red: tuple[int, int]
    white: tuple[int, int]
    luminance: tuple[int, int]


@dataclass(frozen=True, slots=True)
class StreamLook:
    """What an encoder must be told of the stream so that players show it like the source."""

    width: int
    height: int
    pixel_aspect: Fraction
    time_base: Fraction
    frame_rate: Fraction
    colors: tuple[int, int, int, int]
    """Range, matrix, primaries and transfer curve, as FFmpeg numbers them."""
    field_order: int = 1
    """libavcodec's AVFieldOrder: 1 is progressive, 2 to 5 are interlaced, 2 and 4 with the top field first."""
    chroma_location: int = 0
    mastering: MasteringDisplay | None = None
    light: tuple[int, int] | None = None
    """Highest and average content light level, cd/m2."""

    @property
    def is_interlaced(self) -> bool:
        return self.field_order > 1


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder by FFmpeg's name, the pixel format it gets, and notes on what changes."""

    codec: str
    encoder: str
    pixel_format: str
    options: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_hardware: bool = False

    @property
    def piece_format(self) -> str:
        """FFmpeg's name of the container for pieces. NUT keeps any time exactly, but holds neither ProRes nor DNxHR."""
        return "mov" if self.codec in ("prores", "dnxhr") else "nut"


def choose_encoder(
    source_codec: str,
    pixel_format: str,
    codec: str,
    quality: str,
    look: StreamLook,
    wanted: str = "cpu",
    allowed: Sequence[str] = CODECS,
) -> EncoderChoice:
    """The encoder for a film in FFmpeg's `source_codec` and `pixel_format`.

    `codec` is one of `CODECS`, or "auto" for the source's own. `wanted` is "cpu", "auto" (hardware where it opens) or
    the name of an encoder. `allowed` are the codecs that the output's container holds.
    Raises FaceBlurError if no encoder keeps the pixel format, or the wanted one does not open.
    """
    planar = choose_planar(pixel_format)
    own = name_own_codec(source_codec)
    order = [codec]
    if codec == "auto":
        order = [name for name in dict.fromkeys((own, *_FALLBACKS, *CODECS)) if name in allowed]
    if quality == "lossless":
        order = [name for name in order if name not in ("av1", "prores", "dnxhr")] or ["ffv1"]
    for name in order:
        for encoder in _list_encoders(name, wanted):
            found = _find_format(encoder, planar)
            if found is None or not _takes_size(encoder, planar, look):
                continue
            options = _choose_options(encoder, quality, planar, look)
            notes = _note_codec(codec, own, name, source_codec, own in allowed)
            if look.is_interlaced and encoder not in _INTERLACING:
                notes += (f"The film is interlaced; {name} keeps its lines, but does not mark it as interlaced.",)
            is_hardware = encoder not in _SOFTWARE[name]
            notes += _note_hardware(wanted, encoder, is_hardware)
            choice = EncoderChoice(name, encoder, found, options, notes, is_hardware)
            if not is_hardware or _opens(choice, look):
                return choice
    if wanted not in ("cpu", "auto"):
        raise FaceBlurError(f"the encoder {wanted} cannot be opened for this film; use --encoder cpu")
    kept = ", ".join(order)
    raise FaceBlurError(
        f"no encoder for {kept} keeps the pixel format {pixel_format} at {look.width} x {look.height}; use --codec ffv1"
    )


def list_unwritten(choice: EncoderChoice, look: StreamLook) -> list[str]:
    """What of the look the encoder does not write, in words for the user."""
    unwritten = []
    if choice.encoder not in _MASTERING and (look.mastering is not None or look.light is not None):
        unwritten.append("the brightness of the HDR mastering display")
    # Players take the place on the left for granted.
    if look.chroma_location > 1 and look.chroma_location not in _LOCATING.get(choice.encoder, ()):
        unwritten.append("the place of the colour samples")
    return unwritten


def name_own_codec(source_codec: str) -> str:
    """Our name of a codec, from FFmpeg's; empty if it has no encoder here."""
    return _OWN_CODECS.get(source_codec, "")


def open_encoder(container: Any, choice: EncoderChoice, look: StreamLook, threads: int = 0) -> Any:
    """Add a stream with this encoder to an output container; returns the stream. With `threads` 0 FFmpeg chooses."""
    # SVT-AV1 describes itself on the terminal unless told to report only errors.
    os.environ.setdefault("SVT_LOG", "1")
    stream = container.add_stream(choice.encoder, rate=look.frame_rate, options=choice.options)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = look.width, look.height, choice.pixel_format
    context.time_base = stream.time_base = look.time_base
    context.sample_aspect_ratio = look.pixel_aspect
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = look.colors
    context.thread_count = threads
    if look.is_interlaced and choice.encoder in _INTERLACING:
        from av.codec.context import Flags

        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        context.field_order = look.field_order
    return stream


def _note_codec(codec: str, own: str, name: str, source_codec: str, holds_own: bool) -> tuple[str, ...]:
    if codec != "auto" or name == own:
        return ()
    if own and not holds_own:
        return (f"The film is written as {name}: the output's container does not hold {own}.",)
    if own:
        return (f"The film is written as {name}: no encoder for {own} keeps its pixel format and size.",)
    return (f"The film is written as {name}: there is no encoder for its codec, {source_codec}.",)


def _note_hardware(wanted: str, encoder: str, is_hardware: bool) -> tuple[str, ...]:
    if is_hardware:
        return (f"The film is encoded by the hardware encoder {encoder}.",)
    return (f"No hardware encoder works here for this film, so {encoder} encodes it.",) if wanted == "auto" else ()


def _list_encoders(name: str, wanted: str) -> tuple[str, ...]:
    if wanted == "cpu":
        return _SOFTWARE[name]
    if wanted == "auto":
        return (*_HARDWARE.get(name, ()), *_SOFTWARE[name])
    return tuple(one for one in (*_HARDWARE.get(name, ()), *_SOFTWARE[name]) if one == wanted)


def _find_format(encoder: str, planar: PlanarFormat) -> str | None:
    """The format with the same samples as `planar` that an encoder takes; None if there is none."""
    import av.codec

    if planar.has_alpha and encoder in _OPAQUE:
        return None
    try:
        formats = {one.name for one in av.codec.Codec(encoder, "w").video_formats or ()}
    except (av.codec.codec.UnknownCodecError, av.error.FFmpegError):
        # Each system has some of the hardware encoders only.
        return None
    plain = re.sub("^yuvj", "yuv", planar.name)
    semi_planar = {"yuv420p": ("nv12",), "yuv420p10le": ("p010le",)}
    candidates = (plain, *_SAME_SAMPLES.get(planar.name, ()), *semi_planar.get(plain, ()))
    return next((name for name in candidates if name in formats), None)


def _takes_size(encoder: str, planar: PlanarFormat, look: StreamLook) -> bool:
    columns, rows = (1 << shift for shift in planar.chroma_shift)
    if look.is_interlaced and encoder in _INTERLACING:
        rows *= 2
    smallest = _SMALLEST.get(encoder, (1, 1))
    if look.width < smallest[0] or look.height < smallest[1]:
        return False
    return encoder not in _HALVING or not (look.width % columns or look.height % rows)


def _choose_options(encoder: str, quality: str, planar: PlanarFormat, look: StreamLook) -> dict[str, str]:
    match encoder:
        case "libx264" | "libx264rgb":
            return _choose_x264_options(quality, planar, look)
        case "libx265":
            return _choose_x265_options(quality, planar, look)
        case "libsvtav1":
            return _choose_svt_options(quality, look)
        case "libvpx-vp9":
            options = {"crf": str(_VP9_RATE_FACTORS[quality]), "b": "0", "deadline": "realtime", "cpu-used": "5"}
            return options | {"row-mt": "1"} | ({"lossless": "1"} if quality == "lossless" else {})
        case "prores_ks":
            return {"profile": _PRORES_PROFILES[planar.name], "vendor": "apl0"}
        case "dnxhd":
            profile = "dnxhr_hqx" if planar.bits > 8 else "dnxhr_hq"
            return {"profile": "dnxhr_444" if planar.chroma_shift == (0, 0) else profile}
        case "ffv1":
            return {"level": "3", "slicecrc": "1", "g": "1"}
    return _choose_hardware_options(encoder, quality)


def _choose_x264_options(quality: str, planar: PlanarFormat, look: StreamLook) -> dict[str, str]:
    params = _locate_chroma(planar, look)
    if look.is_interlaced:
        params.append("tff=1" if look.field_order in _TOP_FIRST else "bff=1")
    if planar.kind == "yuv" and planar.chroma_shift == (0, 0) and quality != "lossless":
        # x264 quantises colour this much more coarsely at full resolution.
        params.append("chroma-qp-offset=-6")
    if look.mastering is not None:
        params.append(f"mastering-display={_format_mastering(look.mastering)}")
    if look.light is not None:
        params.append(f"cll={look.light[0]},{look.light[1]}")
    options = {"qp": "0"} if quality == "lossless" else {"crf": str(_X264_RATE_FACTORS[quality])}
    return options | {"preset": "superfast"} | ({"x264-params": ":".join(params)} if params else {})


def _choose_x265_options(quality: str, planar: PlanarFormat, look: StreamLook) -> dict[str, str]:
    # x265 writes to the terminal by default. Its description of itself would be part of each piece's header, and would
    # differ with the number of threads.
    params = ["log-level=error", "info=0", *_locate_chroma(planar, look)]
    if quality == "lossless":
        params.append("lossless=1")
    if look.mastering is not None:
        params.append(f"master-display={_format_mastering(look.mastering)}")
    if look.light is not None:
        params.append(f"max-cll={look.light[0]},{look.light[1]}")
    return {"crf": str(_X265_RATE_FACTORS[quality]), "preset": "veryfast", "x265-params": ":".join(params)}


def _choose_svt_options(quality: str, look: StreamLook) -> dict[str, str]:
    params = []
    if look.mastering is not None:
        params.append(f"mastering-display={_format_mastering_as_numbers(look.mastering)}")
    if look.light is not None:
        params.append(f"content-light={look.light[0]},{look.light[1]}")
    if look.chroma_location in _AV1_LOCATIONS:
        params.append(f"chroma-sample-position={_AV1_LOCATIONS[look.chroma_location]}")
    options = {"crf": str(_AV1_RATE_FACTORS[quality]), "preset": "9"}
    return options | ({"svtav1-params": ":".join(params)} if params else {})


def _locate_chroma(planar: PlanarFormat, look: StreamLook) -> list[str]:
    if look.chroma_location not in _CHROMA_LOCATIONS or planar.chroma_shift != (1, 1):
        return []
    return [f"chromaloc={_CHROMA_LOCATIONS[look.chroma_location]}"]


def _choose_hardware_options(encoder: str, quality: str) -> dict[str, str]:
    if quality == "lossless":
        raise FaceBlurError("hardware encoders are not lossless; use --encoder cpu")
    level = str(_HARDWARE_QUALITIES[quality])
    if encoder.endswith("_nvenc"):
        return {"rc": "vbr", "cq": level, "b": "0", "preset": "p5"}
    if encoder.endswith("_qsv"):
        return {"global_quality": level}
    if encoder.endswith("_amf"):
        return {"rc": "cqp", "qp_i": level, "qp_p": level, "qp_b": level}
    return {"q": {"high": "75", "medium": "65", "low": "55"}[quality]}


def _opens(choice: EncoderChoice, look: StreamLook) -> bool:
    """Whether a hardware encoder encodes a picture of this size here."""
    import io

    import av

    try:
        with av.open(io.BytesIO(), "w", format="nut") as container:
            stream = open_encoder(container, choice, look)
            frame = av.VideoFrame(look.width, look.height, choice.pixel_format)
            frame.pts, frame.time_base = 0, look.time_base
            packets = [*stream.encode(frame), *stream.encode(None)]
            return any(packet.size for packet in packets)
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def _format_mastering(display: MasteringDisplay) -> str:
    parts = (("G", display.green), ("B", display.blue), ("R", display.red), ("WP", display.white))
    return "".join(f"{name}({x},{y})" for name, (x, y) in (*parts, ("L", display.luminance)))


def _format_mastering_as_numbers(display: MasteringDisplay) -> str:
    """SVT-AV1 expects chromaticities as shares and luminances in cd/m2."""
    parts = (("G", display.green), ("B", display.blue), ("R", display.red), ("WP", display.white))
    chromaticities = "".join(f"{name}({x / 50000:.5f},{y / 50000:.5f})" for name, (x, y) in parts)
    high, low = display.luminance
    return f"{chromaticities}L({high / 10000:.4f},{low / 10000:.4f})"
