# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels in which an editor corrects tracks."""

from __future__ import annotations

from . import correct, edit_masks, faces

CLASSES = (
    faces.FACEBLUR_UL_faces,
    faces.FACEBLUR_PT_faces,
    *correct.CLASSES,
    edit_masks.FACEBLUR_PT_masks,
)
