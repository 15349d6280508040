# SPDX-License-Identifier: GPL-3.0-or-later
"""Face recognisers, best first: a new one is one file and one line in `RECOGNIZERS`."""

from __future__ import annotations

from ..core.types import FaceBlurError
from .base import Recognizer
from .dlib_resnet import DlibResNet
from .sface import SFace

RECOGNIZERS: tuple[type[Recognizer], ...] = (DlibResNet, SFace)


def get_recognizer(name: str) -> type[Recognizer]:
    """The recogniser of that name. Raises FaceBlurError if there is none."""
    for recognizer in RECOGNIZERS:
        if recognizer.name == name:
            return recognizer
    raise FaceBlurError(f"There is no recogniser '{name}'. Choose from {', '.join(r.name for r in RECOGNIZERS)}.")
