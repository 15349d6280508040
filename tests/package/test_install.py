# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine's zip, installed by Blender itself, used, upgraded and removed, without warnings or leftovers."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

from .conftest import Build
from .machine import FOREIGN, HOST, RUNNING, Machine, list_complaints

SCRIPT = Path(__file__).with_name("installing.py")

BLENDERS_FILES = re.compile(
    r"config(/userpref\.blend)?|extensions(/\.cache(/compat\.dat)?|/\.local(/lib(/python[0-9.]+(/site-packages)?)?)?"
    r"|/\.user(/user_default)?|/user_default(/\.blender_ext(/cache)?)?)?"
)
"""Folders that Blender creates in an empty user folder for any extension with wheels, and keeps."""


def make_newer(path: Path, folder: Path) -> Path:
    """The same package as version 0.2.1, with one file added and one removed."""
    newer = folder / "newer.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(newer, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "blender_manifest.toml":
                content = content.replace(b'"0.2.0"', b'"0.2.1"').replace(b'  "LICENSE",\n', b"")
            if entry.filename != "LICENSE":
                new.writestr(entry, content)
        new.writestr("newer.py", "# In version 0.2.1 only.\n")
    return newer


def run_installation(machine: Machine, command: list[str], path: Path, film: Path, tmp_path: Path) -> dict[str, Any]:
    given = {
        "zip": str(path),
        "newer": str(make_newer(path, tmp_path)),
        "film": str(film),
        "output": str(tmp_path / "output"),
        "report": str(tmp_path / "report.json"),
    }
    (tmp_path / "output").mkdir()
    (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
    done = machine.run([*command, str(tmp_path / "given.json")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_complaints(done) == []
    seen: dict[str, Any] = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    return seen


def list_changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The differences between two descriptions of Blender, one line each."""
    changes = []
    for kind, old in before.items():
        new = after[kind]
        if isinstance(old, dict):
            changes += [
                f"{kind} {name}: {old.get(name)} -> {new.get(name)}"
                for name in sorted({*old, *new})
                if old.get(name) != new.get(name)
            ]
        elif old != new:
            changes.append(f"{kind}: less {sorted(set(old) - set(new))}, more {sorted(set(new) - set(old))}")
    return changes


def check_installation(seen: dict[str, Any], path: Path, tmp_path: Path) -> None:
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
    found = json.loads((tmp_path / "output" / "tracks.json").read_text(encoding="utf-8"))
    assert found["tracks"], "the face in the film is detected"
    assert seen["command"] == 0 and (tmp_path / "output" / "blurred.mp4").is_file()
    assert seen["warnings"] == []
    assert (seen["asked"], seen["written"]) == ([], [])

    registered = list_changes(states["installed"], states["enabled"])
    assert any(change.startswith("handlers") for change in registered), registered
    assert list_changes(states["empty"], states["installed"]) == []
    assert list_changes(states["installed"], states["disabled"]) == []
    assert list_changes(states["enabled"], states["enabled again"]) == []
    assert seen["enabled after the upgrade"]
    assert list_changes(states["enabled"], states["upgraded"]) == []
    assert list_changes(states["installed"], states["removed"]) == []
    assert seen["modules left"] == []
    assert any(name.endswith("faceblur/kept.txt") for name in files["kept"])
    assert [name for name in files["removed"] if not BLENDERS_FILES.fullmatch(name)] == []


def test_install_use_upgrade_and_removal_in_the_module(
    machine: Machine, build: Build, film: Path, tmp_path: Path
) -> None:
    path = build(HOST, RUNNING)
    seen = run_installation(machine, [sys.executable, "-I", str(SCRIPT)], path, film, tmp_path)
    check_installation(seen, path, tmp_path)
    assert machine.list_outside() == []


def test_install_use_upgrade_and_removal_in_the_application(
    machine: Machine, blender: str, blenders_python: str, build: Build, film: Path, tmp_path: Path
) -> None:
    path = build(HOST, blenders_python)
    command = [blender, "-b", "--python-exit-code", "1", "--python", str(SCRIPT), "--"]
    seen = run_installation(machine, command, path, film, tmp_path)
    assert seen["python"] == blenders_python
    check_installation(seen, path, tmp_path)
    assert machine.list_outside() == []


def test_commands_of_the_application(machine: Machine, blender: str, blenders_python: str, build: Build) -> None:
    """One process installs the extension, the next one uses it, a third removes it."""
    done = machine.run(
        [
            blender,
            "-b",
            "--command",
            "extension",
            "install-file",
            "-r",
            "user_default",
            "-e",
            str(build(HOST, blenders_python)),
        ]
    )
    assert done.returncode == 0 and list_complaints(done) == [], done.stdout + done.stderr
    asked = (
        "import bpy, cv2, onnxruntime, av; "
        "assert 'bl_ext.user_default.faceblur' in bpy.context.preferences.addons; "
        "print('FILES', cv2.__file__, onnxruntime.__file__, av.__file__, sep='|')"
    )
    done = machine.run([blender, "-b", "--python-exit-code", "1", "--python-expr", asked])
    assert done.returncode == 0 and list_complaints(done) == [], done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("FILES|"))
    for file in line.split("|")[1:]:
        assert machine.folders["resources"] / "extensions" / ".local" in Path(file).parents
    done = machine.run([blender, "-b", "--command", "extension", "list"])
    assert "faceblur" in done.stdout and list_complaints(done) == [], done.stdout + done.stderr
    done = machine.run([blender, "-b", "--command", "extension", "remove", "user_default.faceblur"])
    assert done.returncode == 0 and list_complaints(done) == [], done.stdout + done.stderr
    resources = machine.folders["resources"]
    left = [path.relative_to(resources).as_posix() for path in resources.rglob("*")]
    assert [name for name in left if not BLENDERS_FILES.fullmatch(name)] == []
    assert machine.list_outside() == []


def test_application_refuses_a_foreign_zip(machine: Machine, blender: str, blenders_python: str, build: Build) -> None:
    """Blender reports an error to a user who installs a zip for another platform."""
    done = machine.run(
        [
            blender,
            "-b",
            "--command",
            "extension",
            "install-file",
            "-r",
            "user_default",
            "-e",
            str(build(FOREIGN, RUNNING)),
        ]
    )
    # Its exit code is 0 (5.2.2).
    assert not list(machine.folders["resources"].rglob("faceblur"))
    assert f"This platform ({HOST}) isn't one of ({FOREIGN})" in done.stdout + done.stderr
