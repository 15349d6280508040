# SPDX-License-Identifier: GPL-3.0-or-later
"""What has been watched in a project, and what remains.

What is watched is collected while a preview plays (`overlay/watching.py`) and stored in a custom property of the
footage's mask, by source frame: so it follows cuts, moves and copies. It is stored when the playback ends, and before
the project is saved. Undo returns to an earlier state of that property, which is then joined with what is known here;
the digests decide what of it counts (`core/review/watched.py`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import bpy
import numpy as np
from bpy.app.handlers import persistent
from numpy.typing import NDArray

from ...core.review.overview import DIGESTS, Digests
from ...core.review.watched import Frames, WatchedFrames, from_text, list_spans, to_text
from ...core.translation import translate
from ...reporting.progress import describe_time
from ...reporting.report import WatchedSpans
from ..common.footage import KINDS, compute_source_frame, get_frame_rate
from ..common.marks import MARK
from ..common.speeds import get_timing
from ..cover.baked import get_baked_mask
from ..cover.hiding import hides, is_animated
from ..masks.changes import is_held
from ..masks.faces import is_face
from ..masks.overlay_cache import CachedMask, get_cached, list_switched_off, refresh_overview
from ..masks.record import DamagedRecordError, MaskRecord, has_record, is_readable
from ..preferences.properties import get_reviewer
from .queue import list_covered

WATCHED, _DRAWN = MARK + "_watched", MARK + "_drawn"
"""Custom properties of a mask: what was watched, as text, and a number that changes with its hand-drawn layers."""

FASTEST = 2.0
"""The largest speed, in relation to the timeline's, at which frames count as watched."""

_CHUNK_S = 0.5
"""The speed is measured over so many seconds. Raising it lets more frames pass in a burst."""

_LEAST_SHARE = 0.25
"""How long a single frame must stay to count, as a share of its duration. It allows for the unevenness of a playback
at twice the speed. Raising it leaves out frames of such a playback."""

_ROUNDING = 1e-6

_SUMMARY_S = 1.0
"""The least time between two computations of what remains of a scene, in seconds."""

_SUMMARY_SHARE = 20.0
"""That time is at least so many times what a computation takes, so that the window does not stutter."""


@dataclass(slots=True)
class _Chunk:
    """Frames that were shown in a row, until their speed is known. `rate` is the scene's frame rate."""

    rate: float
    began: float
    first: int
    last: int
    came: float = 0.0
    """When the last frame came."""
    fresh: list[tuple[int, int, int]] = field(default_factory=list)
    """What the last frame shows: mask (session_uid), source frame, and the digest of its block then."""
    seen: list[tuple[int, int, int]] = field(default_factory=list)
    """The same of the frames before it that stayed long enough."""

    def show(self, frame: int, fresh: list[tuple[int, int, int]], now: float) -> None:
        self.leave(now)
        self.last, self.came, self.fresh = frame, now, fresh

    def leave(self, now: float) -> None:
        """The last frame has gone."""
        if now - self.came >= _LEAST_SHARE / self.rate:
            self.seen += self.fresh
        self.fresh = []

    def is_too_fast(self, now: float) -> bool:
        return (self.last - self.first + 1) * (1 - _ROUNDING) > FASTEST * self.rate * (now - self.began)


@dataclass(slots=True)
class _WatchState:
    """What was watched, by the mask's session_uid. Cleared when another project has been opened."""

    known: dict[int, WatchedFrames] = field(default_factory=dict)
    unstored: set[int] = field(default_factory=set)
    """Masks whose property lacks something that is known."""
    chunk: _Chunk | None = None
    arrays: dict[int, tuple[Digests, Frames]] = field(default_factory=dict)
    """For each mask the digests and which frames were watched with them; changed in place."""
    summaries: dict[int, tuple[float, SceneWatch]] = field(default_factory=dict)
    """What was last computed of each scene, by its session_uid, and until when it is good enough."""

    def clear(self) -> None:
        self.known.clear()
        self.unstored.clear()
        self.arrays.clear()
        self.summaries.clear()
        self.chunk = None


@dataclass(frozen=True, slots=True)
class SceneWatch:
    """Which frames of the timeline have been watched, from `first` on. Only analysed frames of covered strips count,
    baked ones included."""

    first: int
    shown: Frames
    """Whether a frame shows such footage, as far as no other footage hides it."""
    unwatched: Frames
    """Whether it shows something that nobody has watched."""

    def describe_share(self) -> str:
        """In percent, rounded down: 100 only if all was watched."""
        count = max(int(self.shown.sum()), 1)
        return f"{100 * (count - int(self.unwatched.sum())) // count} %"


_STATE = _WatchState()


