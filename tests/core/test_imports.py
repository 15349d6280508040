# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go one way, only blender/ knows bpy, and enabling the add-on loads no heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "blender_faceblur"

HEAVY = ("cv2", "onnxruntime", "av", "mediapipe", "bpy")

ALLOWED = {
    "core": {"core"},
    "files": {"files", "core"},
    "detectors": {"detectors", "core", "files"},
    "recognition": {"recognition", "detectors", "core", "files"},
    "sources": {"sources", "core"},
    "delivery": {"delivery", "core"},
    "worker": {"worker", "core", "detectors", "recognition", "sources", "delivery", "files"},
    "reporting": {"reporting", "core", "files", "sources"},
    "batch": {"batch", "core", "delivery", "files", "reporting", "sources", "worker"},
    "blender": {"blender", "worker", "sources", "core", "files", "batch", "reporting"},
}


def list_modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def find_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(absolute dotted name, whether it is imported with the module itself) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
             for node in ast.walk(function)}
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in inner
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[:len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield f"{stem}.{alias.name}", node not in inner


def find_layer(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    layer = find_layer(path)
    for name, at_import in find_imports(path):
        parts = name.split(".")
        if parts[0] == "blender_faceblur" and layer and len(parts) > 1:
            assert parts[1] in ALLOWED[layer], f"{layer} imports {name}"
            if layer == "blender" and parts[1] == "worker":
                assert parts[2] in ("protocol", "client"), f"blender imports {name}"
        if parts[0] == "bpy":
            assert layer == "blender", f"{name} outside of blender/"
        elif parts[0] in HEAVY:
            assert not at_import or _only_for_types(path, parts[0]), f"{name} is loaded with the module"
        if layer == "core" and at_import:
            assert parts[0] in {"blender_faceblur", "numpy", *sys.stdlib_module_names}, f"core imports {name}"


def _only_for_types(path: Path, name: str) -> bool:
    """Whether a module's top-level imports of a library all stand under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return not any(isinstance(node, ast.Import | ast.ImportFrom) and name in ast.unparse(node).split(".")[0].split()
                   for node in tree.body)


def test_the_walk_sees_imports() -> None:
    """The rule above must be able to fail: it sees relative, absolute and late imports."""
    names = dict(find_imports(PACKAGE / "delivery" / "remux.py"))
    assert names["blender_faceblur.core.types.FaceBlurError"] is True
    assert names["av"] is False


def test_nothing_heavy_is_loaded() -> None:
    code = ("import sys\nimport blender_faceblur.core.types, blender_faceblur.core.document.tracks_file, "
            "blender_faceblur.files.paths\n"
            "import blender_faceblur.worker.client, blender_faceblur.sources, blender_faceblur.detectors\n"
            "import blender_faceblur.batch.cli\n"
            f"print([name for name in {HEAVY!r} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
