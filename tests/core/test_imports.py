# SPDX-License-Identifier: GPL-3.0-or-later
"""Each room imports only the rooms it may, only blender/ knows bpy, and enabling the add-on loads no heavy library."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "blender_faceblur"

HEAVY = ("cv2", "onnxruntime", "av", "mediapipe", "bpy")

ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "core/detection": {"core"},
    "core/document": {"core", "core/detection"},
    "core/tracking": {"core", "core/detection", "core/document"},
    "core/people": {"core", "core/document", "core/tracking"},
    "core/review": {"core", "core/document", "core/tracking"},
    "core/verification": {"core"},
    "core/cover": {"core", "core/tracking"},
    "exchange": {"core", "core/document", "core/cover"},
    "files": {"core", "core/document"},
    "sources": {"core"},
    "detectors": {"core", "core/detection", "files"},
    "recognition": {"core", "detectors"},
    "weights": {"core", "core/detection", "files"},
    "delivery": {"core", "sources"},
    "painting": {"core", "core/cover", "sources", "delivery"},
    "worker": {
        "core",
        "core/detection",
        "core/document",
        "core/tracking",
        "core/people",
        "core/review",
        "core/verification",
        "core/cover",
        "files",
        "sources",
        "detectors",
        "recognition",
        "delivery",
        "painting",
    },
    "reporting": {"core", "core/document", "core/review", "core/verification", "core/cover", "files", "sources"},
    "batch": {
        "core/review",
        "painting",
        "core/cover",
        "core",
        "core/detection",
        "core/document",
        "core/tracking",
        "core/people",
        "core/verification",
        "exchange",
        "files",
        "sources",
        "delivery",
        "worker",
        "reporting",
    },
    "command": {
        "core",
        "core/detection",
        "core/people",
        "core/tracking",
        "files",
        "detectors",
        "weights",
        "reporting",
        "batch",
    },
    "blender/translations": {"core"},
    "blender/common": {"core", "files", "worker", "reporting"},
    "blender/preferences": {"core", "core/detection", "core/people", "files", "worker", "blender/common"},
    "blender/masks": {"core", "core/document", "core/review", "core/cover", "painting", "blender/common"},
    "blender/cover": {"core", "core/cover", "painting", "blender/common", "blender/masks"},
    "blender/rendering": {"core", "core/cover", "blender/common", "blender/cover"},
    "blender/review": {
        "core",
        "core/document",
        "core/review",
        "reporting",
        "blender/common",
        "blender/preferences",
        "blender/masks",
        "blender/cover",
    },
    "blender/thumbnails": {
        "core",
        "core/document",
        "core/review",
        "worker",
        "blender/common",
        "blender/masks",
        "blender/cover",
        "blender/review",
    },
    "blender/people": {
        "core",
        "core/document",
        "core/people",
        "core/review",
        "files",
        "worker",
        "batch",
        "blender/common",
        "blender/preferences",
        "blender/masks",
        "blender/cover",
        "blender/review",
        "blender/thumbnails",
    },
    "blender/detection": {
        "core/review",
        "core",
        "core/detection",
        "core/document",
        "core/tracking",
        "core/cover",
        "files",
        "worker",
        "reporting",
        "blender/common",
        "blender/preferences",
        "blender/cover",
        "blender/thumbnails",
    },
    "blender/guard": {
        "core",
        "core/document",
        "core/review",
        "core/verification",
        "core/cover",
        "files",
        "sources",
        "worker",
        "reporting",
        "blender/common",
        "blender/preferences",
        "blender/masks",
        "blender/cover",
        "blender/review",
    },
    "blender/overlay": {
        "core",
        "core/review",
        "core/cover",
        "reporting",
        "blender/common",
        "blender/preferences",
        "blender/masks",
        "blender/cover",
        "blender/review",
        "blender/people",
    },
    "blender/correction": {
        "core",
        "core/document",
        "core/review",
        "files",
        "worker",
        "reporting",
        "blender/common",
        "blender/masks",
        "blender/cover",
        "blender/rendering",
        "blender/thumbnails",
        "blender/review",
        "blender/overlay",
    },
    "blender/bake": {
        "core",
        "core/cover",
        "files",
        "sources",
        "painting",
        "worker",
        "batch",
        "blender/common",
        "blender/masks",
        "blender/cover",
        "blender/guard",
    },
    "blender/export": {
        "core",
        "exchange",
        "files",
        "delivery",
        "batch",
        "blender/common",
        "blender/masks",
        "blender/cover",
        "blender/rendering",
        "blender/guard",
        "blender/correction",
        "blender/bake",
    },
    "blender/workspace": {"blender/common"},
    "blender": {
        "core/review",
        "core",
        "core/detection",
        "core/document",
        "core/tracking",
        "core/cover",
        "files",
        "reporting",
        "batch",
        "blender/translations",
        "blender/common",
        "blender/preferences",
        "blender/masks",
        "blender/cover",
        "blender/rendering",
        "blender/review",
        "blender/thumbnails",
        "blender/people",
        "blender/detection",
        "blender/guard",
        "blender/overlay",
        "blender/correction",
        "blender/bake",
        "blender/export",
        "blender/workspace",
    },
    "": {"blender"},
}
"""Room -> the other rooms that it imports, from the ground up.

