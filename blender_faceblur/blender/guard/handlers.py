# SPDX-License-Identifier: GPL-3.0-or-later
"""Guard each render: strips whose covers would show faces are black while it runs, and the window says why.

Render Still Preview and Render Sequence Preview in the preview's View menu call no render handlers. Instead, the guard
looks for their operator among the window's modal operators, in every turn of the event loop and before every frame.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from dataclasses import dataclass, field

import bpy
from bpy.app.handlers import persistent

from ...core.translation import translate
from ..common.jobs import JOB, describe_blackened
from ..cover.fast_playback import end as end_fast_playback
from .blackout import black_out, restore
from .checks import CoverFault, asks_for_review
from .rendered import begin_preview, count_preview_frame, end_preview

_REPORT_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class _PreviewRender:
    """A preview render: the scene, by its name, and whether it is an animation or a still."""

    scene: str
    is_animation: bool


@dataclass(slots=True)
class _GuardState:
    """The guard's state between its calls. It lasts as long as the process, except as the fields say."""

    unreported: list[str] = field(default_factory=list)
    """Problems of a black render that the window has not shown yet; cleared when it has."""
    previewed: _PreviewRender | None = None
    """The preview render that is running; accessed only while `preview_lock` is held."""
    preview_lock: threading.Lock = field(default_factory=threading.Lock)


_GUARD = _GuardState()


UNCOVERED = 3
"""Exit code of a Blender without a window that rendered strips black because they would have shown faces."""


def register_handlers() -> None:
    """Add the handlers. They must run after those that prepare a render, so as not to report what these fix."""
    if not bpy.app.background:
        bpy.app.timers.register(_report_blacked_out, first_interval=_REPORT_AFTER_S, persistent=True)
        bpy.app.timers.register(_guard_preview, first_interval=0.0, persistent=True)
        bpy.app.handlers.frame_change_pre.append(_guard_preview)
    bpy.app.handlers.render_init.append(_guard_render)
    for handlers in (bpy.app.handlers.render_complete, bpy.app.handlers.render_cancel, bpy.app.handlers.load_post):
        handlers.append(_end_guard)


def unregister_handlers() -> None:
    for timer in (_report_blacked_out, _guard_preview):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    if _guard_preview in bpy.app.handlers.frame_change_pre:
        bpy.app.handlers.frame_change_pre.remove(_guard_preview)
    bpy.app.handlers.render_init.remove(_guard_render)
    for handlers in (bpy.app.handlers.render_complete, bpy.app.handlers.render_cancel, bpy.app.handlers.load_post):
        handlers.remove(_end_guard)
    restore()


@persistent
def _guard_render(scene: bpy.types.Scene, _: object = None) -> None:
    faults = black_out(scene, asks_for_review())
    _note(faults)
    if not faults:
        return
    # Blender as a Python module is part of another program, which decides on its own exit code.
    if bpy.app.background and not getattr(bpy.app, "module", False):
        atexit.unregister(leave_with_error)
        atexit.register(leave_with_error)


@persistent
def _guard_preview(*arguments: object) -> float:
    """Both a timer that is always due and a handler before each frame, which an animation calls in its job's thread."""
    running = _get_preview_render()
    # The lock makes the job wait while the window's thread is blacking out strips.
    with _GUARD.preview_lock:
        known = _GUARD.previewed
        if running is not None and known is None:
            shown = {window.workspace.sequencer_scene for window in bpy.context.window_manager.windows} - {None}
            _GUARD.previewed = running
            end_fast_playback()
            _note([fault for scene in shown for fault in black_out(scene, asks_for_review(), of_preview=True)])
            begin_preview(bpy.data.scenes[running.scene], running.is_animation)
        elif known is not None and running is None:
            _GUARD.previewed = None
            restore()
            if known.scene in bpy.data.scenes:
                end_preview(bpy.data.scenes[known.scene], known.is_animation)
        # A timer passes no scene.
        if running is not None and arguments and running.is_animation:
            count_preview_frame(bpy.data.scenes[running.scene])
    return 0.0


def _get_preview_render() -> _PreviewRender | None:
    for window in bpy.context.window_manager.windows:
        for operator in window.modal_operators:
            if operator.bl_idname == "RENDER_OT_opengl" and operator.properties.sequencer:
                is_animation = operator.properties.animation
                # The operator of an animation outlives its job until the next event, which may come much later.
                if is_animation and not bpy.app.is_job_running("RENDER"):
                    return None
                scene = window.workspace.sequencer_scene or window.scene
                return _PreviewRender(scene.name, is_animation)
    return None


def _note(faults: list[CoverFault]) -> None:
    """Print which strips are rendered black, and keep it for the window."""
    JOB.blackened = list(faults)
    if not faults:
        return
    _GUARD.unreported = [describe_blackened(fault) for fault in faults]
    for problem in _GUARD.unreported:
        print(translate("Face Blur: {problem}", problem=problem), file=sys.stderr)


def _report_blacked_out() -> float:
    """Timer: show in the window what was rendered black, after the render, as its thread must not open a menu."""
    if _GUARD.unreported and not bpy.app.is_job_running("RENDER"):
        texts, manager = _GUARD.unreported, bpy.context.window_manager
        _GUARD.unreported = []

        def draw(menu: bpy.types.Menu, _: bpy.types.Context) -> None:
            for text in texts:
                menu.layout.label(text=text)

        with bpy.context.temp_override(window=manager.windows[0]):
            manager.popup_menu(draw, title="Face Blur", icon="ERROR")
    return _REPORT_AFTER_S


@persistent
def _end_guard(*_: object) -> None:
    restore()


def leave_with_error() -> None:
    # At this point Python has no other way to change Blender's exit code.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(UNCOVERED)
