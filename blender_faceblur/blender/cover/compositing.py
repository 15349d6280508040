# SPDX-License-Identifier: GPL-3.0-or-later
"""The node groups that turn a strip's picture into the covered one: they align the mask and apply the effect.

A Compositor modifier gives its group the strip's picture in source pixels, and the Mask strip's raster. The raster has
the size of the canvas, and its transform is the inverse of the footage's transform (Blender 5.0.1 and 5.2). The group
`PICTURE_SPACE` undoes that transform, so that mask coordinates always refer to the picture. An untransformed Mask strip
therefore fits the footage however that is scaled, moved, rotated or animated, and there is no second copy of the
transform that could become outdated.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bpy

from ...core.cover.effects import EffectSettings, compute_grid, compute_halvings, to_linear
from ..common.marks import MARK
from . import nodes
from .effects import get_effect

PICTURE_SPACE = "Face Blur Picture Space"
INVERSE = "Face Blur Inverse"

EFFECT_MARK, MASK_MARK = "faceblur_effect", "faceblur_mask"
"""Custom properties of a strip's node group: the settings it was made with, and the mask it belongs to."""

KNOWN_STRUCTURES: dict[str, frozenset[str]] = {
    "picture space": frozenset({"e4053870824933ec", "0dfd0cb0ce518736"}),
    "inverse": frozenset({"a8b8d4ef3ebf5d59"}),
    "strip": frozenset(
        {
            "3f57c656de9b06da",
            "0b37a43825da7df2",
            "e72a387a2b5120a1",
            "da9624fdee3ebfaf",
            "c2d45c757b782169",
            "57b2b58145b65cef",
            "9e8da157a04ee764",
            "9fa8839a77dfa8d9",
            "a01a87e93f50b31b",
            "6e731edff64a735d",
            "c767dd8480c09b2a",
            "f64172e84b287a9e",
            # As Blender 5.2 changes them when it opens a file of 5.0.
            "3fe7a1c73faea573",
            "c5d8c111ec90d2ac",
            "89a68a9cf8e4df38",
            "ddc5d7495f907fa0",
            "7fa8ac2358b54442",
            "72677c5d3d238177",
            "8243dd73c1828786",
            "beafaafd02f4bb38",
            "329db4c24cc06d13",
            "37847815cbbc33f6",
            "5b9d56ca2b4147d0",
            "a068c2af44d90b0d",
        }
    ),
}
"""What `nodes.hash_structure` returns for the groups with a `nodes.Role` as this module builds them, in all variants,
and as later versions of Blender change them. Anything else was changed by hand, and may show faces."""


_LEAST_SHOWN = 0.01
"""If less than this share of a picture is outside all covers, an inverted mask is treated as lost."""


def compute_mask_unit_px(picture: tuple[int, int], canvas: tuple[int, int]) -> float:
    """The number of source pixels in one unit of mask coordinates.

    Blender maps mask coordinates 0..1 to the longer side of the raster, which has the size of the canvas. The picture
    is fitted into that raster and centred. If both have the same aspect ratio, this is how Blender itself shows the
    mask over the picture.
    """
    fit = min(canvas[0] / picture[0], canvas[1] / picture[1])
    return max(canvas) / fit


def is_intact(tree: bpy.types.NodeTree) -> bool:
    """Whether a group of ours does what this module built it for. True for effects, which an editor may change."""
    known = KNOWN_STRUCTURES.get(nodes.get_role(tree))
    return known is None or nodes.hash_structure(tree) in known


def _find_intact(mark: str, name: str) -> bpy.types.NodeTree | None:
    """The group in the file with this mark, unless it was changed, by hand or by a stranger; None if there is none.

    `name` is the one that it probably has.
    """
    named = bpy.data.node_groups.get(name)
    if named is not None and _is_ours(named, mark):
        return named
    return next((tree for tree in bpy.data.node_groups if _is_ours(tree, mark)), None)


def _is_ours(tree: bpy.types.NodeTree, mark: str) -> bool:
    return bool(tree.get(MARK) == mark) and is_intact(tree)


