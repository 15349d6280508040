# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a mask over a strip of footage, find it there, keep it in sync with the footage's time, and remove it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import bpy
import numpy as np

from ...core.cover.effects import EffectSettings
from ...core.translation import translate
from ...core.types import FaceBlurError
from ..common.context import borrow_selection, read_numbers, select_only
from ..common.marks import BAKED, MARK, get_modifier
from ..common.speeds import TRIMS, MaskTiming, compute_mask_timing, has_several_speeds, measure_speeds
from ..masks.record import has_record, list_own_masks
from .compositing import StripGroups

MODIFIER_NAME = "Face Blur"

_RETIMED: set[str] = set()
"""The Mask strips whose speed is being changed: Blender calls our handler in between, which would set their times."""

_MADE: dict[tuple[str, str], MaskTiming] = {}
"""The timings that Mask strips got, by the names of scene and strip, because the speed keys of a Mask strip cannot be
read. It is not stored in the file, where somebody could change it."""

Operate = Callable[..., bool]
"""`operate(strips, operator, **options)` runs an operator of the sequencer on strips, of which the first is active."""


class CoverBatch:
    """Work on the covers of many strips of a scene: what is found once for all of them, or done once at the end.

    Until it ends, nothing else may change covers. `idle` is the scene that operators are run with, see
    `cover_together`; without operators, any scene will do.
    """

    def __init__(self, scene: bpy.types.Scene, idle: bpy.types.Scene) -> None:
        self.scene = scene
        self._idle = idle
        # Blender does not count users of modifiers: after a cut or a copy, two strips use a group, and it has one user
        # (5.0.1, 5.2.3).
        self._groups: Counter[int] = Counter()
        self._mask_strips: Counter[str] = Counter()
        self._unused: dict[int, bpy.types.NodeTree] = {}
        self._sounds: dict[tuple[float, int], list[str]] = {}
        self._removed: list[str] = []
        self._made: dict[EffectSettings, StripGroups] = {}
        self._places: dict[str, Any] = {}
        self.waiting: set[str] = set()
        """The names of the scenes that Blender has evaluated since; see `sync_after_edit`."""
        for owner in bpy.data.scenes:
            for strip in owner.sequence_editor.strips_all if owner.sequence_editor is not None else ():
                for modifier in getattr(strip, "modifiers", ()):
                    if modifier.type == "COMPOSITOR" and modifier.node_group is not None:
                        self._groups[modifier.node_group.session_uid] += 1
                    if owner == scene and modifier.input_mask_strip is not None:
                        self._mask_strips[modifier.input_mask_strip.name] += 1
                stored = strip.get(BAKED)
                if hasattr(stored, "get") and isinstance(stored.get("group"), bpy.types.NodeTree):
                    # Unbake gives the strip this group back.
                    self._groups[stored.get("group").session_uid] += 1
                if owner == scene and strip.type == "SOUND":
                    place = strip.frame_start, strip.frame_final_start
                    self._sounds.setdefault(place, []).append(strip.name)

    def operate(self, strips: Sequence[bpy.types.Strip], operator: Any, **options: Any) -> bool:
        """Run an operator of the sequencer on these strips, of which the first is active; whether it finished."""
        names = [strip.name for strip in strips]
        select_only(self.scene, strips)
        # Before and after an operator, Blender evaluates the scene of the context, which takes long with many strips.
        # Operators of the sequencer work on the workspace's scene instead.
        with bpy.context.temp_override(scene=self._idle, view_layer=self._idle.view_layers[0]):
            finished = bool(operator(**options) == {"FINISHED"})
        for name in names:
            strip = self.scene.sequence_editor.strips_all.get(name)
            if strip is not None:
                strip.select = False
        return finished

    def is_shared(self, mask_strip: bpy.types.Strip) -> bool:
        """Whether several strips are covered with this Mask strip."""
        return self._mask_strips[mask_strip.name] > 1

    def list_sounds_beside(self, strip: bpy.types.Strip) -> list[bpy.types.Strip]:
        """The sound strips that begin exactly where `strip` does."""
        names = self._sounds.get((strip.frame_start, strip.frame_final_start), ())
        return [self.scene.sequence_editor.strips_all[name] for name in names]

    def choose_free_channel(self, strip: bpy.types.Strip) -> int:
        """The first channel above `strip` that is free for its whole duration. From now on it is taken there."""
        meta = strip.parent_meta()
        owner = meta.name if meta is not None else ""
        if owner not in self._places:
            strips = (meta or self.scene.sequence_editor).strips
            names = ("channel", "frame_final_start", "frame_final_end")
            self._places[owner] = np.array([read_numbers(strips, name) for name in names])
        channels, starts, ends = self._places[owner]
        start, end = strip.frame_final_start, strip.frame_final_end
        taken = set(channels[(starts < end) & (ends > start)].tolist())
        for channel in range(strip.channel + 1, 129):
            if channel not in taken:
                self._places[owner] = np.append(self._places[owner], [[channel], [start], [end]], axis=1)
                return channel
        raise FaceBlurError(
            translate("No channel above the strip '{name}' is free for its mask. Move the strip down.", name=strip.name)
        )

    def remove_now(self, strip: bpy.types.Strip) -> None:
        """Remove a strip, whose channel is free then."""
        _remove_strip(strip, self.operate)
        self._places.clear()

    def get_groups(self, effect: EffectSettings) -> StripGroups:
        """What makes the groups of this batch's strips with an effect."""
        return self._made.setdefault(effect, StripGroups(effect))

    def set_group(self, modifier: Any, group: bpy.types.NodeTree) -> None:
        """Give a modifier its node group. If it was the last user of a group of ours, that is removed at the end."""
        old = modifier.node_group
        modifier.node_group = group
        self._groups[group.session_uid] += 1
        self._unused.pop(group.session_uid, None)
        self._drop_group(old)

    def _drop_group(self, group: bpy.types.NodeTree | None) -> None:
        """Count one user of a group less."""
        if group is not None:
            self._groups[group.session_uid] -= 1
            if not self._groups[group.session_uid] and group.get(MARK) == "strip":
                self._unused[group.session_uid] = group

    def set_mask_strip(self, modifier: Any, mask_strip: bpy.types.Strip) -> None:
        """Give a modifier its Mask strip. An earlier one that no other strip uses has been removed."""
        if modifier.input_mask_strip is not None:
            self._mask_strips[modifier.input_mask_strip.name] -= 1
        modifier.input_mask_strip = mask_strip
        self._mask_strips[mask_strip.name] += 1

    def release(self, modifier: Any) -> None:
        """Take the group from a modifier that is about to be removed, and count its Mask strip no longer."""
        # Setting no group would have Blender look at all strips. The group's user count stays too high then, as it is
        # after other changes (see above), and no group of ours is saved or removed because of it.
        self._drop_group(modifier.node_group)
        if modifier.input_mask_strip is not None:
            # It goes with the modifier. Blender looks at all strips when a modifier's Mask strip changes.
            self._mask_strips[modifier.input_mask_strip.name] -= 1

    def remove_later(self, strip: bpy.types.Strip) -> None:
        """Remove a strip at the end."""
        self._removed.append(strip.name)

    def remove_unused(self) -> None:
        """Remove strips, and the groups that no strip uses any more, all at once: each time, Blender searches the whole
        scene or file."""
        while self._removed:
            # The operator sees the strips of one meta strip, and removing strips may move others in memory.
            names, self._removed = set(self._removed), []
            strips = [strip for strip in self.scene.sequence_editor.strips_all if strip.name in names]
            meta = strips[0].parent_meta() if strips else None
            together = [strip for strip in strips if strip.parent_meta() == meta]
            self._removed = sorted({strip.name for strip in strips} - {strip.name for strip in together})
            for strip in together:
                strip.lock = False
            if together:
                self.operate(together, bpy.ops.sequencer.delete)
        removed = set(self._unused)
        if self._unused:
            bpy.data.batch_remove(list(self._unused.values()))
            self._unused.clear()
        for groups in self._made.values():
            groups.take_names(removed)


