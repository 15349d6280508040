# SPDX-License-Identifier: GPL-3.0-or-later
"""One line at the top of the tab that says where the active strip stands, with a button for the next step."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...core.translation import count, translate
from ..common.context import get_sequencer_scene
from ..common.footage import KINDS
from ..common.jobs import JOB
from ..common.marks import BAKED, get_modifier
from ..common.selection import get_active_footage
from ..cover.covering import has_foreign_mask, is_left_uncovered, read_effect
from ..cover.properties import read_effect_settings
from ..cover.strips import get_mask
from ..masks.faces import list_faces
from .queue import count_large_left, count_left
from .watched import get_scene_watch

_ADD_MOVIE = "sequencer.movie_strip_add"


@dataclass(frozen=True, slots=True)
class StripState:
    """What the line says, and the operator of the next step, with its label; empty if the tab's own buttons are it."""

    words: str
    icon: str
    operator: str = ""
    label: str = ""


def describe_strip(scene: bpy.types.Scene, strip: bpy.types.Strip | None) -> StripState:
    """Where the active strip stands, and the next step. Whether a film shows no face is for Check to say."""
    if strip is None:
        if not any(one.type in KINDS for one in scene.sequence_editor.strips_all):
            return StripState("No film yet", "INFO", _ADD_MOVIE, "Add Movie")
        return StripState("No movie strip is selected", "INFO")
    if BAKED in strip:
        return _describe_baked(scene)
    modifier = get_modifier(strip)
    if modifier is None:
        return StripState("Left uncovered" if is_left_uncovered(strip) else "Not detected", "INFO")
    if modifier.mute or not modifier.enable:
        return StripState("Cover off: faces show", "ERROR", "faceblur.repair", "Repair")
    if has_foreign_mask(strip):
        return StripState("Mask gone: faces show", "ERROR", "faceblur.repair", "Repair")
    mask = get_mask(strip)
    if mask is None:
        return StripState("Mask lost: all covered", "ERROR", "faceblur.repair", "Repair")
    if read_effect(strip) != read_effect_settings(scene):
        return StripState("Settings changed since", "ERROR", "faceblur.apply", "Update")
    left = count_left(scene)
    if left:
        return StripState(describe_left(scene, left), "QUESTION", "faceblur.review", "Review")
    off = sum(mask.layers[face.name].hide_render for face in list_faces(mask))
    words = translate("Covered, {faces} off", faces=count(off, "face")) if off else "Covered"
    watch = get_scene_watch(scene)
    if watch.unwatched.any():
        if not off:
            words = translate("Covered, watched {share}", share=watch.describe_share())
        return StripState(words, "ERROR" if off else "CHECKMARK", "faceblur.watch_next", "Watch")
    return StripState(words, "ERROR" if off else "CHECKMARK", "faceblur.bake", "Bake")


def _describe_baked(scene: bpy.types.Scene) -> StripState:
    left = count_left(scene)
    if left:
        # In other strips: this line is about the whole timeline.
        return StripState(describe_left(scene, left), "QUESTION", "faceblur.review", "Review")
    watch = get_scene_watch(scene)
    if not watch.unwatched.any():
        return StripState("Baked", "CHECKMARK", "faceblur.check", "Check")
    words = translate("Baked, watched {share}", share=watch.describe_share())
    return StripState(words, "CHECKMARK", "faceblur.check", "Check")


def describe_left(scene: bpy.types.Scene, left: int) -> str:
    """What is left to review in all strips, `left` items."""
    large = count_large_left(scene)
    return (
        translate("{items} to review, {large} large", items=left, large=large)
        if large
        else translate("{items} to review", items=count(left, "item"))
    )


def draw_status(panel: bpy.types.Panel, context: bpy.types.Context) -> None:
    scene = get_sequencer_scene(context)
    if scene is None or JOB.active:
        return
    state = describe_strip(scene, get_active_footage(context))
    row = panel.layout.row()
    row.scale_y = 1.2
    row.label(text=state.words, icon=state.icon)
    if state.operator:
        button = row.operator(state.operator, text=state.label)
        if state.operator == _ADD_MOVIE:
            # Otherwise the strip begins under the mouse, and follows it until a click.
            button.frame_start, button.move_strips = scene.frame_start, False


def add_status() -> None:
    bpy.types.FACEBLUR_PT_main.prepend(draw_status)


def remove_status() -> None:
    bpy.types.FACEBLUR_PT_main.remove(draw_status)
