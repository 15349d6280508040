# SPDX-License-Identifier: GPL-3.0-or-later
"""Say in the window when a render has ended, and what it shows: how many frames, how many with covered strips.

Handlers note what is rendered; Blender calls them in the render's thread. A timer shows the message afterwards.
A preview render calls no render handlers: `handlers.py` notices it, and says here when it begins, goes on and ends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ...core.translation import count, mark, translate
from ...reporting.progress import describe_time
from ..common.announcing import announce
from ..common.footage import KINDS
from ..common.marks import BAKED, get_modifier
from ..masks.record import list_own_masks
from .blackout import BLACKED_OUT

_LOOK_AFTER_S = 0.5

Ranges = list[tuple[float, float]]


@dataclass(slots=True)
class _Render:
    """A render that runs, or that has ended and was not announced yet."""

    began: float
    covered: Ranges
    """The timeline frames of the covered strips, half-open."""
    black: Ranges
    """Those of the strips that the guard renders black."""
    frames: int = 0
    covered_frames: int = 0
    black_frames: int = 0
    path: str = ""
    """The file of the latest frame."""
    ended: float = 0.0
    """0 while it runs."""
    is_cancelled: bool = False
    is_preview: bool = False
    """Whether the preview is rendered, by its View menu."""
    latest: int | None = None
    """The frame that was counted last."""


@dataclass(slots=True)
class _RenderState:
    """The state between the handlers' calls. It lasts as long as the process; only the latest render is in it."""

    render: _Render | None = None
    waiting: list[_Render] = field(default_factory=list)
    """Renders that have ended and are to be announced; cleared when they were."""


_STATE = _RenderState()

_ENDINGS = {
    (False, False): mark("Rendered: {what}"),
    (False, True): mark("Render cancelled after {what}"),
    (True, False): mark("Preview rendered: {what}"),
    (True, True): mark("Preview render cancelled after {what}"),
}
"""How a message begins, by whether the preview was rendered and whether that was cancelled."""


def describe_render(render: _Render) -> tuple[str, str]:
    """The message about a render that has ended, and its level (INFO or WARNING)."""
    what = translate(
        "{frames} in {time}", frames=count(render.frames, "frame"), time=describe_time(render.ended - render.began)
    )
    message = translate(_ENDINGS[render.is_preview, render.is_cancelled], what=what)
    message += translate(", {frames} with covered strips", frames=render.covered_frames)
    if render.black_frames:
        message += translate(", {frames} with strips in black", frames=render.black_frames)
    if render.path and not render.is_cancelled:
        message += f": {Path(render.path).name}"
    return message, "WARNING" if render.black_frames or render.is_cancelled else "INFO"


def begin_preview(scene: bpy.types.Scene, is_animation: bool) -> None:
    """Note that a preview render has begun, after the guard has blacked out what it must."""
    render = _STATE.render = _start(scene)
    if render is not None:
        render.is_preview = True
        if not is_animation:
            _count_frame(render, scene.frame_current)


def count_preview_frame(scene: bpy.types.Scene) -> None:
    """Note the frame of the animation that the preview render comes to."""
    render, frame = _STATE.render, scene.frame_current
    # Blender also goes through the frames that the scene's step leaves out, and back to the playhead at the end.
    if render is None or frame == render.latest or frame not in _list_frames(scene):
        return
    _count_frame(render, frame)
    render.path = scene.render.frame_path(frame=frame)


def end_preview(scene: bpy.types.Scene, is_animation: bool) -> None:
    """Note that a preview render has ended."""
    render, frames = _STATE.render, _list_frames(scene)
    # Pictures that exist and stay are passed over without a handler.
    if render is not None and is_animation and (scene.render.use_overwrite or scene.render.is_movie_format):
        _end(bool(frames) and render.latest != frames[-1])
    else:
        _end(False)


def _list_frames(scene: bpy.types.Scene) -> range:
    """The frames that a preview render of the animation writes."""
    if scene.use_preview_range:
        return range(scene.frame_preview_start, scene.frame_preview_end + 1, scene.frame_step)
    return range(scene.frame_start, scene.frame_end + 1, scene.frame_step)


def _list_ranges(scene: bpy.types.Scene) -> tuple[Ranges, Ranges]:
    covered: Ranges = []
    black: Ranges = []
    for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
        if strip.type not in KINDS or strip.mute:
            continue
        frames = float(strip.frame_final_start), float(strip.frame_final_end)
        if BLACKED_OUT in strip:
            black.append(frames)
        elif BAKED in strip or get_modifier(strip) is not None:
            covered.append(frames)
    return covered, black


def _start(scene: bpy.types.Scene) -> _Render | None:
    covered, black = _list_ranges(scene)
    # A project in which nothing is covered is none of our business.
    is_used = bool(covered or black or list_own_masks())
    return _Render(time.monotonic(), covered, black) if is_used else None


@persistent
def _begin(scene: bpy.types.Scene, _: object = None) -> None:
    _STATE.render = _start(scene)


@persistent
def _count(scene: bpy.types.Scene, _: object = None) -> None:
    if _STATE.render is not None:
        _count_frame(_STATE.render, scene.frame_current)


def _count_frame(render: _Render, frame: int) -> None:
    render.latest = frame
    render.frames += 1
    render.covered_frames += any(start <= frame < stop for start, stop in render.covered)
    render.black_frames += any(start <= frame < stop for start, stop in render.black)


@persistent
def _note_file(scene: bpy.types.Scene, _: object = None) -> None:
    if _STATE.render is not None:
        _STATE.render.path = scene.render.frame_path(frame=scene.frame_current)


@persistent
def _complete(*_: object) -> None:
    _end(False)


@persistent
def _cancel(*_: object) -> None:
    _end(True)


def _end(is_cancelled: bool) -> None:
    render, _STATE.render = _STATE.render, None
    if render is not None:
        render.ended, render.is_cancelled = time.monotonic(), is_cancelled
        _STATE.waiting.append(render)


def announce_ended() -> float:
    """Timer: announce the renders that have ended."""
    if _STATE.waiting and not bpy.app.is_job_running("RENDER"):
        message, level = describe_render(_STATE.waiting[-1])
        _STATE.waiting.clear()
        announce(message, level)
    return _LOOK_AFTER_S


def register_handlers() -> None:
    """Add the handlers, after those of the guard, whose black strips they count."""
    if bpy.app.background:
        return
    bpy.app.timers.register(announce_ended, first_interval=_LOOK_AFTER_S, persistent=True)
    for when, handler in _list_handlers():
        when.append(handler)


def unregister_handlers() -> None:
    if bpy.app.timers.is_registered(announce_ended):
        bpy.app.timers.unregister(announce_ended)
    for when, handler in _list_handlers():
        if handler in when:
            when.remove(handler)
    _STATE.render = None
    _STATE.waiting.clear()


def _list_handlers() -> tuple[tuple[list[object], object], ...]:
    handlers = bpy.app.handlers
    return (
        (handlers.render_init, _begin),
        (handlers.render_post, _count),
        (handlers.render_write, _note_file),
        (handlers.render_complete, _complete),
        (handlers.render_cancel, _cancel),
    )