def new_strip_group(name: str) -> bpy.types.NodeTree:
    """A new group without nodes, with the interface that a Compositor modifier needs."""
    tree = nodes.new_group(name)
    tree[MARK] = "strip"
    # Blender 5.0 finds the first two inputs by these names, later versions by order and type.
    nodes.add_input(tree, "Image", "Color", description="The strip's picture")
    nodes.add_input(tree, "Mask", "Color", description="1 where the picture is shown, 0 where it is covered")
    nodes.add_output(tree, "Image", "Color")
    return tree


def build_strip_group(
    name: str,
    picture: tuple[int, int],
    unit_px: float,
    face_px: float,
    settings: EffectSettings,
    has_alpha: bool = False,
) -> bpy.types.NodeTree:
    """The group of one strip. It holds the values, and uses the shared groups that an editor can open and change.

    `face_px` is the width of the largest face, without the margin. `has_alpha` preserves the picture's alpha where it
    is shown; films do not need that.
    """
    columns, rows = _compute_grid(picture, face_px, settings)
    effect = get_effect(settings.kind)
    tree = new_strip_group(name)
    source = nodes.add_node(tree, "NodeGroupInput", 0)
    place = nodes.add_node(tree, "CompositorNodeGroup", 1)
    place.node_tree = ensure_picture_space()
    nodes.put(tree, place.inputs["Image"], source.outputs["Image"])
    nodes.put(tree, place.inputs["Mask"], source.outputs["Mask"])
    visible = place.outputs["Shown"]
    if settings.inverse:
        turned = nodes.add_node(tree, "CompositorNodeGroup", 1)
        turned.node_tree = ensure_inverse()
        nodes.put(tree, turned.inputs["Shown"], visible)
        visible = turned.outputs["Shown"]
    cover = nodes.add_node(tree, "CompositorNodeGroup", 1)
    cover.node_tree = effect.ensure_group(compute_halvings(picture, columns, rows))
    nodes.put(tree, cover.inputs["Image"], source.outputs["Image"])
    if "Shown" in cover.inputs:
        nodes.put(tree, cover.inputs["Shown"], visible)
    if "Sticker" in cover.inputs:
        sticker = nodes.add_node(tree, "CompositorNodeImage", 0)
        sticker.image = get_sticker(settings.image)
        nodes.put(tree, cover.inputs["Sticker"], sticker.outputs["Image"])
    if "Color" in cover.inputs:
        cover.inputs["Color"].default_value = to_linear(settings.color)
    shown = nodes.add_mix(tree, 2, visible, cover.outputs["Image"], source.outputs["Image"])
    if has_alpha:
        shown = _mix_alpha(tree, shown, visible, cover.outputs["Image"], source.outputs["Image"])
    result = nodes.add_node(tree, "NodeGroupOutput", 6)
    nodes.put(tree, result.inputs["Image"], shown)
    _set_numbers(tree, picture, unit_px, (columns, rows))
    return tree


