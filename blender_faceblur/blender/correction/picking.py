# SPDX-License-Identifier: GPL-3.0-or-later
"""Which face or footage lies under a point of the preview, and making that face the active one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bpy

from ...core.types import Box, Ellipse
from ..common.context import get_sequencer_scene
from ..common.footage import compute_source_frame
from ..common.marks import BAKED
from ..common.selection import get_active_footage
from ..cover.projection import Projection, RegionProjection, get_projection, get_region_projection
from ..cover.strips import get_mask
from ..masks.chosen_face import get_chosen_layer, mark_chosen
from ..masks.overlay_cache import get_cached
from ..overlay.outlines import list_faces_at, list_shown
from ..review.queue import make_current

_LEAST_PX = 8.0
"""In pixels of the screen: a smaller cover can be clicked as if it had this radius."""


@dataclass(frozen=True, slots=True)
class PickedFace:
    """A face in the preview. It keeps names, because an undo may replace Blender's objects."""

    strip: str
    layer: str
    track: str
    source_frame: int
    cover: Ellipse
    """With the margin, in source pixels."""
    projection: Projection
    shown: RegionProjection

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """The source pixel at a point of the region."""
        return self.projection.to_source(*self.shown.to_view(x, y))


def find_face(context: bpy.types.Context, region: bpy.types.Region, x: float, y: float) -> PickedFace | None:
    """The face whose cover contains a point of a preview, in pixels of its region.

    Of several, it is the active one, else the one whose middle is nearest in relation to its size. A layer that was
    drawn by hand is none.
    """
    found: list[tuple[bool, float, PickedFace]] = []
    for picked, is_active in _list_faces(context, region):
        least = _LEAST_PX / max(picked.projection.scale * abs(picked.shown.scale[0]), 1e-6)
        far = _compute_distance(picked.cover, *picked.to_source(x, y), least)
        if far <= 1:
            found.append((not is_active, far, picked))
    return min(found, key=lambda each: each[:2])[2] if found else None


def find_chosen_face(context: bpy.types.Context, region: bpy.types.Region) -> tuple[str, PickedFace | None]:
    """The name of the face that an editor has chosen, and its cover if it has one at the playhead; else "" and None."""
    strip = get_active_footage(context)
    name = get_chosen_layer(strip, get_mask(strip)) if strip is not None and BAKED not in strip else ""
    if not name:
        return "", None
    faces = (picked for picked, _ in _list_faces(context, region))
    return name, next((picked for picked in faces if (picked.strip, picked.layer) == (strip.name, name)), None)


def list_faces_in_box(context: bpy.types.Context, region: bpy.types.Region, box: Box) -> list[PickedFace]:
    """The faces at the playhead whose middle lies in a box of a preview (left, lower, right, upper edge)."""
    left, low, right, high = box
    return [
        picked
        for picked, _ in _list_faces(context, region)
        for x, y in (picked.shown.to_region(*picked.projection.to_canvas(picked.cover.cx, picked.cover.cy)),)
        if left <= x <= right and low <= y <= high
    ]


def _list_faces(context: bpy.types.Context, region: bpy.types.Region) -> Iterator[tuple[PickedFace, bool]]:
    """The faces at the playhead in a preview, and whether each is the active one."""
    scene = get_sequencer_scene(context)
    shown = get_region_projection(region)
    for strip in list_shown(scene, getattr(context.space_data, "display_channel", 0)) if scene is not None else ():
        mask = get_mask(strip)
        frame = _get_frame(scene, strip, mask)
        if mask is None or frame is None or BAKED in strip:
            continue
        projection = get_projection(scene, strip)
        active = mask.layers.active if strip == scene.sequence_editor.active_strip else None
        for record, _ in list_faces_at(mask, get_cached(mask), frame):
            cover = Ellipse(*record.shape_at(frame).tolist())
            picked = PickedFace(strip.name, record.layer, record.track, frame, cover, projection, shown)
            yield picked, active is not None and active.name == record.layer


def find_covered_strip(context: bpy.types.Context, region: bpy.types.Region, x: float, y: float) -> Any:
    """The uppermost covered strip whose picture contains a point of a preview; None if there is none."""
    scene = get_sequencer_scene(context)
    point = get_region_projection(region).to_view(x, y)
    for strip in reversed(list_shown(scene, getattr(context.space_data, "display_channel", 0)) if scene else []):
        projection = get_projection(scene, strip)
        (px, py), (left, top, right, bottom) = projection.to_source(*point), projection.shown
        if left <= px < right and top <= py < bottom:
            return strip if get_mask(strip) is not None and BAKED not in strip else None
    return None


def choose_strip(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    """Make a strip the active one, as a click in the timeline does."""
    editor = scene.sequence_editor
    if editor.active_strip != strip:
        for other in editor.strips_all:
            other.select = other == strip
        editor.active_strip = strip


def choose_face(scene: bpy.types.Scene, strip: str, layer: str) -> bool:
    """Make a face active, and the review item that lists it here the current one. False if it no longer exists."""
    found = scene.sequence_editor.strips_all.get(strip)
    mask = get_mask(found) if found is not None else None
    if mask is None or layer not in mask.layers:
        return False
    choose_strip(scene, found)
    mask.layers.active = mask.layers[layer]
    mark_chosen(found, mask)
    frame = _get_frame(scene, found, mask)
    record = next((record for record in get_cached(mask).covers if record.layer == layer), None)
    if frame is not None and record is not None:
        make_current(found, mask, record.track, frame)
    return True


def _get_frame(scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask | None) -> int | None:
    if mask is None:
        return None
    return compute_source_frame(strip, scene.frame_current, max(mask.frame_end - mask.frame_start, 1))


def _compute_distance(cover: Ellipse, x: float, y: float, least: float) -> float:
    """The distance of a point from a cover's middle in units of its radii: 1 on its outline."""
    dx, dy = x - cover.cx, y - cover.cy
    cos, sin = math.cos(cover.angle), math.sin(cover.angle)
    return math.hypot(
        (dx * cos + dy * sin) / max(cover.rx, least),
        (dy * cos - dx * sin) / max(cover.ry, least),
    )
