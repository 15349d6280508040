# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every check that a change must pass: lint, the tests, and Blender's tests inside $BLENDER.

The tests run in as many processes as there are cores. The stories in Blender's window run alone afterwards, since mouse
and keyboard depend on a responsive machine. Arguments go to pytest; with arguments only pytest runs, in one process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from .lint import ROOT, lint

_LINES_SHOWN = 25


def check(arguments: list[str]) -> int:
    """Run every check even after a failure, and list the failures at the end; returns 0 if all passed."""
    if arguments:
        return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT)
    failed = ["lint"] if lint() else []
    with tempfile.TemporaryDirectory() as folder:
        # tests/conftest.py defines the groups.
        spread = ["-n", str(os.cpu_count() or 1), "--dist", "loadgroup", "--ignore", "tests/window"]
        for name, chosen in (("tests", [*spread, "tests"]), ("tests in the window", ["tests/window"])):
            report = Path(folder, "tests.xml")
            print(f"== {name}", flush=True)
            command = [sys.executable, "-m", "pytest", "--junitxml", str(report), *chosen]
            if subprocess.call(command, cwd=ROOT):
                failed.append(name + _report_failures(report))
        blender = os.environ.get("BLENDER")
        if blender:
            report = Path(folder, "application.xml")
            print(f"== tests inside {blender}", flush=True)
            command = [
                sys.executable,
                str(ROOT / "tests" / "run_in_blender.py"),
                blender,
                "--junitxml",
                str(report),
                str(ROOT / "tests" / "blender"),
            ]
            if subprocess.call(command, cwd=ROOT):
                failed.append(f"tests inside {blender}" + _report_failures(report))
    for reported in failed:
        print(f"== FAILED: {reported}", flush=True)
    return 1 if failed else 0


def _report_failures(report: Path) -> str:
    """pytest's report of the tests that failed, each with the end of its traceback."""
    try:
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - our own pytest wrote it
    except (OSError, ET.ParseError) as problem:
        return f", and pytest wrote no report: {problem}"
    reported = ""
    for case in cases:
        for failure in (*case.findall("failure"), *case.findall("error")):
            lines = (failure.text or failure.get("message") or "").rstrip().splitlines()
            reported += f"\n-- {case.get('classname')}::{case.get('name')}\n" + "\n".join(lines[-_LINES_SHOWN:])
    return reported


if __name__ == "__main__":
    sys.exit(check(sys.argv[1:]))
