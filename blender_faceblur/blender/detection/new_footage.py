# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect faces in new footage by itself, if the scene says that all footage must be covered.

A timer looks at the scene of each window. Once an editor has done nothing for a while, it starts an operator for the
strips of one source. A project that is opened starts nothing before its editor has allowed it, because it may come from
a stranger. Neither does a Blender without a window.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import bpy
from bpy.app.handlers import persistent

from ...core.types import FaceBlurError
from ..common.context import is_shown_or_rendered, is_tool_running
from ..common.footage import KINDS, Footage, get_footage, list_hidden
from ..common.jobs import JOB, redraw
from ..common.marks import BAKED, get_modifier
from ..cover.covering import has_unanalysed, is_left_uncovered
from ..cover.strips import get_mask

_EVERY_S = 0.5
"""How often the timer looks. Raising it delays the begin of a detection."""

_IDLE_S = 2.0
"""For how long an editor must have done nothing. Raising it delays the begin, lowering it begins between two edits."""

_OPERATOR = "FACEBLUR_OT_detect_new"
"""Blender's name of the operator that detects."""

Attempt = tuple[Footage, int, int]
"""Footage, and the first and last timeline frame of its file that a strip shows."""


@dataclass(frozen=True, slots=True)
class WaitingStrip:
    """A strip whose faces were not detected, or not in all of the frames that it shows."""

    name: str
    attempt: Attempt


@dataclass(slots=True)
class _NewFootage:
    """What is known about new footage in this process. Only this module uses it; opening a file clears it."""

    allowed: set[int] = field(default_factory=set)
    """The scenes in which an editor has allowed that detection begins by itself, by their `session_uid`."""
    tried: set[Attempt] = field(default_factory=set)
    """What was detected without success, or undone, so that it is not tried again and again."""
    waiting: dict[int, list[WaitingStrip]] = field(default_factory=dict)
    """The strips that waited when last looked, by the `session_uid` of their scene."""
    current: set[int] = field(default_factory=set)
    """The scenes that have not been edited since, by their `session_uid`."""
    busy_at: float = 0.0
    """When an editor last did something, as `time.monotonic`."""


_STATE = _NewFootage()


def register_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_note_edit)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_note_edit)
    bpy.app.handlers.load_pre.append(_forget)
    if not bpy.app.background:
        bpy.app.timers.register(_look, first_interval=_EVERY_S, persistent=True)


def unregister_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.remove(_note_edit)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.remove(_note_edit)
    bpy.app.handlers.load_pre.remove(_forget)
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    _forget()


def allow(scene: bpy.types.Scene, allowed: bool = True) -> None:
    """Allow that detection begins by itself in a scene until another file is opened, or forbid it."""
    if allowed:
        _STATE.allowed.add(scene.session_uid)
    else:
        _STATE.allowed.discard(scene.session_uid)
    _STATE.current.discard(scene.session_uid)


def forbid_all() -> None:
    """Begin no detection any more, until an editor allows it again."""
    _STATE.allowed.clear()


def is_allowed(scene: bpy.types.Scene) -> bool:
    return scene.session_uid in _STATE.allowed


def list_waiting(scene: bpy.types.Scene) -> list[WaitingStrip]:
    """The strips of a scene whose footage must be detected, those that are seen first in the timeline first.

    Empty if the scene does not say that all footage must be covered. They are searched again only after an edit.
    """
    uid = scene.session_uid
    if uid not in _STATE.current:
        _STATE.waiting[uid] = _find_waiting(scene)
        _STATE.current.add(uid)
    return _STATE.waiting[uid]


def get_waiting(scene: bpy.types.Scene) -> list[WaitingStrip]:
    """What `list_waiting` returned last, for a panel: while an editor drags strips, nothing is searched."""
    return _STATE.waiting.get(scene.session_uid, []) if scene.faceblur.must_be_covered else []


def was_tried(strip: WaitingStrip) -> bool:
    """Whether its detection has failed, or was undone."""
    return strip.attempt in _STATE.tried


def choose_next(scene: bpy.types.Scene) -> list[WaitingStrip]:
    """The strips to detect next, which show the same file; empty if there is nothing to do or it is not allowed."""
    if not is_allowed(scene):
        return []
    waiting = [strip for strip in list_waiting(scene) if not was_tried(strip)]
    return [strip for strip in waiting if strip.attempt[0] == waiting[0].attempt[0]]


def begin_attempt(strips: Iterable[WaitingStrip]) -> None:
    _STATE.tried.update(strip.attempt for strip in strips)


def take_back_attempt(strips: Iterable[WaitingStrip]) -> None:
    """Let strips be tried again, whose detection has neither failed nor finished."""
    _STATE.tried.difference_update(strip.attempt for strip in strips)


def _find_waiting(scene: bpy.types.Scene) -> list[WaitingStrip]:
    settings = getattr(scene, "faceblur", None)
    if settings is None or not settings.must_be_covered or scene.sequence_editor is None:
        return []
    hidden, found = list_hidden(scene), []
    for strip in sorted(scene.sequence_editor.strips_all, key=lambda strip: int(strip.frame_final_start)):
        if strip.type in KINDS and strip.name not in hidden and _must_be_detected(strip):
            # The guard reports strips whose file is missing.
            with suppress(FaceBlurError):
                first = int(strip.frame_final_start - strip.frame_start)
                last = first + int(strip.frame_final_duration)
                found.append(WaitingStrip(strip.name, (get_footage(strip), first, last)))
    return found


def _must_be_detected(strip: bpy.types.Strip) -> bool:
    if BAKED in strip or is_left_uncovered(strip):
        return False
    if get_modifier(strip) is None:
        return True
    mask = get_mask(strip)
    if mask is None:
        return False
    try:
        return has_unanalysed(strip, mask)
    except ValueError:
        # The record is damaged, which the guard reports.
        return False


@persistent
def _note_edit(*_: object) -> None:
    _STATE.current.clear()
    _STATE.busy_at = time.monotonic()


@persistent
def _forget(*_: object) -> None:
    """What was allowed for one project does not hold for the next."""
    _STATE.allowed.clear()
    _STATE.tried.clear()
    _STATE.waiting.clear()
    _STATE.current.clear()


def _look() -> float:
    """Timer: begin the next detection if nothing else is going on."""
    if is_tool_running(bpy.context, _OPERATOR) or is_shown_or_rendered(bpy.context):
        _STATE.busy_at = time.monotonic()
        return _EVERY_S
    if JOB.running:
        _STATE.busy_at = time.monotonic()
    for window in bpy.context.window_manager.windows:
        scene = getattr(window.workspace, "sequencer_scene", None) or window.scene
        if scene.session_uid not in _STATE.current:
            before = get_waiting(scene)
            if list_waiting(scene) != before:
                # The tab lists them.
                redraw()
        if time.monotonic() - _STATE.busy_at > _IDLE_S and choose_next(scene) and _begin(window):
            break
    return _EVERY_S


def _begin(window: bpy.types.Window) -> bool:
    area = next((area for area in window.screen.areas if area.type == "SEQUENCE_EDITOR"), None)
    if area is None:
        return False
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        return bool(bpy.ops.faceblur.detect_new("INVOKE_DEFAULT") == {"RUNNING_MODAL"})
