# SPDX-License-Identifier: GPL-3.0-or-later
"""MediaPipe's BlazeFace, short range (selfies) and full range, through its Tasks API. The package is optional.

Model: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", arXiv:1907.05047.

Only one version of the package is used. When a detector is created, mediapipe 0.10.35 and 1.2.2 look up
play.googleapis.com to send usage data (seen with strace; nothing in their Python interface switches it off); 0.10.32
and earlier cannot run the full-range file. 0.10.33 can, and it neither opened a socket nor wrote a file (strace, Linux;
its Windows and macOS libraries contain no HTTP client either).
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import Detection, FaceBlurError
from .base import BoxShape, FaceDetector, to_detections

VERSION = "0.10.33"
"""Version of the package mediapipe that is used; see requirements/mediapipe.txt."""


@dataclass(frozen=True, slots=True)
class BlazeFaceSettings:
    """How BlazeFace's boxes are reduced to one per face, and how its missing landmarks are estimated."""

    overlap_share: float = 0.3
    """Intersection over union (0..1) from which the less confident of two boxes is dropped. Raising it keeps more
    duplicates; lowering it drops faces that are close together. Origin not recorded."""
    mouth_corner_share: float = 0.35
    """MediaPipe has one point for the mouth; the corners are placed this far to each side, as a multiple of the
    distance between the eyes. Raising it makes mouths wider. Origin not recorded."""


BLAZEFACE = BlazeFaceSettings()


class BlazeFace(FaceDetector):
    """Confidences are the network's own; half of the boxes at 0.33 were correct, nearly all from 0.5 on.

    MediaPipe itself scales pictures to 128 (short range) or 192 (full range) pixels and keeps their aspect.
    """

    shape: BoxShape

    @classmethod
    def explain_unavailable(cls) -> str:
        try:
            _load_mediapipe()
        except FaceBlurError as error:
            return str(error)
        return ""

    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None:
        self._mediapipe = _load_mediapipe()
        self._notes: list[str] = []
        vision = self._mediapipe
        try:
            # As bytes, because paths with non-ASCII characters fail on Windows.
            base = vision.BaseOptions(model_asset_buffer=model.read_bytes())
            self._detector: Any = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(base_options=base, min_detection_confidence=threshold)
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise FaceBlurError(f"Cannot read the face detector {model.name}: {_get_first_line(error)}") from error
        self._threshold = threshold

    @property
    def notes(self) -> list[str]:
        return self._notes

    def close(self) -> None:
        # At the interpreter's exit it would be too late for MediaPipe's own threads, which then report errors.
        if self._detector is not None:
            self._detector.close()
            self._detector = None

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        import cv2

        if self._detector is None:
            return []
        vision = self._mediapipe
        picture = vision.Image(image_format=vision.ImageFormat.SRGB, data=cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB))
        try:
            found = [
                d
                for d in self._detector.detect(picture).detections
                if d.categories[0].score >= self._threshold and len(d.keypoints) >= 4
            ]
        except (RuntimeError, ValueError) as error:
            self.close()
            self._notes.append(
                f"The detector {self.name} failed ({_get_first_line(error)}) and was not used from then on. "
                "The other detectors continued."
            )
            return []
        if not found:
            return []
        height, width = image_bgr.shape[:2]
        boxes = np.array([_get_corners(d.bounding_box) for d in found], np.float32)
        scores = np.array([d.categories[0].score for d in found], np.float32)
        points = np.array([[(p.x * width, p.y * height) for p in d.keypoints[:4]] for d in found], np.float32)
        landmarks = _to_landmarks(points)
        down = points[:, 3] - (points[:, 0] + points[:, 1]) / 2
        return to_detections(
            self.shape.fit(boxes, np.arctan2(-down[:, 0], down[:, 1])),
            scores,
            landmarks,
            self.name,
            BLAZEFACE.overlap_share,
        )


class BlazeFaceShort(BlazeFace):
    name = "blazeface_short"
    shape = BoxShape(right=0.0, down=-0.10, width=0.93, height=1.16)


class BlazeFaceFull(BlazeFace):
    name = "blazeface_full"
    shape = BoxShape(right=0.0, down=-0.05, width=0.90, height=1.22)


def _to_landmarks(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The five points of `Detection.landmarks` from right eye, left eye, nose tip and mouth (N x 4 x 2)."""
    half_mouth = BLAZEFACE.mouth_corner_share * (points[:, 1] - points[:, 0])
    mouth = points[:, 3]
    return np.stack([points[:, 0], points[:, 1], points[:, 2], mouth - half_mouth, mouth + half_mouth], axis=1)


def _get_corners(box: Any) -> tuple[float, float, float, float]:
    return box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height


def _get_first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]


def _load_mediapipe() -> Any:
    """The parts of MediaPipe that are used here; FaceBlurError, in one line, if they cannot be loaded."""
    # Not at the top: that took each process of an analysis 17 ms.
    from importlib import metadata

    how = f"in a checkout, build.py installs mediapipe {VERSION} when a preset needs it"
    try:
        version = metadata.version("mediapipe")
    except metadata.PackageNotFoundError:
        raise FaceBlurError(f"The package mediapipe is not installed, so BlazeFace cannot run ({how}).") from None
    if version != VERSION:
        raise FaceBlurError(
            f"mediapipe {version} is not used, only {VERSION}: later versions send usage data, earlier ones lack "
            f"a detector. BlazeFace cannot run ({how})."
        )
    # Its drawing module, unused here, imports matplotlib, which would write a font cache into the user's folder.
    stand_ins = {name: types.ModuleType(name) for name in ("matplotlib", "matplotlib.pyplot")}
    if "matplotlib" in sys.modules:
        stand_ins.clear()
    sys.modules.update(stand_ins)
    try:
        from mediapipe.tasks.python.core.base_options import BaseOptions
        from mediapipe.tasks.python.vision.core.image import Image, ImageFormat
        from mediapipe.tasks.python.vision.face_detector import FaceDetector as Detector
        from mediapipe.tasks.python.vision.face_detector import FaceDetectorOptions
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise FaceBlurError(
            f"mediapipe {version} cannot be loaded ({_get_first_line(error)}), so BlazeFace cannot run."
        ) from error
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
    return types.SimpleNamespace(
        BaseOptions=BaseOptions,
        Image=Image,
        ImageFormat=ImageFormat,
        FaceDetector=Detector,
        FaceDetectorOptions=FaceDetectorOptions,
    )
