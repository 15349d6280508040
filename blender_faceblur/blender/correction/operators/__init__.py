# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators that correct tracks; each is one undo step."""

from __future__ import annotations

from . import add, box, correct, edit_masks, faces, pick, track

CLASSES = (
    *correct.CLASSES,
    *track.CLASSES,
    *add.CLASSES,
    *pick.CLASSES,
    *box.CLASSES,
    edit_masks.FACEBLUR_OT_edit_masks,
    edit_masks.FACEBLUR_OT_back_from_masks,
    faces.FACEBLUR_OT_go_to_face,
    faces.FACEBLUR_OT_go_to_frame,
    faces.FACEBLUR_OT_switch_faces,
)
