# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenCV's SSD: a ten-layer ResNet trained on pictures of 300 x 300; finds frontal faces, few small ones.

Model: res10_300x300_ssd_iter_140000.caffemodel and its graph,
github.com/opencv/opencv/tree/4.x/samples/dnn/face_detector. Pictures are usually squeezed to 300 x 300, but the network
accepts other sizes: at 640 and in the original aspect, the same network with 8-bit weights found 209 instead of 165 of
328 annotated faces (threshold 0.25, 161 frames). With these weights it found 213 of 287 clear faces with 3 false boxes;
with the 8-bit ones 214 with 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, FaceBlurError
from ..files.paths import get_model_path
from .base import BoxShape, FaceDetector, to_detections

_MEAN_BGR = (104.0, 177.0, 123.0)
_SHAPE = BoxShape(right=0.0, down=0.02, width=1.02, height=0.96)
_LEAST_SIDE = 8
"""In pixels; narrower pictures would leave layers empty (below 5 in OpenCV 4.11)."""


@dataclass(frozen=True, slots=True)
class SsdSettings:
    """How the SSD's boxes are reduced to one per face."""

    overlap_share: float = 0.45
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    duplicates; lowering it drops faces that are close together. Origin not recorded."""


SSD = SsdSettings()


class SsdRes10(FaceDetector):
    """Its confidences are the network's own: of 162 boxes above 0.4 all but one were correct, below 0.2 few."""

    name = "ssd_res10"
    further_weights = ("ssd_res10_graph",)
    gives_landmarks = False

    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None:
        import cv2

        graph = get_model_path(self.further_weights[0])
        try:
            self._network = cv2.dnn.readNetFromCaffe(str(graph), str(model))
        except cv2.error as error:
            raise FaceBlurError(f"Cannot read the face detector {model.name}: {error.err}") from error
        self._threshold = threshold

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        import cv2

        height, width = image_bgr.shape[:2]
        if min(height, width) < _LEAST_SIDE:
            return []
        self._network.setInput(cv2.dnn.blobFromImage(image_bgr, mean=_MEAN_BGR))
        # Rows: picture, class, score, then the box as shares of the picture's sides.
        rows = np.asarray(self._network.forward(), np.float32).reshape(-1, 7)
        boxes = rows[:, 3:7] * np.tile(np.array((width, height), np.float32), 2)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centre >= 0) & (centre <= (width, height))).all(axis=1)
        sure_enough = (rows[:, 2] >= self._threshold) & inside
        return to_detections(_SHAPE.fit(boxes[sure_enough]), rows[sure_enough, 2], None, self.name, SSD.overlap_share)