def note_shown(frame: int, rate: float, shown: list[tuple[bpy.types.Mask, int]], now: float | None = None) -> None:
    """Note that a playing preview shows a timeline frame, with source frames of masks whose covers are in it.

    `rate` is the scene's frame rate. Frames that the playback leaves out do not count, nor does what was played faster
    than `FASTEST`.
    """
    now = time.monotonic() if now is None else now
    chunk = _STATE.chunk
    if chunk is not None and frame == chunk.last:
        # The same frame is drawn again, or in another window.
        return
    if chunk is not None and (now - chunk.began >= _CHUNK_S or not 0 < frame - chunk.last <= rate * _CHUNK_S):
        _finish_chunk(now)
        chunk = None
    if chunk is None:
        chunk = _STATE.chunk = _Chunk(rate, now, frame, frame)
    fresh = []
    for mask, source_frame in shown:
        digests = _get_digests(mask)
        if digests is not None and source_frame // DIGESTS.block < len(digests):
            fresh.append((mask.session_uid, source_frame, int(digests[source_frame // DIGESTS.block])))
    chunk.show(frame, fresh, now)


def _finish_chunk(now: float) -> None:
    """Take what was seen in a row as watched, unless it went too fast."""
    chunk, _STATE.chunk = _STATE.chunk, None
    if chunk is None or chunk.is_too_fast(now):
        return
    chunk.leave(now)
    reviewer = get_reviewer()
    masks = {mask.session_uid: mask for mask in bpy.data.masks}
    for uid, frame, digest in chunk.seen:
        mask = masks.get(uid)
        if mask is not None and _get_known(mask).add(frame, digest, reviewer):
            _STATE.unstored.add(uid)
            array = _STATE.arrays.get(uid)
            if array is not None and int(array[0][frame // DIGESTS.block]) == digest:
                array[1][frame] = True


def end_playback(now: float | None = None) -> None:
    """Take over what was seen last, and store everything in the project."""
    _finish_chunk(time.monotonic() if now is None else now)
    store()


def store() -> None:
    """Store what was watched in the masks."""
    for mask in bpy.data.masks if _STATE.unstored else ():
        if mask.session_uid in _STATE.unstored:
            mask[WATCHED] = to_text(_get_known(mask))
    _STATE.unstored.clear()


def get_watched(mask: bpy.types.Mask) -> Frames | None:
    """Whether each source frame of a mask of ours was watched with its present covers; None if that is not known yet,
    as its tracks document has not been read. Must not be changed."""
    digests = _get_digests(mask)
    if digests is None:
        return None
    uid = mask.session_uid
    if uid not in _STATE.arrays or _STATE.arrays[uid][0] is not digests:
        overview = get_cached(mask).overview
        count = overview.frame_count if overview is not None else 0
        _STATE.arrays[uid] = digests, _get_known(mask).compute_watched(digests, count)
    return _STATE.arrays[uid][1]


def list_watchers(mask: bpy.types.Mask) -> list[tuple[str, Frames]]:
    """Everybody who watched frames of a mask with its present covers (empty for an unnamed one), and which ones."""
    overview, digests = get_cached(mask).overview, _get_digests(mask)
    if overview is None or digests is None:
        return []
    known = _get_known(mask)
    frames = [
        (name, known.compute_watched(digests, overview.frame_count, name) & overview.compute_analysed())
        for name in known.list_reviewers()
    ]
    return [(name, own) for name, own in frames if own.any()]


def get_scene_watch(scene: bpy.types.Scene) -> SceneWatch:
    """What of a scene's frames was watched, as it was at most a moment ago: panels are drawn often."""
    kept = _STATE.summaries.get(scene.session_uid)
    if kept is None or time.monotonic() > kept[0]:
        began = time.monotonic()
        watch = compute_scene_watch(scene)
        took = time.monotonic() - began
        kept = _STATE.summaries[scene.session_uid] = began + max(_SUMMARY_S, _SUMMARY_SHARE * took), watch
    return kept[1]


def compute_scene_watch(scene: bpy.types.Scene) -> SceneWatch:
    """What of a scene's frames was watched, now. Frames in which other footage hides a strip do not matter there."""
    first, stop = scene.frame_start, scene.frame_end + 1
    shown, unwatched = np.zeros(stop - first, np.bool_), np.zeros(stop - first, np.bool_)
    for part in _list_parts(scene):
        span = slice(part.start - first, part.start - first + len(part.frames))
        shown[span] |= part.needs
        unwatched[span] |= part.needs & ~part.watched[part.frames]
    return SceneWatch(first, shown, unwatched)


@dataclass(frozen=True, slots=True)
class _WatchedPart:
    """What a covered or baked strip shows from a timeline frame on."""

    mask: bpy.types.Mask
    start: int
    frames: NDArray[np.intp]
    """The source frame in each timeline frame."""
    needs: Frames
    """Whether it needs watching there: it was analysed, and no other footage hides it."""
    watched: Frames
    """Which of all source frames were watched."""


def _read_frames(mask: bpy.types.Mask) -> tuple[Frames, Frames] | None:
    """Which source frames were watched, and which were analysed; None if that is not known yet."""
    watched, overview = get_watched(mask), get_cached(mask).overview
    if watched is None or overview is None or not len(watched):
        return None
    return watched, overview.compute_analysed()


def _list_watchable(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Strip, bpy.types.Mask]]:
    """The covered strips of a scene, then the baked ones whose films have the covers of their masks."""
    yield from list_covered(scene)
    for strip in scene.sequence_editor.strips_all:
        mask = get_baked_mask(strip) if strip.type in KINDS and not strip.mute else None
        if mask is not None and is_readable(mask):
            yield strip, mask


def _list_parts(scene: bpy.types.Scene) -> Iterator[_WatchedPart]:
    """The covered and baked strips in the frames of a scene, without those whose tracks document has not been read."""
    first, stop = scene.frame_start, scene.frame_end + 1
    hidden, channels = _compute_hidden(scene, first, stop), scene.sequence_editor.channels
    read: dict[int, tuple[Frames, Frames] | None] = {}
    for strip, mask in _list_watchable(scene):
        channel = (strip.parent_meta() or strip).channel
        start, end = max(int(strip.frame_final_start), first), min(int(strip.frame_final_end), stop)
        if start >= end or channels[channel].mute:
            continue
        uid = mask.session_uid
        if uid not in read:
            read[uid] = _read_frames(mask)
        known = read[uid]
        if known is None:
            continue
        watched, analysed = known
        frames = compute_source_frames(strip, start, end, len(watched))
        needs = analysed[frames] & (hidden[start - first : end - first] <= channel)
        yield _WatchedPart(mask, start, frames, needs, watched)


def compute_source_watch(scene: bpy.types.Scene, mask: bpy.types.Mask) -> WatchedSpans:
    """Which of a mask's source frames need watching, as strips of the scene show them, and who watched which.

    If no strip shows its covers, all its frames do.
    """
    refresh_overview(mask)
    overview, watched = get_cached(mask).overview, get_watched(mask)
    if overview is None or watched is None:
        return WatchedSpans([], [])
    shown = np.zeros(len(watched), np.bool_)
    for part in _list_parts(scene):
        if part.mask == mask:
            shown[part.frames[part.needs]] = True
    if not shown.any():
        shown = overview.compute_analysed()
    return WatchedSpans(list_spans(shown), [(name, list_spans(frames)) for name, frames in list_watchers(mask)])


def _compute_hidden(scene: bpy.types.Scene, first: int, stop: int) -> NDArray[np.int32]:
    """For each timeline frame the highest channel with footage that certainly hides what is below it; 0 for none."""
    hidden = np.zeros(stop - first, np.int32)
    editor = scene.sequence_editor
    strips = [s for s in editor.strips if s.type in KINDS and not s.mute and not editor.channels[s.channel].mute]
    ranges = [(max(int(s.frame_final_start), first), min(int(s.frame_final_end), stop)) for s in strips]
    count = np.zeros(stop - first + 1, np.int32)
    for start, end in ranges:
        if start < end:
            count[start - first] += 1
            count[end - first] -= 1
    count = np.cumsum(count)
    for strip, (start, end) in zip(strips, ranges, strict=True):
        is_over_others = start < end and count[start - first : end - first].max() > 1
        if is_over_others and hides(scene, strip) and not is_animated(scene, strip):
            own = hidden[start - first : end - first]
            np.maximum(own, strip.channel, out=own)
    return hidden


def describe_watch(scene: bpy.types.Scene) -> str:
    """How much of a scene was watched, and how long the rest lasts. Empty if there is nothing to watch."""
    watch = get_scene_watch(scene)
    if not watch.shown.any():
        return ""
    left = int(watch.unwatched.sum())
    if not left:
        return translate("Everything was watched")
    return translate(
        "Watched: {share}, {time} left",
        share=watch.describe_share(),
        time=describe_time(left / get_frame_rate(scene)),
    )


def compute_source_frames(strip: bpy.types.Strip, start: int, stop: int, frame_count: int) -> NDArray[np.intp]:
    """Like `compute_source_frame`, for each timeline frame from `start` to `stop` - 1, all of them in the strip."""
    first_frame, duration = get_timing(strip, frame_count)
    place = np.arange(start, stop) - first_frame
    if strip.use_reverse_frames:
        place = duration - 1 - place
    frames: NDArray[np.intp] = (place * frame_count / max(duration, 1) + 1e-4).astype(np.intp)
    return frames.clip(0, frame_count - 1)


def find_unwatched(watch: SceneWatch, frame: int, first: int, stop: int, gap: int) -> tuple[int, int] | None:
    """The next stretch of timeline frames, half-open, that nobody has watched: the one at or after a frame, else the
    first one. Only frames from `first` to `stop` - 1 are searched. Stretches with at most `gap` frames between them are
    one. None if all was watched.
    """
    joined: list[tuple[int, int]] = []
    for start, end in _list_timeline_spans(watch, first, stop):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    later = [span for span in joined if span[1] > frame]
    return next(iter(later or joined), None)


def _list_timeline_spans(watch: SceneWatch, first: int, stop: int) -> Iterator[tuple[int, int]]:
    for start, end in list_spans(watch.unwatched):
        span = max(start + watch.first, first), min(end + watch.first, stop)
        if span[0] < span[1]:
            yield span


def get_source_frame(scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask) -> int | None:
    """The source frame that a strip shows at the playhead; None if it shows none, or one that was not analysed."""
    frame = compute_source_frame(strip, scene.frame_current, max(mask.frame_end - mask.frame_start, 1))
    return frame if frame is not None and not get_cached(mask).is_unanalysed(frame) else None


def _get_digests(mask: bpy.types.Mask) -> Digests | None:
    """The digests of a mask's covers, block by block; None until its tracks document has been read."""
    try:
        known = get_cached(mask)
    except DamagedRecordError:
        # The guard reports it, and renders the strip black.
        return None
    if known.overview is None:
        return None
    salt = str(mask.get(_DRAWN, "")) if _has_drawn_layers(mask, known) else ""
    return known.compute_digests(list_switched_off(mask, known), salt)


def _has_drawn_layers(mask: bpy.types.Mask, known: CachedMask) -> bool:
    """Whether layers that an editor drew cover something: their shapes are not in the tracks document."""
    written = {cover.layer for cover in known.covers if not cover.freehand}
    others = [layer for layer in mask.layers if layer.name not in written and layer.splines and not layer.hide_render]
    if not others:
        return False
    record = MaskRecord.load(mask)
    return any(is_face(record, layer.name) for layer in others)


def _get_known(mask: bpy.types.Mask) -> WatchedFrames:
    uid = mask.session_uid
    if uid not in _STATE.known:
        _STATE.known[uid] = from_text(mask.get(WATCHED))
    return _STATE.known[uid]


def register_handlers() -> None:
    handlers = bpy.app.handlers
    handlers.animation_playback_post.append(_end_playback)
    handlers.save_pre.append(_store)
    handlers.load_post.append(_forget)
    handlers.depsgraph_update_post.append(_notice_drawing)
    for rewinding in (handlers.undo_post, handlers.redo_post):
        rewinding.append(_rejoin)


def unregister_handlers() -> None:
    handlers = bpy.app.handlers
    handlers.animation_playback_post.remove(_end_playback)
    handlers.save_pre.remove(_store)
    handlers.load_post.remove(_forget)
    handlers.depsgraph_update_post.remove(_notice_drawing)
    for rewinding in (handlers.undo_post, handlers.redo_post):
        rewinding.remove(_rejoin)
    store()
    _STATE.clear()


@persistent
def _end_playback(*_: object) -> None:
    end_playback()


@persistent
def _store(*_: object) -> None:
    store()


@persistent
def _forget(*_: object) -> None:
    _STATE.clear()


@persistent
def _rejoin(*_: object) -> None:
    """The masks are as they were earlier or later: what they hold may be less than what is known, or more."""
    _STATE.arrays.clear()
    for mask in bpy.data.masks:
        if not has_record(mask) or not (WATCHED in mask or mask.session_uid in _STATE.known):
            continue
        stored = from_text(mask.get(WATCHED))
        known = _STATE.known.setdefault(mask.session_uid, WatchedFrames())
        known.join(stored)
        if known.blocks != stored.blocks:
            _STATE.unstored.add(mask.session_uid)
    store()


@persistent
def _notice_drawing(_: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Covers that were drawn by hand may have changed, in frames that only Blender knows."""
    for update in depsgraph.updates:
        mask = update.id.original if isinstance(update.id, bpy.types.Mask) else None
        if mask is None or not has_record(mask) or is_held(mask):
            continue
        try:
            if _has_drawn_layers(mask, get_cached(mask)):
                mask[_DRAWN] = secrets.token_hex(4)
        except DamagedRecordError:
            continue
