# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what an editor changed in a mask with Blender's own tools, by comparing it with the mask's record.

Python cannot read shape keys, so the mask is evaluated at every frame with a key, or at every frame, and compared with
what was written. Frames that differ become locked keys of the track. A layer that is no longer an ellipse stays as it
was drawn, and its track is locked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ...core.cover.keyframes import interpolate
from ...core.cover.layers import CORNERS, compute_control_points
from ...core.document.editing import apply_layer_edits
from ...core.geometry import Array
from ...core.types import Ellipse, TrackDocument
from ..common.context import borrow_mask_editor
from ..common.curves import list_curves
from .mask import compute_opacity_keys, to_mask_coordinates
from .record import LayerRecord, MaskRecord

_TOLERANCE_PX = 0.05
"""A point counts as unmoved within this many source pixels, because mask coordinates have single precision."""

_ELLIPSE_PX = 0.5
"""How far points may always be from the fitted ellipse. Raising it takes freehand shapes for ellipses."""

_ELLIPSE_SHARE = 0.01
"""The same as a share of the ellipse's smaller half axis; the larger of the two counts."""


@dataclass(frozen=True, slots=True)
class Edits:
    """What an editor did to a mask with Blender's own tools."""

    changed: bool
    """Whether the document was updated."""
    reshaped: set[str]
    """The tracks whose layers must be rewritten."""


def read_edits(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument) -> Edits:
    """Update the document and the record with what an editor did to the mask. Neither is stored."""
    _adopt(mask, record)
    covers = compare_layers(mask, record)
    renamed, reshaped = apply_layer_edits(document, record.get_tracks(), mask.layers.keys(), covers)
    record.mark_freehand([layer for layer, frames in covers.items() if frames is None])
    record.assign_tracks(renamed)
    return Edits(bool(renamed or covers), reshaped)


def adopt_layers(mask: bpy.types.Mask) -> list[str]:
    """Make layers that were added by hand cover the area inside them; returns their names.

    A new layer in Blender shows the area inside it. Each is adopted once, so an editor's later settings stay. A renamed
    layer is recognised by its position in the list.
    """
    record = MaskRecord.load(mask)
    added = _adopt(mask, record)
    record.save(mask)
    return added


def _adopt(mask: bpy.types.Mask, record: MaskRecord) -> list[str]:
    added = record.sync_order(mask.layers.keys())
    for name in added:
        mask.layers[name].invert, mask.layers[name].blend = True, "MUL"
    return added


Covers = dict[int, Ellipse | None]
"""The cover as it is now, by source frame; None where it is transparent."""


def compare_layers(mask: bpy.types.Mask, record: MaskRecord) -> dict[str, Covers | None]:
    """The frames that differ from what was written, by layer of ours that changed.

    The value is None if the layer is no longer an ellipse.
    """
    known = {name: record.layers[name] for name in record.own if name in mask.layers and name in record.layers}
    written = {name: _Written(layer, record) for name, layer in known.items() if not layer.freehand}
    found: dict[str, Covers | None] = {name: None for name in written if not _is_one_shape(mask.layers[name])}
    watched = {name: mask.layers[name] for name in written if name not in found}
    if not watched:
        return found
    # A layer whose opacity keys are unchanged needs comparing only in the frames that it covers.
    everywhere = [name for name, layer in watched.items() if not written[name].has_own_opacity(mask, layer)]
    with borrow_mask_editor(mask) as scene:
        straight = [name for name, layer in watched.items() if name not in everywhere and _is_straight(layer)]
        same = _list_unchanged(scene, mask, {name: written[name] for name in straight})
        whole = [(0, mask.frame_end - mask.frame_start)]
        spans = {
            name: whole if name in everywhere else written[name].record.spans for name in watched if name not in same
        }
        for frame, names in _list_frames(spans, whole[0][1]):
            scene.frame_set(mask.frame_start + frame)
            for name in names:
                covers = found.setdefault(name, {}) if written[name].differs(watched[name], frame) else None
                if covers is None:
                    continue
                cover, is_whole = written[name].read_cover(watched[name])
                if is_whole:
                    covers[frame] = cover
                else:
                    found[name] = None
    return found


