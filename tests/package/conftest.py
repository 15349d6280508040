# SPDX-License-Identifier: GPL-3.0-or-later
"""The zips that these tests open and install, each built once."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import package
from tools.wheels import Target

Build = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """(platform, Python) -> its zip, built by the command in a process of its own, as a user does."""
    folder = tmp_path_factory.mktemp("dist")

    @functools.cache
    def build_once(platform: str, python: str) -> Path:
        command = [sys.executable, "-m", "tools.package", "--platform", platform, "--python", python,
                   "--output", str(folder)]
        done = subprocess.run(command, cwd=package.ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder / f"faceblur-0.1.0-{Target(platform, python)}.zip"

    return build_once
