# SPDX-License-Identifier: GPL-3.0-or-later
"""Write tracks into a Blender mask: one layer per face, sparse shape keys, opacity keyed at its ends.

The mask says what may be *shown*. Its first layer, `PICTURE_LAYER`, has no spline and is inverted: it shows
everything. Every face is an inverted layer multiplied onto that. So the file covers the whole picture where the
picture layer is hidden or gone, or no layer is left (Blender 5.0.1 and 5.2), and a face's layer is deleted or hidden
without harm to the others.

Keys are in mask frames: `mask.frame_start` is the first frame of the source. A new mask starts where its strip does, as
Blender's mask editor and Dope Sheet work at the scene's frame; where the strip goes later changes nothing.

What Blender gives no place for lies in a custom property of the mask, `MARK`: which layers are ours, which keys they
were written with, what a list shows of them, and the order of all layers when last looked at.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import bpy

from ..core.document import from_json, to_json
from ..core.keyframes import HANDLE, opacity_spans, simplify
from ..core.matching import follows
from ..core.types import Ellipse, Evidence, FaceBlurError, Keyframe, Track, TrackDocument
from .compositing import MARK
from .context import borrow_area
from .curves import find_curves, remove_curves

PICTURE_LAYER = "Picture"
FEATHER_SHARE = 0.08
"""Width of the soft edge, in the shorter half axis of the covering ellipse. All of it lies outside that ellipse."""

CORRECTED = " (corrected)"
"""Ends the name of a layer that was ours until somebody changed it."""

_SEEN_PX = 0.05
"""A point is where we put it within this many pixels of the picture: mask coordinates are single precision."""

_CORNERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


def write_mask(
    name: str, document: TrackDocument, unit_px: float, mask: bpy.types.Mask | None = None, first_frame: int = 0
) -> bpy.types.Mask:
    """A mask holding the document's tracks, from `first_frame` on; an existing `mask` of ours is rewritten in its time.

    Layers that we did not make stay as they are, and so do layers of ours that somebody changed: they go on covering
    beside the new ones. A face that was switched off stays off only where its new track is nowhere but on the old one.
    """
    off: list[Track] = []
    if mask is None:
        mask = bpy.data.masks.new(name)
        mask.use_fake_user = True
        mask.frame_start = max(first_frame, 0)
    else:
        off = _find_switched_off(mask)
        for kept in find_corrected_layers(mask):
            _keep_layer(mask, kept)
    first = mask.frame_start
    mask.frame_end = first + max(document.source.frame_count, 1)
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
            _key_shapes(scene, layer, keys, size, unit_px, first)
            _key_opacity(mask, layer, track)
            layer.hide_render = any(follows(track, old) for old in off)
    mask[MARK] = {
        "layers": [picture.name, *(layer.name for layer, _, _ in written)],
        "unit_px": unit_px,
        "size": size,
        "fingerprint": document.source.fingerprint,
        "preset": document.preset,
        "doubts": len(document.doubts),
        "notes": [*document.source.warnings, *document.notes],
        "order": [layer.name for layer in mask.layers],
        "faces": {
            layer.name: {
                "spans": [frame for span in track.covered_spans() for frame in span],
                "evidence": [sum(s.evidence is evidence for s in track.samples) for evidence in Evidence],
                "keys": [number for key in keys for number in (float(key.source_frame), *_to_numbers(key.ellipse))],
            }
            for layer, track, keys in written
        },
    }
    _store_document(mask, document)
    if written:
        # Not the picture's layer: what is drawn goes into the active one.
        mask.layers.active = written[0][0]
    return mask


def find_own_layers(mask: bpy.types.Mask) -> list[str]:
    """Names of the layers that we made and that are still there."""
    mark = mask.get(MARK)
    return [name for name in mark["layers"] if name in mask.layers] if mark is not None else []


def adopt_layers(mask: bpy.types.Mask) -> list[str]:
    """Make layers that were added by hand cover what they surround; their names.

    Blender adds a layer that would show what it surrounds. Each is adopted once: what an editor sets afterwards
    stays. A renamed layer is known again by its place.
    """
    mark = mask[MARK]
    before, now = list(mark["order"]), [layer.name for layer in mask.layers]
    if before == now:
        return []
    if len(before) == len(now):
        for old, new in zip(before, now, strict=True):
            if old != new and old not in now and new not in before:
                _rename(mark, old, new)
                before[before.index(old)] = new
    added = [name for name in now if name not in before]
    for name in added:
        mask.layers[name].invert, mask.layers[name].blend = True, "MUL"
    mark["order"] = now
    return added


def find_corrected_layers(mask: bpy.types.Mask) -> list[str]:
    """Names of layers of ours that no longer are what we wrote: a point, a key, the opacity or the blending differs.

    Shape keys cannot be read from Python, so the mask is evaluated at every frame and compared.
    """
    mark = mask[MARK]
    faces = [name for name in find_own_layers(mask) if name in mark["faces"]]
    written = {name: _Written(mark["faces"][name], tuple(mark["size"]), mark["unit_px"]) for name in faces}
    corrected = {
        name for name in faces
        if not mask.layers[name].invert or mask.layers[name].blend != "MUL" or len(mask.layers[name].splines) != 1
        or len(mask.layers[name].splines[0].points) != len(_CORNERS)
    }
    with _keying_scene(mask) as scene:
        for frame in range(mask.frame_start, mask.frame_end):
            scene.frame_set(frame)
            for name in faces:
                if name not in corrected and written[name].differs(mask.layers[name], frame - mask.frame_start):
                    corrected.add(name)
    return [name for name in faces if name in corrected]


class _Written:
    """What we wrote into one layer, at any frame."""

    def __init__(self, face: Any, size: tuple[int, int], unit_px: float) -> None:
        numbers, spans = list(face["keys"]), list(face["spans"])
        self._frames = [round(f) for f in numbers[::6]]
        self._points = [
            [c for place in _find_points(Ellipse(*numbers[i + 1:i + 6]), size, unit_px) for c in place]
            for i in range(0, len(numbers), 6)
        ]
        self._spans = list(zip(spans[::2], spans[1::2], strict=True))
        self._least = _SEEN_PX / unit_px

    def differs(self, layer: bpy.types.MaskLayer, frame: int) -> bool:
        """Whether the layer, as it is evaluated now, is not what was written for that source frame."""
        opaque = any(start <= frame < stop for start, stop in self._spans)
        if (layer.alpha > 0.5) != opaque or (opaque and layer.alpha < 1.0):
            return True
        if not opaque:
            return False
        right = bisect.bisect_left(self._frames, frame)
        last = len(self._frames) - 1
        a, b = self._points[max(right - 1, 0)], self._points[min(right, last)]
        if self._frames[min(right, last)] == frame or right == 0:
            expected = b
        elif right > last:
            expected = a
        else:
            part = (frame - self._frames[right - 1]) / (self._frames[right] - self._frames[right - 1])
            expected = [p + part * (q - p) for p, q in zip(a, b, strict=True)]
        seen = (c for point in layer.splines[0].points
                for place in (point.co, point.handle_left, point.handle_right) for c in place)
        return any(abs(p - q) > self._least for p, q in zip(seen, expected, strict=True))


def find_document_text(mask: bpy.types.Mask) -> bpy.types.Text | None:
    """The text data-block that holds the tracks document (JSON) of a mask of ours."""
    return mask.get(MARK + "_tracks")


def read_document(mask: bpy.types.Mask) -> TrackDocument:
    """The tracks document of a mask of ours. FaceBlurError where it is gone or damaged."""
    text = find_document_text(mask)
    if text is None:
        raise FaceBlurError(f"The mask '{mask.name}' has lost its tracks document; detect its faces again.")
    return from_json(text.as_string())


def _find_switched_off(mask: bpy.types.Mask) -> list[Track]:
    """The tracks of our layers that somebody switched off."""
    names = {name for name in find_own_layers(mask) if mask.layers[name].hide_render} - {PICTURE_LAYER}
    if not names:
        return []
    spans = {name: list(mask[MARK]["faces"][name]["spans"]) for name in names if name in mask[MARK]["faces"]}
    with suppress(FaceBlurError):
        # By their frames, as layers may have been renamed.
        return [track for track in read_document(mask).tracks
                if [frame for span in track.covered_spans() for frame in span] in spans.values()]
    return []


def _keep_layer(mask: bpy.types.Mask, name: str) -> None:
    """Leave a layer of ours to the editor who changed it."""
    mark = mask[MARK]
    mark["layers"] = [own for own in mark["layers"] if own != name]
    del mark["faces"][name]
    if not name.endswith(CORRECTED):
        mask.layers[name].name = f"{name}{CORRECTED}"


def _rename(mark: Any, old: str, new: str) -> None:
    mark["layers"] = [new if name == old else name for name in mark["layers"]]
    if old in mark["faces"]:
        mark["faces"][new] = mark["faces"][old].to_dict()
        del mark["faces"][old]


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
    first: int,
) -> None:
    points = layer.splines[0].points
    # `shape_key_insert` keys every layer with a selected point, and refuses where nothing is selected.
    _select(points, True)
    for key in keys:
        # Set first: moving in time afterwards would put the points back (Blender 5.0.1).
        scene.frame_set(first + key.source_frame)
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
    numbers = _find_points(ellipse, size, unit_px)
    for point, place, left, right in zip(points, numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        point.co = place
        point.handle_left = left
        point.handle_right = right
        point.weight = FEATHER_SHARE * min(ellipse.rx, ellipse.ry) / unit_px


def _find_points(ellipse: Ellipse, size: tuple[int, int], unit_px: float) -> list[tuple[float, float]]:
    """Place, left handle and right handle of each of the four points, in mask coordinates."""
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)

    def place(u: float, v: float) -> tuple[float, float]:
        x, y = u * ellipse.rx, v * ellipse.ry
        x, y = ellipse.cx + x * cos - y * sin, ellipse.cy + x * sin + y * cos
        return 0.5 + (x - size[0] / 2) / unit_px, 0.5 - (y - size[1] / 2) / unit_px

    return [
        place(*corner) for u, v in _CORNERS
        for corner in ((u, v), (u + v * HANDLE, v - u * HANDLE), (u - v * HANDLE, v + u * HANDLE))
    ]


def _to_numbers(ellipse: Ellipse) -> tuple[float, float, float, float, float]:
    return ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry, ellipse.angle


def _key_opacity(mask: bpy.types.Mask, layer: bpy.types.MaskLayer, track: Track) -> None:
    path = layer.path_from_id("alpha")
    spans = opacity_spans(track)
    frames: list[tuple[float, float]] = []
    if not spans or spans[0][0] > 0:
        frames.append((0.0, 0.0))
    for start, stop in spans:
        # Half a frame early: a retimed strip shows the next picture from there on.
        frames += [(max(start - 0.5, 0.0), 1.0), (float(stop), 0.0)]
    if mask.frame_start + frames[-1][0] >= mask.frame_end:
        # To the last frame: nothing after it to uncover, and a held last frame stays covered.
        frames.pop()
    for frame, alpha in frames:
        layer.alpha = alpha
        mask.keyframe_insert(path, frame=mask.frame_start + frame)
    for _, curve in find_curves(mask, path):
        for key in curve.keyframe_points:
            key.interpolation = "CONSTANT"
    layer.alpha = 1.0
