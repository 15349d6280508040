# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a finished film with its source: whether each expected face is covered, and whether other faces show.

A pixel's detail is its difference from the mean of a box of `block_px` around it, which is about as large as the
effect's samples. Where the film shows the source, apart from coding noise, the detail of their difference is small
compared with the detail of the source. Under an effect it is at least as large, because the effect has removed the
source's detail. The comparison runs in windows of a quarter of a face, wherever the face has enough detail.

Measured on six real clips (2,486 faces in frames, mosaic, H.264 at rate factor 17): under the covers at most 0.04 of a
face seemed to show, and 0.12 of faces 18 pixels wide. Two of the clips (1,831 faces in frames) were encoded without
covers: 1,824 faces were leaks, and 7 were too dark to tell. At rate factor 28, 1,779 were leaks, 8 were too dark, and
41 were listed for review.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Ellipse, TrackDocument

Grey = NDArray[np.uint8]
"""Brightness, height x width."""


@dataclass(frozen=True, slots=True)
class ExposureSettings:
    """When a face's pixels show the source. Shares (0..1) are shares of the pixels in the face's ellipse.

    The thresholds were chosen on "the clips", those of docs/verifying.md.
    """

    inner_share: float = 0.95
    """Share of the ellipse's semi-axes within which pixels count, since a cover's edge is soft. Raising it counts more
    of the rim. Origin not recorded."""
    least_pixels: int = 12
    """Pixels below which the visible part of a face is too small to recognise. Raising it checks fewer small or cut-off
    faces. Origin not recorded."""
    least_detail: float = 1.2
    """Variance of the source's detail, in levels squared, from which a pixel is compared. Raising it compares fewer
    pixels of dark and flat faces. Origin: chosen on the clips; lowered from 2.0 when faint faces began to count."""
    least_block_px: float = 3.0
    """The smallest block size for detail, in pixels. Raising it compares coarser detail in small faces. Origin not
    recorded."""
    face_block_divisor: float = 1.25
    """The largest block size is a face's smaller semi-axis divided by this. Raising it compares finer detail where the
    effect's samples are large. Origin not recorded."""
    least_film_face_share: float = 1 / 8
    """The smallest face width for which an effect is scaled, as a share of the source's height, as in
    `blender.cover.find_largest_face_px`. Raising it above the effect's own value compares coarser detail than the
    effect leaves. Origin: the effect's own rule."""
    smoothed_block_px: int = 13
    """Block size, in pixels, from which the finest detail is smoothed away first: coding changes it most, and it
    matters little for a large face. Raising it compares large faces by finer detail. Origin: introduced when faint
    faces began to count; how it was chosen is not recorded."""
    least_window_px: float = 5.0
    """The smallest window over which detail is averaged, in pixels. Raising it averages over more of a small face.
    Origin not recorded."""
    window_divisor: float = 2
    """The window size is a face's smaller semi-axis divided by this, which is a quarter of a face. Raising it finds
    smaller uncovered parts, and more false ones. Origin not recorded."""
    same_detail_share: float = 0.3
    """A pixel shows the source where less than this share of its detail is lost. Raising it takes more covered pixels
    for uncovered ones. Origin: chosen on the clips; lowered from 0.35 when faint faces began to count."""
    whole_share: float = 0.9
    """Share of the compared pixels that must show for the check of slopes to be skipped. Raising it checks slopes more
    often. Origin: introduced for flat signs; how it was chosen is not recorded."""
    steep_share: float = 0.04
    """Square of a slope, divided by the detail around it, from which the slope counts. Raising it counts fewer slopes.
    Origin: this and the next three values prevent a single edge along a mosaic's blocks from counting as a face; chosen
    on the clips."""
    steep_spread_share: float = 0.25
    """Share of a window's pixels that must have such a slope for the window to be compared. Raising it compares fewer
    windows. Origin: see `steep_share`."""
    same_slope_share: float = 0.5
    """A slope survived the effect where it changed by less than this share of its square. Raising it counts more slopes
    as survived. Origin: see `steep_share`."""
    survived_share: float = 0.25
    """Share of a window's pixels whose slopes must have survived for it to show the source. Raising it finds fewer
    leaks. Origin: see `steep_share`."""
    leak_share: float = 0.2
    """Share of a face that must show for a leak. Raising it finds fewer leaks. Origin: chosen on the clips."""
    leak_decided_share: float = 0.5
    """Share of a face's compared pixels that must show for a leak as well. Raising it finds fewer leaks. Origin: chosen
    on the clips."""
    least_decided_share: float = 0.08
    """Share of a face's pixels that must have enough detail to be compared; a face with less is flat. Raising it counts
    more faces as flat. Origin: chosen on the clips."""
    review_share: float = 0.14
    """Share of a face that must show for the face to be listed for review. Raising it lists fewer faces. Origin: chosen
    on the clips."""
    review_lost_share: float = 0.55
    """A face is also listed for review where less than this share of its detail is lost. Raising it lists more faces.
    Origin: introduced for faces that coding has changed too much to tell; chosen on the clips."""


EXPOSURE = ExposureSettings()


