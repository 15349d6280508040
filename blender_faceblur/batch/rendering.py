# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one Blender job in a separate process: with bpy in this Python, or in an installed Blender application."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError
from ..files.paths import PACKAGE_FOLDER

PREFIX = "@faceblur "
END_WITH_PARENT = "end-with-parent"
"""The argument that makes blender/child.py end when its standard input ends."""
SILENCE_S = 900.0
_LOG_LINES = 50

# Without these settings Blender frees the memory of each frame's buffers and faults in new pages: bpy 5.0.1 took 213
# instead of 164 ms per frame at 1080p on two cores.
_GLIBC_VARIABLES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8000000000", "MALLOC_TOP_PAD_": "268435456"}

OnProgress = Callable[[str, int, int], None]
"""(stage, done, total)"""


def check_blender(blender: Path) -> str:
    """The version line of an installed Blender. Raises FaceBlurError unless it is Blender 5."""
    try:
        done = subprocess.run(
            [str(blender), "--version"],
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FaceBlurError(f"{blender} cannot be started: {error}.") from error
    match = re.search(r"^Blender (\d+)\.\d+.*$", done.stdout, re.MULTILINE)
    if match is None:
        raise FaceBlurError(f"{blender} is not a Blender application.")
    if int(match[1]) < 5:
        raise FaceBlurError(f"{match[0].strip()} is too old. Use Blender 5.0 or later.")
    return match[0].strip()


def borrow_no_settings(folder: Path) -> dict[str, str]:
    """Environment variables that make Blender start without the user's settings, with a private `folder` in their
    place.

    With factory settings no extension is enabled. A Blender that shares the user's folder would then remove the
    packages that the extensions of the running Blender are using (seen in 5.2.2). Its temporary files lie in `folder`
    as well, because a Blender that is killed leaves them behind.
    """
    resources, temporary = folder / "blender-settings", folder / "blender-temporary"
    for place in (resources, temporary):
        place.mkdir(exist_ok=True)
    return {
        "BLENDER_USER_RESOURCES": str(resources),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
    }


def run_blender_job(
    job: dict[str, Any], folder: Path, blender: Path | None, on_progress: OnProgress, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Run the job in Blender and return its result message; blender/child.py documents the keys of both.

    `folder` is a private folder for the job file. Raises FaceBlurError when Blender fails, sends nothing for too long
    or ends without a result. An exception, including Ctrl-C, ends the process.
    """
    description = folder / "job.json"
    description.write_text(json.dumps(job), encoding="utf-8")
    if blender is None:
        command = [sys.executable, "-m", f"{PACKAGE_FOLDER.name}.blender.child", str(description), END_WITH_PARENT]
    else:
        child = PACKAGE_FOLDER / "blender" / "child.py"
        command = [
            str(blender),
            "-b",
            "--factory-startup",
            # Projects come from strangers. This is the factory setting, but a build may have another.
            "--disable-autoexec",
            "--python-exit-code",
            "1",
            "--python",
            str(child),
            "--",
            str(description),
            END_WITH_PARENT,
        ]
    variables = {
        **os.environ,
        **borrow_no_settings(folder),
        "PYTHONPATH": str(PACKAGE_FOLDER.parent),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
    }
    if sys.platform == "linux":
        variables.update(_GLIBC_VARIABLES)
    try:
        process = subprocess.Popen(
            command,
            # Nothing is written to it. It ends when this process does, however that happens, and Blender then ends too.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=folder,
        )
    except OSError as error:
        raise FaceBlurError(f"Blender cannot be started: {error}.") from error
    try:
        return _read_messages(process, on_progress, warn)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None and process.stdin is not None
        process.stdout.close()
        process.stdin.close()


def _read_messages(
    process: subprocess.Popen[bytes], on_progress: OnProgress, warn: Callable[[str], None]
) -> dict[str, Any]:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_queue_lines, args=(process, lines), daemon=True).start()
    log: deque[str] = deque(maxlen=_LOG_LINES)
    result: dict[str, Any] | None = None
    problem = ""
    while True:
        try:
            line = lines.get(timeout=SILENCE_S)
        except queue.Empty as error:
            raise FaceBlurError(f"Blender has not responded for {SILENCE_S:.0f} s.") from error
        if line is None:
            break
        message = _parse_message(line)
        if message is None:
            log.append(line)
        elif message["type"] == "progress":
            on_progress(str(message["stage"]), int(message["done"]), int(message["total"]))
        elif message["type"] == "warning":
            warn(str(message["text"]))
        elif message["type"] == "error":
            problem = " ".join(str(message["text"]).split())
        elif message["type"] == "result":
            result = message
    code = process.wait()
    if problem:
        raise FaceBlurError(problem)
    if code != 0 or result is None:
        last = next((line for line in reversed(log) if line.strip()), "no output")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise FaceBlurError(f"Blender ended without a result ({how}). Its last line: {last.strip()[:200]}")
    return result


def _queue_lines(process: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line.decode("utf-8", errors="replace").rstrip("\r\n"))
    except ValueError:
        # The other thread has closed the pipe and needs no more lines.
        return
    lines.put(None)


def _parse_message(line: str) -> dict[str, Any] | None:
    """The message in a line; None for Blender's own output, and for lines that only look like a message."""
    if not line.startswith(PREFIX):
        return None
    try:
        content = json.loads(line[len(PREFIX) :])
    except ValueError:
        return None
    keys = {
        "progress": {"stage", "done", "total"},
        "warning": {"text"},
        "error": {"text"},
        "result": {"frames", "width", "height", "frame_rate"},
    }
    if not isinstance(content, dict) or not keys.get(str(content.get("type")), {"?"}) <= content.keys():
        return None
    return content
