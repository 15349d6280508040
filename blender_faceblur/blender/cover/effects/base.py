# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of effects, and the reduction to a few samples that most of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import bpy

from .. import nodes

GRID_INPUTS = ("Columns", "Rows")


class Effect(ABC):
    """Covers a whole picture. The strip's group then shows the result only where the mask covers."""

    name: str
    label: str
    samples = True
    """Whether the effect is made of samples of the picture."""

    shows_picture = True
    """Whether anything of the picture remains in the effect, other than its size."""

    samples_per_face: float | None = None
    """Samples across the largest face, if the effect fixes that number; None if an editor chooses it."""

    def ensure_group(self, halvings: int) -> bpy.types.NodeTree:
        """The effect's node group: the one in the file, with an editor's changes, or a new one.

        Inputs: Image, and any of Columns, Rows (samples in the whole picture), Shown (the mask in picture space), Color
        and Sticker. Output: Image. `halvings` is how many times the picture is halved to arrive at the samples; an
        effect without samples has one group for all.
        """
        mark = f"{self.name} {halvings}" if self.samples else self.name
        name = f"Face Blur {self.label}" + (f" 1/{2**halvings}" if self.samples else "")
        tree = bpy.data.node_groups.get(name)
        if tree is None or tree.get("faceblur") != mark:
            tree = nodes.new_group(name)
            tree["faceblur"] = mark
            self.build_group(tree, halvings)
        return tree

    def build_group(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        """Add interface and nodes to a new group."""
        nodes.add_input(tree, "Image", "Color", description="The picture whose faces are covered")
        self.build(tree, halvings)

    @abstractmethod
    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        """Add nodes to a new group, whose only input so far is Image."""


def add_grid_inputs(tree: bpy.types.NodeTree) -> None:
    for name, side, count in zip(GRID_INPUTS, ("width", "height"), (48.0, 28.0), strict=True):
        nodes.add_input(
            tree, name, "Float", count, f"Samples across the {side} of the picture. Fewer samples hide more"
        )


def add_reduction(
    tree: bpy.types.NodeTree,
    source: bpy.types.Node,
    halvings: int,
    image: bpy.types.NodeSocket | None = None,
    finer: int = 0,
) -> bpy.types.NodeSocket:
    """The picture, or another `image` of its size, reduced to Columns x Rows samples, each the mean of its area.

    With `finer`, which is at most `halvings`, it stops earlier, at 2**finer times as many columns and rows.

    Bilinear sampling at exactly half the size is the mean of 2 x 2 pixels. So the picture is first scaled to the grid
    times a power of two and then halved. Blender's compositor scales lazily: a pixel operation between two Scale nodes
    (an Exposure of 0) makes it resample at each of them.
    """
    image = image or source.outputs["Image"]
    maths = nodes.make_maths(tree, 1)
    for step in range(halvings - finer + 1):
        scaled = nodes.add_node(tree, "CompositorNodeScale", 2 + step, Image=image, X=0.5, Y=0.5)
        if step == 0:
            scaled.inputs["Type"].default_value = "Absolute"
            for name, grid in zip(("X", "Y"), GRID_INPUTS, strict=True):
                # Blender rounds sizes up: slightly more than a whole number would add a column and shift every halving.
                size = maths("MULTIPLY", source.outputs[grid], 2.0**halvings)
                nodes.put(tree, scaled.inputs[name], maths("SUBTRACT", size, 0.01))
        extend(scaled)
        image = nodes.add_node(tree, "CompositorNodeExposure", 2 + step, Image=scaled.outputs[0]).outputs[0]
    return image


def add_halving(tree: bpy.types.NodeTree, image: bpy.types.NodeSocket, column: int) -> bpy.types.NodeSocket:
    """`image` at half its width and height. If both are even, each pixel is the mean of four."""
    scaled = nodes.add_node(tree, "CompositorNodeScale", column, Image=image, X=0.5, Y=0.5)
    extend(scaled)
    return nodes.add_node(tree, "CompositorNodeExposure", column, Image=scaled.outputs[0]).outputs[0]


def extend(node: bpy.types.Node) -> None:
    """Extend the picture's edge outwards; otherwise a scaled picture is mixed with transparency there."""
    for extension in ("Extension X", "Extension Y"):
        node.inputs[extension].default_value = "Extend"


def add_enlargement(
    tree: bpy.types.NodeTree, pattern: bpy.types.NodeSocket, image: bpy.types.NodeSocket, interpolation: str
) -> bpy.types.NodeSocket:
    """`image` at the size of the picture `pattern`."""
    column = 1 + round(image.node.location.x / 220)
    info = nodes.add_node(tree, "CompositorNodeImageInfo", 1, Image=pattern)
    width, height = nodes.split(tree, info.outputs["Resolution"], 1)
    enlarged = nodes.add_node(tree, "CompositorNodeScale", column, Image=image, X=width, Y=height)
    enlarged.inputs["Type"].default_value = "Absolute"
    enlarged.inputs["Interpolation"].default_value = interpolation
    extend(enlarged)
    return enlarged.outputs[0]
