# SPDX-License-Identifier: GPL-3.0-or-later
"""Write planned layers into a Blender mask: one layer per face, sparse shape keys, opacity keyed at the ends of spans.

The mask defines what may be *shown*. Its first layer, `PICTURE_LAYER`, has no spline and is inverted, so it shows
everything. Every face is an inverted layer multiplied onto it. Therefore the whole picture is covered if the picture
layer is hidden or gone, or if no layer is left (Blender 5.0.1 and 5.2), and a face's layer can be deleted or hidden
without affecting the others.

Keys are in mask frames: `mask.frame_start` is the first frame of the source. A new mask starts where its strip does,
because Blender's mask editor and Dope Sheet work at the scene's frame. Moving the strip later changes nothing.

core/cover/layers.py decides what the layers cover. The mask's record (see record.py) keeps what Blender has no place
for: which layers are ours, which keys they were written with, what the list of faces shows, and the order of all layers
when they were last checked. changes.py keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy
import numpy as np

from ...core.cover.layers import CORNERS, LayerPlan
from ...core.geometry import Array
from ..common.curves import list_curves, remove_curves
from .record import MaskRecord

PICTURE_LAYER = "Picture"


def extend_frame_range(mask: bpy.types.Mask) -> None:
    """Restore a mask's first and last frame: with other values, its keys come too early or too late."""
    frames = MaskRecord.load(mask).frames
    if frames is not None and (mask.frame_start, mask.frame_end) != frames:
        mask.frame_start, mask.frame_end = frames
        mask.update_tag()


def write_layers(
    scene: bpy.types.Scene,
    mask: bpy.types.Mask,
    record: MaskRecord,
    plans: Sequence[LayerPlan],
    replaced: Mapping[str, str],
) -> dict[str, LayerPlan]:
    """Replace layers by planned ones; returns the plans by the names of their layers.

    `scene` is the one that `borrow_mask_editor` yields. `record` gives the size of the picture; it is not changed.
    `replaced` are the layers to remove, by track: the new layer of a track gets the name of the one that it replaces,
    and stays hidden if that was.
    """
    active = mask.layers.active.name if mask.layers.active is not None else ""
    before = {track: layer for track, layer in replaced.items() if layer in mask.layers}
    hidden = {track for track, layer in before.items() if mask.layers[layer].hide_render}
    for layer in before.values():
        _remove_layer(mask, layer)
    # Add all points before the first key, because adding points to a layer with keys is slow.
    layers = [_add_layer(mask, before.get(plan.track, plan.track)) for plan in plans]
    for layer, plan in zip(layers, plans, strict=True):
        _key_shapes(scene, mask, layer, plan, record)
        _key_opacity(mask, layer, plan.spans)
        layer.hide_render = plan.track in hidden
    if active in mask.layers:
        mask.layers.active = mask.layers[active]
    mask.update_tag()
    return {layer.name: plan for layer, plan in zip(layers, plans, strict=True)}


def write_picture_layer(mask: bpy.types.Mask, analysed: Sequence[tuple[int, int]], replaces: bool) -> str:
    """Add the layer that shows the picture, before all others; returns its name. It can replace an earlier one.

    If only the frames `analysed` were, it shows nothing outside of them. Call it within `borrow_mask_editor`.
    """
    if replaces and PICTURE_LAYER in mask.layers:
        _remove_layer(mask, PICTURE_LAYER)
    picture = mask.layers.new(name=PICTURE_LAYER)
    picture.invert, picture.blend = not analysed, "MERGE_ADD"
    # Blender moves the active layer by one place per call.
    mask.active_layer_index = len(mask.layers) - 1
    for _ in range(len(mask.layers) - 1):
        bpy.ops.mask.layer_move(direction="UP")
    if analysed:
        # An inverted layer without opacity shows everything (Blender 5.0.1, 5.2). So this layer is not inverted; its
        # spline surrounds the picture.
        spline = picture.splines.new()
        spline.use_cyclic = True
        spline.points.add(3)
        for point, place in zip(spline.points, ((-1.0, -1.0), (2.0, -1.0), (2.0, 2.0), (-1.0, 2.0)), strict=True):
            point.handle_left_type = point.handle_right_type = "VECTOR"
            point.co = place
        _key_opacity(mask, picture, analysed)
    return str(picture.name)


