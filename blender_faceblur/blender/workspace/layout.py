# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the workspace "Face Blur" by code: a large preview with the tab beside it, and a low timeline below."""

from __future__ import annotations

import bpy

from ..common.panels import Tab

NAME = "Face Blur"

_MARK = "faceblur_workspace"
"""A custom property of our workspace, by which it is found after an editor has renamed it."""

_TIMELINE_PX = 230
"""The height of the timeline at interface scale 1: its header, the ruler and about four channels."""

_LEAST_SHARE, _MOST_SHARE = 0.22, 0.42
"""The timeline's height as a share of the window's, whatever the scale of the interface."""


def find_workspace() -> bpy.types.WorkSpace | None:
    return next((workspace for workspace in bpy.data.workspaces if _MARK in workspace), None)


def create_workspace(window: bpy.types.Window) -> bpy.types.WorkSpace:
    """Copy the window's workspace, and name and mark the copy. Blender shows it soon after, but not at once."""
    known = {workspace.session_uid for workspace in bpy.data.workspaces}
    scene = window.workspace.sequencer_scene or window.scene
    with bpy.context.temp_override(window=window):
        bpy.ops.workspace.duplicate()
    made = next(workspace for workspace in bpy.data.workspaces if workspace.session_uid not in known)
    made.name = NAME
    made[_MARK] = True
    made.sequencer_scene = scene
    return made


def close_areas(window: bpy.types.Window) -> None:
    """Leave one area, a sequencer, in the window's screen."""
    screen = window.screen
    kept = max(screen.areas, key=lambda one: (one.type == "SEQUENCE_EDITOR", one.width * one.height))
    # An area is closed only if the edge of a neighbour is as long as its own, so some take a second round.
    while any(_close(window, other) for other in screen.areas if other != kept):
        pass
    kept.ui_type = "SEQUENCE_EDITOR"


def _close(window: bpy.types.Window, area: bpy.types.Area) -> bool:
    with bpy.context.temp_override(window=window, screen=window.screen, area=area):
        return bool(bpy.ops.screen.area_close.poll()) and "FINISHED" in bpy.ops.screen.area_close()


def split_area(window: bpy.types.Window) -> None:
    """Divide the largest area of the window's screen into an upper one and a low one."""
    area = max(window.screen.areas, key=lambda one: one.width * one.height)
    share = _TIMELINE_PX * bpy.context.preferences.system.ui_scale / max(area.height, 1)
    share = min(max(share, _LEAST_SHARE), _MOST_SHARE)
    with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=get_region(area, "WINDOW")):
        bpy.ops.screen.area_split(direction="HORIZONTAL", factor=share)


def set_up_areas(window: bpy.types.Window) -> None:
    """Make the lowest area of the window's screen the timeline, and the one above it the preview."""
    timeline, preview = sorted(window.screen.areas, key=lambda one: one.y)[:2]
    _set_up(preview, "PREVIEW", sidebar=True)
    _set_up(timeline, "SEQUENCER", sidebar=False)


def _set_up(area: bpy.types.Area, view: str, sidebar: bool) -> None:
    space = area.spaces.active
    space.view_type = view
    space.show_region_ui = sidebar
    space.show_region_toolbar = False
    space.show_overlays = True
    if view == "PREVIEW":
        space.display_mode = "IMAGE"
        # The timeline has the same playback controls.
        space.show_region_footer = False


def open_tab(window: bpy.types.Window) -> bool:
    """Show the tab in the preview's sidebar; False while Blender has not drawn the sidebar yet."""
    area = next((one for one in window.screen.areas if is_preview(one)), None)
    region = get_region(area, "UI") if area is not None else None
    if region is None:
        return False
    try:
        region.active_panel_category = Tab.bl_category
    except TypeError:
        # The categories are known once the region was drawn.
        return False
    region.tag_redraw()
    return True


def show_all(window: bpy.types.Window) -> None:
    """Fit the picture into the preview and all strips into the timeline."""
    for area in window.screen.areas:
        if area.type != "SEQUENCE_EDITOR":
            continue
        kind = "PREVIEW" if is_preview(area) else "WINDOW"
        with bpy.context.temp_override(window=window, area=area, region=get_region(area, kind)):
            fit = bpy.ops.sequencer.view_all_preview if is_preview(area) else bpy.ops.sequencer.view_all
            if fit.poll():
                fit()


def is_preview(area: bpy.types.Area) -> bool:
    return bool(area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type == "PREVIEW")


def get_region(area: bpy.types.Area, kind: str) -> bpy.types.Region | None:
    return next((region for region in area.regions if region.type == kind), None)
