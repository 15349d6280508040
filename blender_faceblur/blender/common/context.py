# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary contexts for Blender's operators, draw handlers, and the sequencer's cached frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np

from ...core.types import FaceBlurError


class DrawHandlers:
    """The functions that Blender calls whenever it draws one kind of region of the sequencer.

    The module that draws owns one. It adds them when the extension is enabled and removes them when it is disabled.
    """

    def __init__(self, region: str) -> None:
        """`region` is Blender's name for the kind of region: "PREVIEW", or "WINDOW" for the timeline."""
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
    """Run operators in an area of type `kind`, in a window that shows `scene`. Yields the area's space.

    Area and window are restored at the end. It also works in background mode, where Blender keeps one invisible window.
    """
    windows = bpy.context.window_manager.windows
    if not windows:
        raise FaceBlurError("Blender has no window. Start it with the factory settings or a saved layout.")
    window = bpy.context.window or windows[0]
    # An area that already has this type avoids flicker in the others; among sequencers, prefer the timeline.
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


_KEYING: dict[str, bpy.types.Scene] = {}
"""The scenes of `borrow_mask_editor`, by the names of the masks. A mask is in it only within such a call."""


@contextmanager
def borrow_mask_editor(mask: bpy.types.Mask) -> Iterator[bpy.types.Scene]:
    """Run the mask's operators. Yields an empty scene that is shown for as long: changing its frame is cheap.

    Blender evaluates the project at the end. Within another call for the same mask, its scene is used, and nothing is
    evaluated.
    """
    if mask.name in _KEYING:
        yield _KEYING[mask.name]
        return
    scene = bpy.data.scenes.new("Face Blur keying")
    try:
        with borrow_area("IMAGE_EDITOR", scene) as space:
            shown_mode, shown_mask = space.mode, space.mask
            space.mode = "MASK"
            space.mask = mask
            _KEYING[mask.name] = scene
            try:
                yield scene
            finally:
                del _KEYING[mask.name]
                space.mask = shown_mask
                space.mode = shown_mode
    finally:
        bpy.data.scenes.remove(scene)


@contextmanager
def borrow_sequencer(scene: bpy.types.Scene) -> Iterator[None]:
    """Run the sequencer's operators on `scene`."""
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
    """Run the sequencer's operators with `strips` selected and the first of them active.

    Operators see only the strips in the open meta strip, so the one that contains `strips` is open for as long.
    """
    editor = scene.sequence_editor
    with borrow_sequencer(scene):
        # Keep names, because the operators may remove strips.
        flags = read_numbers(editor.strips_all, "select")
        chosen = (
            {strip.name for strip, flag in zip(editor.strips_all, flags, strict=True) if flag} if any(flags) else set()
        )
        active = editor.active_strip.name if editor.active_strip else None
        editor.strips_all.foreach_set("select", [False] * len(flags))
        opened = editor.meta_stack[-1] if editor.meta_stack else None
        select_only(scene, strips)
        try:
            yield
        finally:
            editor.display_stack(opened)
            for strip in editor.strips_all:
                strip.select = strip.name in chosen
            editor.active_strip = editor.strips_all.get(active) if active else None


def select_only(scene: bpy.types.Scene, strips: Sequence[bpy.types.Strip]) -> None:
    """Select strips, open the meta strip that contains them, and make the first active. No others are selected yet."""
    editor = scene.sequence_editor
    for strip in strips:
        strip.select = True
    if strips:
        editor.display_stack(strips[0].parent_meta())
        editor.active_strip = strips[0]


def read_numbers(collection: Any, name: str) -> Any:
    """One whole number, or whether something is true, of each thing in a collection of Blender's, as an array."""
    numbers = np.zeros(len(collection), np.int32)
    collection.foreach_get(name, numbers)
    return numbers


def refresh_sequencer(scene: bpy.types.Scene) -> None:
    """Drop the sequencer's cached frames. Otherwise it shows and renders masks as they were before an edit."""
    with borrow_sequencer(scene):
        bpy.ops.sequencer.refresh_all()


def refresh_shown_sequencers() -> None:
    """Drop the cached frames of every visible sequencer."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR" and window.workspace.sequencer_scene is not None:
                with bpy.context.temp_override(window=window, area=area):
                    bpy.ops.sequencer.refresh_all()
                break


def drop_pictures_of_scenes() -> None:
    """Drop the cached pictures of all strips that show scenes.

    After a change in a scene, Blender drops those in scenes that show it, but not in scenes that show these (5.0.1).
    """
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
            if strip.type == "SCENE":
                strip.invalidate_cache("RAW")


def get_sequencer_scene(context: bpy.types.Context) -> Any:
    """The scene whose strips the sequencer shows; None if it has no strips."""
    scene = getattr(context.workspace, "sequencer_scene", None) or context.scene
    return scene if scene is not None and scene.sequence_editor is not None else None


def is_tool_running(context: bpy.types.Context, *but: str) -> bool:
    """Whether a tool is at work in a window, such as one that drags strips, other than the operators `but`.

    Modal operators of other extensions do not count: some of them never end.
    """
    return any(
        operator.bl_idname not in but and _is_blenders_or_ours(operator.bl_idname)
        for window in context.window_manager.windows
        for operator in window.modal_operators
    )


def _is_blenders_or_ours(name: str) -> bool:
    # Operators that are written in C have no class in Python.
    return name.startswith("FACEBLUR_") or bpy.types.Operator.bl_rna_get_subclass_py(name, None) is None


def is_shown_or_rendered(context: bpy.types.Context) -> bool:
    """Whether an animation is being played or rendered."""
    windows = context.window_manager.windows
    return bpy.app.is_job_running("RENDER") or any(window.screen.is_animation_playing for window in windows)