_BATCHES: list[CoverBatch] = []
"""The batches of `cover_together` that are at work."""


@contextmanager
def cover_together(scene: bpy.types.Scene) -> Iterator[CoverBatch]:
    """Change the covers of several strips of a scene. Each takes the same time however many strips the scene has."""
    idle = bpy.data.scenes.new("Face Blur covering")
    try:
        with borrow_selection(scene):
            batch = CoverBatch(scene, idle)
            _BATCHES.append(batch)
            try:
                yield batch
            finally:
                batch.remove_unused()
                _BATCHES.remove(batch)
                for name in batch.waiting & set(bpy.data.scenes.keys()):
                    bpy.data.scenes[name].update_tag()
    finally:
        bpy.data.scenes.remove(idle)


def cover_strip(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    mask: bpy.types.Mask,
    group: bpy.types.NodeTree,
    batch: CoverBatch | None = None,
) -> bpy.types.Strip:
    """Cover `strip` with the effect `group` where `mask` does not show it; returns the Mask strip.

    Our modifier comes before every modifier that can move the picture. The Mask strip is muted, above the footage,
    connected to it, and the modifier's input. An existing cover is reused, and an editor's own additions stay. `batch`
    is that of `cover_together`, for several strips.
    """
    if batch is None:
        with cover_together(scene) as own:
            return cover_strip(scene, strip, mask, group, own)
    modifier = get_modifier(strip)
    mask_strip = modifier.input_mask_strip if modifier is not None else None
    # If only the footage or its modifier was copied, two strips share a Mask strip, which cannot be where both are.
    shared = mask_strip is not None and batch.is_shared(mask_strip)
    channel = 0
    if mask_strip is None or mask_strip.mask != mask or shared:
        if mask_strip is not None and not shared:
            batch.remove_now(mask_strip)
        channel = batch.choose_free_channel(strip)
        mask_strip = _add_mask_strip(batch.scene, strip, mask, channel)
    if modifier is None:
        # Blender 5.0.1 crashes here if the workspace has no sequencer scene; the batch has set one.
        modifier = strip.modifiers.new(MODIFIER_NAME, "COMPOSITOR")
    # At once, because after a new strip and after a new group, Blender looks at all strips when next it looks for one.
    batch.set_group(modifier, group)
    if channel:
        _fit_mask_strip(batch, strip, mask_strip, channel)
        batch.set_mask_strip(modifier, mask_strip)
    # With RELATIVE, Blender skips the modifier after the Mask strip's end, and the footage shows.
    wanted = {"input_mask_type": "STRIP", "mask_time": "ABSOLUTE", "mute": False, "enable": True}
    for name, value in wanted.items():
        # At each change, Blender looks at all strips of the scene.
        if getattr(modifier, name) != value:
            setattr(modifier, name, value)
    _put_cover_first(strip, batch.operate)
    return mask_strip


