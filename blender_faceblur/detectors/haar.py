# SPDX-License-Identifier: GPL-3.0-or-later
"""Haar cascades: OpenCV's boosted detectors of 2001-2008; slow, with many false boxes, but unlike all the networks.

Method: Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features" (2001); Lienhart and Maydt
(2002). The files come with OpenCV 4's wheels. OpenCV 5 can no longer read them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, FaceBlurError
from .base import BoxShape, FaceDetector, to_detections


@dataclass(frozen=True, slots=True)
class HaarSettings:
    """How a cascade is run, and how its boxes are reduced to one per face."""

    overlap_share: float = 0.45
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    duplicates; lowering it drops faces that are close together. Origin not recorded."""
    scale_ratio: float = 1.05
    """Factor by which the picture is reduced from one pass to the next (OpenCV's scaleFactor). Raising it saves time
    and misses sizes in between. Origin: the popular recipe."""
    least_neighbors: int = 2
    """Overlapping raw boxes needed for a face (OpenCV's minNeighbors). Raising it finds fewer faces, and fewer false
    ones. Origin: the popular recipe."""


HAAR = HaarSettings()


class HaarCascade(FaceDetector):
    """A cascade with the scale factor 1.05 and two neighbours, as in the popular recipe.

    A cascade reports no confidence, only how far a box was above its last stage's limit (`detectMultiScale3`, w). The
    confidence is 1 / (1 + exp(-slope (w - middle))): a logistic curve fitted to which boxes were correct, on 161
    annotated frames of 8 real clips at a long side of 640.
    """

    gives_landmarks = False
    shape: ClassVar[BoxShape]
    slope: ClassVar[float]
    middle: ClassVar[float]
    mirrored: ClassVar[bool] = False
    """Also search the mirrored picture: the profile cascade only knows faces that look to the left."""

    @classmethod
    def explain_unavailable(cls) -> str:
        import cv2

        if hasattr(cv2, "CascadeClassifier"):
            return ""
        return f"OpenCV {cv2.__version__} no longer has Haar cascades: {cls.name} needs OpenCV 4."

    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None:
        import cv2

        problem = self.explain_unavailable()
        if problem:
            raise FaceBlurError(problem)
        try:
            # Read here, because OpenCV cannot open paths outside the code page on Windows.
            storage = cv2.FileStorage(
                model.read_text(encoding="utf-8"), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
            )
            self._cascade = cv2.CascadeClassifier()
            usable = self._cascade.read(storage.getFirstTopLevelNode())
        except (OSError, ValueError, cv2.error, SystemError) as error:
            raise FaceBlurError(f"Cannot read the face detector {model.name}: {error}") from error
        if not usable:
            raise FaceBlurError(f"Cannot read the face detector {model.name}: it is not a cascade.")
        self._threshold = threshold

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        import cv2

        grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
        boxes, scores = self._run_cascade(grey, self.shape)
        if self.mirrored:
            there, sure = self._run_cascade(np.ascontiguousarray(grey[:, ::-1]), self.shape)
            there[:, [0, 2]] = grey.shape[1] - there[:, [2, 0]]
            boxes, scores = np.concatenate([boxes, there]), np.concatenate([scores, sure])
        sure_enough = scores >= self._threshold
        return to_detections(boxes[sure_enough], scores[sure_enough], None, self.name, HAAR.overlap_share)

    def _run_cascade(self, grey: NDArray[np.uint8], shape: BoxShape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found, _, weights = self._cascade.detectMultiScale3(
            grey, HAAR.scale_ratio, HAAR.least_neighbors, outputRejectLevels=True
        )
        corners = np.asarray(found, np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        sure = [1 / (1 + math.exp(-self.slope * (weight - self.middle))) for weight in np.ravel(weights)]
        return shape.fit(corners), np.array(sure, np.float32)


class HaarFrontal(HaarCascade):
    """Half of the boxes at w = 2.1 are correct, nearly all from 6 on."""

    name = "haar_frontal"
    shape = BoxShape(right=0.0, down=0.01, width=0.80, height=1.06)
    slope, middle = 0.40, 2.10


class HaarFrontalAlt2(HaarCascade):
    """Fewer and better boxes: 161 of 195 were correct, compared with 156 of 275 for `haar_frontal`."""

    name = "haar_frontal_alt2"
    shape = BoxShape(right=0.0, down=0.01, width=0.79, height=1.06)
    slope, middle = 3.20, 54.79


class HaarProfile(HaarCascade):
    """Faces seen from the side, in both directions; most correct boxes on the clips were half-turned faces."""

    name = "haar_profile"
    only_profiles = True
    shape = BoxShape(right=-0.06, down=0.02, width=0.70, height=0.95)
    slope, middle = 1.11, 0.34
    mirrored = True
