# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects that cover faces, computed as Blender's compositor computes the node groups of `blender/cover/effects`.

Like the node groups, an effect covers everything that it is given; the caller shows the result only under covers.
Colours are mixed in scene-linear light. The samples belong to a grid of the whole picture, so they do not depend on the
region that is painted.

Everything but the filling of `erase` and the places of `image` is linear and separable: each sample is a weighted sum
of rows and columns, and each painted pixel a weighted sum of samples. `_Band` holds such weights for one axis.

All sizes are rounded as in Blender 5.2. Blender 5.0 gives the same results for pictures with even sides; in others it
stretches the samples by up to one column or row (tests/blender/test_painted_effects.py).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..core.cover.effects import (
    BLUR,
    ERASE,
    GAUSSIAN,
    IMAGE,
    KERNEL_RADIUS,
    MOSAIC,
    EffectSettings,
    compute_grid,
    compute_halvings,
    to_linear,
)
from ..core.types import FaceBlurError

Floats = NDArray[np.float32]

_NEAREST_BIAS = 10e3 * float(np.finfo(np.float32).eps)
"""How far Blender's compositor shifts a picture, in its own pixels, before it looks for the nearest pixel."""

_ROUNDED_UP = 0.01
"""What the node groups subtract from a size so that Blender does not round it up to a pixel more."""

_PIECE = 16384
"""How many values are converted at once; they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a picture, the effect's margin included."""

    rgb: Floats
    """Height x width x 3, display-encoded (sRGB), 0..1."""
    shown: Floats
    """Height x width: 1 where the picture is shown, 0 under a cover, and values between in a soft edge."""
    origin: tuple[int, int]
    """Column and row, in the picture, of the first pixel."""
    picture: tuple[int, int]
    """Width and height of the whole picture."""
    face_px: float
    """Width, in pixels of the picture, of the face that sets the strength."""

    @property
    def columns(self) -> slice:
        """The region's columns in the picture."""
        return slice(self.origin[0], self.origin[0] + self.shown.shape[1])

    @property
    def rows(self) -> slice:
        """The region's rows in the picture."""
        return slice(self.origin[1], self.origin[1] + self.shown.shape[0])


class Effect(ABC):
    """Covers a whole region. Only the part of the result that is under covers is meant to be seen."""

    uses_picture = True
    """Whether the result depends on `Region.rgb`, which may have any values otherwise."""

    uses_shown = False
    """Whether the result depends on `Region.shown`, and so on all covers of the picture."""

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        """How many pixels around a cover the region must contain, so that the cover looks as in the whole picture.

        At the picture's edge the region ends earlier.
        """
        return 0

    @abstractmethod
    def paint(self, region: Region) -> Floats:
        """The covered picture: height x width x 3, display-encoded, 0..1."""


def make_effect(settings: EffectSettings, sticker: NDArray[np.uint8] | None = None) -> Effect:
    """The effect of these settings.

    `sticker` is the picture of the effect "image": height x width x 4, sRGB with straight alpha, or without alpha
    height x width x 3. The settings' `image` and `inverse` are up to the caller. Raises FaceBlurError if the kind is
    unknown or the colour is not one.
    """
    to_linear(settings.color)
    makers: dict[str, Callable[[], Effect]] = {
        "mosaic": lambda: Mosaic(settings.samples_across),
        "blur": lambda: Smooth(_plan_blur, settings.samples_across),
        "solid": lambda: Solid(settings.color),
        "erase": lambda: Erase(settings.samples_across),
        "gaussian": lambda: Smooth(_plan_gaussian, settings.samples_across),
        "image": lambda: Image(settings.color, sticker) if sticker is not None else Solid(settings.color),
    }
    if settings.kind not in makers:
        raise FaceBlurError(f"There is no effect '{settings.kind}'. Choose from {', '.join(makers)}.")
    return makers[settings.kind]()


