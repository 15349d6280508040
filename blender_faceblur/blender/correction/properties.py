# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operators of corrections and the settings of a scene share."""

from __future__ import annotations

from typing import Any

import bpy

from ..common.selection import get_active_footage
from ..cover.strips import get_mask
from ..masks.chosen_face import mark_chosen

EXTENT_ITEMS = [
    ("FOLLOW", "Track It", "Track it forwards and backwards until it leaves the picture or the shot ends"),
    ("FRAME", "This Frame Only", "Cover it in the current frame only"),
    ("HOLD", "Until End Here", "Cover the same place until the end of the film, or until End Here is used"),
]
"""How long an added face or region is covered, as items of an EnumProperty."""


def get_row(_: Any) -> int:
    """The active row of the list of faces: the index of the mask's active layer; -1 if there is none."""
    mask = get_mask(get_active_footage(bpy.context))
    return int(mask.active_layer_index) if mask is not None else -1


def set_row(_: Any, row: int) -> None:
    """Blender calls it for a click on a row, also on the active one."""
    strip = get_active_footage(bpy.context)
    mask = get_mask(strip)
    if mask is not None and 0 <= row < len(mask.layers):
        mask.active_layer_index = row
        mark_chosen(strip, mask)
