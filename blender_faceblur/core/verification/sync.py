# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a film's pictures are those of the source, and of the same frames, outside the covers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array
from ..types import Ellipse, FaceBlurError
from .exposure import Grey
from .findings import ExpectedFace, compute_bounding_box


@dataclass(frozen=True, slots=True)
class StepSettings:
    """When a film's pictures are not those of the source, or belong to another frame. Levels are from 0 to 255."""

    thumbnail_px: int = 256
    """Long side of the compared pictures, in pixels. Raising it finds smaller differences and takes more time. Origin
    not recorded."""
    cover_ratio: float = 1.3
    """Assumed size of a cover compared with its mask: a tolerance and the feather make it larger. Raising it compares
    less of the picture. Origin not recorded."""
    cover_margin_px: float = 6
    """Pixels of the source by which the cover is assumed to be larger still. Raising it compares less of the picture.
    Origin not recorded."""
    least_outside_px: int = 400
    """Pixels outside all covers that a comparison needs. Raising it compares fewer frames. Origin not recorded."""
    noise_levels: float = 1.5
    """Difference that coding may cause, in levels (standard deviation). Raising it misses more frames that are out of
    step. Origin not recorded."""
    late_ratio: float = 1.6
    """A frame is out of step where its difference from the source's frame is more than this many times its difference
    from the source's frame before or after. Raising it misses more such frames. Origin not recorded."""
    least_detail: float = 4.0
    """Variance of the source's picture, in levels squared, from which the picture can be identified. Raising it checks
    fewer dark and flat pictures. Origin not recorded."""
    foreign_share: float = 0.5
    """A frame shows a different picture where the difference is more than this share of that variance. Raising it
    misses more such frames. Origin not recorded."""


STEP_CHECK = StepSettings()


class SyncChecker:
    """Checks that the film's pictures are those of the source, and not of the frame before or after."""

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._last: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.foreign: list[int] = []
        self.late: list[int] = []

    def compare(self, frame: int, source: Grey, film: Grey, places: list[ExpectedFace]) -> None:
        """Compare small versions of one frame's pictures, outside the covers."""
        import cv2

        height, width = source.shape
        scale = min(1.0, STEP_CHECK.thumbnail_px / max(height, width))
        size = max(8, round(width * scale)), max(8, round(height * scale))
        theirs, ours = (
            np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.float32) for p in (source, film)
        )
        outside = np.ones(theirs.shape, bool)
        for place in places:
            # Covers are larger than the face by the margin, a tolerance and the feather.
            e = place.ellipse.scaled(STEP_CHECK.cover_ratio * self._margin).grown(STEP_CHECK.cover_margin_px)
            box = compute_bounding_box(Ellipse(e.cx * scale, e.cy * scale, e.rx * scale, e.ry * scale, e.angle))
            x1, y1, x2, y2 = (
                max(0, math.floor(box[0])),
                max(0, math.floor(box[1])),
                math.ceil(box[2]) + 1,
                math.ceil(box[3]) + 1,
            )
            outside[y1:y2, x1:x2] = False
        if outside.sum() >= STEP_CHECK.least_outside_px:
            detail, rest = (theirs - theirs[outside].mean())[outside], (ours - theirs)[outside]
            rest = rest - rest.mean()
            there, lost = float((detail**2).mean()), float((rest**2).mean())
            apart = (
                math.inf
                if self._last is None
                else min(
                    self._compute_difference(ours, self._last[0], outside),
                    self._compute_difference(self._last[1], theirs, outside),
                )
            )
            if math.sqrt(lost) > STEP_CHECK.late_ratio * apart + STEP_CHECK.noise_levels:
                self.late.append(frame)
            elif there >= STEP_CHECK.least_detail and lost > STEP_CHECK.foreign_share * there:
                self.foreign.append(frame)
        self._last = theirs, ours

    @staticmethod
    def _compute_difference(one: NDArray[np.float32], other: NDArray[np.float32], outside: NDArray[np.bool_]) -> float:
        return float((one - other)[outside].std())

    def describe(self) -> list[str]:
        """The faults found, one sentence each."""
        return [
            f"In {len(frames)} frames, from frame {frames[0]} on, the film {words}."
            for frames, words in (
                (self.foreign, "shows different pictures from the source"),
                (self.late, "is out of sync with the source"),
            )
            if frames
        ]


def fit_matrix(place: list[float]) -> Array:
    """The 2 x 3 matrix from the source's pixels to the film's. Raises FaceBlurError where it cannot be inverted."""
    matrix = np.array(place, float).reshape(2, 3)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:, :2])) < 1e-6:
        raise FaceBlurError("The film's pictures cannot be aligned with the source's.")
    return matrix
