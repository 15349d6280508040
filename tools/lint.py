# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the style and the type checker over the whole checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lint() -> int:
    """0 when neither ruff nor mypy finds anything."""
    failed = 0
    for name, arguments in (("ruff", ["check", "."]), ("mypy", [])):
        print(f"== {name}", flush=True)
        failed |= subprocess.call([sys.executable, "-m", name, *arguments], cwd=ROOT)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(lint())
