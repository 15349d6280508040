# SPDX-License-Identifier: GPL-3.0-or-later
"""A helper scene in which a mask is edited over its footage with Blender's own tools, and the way back.

The Mask editor works at its scene's frame. In the editor's own scene that is the right picture only if the strip lies
in the mask's own time. The helper scene shows source frame n at mask frame n, at the size that the mask's coordinates
need, as the canvas may have another shape than the footage. It shows frames of its own sequencer, the only part of
Blender that reads every kind of footage. It can be viewed but not rendered, as nothing in it is covered.

All state of the helper scene is in the file. A timer compares it with what is on the screen, so that a closed
workspace, a deleted scene and a project that was saved in between all end in the same way: the edits are applied to the
tracks, and the scene and its workspace are removed. After undo and redo the timer only updates the screen to match the
data, as the next undo would not revert a change that is no undo step of its own (Blender 5.0.1, 5.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...core.translation import translate
from ...core.types import FaceBlurError, SourceInfo, TrackDocument
from ..common.footage import compute_source_frame, get_footage
from ..cover.strips import get_mask
from ..masks.changes import sync_from_blender
from ..masks.document import load_document
from ..masks.record import MaskRecord
from ..rendering.project import set_format

NAME = "Face Blur Masks"

_MASK, _HOME = "faceblur_edited_mask", "faceblur_home_scene"
"""Custom properties of the helper scene: the mask, and the editor's scene."""

_WORKSPACE, _ARRANGED = "faceblur_home_workspace", "faceblur_arranged"
"""Custom properties of the helper workspace: the name of the editor's, and whether its own editors are in place."""

_DRAGGING = ("TRANSFORM_", "MASK_", "ACTION_", "ANIM_")
"""Prefixes of modal tools; the timer changes nothing while one of them is in use."""

_EVERY_S = 0.3
"""How often the mask editor is checked for edits while nothing is being dragged."""

_SOON_S = 0.05
"""How soon it is checked again while something is about to change."""

_TIMELINE_SHARE = 0.3
"""The Dope Sheet's share of the window's height."""


@dataclass(slots=True)
class _EditorState:
    """What the timer knows of the screen. Only this module uses it; reset whenever a mask is opened."""

    frame: int | None = None
    """The frame that the Image editor shows; None before it shows one."""
    patience: int = 0
    """How many more ticks to wait for the workspace to change."""
    rewound: bool = False
    """Whether undo or redo has just changed the data."""


_EDITOR = _EditorState()


def get_helper() -> Any:
    """The scene in which a mask is being edited; None if there is none."""
    return next((scene for scene in bpy.data.scenes if _MASK in scene), None)


def open_masks(scene: bpy.types.Scene, strip: bpy.types.Strip, window: bpy.types.Window | None) -> bpy.types.Scene:
    """Show the mask of a covered strip over its footage, at the current frame of `scene`; returns the helper scene.

    In a window the workspace changes a moment later. Raises FaceBlurError if there is nothing to edit.
    """
    if get_helper() is not None:
        raise FaceBlurError("A mask is already being edited. Use Back to the Film first.")
    mask = get_mask(strip)
    if mask is None:
        raise FaceBlurError(translate("'{name}' has no mask. Detect its faces first.", name=strip.name))
    document = load_document(mask)
    helper = _build_scene(scene, strip, mask, document.source)
    if window is not None:
        if not bpy.app.background:
            _duplicate_workspace(window, helper)
        window.scene = helper
    return helper


def close_masks() -> int:
    """Go back to the editor's scene and workspace, and apply the edits to the tracks; returns how many faces changed.

    Raises FaceBlurError if no mask is being edited.
    """
    helper = get_helper()
    if helper is None:
        raise FaceBlurError("No mask is being edited.")
    mask, home = helper[_MASK], helper[_HOME]
    home = home or next(scene for scene in bpy.data.scenes if scene != helper)
    workspace = _get_workspace()
    for window in bpy.context.window_manager.windows:
        if window.scene == helper:
            window.scene = home
        if workspace is not None and window.workspace == workspace:
            _show_home_workspace(window, workspace)
    for other in bpy.data.workspaces:
        if other.sequencer_scene == helper:
            other.sequencer_scene = home
    bpy.data.scenes.remove(helper)
    _EDITOR.frame = None
    return count_changed(mask) if mask is not None else 0


def count_changed(mask: bpy.types.Mask) -> int:
    """Apply edits made with Blender's tools to the tracks; returns how many faces changed, including new layers."""
    before, drawn = _describe(load_document(mask)), len(MaskRecord.load(mask).order)
    after = _describe(sync_from_blender(mask))
    changed = sum(before.get(name) != track for name, track in after.items())
    gone = sum(name not in after for name in before)
    # A renamed face counts as gone and as new.
    return max(changed, gone) + max(len(mask.layers) - drawn, 0)


