# SPDX-License-Identifier: GPL-3.0-or-later
"""Mosaic: a mosaic of blocks, each the mean of what it hides."""

from __future__ import annotations

import bpy

from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_reduction


class Mosaic(Effect):
    name = "mosaic"
    label = "Mosaic"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        samples = add_reduction(tree, source, halvings)
        result = nodes.add_node(tree, "NodeGroupOutput", halvings + 4)
        nodes.put(tree, result.inputs["Image"], add_enlargement(tree, source.outputs["Image"], samples, "Nearest"))
