# SPDX-License-Identifier: GPL-3.0-or-later
"""The review of a project: which item is the current one, which comes next, and how many are left.

Documents are parsed when they have changed, not while drawing. Verdicts are saved in the documents and the current item
in the mask, so that undo restores both and a reopened project has them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...core.document.tracks_file import from_json
from ...core.review.groups import list_open, list_review_groups
from ...core.review.queue import SECONDS_EACH, ReviewEntry, is_fixed, is_shown, record_verdict
from ...core.review.timeline import FilmInTimeline, rank_timeline
from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument, Verdict
from ..common.footage import KINDS, compute_shown, find_timeline_frame, list_hidden
from ..cover.projection import get_projection
from ..cover.strips import get_mask
from ..masks.chosen_face import mark_chosen
from ..masks.document import get_document_text, store_document
from ..masks.record import DamagedRecordError, MaskRecord, get_layer_name, is_readable, list_unreliable_tracks
from ..preferences.properties import get_reviewer
from .visible import OpaqueStrips

_LONGEST_S = 60.0
"""The longest time that counts as one review: during a longer one the editor did something else."""

_REMEMBERED = 20
"""The estimate of the time left is the average over so many of the latest reviews."""


@dataclass(slots=True)
class Queue:
    """The review items of a mask. `document` must not be changed; it is None if it is lost or damaged."""

    stamp: int
    document: TrackDocument | None = None
    entries: list[ReviewEntry] = field(default_factory=list)


@dataclass(slots=True)
class Pace:
    """How long the editor took for the latest items, in this session of Blender and over all projects."""

    began: float = 0.0
    seconds: list[float] = field(default_factory=list)

    @property
    def seconds_each(self) -> float:
        return sum(self.seconds) / len(self.seconds) if self.seconds else SECONDS_EACH

    def begin(self) -> None:
        self.began = time.monotonic()

    def end(self) -> None:
        took = time.monotonic() - self.began
        if self.began and took < _LONGEST_S:
            self.seconds = [*self.seconds, took][-_REMEMBERED:]
        self.began = 0.0


@dataclass(frozen=True, slots=True)
class _Timeline:
    """The queue of a scene. It holds as long as `masks`, by their session_uid, are fresh."""

    masks: frozenset[int]
    items: list[QueuedItem]


@dataclass(slots=True)
class _QueueCache:
    """The parsed queues, by the mask's session_uid. Only this module uses it. Cleared when another project has been
    opened and when the extension is disabled."""

    queues: dict[int, Queue] = field(default_factory=dict)
    fresh: set[int] = field(default_factory=set)
    """Masks that have not changed since their queue was parsed; cleared by every change in Blender."""
    opened: dict[int, set[str]] = field(default_factory=dict)
    """The keys of the items of piles that the editor goes through one by one, by mask."""
    timelines: dict[int, _Timeline] = field(default_factory=dict)
    """The queues of scenes, by their session_uid."""

    def clear(self) -> None:
        self.queues.clear()
        self.timelines.clear()
        self.fresh.clear()
        self.opened.clear()


PACE = Pace()
_CACHE = _QueueCache()


def read_queue(mask: bpy.types.Mask) -> Queue:
    """The review items of one of our masks; parsed again if its document has changed."""
    uid = mask.session_uid
    if uid not in _CACHE.fresh or uid not in _CACHE.queues:
        text = get_document_text(mask)
        content = text.as_string() if text is not None else ""
        try:
            unreliable = list_unreliable_tracks(mask)
        except DamagedRecordError:
            # The guard reports the damaged record, and renders the strip black.
            return Queue(0)
        if uid not in _CACHE.queues or _CACHE.queues[uid].stamp != hash((content, unreliable)):
            _CACHE.queues[uid] = _read(content, unreliable, _CACHE.opened.get(uid, set()))
        _CACHE.fresh.add(uid)
    return _CACHE.queues[uid]


def _read(content: str, unreliable: frozenset[str], opened: set[str]) -> Queue:
    stamp = hash((content, unreliable))
    try:
        document = from_json(content)
    except FaceBlurError:
        # The guard and the other operators report the damaged document.
        return Queue(stamp)
    return Queue(stamp, document, list_review_groups(document, unreliable, opened))


def get_current(mask: bpy.types.Mask) -> ReviewEntry | None:
    """The current review item of a mask."""
    key = MaskRecord.load(mask).reviewing
    return next((entry for entry in read_queue(mask).entries if has_key(entry, key)), None) if key else None


def has_key(entry: ReviewEntry, key: str) -> bool:
    """Whether an item, or one of its group, has this key: after a verdict another one may be the foremost."""
    return any(one.key == key for one in (entry, *entry.members))


def list_entries(strip: bpy.types.Strip, mask: bpy.types.Mask) -> list[ReviewEntry]:
    """The review items in the frames that a strip shows, in the order of the review, including reviewed ones."""
    span = get_span(strip, mask)
    return [entry for entry in read_queue(mask).entries if span is not None and is_shown(entry, span)]


def get_span(strip: bpy.types.Strip, mask: bpy.types.Mask) -> tuple[int, int] | None:
    """The half-open range of source frames that a strip shows; None if it shows nothing."""
    return compute_shown(
        strip, int(strip.frame_final_start), int(strip.frame_final_end), mask.frame_end - mask.frame_start
    )


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """A review item in the queue of a scene. It keeps names, because undo replaces Blender's objects."""

    strips: tuple[str, ...]
    """The covered strips of its film, those that a viewer sees first, in the order of the timeline."""
    mask: str
    entry: ReviewEntry
    is_hidden: bool
    is_large: bool


