# SPDX-License-Identifier: GPL-3.0-or-later
"""Write tracks into a Blender mask: one layer per face, sparse shape keys, opacity keyed at the ends of spans.

The mask defines what may be *shown*. Its first layer, `PICTURE_LAYER`, has no spline and is inverted, so it shows
everything. Every face is an inverted layer multiplied onto it. Therefore the whole picture is covered if the picture
layer is hidden or gone, or if no layer is left (Blender 5.0.1 and 5.2), and a face's layer can be deleted or hidden
without affecting the others.

Keys are in mask frames: `mask.frame_start` is the first frame of the source. A new mask starts where its strip does,
because Blender's mask editor and Dope Sheet work at the scene's frame. Moving the strip later changes nothing.

The mask's record (see record.py) keeps what Blender has no place for: which layers are ours, which keys they were
written with, what the list of faces shows, and the order of all layers when they were last checked.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import bpy

from ...core.cover.keyframes import HANDLE, opacity_spans, simplify
from ...core.document.editing import copy_document
from ...core.document.matching import is_same_track
from ...core.document.tracks_file import from_json, to_json
from ...core.review.queue import choose_clearest, count_left
from ...core.types import Ellipse, Evidence, FaceBlurError, Keyframe, Track, TrackDocument
from ..common.context import borrow_area
from ..common.curves import list_curves, remove_curves
from ..common.marks import MARK
from .record import LayerRecord, MaskRecord, has_record, to_shapes

PICTURE_LAYER = "Picture"
FEATHER_SHARE = 0.08
"""Width of the soft edge, as a share of the ellipse's shorter half axis. The whole edge lies outside the ellipse."""


class MasksBeingWritten:
    """The names of the masks that we are changing, so that handlers do not take our changes for edits.

    A mask is in it only within `hold`. There is one instance, `WRITING`.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @contextmanager
    def hold(self, mask: bpy.types.Mask) -> Iterator[None]:
        name = mask.name
        self._names.add(name)
        try:
            yield
        finally:
            self._names.discard(name)


WRITING = MasksBeingWritten()

CORNERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


def write_mask(
    name: str, document: TrackDocument, unit_px: float, mask: bpy.types.Mask | None = None, first_frame: int = 0
) -> bpy.types.Mask:
    """Write the document's tracks into a new mask that starts at `first_frame`, or into `mask`, which keeps its start.

    Layers that we did not make stay as they are, and so do those that an editor redrew: the document has them as locked
    tracks of the same name. A face that was switched off stays off only if `is_same_track` matches its new track to the
    old one.
    """
    off: list[Track] = []
    if mask is None:
        mask, record = make_mask(name, document, unit_px, first_frame)
    else:
        record = MaskRecord.load(mask)
        with suppress(FaceBlurError):
            off = list_switched_off(mask, record, load_document(mask).tracks)
    write_tracks(mask, record, document, unit_px, off)
    return mask


def make_mask(
    name: str, document: TrackDocument, unit_px: float, first_frame: int
) -> tuple[bpy.types.Mask, MaskRecord]:
    """A new mask without layers that starts at `first_frame`, and its record, which is not stored yet."""
    mask = bpy.data.masks.new(name)
    mask.use_fake_user = True
    mask.frame_start = max(first_frame, 0)
    return mask, MaskRecord((document.source.width, document.source.height), unit_px, document.source.fingerprint)


def write_tracks(
    mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument, unit_px: float, off: Sequence[Track]
) -> None:
    """Rewrite all our layers and store the document. `off` are the tracks whose layers stay switched off."""
    mask.frame_end = mask.frame_start + max(document.source.frame_count, 1)
    record.size, record.unit_px = (document.source.width, document.source.height), unit_px
    record.fingerprint, record.preset = document.source.fingerprint, document.preset
    record.notes, record.analysed = [*document.source.warnings, *document.all_notes], list(document.analysed)
    record.frames = mask.frame_start, mask.frame_end
    record.save(mask)
    with WRITING.hold(mask), open_keying_scene(mask) as scene:
        if PICTURE_LAYER in record.own and PICTURE_LAYER in mask.layers:
            _remove_layer(mask, PICTURE_LAYER)
        picture = mask.layers.new(name=PICTURE_LAYER)
        picture.invert, picture.blend = True, "MERGE_ADD"
        _move_first(mask)
        record.own = [picture.name, *(own for own in record.own if own != picture.name)]
        record.save(mask)
        if document.analysed:
            _show_only(mask, picture, document.analysed)
        _rewrite(scene, mask, record, document, {track.name for track in document.tracks} | set(record.layers))
    for track in document.tracks:
        layer = _find_layer(mask, record, track.name)
        if layer and off:
            mask.layers[layer].hide_render = any(is_same_track(track, old) for old in off)
    store_in_text(mask, record, document)
    faces = [own for own in record.own if own in mask.layers and own != PICTURE_LAYER]
    if faces:
        # An editor draws into the active layer, which should not be the picture's.
        mask.layers.active = mask.layers[faces[0]]


def extend_frame_range(mask: bpy.types.Mask) -> None:
    """Restore a mask's first and last frame: with other values, its keys come too early or too late."""
    frames = MaskRecord.load(mask).frames
    if frames is not None and (mask.frame_start, mask.frame_end) != frames:
        mask.frame_start, mask.frame_end = frames
        mask.update_tag()


