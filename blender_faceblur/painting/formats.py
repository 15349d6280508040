# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixel formats: how a decoded picture lies in memory, and how covers get into it without converting the rest.

Covers are painted into planar formats, and into grey with alpha, which FFmpeg only has in packed form. A picture in
another format is first rearranged into the one of these with the same samples, which changes no value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError

Plane = NDArray[np.uint8] | NDArray[np.uint16]
"""Height x width samples, a view of the picture's memory."""

_CHROMA_SHIFTS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
_PLANAR = re.compile(
    r"(?:yuv(?P<alpha>a?)(?P<full>j?)(?P<chroma>420|422|444|440|411|410)p"
    r"|(?P<rgb>gbr)(?P<rgb_alpha>a?)p|(?P<grey>gray|ya8|ya(?=16)))(?P<bits>9|10|12|14|16)?(?:le)?"
)

_REARRANGED = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "nv20le": "yuv422p10le",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p212le": "yuv422p12le",
    "p216le": "yuv422p16le",
    "p410le": "yuv444p10le",
    "p412le": "yuv444p12le",
    "p416le": "yuv444p16le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "y210le": "yuv422p10le",
    "y212le": "yuv422p12le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "pal8": "gbrap",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "bgr48le": "gbrp16le",
    "rgba64le": "gbrap16le",
    "rgba64be": "gbrap16le",
    "bgra64le": "gbrap16le",
    "x2rgb10le": "gbrp10le",
    "monow": "gray",
    "monob": "gray",
}


@dataclass(frozen=True, slots=True)
class PlanarFormat:
    """A pixel format that covers are painted into. Its planes are Y, U, V or G, B, R or grey, then alpha if it has any;
    ya8 and ya16le count as two planes."""

    name: str
    kind: str
    """"yuv", "rgb" or "grey"."""
    bits: int
    chroma_shift: tuple[int, int] = (0, 0)
    """Chroma planes have 1 / 2**shift of the columns and rows of the picture."""
    has_alpha: bool = False
    is_full_range: bool = False
    """Whether the name alone says that the samples use the full range (yuvj...)."""

    @property
    def depth_type(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.bits == 8 else np.uint16


def parse_planar(name: str) -> PlanarFormat | None:
    """The planar format with FFmpeg's `name`; None if it is none, or not one into which covers can be painted."""
    match = _PLANAR.fullmatch(name)
    if match is None or name.endswith("be"):
        return None
    bits = int(match["bits"] or 8)
    if (bits > 8) != name.endswith("le"):
        return None
    if match["grey"]:
        return PlanarFormat(name, "grey", bits, has_alpha=name.startswith("ya"))
    if match["rgb"]:
        return PlanarFormat(name, "rgb", bits, has_alpha=bool(match["rgb_alpha"]), is_full_range=True)
    return PlanarFormat(
        name, "yuv", bits, _CHROMA_SHIFTS[match["chroma"]], bool(match["alpha"]), is_full_range=bool(match["full"])
    )


def choose_planar(name: str) -> PlanarFormat:
    """The planar format with the same samples as the pixel format `name`. Raises FaceBlurError if there is none."""
    little = re.sub(r"be$", "le", name)
    planar = parse_planar(name) or parse_planar(_REARRANGED.get(name, _REARRANGED.get(little, little)))
    if planar is None:
        raise FaceBlurError(f"covers cannot be painted into the pixel format {name}")
    return planar


def rearrange(frame: Any, planar: PlanarFormat) -> Any:
    """The frame in `planar`, which has the same samples: the frame itself, if it already has that format."""
    if frame.format.name == planar.name:
        return frame
    return convert(frame, planar.name)


def convert(frame: Any, name: str) -> Any:
    """The frame in a format with the same samples. What it says of its colours stays."""
    # PyAV leaves the range open on both sides, so that no sample is scaled, and then forgets it.
    converted = frame.reformat(format=name)
    for key in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(converted, key, getattr(frame, key))
    return converted


def list_planes(frame: Any, planar: PlanarFormat) -> list[Plane]:
    """Views of the planes of a frame in `planar`, which can be written to if the frame is writable."""
    views: list[Plane] = []
    packed = 2 if planar.kind == "grey" and planar.has_alpha else 1
    for plane in frame.planes:
        samples: Any = np.frombuffer(plane, planar.depth_type)
        rows = samples.reshape(plane.height, -1)[:, : plane.width * packed]
        views += [rows[:, first::packed] for first in range(packed)]
    return views
