# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenCV's SSD: a ten-layer ResNet trained on pictures of 300 x 300; finds frontal faces, few small ones.

Model: opencv_face_detector_uint8.pb (weights of 8 bits) and its graph, github.com/opencv/opencv/tree/4.x/samples/dnn/
face_detector. Usually whole pictures are squeezed to 300 x 300; the network also takes other sizes, and at 640 with
the picture's own aspect it found 209 instead of 165 of 328 annotated faces (threshold 0.25, 161 frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, FaceBlurError
from ..paths import find_model
from .base import BoxShape, FaceDetector, to_detections

_MEAN_BGR = (104.0, 177.0, 123.0)
_SHAPE = BoxShape(right=0.0, down=0.02, width=1.02, height=0.96)
_TRAINED_SIDE = 300
"""Side of the pictures that the network was trained with, in pixels."""
_PERIOD = 64
"""Pixels after which its layers are padded alike again; see `_missing_pixels`."""

@dataclass(frozen=True, slots=True)
class SsdSettings:
    """How the SSD's boxes of one face are reduced to one."""

    overlap_share: float = 0.45
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    doubles; lowering it drops faces that are close. Origin not recorded."""


SSD = SsdSettings()


class SsdRes10(FaceDetector):
    """Its confidences are the network's own: of 162 boxes above 0.4 all but one were right, below 0.2 few."""

    name = "ssd_res10"
    further_weights = ("ssd_res10_graph",)
    gives_landmarks = False

    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None:
        import cv2

        graph = find_model(self.further_weights[0])
        try:
            self._network = cv2.dnn.readNetFromTensorflow(str(model), str(graph))
        except cv2.error as error:
            raise FaceBlurError(f"Cannot read the face detector {model.name}: {error.err}") from error
        self._threshold = threshold

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        import cv2

        height, width = image_bgr.shape[:2]
        below, beside = _missing_pixels(height), _missing_pixels(width)
        padded = cv2.copyMakeBorder(image_bgr, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=_MEAN_BGR)
        self._network.setInput(cv2.dnn.blobFromImage(padded, mean=_MEAN_BGR))
        # Rows: picture, class, score, then the box as shares of the picture's sides.
        rows = np.asarray(self._network.forward(), np.float32).reshape(-1, 7)
        boxes = rows[:, 3:7] * np.tile(np.array(padded.shape[1::-1], np.float32), 2)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centre >= 0) & (centre <= (width, height))).all(axis=1)
        sure_enough = (rows[:, 2] >= self._threshold) & inside
        return to_detections(_SHAPE.fit(boxes[sure_enough]), rows[sure_enough, 2], None, self.name, SSD.overlap_share)


def _missing_pixels(side: int) -> int:
    """How many pixels bring a side to a size at which the network's layers are padded as at 300.

    TensorFlow's padding depends on whether a layer's sides are odd or even: at 512 pixels boxes came out 20 pixels off
    (OpenCV 4.11 and 4.14), at 300 plus or minus multiples of 64 they do not.
    """
    return (_TRAINED_SIDE - side) % _PERIOD
