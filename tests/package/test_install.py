# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip of this machine, installed by Blender itself, used, upgraded and removed: nothing warns, nothing is left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur import paths
from tools.film import make_film
from tools.wheels import PYTHONS

from .conftest import Build

HOST = {"linux": "linux-x64", "win32": "windows-x64", "darwin": "macos-arm64"}[sys.platform]
FOREIGN = "windows-x64" if HOST != "windows-x64" else "linux-x64"
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"
SCRIPT = Path(__file__).with_name("installing.py")

BLENDERS_FILES = re.compile(
    r"config(/userpref\.blend)?|extensions(/\.cache(/compat\.dat)?|/\.local(/lib(/python[0-9.]+(/site-packages)?)?)?"
    r"|/\.user(/user_default)?|/user_default(/\.blender_ext(/cache)?)?)?")
"""What Blender makes in an empty user folder, and leaves, for any extension with wheels."""

BLENDERS_HOME = re.compile(r"\.cache(/(thumbnails|mesa_shader_cache)(/.*)?)?")

COMPLAINT = re.compile("warning|error|traceback|violation|failed", re.IGNORECASE)
BLENDERS_COMPLAINTS = ("Could not get a list of mounted file-systems", "extensions/blender_org'")
"""From a system without /proc/mounts; from `extension remove` where the online repository was never fetched."""


def find_complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in (done.stdout + done.stderr).splitlines()
            if COMPLAINT.search(line) and not any(known in line for known in BLENDERS_COMPLAINTS)]


class Machine:
    """A user with an empty home, temporary folder and Blender user folder."""

    def __init__(self, folder: Path) -> None:
        self.folders = {name: folder / name for name in ("home", "temporary", "resources")}
        for path in self.folders.values():
            path.mkdir()
        temporary = str(self.folders["temporary"])
        self.variables = {
            **{name: value for name, value in os.environ.items()
               if name != paths.MODELS_VARIABLE and not name.startswith(("PYTHON", "ORT_"))},
            "HOME": str(self.folders["home"]), "USERPROFILE": str(self.folders["home"]), "TMPDIR": temporary,
            "TEMP": temporary, "TMP": temporary, "BLENDER_USER_RESOURCES": str(self.folders["resources"]),
            # Nothing on this machine answers: a use of the network shows as an error.
            **{name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")},
        }

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.variables, capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, timeout=300, check=False, cwd=self.folders["resources"].parent)

    def list_outside(self) -> list[str]:
        """Files in the home and the temporary folder, but for Blender's own."""
        home, temporary = self.folders["home"], self.folders["temporary"]
        return [str(path) for path in sorted([*home.rglob("*"), *temporary.rglob("*")])
                if not BLENDERS_HOME.fullmatch(path.relative_to(home).as_posix() if home in path.parents else "-")]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "steady.mp4"
    make_film(path, width=640, height=360, frame_rate=Fraction(25), seconds=0.6, scene="steady")
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def make_newer(path: Path, folder: Path) -> Path:
    """The same package as version 0.1.1, with a file more and one less."""
    newer = folder / "newer.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(newer, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "blender_manifest.toml":
                content = content.replace(b'"0.1.0"', b'"0.1.1"').replace(b'  "LICENSE",\n', b"")
            if entry.filename != "LICENSE":
                new.writestr(entry, content)
        new.writestr("newer.py", "# In version 0.1.1 only.\n")
    return newer


