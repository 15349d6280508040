# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of the pictures that detectors search, and of those that must be decoded for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .settings import DetectorUse

_STRIDE = 32
"""Stride of the networks, in pixels: both sides of a reduced picture are multiples of it."""


def fit_size(frame_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Width and height of a picture reduced to that long side; pictures are never enlarged."""
    width, height = frame_size
    scale = min(1.0, long_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def compute_detector_size(frame_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Like `fit_size`, but the sides of a reduced picture are multiples of the detectors' stride.

    This changes each side by at most 16 pixels, and saves the time that padding would take.
    """
    width, height = fit_size(frame_size, long_side)
    if (width, height) == frame_size:
        return frame_size
    return max(_STRIDE, round(width / _STRIDE) * _STRIDE), max(_STRIDE, round(height / _STRIDE) * _STRIDE)


def compute_decode_size(frame_size: tuple[int, int], uses: Iterable[DetectorUse]) -> tuple[int, int]:
    """The size at which pictures must be decoded to serve all detectors."""
    return max(compute_detector_size(frame_size, use.long_side) for use in uses)


def round_to_stride(length: float, rounding: Callable[[float], int]) -> int:
    """A length in pixels, rounded up (`math.ceil`) or down (`math.floor`) to a multiple of the detectors' stride."""
    return rounding(length / _STRIDE) * _STRIDE
