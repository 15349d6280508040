# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator that opens the workspace "Face Blur"."""

from __future__ import annotations

from collections.abc import Callable

import bpy

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


CLASSES = (FACEBLUR_OT_open_workspace,)
