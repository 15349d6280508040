# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the zips to open and install, each built once, and a machine, a film and a Blender application."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from tools.film import make_film
from tools.lint import ROOT
from tools.package import ZipTarget
from tools.wheels import PYTHONS

from .machine import Machine

Build = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """(platform, Python) -> its zip, built by the command in a separate process, as a user does."""
    folder = tmp_path_factory.mktemp("dist")

    @functools.cache
    def build_once(platform: str, python: str) -> Path:
        command = [
            sys.executable,
            "-m",
            "tools.package",
            "--platform",
            platform,
            "--python",
            python,
            "--output",
            str(folder),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder / f"faceblur-0.2.0-{ZipTarget.of(platform, python)}.zip"

    return build_once


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "steady.mp4"
    make_film(path, width=640, height=360, frame_rate=Fraction(25), seconds=0.6, scene="steady")
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(scope="session")
def blender() -> str:
    application = os.environ.get("BLENDER")
    if not application:
        pytest.skip("BLENDER does not name an application")
    return application


@pytest.fixture(scope="session")
def blenders_python(blender: str) -> str:
    """The Python version inside the application, such as 3.13."""
    done = subprocess.run(
        [
            blender,
            "-b",
            "--factory-startup",
            "--python-expr",
            "import sys; print('PYTHON', *sys.version_info[:2], sep='.')",
        ],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    version = re.search(r"PYTHON\.(\d+\.\d+)", done.stdout)
    assert version, done.stdout
    if version[1] not in PYTHONS:
        pytest.skip(f"there is no package for Python {version[1]}")
    return version[1]
