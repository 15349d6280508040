# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators that open the workspace "Face Blur", in this project or in a new one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent

from ..common.selection import refuse
from .layout import (
    close_areas,
    create_workspace,
    find_workspace,
    open_tab,
    set_up_areas,
    show_all,
    split_area,
)

_TICK_S = 0.05

_MOST_TICKS = 100
"""How often the timer waits for Blender to show the workspace, or to draw its sidebar."""


class FACEBLUR_OT_open_workspace(bpy.types.Operator):
    """Open a workspace with a large preview, a low timeline and this tab; it is added to the project the first time"""

    bl_idname = "faceblur.open_workspace"
    bl_label = "Open Workspace"
    # Not UNDO, because undo leaves workspaces alone.
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if bpy.app.background or context.window is None:
            return refuse(cls, "There is no window")
        if context.screen is not None and context.screen.show_fullscreen:
            return refuse(cls, "Restore the maximised area first (Ctrl Space)")
        return context.window.workspace != find_workspace() or refuse(cls, "This is the workspace")

    def execute(self, context: bpy.types.Context) -> set[str]:
        window, workspace = context.window, find_workspace()
        if workspace is not None:
            window.workspace = workspace
            return {"FINISHED"}
        workspace = create_workspace(window)
        bpy.app.timers.register(_make_timer(window.as_pointer(), workspace.name), first_interval=_TICK_S)
        return {"FINISHED"}


def _make_timer(window_pointer: int, name: str) -> Callable[[], float | None]:
    """A timer that arranges the workspace `name` once Blender shows it in the window.

    It keeps no reference to Blender's data, which may be gone when the timer runs.
    """
    steps: list[Callable[[bpy.types.Window], object]] = [close_areas, split_area, set_up_areas, open_tab, show_all]
    ticks = 0

    def step() -> float | None:
        nonlocal ticks
        ticks += 1
        windows = bpy.context.window_manager.windows
        window = next((one for one in windows if one.as_pointer() == window_pointer), None)
        if window is None or ticks > _MOST_TICKS:
            return None
        # One step a tick, because Blender crashes if regions are set up that it has not initialised yet.
        if window.workspace.name == name and steps[0](window) is not False:
            steps.pop(0)
        return _TICK_S if steps else None

    return step


_TEMPLATE = "Video_Editing"

_LONGEST_CHOICE_S = 120.0
"""How long after the choice in the menu a new project opens the workspace. Blender first asks whether to save, and
nobody learns of a Cancel; raising it makes a later new project more likely to open the workspace unasked."""


@dataclass(slots=True)
class _NewProject:
    chosen_s: float | None = None
    """When an editor chose the menu's entry, by the monotonic clock; None if nothing was chosen since the last load."""


_NEW = _NewProject()


class FACEBLUR_OT_new_project(bpy.types.Operator):
    """Begin a new project for video editing in the workspace Face Blur"""

    bl_idname = "faceblur.new_project"
    bl_label = "Begin Project"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not bpy.app.background or refuse(cls, "There is no window")

    def execute(self, context: bpy.types.Context) -> set[str]:
        # An operator that runs keeps data of the project that it would close.
        bpy.app.timers.register(_open_template, first_interval=0.0)
        return {"FINISHED"}


def _open_template() -> None:
    """Open the template as its entry in the menu does, which asks before unsaved changes are lost."""
    windows = bpy.context.window_manager.windows
    if not windows:
        return
    _NEW.chosen_s = time.monotonic()
    with bpy.context.temp_override(window=windows[0]):
        bpy.ops.wm.read_homefile("INVOKE_DEFAULT", app_template=_TEMPLATE)


def is_new_project_chosen(template: str) -> bool:
    """Whether the project that was just opened, from an application template, is to show the workspace. Once only."""
    chosen_s, _NEW.chosen_s = _NEW.chosen_s, None
    return chosen_s is not None and time.monotonic() - chosen_s < _LONGEST_CHOICE_S and template == _TEMPLATE


@persistent
def _open_later(*_: object) -> None:
    if is_new_project_chosen(bpy.context.preferences.app_template) and not bpy.data.filepath:
        bpy.app.timers.register(_open_workspace, first_interval=_TICK_S)


def _open_workspace() -> None:
    windows = bpy.context.window_manager.windows
    if windows:
        with bpy.context.temp_override(window=windows[0], screen=windows[0].screen):
            if bpy.ops.faceblur.open_workspace.poll():
                bpy.ops.faceblur.open_workspace()


def _draw_entry(menu: bpy.types.Menu, _: bpy.types.Context) -> None:
    menu.layout.operator("faceblur.new_project", text="Face Blur", translate=False, icon="WORKSPACE")


def add_entry() -> None:
    """Add File > New > Face Blur."""
    bpy.types.TOPBAR_MT_file_new.append(_draw_entry)
    bpy.app.handlers.load_post.append(_open_later)


def remove_entry() -> None:
    bpy.app.handlers.load_post.remove(_open_later)
    bpy.types.TOPBAR_MT_file_new.remove(_draw_entry)


CLASSES = (FACEBLUR_OT_open_workspace, FACEBLUR_OT_new_project)
