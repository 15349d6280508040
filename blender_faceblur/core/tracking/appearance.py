# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe the colours of a person, to tell whether a face that comes back may be the one that was hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array


@dataclass(frozen=True, slots=True)
class BodyRegion:
    """Part of a person: its edges in widths and heights of the face's box, from the box's left and top."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def edges(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True, slots=True)
class ColorBins:
    """A histogram of one channel: its number in OpenCV's 8-bit Lab, and how many bins over levels low..high."""

    channel: int
    bins: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class AppearanceSettings:
    """How the colours of a person are described and compared.

    The regions and bins determine the length of a description: stored descriptions only fit the values they were made
    with.
    """

    head: BodyRegion = BodyRegion(left=-0.1, top=-0.35, right=1.1, bottom=1.0)
    """The head with its hair. Raising its reach includes more hair and background. Origin not recorded."""
    clothes: BodyRegion = BodyRegion(left=-0.4, top=1.15, right=1.4, bottom=2.0)
    """The clothes below the chin. Raising its reach includes more background. Origin not recorded."""
    lightness: ColorBins = ColorBins(channel=0, bins=8, low=0, high=256)
    """Bins of the lightness, fewer than of the colours because light changes. Raising their number distinguishes more
    people, and one person from themselves in another light. Origin not recorded."""
    green_red: ColorBins = ColorBins(channel=1, bins=12, low=88, high=168)
    """Bins from green to red around the neutral 128; levels beyond them count in the outermost bin. Raising their
    number distinguishes more people, and one person from themselves. Origin not recorded."""
    blue_yellow: ColorBins = ColorBins(channel=2, bins=12, low=88, high=168)
    """Bins from blue to yellow, likewise. Raising their number does the same. Origin not recorded."""
    neighbor_bin_share: float = 0.5
    """Share of each bin's count that is added to each neighbouring bin, so that a slight shift changes little. Raising
    it blurs differences. Origin not recorded."""
    least_region_px: int = 3
    """Side, in pixels of the picture for optical flow, below which a region is not described. Raising it compares fewer
    small or cut-off people. Origin not recorded."""
    least_similarity: float = 0.97
    """Similarity (0..1, Bhattacharyya coefficient) from which two descriptions may show one person. Raising it makes
    new tracks of more people who come back, above all in changing light; lowering it joins different people. Origin: 94
    % of 1080 pairs of one person, 0.8 to 3.5 s apart, reach it, as do 26 % of 1020 pairs of two people, in 7 clips with
    constant light."""

    @property
    def regions(self) -> tuple[BodyRegion, ...]:
        return self.head, self.clothes

    @property
    def channels(self) -> tuple[ColorBins, ...]:
        return self.lightness, self.green_red, self.blue_yellow


APPEARANCE = AppearanceSettings()

_PARTS, _CHANNELS = APPEARANCE.regions, APPEARANCE.channels
_PART_LENGTH = sum(channel.bins for channel in _CHANNELS)
LENGTH = len(_PARTS) * _PART_LENGTH


def describe_appearance(picture: NDArray[np.uint8], box: Array) -> bytes:
    """The description of a person: square roots of histograms, `LENGTH` bytes; zeros for parts outside the picture.

    `picture`: H x W x 3, BGR; `box` (4,): the face's, in pixels of the picture.
    """
    import cv2

    origin, size = np.tile(box[:2], 2), np.tile(box[2:] - box[:2], 2)
    histograms = np.zeros((len(_PARTS), _PART_LENGTH))
    for i, part in enumerate(_PARTS):
        left, top, right, bottom = np.maximum(0, np.rint(origin + size * part.edges)).astype(int).tolist()
        seen = picture[top:bottom, left:right]
        if min(seen.shape[:2]) < APPEARANCE.least_region_px:
            continue
        lab = cv2.cvtColor(seen, cv2.COLOR_BGR2LAB)
        counts = []
        for channel in _CHANNELS:
            inside = np.clip(lab[..., channel.channel], channel.low, channel.high - 1)
            count = cv2.calcHist([inside], [0], None, [channel.bins], [channel.low, channel.high]).ravel()
            spread = APPEARANCE.neighbor_bin_share
            blurred = np.convolve(count, (spread, 1, spread), "same")
            counts.append(blurred / blurred.sum())
        histograms[i] = np.concatenate(counts)
    rounded: NDArray[np.uint8] = np.rint(255 * np.sqrt(histograms)).astype(np.uint8)
    return rounded.tobytes()


def is_similar_appearance(one: bytes, other: bytes) -> bool:
    """Whether two descriptions may show one person (Bhattacharyya); True if there is nothing to compare."""
    first, second = (
        np.frombuffer(description, np.uint8).reshape(len(_PARTS), -1) / 255 for description in (one, other)
    )
    both = first.any(axis=1) & second.any(axis=1)
    shared = (first * second).sum(axis=1)[both] / len(_CHANNELS)
    return not both.any() or float(shared.mean()) >= APPEARANCE.least_similarity