def uncover_strip(strip: bpy.types.Strip, batch: CoverBatch) -> None:
    """Remove our modifier from a strip, and its Mask strip and node group at the end of the batch."""
    modifier = get_modifier(strip)
    if modifier is None:
        return
    mask_strip = modifier.input_mask_strip
    shared = mask_strip is not None and batch.is_shared(mask_strip)
    batch.release(modifier)
    strip.modifiers.remove(modifier)
    if mask_strip is not None and not shared:
        batch.remove_later(mask_strip)


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
    _put_cover_first(strip, partial(_operate, scene))


def _put_cover_first(strip: bpy.types.Strip, operate: Operate) -> None:
    for _ in range(len(strip.modifiers)):
        if list_moving_modifiers(strip):
            name = get_modifier(strip).name
            operate((strip,), bpy.ops.sequencer.strip_modifier_move, name=name, direction="UP")


def _operate(scene: bpy.types.Scene, strips: Sequence[bpy.types.Strip], operator: Any, **options: Any) -> bool:
    """Run an operator of the sequencer on these strips, of which the first is active; whether it finished."""
    with borrow_selection(scene, *strips):
        return bool(operator(**options) == {"FINISHED"})


def _add_mask_strip(
    scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask, channel: int
) -> bpy.types.Strip:
    # Put it into the same meta strip, so that both move with that.
    strips = (strip.parent_meta() or scene.sequence_editor).strips
    mask_strip = strips.new_mask(f"{strip.name} faces", mask, channel, round(strip.frame_start))
    mask_strip.mute = True
    return mask_strip


def _fit_mask_strip(batch: CoverBatch, strip: bpy.types.Strip, mask_strip: bpy.types.Strip, channel: int) -> None:
    """Give a new Mask strip the timing of its footage and its place in `channel`, and connect the two."""
    scene = batch.scene
    # The speeds of a strip with several may not have been measured yet. Then `sync_mask_strips` sets the mask's.
    if is_out_of_speed(scene, strip, mask_strip) and _can_have_speed(strip, mask_strip):
        _copy_speed(scene, strip, mask_strip, batch.operate)
    _copy_times(strip, mask_strip)
    if mask_strip.frame_final_duration != strip.frame_final_duration:
        mask_strip.frame_final_duration = strip.frame_final_duration
    if mask_strip.channel != channel:
        # For a moment it overlapped another strip.
        mask_strip.channel = channel
    # Connecting strips ends their earlier connections, so include the film's sound.
    batch.operate((strip, mask_strip, *_list_connected(batch, strip)), bpy.ops.sequencer.connect)