class Solid(Effect):
    """One colour that contains nothing of the face."""

    uses_picture = False

    def __init__(self, color: str) -> None:
        self._color = np.array([int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)

    def paint(self, region: Region) -> Floats:
        return np.tile(self._color, (*region.shown.shape, 1))


class Mosaic(Effect):
    """Blocks, each the weighted mean of what it hides and of its surroundings."""

    def __init__(self, samples_per_face: float) -> None:
        self._samples_per_face = samples_per_face

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        return max(axis.reach for axis in _plan_axes(_plan_mosaic, picture, face_px, self._samples_per_face))

    def paint(self, region: Region) -> Floats:
        axes = _plan_axes(_plan_mosaic, region.picture, region.face_px, self._samples_per_face)
        samples, origin = _reduce(axes, region, _decode(region.rgb))
        columns, rows = (
            axis.enlarge.first[part] - start
            for axis, part, start in zip(axes, (region.columns, region.rows), origin, strict=True)
        )
        return np.asarray(_encode(samples)[rows][:, columns])


class Smooth(Effect):
    """A picture without edges, made of the samples that `plan` describes: blur and gaussian."""

    def __init__(self, plan: Plan, samples_per_face: float) -> None:
        self._plan = plan
        self._samples_per_face = samples_per_face

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        return max(axis.reach for axis in _plan_axes(self._plan, picture, face_px, self._samples_per_face))

    def paint(self, region: Region) -> Floats:
        axes = _plan_axes(self._plan, region.picture, region.face_px, self._samples_per_face)
        samples, origin = _reduce(axes, region, _decode(region.rgb))
        return _encode(_enlarge(axes, region, samples, origin))


class Erase(Effect):
    """Fills covers from their surroundings, so that nothing of the face remains.

    Covered pixels have no weight when the picture is reduced. When it is enlarged again, they are filled from the next
    coarser level (Burt, "Moment images", 1988).
    """

    uses_shown = True

    def __init__(self, samples_per_face: float) -> None:
        self._samples_per_face = samples_per_face

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        # A sample of the last level is wider than most pictures are high, and may fill a part of any cover.
        return max(picture)

    def paint(self, region: Region) -> Floats:
        axes = _plan_axes(_plan_samples, region.picture, region.face_px, self._samples_per_face)
        weighed = np.empty((*region.shown.shape, 4), np.float32)
        np.multiply(_decode(region.rgb), region.shown[..., None], out=weighed[..., :3])
        weighed[..., 3] = region.shown
        # What the region does not contain has no weight, like what is covered.
        part, (left, top) = _reduce(axes, region, weighed, whole=False)
        samples = np.zeros((axes[1].reduce.count, axes[0].reduce.count, 4), np.float32)
        samples[top : top + part.shape[0], left : left + part.shape[1]] = part
        return _encode(_enlarge(axes, region, _fill(samples), (0, 0)))


class Image(Effect):
    """The editor's picture over each face, on a background colour.

    Around each sample, the covered samples and their positions are summed: the mean position is the centre of the
    cover, the number of samples its area. The rest of a cover has the background colour.
    """

    uses_picture = False
    uses_shown = True

    def __init__(self, color: str, sticker: NDArray[np.uint8]) -> None:
        self._color = np.array(to_linear(color)[:3], np.float32)
        self._sticker = np.ones((*sticker.shape[:2], 4), np.float32)
        self._sticker[..., : sticker.shape[2]] = sticker / np.float32(255)
        self._sticker[..., :3] = _decode(self._sticker[..., :3]) * self._sticker[..., 3:]

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        axes = _plan_axes(_plan_samples, picture, face_px, IMAGE.samples_per_face)
        return max(axis.reach + math.ceil(max(IMAGE.windows) * axis.length / axis.reduce.count) for axis in axes)

    def paint(self, region: Region) -> Floats:
        import cv2

        axes = _plan_axes(_plan_samples, region.picture, region.face_px, IMAGE.samples_per_face)
        shown, origin = _reduce(axes, region, region.shown[..., None])
        counts = axes[0].reduce.count, axes[1].reduce.count
        places = _enlarge(axes, region, _measure_covers(shown[..., 0], origin, counts), origin)
        height, width = self._sticker.shape[:2]
        at = []
        for axis, part, count, side in zip((0, 1), (region.columns, region.rows), counts, (width, height), strict=True):
            here = (np.arange(part.start, part.stop, dtype=np.float32) + 0.5) / region.picture[axis]
            away = ((here if axis == 0 else here[:, None]) - places[..., axis]) * np.float32(count)
            # In samples, then in diameters, then in pixels of the sticker, whose longer side is one diameter.
            at.append(_divide(away, places[..., 2]) * max(width, height) + (side - 1) / 2)
        laid = cv2.remap(self._sticker, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return _encode(laid[..., :3] + self._color * (1 - laid[..., 3:]))


@dataclass(frozen=True, slots=True)
class _Band:
    """A linear map along one axis. Each result is a weighted sum of neighbouring values."""

    first: NDArray[np.intp]
    """Count: the position of the first value that counts for each result."""
    weights: Floats
    """Count x span: the weights of that value and the next ones. Beyond the end of the values they are 0."""
    length: int
    """The number of values."""

    @property
    def count(self) -> int:
        return len(self.first)

    @property
    def span(self) -> int:
        return self.weights.shape[1]

    def flip(self) -> _Band:
        """The same map with both the values and the results in reverse order."""
        return _Band(
            (self.length - self.span - self.first)[::-1], np.ascontiguousarray(self.weights[::-1, ::-1]), self.length
        )

    def choose_values(self, results: slice) -> slice:
        """The values that these results depend on."""
        first = self.first[results]
        return slice(max(int(first.min()), 0), min(int(first.max()) + self.span, self.length))

    def apply(self, values: Floats, start: int, results: slice, whole: bool = True) -> Floats:
        """The chosen results of `values` (N x M), which begin at position `start`: R x M.

        Where values are missing, a result is the mean of those that are there if `whole` is set; otherwise the missing
        ones count as 0.
        """
        stop = start + len(values)
        done = np.empty((results.stop - results.start, values.shape[1]), np.float32)
        # A dense matrix of many results would consist almost completely of zeros.
        step = max(8, math.ceil(2 * self.span * self.count / self.length))
        for begin in range(results.start, results.stop, step):
            end = min(begin + step, results.stop)
            low = max(int(self.first[begin:end].min()), start)
            high = max(min(int(self.first[begin:end].max()) + self.span, stop), low)
            at = self.first[begin:end, None] + np.arange(self.span) - low
            inside = (at >= 0) & (at < high - low)
            matrix = np.zeros((end - begin, high - low), np.float32)
            matrix[np.nonzero(inside)[0], at[inside]] = self.weights[begin:end][inside]
            if whole:
                matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1e-6)
            np.matmul(matrix, values[low - start : high - start], out=done[begin - results.start : end - results.start])
        return done


@dataclass(frozen=True, slots=True)
class _Axis:
    """How pixels become samples along one axis of a picture, and samples pixels again."""

    reduce: _Band
    enlarge: _Band

    @property
    def length(self) -> int:
        """The number of pixels."""
        return self.reduce.length

    @property
    def reach(self) -> int:
        """The greatest distance, in pixels, between a painted pixel and one that it depends on."""
        first, weights = self.enlarge.first, self.enlarge.weights != 0
        used = first[:, None] + np.arange(self.enlarge.span)
        low = np.where(weights, used, self.reduce.count).min(axis=1)
        high = np.where(weights, used, -1).max(axis=1)
        here = np.arange(self.enlarge.count)
        before = here - self.reduce.first[low]
        after = self.reduce.first[high] + self.reduce.span - 1 - here
        return int(max(before.max(), after.max()))


Plan = Callable[[int, int, int], _Axis]
"""An axis from its pixels, its samples and the number of halvings, counted as in Blender: columns from the left, rows
from below."""


def _plan_mosaic(length: int, count: int, halvings: int) -> _Axis:
    finer = min(MOSAIC.finer, halvings)
    samples = _plan_reduction(length, count, halvings, finer)
    samples = _chain(samples, _plan_kernel(samples.count, KERNEL_RADIUS * MOSAIC.spread * 2**finer))
    for _ in range(finer):
        samples = _chain(samples, _plan_scaling(samples.count, 0.5))
    # As in `_plan_enlargement`, the middle is that of an even size.
    middles = (np.arange(length) + 0.5 - (length + (length & 1)) / 2) * samples.count / length + samples.count / 2
    nearest = np.clip(np.floor(middles - _NEAREST_BIAS), 0, samples.count - 1).astype(np.intp)
    return _Axis(samples, _Band(nearest, np.ones((length, 1), np.float32), samples.count))


def _plan_blur(length: int, count: int, halvings: int) -> _Axis:
    samples = _plan_reduction(length, count, halvings)
    curve = _plan_scaling(samples.count, BLUR.points_per_sample, smooth=True)
    return _Axis(samples, _chain(curve, _plan_enlargement(curve.count, length)))


def _plan_gaussian(length: int, count: int, halvings: int) -> _Axis:
    finer = min(GAUSSIAN.finer, halvings)
    points = _plan_reduction(length, count, halvings, finer)
    blurred = _chain(points, _plan_kernel(points.count, KERNEL_RADIUS * 2**finer))
    return _Axis(blurred, _plan_enlargement(points.count, length))


def _plan_samples(length: int, count: int, halvings: int) -> _Axis:
    samples = _plan_reduction(length, count, halvings)
    return _Axis(samples, _plan_enlargement(samples.count, length))


def _plan_axes(plan: Plan, picture: tuple[int, int], face_px: float, samples_per_face: float) -> tuple[_Axis, _Axis]:
    """The axes of the columns and rows, from the left and from above."""
    columns, rows = compute_grid(picture, face_px, samples_per_face)
    halvings = compute_halvings(picture, columns, rows)
    return _plan_axis(plan, picture[0], columns, halvings, False), _plan_axis(plan, picture[1], rows, halvings, True)


@lru_cache(maxsize=32)
def _plan_axis(plan: Plan, length: int, count: int, halvings: int, from_above: bool) -> _Axis:
    axis = plan(length, count, halvings)
    # Blender counts rows from below, which matters where it shifts a picture by half a pixel.
    return _Axis(axis.reduce.flip(), axis.enlarge.flip()) if from_above else axis


def _plan_reduction(length: int, count: int, halvings: int, finer: int = 0) -> _Band:
    """`length` pixels reduced to `count` samples, each the mean of its area, or to 2**finer times as many points."""
    samples = _plan_scaling(length, ((count << halvings) - _ROUNDED_UP) / length)
    for _ in range(halvings - finer):
        samples = _chain(samples, _plan_scaling(samples.count, 0.5))
    return samples


def _plan_enlargement(length: int, count: int) -> _Band:
    """`length` points enlarged to `count` pixels."""
    # Blender enlarges to an even size and cuts off the last pixel if `count` is odd.
    band = _plan_scaling(length, count / length, count + (count & 1))
    return _Band(band.first[:count], band.weights[:count], length)


@lru_cache(maxsize=256)
def _plan_scaling(length: int, scale: float, count: int = 0, smooth: bool = False) -> _Band:
    """Blender's scaling by `scale` around the middle, cut off or extended to `count` points if that is given.

    It samples the picture at points, bilinearly or, with `smooth`, by cubic B-splines, and extends it at its edges. If
    one of the sizes is even and the other odd, it shifts the picture by half a pixel.
    """
    count = count or _count_points(length, scale)
    shift = 0.5 if (length ^ count) & 1 else 0.0
    at = (np.arange(count) + 0.5 - count / 2) / scale + length / 2 + shift - 0.5
    base = np.floor(at)
    t = at - base
    if smooth:
        steps = np.array((-1, 0, 1, 2))
        weights = np.stack(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3), axis=1) / 6
    else:
        steps = np.array((0, 1))
        weights = np.stack((1 - t, t), axis=1)
    return _gather(base[:, None].astype(np.intp) + steps, weights, length)


