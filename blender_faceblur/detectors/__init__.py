# SPDX-License-Identifier: GPL-3.0-or-later
"""Face detectors: a new one is one file and one line in `DETECTORS`."""

from __future__ import annotations

from .base import FaceDetector
from .centerface import CenterFace
from .yunet import YuNet

DETECTORS: tuple[type[FaceDetector], ...] = (CenterFace, YuNet)


def find_detector(name: str) -> type[FaceDetector]:
    """The detector of that name; KeyError when there is none."""
    return {detector.name: detector for detector in DETECTORS}[name]
