# SPDX-License-Identifier: GPL-3.0-or-later
"""Give covered strips the effect that an editor chooses, at once, while a slider is dragged too.

Only node groups are replaced. A new group is complete before a modifier gets it, so no frame is ever without a cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import bpy

from ...core.cover.effects import EffectSettings
from ...core.types import FaceBlurError
from ..common.context import get_sequencer_scene
from ..common.footage import KINDS
from ..common.marks import get_modifier
from ..common.selection import list_selected
from ..masks.record import DamagedRecordError
from .covering import get_picture_numbers, read_group_effect
from .properties import read_effect_settings
from .strips import CoverBatch, get_mask


def list_affected(context: bpy.types.Context, scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    """The covered strips whose effect the scene's settings change: those selected, and all if no footage is selected.

    Baked strips are not among them, because their covers are part of their films.
    """
    if scene.sequence_editor is None:
        return []
    chosen = list_selected(context) if get_sequencer_scene(context) == scene else []
    strips = chosen or [strip for strip in scene.sequence_editor.strips_all if strip.type in KINDS]
    return [strip for strip in strips if get_modifier(strip) is not None]


def apply_chosen_effect(settings: Any, context: bpy.types.Context) -> None:
    """The `update` function of the scene's effect properties. During a render nothing changes; Update does it later."""
    scene = settings.id_data
    strips = list_affected(context, scene)
    # A render from the window runs in its own thread, which reads the groups.
    if strips and not bpy.app.is_job_running("RENDER"):
        change_effects(scene, strips, read_effect_settings(scene))


def change_effects(scene: bpy.types.Scene, strips: Sequence[bpy.types.Strip], effect: EffectSettings) -> None:
    """Give covered strips an effect. Those whose mask is lost or damaged keep theirs, which the guard reports."""
    batch = CoverBatch(scene, scene)
    for strip in strips:
        modifier, mask = get_modifier(strip), get_mask(strip)
        if modifier is None or mask is None or read_group_effect(modifier.node_group) == effect:
            continue
        with suppress(FaceBlurError, DamagedRecordError):
            name, numbers = f"Face Blur: {strip.name}", get_picture_numbers(mask)
            batch.set_group(
                modifier, batch.get_groups(effect).ensure(name, mask, *numbers, has_alpha=strip.type != "MOVIE")
            )
            # Blender shows cached pictures of the strip otherwise.
            modifier.input_mask_strip.invalidate_cache("RAW")
    batch.remove_unused()
