# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate the edited masks of baked strips while nothing else happens in the window.

The thread of a render cannot evaluate masks, so the guard renders strips black whose masks were edited since they were
last evaluated.
"""

from __future__ import annotations

from contextlib import suppress

import bpy

from ...core.types import FaceBlurError
from ..common.jobs import JOB
from ..cover.baked import evaluate_part, is_edited
from .baking import list_baked_masks

_EVERY_S = 0.1
"""Seconds between two parts of an evaluation. Raising it leaves more time to the window."""

_MOST_FRAMES = 30
"""Frames of a part, about 1 ms each. Raising it makes the window stutter."""


def register_handlers() -> None:
    if not bpy.app.background:
        bpy.app.timers.register(_evaluate_at_rest, first_interval=_EVERY_S, persistent=True)


def unregister_handlers() -> None:
    if bpy.app.timers.is_registered(_evaluate_at_rest):
        bpy.app.timers.unregister(_evaluate_at_rest)


def _evaluate_at_rest() -> float:
    """Evaluate a part of an edited mask, unless a render, a job or a tool is running."""
    manager = bpy.context.window_manager
    is_used = any(len(window.modal_operators) or window.screen.is_animation_playing for window in manager.windows)
    if JOB.active or is_used or bpy.app.is_job_running("RENDER"):
        return _EVERY_S
    for mask, frames in list_baked_masks():
        if is_edited(mask):
            # The guard reports masks that cannot be read.
            with suppress(FaceBlurError):
                evaluate_part(mask, frames, _MOST_FRAMES)
            break
    return _EVERY_S
