# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs, runs, upgrades and removes our zips with Blender's own operators, and records the effects.

Run in a process with the bpy module, or by `blender -b --python`, each with an empty user folder. The last argument
is a JSON file: zip, newer (a second version), film, output (a folder for tracks.json and blurred.mp4), report (the
file that test_install.py reads).
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy  # isort: split

import addon_utils

ADDON = "bl_ext.user_default.faceblur"
LIBRARIES = ("av", "cv2", "flatbuffers", "google.protobuf", "onnxruntime")
"""Modules that only the extension provides; Blender on the system's Python may have its own packaging."""


def watch(*folders: Path) -> tuple[list[str], list[str]]:
    """Two growing lists: addresses that this process looks up, and files that it writes outside `folders`."""
    asked: list[str] = []
    written: list[str] = []
    allowed = (*map(str, folders), tempfile.gettempdir(), os.devnull)

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            asked.append(repr(arguments[-1] if event == "socket.connect" else arguments[0]))
        elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path = os.path.abspath(arguments[0])  # noqa: PTH100 - Path.resolve() would follow links
            if not path.startswith(allowed):
                written.append(path)

    sys.addaudithook(record)
    return asked, written


def list_files(folder: Path) -> list[str]:
    """Everything below a folder, except the caches of Python and Blender."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name != "__pycache__" and path.suffix != ".pyc"
    )


def describe_blender() -> dict[str, Any]:
    """The state of Blender that registering an add-on changes."""
    configurations = [configuration for configuration in bpy.context.window_manager.keyconfigs if configuration]
    structures = {name: getattr(bpy.types, name) for name in sorted(dir(bpy.types))}
    return {
        "types": list(structures),
        "properties": {
            name: len(structure.bl_rna.properties)
            for name, structure in structures.items()
            if hasattr(structure, "bl_rna")
        },
        # A menu keeps its own function in a list once anything was appended, and a requested keymap stays.
        "draws": {
            name: added
            for name, structure in structures.items()
            if (
                added := [
                    f"{function.__module__}.{function.__name__}"
                    for function in getattr(getattr(structure, "draw", None), "_draw_funcs", [])
                    if not function.__module__.startswith("bl_ui.")
                ]
            )
        },
        "handlers": {
            name: [f"{function.__module__}.{function.__name__}" for function in functions]
            for name in dir(bpy.app.handlers)
            if isinstance(functions := getattr(bpy.app.handlers, name), list)
        },
        "keys": {
            f"{configuration.name}/{keymap.name}": sorted(item.idname for item in keymap.keymap_items)
            for configuration in configurations
            for keymap in configuration.keymaps
            if len(keymap.keymap_items)
        },
        "operators": [name for name in dir(bpy.ops.faceblur) if not name.startswith("_")],
    }


def list_warnings() -> list[str]:
    """The policy violations of an extension that Blender's preferences would show."""
    addon_utils._is_first_reset()
    return [line for lines in addon_utils._extensions_warnings_get().values() for line in lines]


def walk_modules() -> Iterator[str]:
    """Import every module of the extension, as if all features had been used."""
    package = sys.modules[ADDON]
    for module in pkgutil.walk_packages(package.__path__, f"{ADDON}."):
        importlib.import_module(module.name)
        yield module.name


def analyse(film: Path, output: Path) -> str:
    """Detect faces in a film in the extension's worker process; returns the text of the last message."""
    client = importlib.import_module(f"{ADDON}.worker.client")
    *_, last = client.run_job(client.build_request(film, output, client.AnalysisOptions("fast")))
    return f"{type(last).__name__} {getattr(last, 'text', '')}".strip()


def run(given: dict[str, str]) -> dict[str, Any]:
    resources = Path(os.environ["BLENDER_USER_RESOURCES"])
    extensions, output = resources / "extensions", Path(given["output"])
    seen: dict[str, Any] = {"files": {}, "states": {}, "python": sysconfig.get_python_version()}
    seen["asked"], seen["written"] = watch(resources, output)

    def note(step: str) -> None:
        seen["files"][step] = list_files(resources)
        seen["states"][step] = describe_blender()

    def install(path: str) -> None:
        assert bpy.ops.extensions.package_install_files(
            filepath=path, repo="user_default", enable_on_install=False
        ) == {"FINISHED"}

    note("empty")
    install(given["zip"])
    note("installed")
    assert bpy.ops.preferences.addon_enable(module=ADDON) == {"FINISHED"}
    note("enabled")
    packages = extensions / ".local" / "lib" / f"python{seen['python']}" / "site-packages"
    if bpy.app.module:
        # The module's environment has the same libraries; the test must see the extension's own.
        sys.path.remove(str(packages))
        sys.path.insert(0, str(packages))
        importlib.invalidate_caches()
    seen["libraries"] = {name: importlib.import_module(name).__file__ for name in LIBRARIES}
    seen["packages"] = str(packages)
    seen["modules"] = list(walk_modules())
    seen["analysis"] = analyse(Path(given["film"]), output / "tracks.json")
    command = importlib.import_module(f"{ADDON}.blender.command")
    seen["command"] = command.run([given["film"], "-o", str(output / "blurred.mp4"), "--preset", "fast", "--quiet"])
    seen["warnings"] = list_warnings()
    note("used")

    assert bpy.ops.preferences.addon_disable(module=ADDON) == {"FINISHED"}
    note("disabled")
    assert bpy.ops.preferences.addon_enable(module=ADDON) == {"FINISHED"}
    note("enabled again")
    install(given["newer"])
    seen["enabled after the upgrade"] = addon_utils.check(ADDON)[1]
    note("upgraded")

    # Data that the extension itself stores is removed with it.
    (Path(bpy.utils.extension_path_user(ADDON, create=True)) / "kept.txt").write_text("x", encoding="utf-8")
    note("kept")
    places = [repository.module for repository in bpy.context.preferences.extensions.repos]
    assert bpy.ops.extensions.package_uninstall(repo_index=places.index("user_default"), pkg_id="faceblur") == {
        "FINISHED"
    }
    note("removed")
    seen["modules left"] = [name for name in sys.modules if name.startswith(ADDON)]
    return seen


if __name__ == "__main__":
    arguments = json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
    Path(arguments["report"]).write_text(json.dumps(run(arguments)), encoding="utf-8")