def rewrite_layers(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument, names: Collection[str]) -> None:
    """Rewrite the layers of these tracks, remove the layers of those that are gone, and store the document."""
    active = mask.layers.active.name if mask.layers.active is not None else ""
    with WRITING.hold(mask), open_keying_scene(mask) as scene:
        _rewrite(scene, mask, record, document, set(names))
    store_in_text(mask, record, document)
    if active in mask.layers:
        mask.layers.active = mask.layers[active]


def _rewrite(
    scene: bpy.types.Scene, mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument, names: set[str]
) -> None:
    size, unit_px, first = record.size, record.unit_px, mask.frame_start
    hidden: dict[str, tuple[str, bool]] = {}
    for name in names:
        layer = _find_layer(mask, record, name)
        if layer and not record.layers[layer].freehand:
            hidden[name] = layer, mask.layers[layer].hide_render
            record.forget_layer(layer)
            # Save first: a layer that is in the record but not in the mask counts as deleted by an editor.
            record.save(mask)
            _remove_layer(mask, layer)
    # Add all points before the first key, because adding points to a layer with keys is slow.
    written = [
        (
            _add_layer(mask, hidden.get(track.name, (track.name, False))[0]),
            track,
            simplify(track, document.margin, size),
        )
        for track in document.tracks
        if track.name in names and track.samples and not _find_layer(mask, record, track.name)
    ]
    for layer, track, keys in written:
        clearest = choose_clearest(track.samples, size)
        _key_shapes(scene, layer, keys, size, unit_px, first)
        _key_opacity(mask, layer, opacity_spans(track))
        layer.hide_render = hidden.get(track.name, ("", False))[1]
        record.layers[layer.name] = LayerRecord(
            layer=layer.name,
            track=track.name,
            spans=track.covered_spans(),
            frames=[key.source_frame for key in keys],
            shapes=to_shapes(keys),
            evidence={evidence: sum(s.evidence is evidence for s in track.samples) for evidence in Evidence},
            clearest=clearest.source_frame,
            size=math.sqrt(clearest.ellipse.rx * clearest.ellipse.ry) * 2 * document.margin,
            locked=[s.source_frame for s in track.samples if s.evidence is Evidence.LOCKED],
        )
    record.own += [layer.name for layer, _, _ in written]
    record.order = [layer.name for layer in mask.layers]
    record.save(mask)
    mask.update_tag()


def get_layer_name(mask: bpy.types.Mask, track: str, record: MaskRecord | None = None) -> str:
    """The name of the layer that covers a track; empty if there is none. Pass the mask's `record` if it is loaded."""
    return _find_layer(mask, record or MaskRecord.load(mask), track)


def _find_layer(mask: bpy.types.Mask, record: MaskRecord, track: str) -> str:
    layers = record.layers
    # The layer nearly always has the track's name.
    candidates = [track, *layers] if track in layers else list(layers)
    return next((name for name in candidates if layers.track_of(name) == track and name in mask.layers), "")


def list_own_layers(mask: bpy.types.Mask) -> list[str]:
    """The names of the layers that we made and that still exist."""
    return [name for name in MaskRecord.load(mask).own if name in mask.layers] if has_record(mask) else []


def adopt_layers(mask: bpy.types.Mask, record: MaskRecord | None = None) -> list[str]:
    """Make layers that were added by hand cover the area inside them; returns their names.

    A new layer in Blender shows the area inside it. Each is adopted once, so an editor's later settings stay. A renamed
    layer is recognised by its position in the list.
    """
    record = record or MaskRecord.load(mask)
    before, now = list(record.order), [layer.name for layer in mask.layers]
    if before == now:
        return []
    if len(before) == len(now):
        for old, new in zip(before, now, strict=True):
            if old != new and old not in now and new not in before:
                record.rename_layer(old, new)
                before[before.index(old)] = new
    added = [name for name in now if name not in before]
    for name in added:
        mask.layers[name].invert, mask.layers[name].blend = True, "MUL"
    record.order = now
    record.save(mask)
    return added


@dataclass(slots=True)
class _LastRead:
    """The document that was parsed last, with its mask and text. Only `load_document` uses it; the next one replaces
    it."""

    mask: str = ""
    content: str = ""
    document: TrackDocument | None = None


_LAST_READ = _LastRead()


