# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate masks in another Blender process, so that the window stays usable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ...painting.outlines import write_outlines
from ..masks.outlines import evaluate_outlines

_REPORTED = 100
"""Frames between two reports of progress."""


def write_masks(path: Path, masks: set[bpy.types.Mask]) -> None:
    """Write masks, with their animation, to a file for the other process."""
    bpy.data.libraries.write(str(path), masks)


def evaluate_masks(job: dict[str, Any], on_progress: Callable[[int, int], None]) -> int:
    """Write an outlines file for each mask; returns the number of frames. Runs in the other process.

    Keys of the job: masks (the file by `write_masks`) and evaluate (for each mask: mask, frames, outlines). Raises
    FaceBlurError if a mask cannot be read.
    """
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    with bpy.data.libraries.load(job["masks"], link=False) as (stored, loaded):
        loaded.masks = list(stored.masks)
    total, done = sum(int(one["frames"]) for one in job["evaluate"]), 0
    for one in job["evaluate"]:
        frames = []
        for outlines in evaluate_outlines(bpy.data.masks[one["mask"]], one["frames"]):
            frames.append(outlines)
            done += 1
            if done % _REPORTED == 0:
                on_progress(done, total)
        write_outlines(Path(one["outlines"]), frames)
    return total
