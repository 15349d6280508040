# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a mask: data that Blender has no place for, kept in one custom property of the mask.

Only this module reads, checks and writes it. A project may come from a stranger, or from another version of the
extension, so a record is checked when it is loaded. A damaged one raises DamagedRecordError. It is not a FaceBlurError,
so that code which handles FaceBlurError cannot ignore damage, and the guard renders the strip black. What version 0.1.0
stored has not changed since; `widest_px` was added.

A record is a copy: load it, change it, save it. Do not keep it, because undo and other tools change what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import bpy
import numpy as np

from ...core.cover.keyframes import interpolate
from ...core.cover.layers import LayerPlan
from ...core.geometry import Array
from ...core.review.queue import choose_clearest
from ...core.types import Ellipse, Evidence, Track, TrackDocument
from ..common.marks import MARK

_LAYERS = "faces"
"""The key of the stored layer records, which are by layer name."""


class DamagedRecordError(ValueError):
    """The record of a mask is not what any version of this extension has written."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerRecord:
    """What was written into a layer that covers a track. Frames are source frames, ellipses pixels of the source."""

    layer: str
    """The layer's name."""
    track: str
    spans: list[tuple[int, int]]
    """The half-open frame ranges in which the layer is opaque."""
    frames: list[int]
    """The frames of its shape keys, in rising order."""
    shapes: Array
    """The covering ellipse at each of these keys, as cx, cy, rx, ry, angle: K x 5."""
    evidence: dict[Evidence, int]
    """How many samples of the track have each kind of evidence."""
    clearest: int
    """The frame in which the face is seen best."""
    size: float
    """The size of its cover in that frame, as the side of a square in pixels."""
    locked: list[int]
    """The frames in which an editor has set the cover."""
    freehand: bool = False
    """An editor has redrawn the layer, so its shape is no longer the one that was written."""

    def is_opaque(self, source_frame: int) -> bool:
        return any(start <= source_frame < stop for start, stop in self.spans)

    def shape_at(self, source_frame: int) -> Array:
        """The layer's ellipse (cx, cy, rx, ry, angle) at a frame, whether or not the layer is opaque there."""
        return interpolate(self.frames, self.shapes, source_frame)

    def compute_ellipse(self, source_frame: int) -> Ellipse | None:
        """The ellipse that the layer covers at a frame; None where it covers nothing."""
        if not self.frames or not self.is_opaque(source_frame):
            return None
        return Ellipse(*self.shape_at(source_frame).tolist())


class LayerRecords(MutableMapping[str, LayerRecord]):
    """Layer records by layer name. Each is read when it is first used, because a long film has many keys."""

    def __init__(self, mask: bpy.types.Mask | None = None) -> None:
        self._mask = mask
        self._changed: dict[str, LayerRecord | None] = {}
        self._read: dict[str, LayerRecord] = {}

    def __getitem__(self, name: str) -> LayerRecord:
        if name in self._changed:
            changed = self._changed[name]
            if changed is None:
                raise KeyError(name)
            return changed
        if name not in self._read:
            self._read[name] = _read_layer(name, self._get_stored()[name])
        return self._read[name]

    def __setitem__(self, name: str, layer: LayerRecord) -> None:
        self._changed[name] = layer

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._changed[name] = None

    def __contains__(self, name: object) -> bool:
        return self._changed[str(name)] is not None if name in self._changed else name in self._get_stored()

    def __iter__(self) -> Iterator[str]:
        stored = list(self._get_stored().keys())
        return iter(
            [
                name
                for name in [*stored, *(name for name in self._changed if name not in stored)]
                if self._changed.get(name, self) is not None
            ]
        )

    def __len__(self) -> int:
        return len(list(iter(self)))

    def track_of(self, name: str) -> str:
        """The name of the track that a layer covers, without reading its keys."""
        if name in self._changed:
            return self[name].track
        return _read_text(_check_group(self._get_stored()[name], name), "track", name)

    def save(self, stored: Any) -> None:
        for name, layer in self._changed.items():
            if layer is not None:
                stored[name] = _to_plain_layer(layer)
            elif name in stored:
                del stored[name]
        self._changed.clear()

    def _get_stored(self) -> Any:
        # Never kept: a reference to a property group can outlive the group.
        return _check_group(_get_group(self._mask).get(_LAYERS), _LAYERS) if self._mask is not None else {}


