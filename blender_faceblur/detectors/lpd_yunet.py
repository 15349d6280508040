# SPDX-License-Identifier: GPL-3.0-or-later
"""LPD-YuNet: finds number plates by their four corners; it was trained on Chinese plates and may miss others.

Model: Dong Xu, github.com/opencv/opencv_zoo, models/license_plate_detection_yunet ("the model is trained with Chinese
license plates, so the detection results of other license plates with this model may be limited"). Priors, variance and
score are those of its demo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, FaceBlurError, TrackKind
from .base import suppress_duplicates
from .onnx_model import OnnxDetector

_STRIDES = (8, 16, 32, 64)
_SIDES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
_VARIANCE = 0.1
_CORNERS = (4, 6, 10, 12)


@dataclass(frozen=True, slots=True)
class PlateSettings:
    """Which of the network's boxes are number plates."""

    overlap_share: float = 0.3
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    duplicates; lowering it drops plates that are close together. Origin not recorded."""
    most_width_px: int = 320
    """Width of a box above which it is not a plate, in pixels of the detector's picture: the width of the pictures that
    the network was made for. Raising it mistakes more walls, bonnets and roads for plates. Origin: of boxes with a
    confidence of 0.4 or more in 176 annotated pictures of 480 to 1920 pixels, 704 of 820 wrong ones were wider, and 54
    of 808 correct ones; large plates are found in smaller pictures."""


PLATE_BOXES = PlateSettings()


class LpdYuNet(OnnxDetector):
    """Its confidence is the network's own; OpenCV's demo accepts boxes from 0.9 on."""

    name = "lpd_yunet"
    input_name = "input"
    stride = _STRIDES[-1]
    gives_landmarks = False
    finds = TrackKind.PLATE

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        blob = self._blobs.make(image_bgr)
        places, classes, overlaps = self._session.run(["loc", "conf", "iou"], {self.input_name: blob})
        return decode(places, classes, overlaps, (blob.shape[3], blob.shape[2]), self._threshold)


def build_priors(size: tuple[int, int]) -> NDArray[np.float32]:
    """Centres and sides (N x 3, pixels) of the network's priors in a picture of a size (width, height)."""
    parts = []
    for stride, sides in zip(_STRIDES, _SIDES, strict=True):
        rows, columns = np.mgrid[0 : size[1] // stride, 0 : size[0] // stride]
        centres = np.stack([(columns.ravel() + 0.5) * stride, (rows.ravel() + 0.5) * stride], axis=1)
        part = np.concatenate(
            [np.repeat(centres, len(sides), axis=0), np.tile(np.array(sides, float), len(centres))[:, None]], axis=1
        )
        parts.append(part)
    priors: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
    return priors


def decode(
    places: NDArray[np.float32],
    classes: NDArray[np.float32],
    overlaps: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float,
) -> list[Detection]:
    """Plates from the network's outputs (N x 14, N x 2, N x 1) for a picture of a size whose sides are multiples of 64.

    A box encloses the plate's four corners; boxes wider than `most_width_px` are dropped. Raises FaceBlurError if the
    outputs do not fit the picture.
    """
    priors = build_priors(size)
    if len(priors) != len(places):
        raise FaceBlurError(
            "The number plate detector returned an unexpected number of boxes: its weights are of another version. "
            "Install them again."
        )
    scores = np.sqrt(np.clip(classes[:, 1], 0, 1) * np.clip(overlaps[:, 0], 0, 1))
    kept = np.nonzero(scores >= threshold)[0]
    if not len(kept):
        return []
    prior = priors[kept]
    corners = np.stack([prior[:, :2] + places[kept, at : at + 2] * _VARIANCE * prior[:, 2:] for at in _CORNERS], axis=1)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    right = boxes[:, 2] - boxes[:, 0] <= PLATE_BOXES.most_width_px
    boxes, sure = boxes[right], scores[kept][right]
    return [
        Detection(tuple(boxes[i].tolist()), min(1.0, float(sure[i])), LpdYuNet.name)
        for i in suppress_duplicates(boxes, sure, PLATE_BOXES.overlap_share)
    ]
