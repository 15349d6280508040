# SPDX-License-Identifier: GPL-3.0-or-later
"""O-Net, the last of MTCNN's three networks: says whether a small picture shows a face, wherever it comes from.

It knows nothing of the detectors' networks, so it gives a second opinion on what they find. Model and method: Zhang et
al., "Joint Face Detection and Alignment Using Multi-task Cascaded Convolutional Networks", arXiv:1604.02878.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.geometry import Array
from .onnx_model import OnnxSession

MODEL = "mtcnn_onet"
"""The name of its weights in models.toml."""

_INPUT, _OUTPUT = "input_3", "softmax_2"
_SIDE_PX = 48


@dataclass(frozen=True, slots=True)
class FaceCropSettings:
    """The crops of a face's box that O-Net sees."""

    crop_sides: tuple[float, ...] = (0.8, 1.1)
    """Sides of the square crops around the middle of a box, in its longer side; the score is the mean over them.
    Raising their sizes shows more of what surrounds the face. Origin: on the labelled tracks of 24 px and more
    (benchmarks/truth/tracks.json), the mean over these two told faces from other things better than any one crop, any
    other two of 0.8, 0.95, 1.1 and 1.3, or the best of two."""


FACE_CROPS = FaceCropSettings()


class ONet:
    """O-Net on one thread of the CPU: its pictures are too small for a GPU."""

    def __init__(self, model: Path) -> None:
        """Raises FaceBlurError if the file cannot be read as a model."""
        self._session = OnnxSession(model, "cpu")

    def score_faces(self, picture: NDArray[np.uint8], boxes: Sequence[Array]) -> list[float]:
        """How much each box (4,) of the picture (H x W x 3, BGR; pixels) looks like a face, from 0 to 1.

        Beyond the picture's edge the crops are black.
        """
        if not boxes:
            return []
        crops = np.stack([_cut(picture, box, side) for box in boxes for side in FACE_CROPS.crop_sides])
        # RGB, with the width before the height.
        pixels = (crops[..., ::-1].astype(np.float32) - 127.5) / 128
        (answer,) = self._session.run([_OUTPUT], {_INPUT: np.ascontiguousarray(pixels.transpose(0, 2, 1, 3))})
        means: list[float] = answer[:, 1].reshape(len(boxes), -1).mean(axis=1).tolist()
        return means


def _cut(picture: NDArray[np.uint8], box: Array, side_share: float) -> NDArray[np.uint8]:
    """The square around the middle of a box, scaled to the network's size."""
    import cv2

    side = max(2, round(side_share * float(max(box[2] - box[0], box[3] - box[1]))))
    left, top = (round(float(box[i] + box[i + 2] - side) / 2) for i in (0, 1))
    right, bottom = left + side, top + side
    inside = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inside.shape[:2] != (side, side):
        whole = np.zeros((side, side, 3), np.uint8)
        y, x = max(-top, 0), max(-left, 0)
        whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        inside = whole
    smooth = cv2.INTER_AREA if side > _SIDE_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(inside, (_SIDE_PX, _SIDE_PX), interpolation=smooth), np.uint8)