@dataclass(slots=True)
class MaskRecord:
    """What the extension stores about one of its masks."""

    size: tuple[int, int]
    """Width and height of the source's picture."""
    unit_px: float
    """How many of its pixels one unit of mask coordinates spans."""
    fingerprint: str
    """The source's fingerprint."""
    preset: str = ""
    notes: list[str] = field(default_factory=list)
    """Sentences that the panel shows to the editor."""
    analysed: list[tuple[int, int]] = field(default_factory=list)
    """The half-open frame ranges that were analysed; empty if all frames were."""
    frames: tuple[int, int] | None = None
    """The mask's own first and last frame."""
    own: list[str] = field(default_factory=list)
    """Names of the layers that the extension made, including the one that shows the picture."""
    order: list[str] = field(default_factory=list)
    """Names of all layers, in their order when the extension last checked them."""
    to_review: int = 0
    """How many review items have not been judged."""
    serial: str = ""
    """Changes each time the mask is written."""
    reviewing: str = ""
    """The key of the review item that the editor is looking at."""
    layers: LayerRecords = field(default_factory=LayerRecords)
    """The records of the layers that cover tracks."""
    widest_px: float = 0.0
    """The width of the widest face in the tracks document, without the margin, in pixels of the source; 0 if there is
    none, or an earlier version has written the record."""
    _loaded: dict[str, Any] = field(default_factory=dict)
    """What was stored when the record was loaded."""

    @classmethod
    def load(cls, mask: bpy.types.Mask) -> MaskRecord:
        """The record of a mask of ours. Raises DamagedRecordError."""
        group = _get_group(mask)
        width, height = _read_pair(group, "size")
        record = cls(
            size=(width, height),
            unit_px=_read_number(group, "unit_px"),
            fingerprint=_read_text(group, "fingerprint"),
            preset=_read_text(group, "preset", ""),
            notes=_read_texts(group, "notes", required=False),
            analysed=_read_ranges(group, "analysed", required=False),
            frames=_read_pair(group, "frames") if "frames" in group else None,
            own=_read_texts(group, "layers"),
            order=_read_texts(group, "order"),
            to_review=_read_whole(group, "doubts", 0),
            widest_px=_read_number(group, "widest_px", 0.0),
            serial=_read_text(group, "serial", ""),
            reviewing=_read_text(group, "looked_at", ""),
            layers=LayerRecords(mask),
        )
        if record.unit_px <= 0 or width <= 0 or height <= 0:
            raise _damaged("size")
        record._loaded = record._to_plain()
        return record

    def save(self, mask: bpy.types.Mask) -> None:
        """Store everything that has changed since the record was loaded."""
        if not has_record(mask):
            mask[MARK] = {"layers": [], _LAYERS: {}, "order": []}
        group, plain = _get_group(mask), self._to_plain()
        for key, value in plain.items():
            if key not in self._loaded or self._loaded[key] != value:
                group[key] = value
        self.layers.save(group[_LAYERS])
        self.layers, self._loaded = LayerRecords(mask), plain

    def compute_ellipse(self, layer: str, source_frame: int) -> Ellipse | None:
        """The ellipse that a layer covers at a frame, in pixels of the source; None where it covers nothing."""
        known = self.layers.get(layer)
        return known.compute_ellipse(source_frame) if known is not None else None

    def describe(self, document: TrackDocument, unit_px: float, frames: tuple[int, int]) -> None:
        """Take over what a document says about its source, for a mask whose first and last frame are `frames`."""
        source = document.source
        self.size, self.unit_px, self.fingerprint = (source.width, source.height), unit_px, source.fingerprint
        self.preset, self.analysed, self.frames = document.preset, list(document.analysed), frames
        self.notes = [*source.warnings, *document.all_notes]

    def sync_order(self, order: Sequence[str]) -> list[str]:
        """Take over the names of all layers, in their order; returns those of the layers that were added.

        A renamed layer is recognised by its position.
        """
        before = list(self.order)
        if len(before) == len(order):
            for old, new in zip(before, order, strict=True):
                if old != new and old not in order and new not in before:
                    self._rename_layer(old, new)
                    before[before.index(old)] = new
        self.order = list(order)
        return [name for name in order if name not in before]

    def get_tracks(self) -> dict[str, str]:
        """The names of the tracks that the layers cover, by layer."""
        return {layer: self.layers.track_of(layer) for layer in self.layers}

    def add_layers(self, plans: Mapping[str, LayerPlan], document: TrackDocument) -> None:
        """Record layers, by name, that were written as planned for the document."""
        tracks = {track.name: track for track in document.tracks}
        for layer, plan in plans.items():
            self.layers[layer] = make_layer_record(layer, plan, tracks[plan.track], document)
        self.own += plans

    def forget_tracks(self, names: Collection[str]) -> dict[str, str]:
        """Remove the layers of these tracks from the record, except those that an editor has redrawn.

        Returns the removed ones, by track.
        """
        removed = {
            track: layer
            for layer, track in self.get_tracks().items()
            if track in names and not self.layers[layer].freehand
        }
        self.forget_layers(removed.values())
        return removed

    def forget_layers(self, names: Iterable[str]) -> None:
        """Remove layers from the record. Raises KeyError if one is not in it."""
        for name in names:
            self.own = [own for own in self.own if own != name]
            del self.layers[name]

    def assign_tracks(self, tracks: Mapping[str, str | None]) -> None:
        """Set which tracks these layers cover; None removes a layer from the record."""
        self.forget_layers(layer for layer, track in tracks.items() if track is None)
        for layer, track in tracks.items():
            if track is not None:
                self.layers[layer] = replace(self.layers[layer], track=track)

    def mark_freehand(self, names: Iterable[str]) -> None:
        """Record that an editor has redrawn these layers."""
        for name in names:
            self.layers[name] = replace(self.layers[name], freehand=True)

    def _rename_layer(self, old: str, new: str) -> None:
        self.own = [new if name == old else name for name in self.own]
        self.order = [new if name == old else name for name in self.order]
        if old in self.layers:
            self.layers[new] = replace(self.layers[old], layer=new)
            del self.layers[old]

    def _to_plain(self) -> dict[str, Any]:
        stored = {
            "layers": list(self.own),
            "order": list(self.order),
            "unit_px": self.unit_px,
            "size": tuple(self.size),
            "fingerprint": self.fingerprint,
            "preset": self.preset,
            "notes": list(self.notes),
            "analysed": _to_edges(self.analysed),
            "doubts": self.to_review,
            "widest_px": self.widest_px,
            "serial": self.serial,
            "looked_at": self.reviewing,
        }
        if self.frames is not None:
            stored["frames"] = tuple(self.frames)
        return stored


