# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that the effect "image" places over faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError


def read_sticker(path: Path) -> NDArray[np.float32]:
    """Height x width x 4, R'G'B' and alpha, 0..1. Raises FaceBlurError if the file is not a readable picture."""
    import cv2

    try:
        stored: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error) as error:
        raise FaceBlurError(f"{path.name}: the picture cannot be read ({error})") from error
    if stored is None:
        raise FaceBlurError(f"{path.name}: this is not a readable picture")
    picture = stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGBA)
    elif picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA)
    else:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    return picture
