# SPDX-License-Identifier: GPL-3.0-or-later
"""Which detectors of a preset can run here."""

from __future__ import annotations

from ..core.settings import Preset, list_detectors
from ..core.types import FaceBlurError
from ..detectors import find_detector
from ..paths import find_model


def list_usable(preset: Preset) -> tuple[set[str], list[str]]:
    """The preset's detectors whose weights and packages are there and right, and why the others are not."""
    names, reasons = set(), []
    for name in list_detectors(preset):
        kind = find_detector(name)
        try:
            for weights in (name, *kind.further_weights):
                find_model(weights)
        except FaceBlurError as error:
            reasons.append(str(error))
            continue
        problem = kind.find_problem()
        if problem:
            reasons.append(problem)
        else:
            names.add(name)
    return names, list(dict.fromkeys(reasons))