def _list_frames(spans: dict[str, list[tuple[int, int]]], frame_count: int) -> Iterator[tuple[int, list[str]]]:
    """The frames that lie in any of these half-open ranges, in rising order, each with the names of those."""
    begins: dict[int, list[str]] = {}
    ends: dict[int, list[str]] = {}
    for name, ranges in spans.items():
        for start, stop in ranges:
            begins.setdefault(start, []).append(name)
            ends.setdefault(stop, []).append(name)
    names: dict[str, None] = {}
    for frame in range(frame_count):
        for name in ends.get(frame, ()):
            names.pop(name, None)
        names.update(dict.fromkeys(begins.get(frame, ())))
        if names:
            yield frame, list(names)


def _is_one_shape(layer: bpy.types.MaskLayer) -> bool:
    """Whether a layer covers the inside of one curve of as many points as we write."""
    return (
        layer.invert
        and layer.blend == "MUL"
        and len(layer.splines) == 1
        and len(layer.splines[0].points) == len(CORNERS)
    )


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


class _Written:
    """The shape and opacity that we wrote into one layer, at any frame."""

    def __init__(self, layer: LayerRecord, record: MaskRecord) -> None:
        self.record = layer
        self._size, self._unit_px = record.size, record.unit_px
        points = np.array([compute_control_points(Ellipse(*shape)) for shape in layer.shapes.tolist()])
        self._points = to_mask_coordinates(points.reshape(-1, 3 * len(CORNERS), 2), record.size, record.unit_px)
        self._current = np.zeros((3, len(CORNERS), 2), np.float32)

    def list_bends(self) -> set[int]:
        """The covered frames that have a key, and the first and last frame of each span."""
        keys = {frame for frame in self.record.frames if self.record.is_opaque(frame)}
        return keys | {frame for start, stop in self.record.spans for frame in (start, stop - 1)}

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
        ) and keys == compute_opacity_keys(mask, self.record.spans)

    def differs(self, layer: bpy.types.MaskLayer, frame: int) -> bool:
        """Whether the layer, as it is evaluated now, differs from what was written for that source frame."""
        opaque = self.record.is_opaque(frame)
        alpha = layer.alpha
        if (alpha > 0.5) != opaque or (opaque and alpha < 1.0):
            return True
        if not opaque:
            return False
        expected = interpolate(self.record.frames, self._points, frame)
        return bool(np.abs(self._read_points(layer) - expected).max() > _TOLERANCE_PX / self._unit_px)

    def read_cover(self, layer: bpy.types.MaskLayer) -> tuple[Ellipse | None, bool]:
        """The ellipse that the layer covers now, in source pixels, and whether that is all that it shows.

        The ellipse is None where the layer is transparent. The layer may also be translucent, or no ellipse.
        """
        if layer.alpha <= 0:
            return None, True
        if layer.alpha < 1:
            return None, False
        places = (self._read_points(layer) - 0.5) * self._unit_px * (1, -1) + np.array(self._size) / 2
        ellipse = _fit_ellipse(places)
        return ellipse, ellipse is not None

    def _read_points(self, layer: bpy.types.MaskLayer) -> Array:
        """Position, left handle and right handle of the four points, in mask coordinates: 4 x 3 x 2."""
        for number, name in enumerate(("co", "handle_left", "handle_right")):
            layer.splines[0].points.foreach_get(name, self._current[number].reshape(-1))
        return self._current.transpose(1, 0, 2).astype(np.float64)


def _fit_ellipse(places: Array) -> Ellipse | None:
    """The ellipse that four points with their handles (4 x 3 x 2, pixels) describe; None if they describe none.

    Opposite points are the ends of conjugate diameters, with handles of the length that we write. Every such shape is
    an ellipse.
    """
    corners = places[:, 0]
    centre = corners.mean(axis=0)
    u, v = (corners[0] - corners[2]) / 2, (corners[1] - corners[3]) / 2
    axes, lengths, _ = np.linalg.svd(np.stack([u, v], axis=1))
    if lengths[1] <= 0:
        return None
    circle = compute_control_points(Ellipse(0, 0, 1, 1))
    expected = centre + circle[:, :1] * u + circle[:, 1:] * v
    beside = float(np.abs(places.reshape(-1, 2) - expected).max())
    if beside > max(_ELLIPSE_PX, _ELLIPSE_SHARE * float(lengths[1])):
        return None
    c, s = axes[:, 0]
    rx, ry = lengths + beside
    angle = np.arctan2(s, c)
    # The first axis is the one closer to horizontal, as in the ellipses of faces.
    if abs(s) > abs(c):
        rx, ry, angle = ry, rx, angle - np.pi / 2
    angle = (angle + np.pi / 2) % np.pi - np.pi / 2
    return Ellipse(float(centre[0]), float(centre[1]), float(rx), float(ry), float(angle))
