# SPDX-License-Identifier: GPL-3.0-or-later
"""How sharp the picture of a face is: whether it shows enough for somebody to recognise the face.

The measure is the contrast of the finest structures, in the direction in which they are weakest, as a share of all
contrast: focus and motion blur take it away, while dim light and a low contrast do not. Noise and the blocks of strong
compression count as structures, so that a face may seem sharper than it is, but not more blurred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array


@dataclass(frozen=True, slots=True)
class SharpnessSettings:
    """Which part of a face is measured, at which size, and what its contrast means."""

    crop_share: float = 0.8
    """Side of the measured square, in the longer side of the face's box. Raising it includes more of the background,
    which may be sharp behind a blurred face. Origin: the smaller of the squares that O-Net sees."""
    side_px: int = 24
    """Side, in pixels, to which a larger square is reduced; a smaller one stays as it is, since enlarging would make it
    look blurred. Raising it makes slight blurs count that hide nobody. Origin: of 16, 24 and 32, the one at which blurs
    of different kinds that hide a face equally well have values that are most alike."""
    blurred_detail: float = 0.08
    """Share of fine contrast at which the sharpness is 0. Raising it makes more faces count as blurred. Origin: 75
    portraits, taken again in other light and blurred in five ways (docs/measuring.md); here a recogniser puts the right
    person among its ten best guesses in about a third of the cases."""
    sharp_detail: float = 0.25
    """The share at which the sharpness is 1. Raising it makes more faces count as blurred. Origin: the same; here its
    best guess is right in nearly all cases."""


SHARPNESS = SharpnessSettings()

_DIRECTIONS = ((1, 0), (0, 1), (0, 0), (0, 2))
"""Where the first of two opposite neighbours of a pixel lies, in the 3 x 3 pixels around it: (row, column)."""


def measure_sharpness(picture: NDArray[np.uint8], box: Array) -> float:
    """How sharp the face in a box (4,) of the picture (H x W x 3, BGR; pixels) is, from 0 to 1.

    1 where that cannot be told: outside the picture, or of a few pixels or one colour.
    """
    import cv2

    side = SHARPNESS.crop_share * float(max(box[2] - box[0], box[3] - box[1]))
    left, top = (float(box[i] + box[i + 2] - side) / 2 for i in (0, 1))
    rows, columns = (slice(max(round(edge), 0), max(round(edge + side), 0)) for edge in (top, left))
    inside = picture[rows, columns]
    if min(inside.shape[:2]) < len(_DIRECTIONS):
        return 1.0
    grey = np.asarray(cv2.cvtColor(inside, cv2.COLOR_BGR2GRAY), np.float32)
    scale = SHARPNESS.side_px / max(grey.shape)
    if scale < 1:
        size = max(round(scale * grey.shape[1]), 4), max(round(scale * grey.shape[0]), 4)
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
    contrast = float(grey.std())
    if contrast < 1:
        return 1.0
    height, width = grey.shape
    middle = grey[1:-1, 1:-1]
    finest = min(
        float(
            (
                grey[y : height - 2 + y, x : width - 2 + x] + grey[2 - y : height - y, 2 - x : width - x] - 2 * middle
            ).std()
        )
        for y, x in _DIRECTIONS
    )
    low, high = math.log(SHARPNESS.blurred_detail), math.log(SHARPNESS.sharp_detail)
    return min(max((math.log(max(finest / contrast, 1e-6)) - low) / (high - low), 0.0), 1.0)
