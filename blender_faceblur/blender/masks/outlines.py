# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluate a mask at each frame of its source, with everything that an editor did to it.

Only Blender knows a mask's shapes between its keys. Where a shape cannot be read exactly, the outlines cover more.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np

from ...core.cover.layers import flatten
from ...core.geometry import Array
from ...core.translation import translate
from ...core.types import FaceBlurError
from ...painting.outlines import COVERED, FrameOutlines
from ..common.context import borrow_mask_editor
from .changes import hold
from .record import MaskRecord

_STEPS = 24
"""Vertices for each curve between two points. The polygon then lies at most 0.06 % of the radius inside a circle of
four points. Raising it makes the outlines larger."""

_AROUND = 1.0
"""How far the spline that shows the whole picture reaches beyond the mask's square, in mask units."""

_EXACT = 1e-4
"""Mask units by which a point of that spline may be elsewhere. Mask coordinates have single precision."""


def check_readable(mask: bpy.types.Mask) -> None:
    """Raise FaceBlurError if the mask has points that follow a motion track, whose places Python cannot read."""
    for layer in mask.layers:
        for spline in layer.splines:
            if any(point.parent.id is not None for point in spline.points):
                raise FaceBlurError(
                    translate(
                        "The layer '{name}' of the mask '{mask}' follows a motion track, which cannot be baked. "
                        "Clear its parent in the Mask editor first.",
                        name=layer.name,
                        mask=mask.name,
                    )
                )


def evaluate_outlines(mask: bpy.types.Mask, stop: int, start: int = 0) -> Iterator[FrameOutlines]:
    """The covers of a mask of ours in the source frames from `start` to `stop` - 1. Frames in a row with the same
    covers yield the same object.

    Raises FaceBlurError as `check_readable` does.
    """
    check_readable(mask)
    record = MaskRecord.load(mask)
    with hold(mask), borrow_mask_editor(mask) as scene:
        before: FrameOutlines | None = None
        for frame in range(start, stop):
            scene.frame_set(mask.frame_start + frame)
            found = _read_frame(mask, record)
            if before is None or found.digest() != before.digest():
                before = found
            yield before


def _read_frame(mask: bpy.types.Mask, record: MaskRecord) -> FrameOutlines:
    """The covers of a mask as it is evaluated now. Layers without opacity cover nothing, all others completely."""
    if not len(mask.layers) or mask.layers[0].hide_render or mask.layers[0].blend != "MERGE_ADD":
        return COVERED
    polygons: list[Array] = []
    feathers: list[float] = []
    for number, layer in enumerate(mask.layers):
        if number == 0 and not layer.invert:
            if layer.alpha < 1.0 or not _surrounds_picture(layer):
                return COVERED
            continue
        if layer.hide_render or layer.alpha <= 0.0:
            continue
        if not layer.invert or (number and layer.blend != "MUL"):
            return COVERED
        for spline in layer.splines:
            if len(spline.points):
                polygon, feather = _read_spline(spline, record)
                polygons.append(polygon)
                feathers.append(feather)
    return FrameOutlines(False, tuple(polygons), tuple(feathers))


def _read_spline(spline: bpy.types.MaskSpline, record: MaskRecord) -> tuple[Array, float]:
    """The polygon of a spline (N x 2, source pixels) and the width of its soft edge, the widest of its points'."""
    points = spline.points
    numbers = np.empty((3, len(points), 2), np.float32)
    for target, name in zip(numbers, ("co", "handle_left", "handle_right"), strict=True):
        points.foreach_get(name, target.reshape(-1))
    weights = np.empty(len(points), np.float32)
    points.foreach_get("weight", weights)
    weight = max(float(weights.max()), *(w.weight for point in points for w in point.feather_points), 0.0)
    width, height = record.size
    places = numbers.astype(np.float64).transpose(1, 0, 2).reshape(-1, 2)
    places = (places - 0.5) * (record.unit_px, -record.unit_px) + (width / 2, height / 2)
    polygon = flatten(places, _STEPS)
    if not spline.use_cyclic:
        # Blender draws an open spline as a line.
        polygon = polygon[: 1 - _STEPS or None]
        polygon = np.concatenate((polygon, polygon[-2:0:-1]))
    return polygon, weight * record.unit_px


def _surrounds_picture(layer: bpy.types.MaskLayer) -> bool:
    """Whether a layer that shows what lies inside it shows the whole picture."""
    if len(layer.splines) != 1 or len(layer.splines[0].points) != 4:
        return False
    low, high = -_AROUND, 1 + _AROUND
    places = np.array([tuple(point.co) for point in layer.splines[0].points])
    expected = np.array([(low, low), (high, low), (high, high), (low, high)])
    return bool(np.abs(places - expected).max() < _EXACT)
