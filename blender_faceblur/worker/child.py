# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that every worker process runs: `python -I child.py`, a request on stdin, messages on stdout."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from io import FileIO
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def main() -> int:
    # Native libraries print to descriptor 1 as they like; messages get a descriptor of their own.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    # Not sys.stdin: a thread that waits in its buffer aborts Python 3.11 at exit.
    requests = FileIO(0, "rb", closefd=False)
    line = requests.readline().decode("utf-8")
    try:
        paths = json.loads(line)["sys_path"]
        known = set(sys.path)
        sys.path += [p for p in paths if type(p) is str and p not in known]
    except (ValueError, TypeError, KeyError):
        print("The first line on stdin is not a request.", file=sys.stderr)
        return 2
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    sys.path.append(str(PACKAGE.parent))
    work = importlib.import_module(f"{PACKAGE.name}.worker.work")
    return int(work.serve(line, messages))


def _end_with_parent(requests: FileIO) -> None:
    """Wait for the end of stdin: it comes when the parent closes it, and when the parent dies."""
    while requests.read(4096):
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
