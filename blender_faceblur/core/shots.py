# SPDX-License-Identifier: GPL-3.0-or-later
"""Find cuts and gradual transitions from thumbnails of consecutive frames."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .types import Shot

THUMBNAIL = (64, 36)
"""Width and height, pixels."""

# Levels of 0..255. A cut must be clear: one that is missed only lets flow and holds run on for a moment,
# a false one takes the bridge away from under a face that a flash hid.
_CUT_LEVELS, _CUT_RATIO = 16.0, 2.5
_CUT_LIKENESS = 0.6
# Dark and dull pictures differ by fewer levels: the limit falls with their contrast (standard deviation, levels).
_USUAL_CONTRAST, _LEAST_SHARE = 40.0, 0.3
# What is black in both pictures, as the bars beside a film are, says nothing about either.
_BLACK_LEVEL, _LEAST_SEEN = 10.0, 0.25
_USUAL_FRAMES = 12
_MIX_LEVELS, _MIX_REST = 20.0, 0.2
_HASTY_S = 0.15


class CutFinder:
    """Looks at one thumbnail (36 x 64 x 3, uint8) after another."""

    def __init__(self, frame_rate: float) -> None:
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)
        self._half = max(3, round(0.4 * frame_rate))
        self._thumbnails: deque[NDArray[np.float32]] = deque(maxlen=2 * self._half + 1)

    def look(self, thumbnail: NDArray[np.uint8]) -> tuple[bool, bool]:
        """Whether a shot begins with this frame, and whether a gradual transition is going on just before it."""
        now = thumbnail.astype(np.float32)
        cut = False
        if self._thumbnails:
            before = self._thumbnails[-1]
            seen = np.maximum(now, before).max(axis=2) > _BLACK_LEVEL
            if seen.mean() < _LEAST_SEEN:
                seen[:] = True
            one, two = before[seen], now[seen]
            change = float(np.abs(two - one).mean())
            usual = float(np.median(self._usual)) if self._usual else 0.0
            contrast = (float(one.mean(axis=1).std()) + float(two.mean(axis=1).std())) / 2
            share = min(1.0, max(_LEAST_SHARE, contrast / _USUAL_CONTRAST))
            cut = (
                change > _CUT_LEVELS * share
                and change > _CUT_RATIO * usual
                and _likeness(one, two) < _CUT_LIKENESS
            )
            self._usual.append(change)
        if cut:
            self._thumbnails.clear()
            self._usual.clear()
        self._thumbnails.append(now)
        return cut, self._is_mixture()

    def _is_mixture(self) -> bool:
        """True when the picture half-way through the window is the mean of its two very different ends."""
        if len(self._thumbnails) <= 2 * self._half:
            return False
        first, middle, last = self._thumbnails[0], self._thumbnails[self._half], self._thumbnails[-1]
        apart = float(np.abs(first - last).mean())
        return apart > _MIX_LEVELS and float(np.abs(middle - (first + last) / 2).mean()) < _MIX_REST * apart


def _likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Correlation of the brightness of pixels (N x 3), -1..1: a flash or a fade changes it little, a cut a lot."""
    one, two = first.mean(axis=1), second.mean(axis=1)
    one, two = one - one.mean(), two - two.mean()
    return float(one @ two) / max(float(np.sqrt((one @ one) * (two @ two))), 1e-6)


def drop_hasty(cuts: Iterable[int], frame_rate: float) -> list[int]:
    """The cuts without those that follow each other within moments, sorted.

    Nobody cuts like that; a large thing that moves fast through a dark picture looks like it. Where it was a flash
    after all, faces are only covered for a moment longer.
    """
    found = sorted(cuts)
    apart = max(2, round(_HASTY_S * frame_rate))
    return [cut for i, cut in enumerate(found)
            if (i == 0 or cut - found[i - 1] > apart) and (i + 1 == len(found) or found[i + 1] - cut > apart)]


def find_shots(frame_count: int, cuts: list[int], mixing: list[int], window_frames: int) -> list[Shot]:
    """Shots over 0..frame_count from the frames that begin after a cut and those that end a mixed window.

    A gradual transition becomes a shot boundary in the middle of where mixture was seen.
    """
    starts = dict.fromkeys((c for c in cuts if 0 < c < frame_count), False)
    run: list[int] = []
    for frame in [*mixing, frame_count + 2 * window_frames]:
        if run and frame - run[-1] > window_frames:
            middle = (run[0] + run[-1] - window_frames) // 2
            if 0 < middle < frame_count and not any(abs(c - middle) <= window_frames for c in cuts):
                starts[middle] = True
            run = []
        run.append(frame)
    edges = [0, *sorted(starts), frame_count]
    return [
        Shot(start, stop, starts.get(start, False))
        for start, stop in itertools.pairwise(edges)
        if stop > start
    ]
