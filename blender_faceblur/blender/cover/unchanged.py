# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out whether a strip's node group still computes what it was made for, apart from the numbers that editors set.

A painted cover has the effect as it comes with the extension. Nodes that were changed by hand would make it differ from
what Blender shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import bpy

from ...core.cover.effects import EffectSettings
from ..common.marks import MARK
from . import nodes
from .compositing import build_inverse, build_strip_group
from .effects import EFFECTS, get_effect

_NUMBERS = ("Columns", "Rows", "Color", "Unit")
"""Inputs of the groups in a strip's group that hold its own values."""

_COMPARED = {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM"}
"""The types of a node's properties that are compared."""


def find_changed_group(
    group: bpy.types.NodeTree, size: tuple[int, int], effect: EffectSettings, has_alpha: bool
) -> str:
    """The name of a node group whose nodes were changed: a strip's `group`, or one inside it. Empty if none was.

    `size` is the picture's (width, height); for `effect` and `has_alpha` see `build_strip_group`. The function adds
    node groups to the file for the comparison and removes them.
    """
    before = {tree.name for tree in bpy.data.node_groups}
    try:
        made = build_strip_group("Face Blur Comparison", size, 1.0, 1.0, effect, has_alpha)
        if describe_tree(group) != describe_tree(made):
            return str(group.name)
        for node in group.nodes:
            tree: Any = getattr(node, "node_tree", None)
            build = _choose_builder(tree) if tree is not None else None
            if build is not None:
                fresh = nodes.new_group("Face Blur Comparison")
                build(fresh)
                if describe_tree(tree) != describe_tree(fresh):
                    return str(tree.name)
        return ""
    finally:
        for tree in [tree for tree in bpy.data.node_groups if tree.name not in before]:
            bpy.data.node_groups.remove(tree)


def _choose_builder(tree: bpy.types.NodeTree) -> Callable[[bpy.types.NodeTree], None] | None:
    """What makes the nodes of a shared group anew; None for the group that aligns the mask, which has a signature."""
    name, _, number = str(tree.get(MARK, "")).partition(" ")
    if nodes.get_role(tree) is nodes.Role.INVERSE:
        return build_inverse
    if any(effect.name == name for effect in EFFECTS):
        return lambda fresh: get_effect(name).build_group(fresh, int(number or 0))
    return None


def describe_tree(tree: bpy.types.NodeTree) -> str:
    """A digest of what a group computes: the nodes that its output depends on, their settings, values and links.

    Names and places of nodes do not count, nor do groups inside it, except for what kind of group they are.
    """
    sources = {link.to_socket: link.from_socket for link in tree.links if link.is_valid and not link.is_muted}
    known: dict[str, str] = {}

    def describe(node: bpy.types.Node) -> str:
        if node.name not in known:
            content = [node.bl_idname, node.mute, _describe_settings(node), [], []]
            for index, socket in enumerate(node.inputs):
                origin = _skip_converted(sources.get(socket), sources)
                if origin is not None:
                    place = list(origin.node.outputs).index(origin)
                    content[3].append([index, place, describe(origin.node)])
                elif hasattr(socket, "default_value") and socket.enabled:
                    is_own = node.bl_idname == "CompositorNodeGroup" and socket.name in _NUMBERS
                    content[4].append([index, None if is_own else _round(socket.default_value)])
            known[node.name] = hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()
        return known[node.name]

    return "".join(describe(node) for node in tree.nodes if node.bl_idname == "NodeGroupOutput")


def _skip_converted(origin: Any, sources: dict[Any, Any]) -> Any:
    """The output of a Mix node, if `origin` belongs to the nodes that Blender 5.2 adds after it in a file from 5.0, to
    give it the alpha of its first colour, as 5.0 did in the node. Otherwise `origin`."""
    if origin is None or origin.node.bl_idname != "CompositorNodeSetAlpha":
        return origin
    image, alpha = (sources.get(origin.node.inputs[name]) for name in ("Image", "Alpha"))
    if image is None or alpha is None or image.node.bl_idname != "ShaderNodeMix":
        return origin
    first = next(socket for socket in image.node.inputs if socket.identifier == "A_Color")
    is_first = (
        alpha.node.bl_idname == "CompositorNodeSeparateColor"
        and alpha.name == "Alpha"
        and sources.get(alpha.node.inputs["Image"]) == sources.get(first) is not None
        and origin.node.inputs["Type"].default_value == "Replace Alpha"
    )
    return image if is_first else origin


def _describe_settings(node: bpy.types.Node) -> list[Any]:
    own = [
        (prop.identifier, _round(getattr(node, prop.identifier)))
        for prop in node.bl_rna.properties
        if prop.type in _COMPARED and not prop.is_readonly and prop.identifier not in bpy.types.Node.bl_rna.properties
    ]
    tree, image = getattr(node, "node_tree", None), getattr(node, "image", None)
    kind = str(tree.get(MARK, "")).split(" ")[0] if tree is not None else ""
    return [own, kind, image.name if image is not None else ""]


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    return [_round(part) for part in value] if hasattr(value, "__len__") and not isinstance(value, str) else value
