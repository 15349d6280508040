# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cover's node group still does what it should."""

from __future__ import annotations

import math

import bpy

from ...core.translation import translate
from ..common.marks import MARK
from ..cover.compositing import is_intact
from ..cover.effects import EFFECTS
from ..cover.nodes import get_role
from ..masks.record import MaskRecord

_MEASURING = ("CompositorNodeImageInfo", "CompositorNodeImageCoordinates")
"""The nodes that pass on nothing of a picture but its size and coordinates."""

_MIXING = (
    "CompositorNodeScale",
    "CompositorNodePixelate",
    "CompositorNodeBlur",
    "CompositorNodeBokehBlur",
    "CompositorNodeDBlur",
    "CompositorNodeKuwahara",
)
"""The nodes whose result mixes or drops neighbouring pixels. How many is a matter of their values."""


def explain_broken_group(group: bpy.types.NodeTree, known: dict[str, str]) -> str:
    """Why a cover's node group no longer covers the faces; empty if it does. For `known` see `explain_broken_part`."""
    if any(node.bl_idname == "CompositorNodeViewer" for node in group.nodes):
        return "Its node group has a Viewer node, which replaces the covered picture in the preview."
    trees = list_groups(group)
    if len(trees) < 2 or not any(get_role(tree) == "picture space" for tree in trees):
        return "Its node group has lost the group that covers the faces."
    return explain_broken_part(group, known)


def explain_broken_part(group: bpy.types.NodeTree, known: dict[str, str]) -> str:
    """Why a group, or a group inside it, does not do what it should; empty if it looks intact.

    `known` has what earlier calls have found, by the names of the groups.
    """
    if group.name not in known:
        # The strips' groups share most of the groups inside them, and a stranger's file may have a group in itself.
        known[group.name] = ""
        known[group.name] = explain_broken_nodes(group) or next(
            (text for text in (explain_broken_part(inside, known) for inside in list_groups(group)) if text), ""
        )
    return known[group.name]


def explain_broken_nodes(group: bpy.types.NodeTree) -> str:
    nodes = _list_reached(group)
    if any(node.mute for node in nodes):
        return translate("A node of the node group '{name}' is muted.", name=group.name)
    if any(node.bl_idname == "CompositorNodeGroup" and node.node_tree is None for node in nodes):
        return translate("The node group '{name}' has lost a group inside it.", name=group.name)
    if _passes_through(group):
        return translate("The node group '{name}' passes its input through unchanged.", name=group.name)
    if _hides_picture(group) and _depends_on_picture(group):
        return translate("The node group '{name}' shows the picture, and its effect should not.", name=group.name)
    if get_role(group) == "effect" and group.get(MARK) is not None and _depends_on_picture(group, _MIXING):
        return translate("The node group '{name}' shows the picture with all of its detail.", name=group.name)
    if not is_intact(group):
        return translate("The node group '{name}', which puts the mask over the picture, was changed.", name=group.name)
    return ""


def _passes_through(group: bpy.types.NodeTree) -> bool:
    """Whether a group's output is one of its inputs unchanged, other than a colour."""
    into = {link.to_socket: link.from_socket for link in group.links if link.is_valid and not link.is_muted}
    ends = [node.inputs[0] for node in group.nodes if node.bl_idname == "NodeGroupOutput" and len(node.inputs)]
    for end in ends:
        source = into.get(end)
        while source is not None and source.node.bl_idname == "NodeReroute":
            source = into.get(source.node.inputs[0])
        if source is not None and source.node.bl_idname == "NodeGroupInput" and source.name != "Color":
            return True
    return False


def _hides_picture(group: bpy.types.NodeTree) -> bool:
    """Whether a group is an effect in which nothing of the picture may remain."""
    word = str(group.get(MARK, "")).split(" ")[0]
    return any(effect.name == word and not effect.shows_picture for effect in EFFECTS)


def _depends_on_picture(group: bpy.types.NodeTree, hiding: tuple[str, ...] = ()) -> bool:
    """Whether a group's output has anything of the picture other than its size and coordinates.

    With `hiding`, only what reaches the output by a way without any node of these types counts.
    """
    return _reaches_output(group, hiding, ("Image",), frozenset())


def _reaches_output(
    group: bpy.types.NodeTree, hiding: tuple[str, ...], inputs: tuple[str, ...], around: frozenset[str]
) -> bool:
    """Whether any of a group's `inputs` (of all, if there are none) reaches its output. `around` are the groups that
    this one is in."""
    into: dict[str, list[bpy.types.NodeLink]] = {}
    for link in group.links:
        if link.is_valid and not link.is_muted:
            into.setdefault(link.to_node.name, []).append(link)
    todo = [node.name for node in group.nodes if node.bl_idname == "NodeGroupOutput"]
    reached = set(todo)
    while todo:
        for link in into.get(todo.pop(), ()):
            source = link.from_node
            if source.bl_idname == "NodeGroupInput" and (not inputs or link.from_socket.name in inputs):
                return True
            if source.name in reached or source.bl_idname in (*_MEASURING, *hiding):
                continue
            inside = getattr(source, "node_tree", None)
            # A stranger's file may have a group in itself.
            is_followed = hiding and inside is not None and inside.name not in around
            if is_followed and not _reaches_output(inside, hiding, (), around | {group.name}):
                continue
            reached.add(source.name)
            todo.append(source.name)
    return False


def _list_reached(group: bpy.types.NodeTree) -> list[bpy.types.Node]:
    """The nodes that a group's output depends on, including the output node."""
    links = [(link.to_node.name, link.from_node.name) for link in group.links if link.is_valid and not link.is_muted]
    reached = {node.name for node in group.nodes if node.bl_idname == "NodeGroupOutput"}
    todo = list(reached)
    while todo:
        here = todo.pop()
        fresh = {source for target, source in links if target == here} - reached
        reached |= fresh
        todo += fresh
    return [group.nodes[name] for name in reached]


def list_groups(group: bpy.types.NodeTree) -> list[bpy.types.NodeTree]:
    """The groups that a group's output depends on."""
    trees = [getattr(node, "node_tree", None) for node in _list_reached(group)]
    return [tree for tree in trees if tree is not None]


def has_unit(group: bpy.types.NodeTree, mask: bpy.types.Mask) -> bool:
    """Whether a strip's node group uses the unit of the mask's coordinates."""
    record = MaskRecord.load(mask)
    unit = record.unit_px / max(record.size)
    places = [
        node.inputs["Unit"]
        for node in _list_reached(group)
        if node.bl_idname == "CompositorNodeGroup" and "Unit" in node.inputs
    ]
    return all(not place.is_linked and math.isclose(place.default_value, unit, rel_tol=1e-5) for place in places)