def _count_points(length: int, scale: float) -> int:
    """The size that Blender gives to a scaled picture: it rounds both halves up, so the size is even."""
    return 2 * math.ceil(length * scale / 2)


def _plan_kernel(count: int, radius: float) -> _Band:
    """Blender's Gaussian blur of `radius` pixels. It extends the picture at its edges."""
    side = math.ceil(radius)
    steps = np.arange(-side, side + 1)
    weights = np.exp(-((KERNEL_RADIUS * steps / radius) ** 2) / 2)
    return _gather(np.arange(count)[:, None] + steps, np.tile(weights / weights.sum(), (count, 1)), count)


def _chain(first: _Band, then: _Band) -> _Band:
    """The map that does `first` and `then`."""
    between = np.minimum(then.first[:, None] + np.arange(then.span), first.count - 1)
    at = first.first[between][..., None] + np.arange(first.span)
    weights = then.weights[..., None] * first.weights[between]
    return _gather(at.reshape(then.count, -1), weights.reshape(then.count, -1), first.length)


def _gather(at: NDArray[np.intp], weights: NDArray[np.float64], length: int) -> _Band:
    """A map whose results are sums of values at the positions `at` (count x N), which are moved into 0..length - 1."""
    at = np.clip(at, 0, length - 1)
    first = at.min(axis=1)
    span = int((at.max(axis=1) - first).max()) + 1
    summed = np.zeros((len(at), span))
    np.add.at(summed, (np.arange(len(at))[:, None], at - first[:, None]), weights)
    return _Band(first, summed.astype(np.float32), length)


