# SPDX-License-Identifier: GPL-3.0-or-later
"""Solid: one colour that contains nothing of the face."""

from __future__ import annotations

import bpy

from .. import nodes
from .base import Effect


class Solid(Effect):
    name = "solid"
    label = "Solid"
    shows_picture = False
    samples = False

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        nodes.add_input(tree, "Color", "Color", (0.0, 0.0, 0.0, 1.0), "The colour that covers every face")
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        result = nodes.add_node(tree, "NodeGroupOutput", 1)
        nodes.put(tree, result.inputs["Image"], source.outputs["Color"])