def _add_layer(mask: bpy.types.Mask, name: str) -> bpy.types.MaskLayer:
    layer = mask.layers.new(name=name)
    layer.invert, layer.blend = True, "MUL"
    spline = layer.splines.new()
    spline.use_cyclic = True
    spline.points.add(len(CORNERS) - 1)
    for point in spline.points:
        point.handle_left_type = point.handle_right_type = "FREE"
    return layer


def _remove_layer(mask: bpy.types.Mask, name: str) -> None:
    layer = mask.layers[name]
    # A curve left behind would animate the next layer of that name.
    remove_curves(mask, layer.path_from_id("alpha"))
    mask.layers.remove(layer)
    # Removing from Python does not notify the depsgraph, which then animates freed memory (Blender 5.0.1, 5.2.3).
    mask.update_tag()


def _key_shapes(
    scene: bpy.types.Scene, mask: bpy.types.Mask, layer: bpy.types.MaskLayer, plan: LayerPlan, record: MaskRecord
) -> None:
    points = layer.splines[0].points
    # `shape_key_insert` keys every layer with a selected point, and fails if nothing is selected.
    _select(points, True)
    places = to_mask_coordinates(plan.points, record.size, record.unit_px).tolist()
    for frame, numbers, feather in zip(plan.frames, places, plan.feathers.tolist(), strict=True):
        # Set the frame first: changing it afterwards would reset the points (Blender 5.0.1).
        scene.frame_set(mask.frame_start + frame)
        for point, (place, left, right) in zip(points, numbers, strict=True):
            point.co, point.handle_left, point.handle_right = place, left, right
            point.weight = feather / record.unit_px
        bpy.ops.mask.shape_key_insert()
    _select(points, False)


def _select(points: bpy.types.MaskSplinePoints, selected: bool) -> None:
    for point in points:
        point.select = selected


def to_mask_coordinates(points: Array, size: tuple[int, int], unit_px: float) -> Array:
    """Control points of K shapes (K x 12 x 2, in pixels of a picture of `size`) as mask coordinates: K x 4 x 3 x 2.

    The last but one axis is position, left handle and right handle.
    """
    places = 0.5 + (points - np.asarray(size) / 2) * (1, -1) / unit_px
    return np.asarray(places.reshape(-1, len(CORNERS), 3, 2))


def compute_opacity_keys(mask: bpy.types.Mask, spans: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """Frame and value of each opacity key of a layer that covers the half-open source frame ranges `spans`."""
    frames: list[tuple[float, float]] = []
    if not spans or spans[0][0] > 0:
        frames.append((0.0, 0.0))
    for start, stop in spans:
        # Half a frame early, because a retimed strip shows the next picture from there on.
        frames += [(max(start - 0.5, 0.0), 1.0), (float(stop), 0.0)]
    if mask.frame_start + frames[-1][0] >= mask.frame_end:
        # Without a key at the end, a freeze frame of the last picture stays covered.
        frames.pop()
    return [(mask.frame_start + frame, alpha) for frame, alpha in frames]


def _key_opacity(mask: bpy.types.Mask, layer: bpy.types.MaskLayer, spans: Sequence[tuple[int, int]]) -> None:
    path = layer.path_from_id("alpha")
    for frame, alpha in compute_opacity_keys(mask, spans):
        layer.alpha = alpha
        mask.keyframe_insert(path, frame=frame)
    for _, curve in list_curves(mask, path):
        for key in curve.keyframe_points:
            key.interpolation = "CONSTANT"
    layer.alpha = 1.0
