# SPDX-License-Identifier: GPL-3.0-or-later
"""Erase: fill the cover from its surroundings, so that nothing of the face remains."""

from __future__ import annotations

import bpy

from ....core.cover.effects import ERASE
from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_halving, add_reduction


class Erase(Effect):
    """Fills covers by a pull-push pyramid (Burt, "Moment images", 1988).

    Covered pixels have no weight when the picture is reduced. When it is enlarged again, they are filled from the next
    coarser level.
    """

    name = "erase"
    label = "Erase"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_input(
            tree, "Shown", "Color", description="1 where the picture is shown; covers are filled from there"
        )
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        level = nodes.add_node(tree, "CompositorNodeRGBToBW", 1, Image=source.outputs["Shown"])
        weighed = nodes.add_node(
            tree, "CompositorNodeSetAlpha", 1, Image=source.outputs["Image"], Alpha=level.outputs[0]
        )
        weighed.inputs["Type"].default_value = "Apply Mask"
        levels = [add_reduction(tree, source, halvings, weighed.outputs[0])]
        column = halvings + 4
        for _ in range(ERASE.levels):
            column += 1
            levels.append(add_halving(tree, levels[-1], column))
        column += 1
        straight = nodes.add_node(tree, "CompositorNodePremulKey", column, Image=levels[-1])
        straight.inputs["Type"].default_value = "To Straight"
        whole = nodes.add_node(tree, "CompositorNodeSetAlpha", column, Image=straight.outputs[0], Alpha=1.0)
        whole.inputs["Type"].default_value = "Replace Alpha"
        filled = whole.outputs[0]
        for finer in reversed(levels[:-1]):
            column += 1
            below = add_enlargement(tree, finer, filled, "Bilinear")
            over = nodes.add_node(tree, "CompositorNodeAlphaOver", column, Background=below, Foreground=finer)
            filled = nodes.add_node(tree, "CompositorNodeExposure", column, Image=over.outputs[0]).outputs[0]
        result = nodes.add_node(tree, "NodeGroupOutput", column + 3)
        nodes.put(tree, result.inputs["Image"], add_enlargement(tree, source.outputs["Image"], filled, "Bilinear"))
