# SPDX-License-Identifier: GPL-3.0-or-later
"""Face recognisers: a new one is one file and one line in `RECOGNIZERS`, best first."""

from __future__ import annotations

from ..core.types import FaceBlurError
from ..paths import find_model
from .base import Recognizer
from .dlib_resnet import DlibResNet
from .sface import SFace

RECOGNIZERS: tuple[type[Recognizer], ...] = (DlibResNet, SFace)


def find_recognizer(name: str) -> type[Recognizer]:
    """The recogniser of that name. Raises FaceBlurError when there is none."""
    for recognizer in RECOGNIZERS:
        if recognizer.name == name:
            return recognizer
    raise FaceBlurError(f"There is no recogniser '{name}'; there are {', '.join(r.name for r in RECOGNIZERS)}.")


def open_recognizer() -> Recognizer:
    """The first recogniser whose weights are there. Raises FaceBlurError, which says how to get them, without any."""
    problems = []
    for recognizer in RECOGNIZERS:
        try:
            model = find_model(recognizer.name)
        except FaceBlurError as error:
            problems.append(error)
            continue
        return recognizer(model)
    raise FaceBlurError(f"People cannot be recognised: {problems[0]}")
