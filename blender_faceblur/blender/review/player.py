# SPDX-License-Identifier: GPL-3.0-or-later
"""The review as a player: one key plays an item in a loop, one key decides and goes on."""

from __future__ import annotations

from typing import Any

import bpy

from ...core.translation import mark, translate
from ..common.context import get_sequencer_scene
from ..common.footage import get_frame_rate
from ..common.jobs import redraw
from ..common.selection import get_active_footage, has_strips, refuse
from ..cover.strips import get_mask
from .queue import find_next, get_current, go_to, list_covered
from .session import SESSION, advance_loop, begin_session, compute_loop, forget, start_loop, stop_loop

KEYS = {
    "RET": "review_fine",
    "NUMPAD_ENTER": "review_fine",
    "O": "review_off",
    "Y": "review_cover",
    "RIGHT_ARROW": "review_next",
    "LEFT_ARROW": "review_previous",
}
"""The operator of each key, over the preview and the timeline during a review."""

HINTS = mark(
    (
        ("Space", "Play"),
        ("Enter", "Is Fine"),
        ("O", "Off"),
        ("Y", "Cover"),
        ("Arrows", "Next/Previous"),
        ("ESC", "End"),
    )
)
"""Those keys in words, for the preview and the status bar."""

_TICK_S = 1 / 30

_HINT_TICKS = 15
"""The keys are written into the status bar again after so many ticks."""


class FACEBLUR_OT_review(bpy.types.Operator):
    """Review one item after another with single keys, over the preview. Space plays an item, ESC ends the review"""

    bl_idname = "faceblur.review"
    bl_label = "Review"

    _timer: Any = None
    _ticks = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not has_strips(cls, context):
            return False
        if SESSION.on:
            return refuse(cls, "The review runs already. ESC over the preview ends it")
        scene = get_sequencer_scene(context)
        if next(list_covered(scene), None) is None:
            return refuse(cls, "No strip is covered: Detect Faces first")
        found = find_next(scene, get_active_footage(context))
        return found is not None or refuse(cls, "All items are reviewed")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene, strip = get_sequencer_scene(context), get_active_footage(context)
        mask = get_mask(strip)
        current = get_current(mask) if mask is not None else None
        found = (strip, current) if current is not None and not current.verdict else find_next(scene, strip)
        if found is None:
            return {"CANCELLED"}
        go_to(scene, *found)
        # Undoing the first decision must come back to its item, and not to where the editor was before the review.
        bpy.ops.ed.undo_push(message=self.bl_label)
        begin_session()
        self._timer = context.window_manager.event_timer_add(_TICK_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        context.workspace.status_text_set(compose_hints())
        redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene = get_sequencer_scene(context)
        if SESSION.ended or not SESSION.on or scene is None:
            return self._end(context, scene)
        if event.type == "TIMER":
            self._tick(context, scene)
            return {"PASS_THROUGH"}
        if event.value != "PRESS" or event.shift or event.ctrl or event.alt or not _is_over_pictures(context, event):
            return {"PASS_THROUGH"}
        if event.type == "ESC":
            if SESSION.loop is None:
                return self._end(context, scene)
            stop_loop(scene)
        elif event.type == "SPACE":
            self._play(context, scene)
        elif event.type in KEYS:
            is_playing = SESSION.loop is not None
            stop_loop(scene)
            self._decide(KEYS[event.type])
            if not _has_open_item(context):
                self.report({"INFO"}, "All items are reviewed")
                return self._end(context, scene)
            if is_playing:
                # Who watches goes on watching: the next item plays at once.
                self._play(context, scene)
        else:
            if event.type in ("LEFTMOUSE", "G", "S", "R", "X"):
                # A correction belongs to the frame of the item.
                stop_loop(scene)
            return {"PASS_THROUGH"}
        redraw()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender calls this when a file is opened or the window is closed meanwhile."""
        self._end(context, None)

    def _tick(self, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
        self._ticks += 1
        if self._ticks % _HINT_TICKS == 0 and len(context.window.modal_operators) == 1:
            # Blender's own modal tools take the status bar, and leave it empty.
            context.workspace.status_text_set(compose_hints())
        if SESSION.loop is not None:
            advance_loop(scene)
            redraw()

    def _play(self, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
        if SESSION.loop is not None:
            stop_loop(scene)
            return
        strip = get_active_footage(context)
        mask = get_mask(strip)
        entry = get_current(mask) if mask is not None else None
        if mask is None or entry is None:
            return
        loop = compute_loop(strip, entry, mask.frame_end - mask.frame_start, float(get_frame_rate(scene)))
        if loop is not None:
            start_loop(loop, scene.frame_current)

    def _decide(self, name: str) -> None:
        operator = getattr(bpy.ops.faceblur, name)
        try:
            # True makes it an undo step, which an operator called from Python is not by default.
            operator("EXEC_DEFAULT", True)
        except RuntimeError as error:
            # It cannot run here, and Blender's message says why.
            self.report({"WARNING"}, str(error).strip().splitlines()[-1])

    def _end(self, context: bpy.types.Context, scene: bpy.types.Scene | None) -> set[str]:
        stop_loop(scene)
        forget()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        redraw()
        return {"FINISHED"}


def compose_hints() -> str:
    """The keys of the review, as the status bar shows them."""
    return "   ".join([translate("Review") + ":", *(f"{translate(key)}: {translate(words)}" for key, words in HINTS)])


def _has_open_item(context: bpy.types.Context) -> bool:
    return find_next(get_sequencer_scene(context), get_active_footage(context)) is not None


def _is_over_pictures(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Whether the mouse is over a preview or a timeline, and not over a sidebar or a header."""
    for area in context.window.screen.areas if context.window is not None else ():
        if area.type != "SEQUENCE_EDITOR":
            continue
        hit = [
            region.type
            for region in area.regions
            if region.x <= event.mouse_x < region.x + region.width
            and region.y <= event.mouse_y < region.y + region.height
            and region.width > 1
        ]
        # A sidebar may lie over the picture.
        if hit:
            return set(hit) <= {"WINDOW", "PREVIEW"}
    return False
