# SPDX-License-Identifier: GPL-3.0-or-later
"""Align a face's five landmarks with those that a recogniser was trained on, and crop that square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = Sequence[Sequence[float]] | NDArray[np.float64]
"""Five (x, y) in pixels, in the order of `Detection.landmarks`; the first pixel's outer corner is (0, 0)."""


@dataclass(frozen=True, slots=True)
class AlignmentSettings:
    """How a face is scaled and cropped for a recogniser."""

    least_sampled_scale: float = 0.5
    """Scale below which a face is first reduced by area, since linear sampling reads two pixels at most. Raising it
    takes time; lowering it lets fine detail flicker. Origin: the two pixels of linear sampling."""
    reach_diagonal_share: float = 0.75
    """How far around the face's centre the picture is processed, in sides of the square: half of the rotated square's
    diagonal, and a little for sampling. Raising it takes time. Origin: half of the root of two is 0.71."""


ALIGNMENT = AlignmentSettings()


def fit_similarity_transform(points: Points, template: Points) -> NDArray[np.float64]:
    """The 2 x 3 matrix of scale, rotation and shift that maps `points` to `template` with the least squares.

    Raises ValueError if the points are not finite or all coincide, so that there is no such matrix.
    """
    along, across, dx, dy = _fit(points, template)
    return np.array([[along, -across, dx], [across, along, dy]])


def _fit(points: Points, template: Points) -> tuple[float, float, float, float]:
    # Without NumPy, which takes six times as long for five points.
    pairs = list(zip(_to_lists(points), _to_lists(template), strict=True))
    count = len(pairs)
    from_x, from_y = sum(p[0] for p, _ in pairs) / count, sum(p[1] for p, _ in pairs) / count
    to_x, to_y = sum(t[0] for _, t in pairs) / count, sum(t[1] for _, t in pairs) / count
    spread = along = across = 0.0
    for p, t in pairs:
        x, y, u, v = p[0] - from_x, p[1] - from_y, t[0] - to_x, t[1] - to_y
        spread += x * x + y * y
        along += x * u + y * v
        across += x * v - y * u
    if not 1e-6 <= spread < math.inf:
        raise ValueError("All landmarks of the face lie in one point.")
    along, across = along / spread, across / spread
    return along, across, to_x - along * from_x + across * from_y, to_y - across * from_x - along * from_y


def crop_aligned(image: NDArray[np.uint8], landmarks: Points, template: Points, side: int) -> NDArray[np.uint8]:
    """The square of `side` pixels in which the landmarks match `template`; the picture's edge pixels continue outside.

    `image` is H x W x 3. Raises ValueError like `fit_similarity_transform`.
    """
    import cv2

    points = _to_lists(landmarks)
    along, across, dx, dy = _fit(points, template)
    square = along * along + across * across
    if square <= 0:
        raise ValueError("All landmarks of the face lie on one line.")
    scale = math.sqrt(square)
    # Only the face's surroundings are processed, however large the picture is.
    right, down = side / 2 - dx, side / 2 - dy
    middle_x, middle_y = (along * right + across * down) / square, (along * down - across * right) / square
    reach = ALIGNMENT.reach_diagonal_share * side / scale
    height, width = image.shape[:2]
    left, top = _limit(middle_x - reach, 0, width - 1), _limit(middle_y - reach, 0, height - 1)
    part = image[
        top : _limit(math.ceil(middle_y + reach), top + 1, height),
        left : _limit(math.ceil(middle_x + reach), left + 1, width),
    ]
    grown_x = grown_y = 1.0
    if scale < ALIGNMENT.least_sampled_scale:
        size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        grown_x, grown_y = size[0] / part.shape[1], size[1] / part.shape[0]
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    points = [((x - left) * grown_x, (y - top) * grown_y) for x, y in points]
    matrix = fit_similarity_transform(points, template)
    # OpenCV's origin is the centre of the first pixel.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    cut = cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def _limit(value: float, least: int, most: int) -> int:
    return int(min(max(value, least), most))


def _to_lists(points: Points) -> Sequence[Sequence[float]]:
    return points.tolist() if isinstance(points, np.ndarray) else points
