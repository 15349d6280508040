# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays a face's five landmarks over those that a recogniser was trained with, and cuts that square out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = Sequence[Sequence[float]] | NDArray[np.float64]
"""Five (x, y) in pixels, in the order of `Detection.landmarks`; the first pixel's outer corner is (0, 0)."""

_LEAST_SCALE = 0.5
"""Larger faces are reduced by area first: linear sampling takes in two pixels at most."""


def find_similarity(points: Points, template: Points) -> NDArray[np.float64]:
    """The 2 x 3 matrix of scale, turn and shift that lays `points` over `template` with the least squares.

    Raises ValueError where the points are not finite or all in one place, so that there is no such matrix.
    """
    source, target = np.asarray(points, np.float64), np.asarray(template, np.float64)
    from_middle, to_middle = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_middle, target - to_middle
    spread = float((a * a).sum())
    if not np.isfinite(source).all() or spread < 1e-6:
        raise ValueError("The landmarks of a face lie in one point.")
    along = float((a * b).sum()) / spread
    across = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.array([[along, -across], [across, along]])
    return np.hstack([turn, (to_middle - turn @ from_middle)[:, None]])


def cut_aligned(image: NDArray[np.uint8], landmarks: Points, template: Points, side: int) -> NDArray[np.uint8]:
    """The square of `side` pixels in which the landmarks lie over `template`; beyond the rim the rim goes on.

    `image` is H x W x 3. Raises ValueError as `find_similarity`.
    """
    import cv2

    points = np.asarray(landmarks, np.float64)
    matrix = find_similarity(points, template)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    # Only what surrounds the face is worked on, however large the picture is.
    middle = np.linalg.inv(matrix[:, :2]) @ ((side / 2, side / 2) - matrix[:, 2])
    # Half of the turned square's diagonal, and a little for sampling.
    reach = 0.75 * side / scale
    height, width = image.shape[:2]
    left, top = (int(np.clip(np.floor(at - reach), 0, most - 1)) for at, most in zip(middle, (width, height),
                                                                                     strict=True))
    right, bottom = (int(np.clip(np.ceil(at + reach), least + 1, most)) for at, least, most in
                     zip(middle, (left, top), (width, height), strict=True))
    part = image[top:bottom, left:right]
    points = points - (left, top)
    if scale < _LEAST_SCALE:
        size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        points = points * (size[0] / part.shape[1], size[1] / part.shape[0])
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    matrix = find_similarity(points, template)
    # OpenCV counts from the middle of the first pixel.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    cut = cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)
