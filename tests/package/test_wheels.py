# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels of a zip: those of the lock, for its platform and Python, unmodified, each module once."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from blender_faceblur.core.types import FaceBlurError
from tools import wheels
from tools.lint import ROOT
from tools.package import LOCK
from tools.wheels import PLATFORMS, PYTHONS, Pin, WheelTarget

LINUX = WheelTarget("linux-x64", "3.13")
NAMES = {
    "av": "av-1.0-cp312-abi3-manylinux_2_28_x86_64.whl",
    "cv2": "opencv-2.0-cp37-abi3-manylinux2014_x86_64.whl",
    "onnxruntime": "onnxruntime-3.0-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
}


def make_wheel(folder: Path, name: str, module: str) -> Path:
    folder.mkdir(exist_ok=True)
    package, version = name.split("-")[:2]
    information = f"{package}-{version}.dist-info"
    contents = {
        f"{module}/__init__.py": f"# {name}",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
        f"{information}/RECORD": "",
    }
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in contents.items():
            # Without a time, so that a wheel that is made again has the same hash.
            archive.writestr(zipfile.ZipInfo(path), text)
    return folder / name


def make_wheels(folder: Path) -> list[Path]:
    return [make_wheel(folder, name, module) for module, name in NAMES.items()]


def pin_wheels(files: list[Path]) -> list[Pin]:
    return [
        Pin(path.name.split("-")[0], path.name.split("-")[1], frozenset([wheels.hash_file(path)])) for path in files
    ]


def check(files: list[Path], pins: list[Pin], target: WheelTarget = LINUX) -> None:
    wheels.check_wheels([(path.name, path) for path in files], pins, target)


def test_complete_set_passes(tmp_path: Path) -> None:
    files = make_wheels(tmp_path)
    check(files, pin_wheels(files))


def test_missing_wheel_fails(tmp_path: Path) -> None:
    files = make_wheels(tmp_path)
    with pytest.raises(FaceBlurError, match="the wheel of opencv is missing; no wheel provides cv2"):
        check([files[0], files[2]], pin_wheels(files))


def test_changed_wheel_fails(tmp_path: Path) -> None:
    files = make_wheels(tmp_path)
    pins = pin_wheels(files)
    with zipfile.ZipFile(files[1], "a") as archive:
        archive.writestr("cv2/more.py", "")
    with pytest.raises(FaceBlurError, match=r"opencv-2.0-.* differs from the lock"):
        check(files, pins)


def test_two_providers_of_cv2_fail(tmp_path: Path) -> None:
    files = [*make_wheels(tmp_path), make_wheel(tmp_path, "opencv_contrib-2.0-py3-none-any.whl", "cv2")]
    pins = [*pin_wheels(files[:3]), Pin("opencv-contrib", "2.0", frozenset([wheels.hash_file(files[3])]))]
    with pytest.raises(FaceBlurError, match=r"^[^;]*opencv_contrib-.* and opencv-2.0-.* both provide cv2\.$"):
        check(files, pins)


def test_blenders_numpy_must_not_be_provided(tmp_path: Path) -> None:
    files = [*make_wheels(tmp_path), make_wheel(tmp_path, "numpy-2.0-py3-none-any.whl", "numpy")]
    with pytest.raises(FaceBlurError, match="Blender itself provides"):
        check(files, pin_wheels(files))


def test_unknown_wheel_and_version_fail(tmp_path: Path) -> None:
    files = [*make_wheels(tmp_path), make_wheel(tmp_path, "other-1.0-py3-none-any.whl", "other")]
    with pytest.raises(FaceBlurError, match=r"other-1.0.* is not in the lock"):
        check(files, pin_wheels(files[:3]))
    newer = [*pin_wheels(files[:2]), Pin("onnxruntime", "3.1", pin_wheels(files)[2].hashes)]
    with pytest.raises(FaceBlurError, match=r"onnxruntime-3.0.* is not in the lock"):
        check(files[:3], newer)


@pytest.mark.parametrize(
    ("tag", "target", "fits"),
    [
        ("cp313-cp313-manylinux_2_28_x86_64", LINUX, True),
        ("cp311-abi3-manylinux2014_x86_64", LINUX, True),
        ("py2.py3-none-any", LINUX, True),
        ("cp313-cp313-manylinux_2_34_x86_64", LINUX, False),
        ("cp313-cp313-musllinux_1_2_x86_64", LINUX, False),
        ("cp313-cp313-manylinux_2_28_aarch64", LINUX, False),
        ("cp313-cp313t-manylinux_2_28_x86_64", LINUX, False),
        ("cp312-cp312-manylinux_2_28_x86_64", LINUX, False),
        ("cp314-abi3-manylinux_2_28_x86_64", LINUX, False),
        ("cp313-cp313-win_amd64", WheelTarget("windows-x64", "3.13"), True),
        ("cp313-cp313-win_arm64", WheelTarget("windows-x64", "3.13"), False),
        ("cp311-cp311-macosx_14_0_arm64", WheelTarget("macos-arm64", "3.11"), True),
        ("cp310-abi3-macosx_10_9_universal2", WheelTarget("macos-arm64", "3.11"), True),
        ("cp311-cp311-macosx_15_0_arm64", WheelTarget("macos-arm64", "3.11"), False),
        ("cp311-cp311-macosx_11_0_x86_64", WheelTarget("macos-arm64", "3.11"), False),
    ],
)
def test_tags(tmp_path: Path, tag: str, target: WheelTarget, fits: bool) -> None:
    wheel = make_wheel(tmp_path, f"some-1.0-{tag}.whl", "some")
    with pytest.raises(FaceBlurError) as caught:
        check([wheel], pin_wheels([wheel]), target)
    assert ("does not support" not in str(caught.value)) is fits


