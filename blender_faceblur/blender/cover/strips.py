# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a mask over a strip of footage, find it there, keep it in sync with the footage's time, and remove it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from ..common.context import borrow_selection, borrow_sequencer
from ..common.marks import MARK, get_modifier
from ..masks.record import has_record, list_own_masks

MODIFIER_NAME = "Face Blur"


def cover_strip(
    scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask, group: bpy.types.NodeTree
) -> bpy.types.Strip:
    """Cover `strip` with the effect `group` where `mask` does not show it; returns the Mask strip.

    Our modifier comes before every modifier that can move the picture. The Mask strip is muted, above the footage,
    connected to it, and the modifier's input. An existing cover is reused, and an editor's own additions stay.
    """
    modifier = get_modifier(strip)
    if modifier is None:
        # Blender 5.0.1 crashes in modifiers.new() if the workspace has no sequencer scene.
        with borrow_sequencer(scene):
            modifier = strip.modifiers.new(MODIFIER_NAME, "COMPOSITOR")
    mask_strip = modifier.input_mask_strip
    # If only the footage or its modifier was copied, two strips share a Mask strip, which cannot be where both are.
    shared = mask_strip is not None and any(
        other_mask == mask_strip and footage != strip for footage, _, other_mask in list_pairs(scene)
    )
    if mask_strip is None or mask_strip.mask != mask or shared:
        if mask_strip is not None and not shared:
            remove_strip(scene, mask_strip)
        mask_strip = _add_mask_strip(scene, strip, mask)
    old_group = modifier.node_group
    modifier.node_group = group
    modifier.input_mask_type = "STRIP"
    modifier.input_mask_strip = mask_strip
    # With RELATIVE, Blender skips the modifier after the Mask strip's end, and the footage shows.
    modifier.mask_time = "ABSOLUTE"
    modifier.mute = False
    modifier.enable = True
    if old_group is not None and old_group != group and old_group.get(MARK) == "strip":
        remove_unused_group(old_group)
    put_cover_first(scene, strip)
    return mask_strip


def remove_unused_group(group: bpy.types.NodeTree) -> None:
    """Remove a strip's node group unless another strip uses it too.

    Blender does not count users of modifiers: after a cut or a copy, two strips use the group, and it has one user
    (5.0.1, 5.2.3).
    """
    strips = (
        strip
        for scene in bpy.data.scenes
        if scene.sequence_editor is not None
        for strip in scene.sequence_editor.strips_all
        if hasattr(strip, "modifiers")
    )
    if not any(
        modifier.type == "COMPOSITOR" and modifier.node_group == group
        for strip in strips
        for modifier in strip.modifiers
    ):
        bpy.data.node_groups.remove(group)


def get_mask(strip: bpy.types.Strip | None) -> Any:
    """Our mask that covers a strip; None if there is none or it was lost."""
    modifier = get_modifier(strip) if strip is not None and hasattr(strip, "modifiers") else None
    mask_strip = modifier.input_mask_strip if modifier is not None else None
    mask = mask_strip.mask if mask_strip is not None else None
    return mask if mask is not None and has_record(mask) else None


def list_moving_modifiers(strip: bpy.types.Strip) -> list[bpy.types.StripModifier]:
    """The modifiers before our cover that can move the picture, away from where its faces were detected."""
    cover = get_modifier(strip)
    found: list[bpy.types.StripModifier] = []
    for modifier in strip.modifiers:
        if modifier == cover:
            return found
        # Modifiers of other types change only colours or alpha.
        if modifier.type == "COMPOSITOR" and modifier.node_group is not None:
            found.append(modifier)
    return []


