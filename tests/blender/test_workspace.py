# SPDX-License-Identifier: GPL-3.0-or-later
"""The workspace "Face Blur". How it looks, the story "workspace" sees in a real window."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.workspace import layout, operators


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


def test_only_a_new_project_that_was_chosen_in_the_menu_opens_the_workspace(window: Any) -> None:
    assert not operators.is_new_project_chosen("Video_Editing")
    operators._NEW.chosen_s = time.monotonic()
    assert operators.is_new_project_chosen("Video_Editing") and not operators.is_new_project_chosen("Video_Editing")
    operators._NEW.chosen_s = time.monotonic()
    assert not operators.is_new_project_chosen("VFX"), "another entry of the menu was chosen after a Cancel"
    operators._NEW.chosen_s = time.monotonic() - 1000.0
    assert not operators.is_new_project_chosen("Video_Editing"), "long after a Cancel"


def test_the_menu_of_new_files_has_an_entry_while_the_extension_is_enabled(window: Any) -> None:
    drawn = operators._draw_entry
    assert drawn in bpy.types.TOPBAR_MT_file_new.draw._draw_funcs
    registration.unregister()
    assert drawn not in bpy.types.TOPBAR_MT_file_new.draw._draw_funcs
    registration.register()
