# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the Blender tests inside a Blender application: `python tests/run_in_blender.py BLENDER [pytest arguments]`.

Blender's own Python has no pytest; it takes it, and the packages that the tests need, from the environment that runs
this script. They are pure Python or of the stable ABI, and Blender's own NumPy comes first.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def start(blender: str, arguments: list[str]) -> int:
    """Pytest's exit code, or another one that is not 0 when Blender failed."""
    command = [blender, "-b", "--factory-startup", "--python-exit-code", "1", "--python", __file__, "--"]
    packages = sysconfig.get_paths()["platlib"]
    result = subprocess.run([*command, packages, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    return result.returncode


def run(packages: str, arguments: list[str]) -> int:
    sys.path.insert(0, str(ROOT))
    sys.path.append(packages)
    os.environ["FACEBLUR_IN_BLENDER"] = "1"
    import pytest

    # Hypothesis has a module that is built for one version of Python only.
    options = ["-q", "-ra", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    code = int(pytest.main([*options, *(arguments or [str(ROOT / "tests" / "blender")])]))
    from blender_faceblur.blender.guard import handlers

    # Tests that render uncovered films make the guard end this Blender with its own code.
    atexit.unregister(handlers.leave_with_error)
    return code


if __name__ == "__main__":
    if "--" in sys.argv:
        given = sys.argv[sys.argv.index("--") + 1 :]
        sys.exit(run(given[0], given[1:]))
    sys.exit(start(sys.argv[1], sys.argv[2:]))
