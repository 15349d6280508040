# SPDX-License-Identifier: GPL-3.0-or-later
"""Mosaic: blocks, each the weighted mean of what it hides and of its surroundings."""

from __future__ import annotations

import bpy

from ....core.cover.effects import KERNEL_RADIUS, MOSAIC
from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_halving, add_reduction


class Mosaic(Effect):
    name = "mosaic"
    label = "Mosaic"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        finer = min(MOSAIC.finer, halvings)
        fine = add_reduction(tree, source, halvings, finer=finer)
        blurred = nodes.add_node(tree, "CompositorNodeBlur", halvings + 4, Image=fine)
        blurred.inputs["Type"].default_value = "Gaussian"
        blurred.inputs["Size"].default_value = (KERNEL_RADIUS * MOSAIC.spread * 2**finer,) * 2
        samples = blurred.outputs[0]
        for step in range(finer):
            samples = add_halving(tree, samples, halvings + 5 + step)
        result = nodes.add_node(tree, "NodeGroupOutput", halvings + finer + 8)
        nodes.put(tree, result.inputs["Image"], add_enlargement(tree, source.outputs["Image"], samples, "Nearest"))
