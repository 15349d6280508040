# SPDX-License-Identifier: GPL-3.0-or-later
"""Image: the editor's picture over each face, on a background colour, which remains if the picture is missing."""

from __future__ import annotations

import math

import bpy

from ....core.cover.effects import IMAGE
from .. import nodes
from .base import Effect, add_enlargement, add_grid_inputs, add_reduction


class Image(Effect):
    """Positions and sizes of covers are measured from the mask, so nothing has to be keyed.

    Around each point the covered samples and their positions are summed: the mean position is the centre of the cover,
    the number of samples its area. Covers that touch, or that are closer together than they are wide, share one
    picture. The rest of a cover has the background colour.
    """

    name = "image"
    label = "Image"
    shows_picture = False
    samples_per_face = IMAGE.samples_per_face

    def build(self, tree: bpy.types.NodeTree, halvings: int) -> None:
        add_grid_inputs(tree)
        nodes.add_input(tree, "Shown", "Color", description="1 where the picture is shown, 0 where it is covered")
        nodes.add_input(tree, "Color", "Color", (0.0, 0.0, 0.0, 1.0), "Background colour of each cover")
        nodes.add_input(tree, "Sticker", "Color", (0.0, 0.0, 0.0, 0.0), "The picture that is placed over each cover")
        nodes.add_output(tree, "Image", "Color")
        source = nodes.add_node(tree, "NodeGroupInput", 0)
        shown = add_reduction(tree, source, halvings, source.outputs["Shown"])
        column = halvings + 4
        placed = _add_places(tree, source, shown, column)
        column += 8
        enlarged = add_enlargement(tree, source.outputs["Image"], placed, "Bilinear")
        field = nodes.add_node(tree, "CompositorNodeSeparateColor", column, Image=enlarged)
        here = nodes.add_node(tree, "CompositorNodeImageCoordinates", column, Image=source.outputs["Image"])
        sticker = nodes.add_node(tree, "CompositorNodeImageInfo", column, Image=source.outputs["Sticker"])
        maths = nodes.make_maths(tree, column + 1)
        sides = nodes.split(tree, sticker.outputs["Resolution"], column)
        longer = maths("MAXIMUM", *sides)
        across = []
        for here_, middle, count, side in zip(
            nodes.split(tree, here.outputs["Normalized"], column),
            (field.outputs["Red"], field.outputs["Green"]),
            (source.outputs["Columns"], source.outputs["Rows"]),
            sides,
            strict=True,
        ):
            # Distance from the cover's centre: in samples, then in diameters, then in the sticker's width or height.
            away = maths("MULTIPLY", maths("SUBTRACT", here_, middle), count)
            share = maths("MULTIPLY", maths("DIVIDE", away, field.outputs["Blue"]), maths("DIVIDE", longer, side))
            across.append(maths("ADD", share, 0.5))
        place = nodes.add_node(tree, "ShaderNodeCombineXYZ", column + 2, X=across[0], Y=across[1], Z=1.0)
        laid = nodes.add_node(
            tree, "CompositorNodeMapUV", column + 3, Image=source.outputs["Sticker"], UV=place.outputs[0]
        )
        over = nodes.add_node(
            tree, "CompositorNodeAlphaOver", column + 4, Background=source.outputs["Color"], Foreground=laid.outputs[0]
        )
        result = nodes.add_node(tree, "NodeGroupOutput", column + 5)
        nodes.put(tree, result.inputs["Image"], over.outputs[0])


def _add_places(
    tree: bpy.types.NodeTree, source: bpy.types.Node, shown: bpy.types.NodeSocket, column: int
) -> bpy.types.NodeSocket:
    """For each sample, the cover around it: centre (red and green, 0..1 of the picture) and diameter (blue)."""
    maths = nodes.make_maths(tree, column)
    level = nodes.add_node(tree, "CompositorNodeRGBToBW", column, Image=shown)
    covered = maths("SUBTRACT", 1.0, level.outputs[0])
    here = nodes.add_node(tree, "CompositorNodeImageCoordinates", column, Image=shown)
    x, y = nodes.split(tree, here.outputs["Normalized"], column)
    # The blur extends the picture's edge outwards, so covered samples at the edge would count many times.
    for place, count in ((x, source.outputs["Columns"]), (y, source.outputs["Rows"])):
        away = maths("ABSOLUTE", maths("SUBTRACT", place, 0.5))
        inside = maths("LESS_THAN", away, maths("SUBTRACT", 0.5, maths("DIVIDE", 0.75, count)))
        covered = maths("MULTIPLY", covered, inside)
    weighed = nodes.add_node(
        tree,
        "CompositorNodeCombineColor",
        column + 1,
        Red=maths("MULTIPLY", x, covered),
        Green=maths("MULTIPLY", y, covered),
        Blue=covered,
    )
    areas, places = [], []
    for reach in IMAGE.windows:
        mean = nodes.add_node(tree, "CompositorNodeBlur", column + 2, Image=weighed.outputs[0])
        mean.inputs["Type"].default_value = "Flat"
        mean.inputs["Size"].default_value = (reach, reach)
        part = nodes.add_node(tree, "CompositorNodeSeparateColor", column + 3, Image=mean.outputs[0])
        maths = nodes.make_maths(tree, column + 4)
        area = maths("MULTIPLY", part.outputs["Blue"], float((2 * reach + 1) ** 2))
        diameter = maths("MULTIPLY", maths("SQRT", area), IMAGE.share * 2 / math.sqrt(math.pi))
        middle = [maths("DIVIDE", part.outputs[name], part.outputs["Blue"]) for name in ("Red", "Green")]
        place = nodes.add_node(
            tree, "CompositorNodeCombineColor", column + 5, Red=middle[0], Green=middle[1], Blue=diameter
        )
        areas.append(area)
        places.append(place.outputs[0])
    maths = nodes.make_maths(tree, column + 6)
    chosen = places[-1]
    for number in reversed(range(len(IMAGE.windows) - 1)):
        alone = maths("LESS_THAN", areas[number + 1], maths("MULTIPLY", areas[number], IMAGE.alone))
        chosen = nodes.add_mix(tree, column + 7, alone, chosen, places[number])
    return chosen
