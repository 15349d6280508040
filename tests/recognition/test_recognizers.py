# SPDX-License-Identifier: GPL-3.0-or-later
"""One suite for every recogniser whose weights are installed; a new one is tested because it is in `RECOGNIZERS`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError, Picture
from blender_faceblur.files.paths import get_model_path
from blender_faceblur.recognition import RECOGNIZERS, get_recognizer
from blender_faceblur.recognition.base import Recognizer

FACE = np.array([(198.0, 112.0), (242.0, 106.0), (225.0, 137.0), (208.0, 158.0), (245.0, 153.0)])
"""Landmarks of the astronaut's face, to about two pixels."""


@cache
def open_by_name(name: str) -> Recognizer:
    try:
        model = get_model_path(name)
    except FaceBlurError as error:
        pytest.skip(str(error))
    return get_recognizer(name)(model)


@pytest.fixture(params=[recognizer.name for recognizer in RECOGNIZERS])
def recognizer(request: pytest.FixtureRequest) -> Recognizer:
    return open_by_name(request.param)


@cache
def read_astronaut() -> Picture:
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def change(scale: float, turn_deg: float, light: float) -> tuple[Picture, NDArray[np.float64]]:
    """The astronaut photographed again, and the new positions of the landmarks."""
    import cv2

    matrix = cv2.getRotationMatrix2D((220, 130), turn_deg, scale)
    moved = cv2.warpAffine(read_astronaut(), matrix, (512, 512), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (np.clip(moved * light, 0, 255).astype(np.uint8), FACE @ matrix[:, :2].T + matrix[:, 2])


@pytest.mark.parametrize("changed", [(0.7, 0, 1.0), (1.6, 15, 0.8), (1.0, -40, 1.1), (1.0, 180, 1.0)])
def test_embeddings_of_the_same_face_are_close(recognizer: Recognizer, changed: tuple[float, float, float]) -> None:
    first = recognizer.embed(recognizer.align(read_astronaut(), FACE))
    again = recognizer.embed(recognizer.align(*change(*changed)))
    assert first.shape == (128,) and first.dtype == np.float32
    assert np.allclose(recognizer.embed_many([recognizer.align(read_astronaut(), FACE)] * 2), first, atol=1e-5)
    assert recognizer.distance(first, again) < 0.6 * recognizer.usual_threshold


def test_the_embedding_of_another_face_is_far(recognizer: Recognizer) -> None:
    from skimage import data

    first = recognizer.embed(recognizer.align(read_astronaut(), FACE))
    cat = np.ascontiguousarray(data.cat()[..., ::-1])
    eyes = np.array([(150.0, 100.0), (200.0, 100.0), (175.0, 130.0), (155.0, 150.0), (195.0, 150.0)])
    assert recognizer.distance(first, recognizer.embed(recognizer.align(cat, eyes))) > recognizer.usual_threshold


def test_distances_of_arrays_are_those_of_their_elements(recognizer: Recognizer) -> None:
    many = np.random.default_rng(3).normal(size=(4, 128)).astype(np.float32)
    table = recognizer.distance(many[:, None], many[None])
    assert table.shape == (4, 4) and np.allclose(np.diag(table), 0, atol=1e-5)
    assert table[1, 2] == pytest.approx(recognizer.distance(many[1], many[2]))


def test_a_file_that_is_not_a_network_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x00nothing")
    for kind in RECOGNIZERS:
        with pytest.raises(FaceBlurError, match="Cannot read"):
            kind(path)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(FaceBlurError, match="no recogniser 'nobody'"):
        get_recognizer("nobody")
