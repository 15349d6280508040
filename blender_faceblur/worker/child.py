# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that every worker process runs: `python -I -S -B child.py`, a request on stdin, messages on stdout."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import threading
from io import FileIO
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
_NAME = "blender_faceblur"
_CHUNK_BYTES = 1 << 16


def main() -> int:
    # Native libraries print to descriptor 1 as they like; messages get a descriptor of their own.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    # Not sys.stdin: a thread that waits in its buffer aborts Python 3.11 at exit.
    requests = FileIO(0, "rb", closefd=False)
    line = _read_line(requests)
    try:
        paths = json.loads(line)["sys_path"]
        known = set(sys.path)
        sys.path += [p for p in paths if type(p) is str and p not in known]
    except (ValueError, TypeError, KeyError):
        print("The first line on stdin is not a request.", file=sys.stderr)
        return 2
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    return int(_import_work().serve(line, messages))


def _read_line(requests: FileIO) -> str:
    """The first line; nothing may follow it. (FileIO.readline would read byte by byte.)"""
    chunks: list[bytes] = []
    while not chunks or not chunks[-1].endswith(b"\n"):
        chunk = requests.read(_CHUNK_BYTES)
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode("utf-8")


def _import_work() -> Any:
    """The module that does the work, of the package around this file whatever its folder is called.

    It is not looked up in sys.path: an extension's folder lies beside those of other extensions, and another
    package may bear its name.
    """
    spec = importlib.util.spec_from_file_location(
        _NAME, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{_NAME}.worker.work")


def _end_with_parent(requests: FileIO) -> None:
    """Wait for the end of stdin: it comes when the parent closes it, and when the parent dies."""
    while requests.read(4096):
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
