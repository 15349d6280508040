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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

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

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the whole picture."""

_NEAREST_BIAS = 10e3 * float(np.finfo(np.float32).eps)
"""How far Blender's compositor shifts a picture, in its own pixels, before it looks for the nearest pixel."""

_ROUNDED_UP = 0.01
"""What the node groups subtract from a size so that Blender does not round it up to a pixel more."""

_PIECE = 16384
"""How many values are converted at once; they stay in the processor's cache."""

_FEWEST_RESULTS, _FEWEST_VALUES = 8, 16
"""The smallest sides of the matrices into which a map is divided: smaller ones cost more in calls than they save."""

_STEPS_PER_LEVEL = 16
"""How many steps the table of the sRGB curve has between two levels of 8 bits."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a picture, the effect's margin included."""

    rgb: Floats | NDArray[np.uint8]
    """Height x width x 3, display-encoded (sRGB), 0..1, or in levels of 8 bits, 0..255."""
    shown: Floats
    """Height x width: 1 where the picture is shown, 0 under a cover, and values between in a soft edge."""
    origin: tuple[int, int]
    """Column and row, in the picture, of the first pixel."""
    picture: tuple[int, int]
    """Width and height of the whole picture."""
    face_px: float
    """Width, in pixels of the picture, of the face that sets the strength."""

    @property
    def box(self) -> Box:
        """The region in the picture."""
        (x, y), (height, width) = self.origin, self.shown.shape
        return x, y, x + width, y + height


class Effect(ABC):
    """Covers parts of a picture. Only what is under covers is meant to be seen."""

    uses_picture = True
    """Whether the result depends on `Region.rgb`, which may have any size and values otherwise."""

    uses_shown = False
    """Whether the result depends on `Region.shown`, and so on all covers of the picture."""

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        """How many pixels around a cover the region must contain, so that the cover looks as in the whole picture.

        At the picture's edge the region ends earlier.
        """
        return 0

    def paint(self, region: Region) -> Floats:
        """The covered picture in the whole region: height x width x 3, display-encoded, 0..1."""
        return self.paint_parts(region, [region.box])[0]

    @abstractmethod
    def paint_parts(self, region: Region, parts: Sequence[Box]) -> list[Floats]:
        """The covered picture in these parts of the region: height x width x 3 each, display-encoded, 0..1."""


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

    def paint_parts(self, region: Region, parts: Sequence[Box]) -> list[Floats]:
        return [np.tile(self._color, (y2 - y1, x2 - x1, 1)) for x1, y1, x2, y2 in parts]


class Mosaic(Effect):
    """Blocks, each the weighted mean of what it hides and of its surroundings."""

    def __init__(self, samples_per_face: float) -> None:
        self._samples_per_face = samples_per_face

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        return max(axis.reach for axis in _plan_axes(_plan_mosaic, picture, face_px, self._samples_per_face))

    def paint_parts(self, region: Region, parts: Sequence[Box]) -> list[Floats]:
        axes = _plan_axes(_plan_mosaic, region.picture, region.face_px, self._samples_per_face)
        columns, rows = _choose_samples(axes, parts)
        blocks = _encode(_reduce(axes, region.box, _decode(region.rgb), (columns, rows)))
        painted = []
        for x1, y1, x2, y2 in parts:
            wide = np.take(blocks, axes[0].enlarge.first[x1:x2] - columns.start, axis=1)
            painted.append(np.take(wide, axes[1].enlarge.first[y1:y2] - rows.start, axis=0))
        return painted


