# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads pinned wheels with pip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..core.types import FaceBlurError


def download_wheels(
    lock: str, folder: Path, digits: str, platforms: Sequence[str], timeout_s: float, abi: str = ""
) -> None:
    """Download the wheels of `lock` into a folder: lines with a requirement and the SHA-256 of each allowed file.

    They are those for CPython of the version `digits` ("311") on any of these wheel `platforms`. pip adds the stable
    ABI and "none" to `abi`; without one it takes every ABI of that Python. Raises FaceBlurError with pip's reason.
    """
    requirements = folder / "lock.txt"
    requirements.write_text(lock, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--disable-pip-version-check",
        "--require-hashes",
        "--dest",
        str(folder),
        "--python-version",
        digits,
        "--implementation",
        "cp",
        *(("--abi", abi) if abi else ()),
        *(word for name in platforms for word in ("--platform", name)),
        "--requirement",
        str(requirements),
    ]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise FaceBlurError(f"pip did not finish within {timeout_s:.0f} s") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR") or "Expected" in line]
        raise FaceBlurError(" ".join(line.removeprefix("ERROR: ") for line in lines) or "pip gave no reason")
