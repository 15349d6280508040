# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the masks of baked strips with their films while nothing else happens in the window.

The thread of a render cannot evaluate masks, so the guard would have to render strips black whose masks were not
compared since the last edit.
"""

from __future__ import annotations

from contextlib import suppress

import bpy

from ...core.types import FaceBlurError
from ..common.jobs import JOB
from ..cover.baked import evaluate, is_evaluated
from .baking import list_baked_masks

_EVERY_S = 1.0


def register_handlers() -> None:
    if not bpy.app.background:
        bpy.app.timers.register(_evaluate_at_rest, first_interval=_EVERY_S, persistent=True)


def unregister_handlers() -> None:
    if bpy.app.timers.is_registered(_evaluate_at_rest):
        bpy.app.timers.unregister(_evaluate_at_rest)


def _evaluate_at_rest() -> float:
    """Evaluate one edited mask, unless a render, a job or a tool is running."""
    manager = bpy.context.window_manager
    is_used = any(len(window.modal_operators) for window in manager.windows)
    if JOB.active or is_used or bpy.app.is_job_running("RENDER"):
        return _EVERY_S
    for mask, frames in list_baked_masks():
        if not is_evaluated(mask):
            # The guard reports masks that cannot be read.
            with suppress(FaceBlurError):
                evaluate(mask, frames)
            break
    return _EVERY_S
