# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint the covers of a single picture, in its own depth and with its own channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.cover.effects import EffectSettings
from ..core.types import FaceBlurError, TrackDocument


def paint_still(
    path: Path, document: TrackDocument, effect: EffectSettings, sticker: NDArray[np.uint8] | None, output: Path
) -> None:
    raise FaceBlurError("not yet")
