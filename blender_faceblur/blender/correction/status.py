# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys that work on faces in the preview, in the window's status bar while they can be used."""

from __future__ import annotations

import bpy

from ..common.context import get_sequencer_scene
from ..common.jobs import JOB
from ..common.key_hints import KEY_HINTS
from ..common.marks import BAKED
from ..common.selection import get_active_footage
from ..cover.strips import get_mask
from ..overlay.outlines import list_shown

HINTS = (
    ("MOUSE_LMB", "Choose Face"),
    ("EVENT_G", "Move"),
    ("EVENT_S", "Resize"),
    ("EVENT_R", "Rotate"),
    ("EVENT_X", "Switch Off"),
)
"""Icon and words of what works on the face under the mouse."""

ADD_HINT = (("EVENT_CTRL", ""), ("MOUSE_LMB", "Add Face"), ("EVENT_B", "Box Faces"))


def add_hints() -> None:
    bpy.types.STATUSBAR_HT_header.prepend(draw_hints)


def remove_hints() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw_hints)


def can_use_keys(context: bpy.types.Context) -> bool:
    """Whether the window has a preview that shows the active covered strip."""
    scene, window = get_sequencer_scene(context), context.window
    if scene is None or window is None or JOB.active or KEY_HINTS.hidden:
        return False
    if not any(
        area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type != "SEQUENCER" for area in window.screen.areas
    ):
        return False
    strip = get_active_footage(context)
    return get_mask(strip) is not None and BAKED not in strip and strip in list_shown(scene)


def draw_hints(header: bpy.types.Header, context: bpy.types.Context) -> None:
    if not can_use_keys(context):
        return
    row = header.layout.row(align=True)
    row.label(text="Face:")
    for icon, text in (*HINTS, *ADD_HINT):
        row.label(text=text, icon=icon)
