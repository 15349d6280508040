# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the tracks of a project. No other module does.

Every change takes the same way: reading.py applies to the document and the record what an editor changed with Blender's
own tools, core/document changes the document, core/cover plans its layers, mask.py writes them, and `_store` stores
document and record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import bpy

from ...core.cover.layers import plan_layers
from ...core.document.editing import merge_analysis
from ...core.document.matching import list_same_tracks
from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument
from ..common.context import borrow_mask_editor
from .chosen_face import forget_chosen
from .document import get_document_text, load_document, store_document
from .mask import PICTURE_LAYER, write_layers, write_picture_layer
from .reading import Edits, read_edits
from .record import MaskRecord, get_layer_name, make_mask


@dataclass(slots=True)
class _WatchedMasks:
    """Which masks are clean, and which we are changing. Only this module uses it."""

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
    content = _sync(mask)
    names = change(content.document)
    with hold(mask):
        _write_layers(mask, content.record, content.document, names)
        _store(mask, content.record, content.document)
    return content.document


def sync_from_blender(mask: bpy.types.Mask) -> TrackDocument:
    """The document, updated with what an editor did to the mask with Blender's own tools. Stored if it changed."""
    return _sync(mask).document


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
    if mask is None:
        mask, record = make_mask(name, document, unit_px, first_frame)
        is_new = True
    else:
        is_new = get_document_text(mask) is None
        record = MaskRecord.load(mask)
        _report_changes()
    with hold(mask):
        # All within one call, because Blender evaluates the project at the end of each, which takes long with many
        # strips.
        with borrow_mask_editor(mask):
            switched_off: set[str] | None = None
            if not is_new:
                content = _read(mask)
                record = content.record
                hidden = {layer.name for layer in mask.layers if layer.hide_render}
                names = {track for layer, track in record.get_tracks().items() if layer in hidden}
                off = [track for track in content.document.tracks if track.name in names]
                document = merge_analysis(content.document, document, *span)
                switched_off = list_same_tracks(document.tracks, off)
            mask.frame_end = mask.frame_start + max(document.source.frame_count, 1)
            record.describe(document, unit_px, (mask.frame_start, mask.frame_end))
            _write_layers(mask, record, document)
            # An editor draws into the active layer, which should not be the picture's.
            faces = [name for name in record.own[1:] if name in mask.layers]
            if faces:
                mask.layers.active = mask.layers[faces[0]]
            forget_chosen(mask)
            if switched_off is not None:
                for layer, track in record.get_tracks().items():
                    if layer in mask.layers:
                        mask.layers[layer].hide_render = track in switched_off
            _store(mask, record, document)
        _report_changes()
    return mask, document


def _report_changes() -> None:
    """Have Blender call the handlers for what Python has changed, which it does only after an update."""
    bpy.context.view_layer.update()


@dataclass(frozen=True, slots=True)
class _Content:
    """What a mask holds, updated with an editor's edits."""

    record: MaskRecord
    document: TrackDocument
    edits: Edits | None
    """The edits, which are not stored; None if the mask has not changed since it was written."""


def _sync(mask: bpy.types.Mask) -> _Content:
    content = _read(mask)
    if content.edits is not None:
        with hold(mask):
            if content.edits.reshaped:
                _write_layers(mask, content.record, content.document, content.edits.reshaped)
            _store(mask, content.record, content.document if content.edits.changed else None)
    return content


def _read(mask: bpy.types.Mask) -> _Content:
    _report_changes()
    record = MaskRecord.load(mask)
    document = load_document(mask)
    if _WATCHED.on and record.serial in _WATCHED.clean:
        return _Content(record, document, None)
    with hold(mask):
        return _Content(record, document, read_edits(mask, record, document))


def _write_layers(
    mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument, names: Collection[str] | None = None
) -> None:
    """Write the layers of these tracks, and remove the layers of those that are gone. Without `names`, write all.

    Layers that we did not make stay as they are, and so do those that an editor redrew.
    """
    is_whole = names is None
    changed = {*(t.name for t in document.tracks), *record.get_tracks().values()} if names is None else set(names)
    with borrow_mask_editor(mask) as scene:
        replaced = record.forget_tracks(changed)
        # A layer that is in the record but not in the mask counts as deleted by an editor.
        record.save(mask)
        if is_whole:
            picture = write_picture_layer(mask, document.analysed, PICTURE_LAYER in record.own)
            record.own = [picture, *(own for own in record.own if own != picture)]
        redrawn = {track for layer, track in record.get_tracks().items() if layer in mask.layers}
        plans = plan_layers(document, changed - redrawn)
        written = write_layers(scene, mask, record, plans, replaced)
    record.add_layers(written, document)
    record.order = mask.layers.keys()


def _store(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument | None) -> None:
    """Store the record and, unless it is unchanged, the document of a held mask, which counts as clean from now on."""
    record.serial = f"{time.time_ns():x}"
    if document is not None:
        store_document(mask, record, document)
    else:
        record.save(mask)
    # Once the mask is no longer held, what we wrote would count as an edit.
    _report_changes()
    _WATCHED.clean.add(record.serial)
    refresh_masks([mask.name])


@contextmanager
def hold(mask: bpy.types.Mask) -> Iterator[None]:
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
            raise FaceBlurError(translate("'{name}' was drawn by hand. Change it in the Mask editor.", name=name))
        if not layer and name in mask.layers and name != PICTURE_LAYER:
            raise FaceBlurError(
                translate("Face Blur did not make the layer '{name}'. Change it in the Mask editor.", name=name)
            )