def _reduce(
    axes: tuple[_Axis, _Axis], region: Region, values: Floats, whole: bool = True
) -> tuple[Floats, tuple[int, int]]:
    """The samples that the region's pixels need, made of `values` (height x width x channels) there, and the column and
    row of the first. For `whole` see `_Band.apply`."""
    columns = axes[0].enlarge.choose_values(region.columns)
    rows = axes[1].enlarge.choose_values(region.rows)
    height, width, channels = values.shape
    reduced = axes[1].reduce.apply(values.reshape(height, width * channels), region.rows.start, rows, whole)
    turned = np.ascontiguousarray(reduced.reshape(-1, width, channels).transpose(1, 0, 2)).reshape(width, -1)
    reduced = axes[0].reduce.apply(turned, region.columns.start, columns, whole)
    return (
        np.ascontiguousarray(reduced.reshape(len(reduced), -1, channels).transpose(1, 0, 2)),
        (columns.start, rows.start),
    )


def _enlarge(axes: tuple[_Axis, _Axis], region: Region, samples: Floats, origin: tuple[int, int]) -> Floats:
    """The region's pixels, made of `samples` (rows x columns x channels), which begin at `origin` of the grid."""
    rows, columns, channels = samples.shape
    turned = np.ascontiguousarray(samples.transpose(1, 0, 2)).reshape(columns, rows * channels)
    wide = axes[0].enlarge.apply(turned, origin[0], region.columns)
    turned = np.ascontiguousarray(wide.reshape(-1, rows, channels).transpose(1, 0, 2)).reshape(rows, -1)
    return axes[1].enlarge.apply(turned, origin[1], region.rows).reshape(*region.shown.shape, channels)


