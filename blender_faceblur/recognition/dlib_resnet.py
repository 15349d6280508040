# SPDX-License-Identifier: GPL-3.0-or-later
"""dlib's face recognition network: a ResNet of 29 convolutions, trained by Davis King on about 3 million faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..detectors.onnx_model import OnnxSession
from .base import Recognizer

_MARGIN = 0.25
_MEAN_FACE = np.array([(0.2255, 0.2160), (0.7548, 0.2160), (0.4901, 0.5156), (0.2541, 0.7802), (0.7261, 0.7802)])
"""Eyes, nose tip and mouth corners of dlib's mean face (image_transforms/interpolation.h; an eye is the mean of six
points). With a margin of 0.35 instead of the 0.25 of its training, 97 instead of 99 of 100 people were recognised in
another photograph."""


class DlibResNet(Recognizer):
    """Distances are Euclidean: about 0.37 between two photographs of one person, 0.78 between two people."""

    name = "dlib_resnet"
    side = 150
    template = (_MEAN_FACE + _MARGIN) / (1 + 2 * _MARGIN) * side
    usual_threshold = 0.6

    def __init__(self, model: Path) -> None:
        self._session = OnnxSession(model, "cpu")

    def embed(self, aligned_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self.embed_many([aligned_bgr])[0])

    def embed_many(self, aligned_bgr: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        images = np.ascontiguousarray(np.stack(aligned_bgr)[..., ::-1].transpose(0, 3, 1, 2), np.float32)
        return np.asarray(self._session.run(["descriptor"], {"image": images})[0], np.float32)

    def distance(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.linalg.norm(a - b, axis=-1), np.float32)
