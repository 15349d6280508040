# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that must hold before a change goes in: lint, the tests, and Blender's tests inside $BLENDER.

Arguments go to pytest; with any of them lint and the application are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .lint import ROOT, lint


def check(arguments: list[str]) -> int:
    """0 when all of it passed; everything runs even when something before it failed."""
    failed = 0
    if not arguments:
        failed |= lint()
    print("== tests", flush=True)
    failed |= subprocess.call([sys.executable, "-m", "pytest", *(arguments or ["tests"])], cwd=ROOT)
    blender = os.environ.get("BLENDER")
    if blender and not arguments:
        print(f"== tests inside {blender}", flush=True)
        failed |= subprocess.call([sys.executable, str(ROOT / "tests" / "run_in_blender.py"), blender], cwd=ROOT)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(check(sys.argv[1:]))
