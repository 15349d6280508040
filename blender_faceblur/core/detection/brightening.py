# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare dark pictures for detectors: stretch their levels, and average noise away where nothing moves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Picture


@dataclass(frozen=True, slots=True)
class BrighteningSettings:
    """Which pictures are dark, how far they are brightened, and over how many pictures noise is averaged.

    Levels are 0..255. In the annotated clips at a quarter of their light, all 287 clear faces are covered with
    averaging, and 274 without; at 0.4 of their light, 33 of the 41 hard faces with averaging, and 3 without.
    """

    outlier_percent: float = 1.0
    """Percentage of the brightest and of the darkest pixels that are ignored when judging whether a picture is dark.
    Raising it calls pictures with more lights in them dark. Origin not recorded."""
    dark_level: float = 90.0
    """Level below which all other pixels of a dark picture lie. Raising it brightens more pictures. Origin not
    recorded."""
    fade_levels: float = 20.0
    """How far below `dark_level` the brightening is complete; in between it grows, since a step in a fade would look
    like motion to optical flow. Raising it brightens less just below the limit. Origin: introduced for fades; how it
    was chosen is not recorded."""
    target_levels: float = 220.0
    """Range of levels to which a dark picture is stretched. Raising it gives more contrast and clips more. Origin not
    recorded."""
    most_gain: float = 8.0
    """The greatest factor on the levels. Raising it shows more in pictures that are almost black, above all noise.
    Origin not recorded."""
    smoothing_px: float = 1.0
    """Standard deviation, in pixels of the picture, of the Gaussian that smooths it before it is stretched. Raising it
    leaves less noise and less of small faces. Origin not recorded."""
    averaged_frames: int = 8
    """Pictures that are averaged, including the newest. Raising it leaves less noise and takes time and memory in
    proportion. Origin not recorded."""
    least_noise_levels: float = 1.0
    """Standard deviation of the noise, in levels, from which averaging is worth its time. Raising it averages less
    often. Origin not recorded."""
    motion_softening_px: float = 2.0
    """Standard deviation, in pixels, of the Gaussian that softens pictures before they are compared for motion; it
    leaves a seventh of the noise. Raising it mistakes less noise for motion and misses small motion. Origin not
    recorded."""
    still_noise_ratio: float = 0.7
    """A pixel whose softened level changed by more than the noise times this has moved and is not averaged. Raising it
    averages more and smears moving objects. Origin not recorded."""
    least_still_levels: float = 1.5
    """The least limit for that change, in levels. Raising it averages more in clean pictures. Origin not recorded."""
    most_still_levels: float = 6.0
    """The greatest limit for that change, in levels. Raising it averages more in noisy pictures and smears moving
    objects. Origin not recorded."""


BRIGHTENING = BrighteningSettings()


def compute_stretch(thumbnail: Picture) -> NDArray[np.uint8] | None:
    """New levels (256) for a very dark picture, None for any other. A thumbnail is used because it has no noise."""
    percent = BRIGHTENING.outlier_percent
    if np.count_nonzero(thumbnail >= BRIGHTENING.dark_level) > percent / 100 * thumbnail.size:
        return None
    low, high = np.percentile(thumbnail, (percent, 100 - percent))
    most = min(BRIGHTENING.most_gain, BRIGHTENING.target_levels / max(high - low, 1.0))
    # The gain grows gradually: a step in a fade would look like motion to optical flow.
    gain = 1 + (most - 1) * min(1.0, (BRIGHTENING.dark_level - high) / BRIGHTENING.fade_levels)
    levels: NDArray[np.uint8] = np.clip((np.arange(256) - low) * gain, 0, 255).astype(np.uint8)
    return levels


def brighten(picture: Picture, stretch: NDArray[np.uint8]) -> Picture:
    """The picture with its noise smoothed and its levels stretched."""
    import cv2

    return np.asarray(cv2.LUT(cv2.GaussianBlur(picture, (0, 0), BRIGHTENING.smoothing_px), stretch), np.uint8)


class Averager:
    """Averages the noise away in consecutive pictures (H x W x 3, BGR) of a shot."""

    def __init__(self) -> None:
        self._taken: deque[tuple[Picture, Picture]] = deque(maxlen=BRIGHTENING.averaged_frames)

    def clear(self) -> None:
        """Forget all pictures: a new shot begins."""
        self._taken.clear()

    def take(self, picture: Picture) -> None:
        import cv2

        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        soft = cv2.GaussianBlur(grey, (0, 0), BRIGHTENING.motion_softening_px)
        self._taken.append((picture, np.asarray(soft, np.uint8)))

    def average(self) -> Picture:
        """The newest picture, each pixel averaged with those earlier pictures in which it was the same."""
        import cv2

        newest, soft = self._taken[-1]
        grey = cv2.cvtColor(newest, cv2.COLOR_BGR2GRAY)
        # A normal distribution's standard deviation is 1.48 times the median of its absolute values.
        noise = 1.48 * float(np.median(cv2.absdiff(grey, soft)[::2, ::2]))
        if noise < BRIGHTENING.least_noise_levels or len(self._taken) == 1:
            return newest
        most = min(
            BRIGHTENING.most_still_levels, max(BRIGHTENING.least_still_levels, BRIGHTENING.still_noise_ratio * noise)
        )
        total, count = newest.astype(np.float32), np.ones(soft.shape, np.float32)
        for picture, before in list(self._taken)[:-1]:
            _, same = cv2.threshold(cv2.absdiff(before, soft), most, 1, cv2.THRESH_BINARY_INV)
            cv2.accumulate(picture, total, same)
            cv2.accumulate(same, count)
        return np.asarray(cv2.convertScaleAbs(total / count[..., None]), np.uint8)
