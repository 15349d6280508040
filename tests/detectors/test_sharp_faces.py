# SPDX-License-Identifier: GPL-3.0-or-later
"""An analysis stores with each track how sharp its face is, as far as it has looked."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from .engine import analyse

FACE_PX = 95.0
"""The width of the face in the picture."""


@pytest.mark.parametrize(
    ("preset", "blur", "least", "most"),
    [("balanced", 0.0, 1.0, 1.0), ("balanced", 0.08, 0.0, 0.5), ("fast", 0.0, None, 0)],
)
def test_a_track_is_as_sharp_as_its_face(preset: str, blur: float, least: float | None, most: float) -> None:
    picture = np.ascontiguousarray(astronaut()[:, :, ::-1])
    if blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur * FACE_PX), np.uint8)
    document = analyse(preset, [picture] * 8, (512, 512), 8, seeks_turned=False)
    (sharpness,) = (
        track.sharpness for track in document.tracks if abs(track.samples[0].ellipse.cx - 224) < FACE_PX / 4
    )
    if least is None:
        assert sharpness is None, "nobody gives a second opinion"
    else:
        assert sharpness is not None and least <= sharpness <= most
