# SPDX-License-Identifier: GPL-3.0-or-later
"""SFace: MobileFaceNet trained with a loss that is robust to noise, from OpenCV's model zoo.

Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition" (arxiv.org/abs/2205.12010).
Input, alignment and threshold are those of OpenCV's FaceRecognizerSF. It has not been run with its real weights here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from .base import Recognizer


class SFace(Recognizer):
    """Distances are 1 minus the cosine similarity."""

    name = "sface"
    side = 112
    # OpenCV's origin is the centre of the first pixel.
    template = (
        np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
        + 0.5
    )
    usual_threshold = 1 - 0.363

    def __init__(self, model: Path) -> None:
        import cv2

        try:
            self._network = cv2.FaceRecognizerSF.create(str(model), "")
        except cv2.error as error:
            raise FaceBlurError(f"Cannot read the face recogniser {model.name}: {error.err}") from error

    def embed(self, aligned_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array(self._network.feature(aligned_bgr)[0], np.float32)

    def distance(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        return np.asarray(1 - (a * b).sum(axis=-1) / np.maximum(lengths, 1e-9), np.float32)
