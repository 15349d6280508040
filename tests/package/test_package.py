# SPDX-License-Identifier: GPL-3.0-or-later
"""The zips of build.py package: complete, for every platform, reproducible, and rejected if they are incorrect."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from tools import package
from tools.lint import ROOT
from tools.wheels import PLATFORMS, WheelTarget, is_loaded

from .conftest import Build

RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"

ZIPS = sorted({("linux-x64", "3.11"), ("linux-x64", "3.14"), *((platform, RUNNING) for platform in PLATFORMS)})


@pytest.mark.parametrize(("platform", "python"), ZIPS)
def test_zip_is_complete(build: Build, platform: str, python: str) -> None:
    path = build(platform, python)
    package.check_package(path)
    assert 50e6 < path.stat().st_size < 200e6
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
        names = archive.namelist()
        for file in (ROOT / "blender_faceblur").rglob("*.py"):
            inside = file.relative_to(ROOT / "blender_faceblur").as_posix()
            # What fetches weights is not in the zip, since the manifest asks for no network.
            if inside.split("/")[0] in ("command", "weights"):
                assert inside not in names
            else:
                assert archive.read(inside) == file.read_bytes()
    assert (manifest["id"], manifest["platforms"]) == ("faceblur", [platform])
    assert manifest["blender_version_min"] == ("5.0.0" if python == "3.11" else "5.1.0")
    assert manifest.get("blender_version_max") == ("5.1.0" if python == "3.11" else None)
    assert list(manifest["permissions"]) == ["files"]
    wheels = [name.split("/")[1].split("-")[0] for name in names if name.startswith("wheels/")]
    colors = ["colorama"] if platform == "windows-x64" else []
    runtimes = ["onnxruntime"] * (1 if python == "3.11" else 2)
    assert wheels == [
        "av",
        *colors,
        "flatbuffers",
        *runtimes,
        "opencv_python_headless",
        "packaging",
        "protobuf",
        "tqdm",
    ]
    assert "models/centerface_any_size.onnx" in names and "models/models.toml" in names and "LICENSE" in names


def test_one_zip_serves_every_python_of_its_blenders(build: Build) -> None:
    """Blender checks no zip from the disk against its Python, so none may lack the packages for it."""
    path = build("linux-x64", "3.14")
    assert path == build("linux-x64", "3.13") and path != build("linux-x64", "3.11")
    with zipfile.ZipFile(path) as archive:
        names = [name.removeprefix("wheels/") for name in archive.namelist() if name.startswith("wheels/")]
    for python in ("3.13", "3.14"):
        target = WheelTarget("linux-x64", python)
        loaded = {name.split("-")[0] for name in names if is_loaded(name, target)}
        assert {"av", "onnxruntime", "opencv_python_headless"} <= loaded


def test_same_inputs_same_bytes(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock, the time zone, the umask and the contents of the output folder do not change them."""
    first = build("macos-arm64", RUNNING)
    (tmp_path / first.name).write_bytes(b"an older one")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        second = package.build_package(package.ZipTarget.of("macos-arm64", RUNNING), tmp_path, lambda text: None)
    finally:
        os.umask(before)
    assert second.read_bytes() == first.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_missing_wheel_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        package.LOCK.read_text(encoding="utf-8").replace("packaging==26", "packaging==0.26"), encoding="utf-8"
    )
    monkeypatch.setattr(package, "LOCK", lock)
    monkeypatch.setattr(package, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    output = tmp_path / "dist"
    assert package.main(["--platform", "windows-x64", "--python", "3.11", "--output", str(output)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("A wheel for windows-x64-py311 is missing: ") and "No matching distribution" in error
    assert not output.exists()


def test_missing_weights_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a preset's detector the build fails; without the recogniser it succeeds with a warning."""
    shutil.copy(ROOT / "models" / "models.toml", tmp_path)
    monkeypatch.setattr(paths, "get_models_folder", lambda: tmp_path)
    arguments = ["--platform", "macos-arm64", "--python", RUNNING, "--output", str(tmp_path / "dist")]
    assert package.main(arguments) == 1
    assert "centerface.onnx is missing" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()
    shutil.copy(ROOT / "models" / "centerface_any_size.onnx", tmp_path)
    assert package.main(arguments) == 1
    assert "face_detection_yunet_2023mar.onnx is missing" in capsys.readouterr().err
    shutil.copy(ROOT / "models" / "yunet_2023mar_any_size.onnx", tmp_path)
    assert package.main(arguments) == 0
    output = capsys.readouterr()
    assert "WARNING: this package will not recognise people. dlib_face_recognition_int8.onnx is missing" in output.err
    with zipfile.ZipFile(output.out.rsplit("  ", 1)[0]) as archive:
        assert [name for name in archive.namelist() if name.endswith(".onnx")] == [
            "models/centerface_any_size.onnx",
            "models/yunet_2023mar_any_size.onnx",
        ]


@pytest.fixture
def copy(build: Build, tmp_path: Path) -> Callable[..., Path]:
    """A function that copies one of our zips with entries replaced (None: removed) or added."""
    source = build("macos-arm64", RUNNING)

    def copy_zip(changes: dict[str, bytes | None] | None = None, name: str = source.name) -> Path:
        changes = dict(changes or {})
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for entry in old.infolist():
                content = changes.pop(entry.filename, old.read(entry))
                if content is not None:
                    new.writestr(entry, content)
            for inside, added in changes.items():
                assert added is not None
                information = zipfile.ZipInfo(inside, (2020, 1, 1, 0, 0, 0))
                information.external_attr, information.create_system = 0o100644 << 16, entry.create_system
                new.writestr(information, added)
        return tmp_path / name

    return copy_zip


def test_an_unchanged_copy_passes(copy: Callable[..., Path]) -> None:
    """So the rejections below come from their changes."""
    package.check_package(copy())


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_x.txt",
        "core/__pycache__/types.cpython-311.pyc",
        ".env",
        "notes.blend1",
        "models/other.onnx",
        "wheels/readme.txt",
        "models/code.py",
        "weights/fetch.py",
        "../outside.py",
    ],
)
def test_stray_file_is_refused(copy: Callable[..., Path], name: str) -> None:
    with pytest.raises(FaceBlurError, match=f"{name} must not be in the zip"):
        package.check_package(copy({name: b"x"}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("models/centerface_any_size.onnx", None, "centerface_any_size.onnx is missing"),
        ("models/centerface_any_size.onnx", b"other", "differs from the file that models.toml lists"),
        ("LICENSE", None, "LICENSE is missing"),
        ("__init__.py", None, "__init__.py is missing"),
        ("models/models.toml", None, "not a package of this extension"),
        ("blender_manifest.toml", None, "not a package of this extension"),
        ("more.py", b"from blender_faceblur.files import paths", "more.py imports blender_faceblur"),
        ("more.py", b"import os, tools.models", "more.py imports tools"),
    ],
)
def test_broken_zip_is_refused(copy: Callable[..., Path], name: str, content: bytes | None, words: str) -> None:
    with pytest.raises(FaceBlurError, match=words):
        package.check_package(copy({name: content}))


def test_wheels_are_checked(copy: Callable[..., Path]) -> None:
    with zipfile.ZipFile(copy()) as archive:
        wheel = next(name for name in archive.namelist() if "packaging" in name)
        manifest = archive.read("blender_manifest.toml")
        content = archive.read(wheel)
    with pytest.raises(FaceBlurError, match=f"{wheel} is in the manifest and not in the zip.*of packaging is missing"):
        package.check_package(copy({wheel: None}))
    with pytest.raises(FaceBlurError, match="differs from the lock"):
        package.check_package(copy({wheel: content + b"x"}))
    line = f'  "./{wheel}",\n'.encode()
    assert line in manifest
    with pytest.raises(FaceBlurError, match=f"{wheel} is in the zip and not in the manifest"):
        package.check_package(copy({"blender_manifest.toml": manifest.replace(line, b"")}))


def test_a_zip_that_lacks_the_wheels_for_one_python_is_refused(build: Build, tmp_path: Path) -> None:
    source = build("linux-x64", "3.14")
    copied = tmp_path / source.name
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(copied, "w") as new:
        for entry in old.infolist():
            if "onnxruntime" not in entry.filename or "cp313" in entry.filename:
                new.writestr(entry, old.read(entry))
    with pytest.raises(FaceBlurError, match="linux-x64-py314 failed their check: the wheel of onnxruntime is missing"):
        package.check_package(copied)


def test_manifest_and_name_agree(copy: Callable[..., Path], build: Build) -> None:
    name = build("macos-arm64", RUNNING).name
    with pytest.raises(FaceBlurError, match=r"the manifest is for macos-arm64; .* does not support linux-x64"):
        package.check_package(copy(name=name.replace("macos-arm64", "linux-x64")))
    with pytest.raises(FaceBlurError, match=r"the manifest belongs to faceblur 0\.2\.0"):
        package.check_package(copy(name=name.replace("0.2.0", "0.3.0")))
    with pytest.raises(FaceBlurError, match="does not name a supported platform"):
        package.check_package(copy(name="faceblur.zip"))
    with zipfile.ZipFile(build("macos-arm64", RUNNING)) as archive:
        manifest = archive.read("blender_manifest.toml").decode()
    with pytest.raises(FaceBlurError, match="the manifest's Blender versions"):
        package.check_package(copy({"blender_manifest.toml": manifest.replace('min = "5.', 'min = "4.').encode()}))


def test_too_large_is_refused(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build("macos-arm64", RUNNING)
    monkeypatch.setattr(package, "LARGEST_BYTES", path.stat().st_size)
    with pytest.raises(FaceBlurError, match="must be smaller than"):
        package.check_package(path)
