# SPDX-License-Identifier: GPL-3.0-or-later
"""Find cuts and gradual transitions from thumbnails of consecutive frames."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Shot


@dataclass(frozen=True, slots=True)
class ShotSettings:
    """When a frame counts as a cut or a gradual transition. Levels are 0..255.

    Only clear cuts count. After a missed one, optical flow and extrapolation merely run on for a moment, but a false
    one ends the track of a face that a flash hid.
    """

    thumbnail_width_px: int = 64
    """Width of the thumbnails that are compared, in pixels. Raising it notices smaller changes, including noise, and
    takes time. Origin not recorded."""
    thumbnail_height_px: int = 36
    """Their height. Raising it does the same. Origin not recorded."""
    cut_levels: float = 16.0
    """Mean change of a pixel, in levels, above which a frame may begin a shot, in pictures of usual contrast. Raising
    it misses more cuts between similar pictures. Origin not recorded."""
    cut_change_ratio: float = 2.5
    """How many times larger than the usual change from frame to frame it must be. Raising it misses more cuts in lively
    shots. Origin not recorded."""
    cut_correlation: float = 0.6
    """Correlation (-1..1) of the brightness of both pictures, below which a frame may begin a shot: a flash or a fade
    changes it little, a cut a lot. Raising it mistakes more flashes for cuts. Origin not recorded."""
    usual_contrast_levels: float = 40.0
    """Standard deviation of the brightness, in levels, from which `cut_levels` applies; below it the limit falls in
    proportion, since dark and dull pictures differ by fewer levels. Raising it finds more cuts in dull pictures,
    including false ones. Origin: introduced for cuts in dark films; how it was chosen is not recorded."""
    least_contrast_share: float = 0.3
    """Least share (0..1) of `cut_levels` to which the limit falls. Raising it misses more cuts in dark pictures.
    Origin: introduced for cuts in dark films; how it was chosen is not recorded."""
    black_level: float = 10.0
    """Level up to which a pixel is black. Pixels that are black in both pictures, such as the bars beside a film, are
    ignored. Raising it ignores more of dark pictures. Origin: introduced for cuts in dark films; how it was chosen is
    not recorded."""
    least_visible_share: float = 0.25
    """Share (0..1) of pixels that are not black, below which black ones count too. Raising it counts black bars more
    often. Origin: introduced for cuts in dark films; how it was chosen is not recorded."""
    usual_frames: int = 12
    """Frames whose median change is the usual one. Raising it adapts more slowly to a shot that becomes lively. Origin
    not recorded."""
    transition_half_s: float = 0.4
    """Half of the window, in seconds, in which a gradual transition is detected. Raising it finds longer transitions
    and misses short ones. Origin not recorded."""
    transition_levels: float = 20.0
    """Mean difference, in levels, that both ends of the window must have. Raising it misses transitions between similar
    pictures. Origin not recorded."""
    transition_rest_share: float = 0.2
    """Share of that difference by which the picture in the middle may differ from the mean of both ends. Raising it
    mistakes more motion for transitions. Origin not recorded."""
    rapid_cuts_s: float = 0.15
    """Cuts less than this many seconds apart are dropped: editors do not cut that fast, but a large object that moves
    fast through a dark picture looks like it. Raising it drops real cuts in quick montages. Origin: introduced when
    faces stayed uncovered between such cuts; how it was chosen is not recorded."""

    @property
    def thumbnail_size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.thumbnail_width_px, self.thumbnail_height_px


SHOTS = ShotSettings()

THUMBNAIL = SHOTS.thumbnail_size
"""Width and height, pixels."""


class CutDetector:
    """Finds cuts and gradual transitions in consecutive thumbnails (36 x 64 x 3, uint8)."""

    def __init__(self, frame_rate: float) -> None:
        self._usual: deque[float] = deque(maxlen=SHOTS.usual_frames)
        self._half = max(3, round(SHOTS.transition_half_s * frame_rate))
        self._thumbnails: deque[NDArray[np.uint8]] = deque(maxlen=2 * self._half + 1)

    def add_frame(self, thumbnail: NDArray[np.uint8]) -> tuple[bool, bool]:
        """Whether a shot begins with this frame, and whether a gradual transition was in progress just before it."""
        cut = bool(self._thumbnails) and self._is_cut(self._thumbnails[-1], thumbnail)
        if cut:
            self._thumbnails.clear()
            self._usual.clear()
        self._thumbnails.append(thumbnail)
        return cut, self._is_mixture()

    def _is_cut(self, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> bool:
        highest = np.maximum(before, now)
        # The maximum over an axis of three values takes ten times as long.
        seen = np.maximum(np.maximum(highest[..., 0], highest[..., 1]), highest[..., 2]) > SHOTS.black_level
        if seen.mean() < SHOTS.least_visible_share:
            seen[:] = True
        difference = highest - np.minimum(before, now)
        change = float((difference if seen.all() else difference[seen]).mean())
        usual = float(np.median(self._usual)) if self._usual else 0.0
        self._usual.append(change)
        # Most frames change too little for a cut, whatever their contrast.
        if change <= SHOTS.cut_change_ratio * usual or change <= SHOTS.cut_levels * SHOTS.least_contrast_share:
            return False
        one, two = before[seen].astype(np.float32), now[seen].astype(np.float32)
        contrast = (float(one.mean(axis=1).std()) + float(two.mean(axis=1).std())) / 2
        share = min(1.0, max(SHOTS.least_contrast_share, contrast / SHOTS.usual_contrast_levels))
        return change > SHOTS.cut_levels * share and _compute_similarity(one, two) < SHOTS.cut_correlation

    def _is_mixture(self) -> bool:
        """Whether the picture in the middle of the window is the mean of its two very different ends."""
        if len(self._thumbnails) <= 2 * self._half:
            return False
        first, middle, last = self._thumbnails[0], self._thumbnails[self._half], self._thumbnails[-1]
        apart = float((np.maximum(first, last) - np.minimum(first, last)).mean())
        if apart <= SHOTS.transition_levels:
            return False
        ends = np.add(first, last, dtype=np.int16)
        rest = float(np.abs(2 * middle.astype(np.int16) - ends).mean()) / 2
        return rest < SHOTS.transition_rest_share * apart


def _compute_similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Correlation of the brightness of pixels (N x 3), -1..1: a flash or a fade changes it little, a cut a lot."""
    one, two = first.mean(axis=1), second.mean(axis=1)
    one, two = one - one.mean(), two - two.mean()
    return float(one @ two) / max(float(np.sqrt((one @ one) * (two @ two))), 1e-6)


def drop_rapid_cuts(cuts: Iterable[int], frame_rate: float) -> list[int]:
    """The cuts, sorted, without those that follow each other within moments.

    Editors do not cut that fast, but a large object that moves fast through a dark picture looks like it. If such a cut
    was real, faces are only covered for a moment longer.
    """
    found = sorted(cuts)
    apart = max(2, round(SHOTS.rapid_cuts_s * frame_rate))
    return [
        cut
        for i, cut in enumerate(found)
        if (i == 0 or cut - found[i - 1] > apart) and (i + 1 == len(found) or found[i + 1] - cut > apart)
    ]


def build_shots(frame_count: int, cuts: list[int], mixing: list[int], window_frames: int) -> list[Shot]:
    """Shots over 0..frame_count, from the frames that begin after a cut and those that end a mixed window.

    A gradual transition becomes a shot boundary in the middle of the frames in which it was seen.
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
    return [Shot(start, stop, starts.get(start, False)) for start, stop in itertools.pairwise(edges) if stop > start]
