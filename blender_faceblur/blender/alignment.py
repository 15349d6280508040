# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep Mask strips in the time of their footage when an edit touched the footage alone.

In space nothing has to be kept (see compositing.py), and edits of the connected pair keep its time. But the sidebar
reverses only the active strip, and a script may move, trim or retime one strip of the pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .compositing import MARK
from .context import borrow_selection, refresh_sequencer
from .strips import find_modifier

_TIMES = ("frame_start", "frame_offset_start", "frame_offset_end", "use_reverse_frames")


def align_mask_strips(scene: bpy.types.Scene, with_speed: bool = True) -> list[str]:
    """Give every Mask strip of ours the time of its footage; sentences about those that could not follow.

    What cannot follow is covered whole: its modifier is left without a mask. Changes of speed take operators, which
    are no business of a handler that runs while an editor drags: `with_speed` False leaves them for later.
    """
    problems = []
    for footage, modifier, mask_strip in list(_find_pairs(scene)):
        # Speed keys of a Mask strip cannot be read, so whether it has the same ones is not to be known.
        several_speeds = len(getattr(footage, "retiming_keys", ())) > 2
        if several_speeds or footage.frame_duration != mask_strip.frame_duration:
            if not with_speed:
                continue
            if several_speeds or not _copy_speed(scene, footage, mask_strip):
                modifier.input_mask_strip = None
                problems.append(f"The strip '{footage.name}' is covered whole: its mask cannot follow its speed.")
                continue
        for name in _TIMES:
            if getattr(mask_strip, name) != getattr(footage, name):
                setattr(mask_strip, name, getattr(footage, name))
    return problems


def register_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_align_after_edit)
    bpy.app.handlers.render_init.append(_align_before_render)


def unregister_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.remove(_align_after_edit)
    bpy.app.handlers.render_init.remove(_align_before_render)


@persistent
def _align_after_edit(scene: bpy.types.Scene, _: object) -> None:
    align_mask_strips(scene, with_speed=False)


@persistent
def _align_before_render(scene: bpy.types.Scene, _: object = None) -> None:
    for problem in align_mask_strips(scene):
        print(f"Face Blur: {problem}")
    # The sequencer renders frames that it has cached, with the masks of then.
    if next(_find_pairs(scene), None) is not None:
        refresh_sequencer(scene)


def _find_pairs(scene: bpy.types.Scene) -> Iterator[tuple[Any, Any, Any]]:
    """Footage, our modifier on it, and its Mask strip."""
    if scene.sequence_editor is None:
        return
    for footage in scene.sequence_editor.strips_all:
        modifier = find_modifier(footage) if hasattr(footage, "modifiers") else None
        if modifier is not None and modifier.input_mask_strip is not None:
            mask = modifier.input_mask_strip.mask
            if mask is not None and MARK in mask:
                yield footage, modifier, modifier.input_mask_strip


def _copy_speed(scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Give the Mask strip the one speed of its footage; False where that did not work."""
    with borrow_selection(scene, mask_strip):
        bpy.ops.sequencer.retiming_reset()
        if mask_strip.frame_duration != footage.frame_duration:
            speed = 100 * mask_strip.frame_duration / footage.frame_duration
            bpy.ops.sequencer.retiming_segment_speed_set(speed=speed)
    return abs(mask_strip.frame_duration - footage.frame_duration) <= 1
