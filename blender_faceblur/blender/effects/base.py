# SPDX-License-Identifier: GPL-3.0-or-later
"""What an effect is, and the way down to few samples that mosaic and blur share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import bpy

from .. import nodes

HALVINGS = 5
"""How often the picture is halved on its way down: up to 2^6 source pixels a sample are averaged without a gap."""


class Effect(ABC):
    """Covers a whole picture; where it shows is the mask's business."""

    name: str
    label: str

    def ensure_group(self) -> bpy.types.NodeTree:
        """The effect's node group: the one in the file, with the editor's changes, or a new one.

        Inputs: Image, and any of Columns, Rows (samples over the whole picture) and Color. Output: Image.
        """
        name = f"Face Blur {self.label}"
        tree = bpy.data.node_groups.get(name)
        if tree is None or tree.get("faceblur") != self.name:
            tree = nodes.new_group(name)
            tree["faceblur"] = self.name
            nodes.add_input(tree, "Image", "Color")
            self.build(tree)
        return tree

    @abstractmethod
    def build(self, tree: bpy.types.NodeTree) -> None:
        """Fill a new group whose only input so far is Image."""


def add_grid_inputs(tree: bpy.types.NodeTree) -> None:
    nodes.add_input(tree, "Columns", "Float", 48.0, "Samples over the whole width of the picture; fewer hide more")
    nodes.add_input(tree, "Rows", "Float", 28.0, "Samples over the whole height of the picture; fewer hide more")


def add_reduction(tree: bpy.types.NodeTree, source: bpy.types.Node) -> bpy.types.NodeSocket:
    """The picture as Columns x Rows samples, each the mean of its area.

    Bilinear sampling at exactly half the size is the mean of 2 x 2 pixels, so the picture is first brought to a power
    of two times the grid and then halved. Scaling is lazy in Blender's compositor: an operation on pixels (Exposure,
    by nothing) between two scalings makes each of them real.
    """
    image = source.outputs["Image"]
    maths = nodes.make_maths(tree, 1)
    for step in range(HALVINGS, -1, -1):
        column = 2 + HALVINGS - step
        if step == HALVINGS:
            scaled = nodes.add_node(
                tree,
                "CompositorNodeScale",
                column,
                Image=image,
                Type="Absolute",
                X=maths("MULTIPLY", source.outputs["Columns"], 2.0**step),
                Y=maths("MULTIPLY", source.outputs["Rows"], 2.0**step),
            )
        else:
            scaled = nodes.add_node(tree, "CompositorNodeScale", column, Image=image, X=0.5, Y=0.5)
        for extension in ("Extension X", "Extension Y"):
            scaled.inputs[extension].default_value = "Extend"
        image = nodes.add_node(tree, "CompositorNodeExposure", column, Image=scaled.outputs[0]).outputs[0]
    return image


def add_enlargement(
    tree: bpy.types.NodeTree, source: bpy.types.Node, image: bpy.types.NodeSocket, interpolation: str
) -> bpy.types.NodeSocket:
    """`image` at the size of the source's picture."""
    column = 4 + HALVINGS
    info = nodes.add_node(tree, "CompositorNodeImageInfo", column - 1, Image=source.outputs["Image"])
    width, height = nodes.split(tree, info.outputs["Resolution"], column - 1)
    enlarged = nodes.add_node(
        tree,
        "CompositorNodeScale",
        column,
        Image=image,
        Type="Absolute",
        X=width,
        Y=height,
        Interpolation=interpolation,
    )
    for extension in ("Extension X", "Extension Y"):
        enlarged.inputs[extension].default_value = "Extend"
    return enlarged.outputs[0]
