# SPDX-License-Identifier: GPL-3.0-or-later
"""Blur: a smooth picture made from the same few samples as the mosaic, so nothing more can be got back from it."""

from __future__ import annotations

import bpy

from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_reduction


class Blur(Effect):
    name = "blur"
    label = "Blur"

    def build(self, tree: bpy.types.NodeTree) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        result = nodes.add_node(tree, "NodeGroupOutput", 11)
        samples = add_reduction(tree, source)
        nodes.put(tree, result.inputs["Image"], add_enlargement(tree, source, samples, "Bicubic"))
