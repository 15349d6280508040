# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussian: a soft blur for its look only. It is weak: sharpening recovers much of a face."""

from __future__ import annotations

import bpy

from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_reduction

_FINER = 2
"""The picture is blurred at 2**_FINER points per sample, because a blur of that width at full size is slow."""

_RADIUS = 3.0
"""The radius of Blender's kernel, in standard deviations. One standard deviation is as wide as a sample."""


class Gaussian(Effect):
    name = "gaussian"
    label = "Gaussian"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        finer = min(_FINER, halvings)
        samples = add_reduction(tree, source, halvings, finer=finer)
        blurred = nodes.add_node(tree, "CompositorNodeBlur", halvings + 4, Image=samples)
        blurred.inputs["Type"].default_value = "Gaussian"
        blurred.inputs["Size"].default_value = (_RADIUS * 2**finer,) * 2
        result = nodes.add_node(tree, "NodeGroupOutput", halvings + 7)
        nodes.put(
            tree, result.inputs["Image"], add_enlargement(tree, source.outputs["Image"], blurred.outputs[0], "Bilinear")
        )
