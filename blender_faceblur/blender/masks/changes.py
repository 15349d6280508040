# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the tracks of a project, after reading what an editor changed with Blender's own tools.

Python cannot read shape keys, so a dirty mask is evaluated at every frame and compared with what was written. Frames
that differ become locked keys of the track. A layer that is no longer an ellipse stays as it was drawn, and its track
is locked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import bpy
import numpy as np

from ...core.cover.keyframes import HANDLE, interpolate
from ...core.document import editing
from ...core.types import Ellipse, Evidence, FaceBlurError, Sample, Track, TrackDocument
from ..common.curves import list_curves
from .mask import (
    CORNERS,
    PICTURE_LAYER,
    WRITING,
    adopt_layers,
    compute_opacity_keys,
    compute_points,
    get_document_text,
    get_layer_name,
    list_switched_off,
    load_document,
    make_mask,
    open_keying_scene,
    rewrite_layers,
    store_in_text,
    write_tracks,
)
from .record import LayerRecord, MaskRecord

_TOLERANCE_PX = 0.05
"""A point counts as unmoved within this many source pixels, because mask coordinates have single precision."""

_ELLIPSE_PX = 0.5
"""How far points may always be from the fitted ellipse. Raising it takes freehand shapes for ellipses."""

_ELLIPSE_SHARE = 0.01
"""The same as a share of the ellipse's smaller half axis; the larger of the two counts."""


@dataclass(slots=True)
class _WatchedMasks:
    """Which masks are clean. Only this module uses it; it is cleared when watching begins or ends, and when another
    project has been opened."""

    on: bool = False
    """Whether a handler calls `mark_dirty` for every change."""
    clean: set[str] = field(default_factory=set)
    """The serials of the records of masks that have not changed since they were written. Undo returns to an earlier
    serial."""


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
    rewrite_layers(mask, record, document, names)
    _mark_clean(mask, record)
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

    Returns the mask and the document that it now holds. An editor's changes are kept, see `merge_analysis`.
    """
    off: list[Track] = []
    if mask is None:
        mask, record = make_mask(name, document, unit_px, first_frame)
    else:
        record = MaskRecord.load(mask)
        if get_document_text(mask) is not None:
            edited = _read_edits(mask, record).document
            off = list_switched_off(mask, record, editing.copy_document(edited).tracks)
            document = editing.merge_analysis(edited, document, *span)
    write_tracks(mask, record, document, unit_px, off)
    _mark_clean(mask, record)
    return mask, document


def _mark_clean(mask: bpy.types.Mask, record: MaskRecord) -> None:
    """Record that the mask is as we wrote it. Blender's pending updates are flushed, so they do not count as edits."""
    with WRITING.hold(mask):
        bpy.context.view_layer.update()
    record.serial = f"{time.time_ns():x}"
    record.save(mask)
    _WATCHED.clean.add(record.serial)
    refresh_masks([mask.name])


def mark_dirty(mask: bpy.types.Mask) -> None:
    """Record a change of the mask. Unless it was our own, the mask is compared before it is next written."""
    if mask.name not in WRITING:
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


def sync_from_blender(mask: bpy.types.Mask) -> TrackDocument:
    """The document, updated with what an editor did to the mask with Blender's own tools. Stored if it changed."""
    record = MaskRecord.load(mask)
    edits = _read_edits(mask, record)
    if edits.rewritten:
        rewrite_layers(mask, record, edits.document, edits.rewritten)
    elif edits.changed:
        store_in_text(mask, record, edits.document)
    if not edits.clean:
        _mark_clean(mask, record)
    return edits.document


@dataclass(slots=True)
class _Edits:
    """A document, updated with what an editor did to its mask, and the layers that must be rewritten."""

    document: TrackDocument
    clean: bool = False
    """Nothing has changed since the mask was written."""
    changed: bool = False
    """The document differs from the stored one."""
    rewritten: set[str] = field(default_factory=set)
    """The tracks whose layers must be rewritten."""


