# SPDX-License-Identifier: GPL-3.0-or-later
"""List and remove the F-curves of one property of a data-block."""

from __future__ import annotations

import bpy


def list_curves(block: bpy.types.ID, path: str) -> list[tuple[bpy.types.ActionChannelbagFCurves, bpy.types.FCurve]]:
    """The F-curves on the data path `path`, each with the collection that it belongs to."""
    animation = block.animation_data
    if animation is None or animation.action is None:
        return []
    bags = [strip.channelbag(animation.action_slot) for layer in animation.action.layers for strip in layer.strips]
    return [(bag.fcurves, curve) for bag in bags if bag is not None for curve in bag.fcurves if curve.data_path == path]


def remove_curves(block: bpy.types.ID, path: str) -> None:
    for holder, curve in list_curves(block, path):
        holder.remove(curve)
