# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the tracks of a project. Nothing else does.

Every change takes the same way: reading.py applies to the document and the record what an editor changed with Blender's
own tools, core/document changes the document, mask.py writes the layers that core/cover plans for it, and `_store`
stores document and record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import bpy

from ...core.document.editing import merge_analysis
from ...core.document.matching import list_same_tracks
from ...core.types import FaceBlurError, TrackDocument
from .document import get_document_text, load_document, store_document
from .mask import PICTURE_LAYER, make_mask, rewrite_layers, write_layers
from .reading import Edits, read_edits
from .record import MaskRecord, get_layer_name


@dataclass(slots=True)
class _WatchedMasks:
    """Which masks are ours to change now, and which are clean. Only this module uses it."""

    on: bool = False
    """Whether a handler calls `mark_dirty` for every change."""
    clean: set[str] = field(default_factory=set)
    """The serials of the records of masks that have not changed since they were written. Undo returns to an earlier
    serial. Cleared when watching begins or ends, and when another project has been opened."""
    held: set[str] = field(default_factory=set)
    """The names of the masks that we are reading or writing. A name is in it only within `_hold`."""


_WATCHED = _WatchedMasks()


def watch_edits(on: bool) -> None:
    """Set whether a handler calls `mark_dirty` for every change; without one, masks are compared each time."""
    _WATCHED.on = on
    _WATCHED.clean.clear()


def change_tracks(mask: bpy.types.Mask, change: Callable[[TrackDocument], Collection[str]]) -> TrackDocument:
    """Change the tracks of a mask of ours. `change` gets the document and returns the names of the tracks that it has
    changed, added or removed; only their layers are written.

    Raises FaceBlurError, with nothing changed, if `change` raises it or the document is lost.
    """
    document = sync_from_blender(mask)
    names = set(change(document))
    record = MaskRecord.load(mask)
    with _hold(mask):
        rewrite_layers(mask, record, document, names)
        _store(mask, record, document)
    return document


def sync_from_blender(mask: bpy.types.Mask) -> TrackDocument:
    """The document, updated with what an editor did to the mask with Blender's own tools. Stored if it changed."""
    record, document, edits = _read(mask)
    if edits is not None:
        with _hold(mask):
            if edits.reshaped:
                rewrite_layers(mask, record, document, edits.reshaped)
            _store(mask, record, document if edits.changed else None)
    return document


def write_analysis(
    mask: bpy.types.Mask | None,
    name: str,
    document: TrackDocument,
    unit_px: float,
    span: tuple[int, int],
    first_frame: int,
) -> tuple[bpy.types.Mask, TrackDocument]:
    """Write the analysis of the half-open source frames `span` into `mask`, or into a new mask called `name`.

    Returns the mask and the document that it now holds. An editor's changes are kept, see `merge_analysis`. A track
    whose layer was switched off stays off only if `is_same_track` matches it to the earlier one.
    """
    switched_off: set[str] | None = None
    if mask is None:
        mask, record = make_mask(name, document, unit_px, first_frame)
    elif get_document_text(mask) is None:
        record = MaskRecord.load(mask)
    else:
        record, edited, _ = _read(mask)
        off = {
            record.layers.track_of(layer.name)
            for layer in mask.layers
            if layer.hide_render and layer.name in record.layers
        }
        document = merge_analysis(edited, document, *span)
        switched_off = list_same_tracks(document.tracks, [track for track in edited.tracks if track.name in off])
    with _hold(mask):
        write_layers(mask, record, document, unit_px, switched_off)
        _store(mask, record, document)
    return mask, document


def _read(mask: bpy.types.Mask) -> tuple[MaskRecord, TrackDocument, Edits | None]:
    """The record and the document, both updated with an editor's edits but not stored; None if there are none."""
    # Blender reports changes that Python made only after an update.
    bpy.context.view_layer.update()
    record, document = MaskRecord.load(mask), load_document(mask)
    if _WATCHED.on and record.serial in _WATCHED.clean:
        return record, document, None
    with _hold(mask):
        return record, document, read_edits(mask, record, document)


def _store(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument | None) -> None:
    """Store the record and, unless it is unchanged, the document of a held mask, which counts as clean from now on."""
    record.serial = f"{time.time_ns():x}"
    if document is not None:
        store_document(mask, document, record)
    else:
        record.save(mask)
    # Blender reports what we wrote only after an update. Once the mask is no longer held, that would count as an edit.
    bpy.context.view_layer.update()
    _WATCHED.clean.add(record.serial)
    refresh_masks([mask.name])


@contextmanager
def _hold(mask: bpy.types.Mask) -> Iterator[None]:
    """Keep handlers from taking our changes of a mask for edits."""
    name = mask.name
    _WATCHED.held.add(name)
    try:
        yield
    finally:
        _WATCHED.held.discard(name)


def is_held(mask: bpy.types.Mask) -> bool:
    """Whether a change of the mask is our own, not an editor's."""
    return mask.name in _WATCHED.held


def mark_dirty(mask: bpy.types.Mask) -> None:
    """Record an editor's change of the mask, so that it is compared before it is next written."""
    _WATCHED.clean.discard(MaskRecord.load(mask).serial)


def forget_written(*_: object) -> None:
    """Treat all masks as dirty, because another file was opened."""
    _WATCHED.clean.clear()


def refresh_masks(names: Collection[str]) -> None:
    """Drop the sequencer's cached frames of the strips that show these masks."""
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
            if strip.type == "MASK" and strip.mask is not None and strip.mask.name in names:
                strip.invalidate_cache("RAW")


def check_freehand(mask: bpy.types.Mask, names: Collection[str]) -> None:
    """Raise FaceBlurError if one of the tracks was drawn by hand, because only Blender's tools can change it."""
    record = MaskRecord.load(mask)
    for name in names:
        layer = get_layer_name(mask, name, record)
        if layer and record.layers[layer].freehand:
            raise FaceBlurError(f"'{name}' was drawn by hand. Change it in the Mask editor.")
        if not layer and name in mask.layers and name != PICTURE_LAYER:
            raise FaceBlurError(f"Face Blur did not make the layer '{name}'. Change it in the Mask editor.")
