# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a picture is covered: the outlines of a document's layers at a moment, and their coverage, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.cover.layers import LayerPlan, flatten, plan_layers
from ..core.geometry import Array
from ..core.types import TrackDocument

Coverage = NDArray[np.uint8]
"""Height x width, 255 where a picture is covered completely, 0 where it is shown; between them on soft edges."""

_STEPS = 12
"""Vertices for each quarter of an outline: the polygon lies at most 0.2 % of the radius inside the curve."""

_SUBPIXEL_BITS = 4
"""Fractional bits of the coordinates that OpenCV fills polygons with."""

_CURVE_BULGE = 1.0 / math.cos(math.pi / 4 / _STEPS)
"""Polygon vertices lie on the curve, so its edges lie inside; outlines grow by this factor to contain it."""

BEYOND_FRAMES = 1.5
"""How many frames beyond the analysed ones a picture may lie to be covered like the nearest analysed frame. Strips are
up to one frame shorter than their film, because their length is rounded; anything longer is covered completely."""

BEYOND_MARGIN = 1.25
"""The outline's size there, relative to the nearest frame's, since a face may have moved in the meantime."""


@dataclass(frozen=True, slots=True)
class Outline:
    """One cover in a picture: a closed polygon (N x 2, pixels), around which a soft edge of `feather` pixels lies.

    `face_px` is the width of the face that sets the strength of the effect.
    """

    polygon: Array
    feather: float
    face_px: float

    def bounds(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the pixels that the cover and its edge can touch; it may lie outside of the picture."""
        low, high = self.polygon.min(axis=0) - self.feather, self.polygon.max(axis=0) + self.feather
        return math.floor(low[0]) - 1, math.floor(low[1]) - 1, math.ceil(high[0]) + 1, math.ceil(high[1]) + 1


@dataclass(frozen=True, slots=True)
class Moment:
    """When a picture is shown: the strip's frames that show it, or else its position between two of them, in frames."""

    frames: tuple[int, ...]
    position: float
    goes_back: bool = False
    """Whether its time in the film goes back (`MovieSource.read_timed_pictures`). Such a picture was not analysed, and
    is covered completely."""


class Timeline(Protocol):
    """The covers of a film at any moment."""

    @property
    def largest_face_px(self) -> float:
        """The width of the largest face in pixels, which sets the strength where a whole picture is covered."""
        ...

    def covers_everything(self, moment: Moment) -> bool:
        """Whether the whole picture has to be covered."""
        ...

    def list_outlines(self, moment: Moment) -> list[Outline]:
        """The covers in the picture of a moment, in pixels of the source as the strip shows it."""
        ...

    def describe(self, first: float, last: float) -> list[Any]:
        """All that decides how pictures between two positions (in frames) are covered, as values for a digest.

        The last value is true if one of them is, or may be, covered completely.
        """
        ...


class CoverTimeline:
    """The covers of a tracks document at any moment of its source."""

    def __init__(self, document: TrackDocument) -> None:
        self.largest_face_px = compute_largest_face_px(document)
        self._frame_count = document.source.frame_count
        self._unanalysed = document.list_unanalysed_spans()
        widths = {
            track.name: max((2 * sample.ellipse.rx for sample in track.samples), default=0.0)
            for track in document.tracks
        }
        self._layers = [(layer, widths[layer.track]) for layer in plan_layers(document)]
        self._starts = np.array([layer.spans[0][0] if layer.spans else 1 << 60 for layer, _ in self._layers])
        self._stops = np.array([layer.spans[-1][1] if layer.spans else -1 for layer, _ in self._layers])

    def covers_everything(self, moment: Moment) -> bool:
        """Whether the picture has to be covered completely, because it was not analysed."""
        beyond = max(-moment.position, moment.position - (self._frame_count - 1))
        if beyond >= BEYOND_FRAMES and not moment.frames:
            return True
        return any(start <= frame < stop for frame in self._list_frames(moment) for start, stop in self._unanalysed)

    def list_outlines(self, moment: Moment) -> list[Outline]:
        """The covers in the picture of a moment, in pixels of the source as the strip shows it.

        A picture that no frame of the strip shows is covered where either neighbouring frame is, and in between.
        """
        frames = self._list_frames(moment)
        outlines: list[Outline] = []
        active = (self._starts <= max(frames)) & (self._stops > min(frames))
        beyond = not moment.frames and not 0 <= moment.position <= self._frame_count - 1
        for index in np.flatnonzero(active):
            layer, face_px = self._layers[index]
            opaque = [frame for frame in frames if layer.covers(frame)]
            if len(opaque) == 2 and not moment.frames:
                outlines.append(_outline(layer, moment.position, face_px))
            growth = BEYOND_MARGIN if beyond else 1.0
            outlines += [_outline(layer, frame, face_px, growth) for frame in opaque]
        return _drop_repeated(outlines)

    def describe(self, first: float, last: float) -> list[Any]:
        """All that decides how pictures between two positions (in frames) are covered, as values for a digest."""
        low, high = first - 2, last + 2
        layers = [
            [layer.frames, [tuple(astuple(ellipse)) for ellipse in layer.ellipses], layer.spans, face_px]
            for layer, face_px in self._layers
            if any(start < high and stop > low for start, stop in layer.spans)
        ]
        unanalysed = [span for span in self._unanalysed if span[0] < high and span[1] > low]
        return [self._frame_count, layers, unanalysed]

    def _list_frames(self, moment: Moment) -> tuple[int, ...]:
        if moment.frames:
            return moment.frames
        last = self._frame_count - 1
        low, high = math.floor(moment.position), math.ceil(moment.position)
        return tuple(sorted({min(max(low, 0), last), min(max(high, 0), last)}))


def _drop_repeated(outlines: list[Outline]) -> list[Outline]:
    """Without outlines that fill the same pixels: many frames may show one picture, with a face that stays in place."""
    different = {
        (np.round(one.polygon * (1 << _SUBPIXEL_BITS)).tobytes(), one.feather, one.face_px): one for one in outlines
    }
    return list(different.values())


def _outline(layer: LayerPlan, frame: float, face_px: float, growth: float = 1.0) -> Outline:
    points, feather = layer.outline_at(frame)
    polygon = flatten(points, _STEPS)
    centre = points[::3].mean(axis=0)
    return Outline(centre + (polygon - centre) * (_CURVE_BULGE * growth), feather, face_px)


def compute_largest_face_px(document: TrackDocument) -> float:
    """Width of the document's widest face, without the margin, and at least an eighth of the picture's height."""
    widths = [2 * sample.ellipse.rx for track in document.tracks for sample in track.samples]
    return max([document.source.height / 8, *widths])


def transform(outline: Outline, size: tuple[int, int], turn: int) -> Outline:
    """An outline of the shown picture in the stored one of `size` (width, height), which players turn by `turn` degrees
    clockwise (0, 90, 180 or 270)."""
    if turn == 0:
        return outline
    width, height = size
    x, y = outline.polygon[:, 0], outline.polygon[:, 1]
    if turn == 90:
        x, y = y, height - x
    elif turn == 180:
        x, y = width - x, height - y
    elif turn == 270:
        x, y = width - y, x
    return Outline(np.stack((x, y), axis=1), outline.feather, outline.face_px)


def clip(bounds: tuple[int, int, int, int], size: tuple[int, int], step: tuple[int, int] = (1, 1)) -> Any:
    """The part of `bounds` in a picture of `size`, aligned outwards to multiples of `step`; None if nothing is left."""
    x1, y1 = (max(0, low - low % part) for low, part in zip(bounds[:2], step, strict=True))
    x2, y2 = (min(side, high + -high % part) for high, side, part in zip(bounds[2:], size, step, strict=True))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def fill(outlines: Sequence[Outline], window: tuple[int, int, int, int]) -> Coverage:
    """The coverage by all outlines together in the window x1, y1, x2, y2 of the picture.

    Every pixel that a polygon touches is covered completely. Outside of it the coverage falls to 0 over the width of
    the soft edge, along the smooth curve that Blender's masks have.
    """
    import cv2

    x1, y1, x2, y2 = window
    coverage = np.zeros((y2 - y1, x2 - x1), np.uint8)
    scale = 1 << _SUBPIXEL_BITS
    for outline in outlines:
        part = clip(outline.bounds(), (x2, y2))
        if part is None or part[2] <= x1 or part[3] <= y1:
            continue
        left, top = max(part[0], x1), max(part[1], y1)
        polygon = np.round((outline.polygon - (left + 0.5, top + 0.5)) * scale).astype(np.int32)
        inside = np.zeros((part[3] - top, part[2] - left), np.uint8)
        cv2.fillPoly(inside, [polygon], 255, cv2.LINE_8, _SUBPIXEL_BITS)
        target = coverage[top - y1 : part[3] - y1, left - x1 : part[2] - x1]
        np.maximum(target, _soften(inside, outline.feather), out=target)
    return coverage


def _soften(inside: Coverage, feather: float) -> Coverage:
    """Add a soft edge of `feather` pixels around what is 255."""
    import cv2

    if feather < 0.5:
        return inside
    away = cv2.distanceTransform(255 - inside, cv2.DIST_L2, 3 if feather < 4 else 5)
    # Blender's edge begins at the first pixel that is not completely inside.
    edge = np.flatnonzero((away > 0) & (away < feather + 1))
    share = np.maximum(away.flat[edge] - 1, 0) / feather
    soft = inside.copy()
    soft.flat[edge] = 255 * (1 - share * share * (3 - 2 * share))
    return soft