def _read_edits(mask: bpy.types.Mask, record: MaskRecord) -> _Edits:
    """Read what an editor did to the mask. `record` is updated and saved; the document is not stored."""
    # Blender reports changes that Python made only after an update.
    bpy.context.view_layer.update()
    document = load_document(mask)
    if _WATCHED.on and record.serial in _WATCHED.clean:
        return _Edits(document, clean=True)
    adopt_layers(mask, record)
    changed = _sync_names(mask, record, document)
    rewritten: set[str] = set()
    corrected = _compare(mask, record)
    for layer, found in corrected.items():
        track = editing.get_track(document, record.layers.track_of(layer))
        changed = True
        if found is None:
            track.locked = True
            record.layers[layer] = replace(record.layers[layer], freehand=True)
        else:
            _apply_found(track, found, document.margin)
            rewritten.add(track.name)
    record.save(mask)
    return _Edits(document, changed=changed, rewritten=rewritten)


def _sync_names(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument) -> bool:
    """Apply renamed and deleted layers to the document; whether there were any."""
    changed = False
    for layer in list(record.layers):
        name = record.layers.track_of(layer)
        known = any(track.name == name for track in document.tracks)
        if layer not in mask.layers or not known:
            if known:
                editing.delete(document, name)
            record.forget_layer(layer)
        elif layer != name and all(layer != t.name for t in (*document.tracks, *document.uncovered)):
            editing.rename(document, name, layer)
            record.layers[layer] = replace(record.layers[layer], track=layer)
        else:
            continue
        changed = True
    record.save(mask)
    return changed


_Found = dict[int, Ellipse | None]
"""The cover as it is now, by source frame; None where it is transparent."""


def _compare(mask: bpy.types.Mask, record: MaskRecord) -> dict[str, _Found | None]:
    """The frames that differ from what was written, by layer of ours that changed.

    The value is None if the layer is no longer an ellipse.
    """
    size, unit_px = record.size, record.unit_px
    known = {name: record.layers[name] for name in record.own if name in mask.layers and name in record.layers}
    written = {name: _Written(layer, size, unit_px) for name, layer in known.items() if not layer.freehand}
    found: dict[str, _Found | None] = {
        name: None
        for name in written
        if not mask.layers[name].invert
        or mask.layers[name].blend != "MUL"
        or len(mask.layers[name].splines) != 1
        or len(mask.layers[name].splines[0].points) != len(CORNERS)
    }
    watched = {name: mask.layers[name] for name in written if name not in found}
    if not watched:
        return found
    # A layer whose opacity keys are unchanged needs comparing only in the frames that it covers.
    everywhere = [name for name, layer in watched.items() if not written[name].has_own_opacity(mask, layer)]
    compared: dict[str, None] = {}
    with open_keying_scene(mask) as scene:
        straight = [name for name, layer in watched.items() if name not in everywhere and _is_straight(layer)]
        same = _list_unchanged(scene, mask, {name: written[name] for name in straight})
        begins: dict[int, list[str]] = {}
        for name in watched:
            if name in same:
                continue
            for start, stop in [(0, mask.frame_end - mask.frame_start)] if name in everywhere else written[name].spans:
                begins.setdefault(start, []).append(name)
                begins.setdefault(~stop, []).append(name)
        for frame in range(mask.frame_end - mask.frame_start):
            for name in begins.get(~frame, ()):
                compared.pop(name, None)
            compared.update(dict.fromkeys(begins.get(frame, ())))
            if not compared:
                continue
            scene.frame_set(mask.frame_start + frame)
            for name in compared:
                layer = watched[name]
                if found.get(name, {}) is None or not written[name].differs(layer, frame):
                    continue
                if layer.alpha <= 0:
                    ellipse: Ellipse | None = None
                else:
                    ellipse = _fit_ellipse(layer, size, unit_px) if layer.alpha >= 1 else None
                    if ellipse is None:
                        found[name] = None
                        continue
                frames = found.setdefault(name, {})
                assert frames is not None
                frames[frame] = ellipse
    return found


