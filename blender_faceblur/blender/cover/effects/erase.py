# SPDX-License-Identifier: GPL-3.0-or-later
"""Erase: the face's place filled from what surrounds it, so that nothing of the face remains."""

from __future__ import annotations

import bpy

from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_halving, add_reduction

_LEVELS = 6
"""From as many samples across a face as were asked for, halved so often: each of the last lies over ten faces."""


class Erase(Effect):
    """Fills by pushing the picture down a pyramid and pulling it up again (Burt, "Moment images", 1988).

    What is covered has no weight on the way down; on the way up it is filled from the next coarser level.
    """

    name = "erase"
    label = "Erase"

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_input(tree, "Shown", "Color", description="1 where the picture may be shown: only that is drawn from")
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        level = nodes.add_node(tree, "CompositorNodeRGBToBW", 1, Image=source.outputs["Shown"])
        weighed = nodes.add_node(
            tree, "CompositorNodeSetAlpha", 1, Image=source.outputs["Image"], Alpha=level.outputs[0]
        )
        weighed.inputs["Type"].default_value = "Apply Mask"
        levels = [add_reduction(tree, source, halvings, weighed.outputs[0])]
        column = halvings + 4
        for _ in range(_LEVELS):
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