def get_document_text(mask: bpy.types.Mask) -> bpy.types.Text | None:
    """The text data-block with the tracks document (JSON) of a mask of ours; None if it is gone."""
    return mask.get(MARK + "_tracks")


def load_document(mask: bpy.types.Mask) -> TrackDocument:
    """A copy of the tracks document of a mask of ours. Raises FaceBlurError if it is gone or damaged."""
    text = get_document_text(mask)
    if text is None:
        raise FaceBlurError(f"The mask '{mask.name}' has lost its tracks document. Detect the faces again.")
    content = text.as_string()
    document = _LAST_READ.document
    if document is None or _LAST_READ.mask != mask.name or _LAST_READ.content != content:
        # Parsing the document of a long film takes a second.
        _LAST_READ.document = None
        document = from_json(content)
        _LAST_READ.mask, _LAST_READ.content, _LAST_READ.document = mask.name, content, document
    return copy_document(document)


def list_switched_off(mask: bpy.types.Mask, record: MaskRecord, tracks: Collection[Track]) -> list[Track]:
    """The tracks whose layers an editor switched off."""
    layers = record.layers
    names = {
        layers.track_of(name)
        for name in record.own
        if name in mask.layers and name in layers and mask.layers[name].hide_render
    }
    return [track for track in tracks if track.name in names]


def store_document(mask: bpy.types.Mask, document: TrackDocument) -> None:
    """Store the document in the mask's text data-block."""
    store_in_text(mask, MaskRecord.load(mask), document)


def store_in_text(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument) -> None:
    """Store the document in the mask's text data-block, and the number of open review items in the record."""
    record.to_review = count_left(document)
    record.save(mask)
    text = get_document_text(mask)
    if text is None:
        text = bpy.data.texts.new(f"{mask.name} tracks.json")
        mask[MARK + "_tracks"] = text
    text.from_string(to_json(document))


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


def _move_first(mask: bpy.types.Mask) -> None:
    """Move the last layer before all others. Blender moves the active layer by one place per call."""
    mask.active_layer_index = len(mask.layers) - 1
    for _ in range(len(mask.layers) - 1):
        bpy.ops.mask.layer_move(direction="UP")


@contextmanager
def open_keying_scene(mask: bpy.types.Mask) -> Iterator[bpy.types.Scene]:
    """An empty scene, in which changing the frame is cheap, in an area where the mask's operators work."""
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
    # `shape_key_insert` keys every layer with a selected point, and fails if nothing is selected.
    _select(points, True)
    for key in keys:
        # Set the frame first: changing it afterwards would reset the points (Blender 5.0.1).
        scene.frame_set(first + key.source_frame)
        place_points(points, key.ellipse, size, unit_px)
        bpy.ops.mask.shape_key_insert()
    _select(points, False)


def _select(points: bpy.types.MaskSplinePoints, selected: bool) -> None:
    for point in points:
        point.select = selected


def place_points(points: bpy.types.MaskSplinePoints, ellipse: Ellipse, size: tuple[int, int], unit_px: float) -> None:
    """Put four feathered Bezier points on an ellipse, given in pixels of a picture of `size` (width, height)."""
    numbers = compute_points(ellipse, size, unit_px)
    for point, place, left, right in zip(points, numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        point.co = place
        point.handle_left = left
        point.handle_right = right
        point.weight = FEATHER_SHARE * min(ellipse.rx, ellipse.ry) / unit_px


def compute_points(ellipse: Ellipse, size: tuple[int, int], unit_px: float) -> list[tuple[float, float]]:
    """Position, left handle and right handle of each of the four points, in mask coordinates."""
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)

    def place(u: float, v: float) -> tuple[float, float]:
        x, y = u * ellipse.rx, v * ellipse.ry
        x, y = ellipse.cx + x * cos - y * sin, ellipse.cy + x * sin + y * cos
        return 0.5 + (x - size[0] / 2) / unit_px, 0.5 - (y - size[1] / 2) / unit_px

    return [
        place(*corner)
        for u, v in CORNERS
        for corner in ((u, v), (u + v * HANDLE, v - u * HANDLE), (u - v * HANDLE, v + u * HANDLE))
    ]


def _show_only(mask: bpy.types.Mask, picture: bpy.types.MaskLayer, spans: Sequence[tuple[int, int]]) -> None:
    """Make the picture layer show nothing outside of the analysed frames `spans`.

    An inverted layer without opacity shows everything (Blender 5.0.1, 5.2). So this layer is not inverted; its spline
    surrounds the picture.
    """
    picture.invert = False
    spline = picture.splines.new()
    spline.use_cyclic = True
    spline.points.add(3)
    for point, place in zip(spline.points, ((-1.0, -1.0), (2.0, -1.0), (2.0, 2.0), (-1.0, 2.0)), strict=True):
        point.handle_left_type = point.handle_right_type = "VECTOR"
        point.co = place
    _key_opacity(mask, picture, spans)


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
