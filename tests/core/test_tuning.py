# SPDX-License-Identifier: GPL-3.0-or-later
"""Every tuning number of the engine is a field of a frozen dataclass that says what it does and where it comes from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "blender_faceblur"
FOLDERS = ("core", "worker", "detectors", "recognition")

FIXED = {
    # Versions of files and of the protocol, and limits for files and messages.
    "SCHEMA",
    "VERSION",
    "OLDEST",
    "PROTOCOL",
    "LONGEST_LINE",
    "LONGEST_REQUEST",
    "_LONGEST_LIST",
    "_CHUNK_BYTES",
    "_MOST_BYTES",
    "_MOST_FRAMES",
    "_MOST_ENTRIES",
    "_MOST_SIDE",
    "_MOST_SAMPLES",
    "_MOST_EMBEDDINGS",
    "_LONGEST_TEXT",
    "_FAR",
    "_FAR_PX",
    "_LENGTH",
    "_LINE",
    # Constants of the networks.
    "_STRIDE",
    "_STRIDES",
    "_CELL_PX",
    "_SIDES",
    "_VARIANCE",
    "_CORNERS",
    "_MEAN_BGR",
    "_LEAST_SIDE",
    "_SIDE_PX",
    "_MARGIN",
    "UNINFORMATIVE",
    # Geometry, the shape of covers, Blender's kernel, and the number of people in a measurement.
    "HANDLE",
    "CORNERS",
    "_DIRECTIONS",
    "FEATHER_SHARE",
    "KERNEL_RADIUS",
    "MEASURED_PEOPLE",
}
"""Numbers that nobody tunes."""

OTHERS = ("core/detection/settings.py",)
"""Presets, whose fields are documented there."""


@dataclass(frozen=True)
class Stage:
    path: Path
    instance: str
    definition: ast.ClassDef

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The names of fields with their docstrings, which are empty where they are missing."""
        body = self.definition.body
        found = []
        for one, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                assert one.value is not None, f"{self.definition.name}.{one.target.id} has no value"
                text = ""
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    text = " ".join(str(after.value.value).split())
                found.append((one.target.id, text))
        return found


def list_modules() -> list[Path]:
    return [
        path
        for folder in FOLDERS
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        if str(path.relative_to(PACKAGE).as_posix()) not in OTHERS
    ]


def find_stages(path: Path) -> Iterator[Stage]:
    """The settings classes of a module, with one instance each: `NAME = SomeSettings()`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    for node in body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id.endswith("Settings")
            and isinstance(node.targets[0], ast.Name)
        ):
            yield Stage(path, node.targets[0].id, classes[node.value.func.id])


STAGES = [stage for path in list_modules() for stage in find_stages(path)]


def test_the_stages_of_the_engine_have_settings() -> None:
    assert {
        "TrackingSettings",
        "LinkingSettings",
        "ShotSettings",
        "SmoothingSettings",
        "KeyframeSettings",
        "FillingSettings",
        "FusionSettings",
        "DecisionSettings",
    } <= {s.definition.name for s in STAGES}
    assert len({stage.instance for stage in STAGES}) == len({s.definition.name for s in STAGES}) == len(STAGES)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.definition.name)
def test_every_tuning_number_says_what_it_does_and_where_it_comes_from(stage: Stage) -> None:
    decorators = [ast.unparse(one) for one in stage.definition.decorator_list]
    assert decorators == ["dataclass(frozen=True, slots=True)"] and ast.get_docstring(stage.definition)
    assert stage.fields
    for name, text in stage.fields:
        assert re.search(r"\bRaising (it|its|the|their)\b", text), f"{name}: what does raising it do?"
        assert re.search(r"\bOrigin( not recorded|: \w)", text), f"{name}: where does it come from?"


def test_every_tuning_number_is_used() -> None:
    used = {
        node.attr
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert [f"{s.definition.name}.{name}" for s in STAGES for name, _ in s.fields if name not in used] == []


def is_number(node: ast.expr) -> bool:
    """Whether an expression consists only of numbers."""
    leaves = [leaf for leaf in ast.walk(node) if isinstance(leaf, ast.Constant | ast.Name | ast.Call | ast.Attribute)]
    return bool(leaves) and all(isinstance(leaf, ast.Constant) and type(leaf.value) in (int, float) for leaf in leaves)


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_tuning_number_is_a_global(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        names = [name.id for name in ast.walk(target) if isinstance(name, ast.Name)]
        values: list[ast.expr] = [node.value]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            values = node.value.elts
        numbers = [value for value in values if is_number(value)]
        assert not numbers or set(names) <= FIXED, f"line {node.lineno}: {', '.join(names)} belongs into a dataclass"
        assert len(numbers) < 2, f"line {node.lineno}: {', '.join(names)} are packed"
