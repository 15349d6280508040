# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation's website from docs/, with MkDocs, and fails at links that lead nowhere."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from . import environment
from .guide import restore_bars

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "tools" / "site.yml"


def main() -> int:
    """Write the website to a folder; returns 0, or 1 if a page or a heading that is linked does not exist."""
    parser = argparse.ArgumentParser(prog="build.py docs", description="Build the documentation's website.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist" / "docs", help="default: dist/docs")
    folder: Path = parser.parse_args().output.resolve()
    try:
        code = build_site(folder)
    except environment.EnvironmentProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    if code == 0:
        print(folder / "index.html")
    return code


def build_site(folder: Path) -> int:
    """Write the website to `folder`; returns MkDocs' exit code. Raises EnvironmentProblem if it cannot be installed."""
    python = environment.ensure_tool(ROOT, "docs")
    command = [str(python), "-P", "-m", "mkdocs", "build", "--strict", "--config-file", str(CONFIGURATION)]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        # MkDocs' theme advertises its successor unless it is told not to.
        env={**environment.build_variables(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        # With --quiet, MkDocs would not count the warnings that --strict turns into failures.
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    for page in folder.glob("*.html"):
        page.write_text(restore_bars(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
