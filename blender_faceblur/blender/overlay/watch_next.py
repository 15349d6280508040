# SPDX-License-Identifier: GPL-3.0-or-later
"""Play what nobody has watched, stretch by stretch."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent

from ...core.translation import translate
from ..common.context import get_sequencer_scene
from ..common.footage import get_frame_rate
from ..common.selection import has_strips, refuse
from ..review.session import SESSION
from ..review.watched import SceneWatch, compute_scene_watch, describe_watch, find_unwatched, get_scene_watch
from .watching import explain_unwatchable_window

_LEAD_S = 0.5
"""How much is played before an unwatched stretch, so that the eye finds the faces. In seconds of the timeline."""

_GAP_S = 1.0
"""Stretches with less than this between them are played as one. In seconds of the timeline."""

_CHECK_S = 0.1
"""How often the end of the stretch is looked for."""


@dataclass(slots=True)
class _Player:
    """The stretch that is being played. Only this module uses it; it ends with the playback."""

    scene: str = ""
    """The scene's name; empty if nothing is being played."""
    stop: int = 0
    """The timeline frame after the stretch."""
    last: int = 0
    """The frame at which the playback was seen last."""
    sync: str = ""
    """How the scene played before. Meanwhile every frame is played: those that are left out are not watched."""


_PLAYER = _Player()


class FACEBLUR_OT_watch_next(bpy.types.Operator):
    """Play the next stretch of the timeline that nobody has watched with its covers, each frame of it, and stop behind
    it"""

    bl_idname = "faceblur.watch_next"
    bl_label = "Next Unwatched"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not has_strips(cls, context):
            return False
        if SESSION.on:
            return refuse(cls, "End the review first: ESC over the preview")
        watch = get_scene_watch(get_sequencer_scene(context))
        if not watch.shown.any():
            return refuse(cls, "There is no covered strip to watch")
        return bool(watch.unwatched.any()) or refuse(cls, "Everything was watched")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        span = find_next_stretch(scene, compute_scene_watch(scene))
        if span is None:
            self.report({"INFO"}, "Everything in the preview range was watched")
            return {"CANCELLED"}
        if not bpy.app.background:
            why = explain_unwatchable_window(context, scene)
            if why:
                self.report({"ERROR"}, translate(why))
                return {"CANCELLED"}
        first, _ = _get_played_range(scene)
        scene.frame_set(max(span[0] - round(_LEAD_S * get_frame_rate(scene)), first))
        if not bpy.app.background:
            begin(context, scene, span[1])
        self.report({"INFO"}, describe_watch(scene))
        return {"FINISHED"}


def find_next_stretch(scene: bpy.types.Scene, watch: SceneWatch) -> tuple[int, int] | None:
    """The stretch to be played next, half-open, in timeline frames that a playback reaches. None if there is none."""
    first, stop = _get_played_range(scene)
    return find_unwatched(watch, scene.frame_current, first, stop, round(_GAP_S * get_frame_rate(scene)))


def _get_played_range(scene: bpy.types.Scene) -> tuple[int, int]:
    if scene.use_preview_range:
        return scene.frame_preview_start, scene.frame_preview_end + 1
    return scene.frame_start, scene.frame_end + 1


def begin(context: bpy.types.Context, scene: bpy.types.Scene, stop: int) -> None:
    """Play every frame of a scene from the playhead to the frame before `stop`."""
    if not _PLAYER.scene:
        _PLAYER.sync = scene.sync_mode
    _PLAYER.scene, _PLAYER.stop, _PLAYER.last = scene.name, stop, scene.frame_current
    scene.sync_mode = "NONE"
    if not context.screen.is_animation_playing:
        bpy.ops.screen.animation_play()
    if not bpy.app.timers.is_registered(_stop_behind):
        bpy.app.timers.register(_stop_behind, first_interval=_CHECK_S)


def _stop_behind() -> float | None:
    """Timer: stop the playback behind the stretch, or notice that the editor stopped it."""
    scene = bpy.data.scenes.get(_PLAYER.scene) if _PLAYER.scene else None
    playing = [w for w in bpy.context.window_manager.windows if w.screen.is_animation_playing]
    if scene is None or not playing:
        end()
        return None
    # At the end of the range, Blender goes on at its beginning.
    if _PLAYER.last <= scene.frame_current < _PLAYER.stop:
        _PLAYER.last = scene.frame_current
        return _CHECK_S
    for window in playing:
        with bpy.context.temp_override(window=window):
            bpy.ops.screen.animation_cancel(restore_frame=False)
    end()
    return None


def end() -> None:
    """Let the scene play as before."""
    scene = bpy.data.scenes.get(_PLAYER.scene) if _PLAYER.scene else None
    if scene is not None and scene.sync_mode == "NONE":
        scene.sync_mode = _PLAYER.sync
    _PLAYER.scene = ""


@persistent
def _end_before(*_: object) -> None:
    end()


def register_handlers() -> None:
    for when in _list_ending():
        when.append(_end_before)


def unregister_handlers() -> None:
    for when in _list_ending():
        when.remove(_end_before)
    if bpy.app.timers.is_registered(_stop_behind):
        bpy.app.timers.unregister(_stop_behind)
    end()


def _list_ending() -> tuple[list[object], ...]:
    """The handlers of what ends a playback, or would store how it plays."""
    handlers = bpy.app.handlers
    return handlers.save_pre, handlers.load_pre, handlers.undo_pre, handlers.redo_pre
