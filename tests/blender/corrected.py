# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layers of a mask are no longer what the add-on wrote."""

from __future__ import annotations

import bpy

from blender_faceblur.blender.masks import changes
from blender_faceblur.blender.masks.mask import adopt_layers
from blender_faceblur.blender.masks.record import MaskRecord


def list_corrected(mask: bpy.types.Mask) -> list[str]:
    """The names of the layers of ours that no longer are what was written."""
    adopt_layers(mask)
    return list(changes._compare(mask, MaskRecord.load(mask)))
