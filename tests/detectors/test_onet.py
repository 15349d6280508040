# SPDX-License-Identifier: GPL-3.0-or-later
"""The second opinion: O-Net knows a face from a wall, wherever the box lies in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors.onet import MODEL, ONet
from blender_faceblur.files.paths import get_model_path

FACE = np.array([172.0, 62.0, 272.0, 192.0])


@pytest.fixture(scope="module")
def onet() -> ONet:
    try:
        return ONet(get_model_path(MODEL))
    except FaceBlurError as error:
        pytest.skip(str(error))


def test_a_face_scores_high_and_other_things_low(onet: ONet) -> None:
    astronaut = np.ascontiguousarray(data.astronaut()[..., ::-1])
    suit, flag = np.array([150.0, 330.0, 250.0, 460.0]), np.array([20.0, 200.0, 120.0, 330.0])
    face, *others = onet.score_faces(astronaut, [FACE, suit, flag])
    assert face > 0.9 and max(others) < 0.3
    assert onet.score_faces(astronaut, []) == []


def test_a_box_may_reach_beyond_the_picture(onet: ONet) -> None:
    astronaut = np.ascontiguousarray(data.astronaut()[..., ::-1])
    cut = np.ascontiguousarray(astronaut[:, 190:])
    whole, half, outside = onet.score_faces(
        cut, [FACE - np.array(part) for part in ((190.0, 0, 190, 0), (240.0, 0, 240, 0), (-600.0,) * 4)]
    )
    assert whole > 0.5 and outside < 0.5 and 0 <= half <= 1
