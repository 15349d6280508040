# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of its source a strip with speed keys shows, and the one speed with which its Mask strip shows the same.

Blender lets a script read where speed keys are, not which source frames they stand for. When all segments between keys
are set to one speed, each gets as long as the source that it shows. So a copy of the scene tells (5.0.1, 5.2.2).

A cut clip whose visible half is retimed has another segment, with another speed, that is hidden behind its ends. Its
Mask strip gets the speed of the visible segment, and starts where it shows the same source frames as that.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from .context import borrow_sequencer, select_only

TRIMS = ("animation_offset_start", "animation_offset_end")
"""How many first and last frames of the file a strip skips for good, unlike with its movable ends."""

_LARGEST_ERROR = 0.5
"""In source frames. Strips begin and end at whole frames, so the Mask strip does not always show exactly the footage's
frames. A greater error could leave a face beside its cover. It is as large as the one of a strip at half speed."""

_MOST_TRIED = 40
"""How many source frames before what is shown are tried as the place where the mask's speed begins."""

_SPEEDS = 50.0, 25.0
"""In percent. With them, segments become twice and four times as long as the source that they show."""

_MOST_ROUNDS = 50

Keys = tuple[int, ...]
"""The places of a strip's speed keys, in timeline frames from the first key."""

_SHARES: dict[tuple[str, str], tuple[Keys, tuple[float, ...]]] = {}
"""The measured strips, by the names of scene and strip: their keys, and for each key the share of the source before it.

It is not stored in the file, where somebody could change it.
"""


@dataclass(frozen=True, slots=True)
class MaskTiming:
    """How a Mask strip shows the frames of a strip with several speeds.

    Blender places strips and speed keys at whole frames. So the mask's speed begins at a frame where the footage shows
    a whole source frame, or nearly so, and what is before that is hidden.
    """

    start: int
    """Where its first frame is, in timeline frames from the footage's start."""
    hidden: int
    """How many of its frames, at 100 %, are before its speed begins."""
    length: int
    """How many timeline frames all of it takes."""


def is_trimmed(footage: bpy.types.Strip) -> bool:
    """Whether a strip has frames trimmed for good. Such a film is shorter without being faster."""
    return any(getattr(footage, name, 0) for name in TRIMS)


def has_several_speeds(footage: bpy.types.Strip) -> bool:
    """Whether a strip has speed keys between its first and last frame, or has frames trimmed for good."""
    return is_trimmed(footage) or len(getattr(footage, "retiming_keys", ())) > 2


def compute_line(footage: bpy.types.Strip, frame_count: int) -> tuple[float, float] | None:
    """Where a strip with several speeds would begin and how long it would be if all of its source of `frame_count`
    frames had the speed of what it shows; in timeline frames from its start.

    None if what it shows has several speeds, or if they are not known yet.
    """
    segment = _find_segment(footage)
    if segment is None:
        return None
    (first, *inner, last), (before, *between, after) = segment
    length = (last - first) / (after - before)
    start = first - before * length
    errors = (abs((key - start) / length - share) for key, share in zip(inner, between, strict=True))
    return (start, length) if max(errors, default=0.0) * frame_count <= _LARGEST_ERROR else None


def _find_segment(footage: bpy.types.Strip) -> tuple[list[int], list[float]] | None:
    """The keys around what a strip shows, and between them, with the share of the source before each; None if that is
    not known, or stands still."""
    keys = read_keys(footage)
    name = footage.id_data.name, footage.name
    known = _SHARES.get(name)
    if known is not None and known[0] != keys:
        # Also when the keys come back to these places, they may stand for other frames.
        del _SHARES[name]
        known = None
    if known is None or footage.use_reverse_frames or is_trimmed(footage):
        return None
    first = max(bisect.bisect_right(keys, footage.frame_final_start - footage.frame_start) - 1, 0)
    last = min(bisect.bisect_left(keys, footage.frame_final_end - footage.frame_start), len(keys) - 1)
    if first >= last:
        # Before and after its source, a strip holds a picture.
        return None
    shares = known[1][first : last + 1]
    return (list(keys[first : last + 1]), list(shares)) if shares[-1] > shares[0] else None


def compute_mask_timing(footage: bpy.types.Strip, frame_count: int) -> MaskTiming | None:
    """The timing of the Mask strip of a strip with several speeds; None if it cannot have one, or is not known yet.

    It has one if what the strip shows has one constant speed. `frame_count` is that of the source.
    """
    line, segment = compute_line(footage, frame_count), _find_segment(footage)
    if line is None or segment is None:
        return None
    start, stretch = line[0], line[1] / frame_count
    keys, wanted = np.array(segment[0], np.float64), np.array(segment[1], np.float64) * frame_count
    best, least = None, _LARGEST_ERROR
    first = max(math.floor(segment[1][0] * frame_count + 1e-3), 0)
    for hidden in range(max(first - _MOST_TRIED, 0), first + 1):
        place = round(start + hidden * stretch)
        rest = round((frame_count - hidden) * stretch)
        for length in (rest - 1, rest, rest + 1):
            if length < 2:
                continue
            shown = hidden + (keys - place) * (frame_count - hidden) / length
            error = float(np.abs(shown - wanted).max())
            # The speed begins before what is shown.
            if place <= keys[0] and error < least - 1e-6:
                best, least = MaskTiming(place - hidden, hidden, hidden + length), error
    return best


