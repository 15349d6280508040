# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that Blender must be told when the extension is switched on, and told again when it goes."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..files.paths import set_user_folder
from . import people, settings
from .command import register_command, unregister_command
from .common import jobs
from .common import menus as menu
from .common import operators as guide
from .correction import edit_masks
from .correction import gizmos as gizmo
from .correction.operators import add as draw
from .correction.operators import correct as tracks
from .correction.operators import edit_masks as edit_masks_operators
from .correction.operators import faces
from .correction.operators import track as follow
from .correction.panels import correct
from .correction.panels import edit_masks as masks
from .cover import handlers as alignment
from .cover import operators as cover
from .cover import panels
from .detection import operators as detect
from .detection import panels as classes
from .export.operators import export as export_operators
from .export.operators import render_to_footage
from .guard import checks as guard
from .guard import panels as guard_panel
from .guard.operators import check as guard_operators
from .guard.operators import verify
from .masks import overlay_cache
from .overlay import coverage, outlines, see_through
from .preferences import operators as storage
from .preferences.properties import ROOT_PACKAGE, FACEBLUR_AP_preferences
from .review import operators as review_operators
from .review import panels as review_panel
from .review import queue as review
from .thumbnails import operators as thumbnails_operators
from .thumbnails import store as thumbnails

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
    render_to_footage.FACEBLUR_OT_render_to_footage,
    export_operators.FACEBLUR_OT_export_covered,
    guide.FACEBLUR_OT_guide,
    storage.FACEBLUR_OT_forget_analyses,
    storage.FACEBLUR_OT_find_provider,
    panels.FACEBLUR_UL_faces,
    panels.FACEBLUR_PT_main,
    panels.FACEBLUR_PT_faces,
    panels.FACEBLUR_PT_messages,
    masks.FACEBLUR_PT_masks,
    see_through.FACEBLUR_OT_see_behind,
    outlines.FACEBLUR_PT_overlays,
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
    overlay_cache.register_handlers()
    see_through.register_handlers()
    review.register_handlers()
    thumbnails.register_handlers()
    people.register()
    settings.register()
    outlines.add_overlay()
    coverage.add_coverage()
    review_panel.add_mark()
    edit_masks.register_handlers()
    masks.add_buttons()
    menu.add_menu()
    menu.add_keys()
    register_command()


def unregister() -> None:
    jobs.stop()
    unregister_command()
    menu.remove_keys()
    menu.remove_menu()
    masks.remove_buttons()
    edit_masks.unregister_handlers()
    review_panel.remove_mark()
    coverage.remove_coverage()
    outlines.remove_overlay()
    settings.unregister()
    people.unregister()
    thumbnails.unregister_handlers()
    review.unregister_handlers()
    see_through.unregister_handlers()
    overlay_cache.unregister_handlers()
    guard.unregister_handlers()
    alignment.unregister_handlers()
    bpy.app.handlers.load_pre.remove(_stop_before_load)
    for item in reversed(_CLASSES):
        bpy.utils.unregister_class(item)
    set_user_folder(None)


@persistent
def _stop_before_load(*_: object) -> None:
    """What was detected, checked and verified belongs to the project that is about to be closed."""
    jobs.stop()
    jobs.STATE.faults, jobs.STATE.verified = [], None


def _find_user_folder() -> Path | None:
    """The folder that Blender gives an installed extension; None in a checkout."""
    try:
        return Path(bpy.utils.extension_path_user(ROOT_PACKAGE))
    except ValueError:
        return None