@dataclass(frozen=True, slots=True)
class Visibility:
    """How much of a face shows: `share` of its area shows the source, and `decided` has enough detail to tell."""

    share: float
    decided: float
    lost: float = 1.0
    """Share of the detail that is lost, where there is enough detail. Under an effect it is close to 1."""

    @property
    def leaks(self) -> bool:
        return self.share >= EXPOSURE.leak_share or (
            not self.flat and self.share >= EXPOSURE.leak_decided_share * self.decided
        )

    @property
    def uncertain(self) -> bool:
        """Whether a part of the face may show: the face is not clearly covered, but not certainly a leak."""
        return not self.leaks and (
            self.share >= EXPOSURE.review_share or (not self.flat and self.lost < EXPOSURE.review_lost_share)
        )

    @property
    def part(self) -> float:
        """The share of the face that shows, among the pixels with enough detail."""
        return self.share if self.flat else self.share / self.decided

    @property
    def flat(self) -> bool:
        return self.decided < EXPOSURE.least_decided_share


def compute_block_px(document: TrackDocument, samples_per_face: float) -> float:
    """The size of the effect's samples in pixels, which follows the widest face and has a lower limit.

    See `blender.cover.find_largest_face_px`.
    """
    widest = max((2 * s.ellipse.rx for track in document.tracks for s in track.samples), default=0.0)
    return max(widest, EXPOSURE.least_film_face_share * document.source.height) / samples_per_face


def measure_shown(source: Grey, film: Grey, ellipse: Ellipse, block_px: float) -> Visibility | None:
    """How much of a face's ellipse shows the source in the film; None where hardly any of it lies in the picture.

    Both pictures have the same size, and the ellipse is in their pixels. Detail larger than `block_px` is ignored, and
    with it changes of brightness and colour.
    """
    height, width = source.shape
    smaller = min(ellipse.rx, ellipse.ry)
    least = EXPOSURE.least_block_px
    block = _round_to_odd(min(max(block_px, least), max(smaller / EXPOSURE.face_block_divisor, least)))
    reach = max(ellipse.rx, ellipse.ry) + block + 2
    x1, x2 = max(0, int(ellipse.cx - reach)), min(width, int(ellipse.cx + reach) + 1)
    y1, y2 = max(0, int(ellipse.cy - reach)), min(height, int(ellipse.cy + reach) + 1)
    if x2 - x1 < 3 or y2 - y1 < 3:
        return None
    inside = draw_inside(ellipse, x1, y1, x2, y2)
    area = int(inside.sum())
    if area < EXPOSURE.least_pixels:
        return None
    first = source[y1:y2, x1:x2].astype(np.float32)
    change = film[y1:y2, x1:x2].astype(np.float32) - first
    detail, changed = _take_detail(first, block), _take_detail(change, block)
    weight = inside.astype(np.float32)
    window = _round_to_odd(max(EXPOSURE.least_window_px, smaller / EXPOSURE.window_divisor))
    # Only pixels inside the ellipse count: beyond the edge of a cover the source may show.
    near = np.maximum(_blur(weight, window), 1e-6)
    there = _blur(detail**2 * weight, window) / near
    lost = _blur(changed**2 * weight, window) / near
    decided = inside & (there >= EXPOSURE.least_detail)
    shown = decided & (lost < EXPOSURE.same_detail_share * there)
    if shown.sum() < EXPOSURE.whole_share * decided.sum():
        # A single straight edge between two blocks survives a mosaic. A face that shows has slopes all over.
        steep = _compute_slopes(first, block)
        detailed = steep >= EXPOSURE.steep_share * there
        survived = detailed & (_compute_slopes(change, block) < EXPOSURE.same_slope_share * steep)
        decided &= _blur(detailed * weight, window) / near >= EXPOSURE.steep_spread_share
        shown &= decided & (_blur(survived * weight, window) / near >= EXPOSURE.survived_share)
    gone = float(np.minimum(lost[decided] / there[decided], 1.0).mean()) if decided.any() else 1.0
    return Visibility(float(shown.sum()) / area, float(decided.sum()) / area, gone)


def draw_inside(ellipse: Ellipse, x1: int, y1: int, x2: int, y2: int) -> NDArray[np.bool_]:
    """Which pixels of a part of the picture lie well inside an ellipse."""
    y, x = np.mgrid[y1:y2, x1:x2] + 0.5
    c, s = math.cos(ellipse.angle), math.sin(ellipse.angle)
    x, y = x - ellipse.cx, y - ellipse.cy
    rx, ry = EXPOSURE.inner_share * ellipse.rx, EXPOSURE.inner_share * ellipse.ry
    return np.asarray(((x * c + y * s) / rx) ** 2 + ((y * c - x * s) / ry) ** 2 <= 1)


def _compute_slopes(values: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """The squared slopes, in levels per pixel."""
    down, across = np.gradient(_blur(values, 3) if block >= EXPOSURE.smoothed_block_px else values)
    return np.asarray(down**2 + across**2, np.float32)


def _round_to_odd(size: float) -> int:
    return max(3, round(size) | 1)


def _blur(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.boxFilter(values, -1, (size, size)), np.float32)


def _take_detail(values: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    # Coding changes the finest detail most, and this detail says little about a large face.
    return (_blur(values, 3) if block >= EXPOSURE.smoothed_block_px else values) - _blur(values, block)
