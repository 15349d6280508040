# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks on a covered face before it is compared: sharpening, deconvolution, adding up the frames of a shot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Picture

from .obscuring import SPREAD, draw_cover, imitate, to_levels, to_linear
from .portraits import FACE_PX, TILE_PX

_NOISE = 0.01
"""Noise power as a share of the signal's power, for Wiener's filter."""
_SPREADS = {"mosaic": math.hypot(0.45, SPREAD), "blur": 0.65, "gaussian": 1.0}
"""Standard deviations of a point's spread in one picture, in blocks: a box has 0.29, B-splines 0.58."""
_SHOT_SPREADS = {"mosaic": math.hypot(0.41, SPREAD), "blur": 0.71}
"""The same for the sum of a shot's frames: two boxes and the bell, or a box, B-splines and the grid's offset."""
_STEPS = 4
"""Positions of the moving face within a block, across and down: 16 frames."""


@dataclass(frozen=True, slots=True)
class Setting:
    """An effect and its samples across a face; `samples` is 0 for an effect that shows nothing of the face."""

    kind: str
    samples: int

    @property
    def block_px(self) -> float:
        return FACE_PX / self.samples

    @property
    def can_be_computed(self) -> bool:
        """Whether `imitate` supports it."""
        return self.kind in ("mosaic", "blur")

    def __str__(self) -> str:
        return f"{self.kind} {self.samples}" if self.samples else self.kind


Attack = Callable[[Picture, Setting], Picture]
"""A covered tile, or the summed frames of a shot, and the setting -> the picture to compare."""


def keep_plain(covered: Picture, setting: Setting) -> Picture:
    return covered


def sharpen(covered: Picture, setting: Setting) -> Picture:
    """Unsharp mask: three times the difference to a Gaussian of half a block."""
    soft = cv2.GaussianBlur(covered, (0, 0), setting.block_px / 2).astype(np.float32)
    return _lay_in(covered, np.clip(covered + 2 * (covered - soft), 0, 255).astype(np.uint8))


def deconvolve(covered: Picture, setting: Setting) -> Picture:
    """Smooth curves through a mosaic's blocks, then Wiener's filter against the effect's spread of a point."""
    picture = covered
    if setting.kind == "mosaic":
        count = TILE_PX // FACE_PX * setting.samples
        blocks = cv2.resize(covered, (count, count), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(blocks, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC), np.uint8)
    return _lay_in(covered, _filter(picture, _SPREADS[setting.kind] * setting.block_px))


def sum_shot(bare: Picture, covered: Picture, setting: Setting) -> Picture:
    """From a bare and a covered tile: the frames of a shot, added up with the face in one place.

    The face moves by parts of a block under the fixed grid.
    """
    linear = to_linear(bare)
    total = np.zeros_like(linear)
    # In whole pixels, so that shifting there and back blurs nothing.
    steps = [round(i * setting.block_px / _STEPS) for i in range(_STEPS)]
    for dy in steps:
        for dx in steps:
            moved = np.roll(linear, (dy, dx), (0, 1))
            total += np.roll(imitate(moved, setting.kind, setting.samples), (-dy, -dx), (0, 1))
    return _lay_in(covered, to_levels(total / np.float32(len(steps) ** 2)))


def deconvolve_sum(summed: Picture, setting: Setting) -> Picture:
    """Wiener's filter, as `deconvolve`, for the result of `sum_shot`."""
    return _lay_in(summed, _filter(summed, _SHOT_SPREADS[setting.kind] * setting.block_px))


ATTACKS: dict[str, Attack] = {
    "plain": keep_plain,
    "sharpened": sharpen,
    "deconvolved": deconvolve,
}
ON_SHOTS: dict[str, Attack] = {
    "16 frames": keep_plain,
    "16 frames, deconvolved": deconvolve_sum,
}


def list_values(tile: Picture, setting: Setting) -> NDArray[np.float32]:
    """The mean of each block that lies entirely under the cover, normalised for brightness and contrast.

    It can be compared without any knowledge of faces.
    """
    count = TILE_PX // FACE_PX * (setting.samples or 6)
    blocks = cv2.resize(tile, (count, count), interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.resize(_UNDER.astype(np.float32), (count, count), interpolation=cv2.INTER_AREA) > 0.999
    values = blocks[inside]
    values = values - values.mean(axis=0)
    return np.asarray((values / max(float(np.linalg.norm(values)), 1e-6)).ravel(), np.float32)


_COVER = draw_cover()
_UNDER = cv2.erode(_COVER.astype(np.uint8), np.ones((7, 7))).astype(bool)
"""Without the border, whose pixels depend on the surroundings."""


def show_only_covered(tile: Picture) -> Picture:
    """Make everything outside the cover grey, so that only the covered area can be compared."""
    return np.where(_UNDER[..., None], tile, np.uint8(128))


def _lay_in(covered: Picture, inside: Picture) -> Picture:
    return np.where(_COVER[..., None], inside, covered)


def _filter(picture: Picture, spread_px: float) -> Picture:
    """Wiener's filter against a Gaussian of that standard deviation."""
    down, across = np.fft.fftfreq(TILE_PX)[:, None], np.fft.fftfreq(TILE_PX)[None]
    response = np.exp(-2 * (np.pi * spread_px) ** 2 * (down**2 + across**2))
    gain = (response / (response**2 + _NOISE) * (1 + _NOISE)).astype(np.float32)[..., None]
    sharp = [
        cv2.dft(
            cv2.dft(np.float32(cv2.extractChannel(picture, i)), flags=cv2.DFT_COMPLEX_OUTPUT) * gain,
            flags=cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT | cv2.DFT_SCALE,
        )
        for i in range(3)
    ]
    filtered: Picture = np.clip(np.dstack(sharp), 0, 255).astype(np.uint8)
    return filtered
