# SPDX-License-Identifier: GPL-3.0-or-later
"""A band along each strip of footage in the timeline, which shows how its faces are covered in each frame.

A pixel that stands for several frames shows the worst of them. Its upper half is red where a review item is. The active
strip has a second band for the active face alone. The line above the bands is white where the frames were watched.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.review.overview import Code, Codes, compute_worst, list_runs
from ...core.review.watched import Frames
from ...core.types import Color
from ..common.context import DrawHandlers, get_sequencer_scene
from ..common.footage import KINDS
from ..common.marks import BAKED
from ..common.selection import get_active_footage
from ..common.speeds import get_timing
from ..cover.baked import get_baked_mask
from ..cover.covering import MUST_BE_COVERED
from ..cover.projection import RegionProjection, get_region_projection
from ..cover.strips import get_mask
from ..masks.overlay_cache import get_cached, get_unit, list_switched_off
from ..masks.record import list_own_masks
from ..preferences.properties import get_colors
from ..review.watched import get_watched
from .outlines import explain_fault

_HATCH_PX = 6
_LEAST_STRIP_PX = 9
_WATCHED: Color = (1.0, 1.0, 1.0, 0.95)
_UNWATCHED: Color = (0.0, 0.0, 0.0, 0.55)
_BODY = (0.06, 0.94)
"""The lower and upper edge of a strip within its channel."""

Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels of the region."""


_HANDLERS = DrawHandlers("WINDOW")


def add_coverage() -> None:
    _HANDLERS.add(draw)


def remove_coverage() -> None:
    _HANDLERS.remove_all()


def draw() -> None:
    """Draw handler, called by Blender for each timeline."""
    context = bpy.context
    scene, space = get_sequencer_scene(context), context.space_data
    if scene is None or not scene.faceblur.show_coverage or not space.show_overlays:
        return
    rectangles = compose(context, scene, context.region)
    if rectangles:
        _put_rectangles(rectangles)


def compose(
    context: bpy.types.Context, scene: bpy.types.Scene, region: bpy.types.Region
) -> list[tuple[Rectangle, Color]]:
    """The rectangles and colours of all bands that a timeline shows."""
    editor, view = scene.sequence_editor, get_region_projection(region)
    unit, colors = get_unit(context), get_colors()
    active, is_used = get_active_footage(context), bool(list_own_masks())
    drawn: list[tuple[Rectangle, Color]] = []
    watched_frames: dict[int, Frames | None] = {}
    for strip in _list_in_view(editor.meta_stack[-1].strips if editor.meta_stack else editor.strips, region, view):
        bottom, top = (view.to_region(0, strip.channel + part)[1] for part in _BODY)
        if top - bottom < _LEAST_STRIP_PX:
            continue
        height = min(max(0.14 * (top - bottom), 3.0 * unit), 6.0 * unit)
        lanes = [False, True] if strip == active else [False]
        for number, alone in enumerate(lanes):
            found = compute_columns(strip, view, region.width, alone, is_used)
            if found is not None:
                low = bottom + 1 + number * (height + unit)
                drawn += _list_rectangles(*found, low, low + height, colors)
        watched = compute_watched_columns(strip, view, region.width, watched_frames)
        if watched is not None:
            low = bottom + 1 + len(lanes) * (height + unit)
            drawn += _list_watched(*watched, low, low + max(round(0.4 * height), 2))
    return drawn


def _list_in_view(strips: Any, region: bpy.types.Region, view: RegionProjection) -> list[bpy.types.Strip]:
    starts, ends = np.empty(len(strips), np.int32), np.empty(len(strips), np.int32)
    strips.foreach_get("frame_final_start", starts)
    strips.foreach_get("frame_final_end", ends)
    left, right = view.to_view(0, 0)[0], view.to_view(region.width, 0)[0]
    seen = (strips[number] for number in np.flatnonzero((starts < right) & (ends > left)).tolist())
    return [strip for strip in seen if strip.type in KINDS]


def compute_columns(
    strip: bpy.types.Strip, view: RegionProjection, width: int, alone: bool, is_used: bool
) -> tuple[int, Codes, Codes] | None:
    """The first pixel column of a strip's band in a region of this width; for each column from there the worst code,
    and a second code that is `Code.TO_REVIEW` where a review item is.

    None if there is no band: for an uncovered strip that need not be covered, in a project without covers (`is_used` is
    False), for a baked strip, and with `alone` if no face is active.
    """
    first = max(round(view.to_region(strip.frame_final_start, 0)[0]), 0)
    stop = min(round(view.to_region(strip.frame_final_end, 0)[0]), width)
    if stop <= first or BAKED in strip:
        return None
    mask, fault = get_mask(strip), explain_fault(strip)
    nothing = np.zeros(stop - first, np.uint8)
    if fault or mask is None:
        if alone or not (is_used or strip.get(MUST_BE_COVERED)):
            return None
        return first, np.full(stop - first, Code.NOT_ANALYSED, np.uint8), nothing
    known = get_cached(mask)
    active = mask.layers.active
    only = next((cover.track for cover in known.covers if active is not None and cover.layer == active.name), "")
    if alone and not only:
        return None
    codes = known.compute_codes(list_switched_off(mask, known), only if alone else "")
    if codes is None:
        return first, nothing, nothing
    edges = np.asarray((np.arange(first, stop + 1) - view.shift[0]) / view.scale[0], np.float64)
    starts, stops = compute_source_ranges(strip, edges, len(codes[0]))
    return first, compute_worst(codes[0], starts, stops), compute_worst(codes[1], starts, stops)


