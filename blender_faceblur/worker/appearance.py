# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a face that comes back looks like the one that was hidden: the colours of head and clothes."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..core.analysis import fit_size
from ..core.linking import Place
from ..core.types import Box
from ..sources import FrameSource
from .opening import SourceRequest, open_requested

_LONG_SIDE, _LEAST_PX = 640, 3
_BINS, _RANGES = (8, 12, 12), (0, 256, 88, 168, 88, 168)
"""Of L, a and b as OpenCV counts them in 8 bits."""

_ALIKE = 0.7
"""Of the same person within a shot 98 % are as alike, of different ones 75 % (8 clips, most with people in the dark or
in like clothes): it keeps those apart that are clearly different, and says little about the others."""


class Appearance:
    """Compares places in one source, which is opened when first asked."""

    def __init__(self, request: SourceRequest) -> None:
        self._request = request
        self._source: FrameSource | None = None

    def __enter__(self) -> Appearance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.close()

    def are_alike(self, one: Place, other: Place) -> bool:
        """Raises FaceBlurError where the source cannot be read."""
        return compare(self._describe(*one), self._describe(*other)) >= _ALIKE

    def _describe(self, frame: int, box: Box) -> list[NDArray[np.float32]]:
        if self._source is None:
            self._source = open_requested(self._request)
        info = self._source.info
        size = fit_size((info.width, info.height), _LONG_SIDE)
        _, picture = next(iter(self._source.frames(frame, frame + 1, size)))
        scale = size[0] / info.width
        x1, y1, x2, y2 = (value * scale for value in box)
        return describe(picture, (x1, y1, x2, y2))


def describe(picture: NDArray[np.uint8], box: Box) -> list[NDArray[np.float32]]:
    """Histograms of colours of the head and of what is below it; empty ones where that is outside the picture.

    `picture`: H x W x 3, BGR; `box`: of the face, in its pixels.
    """
    import cv2

    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    told = []
    for left, top, right, bottom in (
            (x1 - 0.1 * width, y1 - 0.35 * height, x2 + 0.1 * width, y2),
            (x1 - 0.4 * width, y2 + 0.15 * height, x2 + 0.4 * width, y2 + height)):
        part = picture[max(0, round(top)):max(0, round(bottom)), max(0, round(left)):max(0, round(right))]
        if min(part.shape[:2]) < _LEAST_PX:
            told.append(np.zeros(_BINS, np.float32))
            continue
        lab = cv2.cvtColor(part, cv2.COLOR_BGR2LAB)
        counts = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), list(_RANGES))
        for axis in range(3):
            counts = counts + (np.roll(counts, 1, axis) + np.roll(counts, -1, axis)) / 2
        told.append(np.asarray(counts / max(float(counts.sum()), 1.0), np.float32))
    return told


def compare(one: list[NDArray[np.float32]], other: list[NDArray[np.float32]]) -> float:
    """How alike two descriptions are, 0..1 (Bhattacharyya); 1 where there is nothing to compare."""
    shared = [float(np.sqrt(a * b).sum()) for a, b in zip(one, other, strict=True) if a.any() and b.any()]
    return float(np.mean(shared)) if shared else 1.0