class StripGroups:
    """The groups of many strips with one effect: one for all strips with the same mask.

    Blender's time for each group, and for each change of a strip after it, grows with the number of groups. A group
    that differs from an earlier one only by numbers is its copy, which takes a thirtieth of the time (Blender 5.0.1).
    Nothing else may change these groups meanwhile.
    """

    def __init__(self, settings: EffectSettings) -> None:
        self._settings = settings
        self._built: dict[tuple[int, bool], tuple[bpy.types.NodeTree, tuple[Any, ...]]] = {}
        self._made: dict[tuple[Any, ...], tuple[bpy.types.NodeTree, str]] = {}

    def ensure(
        self,
        name: str,
        mask: bpy.types.Mask,
        picture: tuple[int, int],
        unit_px: float,
        face_px: float,
        has_alpha: bool,
    ) -> bpy.types.NodeTree:
        """The group of the strips with this mask. It is new, as `build_strip_group` builds it, and gets this name, or
        was made for another of these strips."""
        key = mask.session_uid, picture, unit_px, face_px, has_alpha
        if key not in self._made:
            group = self._make(name, picture, unit_px, face_px, has_alpha)
            # Blender does not count all users of the group, and would not save a group with no users.
            group.use_fake_user = True
            group[MASK_MARK] = mask
            group[EFFECT_MARK] = asdict(self._settings)
            self._made[key] = group, name
        return self._made[key][0]

    def take_names(self, removed: Collection[int]) -> None:
        """Give the groups their names, which those that they replace may have had until now. `removed` has the
        `session_uid` of groups that are gone."""
        for key, (group, name) in list(self._made.items()):
            if group.session_uid in removed:
                del self._made[key]
            elif group.name != name and name not in bpy.data.node_groups:
                group.name = name

    def _make(
        self, name: str, picture: tuple[int, int], unit_px: float, face_px: float, has_alpha: bool
    ) -> bpy.types.NodeTree:
        grid = _compute_grid(picture, face_px, self._settings)
        kind = compute_halvings(picture, *grid), has_alpha
        numbers = picture, unit_px, grid
        if kind not in self._built:
            built = build_strip_group(name, picture, unit_px, face_px, self._settings, has_alpha)
            self._built[kind] = built, numbers
            return built
        built, its_numbers = self._built[kind]
        tree = built.copy()
        tree.name = name
        if numbers != its_numbers:
            _set_numbers(tree, picture, unit_px, grid)
        return tree


def _compute_grid(picture: tuple[int, int], face_px: float, settings: EffectSettings) -> tuple[int, int]:
    samples = get_effect(settings.kind).samples_per_face or settings.samples_across
    return compute_grid(picture, face_px, samples)


def _set_numbers(tree: bpy.types.NodeTree, picture: tuple[int, int], unit_px: float, grid: tuple[int, int]) -> None:
    """Set what depends on the strip in a new group: the unit of its mask's coordinates, and the grid of samples."""
    numbers = {"Unit": unit_px / max(picture), "Columns": grid[0], "Rows": grid[1]}
    for node in tree.nodes:
        if node.bl_idname == "CompositorNodeGroup":
            for socket in node.inputs:
                if socket.name in numbers:
                    socket.default_value = numbers[socket.name]


def _mix_alpha(
    tree: bpy.types.NodeTree,
    mixed: bpy.types.NodeSocket,
    shown: bpy.types.NodeSocket,
    covered: bpy.types.NodeSocket,
    image: bpy.types.NodeSocket,
) -> bpy.types.NodeSocket:
    """`mixed`, with the picture's alpha where it is shown: the Mix node uses the alpha of its first colour only."""
    level = nodes.add_node(tree, "CompositorNodeRGBToBW", 3, Image=shown)
    alphas = []
    for color in (covered, image):
        separated = nodes.add_node(tree, "CompositorNodeSeparateColor", 3, Image=color)
        alphas.append(separated.outputs["Alpha"])
    maths = nodes.make_maths(tree, 4)
    difference = maths("SUBTRACT", alphas[1], alphas[0])
    alpha = maths("ADD", alphas[0], maths("MULTIPLY", difference, level.outputs[0]))
    replaced = nodes.add_node(tree, "CompositorNodeSetAlpha", 5, Image=mixed, Alpha=alpha)
    replaced.inputs["Type"].default_value = "Replace Alpha"
    return replaced.outputs[0]


def get_sticker(name: str) -> bpy.types.Image | None:
    """The picture of that name in the file, or else the one at that path, which gets packed; None if it is missing."""
    image = bpy.data.images.get(name)
    if image is None and name and Path(name).is_file():
        image = bpy.data.images.load(name, check_existing=True)
        if image.packed_file is None and image.size[0]:
            image.pack()
    # A stranger's file may name any file of this computer, and what is no picture must not be copied into the project.
    return image if image is not None and image.size[0] else None


