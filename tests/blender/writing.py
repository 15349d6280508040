# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the analysis of a whole film into a mask."""

from __future__ import annotations

import bpy

from blender_faceblur.blender.masks.changes import write_analysis
from blender_faceblur.core.types import TrackDocument


def write_mask(
    document: TrackDocument, unit_px: float, mask: bpy.types.Mask | None = None, first_frame: int = 0
) -> bpy.types.Mask:
    """Write the document into a mask, or into a new one that starts at `first_frame`; returns the mask."""
    return write_analysis(mask, "faces", document, unit_px, (0, document.source.frame_count), first_frame)[0]