def list_queue(scene: bpy.types.Scene) -> list[QueuedItem]:
    """The review items of all strips of a scene, reviewed or open, in the order of the review; see `rank_timeline`.

    An item that several strips show is one. Muted strips have none. Until something changes in Blender, the list is the
    same object.
    """
    kept = _CACHE.timelines.get(scene.session_uid)
    if kept is None or not kept.masks <= _CACHE.fresh:
        kept = _CACHE.timelines[scene.session_uid] = _list_queue(scene)
    return kept.items


def _list_queue(scene: bpy.types.Scene) -> _Timeline:
    muted, above = list_hidden(scene), OpaqueStrips.of(scene)
    films: dict[int, _Film] = {}
    for strip, mask in list_covered(scene):
        if strip.name in muted:
            continue
        film = films.setdefault(mask.session_uid, _Film(mask.name))
        visible, hidden = above.divide(strip)
        length = mask.frame_end - mask.frame_start
        for spans, stretches in ((film.shown, visible), (film.hidden, hidden)):
            spans += [span for first, stop in stretches if (span := compute_shown(strip, first, stop, length))]
        (film.strips if visible else film.hidden_strips).append(strip.name)
        if visible or not film.scale:
            film.scale = max(film.scale, get_projection(scene, strip).scale)
    side = max(min(scene.render.resolution_x, scene.render.resolution_y), 1)
    parts = []
    for film in films.values():
        entries = read_queue(bpy.data.masks[film.mask]).entries
        parts.append(FilmInTimeline(entries, film.shown, film.hidden, film.scale / side))
    ordered = list(films.values())
    items = [
        QueuedItem(
            (*ordered[one.film].strips, *ordered[one.film].hidden_strips),
            ordered[one.film].mask,
            one.entry,
            one.is_hidden,
            one.is_large,
        )
        for one in rank_timeline(parts)
    ]
    return _Timeline(frozenset(films), items)


@dataclass(slots=True)
class _Film:
    """What a scene shows of one mask's film."""

    mask: str
    strips: list[str] = field(default_factory=list)
    hidden_strips: list[str] = field(default_factory=list)
    shown: list[tuple[int, int]] = field(default_factory=list)
    hidden: list[tuple[int, int]] = field(default_factory=list)
    scale: float = 0.0


def count_left(scene: bpy.types.Scene) -> int:
    """How many items without a verdict the scene's strips show; an item that several strips show counts once."""
    return sum(not item.entry.verdict for item in list_queue(scene))


def count_large_left(scene: bpy.types.Scene) -> int:
    """How many of those have a face that is large in the scene's picture."""
    return sum(item.is_large and not item.entry.verdict for item in list_queue(scene))


def list_covered(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Strip, bpy.types.Mask]]:
    """The covered strips of a scene with their masks, in the order of the timeline. Strips whose mask has a damaged
    record are left out: the guard reports them."""
    for strip in sorted(scene.sequence_editor.strips_all, key=lambda s: (s.frame_final_start, s.channel)):
        mask = get_mask(strip) if strip.type in KINDS and not strip.mute else None
        if mask is not None and is_readable(mask):
            yield strip, mask


def find_next(
    scene: bpy.types.Scene, strip: bpy.types.Strip | None, earlier: list[QueuedItem] | None = None
) -> tuple[bpy.types.Strip, ReviewEntry] | None:
    """The next item without a verdict, in any of the scene's strips, after the current one of `strip`, the active one.

    After the last one it begins at the first. None if all are reviewed. After a decision, which may have removed the
    current item, `earlier` is the queue before it.
    """
    items = list_queue(scene)
    here = get_number(items if earlier is None else earlier, strip)
    if earlier is None:
        order = items[here:] + items[:here]
    else:
        places = {
            (item.mask, one.key): (number - here) % len(earlier)
            for number, item in enumerate(earlier)
            for one in (item.entry, *item.entry.members)
        }
        order = sorted(
            items,
            key=lambda item: min(
                places.get((item.mask, one.key), len(earlier)) for one in (item.entry, *item.entry.members)
            ),
        )
    return next(
        (
            (found, item.entry)
            for item in order
            if not item.entry.verdict and (found := _find_strip(scene, item, strip)) is not None
        ),
        None,
    )


def find_previous(scene: bpy.types.Scene, strip: bpy.types.Strip) -> tuple[bpy.types.Strip, ReviewEntry] | None:
    """The item before the current one, in any strip, reviewed or not; None if there is none."""
    items = list_queue(scene)
    number = get_number(items, strip)
    found = _find_strip(scene, items[number - 2], strip) if number > 1 else None
    return (found, items[number - 2].entry) if found is not None else None


