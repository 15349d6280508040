# SPDX-License-Identifier: GPL-3.0-or-later
"""The workspace "Face Blur". How it looks, the story "workspace" sees in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.workspace import layout


@pytest.fixture
def window() -> Iterator[Any]:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    registration.register()
    yield bpy.context.window_manager.windows[0]
    registration.unregister()


def test_without_a_window_there_is_no_workspace_to_open(window: Any) -> None:
    names = {workspace.name for workspace in bpy.data.workspaces}
    assert not bpy.ops.faceblur.open_workspace.poll()
    with pytest.raises(RuntimeError, match="There is no window"):
        bpy.ops.faceblur.open_workspace()
    assert {workspace.name for workspace in bpy.data.workspaces} == names


def test_the_workspace_is_found_under_any_name_and_shows_the_same_scene(window: Any) -> None:
    scene = bpy.context.scene.copy()
    window.workspace.sequencer_scene = scene
    assert layout.find_workspace() is None
    made = layout.create_workspace(window)
    assert made.name == layout.NAME and made.sequencer_scene == scene
    made.name = "Mine"
    assert layout.find_workspace() == made
    bpy.data.workspaces["Video Editing"].name = layout.NAME
    assert layout.find_workspace() == made
