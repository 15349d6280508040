# SPDX-License-Identifier: GPL-3.0-or-later
"""One suite that every detector passes; a new one is tested by being in `DETECTORS`."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from blender_faceblur.core.geometry import overlaps
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors import DETECTORS, FaceDetector, find_detector
from blender_faceblur.detectors.base import BlobMaker, keep_best
from blender_faceblur.detectors.onnx_model import relax_shapes
from blender_faceblur.paths import find_model

ASTRONAUT_FACE = np.array([[174.0, 57, 270, 178]])


@cache
def load(kind: type[FaceDetector], threshold: float = 0.3) -> FaceDetector:
    try:
        return kind(find_model(kind.name), threshold)
    except FaceBlurError as error:
        pytest.skip(str(error))


@pytest.fixture(params=DETECTORS, ids=lambda kind: kind.name)
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return load(request.param)


@cache
def astronaut() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def test_names_are_unique() -> None:
    names = [kind.name for kind in DETECTORS]
    assert len(set(names)) == len(names)
    assert [find_detector(name) for name in names] == list(DETECTORS)
    with pytest.raises(KeyError):
        find_detector("none")


def test_it_finds_a_face_with_landmarks(detector: FaceDetector) -> None:
    best, *_ = detector.detect(astronaut())
    assert overlaps(np.array([best.box]), ASTRONAUT_FACE)[0, 0] > 0.5
    assert 0.6 < best.confidence <= 1 and best.detector == detector.name
    assert best.landmarks is not None
    right_eye, left_eye, nose, right_mouth, left_mouth = best.landmarks
    assert right_eye[0] < nose[0] < left_eye[0] and right_eye[1] < nose[1] < right_mouth[1]
    assert right_mouth[0] < left_mouth[0]
    assert all(174 < x < 270 and 57 < y < 178 for x, y in best.landmarks)


@pytest.mark.parametrize("size", [(512, 384), (333, 271), (640, 352), (97, 131)])
def test_any_size_of_picture_is_taken(detector: FaceDetector, size: tuple[int, int]) -> None:
    import cv2

    picture = np.asarray(cv2.resize(astronaut(), size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array([size[0] / 512, size[1] / 512] * 2)
    best, *_ = detector.detect(picture)
    assert overlaps(np.array([best.box]), ASTRONAUT_FACE * scale)[0, 0] > 0.45


def test_the_picture_is_left_as_it_was(detector: FaceDetector) -> None:
    before = astronaut().copy()
    detector.detect(astronaut())
    np.testing.assert_array_equal(before, astronaut())


def test_an_empty_picture_has_no_face(detector: FaceDetector) -> None:
    assert detector.detect(np.zeros((96, 160, 3), np.uint8)) == []


def test_a_higher_threshold_finds_a_part_of_the_same(detector: FaceDetector) -> None:
    low = load(type(detector), 0.1).detect(astronaut())
    high = load(type(detector), 0.7).detect(astronaut())
    assert low and high and len(high) <= len(low)
    assert all(d.confidence >= 0.7 for d in high)
    assert [d.confidence for d in low] == sorted((d.confidence for d in low), reverse=True)


@pytest.mark.parametrize("kind", DETECTORS, ids=lambda kind: kind.name)
def test_a_broken_file_is_one_clear_error(kind: type[FaceDetector], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 50)
    with pytest.raises(FaceBlurError, match=r"model\.onnx"):
        kind(path, 0.3)


def test_yunet_decodes_as_opencv_does() -> None:
    import cv2

    yunet = load(find_detector("yunet_n"), 0.5)
    theirs = cv2.FaceDetectorYN.create(str(find_model("yunet_n")), "", (640, 640), 0.5, 0.3)
    picture = np.asarray(cv2.resize(astronaut(), (640, 640)), np.uint8)
    rows = theirs.detect(picture)[1]
    ours = yunet.detect(picture)
    assert len(rows) == len(ours)
    for row, detection in zip(rows[np.argsort(-rows[:, 14])], ours, strict=True):
        x, y, w, h = row[:4]
        np.testing.assert_allclose(detection.box, (x, y, x + w, y + h), atol=1)
        np.testing.assert_allclose(np.array(detection.landmarks).ravel(), row[4:14], atol=1)
        assert detection.confidence == pytest.approx(row[14], abs=0.01)


def test_real_faces_are_found_in_a_real_clip(detector: FaceDetector) -> None:
    media = os.environ.get("FACEBLUR_MEDIA")
    if not media:
        pytest.skip("FACEBLUR_MEDIA does not name a folder with the annotated clips")
    import av

    with av.open(str(Path(media) / "hamilton.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    boxes = np.array([d.box for d in detector.detect(picture)])
    known = np.array([[524.2, 45.3, 567.7, 101.0], [55.8, 184.6, 81.8, 220.5]])
    assert (overlaps(known, boxes).max(axis=1) > 0.6).all()


def test_doubles_are_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], np.float32)
    assert keep_best(boxes, np.array([0.5, 0.9, 0.4], np.float32), 0.3) == [1, 2]


def test_padding_adds_black_at_the_far_sides() -> None:
    maker = BlobMaker(32)
    for level in (9, 7):
        picture = np.stack([np.full((33, 64), level + i, np.uint8) for i in range(3)], axis=2)
        blob = maker.make(picture)
        assert blob.shape == (1, 3, 64, 64) and blob.dtype == np.float32 and blob[0, :, 33:].max() == 0
        assert (blob[0, :, :33] == np.array([level, level + 1, level + 2])[:, None, None]).all()
    assert maker.make(np.ones((20, 20, 3), np.uint8))[0, :, 20:].max() == 0


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises((ValueError, IndexError)):
        relax_shapes(b"\x3a\xff\xff\xff\x7f", "input")