def test_markers_are_the_targets(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# written by hand\n"
        "One==1 ; python_full_version < '3.12' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "one==2 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\n"
        "two==3 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n",
        encoding="utf-8",
    )
    assert wheels.read_pins(lock, WheelTarget("linux-x64", "3.11")) == [Pin("one", "1", frozenset(["aa", "bb"]))]
    assert [(pin.name, pin.version) for pin in wheels.read_pins(lock, WheelTarget("windows-x64", "3.14"))] == [
        ("one", "2"),
        ("two", "3"),
    ]


@pytest.mark.parametrize("line", ["one>=1 --hash=sha256:aa", "one==1"])
def test_unpinned_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(FaceBlurError, match="is not pinned"):
        wheels.read_pins(lock, LINUX)


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_the_pins_match_the_tested_versions(python: str) -> None:
    """The zips contain the versions that this checkout's tests use."""
    text = (ROOT / "requirements" / f"py{python.replace('.', '')}.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+) ", text, re.MULTILINE))
    for platform in PLATFORMS:
        pins = wheels.read_pins(LOCK, WheelTarget(platform, python))
        assert {pin.name: pin.version for pin in pins} == {pin.name: tested[pin.name] for pin in pins}
        assert len(pins) >= 3


def test_lock_has_no_onnxruntime_that_sends_data() -> None:
    for python in PYTHONS:
        version = {pin.name: pin.version for pin in wheels.read_pins(LOCK, WheelTarget("linux-x64", python))}[
            "onnxruntime"
        ]
        assert tuple(map(int, version.split(".")[:2])) < (1, 29)


def test_cache_is_used_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_wheels(tmp_path / "made")
    calls = []

    def download(pins: list[Pin], target: WheelTarget, folder: Path) -> None:
        calls.append(target)
        make_wheels(folder)

    monkeypatch.setattr(wheels, "_download", download)
    pins, cache = pin_wheels(files), tmp_path / "cache"
    first = wheels.fetch_wheels(pins, LINUX, cache, lambda text: None)
    assert wheels.fetch_wheels(pins, LINUX, cache, lambda text: None) == first and len(calls) == 1
    assert sorted(path.name for path in first) == sorted(NAMES.values())
    first[1].write_bytes(b"changed")
    again = wheels.fetch_wheels(pins, LINUX, cache, lambda text: None)
    assert len(calls) == 2 and again == first and wheels.hash_file(first[1]) == first[1].parent.name
    first[0].unlink()
    wheels.fetch_wheels(pins, LINUX, cache, lambda text: None)
    assert len(calls) == 3
    assert [path for path in cache.iterdir() if path.name.startswith(".")] == []


def test_wrong_wheel_does_not_get_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = pin_wheels(make_wheels(tmp_path / "made"))
    monkeypatch.setattr(wheels, "_download", lambda pins, target, folder: make_wheels(folder)[1].write_bytes(b""))
    with pytest.raises(FaceBlurError, match=r"differs from the lock.*cannot be opened"):
        wheels.fetch_wheels(pins, LINUX, tmp_path / "cache", lambda text: None)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip uses as its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_takes_the_targets_wheels(tmp_path: Path, index: Path) -> None:
    files = make_wheels(index)
    pins = pin_wheels(files)
    for tag in ("cp314-cp314-manylinux_2_28_x86_64", "cp313-cp313-win_amd64", "cp313-cp313-musllinux_1_2_x86_64"):
        other = make_wheel(index, f"onnxruntime-3.0-{tag}.whl", "onnxruntime")
        pins[2] = Pin("onnxruntime", "3.0", pins[2].hashes | {wheels.hash_file(other)})
    fetched = wheels.fetch_wheels(pins, LINUX, tmp_path / "cache", lambda text: None)
    assert sorted(path.name for path in fetched) == sorted(NAMES.values())


@pytest.mark.parametrize(("version", "words"), [("2.0", "Expected sha256 0000"), ("2.1", "No matching distribution")])
def test_pip_refuses(tmp_path: Path, index: Path, version: str, words: str) -> None:
    """A wheel with another hash, and one that is not available, end the build."""
    pins = pin_wheels(make_wheels(index))
    pins[1] = Pin("opencv", version, frozenset(["0" * 64]))
    with pytest.raises(FaceBlurError, match=f"A wheel for linux-x64-py313 is missing: .*{words}"):
        wheels.fetch_wheels(pins, LINUX, tmp_path / "cache", lambda text: None)
    assert list((tmp_path / "cache").iterdir()) == []
