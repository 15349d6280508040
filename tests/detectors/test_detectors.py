# SPDX-License-Identifier: GPL-3.0-or-later
"""One suite that every detector must pass; a new one is tested because it is in `DETECTORS`."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.detection.settings import PRESETS
from blender_faceblur.core.geometry import compute_overlaps
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors import DETECTORS, get_detector
from blender_faceblur.detectors.base import BlobMaker, BoxShape, FaceDetector, suppress_duplicates
from blender_faceblur.detectors.blazeface import VERSION
from blender_faceblur.files.paths import (
    MODELS_VARIABLE,
    get_model_path,
    get_models_folder,
    is_readable_file,
    is_right_file,
    list_models,
    list_places,
)
from blender_faceblur.weights.convert import convert_network

ASTRONAUT_FACE = np.array([[174.0, 57, 270, 178]])
CLOSE_CLIP, CLOSE_FRAME, CLOSE_FACE = "hamilton.mp4", 149, np.array([[198.0, 19, 288, 135]])
PROFILE_CLIP, PROFILE_FRAME, PROFILE_FACE = "hamilton.mp4", 94, np.array([[175.0, 46, 260, 167]])


CONVERTED = tempfile.TemporaryDirectory()
"""Files that a test run converts itself are removed at its end."""


@cache
def find_weights(name: str) -> Path:
    """The weights of a detector. Those of which only the original is here are converted.

    Raises FaceBlurError if they are missing, or cannot be converted.
    """
    model = list_models()[name]
    given = os.environ.get(MODELS_VARIABLE)
    folders = [get_models_folder(), *([Path(given).expanduser()] if given else [])]
    original = next((folder / model.file for folder in folders if is_readable_file(folder / model.file)), None)
    if model.converted is None or original is None or any(map(is_readable_file, list_places(model))):
        return get_model_path(name)
    result = Path(CONVERTED.name) / model.converted.file
    convert_network(original, result, model.converted.input)
    assert is_right_file(result, model.converted)
    return result


@cache
def load(kind: type[FaceDetector], threshold: float = 0.3) -> FaceDetector:
    problem = kind.explain_unavailable()
    if problem:
        pytest.skip(problem)
    try:
        opened = kind(find_weights(kind.name), threshold)
    except FaceBlurError as error:
        pytest.skip(str(error))
    OPENED.append(opened)
    return opened


OPENED: list[FaceDetector] = []


@pytest.fixture(scope="module", autouse=True)
def close_all() -> Iterator[None]:
    yield
    for opened in OPENED:
        opened.close()


@pytest.fixture(params=[kind for kind in DETECTORS if not kind.only_profiles], ids=lambda kind: kind.name)
def frontal(request: pytest.FixtureRequest) -> FaceDetector:
    """Each detector that finds faces seen from the front, as the astronaut's is."""
    return load(request.param)


@pytest.fixture(params=DETECTORS, ids=lambda kind: kind.name)
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return load(request.param)


@cache
def astronaut() -> NDArray[np.uint8]:
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def test_names_are_unique() -> None:
    names = [kind.name for kind in DETECTORS]
    assert len(set(names)) == len(names)
    assert [get_detector(name) for name in names] == list(DETECTORS)
    with pytest.raises(FaceBlurError, match="no detector 'none'"):
        get_detector("none")


def test_a_face_is_found_with_its_landmarks(frontal: FaceDetector) -> None:
    best, *_ = frontal.detect(astronaut())
    assert compute_overlaps(np.array([best.box]), ASTRONAUT_FACE)[0, 0] > 0.65
    assert 0.6 < best.confidence <= 1 and best.detector == frontal.name
    assert (best.landmarks is not None) == frontal.gives_landmarks
    if best.landmarks is None:
        return
    right_eye, left_eye, nose, right_mouth, left_mouth = best.landmarks
    assert right_eye[0] < nose[0] < left_eye[0] and right_eye[1] < nose[1] < right_mouth[1]
    assert right_mouth[0] < left_mouth[0]
    assert all(174 < x < 270 and 57 < y < 178 for x, y in best.landmarks)


@pytest.mark.parametrize("size", [(512, 384), (333, 271), (640, 352), (139, 191)])
def test_pictures_of_any_size_are_accepted(frontal: FaceDetector, size: tuple[int, int]) -> None:
    import cv2

    side = min(size)
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:side, :side] = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    best, *_ = frontal.detect(picture)
    assert compute_overlaps(np.array([best.box]), ASTRONAUT_FACE * side / 512)[0, 0] > 0.45