def live_through(machine: Machine, command: list[str], path: Path, film: Path, tmp_path: Path) -> dict[str, Any]:
    given = {"zip": str(path), "newer": str(make_newer(path, tmp_path)), "film": str(film),
             "output": str(tmp_path / "tracks.json"), "report": str(tmp_path / "report.json")}
    (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
    done = machine.run([*command, str(tmp_path / "given.json")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert find_complaints(done) == []
    seen: dict[str, Any] = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    return seen


def check_life(seen: dict[str, Any], path: Path, tmp_path: Path) -> None:
    files, states, used = seen["files"], seen["states"], Path(seen["packages"])
    with zipfile.ZipFile(path) as archive:
        contents = set(archive.namelist())
        root = "extensions/user_default/faceblur/"
        installed = {name.removeprefix(root) for name in files["installed"] if name.startswith(root)}
        assert {name for name in installed if "." in name or name == "LICENSE"} == contents
        upgraded = {name.removeprefix(root) for name in files["upgraded"] if name.startswith(root)}
        assert {name for name in upgraded if "." in name} == {*contents, "newer.py"} - {"LICENSE"}
    for name, file in seen["libraries"].items():
        assert used in Path(file).parents, f"{name} is not the extension's: {file}"
    assert "bl_ext.user_default.faceblur.worker.client" in seen["modules"]
    assert seen["analysis"] == "Result"
    found = json.loads((tmp_path / "tracks.json").read_text(encoding="utf-8"))
    assert found["tracks"], "the face in the film was not found"
    assert seen["warnings"] == []
    assert (seen["asked"], seen["written"]) == ([], [])

    assert states["enabled"] != states["installed"], "registering changed nothing that can be seen"
    assert states["installed"] == states["empty"]
    assert states["disabled"] == states["installed"]
    assert states["enabled again"] == states["enabled"]
    assert seen["enabled after the upgrade"]
    assert states["upgraded"] == states["enabled"]
    assert states["removed"] == states["installed"]
    assert seen["modules left"] == []
    assert any(name.endswith("faceblur/kept.txt") for name in files["kept"])
    assert [name for name in files["removed"] if not BLENDERS_FILES.fullmatch(name)] == []


def test_life_in_the_module(machine: Machine, build: Build, film: Path, tmp_path: Path) -> None:
    path = build(HOST, RUNNING)
    seen = live_through(machine, [sys.executable, "-I", str(SCRIPT)], path, film, tmp_path)
    check_life(seen, path, tmp_path)
    assert machine.list_outside() == []


@pytest.fixture(scope="module")
def blender() -> Iterator[str]:
    application = os.environ.get("BLENDER")
    if not application:
        pytest.skip("BLENDER names no application")
    yield application


@pytest.fixture(scope="module")
def blenders_python(blender: str) -> str:
    """The Python inside the application, as 3.13."""
    done = subprocess.run([blender, "-b", "--factory-startup", "--python-expr",
                           "import sys; print('PYTHON', *sys.version_info[:2], sep='.')"],
                          capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    version = re.search(r"PYTHON\.(\d+\.\d+)", done.stdout)
    assert version, done.stdout
    if version[1] not in PYTHONS:
        pytest.skip(f"no package is made for Python {version[1]}")
    return version[1]


def test_life_in_the_application(machine: Machine, blender: str, blenders_python: str, build: Build, film: Path,
                                 tmp_path: Path) -> None:
    path = build(HOST, blenders_python)
    command = [blender, "-b", "--python-exit-code", "1", "--python", str(SCRIPT), "--"]
    seen = live_through(machine, command, path, film, tmp_path)
    assert seen["python"] == blenders_python
    check_life(seen, path, tmp_path)
    assert machine.list_outside() == []


def test_commands_of_the_application(machine: Machine, blender: str, blenders_python: str, build: Build) -> None:
    """Installed by one process, there in the next, removed by a third."""
    done = machine.run([blender, "-b", "--command", "extension", "install-file", "-r", "user_default", "-e",
                        str(build(HOST, blenders_python))])
    assert done.returncode == 0 and find_complaints(done) == [], done.stdout + done.stderr
    asked = ("import bpy, cv2, onnxruntime, av; "
             "assert 'bl_ext.user_default.faceblur' in bpy.context.preferences.addons; "
             "print('FILES', cv2.__file__, onnxruntime.__file__, av.__file__, sep='|')")
    done = machine.run([blender, "-b", "--python-exit-code", "1", "--python-expr", asked])
    assert done.returncode == 0 and find_complaints(done) == [], done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("FILES|"))
    for file in line.split("|")[1:]:
        assert machine.folders["resources"] / "extensions" / ".local" in Path(file).parents
    done = machine.run([blender, "-b", "--command", "extension", "list"])
    assert "faceblur" in done.stdout and find_complaints(done) == [], done.stdout + done.stderr
    done = machine.run([blender, "-b", "--command", "extension", "remove", "user_default.faceblur"])
    assert done.returncode == 0 and find_complaints(done) == [], done.stdout + done.stderr
    resources = machine.folders["resources"]
    left = [path.relative_to(resources).as_posix() for path in resources.rglob("*")]
    assert [name for name in left if not BLENDERS_FILES.fullmatch(name)] == []
    assert machine.list_outside() == []


def test_application_refuses_a_foreign_zip(machine: Machine, blender: str, blenders_python: str, build: Build) -> None:
    """Somebody who takes the wrong zip is told so by Blender."""
    done = machine.run([blender, "-b", "--command", "extension", "install-file", "-r", "user_default", "-e",
                        str(build(FOREIGN, RUNNING))])
    # Its exit code is 0 (5.2.2).
    assert not list(machine.folders["resources"].rglob("faceblur"))
    assert f"This platform ({HOST}) isn't one of ({FOREIGN})" in done.stdout + done.stderr
