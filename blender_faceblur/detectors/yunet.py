# SPDX-License-Identifier: GPL-3.0-or-later
"""YuNet: an anchor-free detector of 76 k weights; quickly finds large profiles and half-hidden faces.

Model: Wu et al., "YuNet: A Tiny Millisecond-level Face Detector" (2023), github.com/ShiqiYu/libfacedetection.train.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection
from .base import to_detections
from .onnx_model import OnnxDetector

_STRIDES = (8, 16, 32)
_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox", "kps")]


@dataclass(frozen=True, slots=True)
class YuNetSettings:
    """How YuNet's boxes are reduced to one per face."""

    overlap_share: float = 0.3
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    duplicates; lowering it drops faces that are close together. Origin not recorded; OpenCV's FaceDetectorYN has the
    same default."""


YUNET = YuNetSettings()


class YuNet(OnnxDetector):
    name = "yunet_n"
    input_name = "input"
    stride = _STRIDES[-1]

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        blob = self._blobs.make(image_bgr)
        outputs = self._session.run(_OUTPUTS, {self.input_name: blob})
        boxes, scores, landmarks = [], [], []
        for level, stride in enumerate(_STRIDES):
            classes, objects, shape, points = (part[0] for part in outputs[4 * level : 4 * level + 4])
            # The score of OpenCV's FaceDetectorYN: geometric mean of the two outputs.
            score = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
            kept = np.nonzero(score >= self._threshold)[0]
            if not len(kept):
                continue
            row, column = np.divmod(kept, blob.shape[3] // stride)
            corner = np.stack([column, row], axis=1).astype(np.float32)
            centre = (corner + shape[kept, :2]) * stride
            half = np.exp(shape[kept, 2:]) * stride / 2
            boxes.append(np.concatenate([centre - half, centre + half], axis=1))
            scores.append(score[kept])
            landmarks.append((points[kept].reshape(-1, 5, 2) + corner[:, None]) * stride)
        if not boxes:
            return []
        return to_detections(
            np.concatenate(boxes), np.concatenate(scores), np.concatenate(landmarks), self.name, YUNET.overlap_share
        )


class YuNet2023(YuNet):
    """The smaller network (54 k weights) that OpenCV's model zoo distributes as "2023mar"; its outputs are the same."""

    name = "yunet_2023mar"
