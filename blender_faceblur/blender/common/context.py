# SPDX-License-Identifier: GPL-3.0-or-later
"""Areas that Blender's operators insist on, borrowed for a moment and given back as they were; drawing over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from ...core.types import FaceBlurError


class DrawHandlers:
    """What Blender calls whenever it draws one kind of region of the sequencer.

    The module that draws owns one; it is filled when the extension is switched on, and emptied when it is switched off.
    """

    def __init__(self, region: str) -> None:
        """`region` is Blender's name of the kind: "PREVIEW", or "WINDOW" for the timeline."""
        self._region = region
        self._handles: list[Any] = []

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, draw: Callable[[], None], stage: str = "POST_PIXEL") -> None:
        self._handles.append(bpy.types.SpaceSequenceEditor.draw_handler_add(draw, (), self._region, stage))

    def remove_all(self) -> None:
        while self._handles:
            bpy.types.SpaceSequenceEditor.draw_handler_remove(self._handles.pop(), self._region)


@contextmanager
def borrow_area(kind: str, scene: bpy.types.Scene) -> Iterator[bpy.types.Space]:
    """An area of type `kind` in a window that shows `scene`, as the context of operators. Yields its space.

    Works in background too, where Blender keeps one window that nobody sees.
    """
    windows = bpy.context.window_manager.windows
    if not windows:
        raise FaceBlurError("Blender has no window to work in; start it with a factory or saved layout.")
    window = bpy.context.window or windows[0]
    # One that is of this type already saves the others a flicker; of the sequencer's, the timeline.
    area = max(
        window.screen.areas,
        key=lambda a: (a.type == kind, getattr(a.spaces.active, "view_type", "") == "SEQUENCER", a.width * a.height),
    )
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
            shown_view = space.view_type
            space.view_type = "SEQUENCER"
            try:
                yield
            finally:
                space.view_type = shown_view
    finally:
        workspace.sequencer_scene = shown or scene


@contextmanager
def borrow_selection(scene: bpy.types.Scene, *strips: bpy.types.Strip) -> Iterator[None]:
    """The context of the sequencer's operators with `strips` selected, the first of them active.

    They see only the strips of the meta strip that is open, so that of `strips` is opened for the moment.
    """
    editor = scene.sequence_editor
    with borrow_sequencer(scene):
        # Names, as the operators may remove strips; connected strips are chosen with their handles.
        chosen = {strip.name for strip in editor.strips_all if strip.select}
        active = editor.active_strip.name if editor.active_strip else None
        for strip in editor.strips_all:
            strip.select = strip in strips
        opened = editor.meta_stack[-1] if editor.meta_stack else None
        editor.display_stack(strips[0].parent_meta())
        editor.active_strip = strips[0]
        try:
            yield
        finally:
            editor.display_stack(opened)
            for strip in editor.strips_all:
                strip.select = strip.name in chosen
            editor.active_strip = editor.strips_all.get(active) if active else None


def refresh_sequencer(scene: bpy.types.Scene) -> None:
    """Drop the sequencer's cached frames: it keeps showing, and rendering, masks as they were before an edit."""
    with borrow_sequencer(scene):
        bpy.ops.sequencer.refresh_all()


def refresh_shown_sequencers() -> None:
    """Drop the cached frames of every sequencer that is on the screen."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR" and window.workspace.sequencer_scene is not None:
                with bpy.context.temp_override(window=window, area=area):
                    bpy.ops.sequencer.refresh_all()
                break


def get_sequencer_scene(context: bpy.types.Context) -> Any:
    """The scene whose strips the sequencer shows, None when it shows none."""
    scene = getattr(context.workspace, "sequencer_scene", None) or context.scene
    return scene if scene is not None and scene.sequence_editor is not None else None