A room is a folder of the package. In `core` and `blender` each folder inside is a room too, and `core`, `blender`
and ""
stand for the files that lie directly there.
"""


def list_modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def list_rooms() -> set[str]:
    return {find_room(path) for path in list_modules()}


def list_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """All imports of a file: (absolute dotted name, whether the import runs with the module itself)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in inner
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield f"{stem}.{alias.name}", node not in inner


def find_room(path: Path) -> str:
    """The room of a file or folder of the package."""
    parts = path.relative_to(PACKAGE).parts
    depth = 2 if parts[0] in ("core", "blender") else 1
    return "/".join(part for index, part in enumerate(parts[:depth]) if PACKAGE.joinpath(*parts[: index + 1]).is_dir())


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_room_imports_only_the_rooms_it_may(path: Path) -> None:
    room = find_room(path)
    layer = room.split("/")[0]
    for name, at_import in list_imports(path):
        parts = name.split(".")
        if parts[0] == PACKAGE.name and len(parts) > 1:
            other = find_room(PACKAGE.joinpath(*parts[1:]))
            assert other in {room, *ALLOWED[room]}, f"{room} imports {name}"
            if layer == "blender" and other == "worker":
                assert parts[2] in ("protocol", "client"), f"blender imports {name}"
        if parts[0] == "bpy":
            assert layer == "blender", f"{name} outside of blender/"
        elif parts[0] in HEAVY:
            assert not at_import or _only_for_types(path, parts[0]), f"{name} is loaded with the module"
        if layer == "core" and at_import:
            assert parts[0] in {"blender_faceblur", "numpy", *sys.stdlib_module_names}, f"core imports {name}"


def _only_for_types(path: Path, name: str) -> bool:
    """Whether all top-level imports of a library in a module stand under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return not any(
        isinstance(node, ast.Import | ast.ImportFrom) and name in ast.unparse(node).split(".")[0].split()
        for node in tree.body
    )


def test_every_room_is_in_the_table_below_the_rooms_it_imports() -> None:
    assert set(ALLOWED) == list_rooms()
    rooms = list(ALLOWED)
    for index, room in enumerate(rooms):
        assert ALLOWED[room] <= set(rooms[:index]), f"{room} imports a room above it"


@pytest.mark.parametrize("room", ALLOWED)
def test_no_room_may_import_a_room_that_it_does_not_use(room: str) -> None:
    used = {
        find_room(PACKAGE.joinpath(*name.split(".")[1:]))
        for path in list_modules()
        if find_room(path) == room
        for name, _ in list_imports(path)
        if name.startswith(f"{PACKAGE.name}.")
    }
    assert ALLOWED[room] == used - {room}


def test_contributing_has_the_same_table() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    listed = {room: {name for name in others.replace(",", " ").split() if name != "-"} for room, others in rows}
    assert listed == {room: others for room, others in ALLOWED.items() if room}


def test_all_forms_of_import_are_seen() -> None:
    """The tests above can only fail if relative, absolute and late imports are seen with their targets."""
    names = dict(list_imports(PACKAGE / "delivery" / "remux.py"))
    assert names["blender_faceblur.core.types.FaceBlurError"] is True
    assert names["av"] is False
    assert find_room(PACKAGE / "core" / "types" / "FaceBlurError") == "core"
    assert find_room(PACKAGE / "core" / "document" / "editing" / "blend") == "core/document"
    assert find_room(PACKAGE / "blender" / "cover") == "blender/cover"
    assert find_room(PACKAGE / "worker" / "client" / "run_job") == "worker"


def test_enabling_the_extension_loads_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "import blender_faceblur.core.types, blender_faceblur.core.document.tracks_file\n"
        "import blender_faceblur.files.paths\n"
        "import blender_faceblur.worker.client, blender_faceblur.sources, blender_faceblur.detectors\n"
        "import blender_faceblur.batch.cli\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
