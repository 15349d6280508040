# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay cache: what preview and timeline draw of masks, read when a mask changes and not while drawing.

The covers of a mask are read at once, because that is fast. Their evidence and review items are in its tracks document,
which a timer reads a moment later. Until then the overlays show the covers alone.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...core.review.overview import Code, Codes, Digests, Overview, read_overview
from ..common.jobs import redraw
from .document import get_document_text
from .record import LayerRecord, MaskRecord, compute_stamp, has_record

_READ_AFTER_S = 0.2


@dataclass(slots=True)
class CachedMask:
    """What the cache holds of one mask."""

    stamp: object
    covers: list[LayerRecord]
    """The layers that cover something, as they were written."""
    analysed: list[int]
    """The half-open source frame ranges that were analysed, flat: start, stop, start, stop. Empty if all frames were
    analysed."""
    overview: Overview | None = None
    codes: dict[tuple[frozenset[str], str], tuple[Codes, Codes]] = field(default_factory=dict)
    digests: tuple[Overview, frozenset[str], str, Digests] | None = None
    """What `compute_digests` returned last, and of what."""

    def is_unanalysed(self, source_frame: int) -> bool:
        return bool(self.analysed) and bisect_right(self.analysed, source_frame) % 2 == 0

    def compute_codes(self, off: frozenset[str], only: str = "") -> tuple[Codes, Codes] | None:
        """The results of `Overview.compute_codes` and `compute_review_codes`; None until the document has been read."""
        if self.overview is None:
            return None
        if (off, only) not in self.codes:
            if len(self.codes) > 8:
                self.codes.clear()
            self.codes[off, only] = (
                self.overview.compute_codes(off, only),
                self.overview.compute_review_codes(off, only),
            )
        return self.codes[off, only]

    def compute_digests(self, off: frozenset[str], salt: str) -> Digests | None:
        """The result of `Overview.compute_digests`, the same object while nothing changes; None until the document has
        been read."""
        if self.overview is None:
            return None
        last = self.digests
        if last is None or last[0] is not self.overview or last[1:3] != (off, salt):
            last = self.digests = self.overview, off, salt, self.overview.compute_digests(off, salt)
        return last[3]


@dataclass(slots=True)
class _OverlayCache:
    """What was read, by the mask's session_uid. Only this module uses it. A mask that changes is read again; `known` is
    cleared by undo, redo and opening a file, everything when the extension is disabled."""

    known: dict[int, CachedMask] = field(default_factory=dict)
    overviews: dict[int, tuple[int, Overview | None]] = field(default_factory=dict)
    """A hash of the document's text, and its overview."""
    unread: set[int] = field(default_factory=set)
    """Masks whose documents the timer is to read."""

    def clear(self) -> None:
        self.known.clear()
        self.overviews.clear()
        self.unread.clear()


_CACHE = _OverlayCache()


def get_cached(mask: bpy.types.Mask) -> CachedMask:
    """The cached state of a mask of ours, read first if it has changed."""
    key, stamp = mask.session_uid, compute_stamp(mask)
    known = _CACHE.known.get(key)
    if known is None or known.stamp != stamp:
        record = MaskRecord.load(mask)
        known = _CACHE.known[key] = CachedMask(
            stamp,
            [layer for layer in record.layers.values() if layer.frames],
            [edge for span in record.analysed for edge in span],
            _CACHE.overviews.get(key, (0, None))[1],
        )
        _CACHE.unread.add(key)
        if not bpy.app.timers.is_registered(_read_documents):
            bpy.app.timers.register(_read_documents, first_interval=_READ_AFTER_S)
    return known


def refresh_overview(mask: bpy.types.Mask) -> None:
    """Read the tracks document now, without waiting for the timer."""
    known, key = get_cached(mask), mask.session_uid
    text = get_document_text(mask)
    content = text.as_string().replace("\n", "") if text is not None else ""
    if key not in _CACHE.overviews or _CACHE.overviews[key][0] != hash(content):
        _CACHE.overviews[key] = hash(content), read_overview(content)
    known.overview = _CACHE.overviews[key][1]
    known.codes.clear()
    _CACHE.unread.discard(key)


def list_switched_off(mask: bpy.types.Mask, known: CachedMask) -> frozenset[str]:
    """The names of the tracks whose layer is hidden or gone."""
    shown = {layer.name for layer in mask.layers if not layer.hide_render}
    return frozenset(cover.track for cover in known.covers if cover.layer not in shown)


def compute_code(known: CachedMask, cover: LayerRecord, source_frame: int, hidden: bool, to_review: bool) -> Code:
    """How a layer covers at a frame. `hidden`: it is switched off; `to_review`: there is an open review item."""
    track_overview = known.overview.tracks.get(cover.track) if known.overview is not None else None
    place = track_overview.get_index(source_frame) if track_overview is not None else None
    if track_overview is None:
        if not cover.is_opaque(source_frame):
            return Code.NOTHING
        return Code.OFF if hidden else Code.DETECTED
    if place is None:
        return Code.NOTHING
    if hidden or track_overview.is_off(source_frame):
        return Code.OFF
    if to_review:
        return Code.TO_REVIEW
    return Code.LOCKED if track_overview.locked else Code(int(track_overview.codes[place]))


def get_unit(context: bpy.types.Context) -> float:
    """The number of screen pixels in one unit of the interface."""
    # Blender returns 0 without a window.
    return float(context.preferences.system.ui_scale) or 1.0


def register_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_notice)
    for handlers in _list_rewinding():
        handlers.append(_forget)


def unregister_handlers() -> None:
    bpy.app.handlers.depsgraph_update_post.remove(_notice)
    for handlers in _list_rewinding():
        handlers.remove(_forget)
    if bpy.app.timers.is_registered(_read_documents):
        bpy.app.timers.unregister(_read_documents)
    _CACHE.clear()


def _list_rewinding() -> tuple[list[Any], ...]:
    handlers = bpy.app.handlers
    return handlers.load_post, handlers.undo_post, handlers.redo_post


@persistent
def _notice(_: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    for update in depsgraph.updates:
        if isinstance(update.id, bpy.types.Mask):
            _CACHE.known.pop(update.id.original.session_uid, None)


@persistent
def _forget(*_: object) -> None:
    _CACHE.known.clear()
    present = {mask.session_uid for mask in bpy.data.masks}
    for key in set(_CACHE.overviews) - present:
        del _CACHE.overviews[key]


def _read_documents() -> None:
    todo = set(_CACHE.unread)
    _CACHE.unread.clear()
    for mask in bpy.data.masks:
        if mask.session_uid in todo and has_record(mask):
            refresh_overview(mask)
    redraw()