def _describe(document: TrackDocument) -> dict[str, object]:
    return {track.name: (track.samples, track.off, track.locked) for track in document.tracks}


def _build_scene(
    scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask, source: SourceInfo
) -> bpy.types.Scene:
    footage = get_footage(strip)
    helper = bpy.data.scenes.new(NAME)
    helper[_MASK], helper[_HOME] = mask, scene
    try:
        set_format(helper, source)
        helper.view_settings.view_transform = scene.view_settings.view_transform
        # One unit of mask coordinates is the longer side of the Mask editor's picture.
        helper.render.resolution_x = max(source.width, round(MaskRecord.load(mask).unit_px))
        # Without a camera and a sequencer the scene cannot be rendered, as its footage is uncovered.
        helper.render.use_sequencer = False
        helper.frame_start, helper.frame_end = mask.frame_start, max(mask.frame_end - 1, mask.frame_start)
        strips = helper.sequence_editor_create().strips
        if footage.files or strip.type == "IMAGE":
            first = footage.path / footage.files[0] if footage.files else footage.path
            shown = strips.new_image(strip.name, str(first), 1, mask.frame_start, fit_method="ORIGINAL")
            for name in footage.files[1:]:
                shown.elements.append(name)
        else:
            shown = strips.new_movie(strip.name, str(footage.path), 1, mask.frame_start, fit_method="ORIGINAL")
            shown.use_deinterlace = strip.use_deinterlace
        shown.colorspace_settings.name = strip.colorspace_settings.name
        # Beyond its own length the strip repeats its last picture.
        shown.frame_final_duration = mask.frame_end - mask.frame_start
        frame = min(max(scene.frame_current, strip.frame_final_start), strip.frame_final_end - 1)
        helper.frame_set(
            mask.frame_start + (compute_source_frame(strip, frame, mask.frame_end - mask.frame_start) or 0)
        )
    except BaseException:
        bpy.data.scenes.remove(helper)
        raise
    return helper


def _duplicate_workspace(window: bpy.types.Window, helper: bpy.types.Scene) -> None:
    home = window.workspace
    before = {workspace.name for workspace in bpy.data.workspaces}
    with bpy.context.temp_override(window=window):
        bpy.ops.workspace.duplicate()
    workspace = next(workspace for workspace in bpy.data.workspaces if workspace.name not in before)
    workspace.name = NAME
    workspace[_WORKSPACE] = home.name
    workspace[_ARRANGED] = False
    workspace.sequencer_scene = helper
    _EDITOR.frame, _EDITOR.patience = None, 30
    start_watch()


def _get_workspace() -> Any:
    return next((workspace for workspace in bpy.data.workspaces if _ARRANGED in workspace), None)


def _show_home_workspace(window: bpy.types.Window, workspace: bpy.types.WorkSpace) -> None:
    others = [other for other in bpy.data.workspaces if other != workspace]
    home = bpy.data.workspaces.get(workspace[_WORKSPACE])
    if others:
        window.workspace = home if home in others else others[0]