def is_speed_unknown(footage: bpy.types.Strip, frame_count: int) -> bool:
    """Whether a Mask strip cannot have the speed of its footage, whose source has `frame_count` frames, or that is not
    known yet."""
    return has_several_speeds(footage) and compute_mask_timing(footage, frame_count) is None


def get_timing(strip: bpy.types.Strip, frame_count: int) -> tuple[float, float]:
    """The timeline frame where the first source frame would be, and how many frames the whole source would take, at the
    speed of what the strip shows. For a strip of which that is not known it is the mean of all its speeds."""
    line = compute_line(strip, frame_count) if has_several_speeds(strip) else None
    return (strip.frame_start + line[0], line[1]) if line is not None else (strip.frame_start, strip.frame_duration)


def read_keys(footage: bpy.types.Strip) -> Keys:
    """The places of a strip's speed keys."""
    # Blender adds the start of the first strip without speed keys, instead of this strip's (5.0.1, 5.2.2).
    frames = [key.timeline_frame for key in footage.retiming_keys]
    return tuple(frame - frames[0] for frame in frames)


def measure_speeds(scene: bpy.types.Scene, strips: Sequence[bpy.types.Strip]) -> None:
    """Find out which source frames the speed keys of these strips stand for. It runs operators."""
    for strip in strips:
        _SHARES.pop((scene.name, strip.name), None)
    # Those of the scene: in the copy, measuring one strip moves the keys of others.
    found = {
        strip.name: read_keys(strip)
        for strip in strips
        if len(getattr(strip, "retiming_keys", ())) > 2 and not is_trimmed(strip)
    }
    if not found:
        return
    copy = scene.copy()
    try:
        together: dict[str, list[bpy.types.Strip]] = {}
        for strip in copy.sequence_editor.strips_all:
            if strip.name in found and _has_rate(copy, strip):
                meta = strip.parent_meta()
                together.setdefault(meta.name if meta is not None else "", []).append(strip)
            elif hasattr(strip, "show_retiming_keys"):
                strip.show_retiming_keys = False
        with borrow_sequencer(copy), _show_keys(bpy.context.space_data):
            for group in together.values():
                for name, shares in _measure_shares(copy, group).items():
                    _SHARES[scene.name, name] = found[name], shares
    finally:
        bpy.data.scenes.remove(copy)


@contextmanager
def _show_keys(space: bpy.types.Space) -> Iterator[None]:
    """Let a sequencer show speed keys, because only what it shows can be selected."""
    shown = space.show_overlays, space.timeline_overlay.show_strip_retiming
    space.show_overlays = space.timeline_overlay.show_strip_retiming = True
    try:
        yield
    finally:
        space.show_overlays, space.timeline_overlay.show_strip_retiming = shown


def _has_rate(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    """Whether a strip has the scene's frame rate. Blender gives the places of other films' keys in their own frames."""
    rate = scene.render.fps / scene.render.fps_base
    return strip.type != "MOVIE" or bool(abs(strip.fps - rate) <= 1e-3 * rate)


def forget_speeds() -> None:
    """Forget what was measured, because another file was opened, or an edit was undone."""
    _SHARES.clear()


def _measure_shares(copy: bpy.types.Scene, strips: list[bpy.types.Strip]) -> dict[str, tuple[float, ...]]:
    """By the name of each strip, for each of its speed keys the share of the source before it; without the strips for
    which that cannot be found out. The strips are all in the same meta strip, or in none, of `copy`, which is changed.
    """
    counts = [len(strip.retiming_keys) for strip in strips]
    for strip in strips:
        strip.lock = False
        strip.frame_offset_start = strip.frame_offset_end = 0
        strip.show_retiming_keys = True
    # First the keys, if some are selected, then the strips.
    for _ in range(2):
        bpy.ops.sequencer.select_all(action="DESELECT")
    select_only(copy, strips[:1])
    # Scripts cannot select keys. A picture that is held at the start, for one frame, has a key that is selected; and
    # when one is, all can be. An operator that sets the speed then works on the segments between them.
    copy.frame_current = strips[0].frame_final_start
    bpy.ops.sequencer.retiming_freeze_frame_add(duration=1)
    bpy.ops.sequencer.select_all(action="SELECT")
    slow, slower = (_set_speed(strips, speed) for speed in _SPEEDS)
    found = {}
    for strip, count, *lengths in zip(strips, counts, slow, slower, strict=True):
        # Without the held picture's key. Smooth transitions between two speeds do not get longer.
        one, two = (np.array(keys[-count:], np.int64) - keys[-count] for keys in lengths if len(keys) >= count)
        if one[-1] >= 2 and np.array_equal(2 * one, two):
            found[strip.name] = tuple((one / one[-1]).tolist())
    return found


def _set_speed(strips: list[bpy.types.Strip], speed: float) -> list[Keys]:
    """Give all segments of strips this speed, in percent; returns the places of their keys.

    A key does not move beyond the next one, so it may take several rounds until all are where they belong.
    """
    keys: list[Keys] = []
    for _ in range(_MOST_ROUNDS):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=speed)
        before, keys = keys, [read_keys(strip) for strip in strips]
        if keys == before:
            break
    return keys
