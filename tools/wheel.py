# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the Python package as a wheel, for `pip install`, `pipx` and `uv tool install`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from blender_faceblur.core.types import FaceBlurError

from .environment import EnvironmentProblem, build_variables, ensure_tool
from .lint import ROOT

TIMEOUT_S = 300


def build_wheel(output: Path) -> Path:
    """The wheel in the folder `output`, which is created. The same checkout gives the same bytes.

    Raises FaceBlurError if hatchling cannot be installed or refuses the checkout.
    """
    try:
        python = ensure_tool(ROOT, "wheel")
    except EnvironmentProblem as problem:
        raise FaceBlurError(str(problem)) from problem
    done = subprocess.run(
        [str(python), "-m", "hatchling", "build", "--target", "wheel", "--directory", str(output.resolve())],
        cwd=ROOT,
        env=build_variables(ROOT),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    # It prints the name of the file last.
    lines = (done.stdout + done.stderr).split()
    if done.returncode != 0 or not lines:
        raise FaceBlurError(f"The wheel cannot be built: {' '.join(lines) or 'no reason given'}")
    return output.resolve() / Path(lines[-1]).name


def main(arguments: list[str] | None = None) -> int:
    """Build the wheel; returns 0 on success."""
    parser = argparse.ArgumentParser(prog="build.py wheel", description="Build the Python package.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    options = parser.parse_args(arguments)
    try:
        print(build_wheel(options.output))
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