def ensure_inverse() -> bpy.types.NodeTree:
    """The group that inverts the mask, so that only the faces show. Input and output: Shown."""
    tree = _find_intact(f"{nodes.Role.INVERSE} 1", INVERSE)
    if tree is not None:
        return tree
    tree = nodes.new_group(INVERSE)
    tree[MARK] = f"{nodes.Role.INVERSE} 1"
    build_inverse(tree)
    return tree


def build_inverse(tree: bpy.types.NodeTree) -> None:
    """Add the nodes of `ensure_inverse` to a new group.

    A lost mask is completely black, which no mask of ours is otherwise; then nothing is shown. The soft edge outside of
    a cover stays covered, except for its innermost eighth.
    """
    nodes.add_input(tree, "Shown", "Color", (0.0, 0.0, 0.0, 1.0), "1 where there is no face, 0 where there is one")
    nodes.add_output(tree, "Shown", "Color")
    source = nodes.add_node(tree, "NodeGroupInput", 0)
    level = nodes.add_node(tree, "CompositorNodeRGBToBW", 1, Image=source.outputs["Shown"])
    levels = nodes.add_node(tree, "CompositorNodeLevels", 1, Image=source.outputs["Shown"])
    maths = nodes.make_maths(tree, 2)
    there = maths("GREATER_THAN", levels.outputs["Mean"], _LEAST_SHOWN)
    face = maths("SUBTRACT", 1.0, maths("MINIMUM", maths("MULTIPLY", level.outputs[0], 8.0), 1.0))
    shown = maths("MULTIPLY", face, there)
    result = nodes.add_node(tree, "NodeGroupOutput", 3)
    nodes.put(tree, result.inputs["Shown"], shown)