def start_watch() -> None:
    """Start the timer that watches the helper scene until it is gone."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_watch):
        bpy.app.timers.register(_watch, first_interval=_SOON_S)


def _watch() -> float | None:
    helper, workspace = get_helper(), _get_workspace()
    if helper is None and workspace is None:
        return None
    windows = list(bpy.context.window_manager.windows)
    dragging = (tool.bl_idname.startswith(_DRAGGING) for window in windows for tool in window.modal_operators)
    if bpy.app.is_job_running("RENDER") or any(dragging):
        return _EVERY_S
    window = next((window for window in windows if window.workspace == workspace), None)
    if helper is None:
        _remove_workspace(workspace, window)
    elif window is None and workspace is not None and not workspace[_ARRANGED] and _EDITOR.patience > 0:
        # Blender switches workspaces with a delay.
        _EDITOR.patience -= 1
        return _SOON_S
    elif window is None or window.scene != helper:
        if _EDITOR.rewound:
            _show_again(helper, workspace, window or windows[0])
        else:
            _close_unasked(windows[0])
    elif not workspace[_ARRANGED]:
        workspace[_ARRANGED] = _arrange(window, helper)
        return _SOON_S
    else:
        show_frame()
    _EDITOR.rewound = False
    return _EVERY_S


def _remove_workspace(workspace: bpy.types.WorkSpace, window: bpy.types.Window | None) -> None:
    if window is not None:
        _show_home_workspace(window, workspace)
    else:
        # `workspace.delete` always deletes the workspace that its window shows.
        bpy.data.batch_remove([*workspace.screens, workspace])


def _show_again(helper: bpy.types.Scene, workspace: Any, window: bpy.types.Window) -> None:
    """Show the helper scene after Back to the Film was undone or Edit Masks was redone."""
    if workspace is None:
        _duplicate_workspace(window, helper)
    elif window.workspace != workspace:
        window.workspace = workspace
    window.scene = helper


def _close_unasked(window: bpy.types.Window) -> None:
    """Close the helper scene after an editor left it without Back to the Film."""
    try:
        close_masks()
    except FaceBlurError as error:
        print(f"Face Blur: {error}")
    with bpy.context.temp_override(window=window):
        bpy.ops.ed.undo_push(message="Back to the Film")


def _arrange(window: bpy.types.Window, helper: bpy.types.Scene) -> bool:
    """Arrange a large Image editor with the mask and, below it, the Dope Sheet with its keys.

    Does one step per call and returns True after the last. Blender must lay out the areas between two steps: it crashes
    if a new area gets a mask before that (5.2.2).
    """
    areas = sorted(window.screen.areas, key=lambda area: area.width * area.height)
    picture, keys = areas[-1], areas[-2] if len(areas) > 1 else None
    if picture.type != "IMAGE_EDITOR":
        for area in areas[:-1]:
            with bpy.context.temp_override(window=window, area=area):
                if bpy.ops.screen.area_close.poll() and bpy.ops.screen.area_close() == {"FINISHED"}:
                    return False
        picture.type = "IMAGE_EDITOR"
        return False
    if keys is None:
        with bpy.context.temp_override(window=window, area=picture):
            if bpy.ops.screen.area_split(direction="HORIZONTAL", factor=_TIMELINE_SHARE) == {"FINISHED"}:
                return False
    elif keys.type != "DOPESHEET_EDITOR":
        keys.type = "DOPESHEET_EDITOR"
        return False
    if keys is not None:
        keys.spaces.active.mode = "MASK"
        _operate(window, keys, bpy.ops.anim.channels_expand, all=True)
        _operate(window, keys, bpy.ops.action.view_all)
    space = picture.spaces.active
    space.mode = "MASK"
    space.mask = helper[_MASK]
    _EDITOR.frame = None
    show_frame()
    _operate(window, picture, bpy.ops.image.view_all, fit_view=True)
    return True


def _operate(window: bpy.types.Window, area: bpy.types.Area, operator: Any, **options: object) -> None:
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        if operator.poll():
            operator(**options)


def show_frame() -> None:
    """Have the Image editor show the footage at the helper scene's frame."""
    helper = get_helper()
    window = next((window for window in bpy.context.window_manager.windows if window.scene == helper), None)
    if helper is None or window is None or _EDITOR.frame == helper.frame_current:
        return
    with bpy.context.temp_override(window=window, scene=helper):
        if not bpy.ops.render.opengl.poll():
            return
        bpy.ops.render.opengl(sequencer=True)
    _EDITOR.frame = helper.frame_current
    for area in window.screen.areas:
        if area.type == "IMAGE_EDITOR" and area.spaces.active.mask == helper[_MASK]:
            area.spaces.active.image = bpy.data.images["Render Result"]
            area.tag_redraw()


def register_handlers() -> None:
    bpy.app.handlers.frame_change_post.append(_on_frame_change)
    bpy.app.handlers.load_post.append(_check_again)
    bpy.app.handlers.undo_post.append(_show_rewound)
    bpy.app.handlers.redo_post.append(_show_rewound)
    start_watch()


def unregister_handlers() -> None:
    bpy.app.handlers.frame_change_post.remove(_on_frame_change)
    bpy.app.handlers.load_post.remove(_check_again)
    bpy.app.handlers.undo_post.remove(_show_rewound)
    bpy.app.handlers.redo_post.remove(_show_rewound)
    for timer in (_watch, show_frame):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


@persistent
def _on_frame_change(scene: bpy.types.Scene, _: object = None) -> None:
    # A handler must not draw.
    if _MASK in scene and not bpy.app.background and not bpy.app.timers.is_registered(show_frame):
        bpy.app.timers.register(show_frame, first_interval=0.0)


@persistent
def _check_again(*_: object) -> None:
    _EDITOR.frame = None
    if get_helper() is not None or _get_workspace() is not None:
        start_watch()


@persistent
def _show_rewound(*_: object) -> None:
    _EDITOR.rewound = True
    _check_again()
