# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys that work on faces in the preview, in the window's status bar while they can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import bpy

from ...core.translation import translate
from ..common.context import get_sequencer_scene, is_tool_running
from ..common.jobs import JOB
from ..common.key_hints import KEY_HINTS
from ..common.marks import BAKED
from ..common.selection import get_active_footage
from ..cover.strips import get_mask
from ..overlay.outlines import list_shown
from ..review.player import compose_hints
from ..review.session import SESSION


@dataclass(frozen=True, slots=True)
class KeyHint:
    """What a key does: the icons of the key, and the words. Where not all fit, those of the lowest rank stay."""

    icons: tuple[str, ...]
    words: str
    rank: int


HINTS = (
    KeyHint(("MOUSE_LMB",), "Choose Face", 1),
    KeyHint(("EVENT_G",), "Move", 4),
    KeyHint(("EVENT_S",), "Resize", 6),
    KeyHint(("EVENT_R",), "Rotate", 7),
    KeyHint(("EVENT_X",), "Switch Off", 2),
    KeyHint(("EVENT_CTRL", "MOUSE_LMB"), "Add Face", 3),
    KeyHint(("EVENT_B",), "Box Faces", 5),
)
"""What works on the face under the mouse, and where there is none."""

_SHARE = 0.55
"""The share of the status bar that the keys take at most, those of a review included. Raising it leaves less for
Blender's messages, which it cuts off where there is no room."""

_ICON_UNITS, _MARGIN_UNITS = 1.0, 0.8
"""The width of an icon, and what else a label has beside its words, in units of 20 pixels at an interface scale of 1.
Measured on Blender 5.2."""

_PASSING = ("FACEBLUR_OT_review", "FACEBLUR_OT_detect_new", "FACEBLUR_OT_announce")
"""Modal operators during which these keys work; others have keys of their own in the status bar."""


def add_hints() -> None:
    bpy.types.STATUSBAR_HT_header.prepend(draw_hints)


def remove_hints() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw_hints)


def can_use_keys(context: bpy.types.Context) -> bool:
    """Whether the window has a preview that shows the active covered strip."""
    scene, window = get_sequencer_scene(context), context.window
    if scene is None or window is None or JOB.active or KEY_HINTS.hidden or is_tool_running(context, *_PASSING):
        return False
    if not any(
        area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type != "SEQUENCER" for area in window.screen.areas
    ):
        return False
    strip = get_active_footage(context)
    return get_mask(strip) is not None and BAKED not in strip and strip in list_shown(scene)


def choose_hints(
    hints: Sequence[KeyHint], room_px: float, unit_px: float, measure: Callable[[str], float]
) -> list[KeyHint]:
    """The hints that fit into so many pixels, in their order. `measure` returns the width of words, in pixels."""
    chosen: list[KeyHint] = []
    for hint in sorted(hints, key=lambda hint: hint.rank):
        room_px -= measure(translate(hint.words)) + (_ICON_UNITS * len(hint.icons) + _MARGIN_UNITS) * unit_px
        if room_px < 0:
            break
        chosen.append(hint)
    return [hint for hint in hints if hint in chosen]


def draw_hints(header: bpy.types.Header, context: bpy.types.Context) -> None:
    if not can_use_keys(context):
        return
    unit_px = 20 * (context.preferences.system.ui_scale or 1.0)
    room_px = _SHARE * context.region.width - _measure(context, translate("Face:")) - _MARGIN_UNITS * unit_px
    if SESSION.on:
        room_px -= _measure(context, compose_hints())
    chosen = choose_hints(HINTS, room_px, unit_px, lambda words: _measure(context, words))
    if not chosen:
        return
    row = header.layout.row(align=True)
    row.label(text="Face:")
    for hint in chosen:
        *others, last = hint.icons
        for icon in others:
            row.label(text="", icon=icon)
        row.label(text=hint.words, icon=last)


def _measure(context: bpy.types.Context, words: str) -> float:
    """The width of words in pixels, in the font of Blender's labels."""
    import blf

    preferences = context.preferences
    blf.size(0, preferences.ui_styles[0].widget.points * (preferences.system.ui_scale or 1.0))
    return float(blf.dimensions(0, words)[0])
