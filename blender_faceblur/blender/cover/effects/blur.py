# SPDX-License-Identifier: GPL-3.0-or-later
"""Blur: a smooth picture made from as few samples as the mosaic, so no more can be recovered from it."""

from __future__ import annotations

import bpy

from ....core.cover.effects import BLUR
from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_reduction, extend


class Blur(Effect):
    name = "blur"
    label = "Blur"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        samples = add_reduction(tree, source, halvings)
        result = nodes.add_node(tree, "NodeGroupOutput", halvings + 6)
        smooth = nodes.add_node(
            tree,
            "CompositorNodeScale",
            halvings + 3,
            Image=samples,
            X=BLUR.points_per_sample,
            Y=BLUR.points_per_sample,
            Interpolation="Bicubic",
        )
        extend(smooth)
        real = nodes.add_node(tree, "CompositorNodeExposure", halvings + 4, Image=smooth.outputs[0])
        enlarged = add_enlargement(tree, source.outputs["Image"], real.outputs[0], "Bilinear")
        nodes.put(tree, result.inputs["Image"], enlarged)