def make_layer_record(layer: str, plan: LayerPlan, track: Track, document: TrackDocument) -> LayerRecord:
    """The record of a layer that was written as `plan` says, for this track of the document."""
    clearest = choose_clearest(track.samples, (document.source.width, document.source.height))
    return LayerRecord(
        layer=layer,
        track=track.name,
        spans=list(plan.spans),
        frames=list(plan.frames),
        shapes=np.array([(e.cx, e.cy, e.rx, e.ry, e.angle) for e in plan.ellipses], np.float64).reshape(-1, 5),
        evidence={evidence: sum(s.evidence is evidence for s in track.samples) for evidence in Evidence},
        clearest=clearest.source_frame,
        size=math.sqrt(clearest.ellipse.rx * clearest.ellipse.ry) * 2 * document.margin,
        locked=[s.source_frame for s in track.samples if s.evidence is Evidence.LOCKED],
    )


def get_layer_name(mask: bpy.types.Mask, track: str, record: MaskRecord | None = None) -> str:
    """The name of the layer that covers a track; empty if there is none. Pass the mask's `record` if it is loaded."""
    layers = (record or MaskRecord.load(mask)).layers
    # The layer nearly always has the track's name.
    candidates = [track, *layers] if track in layers else list(layers)
    return next((name for name in candidates if layers.track_of(name) == track and name in mask.layers), "")


def make_mask(
    name: str, document: TrackDocument, unit_px: float, first_frame: int
) -> tuple[bpy.types.Mask, MaskRecord]:
    """A new mask without layers that starts at `first_frame`, and its record, which is not stored yet."""
    mask = bpy.data.masks.new(name)
    mask.use_fake_user = True
    mask.frame_start = max(first_frame, 0)
    return mask, MaskRecord((document.source.width, document.source.height), unit_px, document.source.fingerprint)


def has_record(mask: bpy.types.Mask) -> bool:
    """Whether the extension made this mask. Its record may be damaged."""
    return MARK in mask


def is_readable(mask: bpy.types.Mask) -> bool:
    """Whether the record of one of our masks, apart from those of its layers, is what the extension writes."""
    try:
        MaskRecord.load(mask)
    except DamagedRecordError:
        return False
    return True


def list_own_masks() -> list[bpy.types.Mask]:
    """All masks in this file that the extension made, whether anything uses them or not."""
    return [mask for mask in bpy.data.masks if has_record(mask)]


def list_unreliable_tracks(mask: bpy.types.Mask) -> frozenset[str]:
    """The tracks whose layers may cover less than the document says: they are hidden, gone or drawn by hand."""
    record = MaskRecord.load(mask)
    return frozenset(
        track
        for name, track in record.get_tracks().items()
        if name not in mask.layers or mask.layers[name].hide_render or record.layers[name].freehand
    )


def get_fingerprint(mask: bpy.types.Mask) -> str:
    """The fingerprint of the source that a mask was made for, even if the rest of its record is damaged."""
    return _read_text(_get_group(mask), "fingerprint")


def get_picture_size(mask: bpy.types.Mask) -> tuple[int, int]:
    """Width and height of the picture that a mask was made for, even if the rest of its record is damaged."""
    return _read_pair(_get_group(mask), "size")


