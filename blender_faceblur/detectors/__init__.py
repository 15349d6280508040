# SPDX-License-Identifier: GPL-3.0-or-later
"""Face detectors: a new one is one file and one line in `DETECTORS`."""

from __future__ import annotations

from ..core.types import FaceBlurError
from .base import FaceDetector
from .blazeface import BlazeFaceFull, BlazeFaceShort
from .centerface import CenterFace
from .haar import HaarFrontal, HaarFrontalAlt2, HaarProfile
from .lpd_yunet import LpdYuNet
from .ppocr_text import PpOcrText
from .ssd import SsdRes10
from .yunet import YuNet, YuNet2023

DETECTORS: tuple[type[FaceDetector], ...] = (
    CenterFace,
    YuNet,
    YuNet2023,
    BlazeFaceShort,
    BlazeFaceFull,
    SsdRes10,
    HaarFrontal,
    HaarFrontalAlt2,
    HaarProfile,
)


OTHER_DETECTORS: tuple[type[FaceDetector], ...] = (LpdYuNet, PpOcrText)
"""Detectors of other things than faces, which run separately."""


def get_detector(name: str) -> type[FaceDetector]:
    """The detector of that name. Raises FaceBlurError if there is none."""
    for detector in (*DETECTORS, *OTHER_DETECTORS):
        if detector.name == name:
            return detector
    raise FaceBlurError(f"There is no detector '{name}'. Choose from {', '.join(d.name for d in DETECTORS)}.")
