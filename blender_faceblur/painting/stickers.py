# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that the effect "image" places over faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError


def read_sticker(path: Path) -> NDArray[np.uint8]:
    """Height x width x 4, sRGB and alpha. Raises FaceBlurError if the file is not a readable picture."""
    import cv2

    try:
        stored: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error) as error:
        raise FaceBlurError(f"{path.name}: the picture cannot be read ({error})") from error
    if stored is None:
        raise FaceBlurError(f"{path.name}: this is not a readable picture")
    picture: Any = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    codes = {1: cv2.COLOR_GRAY2RGBA, 3: cv2.COLOR_BGR2RGBA, 4: cv2.COLOR_BGRA2RGBA}
    return np.asarray(cv2.cvtColor(picture, codes[channels]))