def _list_connected(batch: CoverBatch, strip: bpy.types.Strip) -> list[bpy.types.Strip]:
    """The strips that are connected to `strip`."""
    if hasattr(strip, "connections"):
        return list(strip.connections)
    # Blender 5.0 does not expose connections. A film is added together with its sound, at the same position.
    return [
        other
        for other in batch.list_sounds_beside(strip)
        if strip.type == "MOVIE"
        and other.sound is not None
        and bpy.path.abspath(other.sound.filepath) == bpy.path.abspath(strip.filepath)
        and other.parent_meta() == strip.parent_meta()
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
    _reset_trims(mask_strip)
    if with_speed and has_several_speeds(footage):
        measure_speeds(scene, [footage])
    return _sync(scene, footage, mask_strip, partial(_operate, scene) if with_speed else None)


def forget_mask_timings() -> None:
    """Forget what Mask strips got, because another file was opened, or an edit was undone."""
    _MADE.clear()


def _reset_trims(mask_strip: bpy.types.Strip) -> None:
    for name in TRIMS:
        if getattr(mask_strip, name, 0):
            # A shorter Mask strip would count as a slower one.
            setattr(mask_strip, name, 0)


def _sync(
    scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip, operate: Operate | None
) -> bool:
    """Like `sync_mask_strip`. Without `operate`, the speed is left for later."""
    if mask_strip.name in _RETIMED:
        return True
    is_wrong, channel = is_out_of_speed(scene, footage, mask_strip), mask_strip.channel
    if is_wrong and operate is None:
        return True
    # A Mask strip that was retimed together with the footage may have several speeds and the right length.
    is_changed = operate is not None and (is_wrong or has_several_speeds(footage))
    if operate is not None and is_changed:
        if not _can_have_speed(footage, mask_strip):
            return False
        if not _copy_speed(scene, footage, mask_strip, operate):
            return False
    _copy_times(footage, mask_strip)
    if mask_strip.channel != channel:
        # For a moment it was so long that it overlapped another strip.
        mask_strip.channel = channel
    if is_changed and mask_strip.parent_meta() is not None:
        # And longer than its meta strip, which gets its proper length back when the start of a strip in it changes.
        mask_strip.frame_start += 1
        mask_strip.frame_start -= 1
    return True


def sync_mask_strips(scene: bpy.types.Scene, with_speed: bool = True) -> list[str]:
    """Give every Mask strip of ours the timing of its footage; returns a sentence for each strip where that failed.

    Such a strip is covered completely, because its modifier loses its mask. Its Mask strip is removed.
    """
    problems, lost = [], []
    pairs = list(list_pairs(scene))
    for _, _, mask_strip in pairs:
        _reset_trims(mask_strip)
    if with_speed:
        measure_speeds(scene, [footage for footage, _, _ in pairs if has_several_speeds(footage)])
        pairs = list(list_pairs(scene))
        with_speed = any(
            has_several_speeds(footage) or is_out_of_speed(scene, footage, mask_strip)
            for footage, _, mask_strip in pairs
        )
    with cover_together(scene) if with_speed else nullcontext() as batch:
        for footage, modifier, mask_strip in pairs:
            if not _sync(scene, footage, mask_strip, batch.operate if batch is not None else None):
                modifier.input_mask_strip = None
                lost.append(mask_strip.name)
                problems.append(
                    f"The strip '{footage.name}' is covered completely, because its mask cannot have its speed. "
                    "Give all that it shows one constant speed, then use Update."
                )
    # Removing a strip may move others in memory. Two strips may share a Mask strip, if only footage was copied.
    kept = {mask_strip.name for _, _, mask_strip in list_pairs(scene)} if lost else set()
    for name in dict.fromkeys(lost):
        if name not in kept:
            remove_strip(scene, scene.sequence_editor.strips_all[name])
    return problems


def sync_after_edit(scene: bpy.types.Scene) -> None:
    """Do what `sync_mask_strips` does without speeds, after Blender has evaluated a scene. While covers are changed
    together, which evaluates it several times, that waits until Blender evaluates it after the end."""
    if not _BATCHES:
        sync_mask_strips(scene, with_speed=False)
    for batch in _BATCHES:
        batch.waiting.add(scene.name)


def is_out_of_speed(scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Whether a Mask strip has another speed than its footage, or may have, because that is not known."""
    if has_several_speeds(footage):
        timing = _compute_timing(footage, mask_strip)
        made = _MADE.get((scene.name, mask_strip.name))
        return timing is None or made != timing or mask_strip.frame_duration != timing.length
    return _differ_in_speed(scene, footage, mask_strip)


def _compute_timing(footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> MaskTiming | None:
    """The timing that a Mask strip should have if the footage has several speeds."""
    mask = mask_strip.mask
    return compute_mask_timing(footage, mask.frame_end - mask.frame_start) if has_several_speeds(footage) else None


def _can_have_speed(footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    return not has_several_speeds(footage) or _compute_timing(footage, mask_strip) is not None


def is_out_of_time(footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Whether a Mask strip begins or ends elsewhere than its footage, or runs the other way."""
    return any(_differ(getattr(mask_strip, name), value) for name, value in _compute_times(footage, mask_strip).items())


def remove_strip(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    """Remove a strip, with the operator: `strips.remove` leaves modifiers pointing at freed memory (Blender 5.0.1)."""
    _remove_strip(strip, partial(_operate, scene))


def _remove_strip(strip: bpy.types.Strip, operate: Operate) -> None:
    locked, strip.lock = strip.lock, False
    if not operate((strip,), bpy.ops.sequencer.delete):
        strip.lock = locked


def _compute_times(footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> dict[str, float | bool]:
    """The values that a Mask strip's properties should have."""
    names = ("frame_start", "frame_offset_start", "frame_offset_end", "use_reverse_frames", "strobe")
    times: dict[str, float | bool] = {name: getattr(footage, name) for name in names}
    timing = _compute_timing(footage, mask_strip)
    if timing is not None:
        times["frame_start"] += timing.start
        times["frame_offset_start"] -= timing.start
        times["frame_offset_end"] = times["frame_start"] + timing.length - footage.frame_final_end
    return times


def _differ(value: float, wanted: float) -> bool:
    # Blender keeps times as 32-bit numbers.
    return abs(value - wanted) > 0.01


def _copy_times(footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> None:
    times = _compute_times(footage, mask_strip)
    if _differ(mask_strip.frame_offset_start, times["frame_offset_start"]):
        # One end stops short of the other.
        mask_strip.frame_offset_end = 0
    for name, value in times.items():
        if _differ(getattr(mask_strip, name), value):
            setattr(mask_strip, name, value)


def _differ_in_speed(scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip) -> bool:
    """Whether their durations differ, because of speed keys or a film's frame rate that is not the scene's."""
    apart = abs(footage.frame_duration - mask_strip.frame_duration)
    if apart != 1 or len(getattr(footage, "retiming_keys", ())) > 0:
        return bool(apart > 0)
    # Blender 5.0 counts one frame too few for some films, at any frame rate.
    rate = scene.render.fps / scene.render.fps_base
    return bool(footage.type == "MOVIE" and abs(footage.fps - rate) > 1e-3 * rate)


def _copy_speed(
    scene: bpy.types.Scene, footage: bpy.types.Strip, mask_strip: bpy.types.Strip, operate: Operate
) -> bool:
    """Give the Mask strip the constant speed of its footage, or of what that shows; False if that failed."""
    timing = _compute_timing(footage, mask_strip)
    _RETIMED.add(mask_strip.name)
    try:
        # The operator sets the speed between the ends only.
        mask_strip.frame_offset_start = mask_strip.frame_offset_end = 0
        operate((mask_strip,), bpy.ops.sequencer.retiming_reset)
        if timing is not None:
            mask_strip.frame_offset_start = timing.hidden
            speed = 100 * (mask_strip.frame_duration - timing.hidden) / (timing.length - timing.hidden)
            operate((mask_strip,), bpy.ops.sequencer.retiming_segment_speed_set, speed=speed)
            _MADE[scene.name, mask_strip.name] = timing
        elif _differ_in_speed(scene, footage, mask_strip):
            speed = 100 * mask_strip.frame_duration / footage.frame_duration
            operate((mask_strip,), bpy.ops.sequencer.retiming_segment_speed_set, speed=speed)
    finally:
        _RETIMED.discard(mask_strip.name)
    return not is_out_of_speed(scene, footage, mask_strip)


def has_other_speeds(scene: bpy.types.Scene) -> bool:
    """Whether any footage has a speed that its mask does not have."""
    return any(is_out_of_speed(scene, footage, mask_strip) for footage, _, mask_strip in list_pairs(scene))
