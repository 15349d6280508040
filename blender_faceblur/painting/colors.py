# SPDX-License-Identifier: GPL-3.0-or-later
"""Between R'G'B' and the numbers that a film stores, and a cover's colour in standard and high dynamic range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from .formats import PlanarFormat, Plane

Rgb = NDArray[np.float32]
"""Height x width x 3, R'G'B' as the picture's own transfer curve encodes it, 0..1."""

_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by AVColorSpace (libavutil/pixfmt.h; ITU-T H.273, table 4)."""

_UNSPECIFIED = 2
_FULL = 2
"""AVCOL_RANGE_JPEG."""
_PQ, _HLG, _BT2020 = 16, 18, 9

_WHITE_NITS = 203.0
"""Brightness of a cover's white in high dynamic range (ITU-R BT.2408)."""

_BT709_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]], np.float64)
"""Linear light (ITU-R BT.2087)."""


@dataclass(frozen=True, slots=True)
class CodeSpace:
    """How a picture's samples stand for colours."""

    planar: PlanarFormat
    red_weight: float
    blue_weight: float
    is_full: bool

    @classmethod
    def of(cls, frame: Any, planar: PlanarFormat) -> CodeSpace:
        """Raises FaceBlurError if the colours of the frame have a matrix that we do not know."""
        matrix = int(frame.colorspace)
        # FFmpeg, and so Blender, uses BT.601 where a film names no matrix.
        weights = _LUMA_WEIGHTS.get(5 if matrix in (0, _UNSPECIFIED) else matrix)
        if weights is None and planar.kind == "yuv":
            raise FaceBlurError(f"covers cannot be painted in the film's colour matrix (number {matrix})")
        full = planar.is_full_range or planar.kind != "yuv" or int(frame.color_range) == _FULL
        return cls(planar, *(weights or _LUMA_WEIGHTS[1]), full)

    @property
    def opaque(self) -> int:
        return (1 << self.planar.bits) - 1

    def to_codes(self, rgb: Rgb) -> list[NDArray[np.float32]]:
        """The samples (Y, U, V or G, B, R or grey) of colours, at full resolution, not yet rounded."""
        import cv2

        matrix = self._to_codes_matrix()
        if self.planar.kind == "grey":
            return [cv2.transform(rgb, matrix[:1])]
        return list(cv2.split(cv2.transform(rgb, matrix)))

    def to_rgb(self, planes: list[NDArray[np.float32]]) -> Rgb:
        """The colours of samples, which all have the same resolution; values outside of the range are clipped.

        An alpha plane is ignored.
        """
        import cv2

        if self.planar.kind == "grey":
            return np.repeat((planes[0] / np.float32(self.opaque))[..., None], 3, axis=2)
        rgb: Any = cv2.transform(cv2.merge(planes[:3]), _invert(self._to_codes_matrix()))
        return np.asarray(np.clip(rgb, 0.0, 1.0, out=rgb))

    def _to_codes_matrix(self) -> NDArray[np.float64]:
        """3 x 4: from R'G'B' and 1 to samples. A grey picture's is the first row."""
        top, scale = self.opaque, 1 << (self.planar.bits - 8)
        if self.planar.kind == "rgb":
            return np.array([[0, top, 0, 0], [0, 0, top, 0], [top, 0, 0, 0]], np.float64)
        luma = np.array([self.red_weight, 1 - self.red_weight - self.blue_weight, self.blue_weight])
        first = (np.array([0, 0, 1]) - luma) / (2 * (1 - self.blue_weight))
        second = (np.array([1, 0, 0]) - luma) / (2 * (1 - self.red_weight))
        ranges = (top, top, 0) if self.is_full else (219 * scale, 224 * scale, 16 * scale)
        rows = np.stack([luma * ranges[0], first * ranges[1], second * ranges[1]])
        return np.column_stack([rows, [ranges[2], 128 * scale, 128 * scale]])


def _invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    inverse = np.linalg.inv(matrix[:, :3])
    return np.column_stack([inverse, -inverse @ matrix[:, 3]])


def encode_srgb(rgb: Rgb, frame: Any) -> Rgb:
    """sRGB colours (... x 3) in the frame's own transfer curve and primaries.

    The curves of standard dynamic range count as sRGB's, as in Blender.
    """
    curve = int(frame.color_trc)
    if curve not in (_PQ, _HLG):
        return rgb
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4).astype(np.float64)
    if int(frame.color_primaries) == _BT2020:
        linear = linear @ _BT709_TO_BT2020.T
    return (_encode_pq(linear) if curve == _PQ else _encode_hlg(linear)).astype(np.float32)


def _encode_pq(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, from light relative to white."""
    share = (linear * _WHITE_NITS / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * share) / (1 + 18.6875 * share)) ** 78.84375)


def _encode_hlg(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100 HLG, from light relative to white, which has 75 % signal (BT.2408)."""
    scene = np.clip(linear, 0, 1) * 0.2646
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    low = np.sqrt(3 * scene)
    high = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, low, high)


def read_samples(planes: list[Plane], window: tuple[int, int, int, int], planar: PlanarFormat) -> list[Any]:
    """The samples in a window of the picture (aligned to the chroma planes), all at full resolution, as floats."""
    import cv2

    x1, y1, x2, y2 = window
    samples: list[Any] = [planes[0][y1:y2, x1:x2].astype(np.float32)]
    for plane in planes[1:3] if planar.kind != "grey" else []:
        part = plane[cut_chroma(window, planar)].astype(np.float32)
        full = part.shape[1] << planar.chroma_shift[0], part.shape[0] << planar.chroma_shift[1]
        if full != (part.shape[1], part.shape[0]):
            part = cv2.resize(part, full, interpolation=cv2.INTER_LINEAR)
        samples.append(part[: y2 - y1, : x2 - x1])
    return samples


def cut_chroma(window: tuple[int, int, int, int], planar: PlanarFormat) -> tuple[slice, slice]:
    """Rows and columns of a chroma plane that belong to a window of the picture."""
    (x_shift, y_shift), (x1, y1, x2, y2) = planar.chroma_shift, window
    return slice(y1 >> y_shift, -(-y2 >> y_shift)), slice(x1 >> x_shift, -(-x2 >> x_shift))
