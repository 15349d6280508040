# SPDX-License-Identifier: GPL-3.0-or-later
"""What every face detector is, and what their decoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection


class FaceDetector(ABC):
    """Finds faces in one picture.

    `name` is also that of its weights in models.toml. The constructor loads them (FaceBlurError when it cannot).
    """

    name: ClassVar[str]

    @abstractmethod
    def __init__(self, model: Path, threshold: float) -> None: ...

    @abstractmethod
    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        """Faces with at least the threshold's confidence, in pixels of `image_bgr` (H x W x 3, uint8), best first.

        Boxes may reach past the picture's edge.
        """


def pad_to_stride(image: NDArray[np.uint8], stride: int) -> NDArray[np.uint8]:
    """`image` with black added at the right and at the bottom until both sides are multiples of `stride`."""
    height, width = image.shape[:2]
    down, right = -height % stride, -width % stride
    if not down and not right:
        return image
    padded = np.zeros((height + down, width + right, 3), np.uint8)
    padded[:height, :width] = image
    return padded


def keep_best(boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float) -> list[int]:
    """Non-maximum suppression: indices of `boxes` (N x 4) to keep, best score first."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        union = np.maximum(area[best] + area[rest] - common, 1e-6)
        order = rest[common / union < overlap]
    return kept


def to_detections(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], landmarks: NDArray[np.float32], detector: str,
    overlap: float,
) -> list[Detection]:
    """Suppress doubles; `landmarks` is N x 5 x 2 in the order of `Detection.landmarks`."""
    return [
        Detection(
            tuple(boxes[i].tolist()),
            min(1.0, float(scores[i])),
            detector,
            tuple((float(x), float(y)) for x, y in landmarks[i]),
        )
        for i in keep_best(boxes, scores, overlap)
    ]
