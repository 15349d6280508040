# SPDX-License-Identifier: GPL-3.0-or-later
"""A converted network computes the same on pictures of any size, and conversion always gives the same file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.onnx_model import OnnxDetector
from blender_faceblur.files import paths
from blender_faceblur.weights import convert

CONVERTED = [model for model in paths.list_models().values() if model.converted]


@pytest.fixture
def network(onnx_environment: None, tmp_path: Path) -> Path:
    path = tmp_path / "fixed.onnx"
    convert.run_with_onnx("tests.core.fixed_network", str(path))
    return path


def test_a_converted_network_takes_pictures_of_any_size(network: Path, tmp_path: Path) -> None:
    import onnxruntime

    result = tmp_path / "any.onnx"
    convert.convert_network(network, result, "pictures")
    before, after = (onnxruntime.InferenceSession(str(path)) for path in (network, result))
    assert [(given.name, given.shape) for given in after.get_inputs()] == [("pictures", ["n", 3, "height", "width"])]
    pictures = np.random.default_rng(1).uniform(0, 255, (10, 3, 32, 32)).astype(np.float32)
    expected = before.run(["map"], {"pictures": pictures})[0]
    # Folding the normalisation into the convolution changes the rounding.
    np.testing.assert_allclose(after.run(["map"], {"pictures": pictures})[0], expected, rtol=1e-4, atol=1e-3)
    larger = np.pad(pictures[:1], ((0, 0), (0, 0), (0, 8), (0, 40)))
    with pytest.raises(Exception, match="Got invalid dimensions"):
        before.run(["map"], {"pictures": larger})
    found = after.run(["map"], {"pictures": larger})[0]
    assert found.shape == (1, 2, 40, 72)
    np.testing.assert_allclose(found[..., :32, :32], expected[:1], rtol=1e-4, atol=1e-3)


def test_conversion_is_reproducible_and_adds_a_notice(network: Path, tmp_path: Path) -> None:
    once, twice, again = (tmp_path / name for name in ("once.onnx", "twice.onnx", "again.onnx"))
    for source, result in ((network, once), (network, twice), (once, again)):
        convert.convert_network(source, result, "pictures")
    assert once.read_bytes() == twice.read_bytes() == again.read_bytes()
    assert convert.NOTICE.encode() in once.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no network", b"\x3a\xff\xff\xff\x7f", b"\x08\x04"])
def test_a_file_that_is_not_a_network_is_refused(onnx_environment: None, tmp_path: Path, content: bytes) -> None:
    source, result = tmp_path / "source.onnx", tmp_path / "result.onnx"
    source.write_bytes(content)
    with pytest.raises(FaceBlurError, match=r"^source\.onnx cannot be converted: "):
        convert.convert_network(source, result, "pictures")
    assert not result.exists()


def test_a_network_with_another_input_is_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(FaceBlurError, match="no input 'image'"):
        convert.convert_network(network, tmp_path / "result.onnx", "image")


@pytest.mark.parametrize("model", CONVERTED, ids=lambda model: model.name)
def test_conversion_makes_the_files_that_the_catalogue_lists(
    onnx_environment: None, model: paths.ModelFile, tmp_path: Path
) -> None:
    """Convert the original file if it is available, otherwise the converted file, which must not change."""
    assert model.converted is not None
    given = os.environ.get(paths.MODELS_VARIABLE)
    folders = [paths.get_models_folder(), *([Path(given).expanduser()] if given else [])]
    files = [folder / name for name in (model.file, model.converted.file) for folder in folders]
    source = next((file for file in files if file.is_file()), None)
    if source is None:
        pytest.skip(f"{model.file} is not here")
    result = tmp_path / model.converted.file
    convert.convert_network(source, result, model.converted.input)
    assert paths.is_right_file(result, model.converted)


def test_converted_detectors_are_those_that_accept_any_size() -> None:
    for model in CONVERTED:
        kind = get_detector(model.name)
        assert issubclass(kind, OnnxDetector) and model.converted and model.converted.input == kind.input_name
