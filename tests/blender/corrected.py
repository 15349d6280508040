# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layers of a mask are no longer what the add-on wrote."""

from __future__ import annotations

import bpy

from blender_faceblur.blender.masks.reading import adopt_layers, compare_layers
from blender_faceblur.blender.masks.record import MaskRecord


def list_corrected(mask: bpy.types.Mask) -> list[str]:
    """The names of the layers of ours that no longer are what was written."""
    adopt_layers(mask)
    return list(compare_layers(mask, MaskRecord.load(mask)))
