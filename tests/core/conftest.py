# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests of the core need."""

from __future__ import annotations

import pytest

from tools import convert, environment


@pytest.fixture(scope="session")
def onnx_environment() -> None:
    """The environment that has the onnx package: made where it is missing, and without a network the test is left."""
    try:
        environment.ensure_tool(convert.ROOT, "convert")
    except environment.EnvironmentProblem as problem:
        pytest.skip(f"the onnx package cannot be had: {problem}")