def _fill(samples: Floats) -> Floats:
    """`samples` (rows x columns x 4, multiplied by their alpha) on top of ever coarser means of themselves.

    The result has three channels and no holes.
    """
    levels = [samples]
    for _ in range(ERASE.levels):
        rows, columns = (_plan_scaling(side, 0.5) for side in levels[-1].shape[:2])
        levels.append(_scale(levels[-1], rows, columns))
    alpha = levels[-1][..., 3:]
    filled = np.where(alpha > 0, _divide(levels[-1][..., :3], alpha), levels[-1][..., :3])
    for finer in reversed(levels[:-1]):
        rows, columns = (_plan_enlargement(*sides) for sides in zip(filled.shape[:2], finer.shape[:2], strict=True))
        filled = _scale(filled, rows, columns) * (1 - finer[..., 3:]) + finer[..., :3]
    return np.asarray(filled, np.float32)


def _scale(values: Floats, rows: _Band, columns: _Band) -> Floats:
    """`values` (rows x columns x channels), both axes of which are scaled."""
    height, width, channels = values.shape
    upright = rows.apply(values.reshape(height, -1), 0, slice(0, rows.count))
    turned = np.ascontiguousarray(upright.reshape(-1, width, channels).transpose(1, 0, 2)).reshape(width, -1)
    scaled = columns.apply(turned, 0, slice(0, columns.count))
    return np.ascontiguousarray(scaled.reshape(columns.count, -1, channels).transpose(1, 0, 2))


