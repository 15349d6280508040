# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects that cover faces: one module each, which builds a node group that an editor can open and change."""

from __future__ import annotations

from ....core.translation import translate
from ....core.types import FaceBlurError
from .base import Effect
from .blur import Blur
from .erase import Erase
from .gaussian import Gaussian
from .image import Image
from .mosaic import Mosaic
from .solid import Solid

EFFECTS: tuple[Effect, ...] = (Mosaic(), Blur(), Solid(), Erase(), Gaussian(), Image())


def get_effect(name: str) -> Effect:
    for effect in EFFECTS:
        if effect.name == name:
            return effect
    raise FaceBlurError(
        translate(
            "There is no effect '{name}'. Choose from {names}.",
            name=name,
            names=", ".join(effect.name for effect in EFFECTS),
        )
    )
