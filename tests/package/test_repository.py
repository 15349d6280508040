# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of zips is a repository: Blender installs the fitting one from a web server, and updates it."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blender_faceblur.core.types import FaceBlurError
from tools import package

from .conftest import Build
from .machine import FOREIGN, HOST, RUNNING, Machine


def make_older(path: Path, folder: Path) -> Path:
    """The same package as version 0.1.0."""
    older = folder / path.name.replace("0.2.0", "0.1.0")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(older, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "blender_manifest.toml":
                content = content.replace(b'version = "0.2.0"', b'version = "0.1.0"')
            new.writestr(entry, content)
    return older


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its address on this machine."""
    folder = tmp_path / "repository"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/index.json"
        server.shutdown()
        thread.join()


def test_the_index_names_platforms_blenders_and_pythons(build: Build, tmp_path: Path) -> None:
    zips = [build("linux-x64", "3.11"), build("linux-x64", "3.14"), build("macos-arm64", RUNNING)]
    for path in zips:
        shutil.copy(path, tmp_path)
    index = package.build_repository(tmp_path)
    listed = {Path(entry["archive_url"]).name: entry for entry in json.loads(index.read_text(encoding="utf-8"))["data"]}
    assert set(listed) == {path.name for path in zips}
    later = listed["faceblur-0.2.0-linux-x64-blender5.1.zip"]
    assert (later["platforms"], later["blender_version_min"]) == (["linux-x64"], "5.1.0")
    assert {"3.13", "3.14"} <= set(later["python_versions"])
    first = listed["faceblur-0.2.0-linux-x64-blender5.0.zip"]
    assert (first["blender_version_min"], first["blender_version_max"]) == ("5.0.0", "5.1.0")
    assert first["archive_hash"].startswith("sha256:") and (tmp_path / "index.html").is_file()


def test_a_damaged_zip_is_not_put_into_a_repository(build: Build, tmp_path: Path) -> None:
    path = Path(shutil.copy(build("macos-arm64", RUNNING), tmp_path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.txt", "x")
    with pytest.raises(FaceBlurError, match=r"more\.txt must not be in the zip"):
        package.build_repository(tmp_path)


def test_blender_installs_from_the_repository_and_updates(
    machine: Machine, blender: str, blenders_python: str, build: Build, served: tuple[Path, str]
) -> None:
    folder, address = served
    machine.variables["no_proxy"] = machine.variables["NO_PROXY"] = "127.0.0.1"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = machine.run([blender, "-b", "--online-mode", "--command", "extension", *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def ask(expression: str) -> str:
        """The value of an expression inside Blender, after its preferences and extensions were loaded."""
        done = machine.run([blender, "-b", "--python-exit-code", "1", "--python-expr", f"print('SAYS', {expression})"])
        assert done.returncode == 0, done.stdout + done.stderr
        return next(line.removeprefix("SAYS ") for line in done.stdout.splitlines() if line.startswith("SAYS "))

    name = "bl_ext.faceblur_org.faceblur"
    preferences = f"__import__('bpy').context.preferences.addons['{name}'].preferences"
    version = f"__import__('addon_utils').module_bl_info(__import__('sys').modules['{name}'])['version']"
    zips = [build(HOST, blenders_python), build(HOST, "3.11"), build(FOREIGN, blenders_python)]
    for path in zips:
        make_older(path, folder)
    package.build_repository(folder)
    run("repo-add", "--name", "Face Blur", "--url", address, "faceblur_org")
    run("sync")
    run("install", "--enable", "faceblur")
    installed = machine.folders["resources"] / "extensions" / "faceblur_org" / "faceblur"
    assert 'version = "0.1.0"' in (installed / "blender_manifest.toml").read_text(encoding="utf-8")
    assert ask(version) == "(0, 1, 0)"
    # A setting, and a file that the extension stores for the user.
    change = f"setattr({preferences}, 'expansion', 2.0), __import__('bpy').ops.wm.save_userpref()"
    ask(change)
    stored = machine.folders["resources"] / "extensions" / ".user" / "faceblur_org" / "faceblur" / "kept.txt"
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_text("x", encoding="utf-8")

    for path in folder.glob("*.zip"):
        path.unlink()
    for path in zips:
        shutil.copy(path, folder)
    package.build_repository(folder)
    run("sync")
    run("update")
    assert 'version = "0.2.0"' in (installed / "blender_manifest.toml").read_text(encoding="utf-8")
    assert (ask(version), ask(f"{preferences}.expansion")) == ("(0, 2, 0)", "2.0")
    assert stored.read_text(encoding="utf-8") == "x"


def test_no_zip_for_another_blender_or_platform_can_be_installed(
    machine: Machine, blender: str, blenders_python: str, build: Build
) -> None:
    def is_told_why(path: Path) -> bool:
        # Blender reports success even then (5.2.2).
        done = machine.run([blender, "-b", "--command", "extension", "install-file", "-r", "user_default", str(path)])
        return "ERROR faceblur: This " in done.stdout + done.stderr

    for path in (build(HOST, "3.11"), build(FOREIGN, blenders_python)):
        # Blender loses all messages of an installer that ends between two looks at its output (`bl_extension_utils.py`
        # of 5.2.2 asks whether it has ended after it read, and does not read again).
        assert any(is_told_why(path) for _ in range(3))
        assert not list(machine.folders["resources"].glob("extensions/user_default/faceblur"))


def test_a_python_without_the_packages_is_named_when_the_extension_is_enabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    import blender_faceblur

    monkeypatch.setattr(blender_faceblur, "__name__", "bl_ext.user_default.faceblur")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(ImportError, match=rf"no packages for Python {RUNNING} \(onnxruntime\)"):
        blender_faceblur.register()
