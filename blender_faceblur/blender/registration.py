# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that Blender must be told when the extension is switched on, and told again when it goes."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..paths import set_user_folder
from . import alignment, edit_masks, guard, people, review, running, settings, thumbnails
from .command import register_command, unregister_command
from .operators import cover, detect, draw, faces, follow, guide, rendered, storage, tracks, verify
from .operators import edit_masks as edit_masks_operators
from .operators import export as export_operators
from .operators import guard as guard_operators
from .operators import review as review_operators
from .operators import thumbnails as thumbnails_operators
from .preferences import ROOT_PACKAGE, FACEBLUR_AP_preferences
from .ui import behind, classes, correct, coverage, gizmo, knowledge, masks, menu, overlay, panels
from .ui import guard as guard_panel
from .ui import review as review_panel

_CLASSES = (
    FACEBLUR_AP_preferences,
    detect.FACEBLUR_OT_detect,
    detect.FACEBLUR_OT_cancel,
    cover.FACEBLUR_OT_apply,
    cover.FACEBLUR_OT_remove,
    faces.FACEBLUR_OT_go_to_face,
    faces.FACEBLUR_OT_go_to_frame,
    faces.FACEBLUR_OT_switch_faces,
    *tracks.CLASSES,
    *follow.CLASSES,
    *draw.CLASSES,
    edit_masks_operators.FACEBLUR_OT_edit_masks,
    edit_masks_operators.FACEBLUR_OT_back_from_masks,
    rendered.FACEBLUR_OT_render_to_footage,
    export_operators.FACEBLUR_OT_export_covered,
    guide.FACEBLUR_OT_guide,
    storage.FACEBLUR_OT_forget_analyses,
    storage.FACEBLUR_OT_find_provider,
    panels.FACEBLUR_UL_faces,
    panels.FACEBLUR_PT_main,
    panels.FACEBLUR_PT_faces,
    panels.FACEBLUR_PT_messages,
    masks.FACEBLUR_PT_masks,
    behind.FACEBLUR_OT_see_behind,
    overlay.FACEBLUR_PT_overlays,
    *correct.CLASSES,
    *guard_operators.CLASSES,
    *verify.CLASSES,
    *review_operators.CLASSES,
    *thumbnails_operators.CLASSES,
    classes.FACEBLUR_PT_classes,
    review_panel.FACEBLUR_PT_review,
    *guard_panel.CLASSES,
    *gizmo.CLASSES,
    menu.FACEBLUR_MT_correct,
    menu.FACEBLUR_MT_review,
    menu.FACEBLUR_MT_strip,
)


def register() -> None:
    set_user_folder(_find_user_folder())
    for item in _CLASSES:
        bpy.utils.register_class(item)
    bpy.app.handlers.load_pre.append(_stop_before_load)
    alignment.register_handlers()
    guard.register_handlers()
    knowledge.register_handlers()
    behind.register_handlers()
    review.register_handlers()
    thumbnails.register_handlers()
    people.register()
    settings.register()
    overlay.add_overlay()
    coverage.add_coverage()
    review_panel.add_mark()
    edit_masks.register_handlers()
    masks.add_buttons()
    menu.add_menu()
    menu.add_keys()
    register_command()


def unregister() -> None:
    running.stop()
    unregister_command()
    menu.remove_keys()
    menu.remove_menu()
    masks.remove_buttons()
    edit_masks.unregister_handlers()
    review_panel.remove_mark()
    coverage.remove_coverage()
    overlay.remove_overlay()
    settings.unregister()
    people.unregister()
    thumbnails.unregister_handlers()
    review.unregister_handlers()
    behind.unregister_handlers()
    knowledge.unregister_handlers()
    guard.unregister_handlers()
    alignment.unregister_handlers()
    bpy.app.handlers.load_pre.remove(_stop_before_load)
    for item in reversed(_CLASSES):
        bpy.utils.unregister_class(item)
    set_user_folder(None)


@persistent
def _stop_before_load(*_: object) -> None:
    """What was detected, checked and verified belongs to the project that is about to be closed."""
    running.stop()
    running.STATE.faults, running.STATE.verified = [], None


def _find_user_folder() -> Path | None:
    """The folder that Blender gives an installed extension; None in a checkout."""
    try:
        return Path(bpy.utils.extension_path_user(ROOT_PACKAGE))
    except ValueError:
        return None
