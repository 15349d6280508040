# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a mask over a strip of footage, and find what we put there."""

from __future__ import annotations

import bpy

from ..core.types import FaceBlurError
from .compositing import MARK
from .context import borrow_selection, borrow_sequencer

MODIFIER_NAME = "Face Blur"


def cover_strip(
    scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask, group: bpy.types.NodeTree
) -> bpy.types.Strip:
    """Cover `strip` with the effect `group` where `mask` does not show it; gives the Mask strip.

    The Mask strip is muted, lies above the footage, is connected to it and feeds the modifier. What an earlier call
    put on the strip is reused, whatever an editor added stays.
    """
    modifier = find_modifier(strip)
    if modifier is None:
        modifier = _add_modifier(scene, strip)
    mask_strip = modifier.input_mask_strip
    if mask_strip is None or mask_strip.mask != mask:
        mask_strip = _add_mask_strip(scene, strip, mask)
    old_group = modifier.node_group
    modifier.node_group = group
    modifier.input_mask_type = "STRIP"
    modifier.input_mask_strip = mask_strip
    # With RELATIVE, Blender skips the modifier where the Mask strip has ended: the footage comes through.
    modifier.mask_time = "ABSOLUTE"
    modifier.mute = False
    modifier.enable = True
    if old_group is not None and old_group != group and old_group.get(MARK) == "strip" and not old_group.users:
        bpy.data.node_groups.remove(old_group)
    return mask_strip


def find_modifier(strip: bpy.types.Strip) -> bpy.types.StripModifier | None:
    """Our modifier on a strip, known by its node group."""
    for modifier in strip.modifiers:
        if modifier.type == "COMPOSITOR" and modifier.node_group and modifier.node_group.get(MARK) == "strip":
            return modifier
    return None


def _add_modifier(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bpy.types.StripModifier:
    # Blender 5.0.1 crashes in modifiers.new() while the workspace has no sequencer scene.
    with borrow_sequencer(scene):
        return strip.modifiers.new(MODIFIER_NAME, "COMPOSITOR")


def _add_mask_strip(scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> bpy.types.Strip:
    editor = scene.sequence_editor
    channel = _find_free_channel(editor, strip)
    mask_strip = editor.strips.new_mask(f"{strip.name} faces", mask, channel, round(strip.frame_start))
    mask_strip.mute = True
    mask_strip.use_reverse_frames = strip.use_reverse_frames
    mask_strip.frame_offset_start = strip.frame_offset_start
    mask_strip.frame_offset_end = strip.frame_offset_end
    if mask_strip.frame_final_duration != strip.frame_final_duration:
        mask_strip.frame_final_duration = strip.frame_final_duration
    mask_strip.channel = channel
    with borrow_selection(scene, strip, mask_strip):
        bpy.ops.sequencer.connect()
    return mask_strip


def _find_free_channel(editor: bpy.types.SequenceEditor, strip: bpy.types.Strip) -> int:
    """The first channel above `strip` that is free as long as it lasts."""
    for channel in range(strip.channel + 1, 129):
        taken = (other for other in editor.strips if other.channel == channel)
        if not any(
            other.frame_final_start < strip.frame_final_end and other.frame_final_end > strip.frame_final_start
            for other in taken
        ):
            return channel
    raise FaceBlurError(f"There is no free channel above the strip '{strip.name}' for its mask.")
