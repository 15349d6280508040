# SPDX-License-Identifier: GPL-3.0-or-later
"""Dark pictures as detectors should see them: levels stretched, noise averaged away over time where nothing moves."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_DARK, _FADE, _BRIGHT, _MOST_GAIN = 90.0, 20.0, 220.0, 8.0
"""Levels of the brightest hundredth of a picture: below which it is dark, how far below fully so; what it is made."""
_AVERAGED = 8
_NOISY = 1.0
"""Levels of noise (standard deviation) from which averaging is worth its time."""
_SAME, _LEAST_SAME, _MOST_SAME = 0.7, 1.5, 6.0
"""Of the noise: what differs by more levels in softened pictures has moved. Softening leaves a seventh of the noise."""


def find_stretch(thumbnail: Picture) -> NDArray[np.uint8] | None:
    """New levels (256) for a very dark picture; None for any other. The thumbnail has no noise left."""
    if np.count_nonzero(thumbnail >= _DARK) > 0.01 * thumbnail.size:
        return None
    low, high = np.percentile(thumbnail, (1, 99))
    most = min(_MOST_GAIN, _BRIGHT / max(high - low, 1.0))
    # Without a step in a fade, which would look like motion to those that follow.
    gain = 1 + (most - 1) * min(1.0, (_DARK - high) / _FADE)
    return np.clip((np.arange(256) - low) * gain, 0, 255).astype(np.uint8)


def brighten(picture: Picture, stretch: NDArray[np.uint8]) -> Picture:
    """The picture with its noise smoothed and its levels stretched."""
    import cv2

    return np.asarray(cv2.LUT(cv2.GaussianBlur(picture, (0, 0), 1.0), stretch), np.uint8)


class Averager:
    """Takes consecutive pictures (H x W x 3, BGR) of a shot, and gives the newest without its noise."""

    def __init__(self) -> None:
        self._taken: deque[tuple[Picture, Picture]] = deque(maxlen=_AVERAGED)

    def clear(self) -> None:
        """Forget all pictures: another shot begins."""
        self._taken.clear()

    def take(self, picture: Picture) -> None:
        import cv2

        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        self._taken.append((picture, np.asarray(cv2.GaussianBlur(grey, (0, 0), 2.0), np.uint8)))

    def average(self) -> Picture:
        """The newest picture, each pixel averaged with those of the pictures before in which it was the same."""
        import cv2

        newest, soft = self._taken[-1]
        grey = cv2.cvtColor(newest, cv2.COLOR_BGR2GRAY)
        noise = 1.48 * float(np.median(cv2.absdiff(grey, soft)[::2, ::2]))
        if noise < _NOISY or len(self._taken) == 1:
            return newest
        most = min(_MOST_SAME, max(_LEAST_SAME, _SAME * noise))
        total, count = newest.astype(np.float32), np.ones(soft.shape, np.float32)
        for picture, before in list(self._taken)[:-1]:
            _, same = cv2.threshold(cv2.absdiff(before, soft), most, 1, cv2.THRESH_BINARY_INV)
            cv2.accumulate(picture, total, same)
            cv2.accumulate(same, count)
        return np.asarray(cv2.convertScaleAbs(total / count[..., None]), np.uint8)
