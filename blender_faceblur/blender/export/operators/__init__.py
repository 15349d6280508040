# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators that write films, timelines and masks."""

from __future__ import annotations

from . import export, masks, render_to_footage, timeline

CLASSES = (
    export.FACEBLUR_OT_export_covered,
    render_to_footage.FACEBLUR_OT_render_to_footage,
    timeline.FACEBLUR_OT_export_timeline,
    masks.FACEBLUR_OT_export_masks,
)
