# SPDX-License-Identifier: GPL-3.0-or-later
"""Mosaic: blocks, each the weighted mean of what it hides and of its surroundings."""

from __future__ import annotations

import bpy

from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_halving, add_reduction

SPREAD = 0.8
"""Standard deviation, in blocks, of the Gaussian that blurs the picture before it is sampled.

It removes all detail finer than two blocks, so every position of the grid gives the same information. With plain means,
each position gives different information, and combining the frames of a face that moves under the grid would recover
the face (docs/strength.md).
"""

_FINER = 2
"""The picture is blurred at 2**_FINER points per block."""

_RADIUS = 3.0
"""The radius of Blender's kernel, in standard deviations."""


class Mosaic(Effect):
    name = "mosaic"
    label = "Mosaic"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        finer = min(_FINER, halvings)
        fine = add_reduction(tree, source, halvings, finer=finer)
        blurred = nodes.add_node(tree, "CompositorNodeBlur", halvings + 4, Image=fine)
        blurred.inputs["Type"].default_value = "Gaussian"
        blurred.inputs["Size"].default_value = (_RADIUS * SPREAD * 2**finer,) * 2
        samples = blurred.outputs[0]
        for step in range(finer):
            samples = add_halving(tree, samples, halvings + 5 + step)
        result = nodes.add_node(tree, "NodeGroupOutput", halvings + finer + 8)
        nodes.put(tree, result.inputs["Image"], add_enlargement(tree, source.outputs["Image"], samples, "Nearest"))
