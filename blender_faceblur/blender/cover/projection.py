# SPDX-License-Identifier: GPL-3.0-or-later
"""Project source pixels to the preview, with a strip's transform as the sequencer applies it.

The sequencer scales and rotates a picture about its origin and moves it by its offset. Then it mirrors a flipped strip
about the centre of the canvas (Blender 5.0.1 and 5.2). It places strips in a meta strip on the canvas in the same way,
and the meta strip uses that canvas as its picture. `resolution_percentage` and proxies change the number of pixels, not
their positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np

from ...core.geometry import Array
from ...core.types import Box
from ..masks.record import get_picture_size
from .strips import get_mask


@dataclass(frozen=True, slots=True)
class Projection:
    """`matrix` (3 x 3) maps source pixels (y down) to the preview's view coordinates.

    Those are canvas pixels at full resolution, y up, with the origin in the centre, and x scaled by the pixel aspect.
    """

    matrix: Array
    size: tuple[int, int]
    """Width and height of the source, in pixels."""
    shown: Box
    """The part of the source that is not cropped, in source pixels."""

    def to_canvas(self, x_px: float, y_px: float) -> tuple[float, float]:
        (a, b, c), (d, e, f), _ = self.matrix.tolist()
        return a * x_px + b * y_px + c, d * x_px + e * y_px + f

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """The source pixel at a point of the canvas. For a strip scaled to zero it is always the picture's centre."""
        (a, b, c), (d, e, f), _ = self.matrix.tolist()
        area = a * e - b * d
        if area == 0:
            return self.size[0] / 2, self.size[1] / 2
        return (e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area

    def project(self, points_px: Array) -> Array:
        """Map source points (... x 2) to the canvas (... x 2)."""
        projected: Array = points_px @ self.matrix[:2, :2].T + self.matrix[:2, 2]
        return projected

    def compute_picture_outline(self) -> list[tuple[float, float]]:
        """The four corners of the shown part of the source, on the canvas."""
        left, top, right, bottom = self.shown
        return [self.to_canvas(*corner) for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]

    @property
    def scale(self) -> float:
        """The number of canvas pixels per source pixel, as the mean of both directions."""
        (a, b, _), (d, e, _), _ = self.matrix.tolist()
        return math.sqrt(abs(a * e - b * d))


@dataclass(frozen=True, slots=True)
class RegionProjection:
    """Maps view coordinates to the pixels of a region (origin at its lower left) and back."""

    scale: tuple[float, float]
    shift: tuple[float, float]

    def to_region(self, x: float, y: float) -> tuple[float, float]:
        return x * self.scale[0] + self.shift[0], y * self.scale[1] + self.shift[1]

    def to_view(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.shift[0]) / self.scale[0], (y - self.shift[1]) / self.scale[1]

    def project(self, points: Array) -> Array:
        """Map view points (... x 2) to the region (... x 2)."""
        return points * self.scale + self.shift


def get_projection(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Projection:
    """The projection of a strip in the preview of `scene` at the current frame; a transform may be animated."""
    canvas = (scene.render.resolution_x, scene.render.resolution_y)
    size = get_size(scene, strip)
    matrix = _compute_matrix(strip, size)
    parent = strip.parent_meta()
    while parent is not None:
        # The picture of the meta strip is the canvas, with the origin in the centre and y up.
        matrix = _compute_matrix(parent, canvas) @ _from_middle(canvas) @ matrix
        parent = parent.parent_meta()
    matrix = np.diag([scene.render.pixel_aspect_x / scene.render.pixel_aspect_y, 1.0, 1.0]) @ matrix
    crop = getattr(strip, "crop", None)
    edges = (crop.min_x, crop.max_y, crop.max_x, crop.min_y) if crop is not None else (0, 0, 0, 0)
    return Projection(
        matrix, size, (float(edges[0]), float(edges[1]), float(size[0] - edges[2]), float(size[1] - edges[3]))
    )


def get_size(scene: bpy.types.Scene, strip: bpy.types.Strip) -> tuple[int, int]:
    """Width and height of a strip's picture before its transform."""
    mask = get_mask(strip)
    if mask is not None:
        return get_picture_size(mask)
    element = strip.elements[0] if getattr(strip, "elements", None) else None
    if element is not None and element.orig_width and element.orig_height:
        return element.orig_width, element.orig_height
    return scene.render.resolution_x, scene.render.resolution_y


def get_region_projection(region: bpy.types.Region) -> RegionProjection:
    """The mapping from view coordinates to a region's pixels, with fractions, which `view_to_region` drops."""
    left, bottom = region.view2d.region_to_view(0, 0)
    right, top = region.view2d.region_to_view(1000, 1000)
    scale = 1000 / (right - left), 1000 / (top - bottom)
    return RegionProjection(scale, (-left * scale[0], -bottom * scale[1]))


def compute_outlines(ellipses: Array, count: int) -> Array:
    """Points on the outlines of N ellipses (N x 5: cx, cy, rx, ry, angle), in source pixels: N x `count` x 2."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    cx, cy, rx, ry, angle = (ellipses[:, number, None] for number in range(5))
    x, y = rx * np.cos(turn), ry * np.sin(turn)
    return np.stack([cx + x * np.cos(angle) - y * np.sin(angle), cy + x * np.sin(angle) + y * np.cos(angle)], axis=2)


def _compute_matrix(strip: bpy.types.Strip, size: tuple[int, int]) -> Array:
    """The matrix from pixels of the strip's picture (y down) to canvas pixels from the centre (y up)."""
    width, height = size
    transform = getattr(strip, "transform", None)
    if transform is None:
        return np.array([[1.0, 0.0, -width / 2], [0.0, -1.0, height / 2], [0.0, 0.0, 1.0]])
    cos, sin = math.cos(transform.rotation), math.sin(transform.rotation)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([transform.scale_x, transform.scale_y])
    pivot = np.array([width * transform.origin[0], height * transform.origin[1]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear @ np.diag([1.0, -1.0])
    offset = np.array([transform.offset_x, transform.offset_y])
    matrix[:2, 2] = linear @ (np.array([0.0, height]) - pivot) + pivot - np.array([width, height]) / 2 + offset
    return np.diag([-1.0 if strip.use_flip_x else 1.0, -1.0 if strip.use_flip_y else 1.0, 1.0]) @ matrix


def _from_middle(canvas: tuple[int, int]) -> Array:
    """The matrix from canvas pixels from the centre (y up) to canvas pixels from the upper left corner (y down)."""
    return np.array([[1.0, 0.0, canvas[0] / 2], [0.0, -1.0, canvas[1] / 2], [0.0, 0.0, 1.0]])
