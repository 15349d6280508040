# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands get the smallest environment that is sufficient; optional parts are added once and affect nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import build
from blender_faceblur.batch.options import build_parser
from tools import environment, wheels

ROOT = Path(__file__).resolve().parents[2]
HERE = sys.version_info[:2]


@pytest.mark.parametrize(
    ("command", "arguments", "needs_bpy"),
    [
        ("blur", ["a.mp4"], False),
        ("blur", ["verify", "a.mp4", "b.mp4", "--tracks", "a.json"], False),
        ("blur", ["a.mp4", "--renderer", "direct", "--save-tracks", "blender"], False),
        ("blur", ["a.mp4", "--save-blend", "a.blend"], True),
        ("blur", ["--save-blend=a.blend", "a.mp4"], True),
        ("blur", ["a.mp4", "--renderer", "blender"], True),
        ("blur", ["a.mp4", "--renderer=blender"], True),
        ("blur", ["a.mp4", "--renderer=blender", "--blender", "/opt/blender"], False),
        ("blur", ["a.mp4", "--blender=/opt/blender", "--save-blend", "a.blend"], False),
        ("blur", ["a.mp4", "--save-blend", "a.blend", "--", "--blender"], True),
        ("blur", ["--", "--save-blend", "a.blend"], False),
        ("demo", [], False),
        ("demo", ["--save-blend", "a.blend"], True),
        ("models", [], False),
        ("bench accuracy", [], False),
        ("bench identity", ["people"], False),
        ("bench speed", ["a.mp4"], True),
        ("bench speed", ["a.mp4", "--blender", "/opt/blender"], False),
        ("bench speed", ["a.mp4", "--no-blender"], False),
        ("bench strength", ["people"], True),
        ("test", [], True),
        ("test", ["-k", "--blender"], True),
        ("lint", [], True),
        ("package", [], True),
        ("library", [], True),
    ],
)
def test_bpy_is_installed_only_for_commands_and_options_that_need_it(
    command: str, arguments: list[str], needs_bpy: bool
) -> None:
    assert build._needs_bpy(command, arguments) is needs_bpy


@pytest.mark.parametrize("option", build.SHORTEST)
def test_options_are_recognised_in_the_lengths_that_argparse_accepts(option: str) -> None:
    """argparse accepts the beginning of a name that begins no other option."""
    field = option.removeprefix("--").replace("-", "_")
    for end in range(3, len(option) + 1):
        for given in ([option[:end], "blender"], [option[:end] + "=blender"]):
            try:
                accepted = str(getattr(build_parser().parse_args(["a.mp4", *given]), field)) == "blender"
            except SystemExit:
                accepted = False
            assert build._list_values(["a.mp4", *given], option) == ["blender"] * accepted


