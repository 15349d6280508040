# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of face recognisers, which turn a face into an embedding; those of one person lie close together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .alignment import Points, crop_aligned


class Recognizer(ABC):
    """`name` is also the name of its weights in models.toml; the constructor loads them (FaceBlurError if it cannot).

    Embeddings identify people: they belong in memory, never in a file that is passed on.
    """

    name: ClassVar[str]
    side: ClassVar[int]
    """Side of the square face crop, in pixels."""
    template: ClassVar[Points]
    """The positions of the five landmarks in that square."""
    usual_threshold: ClassVar[float]
    """The distance below which its authors consider two faces to show one person."""

    @abstractmethod
    def __init__(self, model: Path) -> None: ...

    def align(self, image_bgr: NDArray[np.uint8], landmarks: Points) -> NDArray[np.uint8]:
        """The face crop that `embed` takes, side x side x 3; `landmarks` are a detection's, in pixels of `image_bgr`.

        Raises ValueError if all landmarks lie in one point.
        """
        return crop_aligned(image_bgr, landmarks, self.template, self.side)

    @abstractmethod
    def embed(self, aligned_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embedding, 128 numbers, of an aligned face crop (side x side x 3, levels 0 to 255)."""

    def embed_many(self, aligned_bgr: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The embeddings (N x 128) of N aligned face crops; N is at least 1."""
        return np.stack([self.embed(aligned) for aligned in aligned_bgr])

    @abstractmethod
    def distance(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distances between embeddings, 0 if identical: arrays with 128 numbers in the last axis, broadcast in the
        others."""
