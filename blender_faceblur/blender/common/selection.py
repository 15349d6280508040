# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips an operator works on, and the poll messages if it cannot run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy

from ...core.translation import translate
from .context import get_sequencer_scene
from .footage import KINDS
from .jobs import JOB
from .marks import get_modifier


@dataclass(slots=True)
class EnumItems:
    """The items that a dynamic enum last offered. Blender keeps no reference to their strings, so the caller must.

    The module that has the enum owns one. Each call of `offer` replaces the last.
    """

    items: list[tuple[str, str, str]] = field(default_factory=list)

    def offer(self, items: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        self.items = list(items)
        return self.items


BUSY = "Face Blur is working. Press ESC over the window to cancel it"


def list_selected(context: bpy.types.Context) -> list[bpy.types.Strip]:
    """The selected movie and image strips of the sequencer's scene, the active one first."""
    scene = get_sequencer_scene(context)
    if scene is None:
        return []
    strips: Sequence[bpy.types.Strip] | None = getattr(context, "selected_strips", None)
    if strips is None:
        strips = [strip for strip in scene.sequence_editor.strips if strip.select]
    active = scene.sequence_editor.active_strip
    return sorted((strip for strip in strips if strip.type in KINDS), key=lambda strip: strip != active)


def list_selected_covered(context: bpy.types.Context) -> list[bpy.types.Strip]:
    return [strip for strip in list_selected(context) if get_modifier(strip) is not None]


def get_active_footage(context: bpy.types.Context) -> Any:
    """The active strip if it is footage, else the footage of an active Mask strip, else the first selected footage.

    The last case occurs after Add > Movie, which makes the sound active. None if there is no such strip.
    """
    scene = get_sequencer_scene(context)
    active = scene.sequence_editor.active_strip if scene is not None else None
    if active is not None and active.type in KINDS:
        return active
    for strip in scene.sequence_editor.strips_all if active is not None and active.type == "MASK" else ():
        modifier = get_modifier(strip) if strip.type in KINDS else None
        if modifier is not None and modifier.input_mask_strip == active:
            return strip
    return next(iter(list_selected(context)), None)


def get_named_strip(operator: bpy.types.Operator, scene: bpy.types.Scene | None, name: str) -> Any:
    """The strip of that name. If it no longer exists, the operator reports an error and the result is None."""
    strip = scene.sequence_editor.strips_all.get(name) if scene is not None else None
    if strip is None:
        operator.report({"ERROR"}, translate("The strip '{name}' no longer exists", name=name))
    return strip


def refuse(operator: type[bpy.types.Operator], reason: str) -> bool:
    """Set the poll message that explains a disabled button; returns False, for `poll` to return."""
    operator.poll_message_set(translate(reason))
    return False


def is_busy(operator: type[bpy.types.Operator]) -> bool:
    """For `poll`: whether a job is running that an editor has started. One in the background does not count."""
    return JOB.active and not refuse(operator, BUSY)


def has_strips(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """For `poll`: whether no job is running and the sequencer has strips."""
    if is_busy(operator):
        return False
    return get_sequencer_scene(context) is not None or refuse(operator, "There are no strips")