def get_number(items: list[QueuedItem], strip: bpy.types.Strip | None) -> int:
    """The number, from 1, of the current item of a strip in the queue; 0 if it is not in the queue."""
    mask = get_mask(strip)
    key = MaskRecord.load(mask).reviewing if mask is not None and is_readable(mask) else ""
    if not key:
        return 0
    return next(
        (number for number, item in enumerate(items, 1) if item.mask == mask.name and has_key(item.entry, key)), 0
    )


def _find_strip(scene: bpy.types.Scene, item: QueuedItem, active: bpy.types.Strip | None) -> bpy.types.Strip | None:
    """The strip in which to review an item: the active one if it shows it, else the first that does."""
    names = [active.name] if active is not None and active.name in item.strips else []
    for name in (*names, *item.strips):
        strip = scene.sequence_editor.strips_all.get(name)
        mask = get_mask(strip) if strip is not None else None
        if mask is not None and (span := get_span(strip, mask)) is not None and is_shown(item.entry, span):
            return strip
    return None


def go_to(scene: bpy.types.Scene, strip: bpy.types.Strip, entry: ReviewEntry) -> None:
    """Make an item current, with its strip and face active and the playhead at its frame.

    Raises FaceBlurError if the strip does not show it.
    """
    mask = get_mask(strip)
    length = mask.frame_end - mask.frame_start
    frame = find_timeline_frame(strip, [(entry.frame, entry.frame + 1)], length)
    if frame is None:
        frame = find_timeline_frame(strip, [(entry.start, entry.stop)], length)
    if frame is None:
        raise FaceBlurError(translate("The strip '{name}' does not show the frames of this item.", name=strip.name))
    editor = scene.sequence_editor
    if editor.active_strip != strip:
        for other in editor.strips_all:
            other.select = other == strip
        editor.active_strip = strip
    layer = get_layer_name(mask, entry.track) if entry.covered else ""
    if layer:
        mask.layers.active = mask.layers[layer]
        mark_chosen(strip, mask)
    scene.frame_set(frame)
    record = MaskRecord.load(mask)
    record.reviewing = entry.key
    record.save(mask)
    PACE.begin()


def make_current(strip: bpy.types.Strip, mask: bpy.types.Mask, track: str, source_frame: int) -> None:
    """Make the open item of a track that contains a frame the current one, without moving the playhead, if any does."""
    entry = next(
        (
            entry
            for entry in list_entries(strip, mask)
            if not entry.verdict
            and any(one.track == track and one.start <= source_frame < one.stop for one in list_open(entry))
        ),
        None,
    )
    record = MaskRecord.load(mask)
    if entry is not None and not has_key(entry, record.reviewing):
        record.reviewing = entry.key
        record.save(mask)
        PACE.begin()


def open_pile(mask: bpy.types.Mask, entry: ReviewEntry) -> None:
    """Make the items of a pile items of their own, until Blender is closed or another project is opened."""
    uid = mask.session_uid
    _CACHE.opened.setdefault(uid, set()).update(one.key for one in (entry, *entry.members))
    _CACHE.queues.pop(uid, None)
    _CACHE.timelines.clear()


def accept(mask: bpy.types.Mask, entry: ReviewEntry) -> None:
    """Save that an editor finds an item and all of its group fine, and change nothing else. Raises FaceBlurError."""
    # The cached document is written back, so it must be up to date.
    _CACHE.fresh.discard(mask.session_uid)
    queue = read_queue(mask)
    if queue.document is None:
        raise FaceBlurError(
            translate("The mask '{name}' has lost its tracks document. Detect its faces again.", name=mask.name)
        )
    for one in list_open(entry):
        verdict = Verdict.FIXED if is_fixed(queue.document, one) else Verdict.CONFIRMED
        record_verdict(queue.document, one.key, verdict, get_reviewer())
    store_document(mask, MaskRecord.load(mask), queue.document)
    unreliable = list_unreliable_tracks(mask)
    opened = _CACHE.opened.get(mask.session_uid, set())
    queue.entries = list_review_groups(queue.document, unreliable, opened)
    text = get_document_text(mask)
    assert text is not None
    queue.stamp = hash((text.as_string(), unreliable))
    _CACHE.timelines.clear()
    PACE.end()


@persistent
def _notice_change(*_: object) -> None:
    _CACHE.fresh.clear()
    _CACHE.timelines.clear()


@persistent
def _forget_project(*_: object) -> None:
    _CACHE.clear()


def register_handlers() -> None:
    handlers = bpy.app.handlers
    for when in _list_changing():
        when.append(_notice_change)
    handlers.load_post.append(_forget_project)


def unregister_handlers() -> None:
    for when in _list_changing():
        when.remove(_notice_change)
    bpy.app.handlers.load_post.remove(_forget_project)
    _forget_project()


def _list_changing() -> tuple[Any, ...]:
    handlers = bpy.app.handlers
    return handlers.depsgraph_update_post, handlers.undo_post, handlers.redo_post