@pytest.mark.parametrize("size", [(1, 1), (16, 9), (9, 200)])
def test_tiny_pictures_raise_no_error(detector: FaceDetector, size: tuple[int, int]) -> None:
    detector.detect(np.full((size[1], size[0], 3), 90, np.uint8))


def test_detection_does_not_change_the_picture(detector: FaceDetector) -> None:
    before = astronaut().copy()
    detector.detect(astronaut())
    np.testing.assert_array_equal(before, astronaut())


def test_an_empty_picture_has_no_face(detector: FaceDetector) -> None:
    assert detector.detect(np.zeros((96, 160, 3), np.uint8)) == []


def test_a_higher_threshold_keeps_only_the_confident_faces(frontal: FaceDetector) -> None:
    low = load(type(frontal), 0.1).detect(astronaut())
    high = load(type(frontal), 0.7).detect(astronaut())
    assert low and high and len(high) <= len(low)
    assert all(d.confidence >= 0.7 for d in high)
    assert [d.confidence for d in low] == sorted((d.confidence for d in low), reverse=True)


@pytest.mark.parametrize("kind", DETECTORS, ids=lambda kind: kind.name)
def test_a_broken_model_file_raises_an_error_that_names_it(kind: type[FaceDetector], tmp_path: Path) -> None:
    if kind.explain_unavailable():
        pytest.skip(kind.explain_unavailable())
    try:
        for name in kind.further_weights:
            get_model_path(name)
    except FaceBlurError as error:
        pytest.skip(str(error))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 50)
    with pytest.raises(FaceBlurError, match=r"model\.onnx"):
        kind(path, 0.3)


@pytest.mark.parametrize("name", ["yunet_2023mar", "yunet_n"])
def test_yunet_decodes_as_opencv_does(name: str) -> None:
    import cv2

    yunet = load(get_detector(name), 0.5)
    theirs = cv2.FaceDetectorYN.create(str(find_weights(name)), "", (640, 640), 0.5, 0.3)
    picture = np.asarray(cv2.resize(astronaut(), (640, 640)), np.uint8)
    rows = theirs.detect(picture)[1]
    ours = yunet.detect(picture)
    assert len(rows) == len(ours)
    for row, detection in zip(rows[np.argsort(-rows[:, 14])], ours, strict=True):
        x, y, w, h = row[:4]
        np.testing.assert_allclose(detection.box, (x, y, x + w, y + h), atol=1)
        np.testing.assert_allclose(np.array(detection.landmarks).ravel(), row[4:14], atol=1)
        assert detection.confidence == pytest.approx(row[14], abs=0.01)


def read_picture(clip: str, number: int) -> NDArray[np.uint8]:
    media = os.environ.get("FACEBLUR_MEDIA")
    if not media:
        pytest.skip("FACEBLUR_MEDIA does not name a folder with the annotated clips")
    import av

    with av.open(str(Path(media) / clip)) as container:
        frame = next(itertools.islice(container.decode(video=0), number, None))
        picture: NDArray[np.uint8] = frame.to_ndarray(format="bgr24")
        return picture


@pytest.mark.parametrize("name", ["centerface", "yunet_n", "yunet_2023mar"])
def test_small_real_faces_are_found_in_a_real_clip(name: str) -> None:
    boxes = np.array([d.box for d in load(get_detector(name)).detect(read_picture("hamilton.mp4", 0))])
    known = np.array([[524.2, 45.3, 567.7, 101.0], [55.8, 184.6, 81.8, 220.5]])
    assert (compute_overlaps(known, boxes).max(axis=1) > 0.6).all()


def test_a_real_face_is_found_with_its_box_from_brow_to_chin(frontal: FaceDetector) -> None:
    boxes = np.array([d.box for d in frontal.detect(read_picture(CLOSE_CLIP, CLOSE_FRAME))])
    assert compute_overlaps(CLOSE_FACE, boxes).max() > 0.6


def test_profiles_are_found_in_both_directions() -> None:
    profile = load(get_detector("haar_profile"), 0.1)
    picture = read_picture(PROFILE_CLIP, PROFILE_FRAME)
    for shown, face in ((picture, PROFILE_FACE), (picture[:, ::-1], mirror(PROFILE_FACE, picture.shape[1]))):
        boxes = np.array([d.box for d in profile.detect(np.ascontiguousarray(shown))])
        assert compute_overlaps(face, boxes).max() > 0.5