class Smooth(Effect):
    """A picture without edges, made of the samples that `plan` describes: blur and gaussian."""

    def __init__(self, plan: Plan, samples_per_face: float) -> None:
        self._plan = plan
        self._samples_per_face = samples_per_face

    def compute_margin(self, picture: tuple[int, int], face_px: float) -> int:
        return max(axis.reach for axis in _plan_axes(self._plan, picture, face_px, self._samples_per_face))

    def paint_parts(self, region: Region, parts: Sequence[Box]) -> list[Floats]:
        axes = _plan_axes(self._plan, region.picture, region.face_px, self._samples_per_face)
        chosen = _choose_samples(axes, parts)
        samples = _reduce(axes, region.box, _decode(region.rgb), chosen)
        return [_encode(_enlarge(axes, part, samples, chosen)) for part in parts]


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

    def paint_parts(self, region: Region, parts: Sequence[Box]) -> list[Floats]:
        axes = _plan_axes(_plan_samples, region.picture, region.face_px, self._samples_per_face)
        light = _decode(region.rgb)
        _weigh(light, region.shown)
        # What the region does not contain has no weight, like what is covered.
        every = slice(0, axes[0].reduce.count), slice(0, axes[1].reduce.count)
        samples, alpha = (
            _reduce(axes, region.box, values, every, whole=False) for values in (light, region.shown[..., None])
        )
        filled = _fill(np.concatenate((samples, alpha), axis=2))
        return [_encode(_enlarge(axes, part, filled, every)) for part in parts]


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

    def paint_parts(self, region: Region, parts: Sequence[Box]) -> list[Floats]:
        axes = _plan_axes(_plan_samples, region.picture, region.face_px, IMAGE.samples_per_face)
        chosen = _choose_samples(axes, [region.box])
        shown = _reduce(axes, region.box, region.shown[..., None], chosen)
        counts = axes[0].reduce.count, axes[1].reduce.count
        places = _measure_covers(shown[..., 0], (chosen[0].start, chosen[1].start), counts)
        return [self._lay(axes, part, _enlarge(axes, part, places, chosen)) for part in parts]

    def _lay(self, axes: tuple[_Axis, _Axis], part: Box, places: Floats) -> Floats:
        """The sticker over covers, which `places` describes for each pixel of the part as `_measure_covers` does."""
        import cv2

        height, width = self._sticker.shape[:2]
        at = []
        for axis, side in enumerate((width, height)):
            count, length = axes[axis].reduce.count, axes[axis].length
            here = (np.arange(part[axis], part[axis + 2], dtype=np.float32) + 0.5) / length
            away = ((here if axis == 0 else here[:, None]) - places[..., axis]) * np.float32(count)
            # In samples, then in diameters, then in pixels of the sticker, whose longer side is one diameter.
            at.append(_divide(away, places[..., 2]) * max(width, height) + (side - 1) / 2)
        laid = cv2.remap(self._sticker, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return _encode(laid[..., :3] + self._color * (1 - laid[..., 3:]))


@dataclass(frozen=True)
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

    @property
    def used(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The positions of the first and last value with a weight, for each result."""
        weighs = self.weights != 0
        return (
            self.first + weighs.argmax(axis=1),
            self.first + self.span - 1 - weighs[:, ::-1].argmax(axis=1),
        )

    def flip(self) -> _Band:
        """The same map with both the values and the results in reverse order."""
        return _Band(
            (self.length - self.span - self.first)[::-1], np.ascontiguousarray(self.weights[::-1, ::-1]), self.length
        )

    @cached_property
    def _step(self) -> int:
        """How many results are computed at once. A dense matrix of many would consist almost completely of zeros."""
        return max(_FEWEST_RESULTS, math.ceil(max(self.span, _FEWEST_VALUES) * self.count / self.length))

    @cached_property
    def _matrices(self) -> list[tuple[int, Floats]]:
        """For every `_step` results, the position of the first value that counts, and their weights as a matrix."""
        matrices = []
        for begin in range(0, self.count, self._step):
            first, weights = self.first[begin : begin + self._step], self.weights[begin : begin + self._step]
            low = max(int(first.min()), 0)
            high = min(int(first.max()) + self.span, self.length)
            at = first[:, None] + np.arange(self.span) - low
            inside = (at >= 0) & (at < high - low)
            matrix = np.zeros((len(first), high - low), np.float32)
            matrix[np.nonzero(inside)[0], at[inside]] = weights[inside]
            matrices.append((low, matrix))
        return matrices

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
        for number in range(results.start // self._step, -(-results.stop // self._step)):
            (first, matrix), base = self._matrices[number], number * self._step
            begin, end = max(results.start, base), min(results.stop, base + self._step)
            low = max(first, start)
            high = max(min(first + matrix.shape[1], stop), low)
            part = matrix[begin - base : end - base, low - first : high - first]
            if whole and part.shape[1] < matrix.shape[1]:
                part = part / np.maximum(part.sum(axis=1, keepdims=True), 1e-6)
            np.matmul(part, values[low - start : high - start], out=done[begin - results.start : end - results.start])
        return done


@dataclass(frozen=True)
class _Axis:
    """How pixels become samples along one axis of a picture, and samples pixels again."""

    reduce: _Band
    enlarge: _Band

    @property
    def length(self) -> int:
        """The number of pixels."""
        return self.reduce.length

    @cached_property
    def reach(self) -> int:
        """The greatest distance, in pixels, between a painted pixel and one that it depends on."""
        low, high = (self.reduce.used[side][used] for side, used in enumerate(self.enlarge.used))
        here = np.arange(self.enlarge.count)
        return int(max((here - low).max(), (high - here).max()))


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


@lru_cache(maxsize=512)  # A crowd has faces of very many sizes.
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


@lru_cache(maxsize=256)
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
    places = at + (np.arange(len(at)) * span - first)[:, None]
    summed = np.bincount(places.ravel(), np.broadcast_to(weights, at.shape).ravel(), len(at) * span)
    return _Band(first, summed.reshape(len(at), span).astype(np.float32), length)


def _choose_samples(axes: tuple[_Axis, _Axis], parts: Sequence[Box]) -> tuple[slice, slice]:
    """The columns and rows of samples that the pixels of all parts need."""
    x1, y1, x2, y2 = zip(*parts, strict=True)
    return (
        axes[0].enlarge.choose_values(slice(min(x1), max(x2))),
        axes[1].enlarge.choose_values(slice(min(y1), max(y2))),
    )


def _reduce(
    axes: tuple[_Axis, _Axis], box: Box, values: Floats, chosen: tuple[slice, slice], whole: bool = True
) -> Floats:
    """The chosen columns and rows of samples, made of the `values` (height x width x channels) in `box`. For `whole`
    see `_Band.apply`."""
    height, width, channels = values.shape
    reduced = axes[1].reduce.apply(values.reshape(height, width * channels), box[1], chosen[1], whole)
    turned = _swap(reduced.reshape(-1, width, channels))
    reduced = axes[0].reduce.apply(turned.reshape(width, -1), box[0], chosen[0], whole)
    return _swap(reduced.reshape(len(reduced), -1, channels))


def _enlarge(axes: tuple[_Axis, _Axis], part: Box, samples: Floats, chosen: tuple[slice, slice]) -> Floats:
    """The part's pixels, made of `samples` (rows x columns x channels): the chosen columns and rows of the grid."""
    x1, y1, x2, y2 = part
    rows, columns, channels = samples.shape
    wide = axes[0].enlarge.apply(_swap(samples).reshape(columns, -1), chosen[0].start, slice(x1, x2))
    turned = _swap(wide.reshape(-1, rows, channels))
    pixels = axes[1].enlarge.apply(turned.reshape(rows, -1), chosen[1].start, slice(y1, y2))
    return pixels.reshape(y2 - y1, x2 - x1, channels)


def _swap(values: Floats) -> Floats:
    """Rows x columns x channels as columns x rows x channels."""
    return np.ascontiguousarray(values.transpose(1, 0, 2))


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
    turned = _swap(upright.reshape(-1, width, channels))
    scaled = columns.apply(turned.reshape(width, -1), 0, slice(0, columns.count))
    return _swap(scaled.reshape(columns.count, -1, channels))


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


def _weigh(light: Floats, shown: Floats) -> None:
    """Multiply `light` (height x width x 3) by `shown` (height x width)."""
    import cv2

    # In pieces, because most of a picture is shown completely.
    step = math.ceil(_PIECE / shown.shape[1])
    for start in range(0, len(shown), step):
        share, part = shown[start : start + step], light[start : start + step]
        if share.min() < 1:
            cv2.multiply(part, cv2.merge([share] * 3), dst=part)


def _divide(values: Floats, by: Floats) -> Floats:
    """As Blender's Math node divides: 0 for a division by zero."""
    return np.divide(values, by, out=np.zeros_like(values), where=by != 0)


def _decode(rgb: Floats | NDArray[np.uint8]) -> Floats:
    """Display-encoded values (0..1, or levels of 8 bits) in scene-linear light."""
    import cv2

    if rgb.dtype == np.uint8:
        return np.asarray(cv2.LUT(rgb, _make_decoding()[::_STEPS_PER_LEVEL]), np.float32)
    return _look_up(_make_decoding(), rgb.astype(np.float32, copy=False))


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
    """The sRGB curve. The levels of 8 bits are exact."""
    x = np.arange(255 * _STEPS_PER_LEVEL + 1) / (255 * _STEPS_PER_LEVEL)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


@cache
def _make_encoding() -> Floats:
    """The inverse curve, in steps of less than 1/20 of a level of 8 bits where it is steepest."""
    x = np.arange(65536) / 65535
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055).astype(np.float32)
