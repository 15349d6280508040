# SPDX-License-Identifier: GPL-3.0-or-later
"""What every face recogniser is: a face in a picture becomes numbers, and numbers of one person lie close together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .alignment import Points, cut_aligned


class Recognizer(ABC):
    """`name` is also that of its weights in models.toml; the constructor loads them (FaceBlurError when it cannot).

    The numbers say who somebody is: they belong into memory, never into a file that is given away.
    """

    name: ClassVar[str]
    side: ClassVar[int]
    """Pixels of the square that it looks at."""
    template: ClassVar[Points]
    """Where in that square the five landmarks lie."""
    usual_threshold: ClassVar[float]
    """The distance below which its makers call two faces one person's."""

    @abstractmethod
    def __init__(self, model: Path) -> None: ...

    def align(self, image_bgr: NDArray[np.uint8], landmarks: Points) -> NDArray[np.uint8]:
        """The face as `embed` wants it, side x side x 3; `landmarks` are a detection's, in pixels of `image_bgr`.

        Raises ValueError where the landmarks lie in one point.
        """
        return cut_aligned(image_bgr, landmarks, self.template, self.side)

    @abstractmethod
    def embed(self, aligned_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """128 numbers for an aligned face (side x side x 3, levels 0 to 255)."""

    def embed_many(self, aligned_bgr: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """N x 128 for N aligned faces, one at least."""
        return np.stack([self.embed(aligned) for aligned in aligned_bgr])

    @abstractmethod
    def distance(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far apart faces are, 0 for the same: arrays of 128 numbers at the end, any shape that fits before."""
