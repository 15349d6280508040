# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for several tests of the core."""

from __future__ import annotations

import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.weights import convert


@pytest.fixture(scope="session")
def onnx_environment() -> None:
    """Make the environment with the onnx package if it is missing. Skips the test where there is no network."""
    try:
        convert.ensure_onnx()
    except FaceBlurError as problem:
        pytest.skip(f"the onnx package cannot be had: {problem}")
