# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests of the Blender layer begin with."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blender_faceblur.core.review import groups

from . import disks

# An environment for an installed Blender has no bpy, and its tests run inside that Blender.
collect_ignore_glob = [] if importlib.util.find_spec("bpy") else ["test_*.py"]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.write_film(tmp_path_factory.mktemp("film") / "disk.mp4")


@pytest.fixture
def single_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """No groups: every review item is on its own."""
    apart = replace(groups.REVIEW_GROUPS, same_face_s=-1e9, same_place_s=-1e9, items_per_minute=1e9)
    monkeypatch.setattr(groups, "REVIEW_GROUPS", apart)


@pytest.fixture
def extension() -> Iterator[None]:
    """Registered, in an empty file."""
    import bpy

    import blender_faceblur

    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_faceblur.register()
    yield
    blender_faceblur.unregister()
    assert not [h for h in bpy.app.handlers.render_init if h.__module__.startswith("blender_faceblur")]
