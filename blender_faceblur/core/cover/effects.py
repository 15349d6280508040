# SPDX-License-Identifier: GPL-3.0-or-later
"""What each effect is: settings, grid and numbers, which Blender's node groups and the direct renderer both follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..types import FaceBlurError

KERNEL_RADIUS = 3.0
"""The radius of Blender's Gaussian kernel, in standard deviations."""


@dataclass(frozen=True, slots=True)
class EffectSettings:
    """The effect that covers faces. `samples_across` is the number of samples in the largest face; `color` is RRGGBB.

    `image` is the sticker: the name of a picture in the file, or else a path. If it is missing, `color` covers the
    faces. With `inverse`, everything but the faces is covered.
    """

    kind: str = "solid"
    color: str = "000000"
    samples_across: float = 6.0
    image: str = ""
    inverse: bool = False


@dataclass(frozen=True, slots=True)
class MosaicSettings:
    """Mosaic: blocks, each the mean of its part of a picture that was blurred first.

    The blur removes all detail finer than two blocks, so every position of the grid gives the same information. With
    plain means, each position gives different information, and combining the frames of a face that moves under the grid
    would recover the face (docs/strength.md).
    """

    spread: float = 0.8
    """Standard deviation, in blocks, of the Gaussian that blurs the picture before it is sampled. Raising it hides more
    and mixes more of the surroundings into each block. Origin: the table in docs/strength.md, "Why the mosaic is
    soft"."""
    finer: int = 2
    """The picture is blurred at 2**finer points per block. Raising it follows the Gaussian more closely and takes
    longer. Origin not recorded."""


@dataclass(frozen=True, slots=True)
class BlurSettings:
    """Blur: a smooth curve through as few samples as the mosaic has."""

    points_per_sample: float = 8.0
    """Points of the curve per sample; between them the picture is linear. Raising it is slower, since bicubic scaling
    of a whole picture is slow. Origin: from eight points on, the result looks the same."""


@dataclass(frozen=True, slots=True)
class GaussianSettings:
    """Gaussian: a soft blur, whose standard deviation is as wide as a sample."""

    finer: int = 2
    """The picture is blurred at 2**finer points per sample. Raising it follows the Gaussian more closely and takes
    longer, since a blur of that width at full size is slow. Origin not recorded."""


@dataclass(frozen=True, slots=True)
class EraseSettings:
    """Erase: covers are filled by a pull-push pyramid (Burt, "Moment images", 1988)."""

    levels: int = 6
    """How many times the samples are halved. Raising it fills larger covers. Origin: a sample of the last level spans
    about ten faces."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Image: a picture over each cover, whose position and size are measured from the mask."""

    samples_per_face: float = 12.0
    """Samples across the largest face, whatever an editor chose for other effects. Raising it measures covers more
    finely, but the windows then hold smaller ones. Origin not recorded."""
    windows: tuple[int, ...] = (3, 5, 8, 12, 18, 26)
    """Window sizes, in samples to each side, for measuring covers, so that a small face beside a large one is separate.
    Raising their sizes measures larger covers. Origin not recorded."""
    alone: float = 1.03
    """A cover lies completely within a window if the next larger window has at most this times as much covered area.
    Raising it measures with smaller windows, which may hold only a part of the cover. Origin not recorded."""
    share: float = 0.92
    """The picture's diameter, as a share of the circle with the cover's area. Raising it lets the picture reach beyond
    the cover. Origin: at this value it fits into an ellipse."""


MOSAIC = MosaicSettings()
BLUR = BlurSettings()
GAUSSIAN = GaussianSettings()
ERASE = EraseSettings()
IMAGE = ImageSettings()


def compute_grid(picture: tuple[int, int], face_px: float, samples_per_face: float) -> tuple[int, int]:
    """Columns and rows of samples in the whole picture, with at most `samples_per_face` in `face_px` source pixels.

    Both are at least 2, and even, because Blender shifts the picture by half a pixel when it scales between odd and
    even sizes.
    """
    block_px = max(face_px / samples_per_face, 1.0)
    return max(2, math.floor(picture[0] / block_px / 2) * 2), max(2, math.floor(picture[1] / block_px / 2) * 2)


def compute_halvings(picture: tuple[int, int], columns: int, rows: int) -> int:
    """How many times to halve the picture, after a first reduction, to arrive at the grid.

    A first reduction to less than half skips some pixels. If each sample is the mean of many pixels, that does not
    matter and is faster: the halvings then start at three quarters of the picture's size at most.
    """
    ratio = min(picture[0] / columns, picture[1] / rows)
    return max(0, math.floor(math.log2(ratio if ratio < 16 else 0.75 * ratio)))


def to_linear(color: str) -> tuple[float, float, float, float]:
    """RRGGBB (sRGB) as scene-linear RGBA. Raises FaceBlurError if it is not a colour."""
    if len(color) != 6 or any(c not in "0123456789abcdefABCDEF" for c in color):
        raise FaceBlurError(f"'{color}' is not a colour. Write six hexadecimal digits, for example 1A2B3C.")
    channels = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue, 1.0
