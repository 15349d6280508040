# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what covers in step with what an editor does to footage and masks, by whatever tool.

In space nothing has to be kept (see compositing.py), and edits of the connected pair keep its time. But the sidebar
reverses only the active strip, a script may move, trim or retime one strip of the pair, a mask may be changed while the
sequencer still holds frames with the old one, and a layer that Blender adds covers nothing.
"""

from __future__ import annotations

import threading
from contextlib import suppress

import bpy
from bpy.app.handlers import persistent

from ..common.context import refresh_shown_sequencers
from ..masks.changes import forget_written, mark_dirty, watch_edits
from ..masks.mask import WRITING, adopt_layers, extend_frame_range
from ..masks.record import DamagedRecordError, has_record, list_own_masks
from .strips import _has_other_speeds, is_out_of_speed, list_pairs, sync_mask_strips

_REFRESH_AFTER_S = 0.15
"""While a point is dragged a mask changes with every move of the mouse."""

_SYNC_AFTER_S = 0.5
_OWN_OPERATORS = ("FACEBLUR_OT_detect",)


def register_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_on_edit)
    bpy.app.handlers.render_init.append(_prepare_render)
    bpy.app.handlers.load_post.append(_forget)
    watch_edits(True)


def unregister_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.remove(_on_edit)
    bpy.app.handlers.render_init.remove(_prepare_render)
    bpy.app.handlers.load_post.remove(_forget)
    watch_edits(False)
    for timer in (_refresh, _sync_at_rest):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


@persistent
def _forget(*_: object) -> None:
    forget_written()


@persistent
def _on_edit(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Runs after every edit, and not when only the frame changes."""
    sync_mask_strips(scene, with_speed=False)
    changed = [update.id.original for update in depsgraph.updates if isinstance(update.id, bpy.types.Mask)]
    changed = [mask for mask in changed if has_record(mask) and mask.name not in WRITING]
    for mask in changed:
        # The guard tells of damage, and renders the strips of such a mask black.
        with suppress(DamagedRecordError):
            extend_frame_range(mask)
            adopt_layers(mask)
            mark_dirty(mask)
    if bpy.app.background:
        # Only a render shows anything, and it prepares itself.
        return
    # A refresh takes an operator, which may not run in here, and so does a change of speed.
    if changed and not bpy.app.timers.is_registered(_refresh):
        bpy.app.timers.register(_refresh, first_interval=_REFRESH_AFTER_S)
    if not bpy.app.timers.is_registered(_sync_at_rest) and _has_other_speeds(scene):
        bpy.app.timers.register(_sync_at_rest, first_interval=_SYNC_AFTER_S)


def _refresh() -> float | None:
    if bpy.app.is_job_running("RENDER"):
        # Blender refuses meanwhile (5.2.2).
        return _REFRESH_AFTER_S
    for scene in bpy.data.scenes:
        for _, _, mask_strip in list_pairs(scene):
            # Also where no sequencer is on the screen now.
            mask_strip.invalidate_cache("RAW")
    refresh_shown_sequencers()
    return None


def _sync_at_rest() -> float | None:
    """Let Mask strips follow changed speeds once no tool of the editor's is in the middle of something."""
    if bpy.app.is_job_running("RENDER"):
        return _SYNC_AFTER_S
    for window in bpy.context.window_manager.windows:
        if any(operator.bl_idname not in _OWN_OPERATORS for operator in window.modal_operators):
            return _SYNC_AFTER_S
    for scene in bpy.data.scenes:
        if _has_other_speeds(scene):
            for problem in sync_mask_strips(scene):
                print(f"Face Blur: {problem}")
    refresh_shown_sequencers()
    return None


@persistent
def _prepare_render(scene: bpy.types.Scene, _: object = None) -> None:
    for mask in list_own_masks():
        with suppress(DamagedRecordError):
            extend_frame_range(mask)
            adopt_layers(mask)
    # From the window a render runs in a thread of its own, in which Blender crashes when the window's areas are touched
    # (5.2.2) as operators ask for.
    with_operators = threading.current_thread() is threading.main_thread()
    problems = sync_mask_strips(scene, with_speed=with_operators)
    for footage, modifier, mask_strip in list(list_pairs(scene)):
        if not with_operators and is_out_of_speed(scene, footage, mask_strip):
            modifier.input_mask_strip = None
            problems.append(f"The strip '{footage.name}' is covered whole: its mask does not follow its speed yet.")
        # The sequencer renders frames that it has cached, with the masks of then.
        mask_strip.invalidate_cache("RAW")
    for problem in problems:
        print(f"Face Blur: {problem}")
