# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for several tests of the core."""

from __future__ import annotations

import pytest

from tools import convert, environment


@pytest.fixture(scope="session")
def onnx_environment() -> None:
    """Make the environment with the onnx package if it is missing. Skips the test where there is no network."""
    try:
        environment.ensure_tool(convert.ROOT, "convert")
    except environment.EnvironmentProblem as problem:
        pytest.skip(f"the onnx package cannot be had: {problem}")
