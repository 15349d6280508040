# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the style and the type checker over the whole checkout, and a checker of GitHub workflows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lint() -> int:
    """Returns 0 if no checker reports a problem."""
    module = [sys.executable, "-m"]
    # zizmor is a program beside Python, not a module.
    program = str(Path(sys.executable).with_name("zizmor"))
    failed = 0
    for name, command in (
        ("ruff", [*module, "ruff", "check", "."]),
        ("ruff format", [*module, "ruff", "format", "--check", "--quiet", "."]),
        ("mypy", [*module, "mypy"]),
        ("zizmor", [program, "--offline", "--no-progress", "--quiet", ".github"]),
    ):
        print(f"== {name}", flush=True)
        failed |= subprocess.call(command, cwd=ROOT)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(lint())