def put_cover_first(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    """Move our modifier before every modifier that can move the picture, so that they move the covered picture."""
    for _ in range(len(strip.modifiers)):
        if list_moving_modifiers(strip):
            name = get_modifier(strip).name
            _operate(scene, (strip,), bpy.ops.sequencer.strip_modifier_move, name=name, direction="UP")


def _operate(scene: bpy.types.Scene, strips: Sequence[bpy.types.Strip], operator: Any, **options: Any) -> bool:
    """Run an operator of the sequencer on these strips, of which the first is active; whether it finished."""
    with borrow_selection(scene, *strips):
        return bool(operator(**options) == {"FINISHED"})


def _add_mask_strip(scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> bpy.types.Strip:
    # Put it into the same meta strip, so that both move with that.
    strips = (strip.parent_meta() or scene.sequence_editor).strips
    channel = _choose_free_channel(strips, strip)
    mask_strip = strips.new_mask(f"{strip.name} faces", mask, channel, round(strip.frame_start))
    mask_strip.mute = True
    if _differ_in_speed(scene, strip, mask_strip):
        _copy_speed(scene, strip, mask_strip)
    _copy_times(strip, mask_strip)
    if mask_strip.frame_final_duration != strip.frame_final_duration:
        mask_strip.frame_final_duration = strip.frame_final_duration
    mask_strip.channel = channel
    # Connecting strips ends their earlier connections, so include the film's sound.
    _operate(scene, (strip, mask_strip, *_list_connected(scene, strip)), bpy.ops.sequencer.connect)
    return mask_strip


def _list_connected(scene: bpy.types.Scene, strip: bpy.types.Strip) -> list[bpy.types.Strip]:
    """The strips that are connected to `strip`."""
    if hasattr(strip, "connections"):
        return list(strip.connections)
    # Blender 5.0 does not expose connections. A film is added together with its sound, at the same position.
    return [
        other
        for other in (strip.parent_meta() or scene.sequence_editor).strips
        if strip.type == "MOVIE"
        and other.type == "SOUND"
        and other.sound is not None
        and bpy.path.abspath(other.sound.filepath) == bpy.path.abspath(strip.filepath)
        and (other.frame_start, other.frame_final_start) == (strip.frame_start, strip.frame_final_start)
    ]


def list_pairs(scene: bpy.types.Scene) -> Iterator[tuple[Any, Any, Any]]:
    """Footage, our modifier on it, and its Mask strip, for all covered strips whose mask exists."""
    # Handlers call this after every edit, also in files with a thousand strips and no mask of ours.
    if scene.sequence_editor is None or not list_own_masks():
        return
    for footage in scene.sequence_editor.strips_all:
        modifier = get_modifier(footage) if hasattr(footage, "modifiers") else None
        if modifier is not None and modifier.input_mask_strip is not None:
            mask = modifier.input_mask_strip.mask
            if mask is not None and has_record(mask):
                yield footage, modifier, modifier.input_mask_strip


def sync_mask_strip(
    scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip, with_speed: bool = True
) -> bool:
    """Give a Mask strip the timing of its footage; False if it cannot have the footage's speed.

    Changing the speed needs operators, which must not run in a handler while an editor drags. `with_speed=False` leaves
    the speed for later.
    """
    for name in _TRIMS:
        if getattr(mask_strip, name, 0):
            # A shorter Mask strip would count as a slower one.
            setattr(mask_strip, name, 0)
    if is_out_of_speed(scene, footage, mask_strip):
        if not with_speed:
            return True
        if has_several_speeds(footage) or not _copy_speed(scene, footage, mask_strip):
            return False
    _copy_times(footage, mask_strip)
    return True


def sync_mask_strips(scene: bpy.types.Scene, with_speed: bool = True) -> list[str]:
    """Give every Mask strip of ours the timing of its footage; returns a sentence for each strip where that failed.

    Such a strip is covered completely, because its modifier loses its mask. Its Mask strip is removed.
    """
    problems, lost = [], []
    for footage, modifier, mask_strip in list(list_pairs(scene)):
        if not sync_mask_strip(scene, footage, mask_strip, with_speed):
            modifier.input_mask_strip = None
            lost.append(mask_strip.name)
            problems.append(
                f"The strip '{footage.name}' is covered completely, because its mask cannot have its speed. "
                "Give all of it one constant speed, also what is hidden behind its ends, then use Update."
            )
    # Removing a strip may move others in memory. Two strips may share a Mask strip, if only footage was copied.
    kept = {mask_strip.name for _, _, mask_strip in list_pairs(scene)} if lost else set()
    for name in dict.fromkeys(lost):
        if name not in kept:
            remove_strip(scene, scene.sequence_editor.strips_all[name])
    return problems


def is_out_of_speed(scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Whether a Mask strip has another speed than its footage, or may have, because speed keys cannot be compared."""
    return has_several_speeds(footage) or _differ_in_speed(scene, footage, mask_strip)


def has_several_speeds(footage: bpy.types.Strip) -> bool:
    """Whether a strip has speed keys that its Mask strip cannot have, or has frames trimmed for good."""
    # The speed keys of a Mask strip cannot be read, so they cannot be compared. A film whose first or last pictures are
    # trimmed for good is shorter without being faster.
    is_trimmed = any(getattr(footage, name, 0) for name in _TRIMS)
    return is_trimmed or len(getattr(footage, "retiming_keys", ())) > 2


def remove_strip(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    """Remove a strip, with the operator: `strips.remove` leaves modifiers pointing at freed memory (Blender 5.0.1)."""
    locked, strip.lock = strip.lock, False
    if not _operate(scene, (strip,), bpy.ops.sequencer.delete):
        strip.lock = locked


_TRIMS = ("animation_offset_start", "animation_offset_end")
"""How many first and last frames of the file a strip skips for good, unlike with its movable ends."""

TIMES = ("frame_start", "frame_offset_start", "frame_offset_end", "use_reverse_frames", "strobe")


def _copy_times(footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> None:
    for name in TIMES:
        if getattr(mask_strip, name) != getattr(footage, name):
            setattr(mask_strip, name, getattr(footage, name))


def _differ_in_speed(scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Whether their durations differ, because of speed keys or a film's frame rate that is not the scene's."""
    apart = abs(footage.frame_duration - mask_strip.frame_duration)
    if apart != 1 or len(getattr(footage, "retiming_keys", ())) > 0:
        return bool(apart > 0)
    # Blender 5.0 counts one frame too few for some films, at any frame rate.
    rate = scene.render.fps / scene.render.fps_base
    return bool(footage.type == "MOVIE" and abs(footage.fps - rate) > 1e-3 * rate)


def _copy_speed(scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Give the Mask strip the constant speed of its footage; False if that failed."""
    _operate(scene, (mask_strip,), bpy.ops.sequencer.retiming_reset)
    if _differ_in_speed(scene, footage, mask_strip):
        speed = 100 * mask_strip.frame_duration / footage.frame_duration
        _operate(scene, (mask_strip,), bpy.ops.sequencer.retiming_segment_speed_set, speed=speed)
    return not _differ_in_speed(scene, footage, mask_strip)


def _choose_free_channel(strips: Collection[bpy.types.Strip], strip: bpy.types.Strip) -> int:
    """The first channel above `strip` that is free for its whole duration."""
    for channel in range(strip.channel + 1, 129):
        taken = (other for other in strips if other.channel == channel)
        if not any(
            other.frame_final_start < strip.frame_final_end and other.frame_final_end > strip.frame_final_start
            for other in taken
        ):
            return channel
    raise FaceBlurError(
        translate("No channel above the strip '{name}' is free for its mask. Move the strip down.", name=strip.name)
    )


def has_other_speeds(scene: bpy.types.Scene) -> bool:
    """Whether any footage has a speed that its mask does not have."""
    return any(is_out_of_speed(scene, footage, mask_strip) for footage, _, mask_strip in list_pairs(scene))
