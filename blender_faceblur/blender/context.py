# SPDX-License-Identifier: GPL-3.0-or-later
"""Areas that Blender's operators insist on, borrowed for a moment and given back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from ..core.types import FaceBlurError


@contextmanager
def borrow_area(kind: str, scene: bpy.types.Scene) -> Iterator[bpy.types.Space]:
    """An area of type `kind` in a window that shows `scene`, as the context of operators. Yields its space.

    Works in background too, where Blender keeps one window that nobody sees.
    """
    windows = bpy.context.window_manager.windows
    if not windows:
        raise FaceBlurError("Blender has no window to work in; start it with a factory or saved layout.")
    window = bpy.context.window or windows[0]
    # One that is of this type already saves the others a flicker.
    area = max(window.screen.areas, key=lambda a: (a.type == kind, a.width * a.height))
    shown_scene, shown_kind = window.scene, area.ui_type
    window.scene = scene
    area.type = kind
    try:
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region, scene=scene):
            yield area.spaces.active
    finally:
        area.ui_type = shown_kind
        window.scene = shown_scene


@contextmanager
def borrow_sequencer(scene: bpy.types.Scene) -> Iterator[None]:
    """The context of the sequencer's operators, working on `scene`."""
    workspace = (bpy.context.window or bpy.context.window_manager.windows[0]).workspace
    shown = workspace.sequencer_scene
    workspace.sequencer_scene = scene
    try:
        with borrow_area("SEQUENCE_EDITOR", scene) as space:
            space.view_type = "SEQUENCER"
            yield
    finally:
        workspace.sequencer_scene = shown or scene


@contextmanager
def borrow_selection(scene: bpy.types.Scene, *strips: bpy.types.Strip) -> Iterator[None]:
    """The context of the sequencer's operators with `strips` selected, the first of them active."""
    editor = scene.sequence_editor
    with borrow_sequencer(scene):
        chosen, active = [strip for strip in editor.strips_all if strip.select], editor.active_strip
        for strip in editor.strips_all:
            strip.select = strip in strips
        editor.active_strip = strips[0]
        try:
            yield
        finally:
            for strip in editor.strips_all:
                strip.select = strip in chosen
            editor.active_strip = active


def refresh_sequencer(scene: bpy.types.Scene) -> None:
    """Drop the sequencer's cached frames: it keeps showing, and rendering, masks as they were before an edit."""
    with borrow_sequencer(scene):
        bpy.ops.sequencer.refresh_all()