def compute_watched_columns(
    strip: bpy.types.Strip, view: RegionProjection, width: int, read: dict[int, Frames | None]
) -> tuple[int, Codes] | None:
    """The first pixel column of a strip's line in a region of this width, and for each column from there 1 if nobody
    has watched all of its frames, else 0. None if there is no line. A baked strip has one while its film has the covers
    of its mask.

    `read` keeps what was watched of each mask, by its session_uid, for the strips that are drawn together.
    """
    first = max(round(view.to_region(strip.frame_final_start, 0)[0]), 0)
    stop = min(round(view.to_region(strip.frame_final_end, 0)[0]), width)
    mask = get_mask(strip) or get_baked_mask(strip)
    if stop <= first or mask is None or explain_fault(strip):
        return None
    uid = mask.session_uid
    if uid not in read:
        read[uid] = get_watched(mask)
    watched = read[uid]
    if watched is None or not len(watched):
        return None
    edges = np.asarray((np.arange(first, stop + 1) - view.shift[0]) / view.scale[0], np.float64)
    starts, stops = compute_source_ranges(strip, edges, len(watched))
    return first, compute_worst((~watched).astype(np.uint8), starts, stops)


def compute_source_ranges(
    strip: bpy.types.Strip, edges: NDArray[np.float64], count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The half-open ranges of `count` source frames that a strip with one speed shows between timeline `edges`."""
    first_frame, duration = get_timing(strip, count)
    # A timeline frame lasts until the next one, and counts for each column that it touches.
    low, high = np.floor(edges[:-1] + 1e-6), np.ceil(edges[1:] - 1e-6) - 1
    low = np.clip(low, strip.frame_final_start, strip.frame_final_end - 1) - first_frame
    high = np.clip(high, strip.frame_final_start, strip.frame_final_end - 1) - first_frame
    if strip.use_reverse_frames:
        low, high = duration - 1 - high, duration - 1 - low
    first, last = (
        np.clip((place * count / max(duration, 1) + 1e-4).astype(np.intp), 0, count - 1) for place in (low, high)
    )
    return first, last + 1


def _list_rectangles(
    first: int, codes: Codes, in_review: Codes, low: float, high: float, colors: dict[str, Color]
) -> list[tuple[Rectangle, Color]]:
    drawn: list[tuple[Rectangle, Color]] = [((first, low, first + len(codes), high), (0.0, 0.0, 0.0, 0.55))]
    for start, stop, code in list_runs(codes):
        if code == Code.NOT_ANALYSED:
            drawn += [
                ((x, low, min(x + _HATCH_PX, first + stop), high), colors["uncovered"])
                for x in range(first + start, first + stop, 2 * _HATCH_PX)
            ]
        elif code != Code.NOTHING:
            # Told by its shape too: where a face is off, the band is low.
            top = low + (high - low) / 3 if code == Code.OFF else high
            drawn.append(((first + start, low, first + stop, top), colors[Code(code).name.lower()]))
    drawn += [
        ((first + start, (low + high) / 2, first + stop, high), colors["to_review"])
        for start, stop, code in list_runs(in_review)
        if code
    ]
    return drawn


def _list_watched(first: int, unwatched: Codes, low: float, high: float) -> list[tuple[Rectangle, Color]]:
    return [
        ((first + start, low, first + stop, high), _UNWATCHED if code else _WATCHED)
        for start, stop, code in list_runs(unwatched)
    ]


def _put_rectangles(rectangles: list[tuple[Rectangle, Color]]) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    boxes = np.array([box for box, _ in rectangles], np.float32)
    points = np.ascontiguousarray(boxes[:, [0, 1, 2, 1, 2, 3, 0, 1, 2, 3, 0, 3]].reshape(-1, 2))
    colors = np.repeat(np.array([color for _, color in rectangles], np.float32), 6, axis=0)
    shader = gpu.shader.from_builtin("FLAT_COLOR")
    gpu.state.blend_set("ALPHA")
    batch_for_shader(shader, "TRIS", {"pos": points, "color": colors}).draw(shader)
    gpu.state.blend_set("NONE")