def make_environment(root: Path, lock: str, *markers: str) -> Path:
    """An environment that counts as complete, of an empty lock file."""
    (root / "requirements").mkdir(exist_ok=True)
    (root / "requirements" / f"{lock}.txt").write_text("", encoding="utf-8")
    folder = root / ".env" / environment._name_environment(root, lock, HERE)
    folder.mkdir(parents=True)
    for marker in markers:
        (folder / marker).write_text("whole\n", encoding="utf-8")
    return folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the locks that were installed, in order, instead of installing them. Every Python works."""
    locks: list[str] = []
    monkeypatch.setattr(environment, "BPY_VERSIONS", (HERE,))
    monkeypatch.setattr(environment, "PLAIN_VERSIONS", (HERE,))
    monkeypatch.setattr(environment, "SIZES", {f"py{HERE[0]}{HERE[1]}": "1.3 GB on disk", "plain": "0.4 GB on disk"})
    monkeypatch.setattr(environment, "_ask_version", lambda command: HERE)
    monkeypatch.setattr(environment, "_make_environment", lambda folder, interpreter, version: folder.mkdir())
    monkeypatch.setattr(environment, "_install", lambda python, lock, *options: locks.append(lock.name))
    return locks


def test_plain_files_get_the_small_environment_and_bpy_the_full_one(
    tmp_path: Path, installed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements").mkdir()
    small = environment.ensure_environment(tmp_path, with_bpy=False)
    assert installed == ["plain.txt"]
    said = capsys.readouterr().err
    assert "without Blender in .env" in said and "0.4 GB on disk" in said
    full = environment.ensure_environment(tmp_path, with_bpy=True)
    assert installed == ["plain.txt", "py{}{}.txt".format(*HERE)]
    said = capsys.readouterr().err
    assert "with Blender in .env" in said and "1.3 GB on disk" in said
    assert small != full
    assert environment.ensure_environment(tmp_path, with_bpy=True) == full
    assert len(installed) == 2


def test_an_environment_with_bpy_serves_plain_files_too(tmp_path: Path, installed: list[str]) -> None:
    full = make_environment(tmp_path, "py{}{}".format(*HERE), "complete")
    assert environment.ensure_environment(tmp_path, with_bpy=False) == environment._get_python(full)
    assert installed == []
    (full / "complete").unlink()
    environment.ensure_environment(tmp_path, with_bpy=False)
    assert installed == ["plain.txt"]


def test_the_film_s_picture_is_added_once_unless_the_tests_brought_it(tmp_path: Path, installed: list[str]) -> None:
    make_environment(tmp_path, "plain", "complete")
    (tmp_path / "requirements" / "demo.txt").write_text("", encoding="utf-8")
    for _ in range(2):
        environment.ensure_environment(tmp_path, with_bpy=False, with_portrait=True)
    assert installed == ["demo.txt"]
    make_environment(tmp_path, "py{}{}".format(*HERE), "complete", "complete-test")
    environment.ensure_environment(tmp_path, with_bpy=False, with_portrait=True)
    assert installed == ["demo.txt"]


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("platform", wheels.PLATFORMS)
@pytest.mark.parametrize(("lock", "full"), [("plain", ""), ("demo", "-test")])
def test_the_locks_without_bpy_have_the_tested_versions(python: str, platform: str, lock: str, full: str) -> None:
    """Both environments give the same results, and the small one has no Blender."""
    target = wheels.WheelTarget(platform, python)
    pins = wheels.read_pins(ROOT / "requirements" / f"{lock}.txt", target)
    known = wheels.read_pins(ROOT / "requirements" / f"py{python.replace('.', '')}{full}.txt", target)
    assert pins and all(pin in known for pin in pins)
    assert "bpy" not in {pin.name for pin in pins}


def test_the_small_lock_has_what_plain_files_need() -> None:
    for python in ("3.11", "3.12", "3.13", "3.14"):
        pins = wheels.read_pins(ROOT / "requirements" / "plain.txt", wheels.WheelTarget("linux-x64", python))
        assert {"av", "numpy", "onnxruntime", "opencv-python-headless"} <= {pin.name for pin in pins}


def test_two_processes_that_need_a_tool_make_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process waits for the lock, and then uses the environment of the first."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "tool.txt").write_text("", encoding="utf-8")
    answers = [False, True]
    monkeypatch.setattr(environment, "_works", lambda python, *markers: answers.pop(0))
    monkeypatch.setattr(environment, "_remove", lambda folder: pytest.fail("the first one's environment is removed"))
    assert environment.ensure_tool(tmp_path, "tool").parent.parent.parent == tmp_path / ".env"


def add_mediapipe(folder: Path) -> None:
    environment._ensure_mediapipe(ROOT, folder)


def test_a_missing_mediapipe_is_reported_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(python: Path, lock: Path, *options: str) -> None:
        raise environment.EnvironmentProblem("pip could not install mediapipe.txt: no matching distribution")

    monkeypatch.setattr(environment, "_install", refuse)
    add_mediapipe(tmp_path / "env")
    assert "not available" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("env/complete*"))


def test_mediapipe_is_installed_once_without_its_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(environment, "_install", lambda python, lock, *options: calls.append((lock.name, *options)))
    (tmp_path / "env").mkdir()
    add_mediapipe(tmp_path / "env")
    add_mediapipe(tmp_path / "env")
    assert calls == [("mediapipe.txt", "--no-deps")]
