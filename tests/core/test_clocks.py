# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that is set back or forward decides nothing: durations come from monotonic clocks."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "blender_faceblur"

ALLOWED = {
    "batch/stages.py": {"time"},
    "blender/masks/changes.py": {"time_ns"},
    "reporting/report.py": {"now"},
    "weights/fetch.py": {"time"},
}
"""Files that read the wall clock: to forget work that nobody resumed for a month, for a serial number that only has to
differ from the last one, to print the date of a report, and to try a failed download again after an hour, or at once
where the clock was set back."""

WALL_CLOCK = {"time": {"time", "time_ns", "localtime", "gmtime"}, "datetime": {"now", "utcnow", "today"}}


def list_wall_clocks(path: Path) -> set[str]:
    """The functions of the wall clock that a file calls."""
    names = set().union(*WALL_CLOCK.values())
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            value = node.func.value
            owner = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
            if owner in ("time", "datetime", "date"):
                found.add(node.func.attr)
        if isinstance(node, ast.ImportFrom) and node.module in WALL_CLOCK:
            found |= {alias.name for alias in node.names} & names
    return found


def test_only_monotonic_clocks_decide() -> None:
    found = {str(path.relative_to(PACKAGE).as_posix()): list_wall_clocks(path) for path in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == ALLOWED
