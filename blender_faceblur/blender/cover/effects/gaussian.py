# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussian: a soft blur for its look only. It is weak: sharpening recovers much of a face."""

from __future__ import annotations

import bpy

from ....core.cover.effects import GAUSSIAN, KERNEL_RADIUS
from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_reduction


class Gaussian(Effect):
    name = "gaussian"
    label = "Gaussian"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        finer = min(GAUSSIAN.finer, halvings)
        samples = add_reduction(tree, source, halvings, finer=finer)
        blurred = nodes.add_node(tree, "CompositorNodeBlur", halvings + 4, Image=samples)
        blurred.inputs["Type"].default_value = "Gaussian"
        blurred.inputs["Size"].default_value = (KERNEL_RADIUS * 2**finer,) * 2
        result = nodes.add_node(tree, "NodeGroupOutput", halvings + 7)
        nodes.put(
            tree, result.inputs["Image"], add_enlargement(tree, source.outputs["Image"], blurred.outputs[0], "Bilinear")
        )
