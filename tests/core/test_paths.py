# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights are found in all their possible places, and only files with the expected bytes are used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths

CONTENT = b"weights"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """An installation with one model, "net": (models folder, folder named by the environment variable)."""
    installed, given = tmp_path / "package" / "models", tmp_path / "given"
    installed.mkdir(parents=True)
    given.mkdir()
    (installed / "models.toml").write_text(
        f'[[model]]\nname = "net"\nfile = "net.onnx"\nbytes = {len(CONTENT)}\n'
        f'sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"\nlicence = "MIT"\norigin = "here"\nrequired = true\n'
        'presets = ["fast"]\nurl = "https://localhost/net.onnx"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "package")
    monkeypatch.setenv(paths.MODELS_VARIABLE, str(given))
    paths.list_models.cache_clear()
    yield installed, given
    paths.list_models.cache_clear()


def test_the_models_folder_is_searched_first(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        (folder / "net.onnx").write_bytes(CONTENT)
    assert paths.get_model_path("net") == folders[0] / "net.onnx"
    (folders[0] / "net.onnx").unlink()
    assert paths.get_model_path("net") == folders[1] / "net.onnx"


def test_wrong_bytes_are_refused(folders: tuple[Path, Path]) -> None:
    (folders[0] / "net.onnx").write_bytes(b"weightz")
    with pytest.raises(FaceBlurError, match="is not used: its size or SHA-256 differs"):
        paths.get_model_path("net")
    (folders[1] / "net.onnx").write_bytes(CONTENT)
    assert paths.get_model_path("net") == folders[1] / "net.onnx"


def test_a_file_that_changes_later_is_checked_again(folders: tuple[Path, Path]) -> None:
    path = folders[0] / "net.onnx"
    path.write_bytes(CONTENT)
    paths.get_model_path("net")
    path.write_bytes(b"weightz")
    os.utime(path, ns=(1, 1))
    with pytest.raises(FaceBlurError):
        paths.get_model_path("net")


def test_missing_and_unknown_models_are_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(FaceBlurError, match=r"build\.py models"):
        paths.get_model_path("net")
    with pytest.raises(FaceBlurError, match="no model named"):
        paths.get_model_path("other")


def test_the_converted_file_is_used_and_never_the_original(folders: tuple[Path, Path]) -> None:
    catalogue = folders[0] / "models.toml"
    sha256 = hashlib.sha256(b"converted").hexdigest()
    catalogue.write_text(
        catalogue.read_text("utf-8") + f'[model.converted]\nfile = "any.onnx"\nbytes = 9\n'
        f'sha256 = "{sha256}"\ninput = "image"\n',
        encoding="utf-8",
    )
    (folders[1] / "net.onnx").write_bytes(CONTENT)
    with pytest.raises(FaceBlurError, match=r"net\.onnx must be converted first: .*models net.*any\.onnx"):
        paths.get_model_path("net")
    for content in (CONTENT, b"convertex"):
        (folders[1] / "any.onnx").write_bytes(content)
        with pytest.raises(FaceBlurError, match="is not used: its size or SHA-256 differs"):
            paths.get_model_path("net")
    (folders[0] / "any.onnx").write_bytes(b"converted")
    assert paths.get_model_path("net") == folders[0] / "any.onnx"


def test_the_catalogue_is_complete() -> None:
    models = paths.list_models()
    assert [name for name, model in models.items() if model.required] == ["centerface", "yunet_2023mar"]
    for model in models.values():
        assert len(model.sha256) == 64 and model.bytes > 0 and model.licence and model.origin
        assert any((model.wheel, model.package, model.url, model.tarball))
        assert not model.member or model.wheel or model.package or model.tarball
        assert bool(model.tarball_sha256) == bool(model.tarball_bytes) == (model.tarball is not None)
        assert bool(model.wheel_sha256) == bool(model.wheel_bytes) == (model.wheel is not None)
        assert model.url is None or model.url.startswith("https://")


@pytest.mark.skipif(os.name != "posix", reason="folders have no modes on Windows")
def test_the_temporary_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = paths.get_temporary_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(FaceBlurError, match="Other users can access"):
        paths.get_temporary_folder()


def test_an_installed_page_of_the_guide_comes_first(folders: tuple[Path, Path]) -> None:
    checkout = folders[0].parents[1] / "docs" / "editing.md"
    checkout.parent.mkdir()
    checkout.touch()
    assert paths.get_page_path("editing") == checkout
    installed = folders[0].parent / "docs" / "editing.html"
    installed.parent.mkdir()
    installed.touch()
    assert paths.get_page_path("editing") == installed
    with pytest.raises(FaceBlurError, match="The page 'people' of the guide is missing"):
        paths.get_page_path("people")