def mirror(boxes: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def test_a_mirrored_picture_has_mirrored_boxes() -> None:
    profile = load(get_detector("haar_profile"), 0.0)
    # The cascade's windows move in steps of two pixels, so the width must be even for the mirrored windows to match.
    picture = np.asarray(astronaut()[:300, 100:360])
    there = np.array([d.box for d in profile.detect(picture)])
    back = np.array([d.box for d in profile.detect(np.ascontiguousarray(picture[:, ::-1]))])
    assert len(there)
    np.testing.assert_allclose(np.sort(mirror(back, picture.shape[1]), axis=0), np.sort(there, axis=0), atol=1e-3)


def test_box_shapes_follow_the_lean_of_the_face() -> None:
    shape = BoxShape(right=0.0, down=-0.5, width=1.0, height=2.0)
    box = np.array([[0, 0, 10, 10]], np.float32)
    np.testing.assert_allclose(shape.fit(box), [[0, -10, 10, 10]], atol=1e-4)
    # After a quarter turn to the right, the top of the face is on the right.
    np.testing.assert_allclose(shape.fit(box, np.array([np.pi / 2], np.float32)), [[0, 0, 20, 10]], atol=1e-4)


def test_ssd_boxes_do_not_depend_on_the_size_of_the_picture() -> None:
    ssd = load(get_detector("ssd_res10"))
    for added in (0, 20, 40, 64):
        picture = np.pad(astronaut(), ((0, added), (0, added), (0, 0)))
        np.testing.assert_allclose(ssd.detect(picture)[0].box, ssd.detect(astronaut())[0].box, atol=4)


def test_other_versions_of_mediapipe_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    blazeface = get_detector("blazeface_full")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.2")
    assert "1.2.2 is not used" in blazeface.explain_unavailable()

    def find_nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", find_nothing)
    with pytest.raises(FaceBlurError, match="not installed"):
        blazeface(Path("none.tflite"), 0.5)


def test_a_broken_mediapipe_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: VERSION)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    for name in [name for name in sys.modules if name.startswith("mediapipe.")]:
        monkeypatch.delitem(sys.modules, name)
    problem = get_detector("blazeface_short").explain_unavailable()
    assert "cannot be loaded" in problem and "\n" not in problem
    assert "matplotlib" not in sys.modules or hasattr(sys.modules["matplotlib"], "__version__")


def test_blazeface_that_fails_midway_is_no_longer_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = get_detector("blazeface_short")
    if kind.explain_unavailable():
        pytest.skip(kind.explain_unavailable())
    try:
        broken = kind(get_model_path(kind.name), 0.3)
    except FaceBlurError as error:
        pytest.skip(str(error))

    def fail(picture: object) -> None:
        raise RuntimeError("no memory\nat all")

    monkeypatch.setattr(broken._detector, "detect", fail)  # type: ignore[attr-defined]
    assert broken.detect(astronaut()) == [] and broken.detect(astronaut()) == []
    assert len(broken.notes) == 1 and "no memory" in broken.notes[0] and "\n" not in broken.notes[0]


def test_duplicates_are_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], np.float32)
    assert suppress_duplicates(boxes, np.array([0.5, 0.9, 0.4], np.float32), 0.3) == [1, 2]


def test_padding_adds_black_on_the_right_and_at_the_bottom() -> None:
    maker = BlobMaker(32)
    for level in (9, 7):
        picture = np.stack([np.full((33, 64), level + i, np.uint8) for i in range(3)], axis=2)
        blob = maker.make(picture)
        assert blob.shape == (1, 3, 64, 64) and blob.dtype == np.float32 and blob[0, :, 33:].max() == 0
        assert (blob[0, :, :33] == np.array([level, level + 1, level + 2])[:, None, None]).all()
    assert maker.make(np.ones((20, 20, 3), np.uint8))[0, :, 20:].max() == 0


def test_the_command_line_page_names_every_face_detector() -> None:
    """A detector that no preset runs can only be used with `--detectors`, so that row must name it."""
    page = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
    row = next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `--detectors "))
    every, without = row.rsplit(". The detectors are ", 1)[1].split("; no preset runs ")
    assert re.findall(r"`(\w+)`", every) == [kind.name for kind in DETECTORS]
    in_presets = {use.detector for preset in PRESETS for use in preset.detectors}
    assert re.findall(r"`(\w+)`", without) == [kind.name for kind in DETECTORS if kind.name not in in_presets]
