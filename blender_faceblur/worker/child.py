# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of every worker process (`python -I -S -B child.py [lasting]`): requests on stdin, messages on stdout."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
_NAME = "blender_faceblur"
_CHUNK_BYTES = 1 << 16
LASTING = "lasting"
"""The argument with which the process stays for more requests."""


def main() -> int:
    # Native libraries may print to descriptor 1, so messages get a descriptor of their own.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    # Not sys.stdin: a thread that waits in its buffer aborts Python 3.11 at exit.
    requests = _read_lines(FileIO(0, "rb", closefd=False))
    line = next(requests, "")
    try:
        paths = json.loads(line)["sys_path"]
        known = set(sys.path)
        sys.path += [p for p in paths if type(p) is str and p not in known]
    except (ValueError, TypeError, KeyError):
        print("The first line on stdin is not a valid request.", file=sys.stderr)
        return 2
    more: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_pass_requests, args=(requests, more), daemon=True).start()
    return int(_import_work().serve(itertools.chain([line], iter(more.get, None)), messages, sys.argv[1:] == [LASTING]))


def _read_lines(requests: FileIO) -> Iterator[str]:
    """The lines up to the end. FileIO.readline would read byte by byte."""
    chunks: list[bytes] = []
    while chunk := requests.read(_CHUNK_BYTES):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join([*chunks, end, b"\n"]).decode("utf-8")
            chunks = []
        chunks.append(rest)
    if any(chunks):
        yield b"".join(chunks).decode("utf-8")


def _import_work() -> Any:
    """Import `worker.work` from the package that contains this file, whatever its folder is called.

    The module is not looked up in sys.path: an extension's folder lies beside those of other extensions, and another
    package may have the same name.
    """
    spec = importlib.util.spec_from_file_location(
        _NAME, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{_NAME}.worker.work")


def _pass_requests(requests: Iterator[str], more: queue.SimpleQueue[str]) -> None:
    """Put further requests into `more` until stdin ends, which happens when the parent closes it or dies, and exit."""
    for line in requests:
        more.put(line)
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