def ensure_picture_space() -> bpy.types.NodeTree:
    """The group that aligns the mask with the picture. Inputs: Image, Mask, Unit. Output: Shown (white where shown).

    If the footage is scaled by S, rotated by R and moved by t, the mask arrives with the linear part A = S^-1 R^-1 and
    the location -A t. Of A, Image Info gives only the lengths of its columns and the direction of the first. With
    k = sx/sy, the orthogonality of R leaves a^2 k^4 - |column 2|^2 k^2 + b^2 = 0. The size of the raster's bounding box
    shows which of the two roots is the right one.
    """
    tree = _find_intact("picture space 2", PICTURE_SPACE)
    if tree is not None:
        return tree
    tree = nodes.new_group(PICTURE_SPACE)
    tree[MARK] = "picture space 2"
    nodes.add_input(tree, "Image", "Color")
    nodes.add_input(tree, "Mask", "Color")
    nodes.add_input(
        tree, "Unit", "Float", 1.0, "One unit of mask coordinates, as a multiple of the picture's longer side"
    )
    nodes.add_output(tree, "Shown", "Color")
    source = nodes.add_node(tree, "NodeGroupInput", 0)
    picture = nodes.add_node(tree, "CompositorNodeImageInfo", 1, Image=source.outputs["Image"])
    raster = nodes.add_node(tree, "CompositorNodeImageInfo", 1, Image=source.outputs["Mask"])
    width, height = nodes.split(tree, picture.outputs["Resolution"], 2)
    raster_width, raster_height = nodes.split(tree, raster.outputs["Resolution"], 2)
    box_width, box_height = nodes.split(tree, raster.outputs["Dimensions"], 2)
    first, second = nodes.split(tree, raster.outputs["Scale"], 2)
    x, y = nodes.split(tree, raster.outputs["Location"], 2)

    maths = nodes.make_maths(tree, 3)
    a = maths("MULTIPLY", first, maths("COSINE", raster.outputs["Rotation"]))
    b = maths("MULTIPLY", first, maths("SINE", raster.outputs["Rotation"]))
    abs_a, abs_b = maths("ABSOLUTE", a), maths("ABSOLUTE", b)
    second_squared = maths("MULTIPLY", second, second)
    twice_ab = maths("MULTIPLY", maths("MULTIPLY", abs_a, abs_b), 2.0)
    discriminant = maths(
        "MAXIMUM",
        maths("SUBTRACT", maths("MULTIPLY", second_squared, second_squared), maths("MULTIPLY", twice_ab, twice_ab)),
        0.0,
    )
    root_sum = maths("ADD", second_squared, maths("SQRT", discriminant))
    maths = nodes.make_maths(tree, 4)
    # A Math node returns zero for a division by zero, so a root that does not exist fits no box.
    ratios = (
        maths("SQRT", maths("DIVIDE", root_sum, maths("MULTIPLY", maths("MULTIPLY", a, a), 2.0))),
        maths("SQRT", maths("DIVIDE", maths("MULTIPLY", maths("MULTIPLY", b, b), 2.0), root_sum)),
    )
    misfits = []
    for k in ratios:
        wide = maths(
            "ADD", maths("MULTIPLY", abs_a, raster_width), maths("MULTIPLY", maths("DIVIDE", abs_b, k), raster_height)
        )
        high = maths(
            "ADD", maths("MULTIPLY", abs_b, raster_width), maths("MULTIPLY", maths("MULTIPLY", abs_a, k), raster_height)
        )
        misfits.append(
            maths(
                "ADD",
                maths("ABSOLUTE", maths("SUBTRACT", wide, box_width)),
                maths("ABSOLUTE", maths("SUBTRACT", high, box_height)),
            )
        )
    maths = nodes.make_maths(tree, 5)
    second_fits = maths("LESS_THAN", misfits[1], misfits[0])
    k = maths(
        "ADD",
        maths("MULTIPLY", ratios[1], second_fits),
        maths("MULTIPLY", ratios[0], maths("SUBTRACT", 1.0, second_fits)),
    )
    b_over_k = maths("DIVIDE", b, k)
    sx = maths(
        "DIVIDE", 1.0, maths("SQRT", maths("ADD", maths("MULTIPLY", a, a), maths("MULTIPLY", b_over_k, b_over_k)))
    )
    sy = maths("DIVIDE", sx, k)
    turn = maths("ARCTAN2", maths("MULTIPLY", maths("MULTIPLY", b, sy), -1.0), maths("MULTIPLY", a, sx))
    # Relative to the current picture, which may be a proxy of half the size in a preview.
    unit_px = maths("MULTIPLY", source.outputs["Unit"], maths("MAXIMUM", width, height))
    unit = maths("DIVIDE", unit_px, maths("MAXIMUM", raster_width, raster_height))

    maths = nodes.make_maths(tree, 6)
    centred = nodes.add_node(
        tree,
        "CompositorNodeTranslate",
        6,
        Image=source.outputs["Mask"],
        X=maths("MULTIPLY", x, -1.0),
        Y=maths("MULTIPLY", y, -1.0),
    )
    scaled = nodes.add_node(
        tree,
        "CompositorNodeScale",
        7,
        Image=centred.outputs[0],
        X=maths("MULTIPLY", sx, unit),
        Y=maths("MULTIPLY", sy, unit),
    )
    turned = nodes.add_node(tree, "CompositorNodeRotate", 8, Image=scaled.outputs[0], Angle=turn)
    # At the picture's edge the mask is sampled up to half a raster pixel outside; `reaches` rejects anything further.
    for node in (scaled, turned):
        for extension in ("Extension X", "Extension Y"):
            node.inputs[extension].default_value = "Extend"
    reaches = maths(
        "MULTIPLY",
        maths("GREATER_THAN", maths("MULTIPLY", raster_width, unit), maths("SUBTRACT", width, 1.0)),
        maths("GREATER_THAN", maths("MULTIPLY", raster_height, unit), maths("SUBTRACT", height, 1.0)),
    )
    # Show nothing unless the mask extends over the whole picture; an unlinked input would be white.
    chosen = nodes.add_node(tree, "CompositorNodeSwitch", 9, Switch=reaches, On=turned.outputs[0])
    chosen.inputs["Off"].default_value = (0.0, 0.0, 0.0, 1.0)
    result = nodes.add_node(tree, "NodeGroupOutput", 10)
    nodes.put(tree, result.inputs["Shown"], chosen.outputs[0])
    return tree
