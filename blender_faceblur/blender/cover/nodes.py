# SPDX-License-Identifier: GPL-3.0-or-later
"""Build compositor node trees concisely: functions take sockets and return sockets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import bpy

from ..common.marks import MARK

if TYPE_CHECKING:
    Operand = Any
    """A socket to link, or a value to set."""


def new_group(name: str) -> bpy.types.NodeTree:
    return bpy.data.node_groups.new(name, "CompositorNodeTree")


def add_input(tree: bpy.types.NodeTree, name: str, kind: str, default: object = None, description: str = "") -> None:
    """Add an input to a group's interface; `kind` is Color, Float or Int."""
    socket = tree.interface.new_socket(name, in_out="INPUT", socket_type=f"NodeSocket{kind}", description=description)
    if default is not None:
        socket.default_value = default


def add_output(tree: bpy.types.NodeTree, name: str, kind: str) -> None:
    tree.interface.new_socket(name, in_out="OUTPUT", socket_type=f"NodeSocket{kind}")


def add_node(tree: bpy.types.NodeTree, kind: str, column: int, **inputs: object) -> bpy.types.Node:
    """A node of type `kind`, placed in `column`. Its inputs, by name, are linked from sockets or set to values."""
    node = tree.nodes.new(kind)
    rows = sum(1 for other in tree.nodes if other != node and round(other.location.x / 220) == column)
    node.location = (column * 220, -rows * 220)
    for name, value in inputs.items():
        put(tree, node.inputs[name.replace("_", " ")], value)
    return node


def put(tree: bpy.types.NodeTree, target: bpy.types.NodeSocket, value: object) -> None:
    """Link a socket, or set a value."""
    if isinstance(value, bpy.types.NodeSocket):
        tree.links.new(value, target)
    else:
        target.default_value = value


def sign(tree: bpy.types.NodeTree) -> str:
    """A digest of what a group computes: all links, and the operations and numbers of its Math nodes.

    It ignores the settings of other nodes and the names of sockets, because a newer Blender changes some of them when
    it opens the file.
    """
    maths = [
        (
            node.name,
            node.operation,
            [0.0 if socket.is_linked else round(socket.default_value, 5) for socket in node.inputs],
        )
        for node in tree.nodes
        if node.bl_idname == "ShaderNodeMath"
    ]
    links = [
        (
            link.from_node.name,
            list(link.from_node.outputs).index(link.from_socket),
            link.to_node.name,
            list(link.to_node.inputs).index(link.to_socket),
        )
        for link in tree.links
    ]
    return hashlib.sha256(json.dumps([sorted(maths), sorted(links)]).encode()).hexdigest()


class Role(StrEnum):
    """The groups of ours that are always the same, as their mark begins. All other groups are effects."""

    STRIP = "strip"
    PICTURE_SPACE = "picture space"
    INVERSE = "inverse"


def get_role(tree: bpy.types.NodeTree | None) -> str:
    """Which `Role` a group has, "effect" if it has none of them, and empty if there is no group."""
    if tree is None:
        return ""
    mark = str(tree.get(MARK, "")).rstrip("0123456789 ")
    try:
        return Role(mark)
    except ValueError:
        return "effect"


_OPTIONS = ("operation", "data_type", "blend_type", "clamp_factor", "use_clamp", "mute")


def hash_structure(tree: bpy.types.NodeTree) -> str:
    """A digest of what a group's output depends on: nodes by their types, with their options, values and links.

    Unlike that of `sign` it does not depend on the names of nodes, which Blender translates, so it is the same for
    every group that the same code has built. Of the groups inside, only the roles are part of it.
    """
    sources = {
        (link.to_node.name, list(link.to_node.inputs).index(link.to_socket)): (
            link.from_node,
            list(link.from_node.outputs).index(link.from_socket),
        )
        for link in tree.links
        if link.is_valid and not link.is_muted
    }
    known: dict[str, str] = {}

    def digest(node: bpy.types.Node) -> str:
        if node.name not in known:
            inputs: list[Any] = []
            for number, socket in enumerate(node.inputs):
                source = sources.get((node.name, number))
                if source is not None:
                    inputs.append([digest(source[0]), source[1]])
                elif node.bl_idname != "CompositorNodeGroup" and hasattr(socket, "default_value"):
                    inputs.append(_to_plain(socket.default_value))
            options = [str(getattr(node, name, "")) for name in _OPTIONS]
            options.append(get_role(getattr(node, "node_tree", None)))
            content = json.dumps([node.bl_idname, options, inputs])
            known[node.name] = hashlib.sha256(content.encode()).hexdigest()
        return known[node.name]

    ends = sorted(digest(node) for node in tree.nodes if node.bl_idname == "NodeGroupOutput")
    return hashlib.sha256(json.dumps(ends).encode()).hexdigest()[:16]


def _to_plain(value: Any) -> Any:
    if isinstance(value, float):
        # -0.0 is written differently.
        return round(value, 5) + 0.0
    if isinstance(value, str | int | bool | None):
        return value
    return [round(part, 5) + 0.0 for part in value] if hasattr(value, "__len__") else None


def make_maths(tree: bpy.types.NodeTree, column: int) -> Callable[..., bpy.types.NodeSocket]:
    """A function `maths(operation, a, b=None)` that adds a Math node and returns its output."""

    def maths(operation: str, *operands: Operand) -> bpy.types.NodeSocket:
        node = add_node(tree, "ShaderNodeMath", column)
        node.operation = operation
        node.hide = True
        for target, value in zip(node.inputs, operands, strict=False):
            put(tree, target, value)
        return node.outputs[0]

    return maths


def split(tree: bpy.types.NodeTree, vector: bpy.types.NodeSocket, column: int) -> tuple[bpy.types.NodeSocket, ...]:
    node = add_node(tree, "ShaderNodeSeparateXYZ", column)
    node.hide = True
    tree.links.new(vector, node.inputs[0])
    return node.outputs[0], node.outputs[1]


def add_mix(tree: bpy.types.NodeTree, column: int, factor: Operand, low: object, high: object) -> bpy.types.NodeSocket:
    """`low` where `factor` is 0, `high` where it is 1."""
    node = add_node(tree, "ShaderNodeMix", column)
    node.data_type = "RGBA"
    node.clamp_factor = True
    by_identifier = {socket.identifier: socket for socket in node.inputs}
    put(tree, by_identifier["Factor_Float"], factor)
    put(tree, by_identifier["A_Color"], low)
    put(tree, by_identifier["B_Color"], high)
    return next(socket for socket in node.outputs if socket.identifier == "Result_Color")
