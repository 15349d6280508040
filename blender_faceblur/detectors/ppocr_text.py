# SPDX-License-Identifier: GPL-3.0-or-later
"""PP-OCR's text detector: finds lines of text in pictures of scenes and screens.

Model: PaddleOCR's PP-OCRv4 mobile detection (Apache-2.0), exported by RapidOCR. Method: M. Liao et al., "Real-time
Scene Text Detection with Differentiable Binarization", AAAI 2020: the network gives the probability that a pixel is in
the shrunken area of a line, which is enlarged again here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, TrackKind
from .onnx_model import OnnxDetector


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How lines are read from the network's map of probabilities."""

    pixel_probability: float = 0.3
    """Least probability (0..1) of a pixel to belong to a line. Raising it splits and loses faint lines. Origin:
    RapidOCR."""
    enlargement: float = 1.6
    """How far a line is enlarged: times its area, divided by its outline. Raising it covers more around the text.
    Origin: RapidOCR."""
    least_side_px: float = 3.0
    """Shorter side (pixels of the network's picture) below which an area is no line. Raising it loses small lines.
    Origin: RapidOCR."""
    most_lines: int = 1000
    """Most lines of a picture; the largest are kept. Raising it makes pictures of noise slow. Origin: RapidOCR."""


TEXT_LINES = TextSettings()


class PpOcrText(OnnxDetector):
    """Its confidence is the mean probability within a line."""

    name = "ppocr_text"
    input_name = "x"
    stride = 32
    gives_landmarks = False
    finds = TrackKind.TEXT

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        blob = self._blobs.make(image_bgr)
        scaled = blob / np.float32(127.5) - np.float32(1.0)
        probabilities = self._session.run(["sigmoid_0.tmp_0"], {self.input_name: scaled})[0][0, 0]
        height, width = image_bgr.shape[:2]
        return decode(probabilities[:height, :width], self._threshold)


def decode(probabilities: NDArray[np.float32], threshold: float) -> list[Detection]:
    """Lines in a map (height x width, 0..1): the upright boxes around them, in pixels of the map."""
    import cv2

    settings = TEXT_LINES
    inside = (probabilities > settings.pixel_probability).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    if count <= 1:
        return []
    # The first component is the background.
    sums = np.bincount(labels.ravel(), weights=probabilities.ravel(), minlength=count)[1:]
    left, top, width, height, area = (stats[1:, column].astype(np.float64) for column in range(5))
    confidence = sums / area
    kept = np.flatnonzero((confidence >= threshold) & (np.minimum(width, height) >= settings.least_side_px))
    kept = kept[np.argsort(-area[kept])][: settings.most_lines]
    grown = settings.enlargement * width * height / (2 * (width + height))
    return [
        Detection(
            (left[i] - grown[i], top[i] - grown[i], left[i] + width[i] + grown[i], top[i] + height[i] + grown[i]),
            float(min(confidence[i], 1.0)),
            PpOcrText.name,
        )
        for i in kept
    ]
