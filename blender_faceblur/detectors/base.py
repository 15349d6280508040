# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of face detectors, and what their decoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, TrackKind


@dataclass(frozen=True, slots=True)
class NetworkInputSettings:
    """How the input arrays of networks are kept for the next picture."""

    most_kept_sizes: int = 4
    """Picture sizes for which an array is kept; beyond that, all are dropped. Raising it takes memory where many sizes
    alternate. Origin not recorded."""


NETWORK_INPUTS = NetworkInputSettings()


class FaceDetector(ABC):
    """Finds faces in one picture.

    `name` is also the name of its weights in models.toml. The constructor loads them (FaceBlurError if it cannot); its
    `provider` is "auto" (a GPU if a usable one is found) or "cpu".
    """

    name: ClassVar[str]
    further_weights: ClassVar[tuple[str, ...]] = ()
    """Names in models.toml of other files that it needs."""
    gives_landmarks: ClassVar[bool] = True
    finds: ClassVar[TrackKind] = TrackKind.FACE
    """The kind of object that it detects."""
    only_profiles: ClassVar[bool] = False
    """Whether it only detects faces seen from the side."""

    @classmethod
    def explain_unavailable(cls) -> str:
        """One sentence that says why it cannot run with the installed packages; empty if it can."""
        return ""

    @abstractmethod
    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None: ...

    @property
    def provider(self) -> str:
        """What it runs on, for display: "CPU", "CUDA", "DirectML" or "CoreML"."""
        return "CPU"

    @property
    def notes(self) -> list[str]:
        """Sentences for the user about what it runs on; more may be added while it detects."""
        return []

    @abstractmethod
    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        """Faces with at least the threshold's confidence, in pixels of `image_bgr` (H x W x 3, uint8), best first.

        Boxes may reach past the picture's edge. They run roughly from brow to chin, and a confidence is roughly the
        share of correct boxes among those with that confidence, so that boxes and confidences of different detectors
        can be averaged.
        """

    def close(self) -> None:  # noqa: B027 (most hold no resources)
        """Release its resources; afterwards it finds nothing."""


@dataclass(frozen=True, slots=True)
class BoxShape:
    """How a detector's own boxes are converted to boxes from brow to chin, in shares of their width and height.

    The centre moves by `right` (positive: to the right on the screen) and `down`; the sides are multiplied by `width`
    and `height`. All figures in this package are medians over correct boxes of at least 0.25 confidence on 161
    annotated frames of 8 real clips (287 clear faces).
    """

    right: float
    down: float
    width: float
    height: float

    def fit(self, boxes: NDArray[np.float32], rolls: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The converted boxes (N x 4); with `rolls` (N, radians clockwise) they follow the lean of the faces."""
        angle = np.zeros(len(boxes), np.float32) if rolls is None else rolls
        c, s = np.cos(angle), np.sin(angle)
        size = boxes[:, 2:] - boxes[:, :2]
        across, along = self.right * size[:, 0], self.down * size[:, 1]
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + np.stack([across * c - along * s, across * s + along * c], axis=1)
        rx, ry = self.width * size[:, 0] / 2, self.height * size[:, 1] / 2
        half = np.stack([np.hypot(rx * c, ry * s), np.hypot(rx * s, ry * c)], axis=1)
        fitted: NDArray[np.float32] = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return fitted


class BlobMaker:
    """Makes a network's input from pictures: 1 x 3 x H x W, float32, with levels and channel order unchanged.

    Black is added on the right and at the bottom until both sides are multiples of `stride`. The array is reused for
    the next picture of the same size: allocating memory of that size costs more than filling it.
    """

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._blobs: dict[tuple[int, int], NDArray[np.float32]] = {}

    def make(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        import cv2

        height, width = image.shape[:2]
        if (height, width) not in self._blobs:
            if len(self._blobs) >= NETWORK_INPUTS.most_kept_sizes:
                self._blobs.clear()
            padded = height + -height % self._stride, width + -width % self._stride
            self._blobs[height, width] = np.zeros((1, 3, *padded), np.float32)
        blob = self._blobs[height, width]
        for i in range(3):
            blob[0, i, :height, :width] = cv2.extractChannel(image, i)
        return blob


def suppress_duplicates(boxes: NDArray[np.float32], scores: NDArray[np.float32], overlap: float) -> list[int]:
    """Non-maximum suppression: indices of `boxes` (N x 4) to keep, best score first."""
    import cv2

    order = np.argsort(-scores, kind="stable")
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)[order]
    # Ranks for scores: OpenCV drops boxes with a score of 0.
    kept = cv2.dnn.NMSBoxes(sides.tolist(), [float(rank) for rank in range(len(sides), 0, -1)], 0.0, overlap)
    return [int(order[i]) for i in kept]


def to_detections(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    landmarks: NDArray[np.float32] | None,
    detector: str,
    overlap: float,
) -> list[Detection]:
    """Suppress duplicates; `landmarks` is N x 5 x 2 in the order of `Detection.landmarks`, or None."""
    return [
        Detection(
            tuple(boxes[i].tolist()),
            min(1.0, float(scores[i])),
            detector,
            None if landmarks is None else tuple((float(x), float(y)) for x, y in landmarks[i]),
        )
        for i in suppress_duplicates(boxes, scores, overlap)
    ]