def _is_straight(layer: bpy.types.MaskLayer) -> bool:
    """Whether all points of a layer move in straight lines from one shape key to the next."""
    return all(
        point.handle_left_type == point.handle_right_type == "FREE" and point.parent.id is None
        for point in layer.splines[0].points
    )


def _list_unchanged(scene: bpy.types.Scene, mask: bpy.types.Mask, written: dict[str, _Written]) -> set[str]:
    """The names of the layers that are as written in all frames that they cover.

    It is enough to compare the frames with a key and the ends of spans, because points move in straight lines between
    them. Blender does not list shape keys, but its operator that jumps between keys visits those of the active layer
    (5.0.1, 5.2.3).
    """
    active, first, end = mask.layers.active, mask.frame_start, mask.frame_end
    # A key to arrive at after the last one: Blender prints a message if there is none.
    scene["end"] = 0.0
    scene.keyframe_insert('["end"]', frame=end)
    unchanged = set()
    with WRITING.hold(mask):
        for name, own in written.items():
            mask.layers.active = mask.layers[name]
            if not _has_moved(scene, mask.layers[name], own, first, end):
                unchanged.add(name)
    mask.layers.active = active
    bpy.data.actions.remove(scene.animation_data.action)
    return unchanged


def _has_moved(scene: bpy.types.Scene, layer: bpy.types.MaskLayer, own: _Written, first: int, end: int) -> bool:
    """Whether the active layer differs at a key or an end of a span. Also true if Blender refuses to jump."""
    scene.frame_current = first - 1
    left = own.list_bends()
    while True:
        if bpy.ops.screen.keyframe_jump(next=True) != {"FINISHED"}:
            return True
        if scene.frame_current >= end:
            break
        bpy.context.view_layer.update()
        left.discard(scene.frame_current - first)
        if own.differs(layer, scene.frame_current - first):
            return True
    for frame in left:
        scene.frame_set(first + frame)
        if own.differs(layer, frame):
            return True
    return False


def _fit_ellipse(layer: bpy.types.MaskLayer, size: tuple[int, int], unit_px: float) -> Ellipse | None:
    """The ellipse that a layer's four points describe, in source pixels; None if they describe none.

    Opposite points are the ends of conjugate diameters, with handles of the length that we write. Every such shape is
    an ellipse.
    """
    numbers = [[point.co, point.handle_left, point.handle_right] for point in layer.splines[0].points]
    places = np.array([[list(place) for place in point] for point in numbers])
    places = (places - 0.5) * unit_px * [1, -1] + np.array(size) / 2
    corners = places[:, 0]
    centre = corners.mean(axis=0)
    u, v = (corners[0] - corners[2]) / 2, (corners[1] - corners[3]) / 2
    axes, lengths, _ = np.linalg.svd(np.stack([u, v], axis=1))
    if lengths[1] <= 0:
        return None
    c, s = axes[:, 0]
    x, y = centre.tolist()
    turned = Ellipse(x, y, float(lengths[0]), float(lengths[1]), float(np.arctan2(s, c)))
    expected = np.array(
        [
            [
                centre + cu * u + cv * v
                for cu, cv in ((a, b), (a + b * HANDLE, b - a * HANDLE), (a - b * HANDLE, b + a * HANDLE))
            ]
            for a, b in CORNERS
        ]
    )
    beside = float(np.abs(places - expected).max())
    if beside > max(_ELLIPSE_PX, _ELLIPSE_SHARE * float(lengths[1])):
        return None
    # The first axis is the one closer to horizontal, as in the ellipses of faces.
    if abs(s) > abs(c):
        turned = Ellipse(turned.cx, turned.cy, turned.ry, turned.rx, turned.angle - np.pi / 2)
    angle = (turned.angle + np.pi / 2) % np.pi - np.pi / 2
    return Ellipse(turned.cx, turned.cy, turned.rx + beside, turned.ry + beside, float(angle))


