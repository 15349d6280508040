# SPDX-License-Identifier: GPL-3.0-or-later
"""Encodes pictures that Blender rendered losslessly, where Blender's own encoder cannot write the wanted format."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError

LOSSLESS_CODEC = "ffv1"
"""The codec that Blender renders to instead; it supports any size."""

_RATE_FACTORS = {"lossless": 0, "high": 17, "medium": 20, "low": 23}
"""The constant rate factors that Blender uses for its H.264 and H.265 at these qualities
(blender/rendering/render.py)."""

_ENCODERS = {"h264": "libx264", "h265": "libx265"}
_BT709, _LIMITED = 1, 1
"""AVCOL_SPC_BT709 with its primaries and curve, AVCOL_RANGE_MPEG (libavutil/pixfmt.h): the tags of Blender's films."""


def needs_encoding(codec: str, width: int, height: int) -> bool:
    """Whether Blender must render losslessly first.

    Its H.264 and H.265 store colour at half resolution, which requires even sizes: Blender refuses odd ones
    (5.0.1, 5.2.2).
    """
    return codec in _ENCODERS and bool(width % 2 or height % 2)


def encode_pictures(
    rendered: Path, output: Path, *, codec: str, quality: str, frame_rate: Fraction, progress: Callable[[int], None]
) -> None:
    """Write the pictures of `rendered` (FFV1) into a Matroska file in `codec`, with colour at full resolution.

    `progress` gets the number of pictures done. Raises FaceBlurError if a file cannot be read or written.
    """
    import av

    try:
        with av.open(str(rendered)) as source, av.open(str(output), "w", format="matroska") as result:
            stream = source.streams.video[0]
            target: Any = result.add_stream(_ENCODERS[codec], rate=frame_rate, options=_choose_options(codec, quality))
            context = target.codec_context
            target.width, target.height = stream.codec_context.width, stream.codec_context.height
            target.pix_fmt = "yuv444p"
            context.time_base = 1 / frame_rate
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
            for done, frame in enumerate(source.decode(stream), 1):
                picture = frame.reformat(format="yuv444p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
                picture.pts, picture.time_base = done - 1, 1 / frame_rate
                result.mux(target.encode(picture))
                progress(done)
            result.mux(target.encode(None))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FaceBlurError(f"The rendered pictures cannot be encoded as {codec}: {reason}.") from error


def _choose_options(codec: str, quality: str) -> dict[str, str]:
    options = {"crf": str(_RATE_FACTORS[quality]), "preset": "medium"}
    if codec == "h264":
        # x264 quantises colour this much more coarsely at full resolution.
        options["x264-params"] = "chroma-qp-offset=-6"
    if codec == "h265":
        # x265 writes to the terminal by default.
        options["x265-params"] = "log-level=error" + (":lossless=1" if quality == "lossless" else "")
    return options
