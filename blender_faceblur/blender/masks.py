# SPDX-License-Identifier: GPL-3.0-or-later
"""Write tracks into a Blender mask: one layer per face, sparse shape keys, opacity keyed at its ends.

The mask says what may be *shown*. Its first layer, `PICTURE_LAYER`, has no spline and is inverted: it shows
everything. Every face is an inverted layer multiplied onto that. So the file covers the whole picture where the
picture layer is hidden or gone, or no layer is left (Blender 5.0.1 and 5.2), and a face's layer is deleted or hidden
without harm to the others.

Keys are in source frames: mask frame 0 is the first frame of the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy

from ..core.document import to_json
from ..core.keyframes import HANDLE, opacity_spans, simplify
from ..core.types import Ellipse, Keyframe, Track, TrackDocument
from .compositing import MARK
from .context import borrow_area
from .curves import find_curves, remove_curves

PICTURE_LAYER = "Picture"
FEATHER_SHARE = 0.08
"""Width of the soft edge, in the shorter half axis of the covering ellipse. All of it lies outside that ellipse."""

_CORNERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


def write_mask(
    name: str, document: TrackDocument, unit_px: float, mask: bpy.types.Mask | None = None
) -> bpy.types.Mask:
    """A mask holding the document's tracks; an existing `mask` of ours is rewritten.

    Layers that we did not make stay as they are. Shape keys cannot be read from Python, so a change made by hand to
    one of *our* layers is replaced with it.
    """
    if mask is None:
        mask = bpy.data.masks.new(name)
        mask.use_fake_user = True
    mask.frame_start, mask.frame_end = 0, max(document.source.frame_count, 1)
    for old in find_own_layers(mask):
        _remove_layer(mask, old)
    size = (document.source.width, document.source.height)
    with _keying_scene(mask) as scene:
        picture = mask.layers.new(name=PICTURE_LAYER)
        picture.invert, picture.blend = True, "MERGE_ADD"
        _move_first(mask)
        # All points before the first key: adding some to a layer that has keys is slow.
        written = [
            (_add_layer(mask, track.name), track, simplify(track, document.expansion, size))
            for track in document.tracks
            if track.samples
        ]
        for layer, track, keys in written:
            _key_shapes(scene, layer, keys, size, unit_px)
            _key_opacity(mask, layer, track)
    mask[MARK] = {"layers": [picture.name, *(layer.name for layer, _, _ in written)], "unit_px": unit_px}
    _store_document(mask, document)
    return mask


def find_own_layers(mask: bpy.types.Mask) -> list[str]:
    """Names of the layers that we made and that are still there."""
    mark = mask.get(MARK)
    return [name for name in mark["layers"] if name in mask.layers] if mark is not None else []


def find_document_text(mask: bpy.types.Mask) -> bpy.types.Text | None:
    """The text data-block that holds the tracks document (JSON) of a mask of ours."""
    return mask.get(MARK + "_tracks")


def _store_document(mask: bpy.types.Mask, document: TrackDocument) -> None:
    text = find_document_text(mask)
    if text is None:
        text = bpy.data.texts.new(f"{mask.name} tracks.json")
        mask[MARK + "_tracks"] = text
    text.from_string(to_json(document))


def _add_layer(mask: bpy.types.Mask, name: str) -> bpy.types.MaskLayer:
    layer = mask.layers.new(name=name)
    layer.invert, layer.blend = True, "MUL"
    spline = layer.splines.new()
    spline.use_cyclic = True
    spline.points.add(len(_CORNERS) - 1)
    for point in spline.points:
        point.handle_left_type = point.handle_right_type = "FREE"
    return layer


def _remove_layer(mask: bpy.types.Mask, name: str) -> None:
    layer = mask.layers[name]
    # A curve left behind would switch the next layer of that name.
    remove_curves(mask, layer.path_from_id("alpha"))
    mask.layers.remove(layer)
    # Removing from Python does not tell the depsgraph, which then animates freed memory (Blender 5.0.1, 5.2.3).
    mask.update_tag()


def _move_first(mask: bpy.types.Mask) -> None:
    """Move the last layer before all others (Blender moves the active one by one place a call)."""
    mask.active_layer_index = len(mask.layers) - 1
    for _ in range(len(mask.layers) - 1):
        bpy.ops.mask.layer_move(direction="UP")


@contextmanager
def _keying_scene(mask: bpy.types.Mask) -> Iterator[bpy.types.Scene]:
    """An empty scene, cheap to step through, shown in an area where the mask's operators work."""
    scene = bpy.data.scenes.new("Face Blur keying")
    try:
        with borrow_area("IMAGE_EDITOR", scene) as space:
            shown_mode, shown_mask = space.mode, space.mask
            space.mode = "MASK"
            space.mask = mask
            yield scene
            space.mask = shown_mask
            space.mode = shown_mode
    finally:
        bpy.data.scenes.remove(scene)


def _key_shapes(
    scene: bpy.types.Scene,
    layer: bpy.types.MaskLayer,
    keys: Sequence[Keyframe],
    size: tuple[int, int],
    unit_px: float,
) -> None:
    points = layer.splines[0].points
    # `shape_key_insert` keys every layer with a selected point, and refuses where nothing is selected.
    _select(points, True)
    for key in keys:
        # Set first: moving in time afterwards would put the points back (Blender 5.0.1).
        scene.frame_set(key.source_frame)
        place_points(points, key.ellipse, size, unit_px)
        bpy.ops.mask.shape_key_insert()
    _select(points, False)


def _select(points: bpy.types.MaskSplinePoints, selected: bool) -> None:
    for point in points:
        point.select = selected


def place_points(
    points: bpy.types.MaskSplinePoints, ellipse: Ellipse, size: tuple[int, int], unit_px: float
) -> None:
    """Put four Bezier points on an ellipse given in pixels of a picture of `size` (width, height), feathered."""
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)

    def place(u: float, v: float) -> tuple[float, float]:
        x, y = u * ellipse.rx, v * ellipse.ry
        x, y = ellipse.cx + x * cos - y * sin, ellipse.cy + x * sin + y * cos
        return 0.5 + (x - size[0] / 2) / unit_px, 0.5 - (y - size[1] / 2) / unit_px

    for point, (u, v) in zip(points, _CORNERS, strict=True):
        point.co = place(u, v)
        point.handle_left = place(u + v * HANDLE, v - u * HANDLE)
        point.handle_right = place(u - v * HANDLE, v + u * HANDLE)
        point.weight = FEATHER_SHARE * min(ellipse.rx, ellipse.ry) / unit_px


def _key_opacity(mask: bpy.types.Mask, layer: bpy.types.MaskLayer, track: Track) -> None:
    path = layer.path_from_id("alpha")
    spans = opacity_spans(track)
    frames: list[tuple[float, float]] = []
    if spans[0][0] > 0:
        frames.append((0.0, 0.0))
    for start, stop in spans:
        # Half a frame early: a retimed strip shows the next picture from there on.
        frames += [(max(start - 0.5, 0.0), 1.0), (float(stop), 0.0)]
    if frames[-1][0] >= mask.frame_end:
        # To the last frame: nothing after it to uncover, and a held last frame stays covered.
        frames.pop()
    for frame, alpha in frames:
        layer.alpha = alpha
        mask.keyframe_insert(path, frame=frame)
    for _, curve in find_curves(mask, path):
        for key in curve.keyframe_points:
            key.interpolation = "CONSTANT"
    layer.alpha = 1.0