def _apply_found(track: Track, found: _Found, margin: float) -> None:
    """Apply the changed frames of a layer to its track, as locked samples and frames that are off."""
    gone = [frame for frame, ellipse in found.items() if ellipse is None]
    shown = {frame: ellipse for frame, ellipse in found.items() if ellipse is not None}
    known = {s.source_frame: s for s in track.samples}
    for frame, ellipse in shown.items():
        known[frame] = Sample(frame, ellipse.scaled(1 / margin), Evidence.LOCKED, 1.0)
    track.samples = [known[frame] for frame in sorted(known)]
    off = {frame for start, stop in track.off for frame in range(start, stop)}
    track.off = editing.join_frames((off | set(gone)) - set(shown))


class _Written:
    """The shape and opacity that we wrote into one layer, at any frame."""

    def __init__(self, layer: LayerRecord, size: tuple[int, int], unit_px: float) -> None:
        self._frames, self.spans = layer.frames, layer.spans
        self._points = np.array(
            [compute_points(Ellipse(*shape), size, unit_px) for shape in layer.shapes.tolist()]
        ).reshape(-1, len(CORNERS), 3, 2)
        self._tolerance = _TOLERANCE_PX / unit_px
        self._current = np.zeros((3, len(CORNERS), 2), np.float32)

    def list_bends(self) -> set[int]:
        """The covered frames that have a key, and the first and last frame of each span."""
        keys = {frame for frame in self._frames if any(start <= frame < stop for start, stop in self.spans)}
        return keys | {frame for start, stop in self.spans for frame in (start, stop - 1)}

    def has_own_opacity(self, mask: bpy.types.Mask, layer: bpy.types.MaskLayer) -> bool:
        """Whether the layer's opacity keys are the ones that we wrote."""
        path = layer.path_from_id("alpha")
        curves = [curve for _, curve in list_curves(mask, path)]
        driven = mask.animation_data is not None and any(d.data_path == path for d in mask.animation_data.drivers)
        if len(curves) != 1 or driven or curves[0].mute or curves[0].modifiers:
            return False
        keys = [(key.co[0], key.co[1]) for key in curves[0].keyframe_points]
        return all(
            key.interpolation == "CONSTANT" for key in curves[0].keyframe_points
        ) and keys == compute_opacity_keys(mask, self.spans)

    def differs(self, layer: bpy.types.MaskLayer, frame: int) -> bool:
        """Whether the layer, as it is evaluated now, differs from what was written for that source frame."""
        opaque = any(start <= frame < stop for start, stop in self.spans)
        alpha = layer.alpha
        if (alpha > 0.5) != opaque or (opaque and alpha < 1.0):
            return True
        if not opaque:
            return False
        expected = interpolate(self._frames, self._points, frame)
        points, current = layer.splines[0].points, self._current
        for number, name in enumerate(("co", "handle_left", "handle_right")):
            flat = current[number].reshape(-1)
            points.foreach_get(name, flat)
        return bool(np.abs(current.transpose(1, 0, 2) - expected).max() > self._tolerance)


def cover_at(mask: bpy.types.Mask, layer: str, source_frame: int) -> Ellipse | None:
    """The ellipse that a layer of ours covers at a frame, in source pixels; None if it covers nothing there."""
    return MaskRecord.load(mask).ellipse_at(layer, source_frame)


def check_freehand(mask: bpy.types.Mask, names: Collection[str]) -> None:
    """Raise FaceBlurError if one of the tracks was drawn by hand, because only Blender's tools can change it."""
    record = MaskRecord.load(mask)
    for name in names:
        layer = get_layer_name(mask, name, record)
        if layer and record.layers[layer].freehand:
            raise FaceBlurError(f"'{name}' was drawn by hand. Change it in the Mask editor.")
        if not layer and name in mask.layers and name != PICTURE_LAYER:
            raise FaceBlurError(f"Face Blur did not make the layer '{name}'. Change it in the Mask editor.")