def compute_stamp(mask: bpy.types.Mask) -> object:
    """Changes when layers are rewritten, for caches that Blender does not notify. Cheap enough for every redraw."""
    layers = _check_group(_get_group(mask).get(_LAYERS), _LAYERS)
    return (
        mask.frame_start,
        mask.frame_end,
        tuple((name, len(layer["keys"]), len(layer["spans"])) for name, layer in layers.items()),
    )


def _read_layer(name: str, group: Any) -> LayerRecord:
    _check_group(group, name)
    table = np.array(_read_numbers(group, "keys"), np.float64)
    if table.ndim != 1 or len(table) % 6 or not np.isfinite(table).all():
        raise _damaged("keys")
    table = table.reshape(-1, 6)
    if (table[:, 0] != np.floor(table[:, 0])).any() or (np.diff(table[:, 0]) <= 0).any():
        raise _damaged("keys")
    spans = _read_ranges(group, "spans")
    return LayerRecord(
        layer=name,
        track=_read_text(group, "track", name),
        spans=spans,
        frames=table[:, 0].astype(np.int64).tolist(),
        shapes=table[:, 1:],
        # Older records have fewer kinds.
        evidence=dict(zip(Evidence, _read_wholes(group, "evidence"), strict=False)),
        clearest=_read_whole(group, "clearest", spans[0][0] if spans else 0),
        size=_read_number(group, "size", 0.0),
        locked=_read_wholes(group, "locked", required=False),
        freehand=bool(group.get("freehand", False)),
    )


def _to_plain_layer(layer: LayerRecord) -> dict[str, Any]:
    stored = {
        "track": layer.track,
        "spans": _to_edges(layer.spans),
        "evidence": [layer.evidence.get(kind, 0) for kind in Evidence],
        "clearest": layer.clearest,
        "size": layer.size,
        "locked": list(layer.locked),
        "keys": [
            number
            for frame, shape in zip(layer.frames, layer.shapes.tolist(), strict=True)
            for number in (float(frame), *shape)
        ],
    }
    return stored | ({"freehand": True} if layer.freehand else {})


def _to_edges(spans: list[tuple[int, int]]) -> list[int]:
    return [edge for span in spans for edge in span]


def _damaged(key: str) -> DamagedRecordError:
    return DamagedRecordError(f"'{key}' in the mask's record is wrong")


def _get_group(mask: bpy.types.Mask) -> Any:
    return _check_group(mask[MARK], MARK)


def _check_group(group: Any, key: str) -> Any:
    if not hasattr(group, "to_dict"):
        raise _damaged(key)
    return group


def _read(group: Any, key: str, kinds: tuple[type, ...], default: Any) -> Any:
    if key not in group and default is not None:
        return default
    value = group.get(key)
    # In Python a bool is an int.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise _damaged(key)
    return value


def _read_text(group: Any, key: str, default: str | None = None) -> str:
    return str(_read(group, key, (str,), default))


def _read_whole(group: Any, key: str, default: int | None = None) -> int:
    return int(_read(group, key, (int,), default))


def _read_number(group: Any, key: str, default: float | None = None) -> float:
    value = float(_read(group, key, (int, float), default))
    if not math.isfinite(value):
        raise _damaged(key)
    return value


def _read_numbers(group: Any, key: str, required: bool = True) -> Any:
    """An array of numbers as Blender returns it."""
    if key not in group and not required:
        return []
    value = group.get(key)
    if getattr(value, "typecode", "") not in ("i", "f", "d"):
        raise _damaged(key)
    return value


def _read_wholes(group: Any, key: str, required: bool = True) -> list[int]:
    numbers = list(_read_numbers(group, key, required))
    if not all(isinstance(number, int) or number.is_integer() for number in numbers):
        raise _damaged(key)
    return [int(number) for number in numbers]


def _read_pair(group: Any, key: str) -> tuple[int, int]:
    numbers = _read_wholes(group, key)
    if len(numbers) != 2:
        raise _damaged(key)
    return numbers[0], numbers[1]


def _read_ranges(group: Any, key: str, required: bool = True) -> list[tuple[int, int]]:
    edges = _read_wholes(group, key, required)
    if len(edges) % 2:
        raise _damaged(key)
    return list(zip(edges[::2], edges[1::2], strict=True))


def _read_texts(group: Any, key: str, required: bool = True) -> list[str]:
    if key not in group and not required:
        return []
    values = group.get(key)
    # Blender stores an empty list as an array of numbers.
    if not isinstance(values, list) and not hasattr(values, "typecode"):
        raise _damaged(key)
    if not all(isinstance(value, str) for value in values):
        raise _damaged(key)
    return list(values)
