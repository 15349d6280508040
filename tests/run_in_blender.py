# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the Blender tests inside a Blender application: `python tests/run_in_blender.py BLENDER [pytest arguments]`.

Blender's own Python has no pytest; it takes it, and the packages that the tests need, from the environment that runs
this script. They are pure Python or of the stable ABI, and Blender's own NumPy comes first. What the extension needs is
taken from the wheels of its zip for that Python.
"""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def start(blender: str, arguments: list[str]) -> int:
    """Pytest's exit code, or another one that is not 0 when Blender failed."""
    packages = sysconfig.get_paths()["platlib"]
    with tempfile.TemporaryDirectory() as folder:
        unpack_wheels(blender, Path(folder))
        command = [blender, "-b", "--factory-startup", "--python-exit-code", "1", "--python", __file__, "--"]
        paths = os.pathsep.join([folder, packages])
        result = subprocess.run([*command, paths, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    return result.returncode


def unpack_wheels(blender: str, folder: Path) -> None:
    """Unpack the extension's packages for the application's Python into a folder, if that is another Python.

    Where they cannot be fetched, the tests that need them are skipped.
    """
    sys.path.insert(0, str(ROOT))
    from blender_faceblur.core.types import FaceBlurError
    from tests.package.machine import HOST, RUNNING
    from tools.package import CACHE, LOCK
    from tools.wheels import PYTHONS, WheelTarget, fetch_wheels, read_pins

    told = subprocess.run(
        [blender, "-b", "--factory-startup", "--python-expr", "import sys; print('PYTHON', *sys.version_info[:2])"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    ).stdout
    version = re.search(r"PYTHON (\d+) (\d+)", told)
    python = ".".join(version.groups()) if version else ""
    if python == RUNNING or python not in PYTHONS:
        return
    target = WheelTarget(HOST, python)
    try:
        wheels = fetch_wheels(read_pins(LOCK, target), target, CACHE, print)
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            content.extractall(folder)


def run(packages: str, arguments: list[str]) -> int:
    sys.path.insert(0, str(ROOT))
    sys.path += packages.split(os.pathsep)
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
