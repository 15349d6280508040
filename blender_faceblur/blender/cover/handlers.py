# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep covers in sync with an editor's changes to footage and masks, whatever the tool.

Positions in the picture need no work (see compositing.py), and editing a connected pair keeps both strips in sync. But
the sidebar reverses only the active strip, a script may move, trim or retime one strip of the pair, the sequencer may
still cache frames with an old mask, and a layer that Blender adds covers nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

import bpy
from bpy.app.handlers import persistent

from ...core.translation import translate
from ..common.context import drop_pictures_of_scenes, refresh_shown_sequencers
from ..common.speeds import forget_speeds
from ..masks.changes import forget_written, is_held, mark_dirty, watch_edits
from ..masks.mask import extend_frame_range
from ..masks.reading import adopt_layers
from ..masks.record import DamagedRecordError, has_record, list_own_masks
from .baked import forget_evaluated, mark_all_edited, mark_edited
from .strips import (
    forget_mask_timings,
    has_other_speeds,
    is_out_of_speed,
    list_pairs,
    sync_after_edit,
    sync_mask_strips,
)

_REFRESH_AFTER_S = 0.15
"""Delays a refresh, because a mask changes with every mouse move while a point is dragged."""

_SYNC_AFTER_S = 0.5
_OWN_OPERATORS = ("FACEBLUR_OT_detect", "FACEBLUR_OT_detect_new")


def register_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_on_edit)
    bpy.app.handlers.render_init.append(_prepare_render)
    bpy.app.handlers.load_post.append(_forget)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_rewind)
    watch_edits(True)


def unregister_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.remove(_on_edit)
    bpy.app.handlers.render_init.remove(_prepare_render)
    bpy.app.handlers.load_post.remove(_forget)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.remove(_rewind)
    watch_edits(False)
    for timer in (_refresh, _sync_at_rest):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


@persistent
def _forget(*_: object) -> None:
    forget_written()
    forget_evaluated()
    _forget_speeds()


def _forget_speeds() -> None:
    forget_speeds()
    forget_mask_timings()
    _schedule_sync(bpy.data.scenes)


def _schedule_sync(scenes: Iterable[bpy.types.Scene]) -> None:
    """Give Mask strips the speeds of their footage soon, if they do not have them."""
    # In background mode only a render shows anything, and `_prepare_render` prepares it.
    if bpy.app.background or bpy.app.timers.is_registered(_sync_at_rest):
        return
    if any(has_other_speeds(scene) for scene in scenes):
        bpy.app.timers.register(_sync_at_rest, first_interval=_SYNC_AFTER_S)


@persistent
def _rewind(*_: object) -> None:
    mark_all_edited()
    _forget_speeds()


@persistent
def _on_edit(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Update the covers after every edit. Blender does not call this when only the frame changes."""
    sync_after_edit(scene)
    changed = [update.id.original for update in depsgraph.updates if isinstance(update.id, bpy.types.Mask)]
    changed = [mask for mask in changed if has_record(mask) and not is_held(mask)]
    for mask in changed:
        # The guard reports damaged masks, and renders their strips black.
        with suppress(DamagedRecordError):
            extend_frame_range(mask)
            adopt_layers(mask)
            mark_dirty(mask)
        mark_edited(mask.name)
    if bpy.app.background:
        # In background mode only a render shows anything, and `_prepare_render` prepares it.
        return
    # A refresh or a change of speed needs an operator, which must not run in this handler.
    if changed and not bpy.app.timers.is_registered(_refresh):
        bpy.app.timers.register(_refresh, first_interval=_REFRESH_AFTER_S)
    _schedule_sync([scene])


def _refresh() -> float | None:
    if bpy.app.is_job_running("RENDER"):
        # Blender refuses to refresh during a render (5.2.2).
        return _REFRESH_AFTER_S
    for scene in bpy.data.scenes:
        for _, _, mask_strip in list_pairs(scene):
            # `refresh_shown_sequencers` does not reach sequencers that are not visible.
            mask_strip.invalidate_cache("RAW")
    refresh_shown_sequencers()
    return None


def _sync_at_rest() -> float | None:
    """Give Mask strips the changed speeds of their footage, once no modal tool of the editor is running."""
    if bpy.app.is_job_running("RENDER"):
        return _SYNC_AFTER_S
    for window in bpy.context.window_manager.windows:
        if any(operator.bl_idname not in _OWN_OPERATORS for operator in window.modal_operators):
            return _SYNC_AFTER_S
    for scene in bpy.data.scenes:
        if has_other_speeds(scene):
            for problem in sync_mask_strips(scene):
                print(translate("Face Blur: {problem}", problem=problem))
    refresh_shown_sequencers()
    return None


@persistent
def _prepare_render(scene: bpy.types.Scene, _: object = None) -> None:
    for mask in list_own_masks():
        with suppress(DamagedRecordError):
            extend_frame_range(mask)
            adopt_layers(mask)
    # A render from the window runs in its own thread. Operators need the window's areas, and Blender 5.2.2 crashes if
    # that thread touches them.
    with_operators = threading.current_thread() is threading.main_thread()
    problems = sync_mask_strips(scene, with_speed=with_operators)
    # The sequencer would render cached frames, with outdated masks.
    for shown in bpy.data.scenes:
        for _, _, mask_strip in list_pairs(shown):
            mask_strip.invalidate_cache("RAW")
    drop_pictures_of_scenes()
    for footage, modifier, mask_strip in list(list_pairs(scene)):
        if not with_operators and is_out_of_speed(scene, footage, mask_strip):
            modifier.input_mask_strip = None
            problems.append(
                translate(
                    "The strip '{name}' is covered completely, because its mask does not have its new speed yet.",
                    name=footage.name,
                )
            )
    for problem in problems:
        print(translate("Face Blur: {problem}", problem=problem))