def _measure_covers(shown: Floats, origin: tuple[int, int], counts: tuple[int, int]) -> Floats:
    """For each sample, the cover around it: centre (x and y, 0..1 of the picture) and diameter in samples.

    `shown` is a part of the grid of `counts` (columns, rows) samples that begins at the sample `origin`; the result has
    its size and three channels.
    """
    import cv2

    x, y = (
        (np.arange(start, start + size, dtype=np.float32) + 0.5) / count
        for start, size, count in zip(origin, shown.shape[::-1], counts, strict=True)
    )
    covered = 1 - shown
    # The node group leaves out the samples at the picture's edge, because its blur extends them outwards.
    covered[:, np.abs(x - 0.5) >= 0.5 - 0.75 / counts[0]] = 0
    covered[np.abs(y - 0.5) >= 0.5 - 0.75 / counts[1]] = 0
    weighed = np.stack((covered * x, covered * y[:, None], covered), axis=-1)
    areas, places = [], []
    for reach in IMAGE.windows:
        side = 2 * reach + 1
        summed = cv2.boxFilter(weighed, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        # Running sums leave traces where nothing is covered.
        area = np.where(summed[..., 2] > 1e-4, summed[..., 2], 0)
        middle = _divide(summed[..., :2], area[..., None])
        areas.append(area)
        places.append(np.dstack((middle, np.sqrt(area) * (IMAGE.share * 2 / math.sqrt(math.pi)))))
    chosen = places[-1]
    for number in reversed(range(len(IMAGE.windows) - 1)):
        alone = areas[number + 1] < areas[number] * IMAGE.alone
        chosen = np.where(alone[..., None], places[number], chosen)
    return np.asarray(chosen, np.float32)


def _divide(values: Floats, by: Floats) -> Floats:
    """As Blender's Math node divides: 0 for a division by zero."""
    return np.divide(values, by, out=np.zeros_like(values), where=by != 0)


def _decode(rgb: Floats) -> Floats:
    """Display-encoded values (0..1) in scene-linear light."""
    return _look_up(_make_decoding(), rgb)


def _encode(linear: Floats) -> Floats:
    """Scene-linear values, display-encoded, 0..1."""
    return _look_up(_make_encoding(), linear)


def _look_up(table: Floats, values: Floats) -> Floats:
    """The entries of `table`, which stand for 0..1, that are nearest to `values`."""
    found = np.empty(values.shape, np.float32)
    source, target = np.ascontiguousarray(values).reshape(-1), found.reshape(-1)
    # In pieces, because fresh memory for intermediate results of this size costs more than the work.
    scaled, at = np.empty(_PIECE, np.float32), np.empty(_PIECE, np.intp)
    for start in range(0, len(source), _PIECE):
        piece = source[start : start + _PIECE]
        some = slice(0, len(piece))
        np.multiply(piece, np.float32(len(table) - 1), out=scaled[some])
        scaled[some] += np.float32(0.5)
        at[some] = scaled[some]
        np.take(table, at[some], out=target[start : start + _PIECE], mode="clip")
    return found


@cache
def _make_decoding() -> Floats:
    """The sRGB curve. The levels of 8 bits are exact; there are 16 steps between two of them."""
    x = np.arange(255 * 16 + 1) / (255 * 16)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _make_encoding() -> Floats:
    """The inverse curve, in steps of less than 1/20 of a level of 8 bits where it is steepest."""
    x = np.arange(65536) / 65535
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055).astype(np.float32)
