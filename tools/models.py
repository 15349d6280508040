# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches weights into the checkout, and remembers them for build.py.

Run as `python -m tools.models [NAME...]` in the environment that build.py creates.
"""

from __future__ import annotations

import sys
from pathlib import Path

from blender_faceblur.files import paths
from blender_faceblur.weights import fetch

from . import fetched

ROOT = Path(__file__).resolve().parent.parent

PROGRAM = "build.py models"


def main(arguments: list[str]) -> int:
    """Fetch the named weights, or all; see `fetch.main`."""
    code = fetch.main(arguments, PROGRAM)
    files = [fetch.find_file(paths.list_models()[name]) for name in fetch.parse_arguments(arguments, PROGRAM).wanted]
    if code == 0 and all(files):
        fetched.remember_fetched(ROOT, arguments, [file for file in files if file])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
