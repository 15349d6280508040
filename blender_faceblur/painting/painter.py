# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint covers into one decoded picture. Every sample outside of the covers and their soft edges keeps its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.cover.effects import EffectSettings
from .colors import CodeSpace, cut_chroma, encode_srgb, read_samples
from .covers import Coverage, Outline, clip, fill, transform
from .effects import Box, Effect, Region, Solid, make_effect
from .formats import PlanarFormat, Plane, choose_planar, list_planes, rearrange

_INVERSE_EDGE = 8
"""An inverse cover shows the innermost 1 / 8 of the soft edge, as the node group "Face Blur Inverse" does."""

_SHOWN = (1 - np.arange(256) / 255).astype(np.float32)
"""How much is shown of a pixel, by its coverage."""

_NOTHING = np.zeros((1, 1, 3), np.float32)


class Painter:
    """Paints the covers of one film with one effect.

    `turn` is the number of degrees clockwise (0, 90, 180, 270) by which players turn the stored pictures; outlines are
    those of the turned picture. `largest_face_px` sets the strength where a whole picture is covered.
    """

    def __init__(
        self,
        settings: EffectSettings,
        largest_face_px: float,
        turn: int = 0,
        sticker: NDArray[np.uint8] | None = None,
    ) -> None:
        self._settings, self._largest_face_px, self._turn = settings, largest_face_px, turn
        self._effect: Effect = make_effect(settings, sticker)

    @property
    def paints_together(self) -> bool:
        """Whether all covers of a picture get one strength, that of the largest face."""
        return self._effect.uses_shown or self._settings.inverse

    def paint(self, frame: Any, outlines: Sequence[Outline], everything: bool = False) -> Any:
        """The frame with its covers, in a planar format with the samples of its own; it may be the same object.

        With `everything` the whole picture is covered. Raises FaceBlurError for pixel formats that cannot be painted.
        """
        planar = choose_planar(frame.format.name)
        painted = rearrange(frame, planar)
        if not outlines and not everything and not self._settings.inverse:
            return painted
        # The decoder still needs the original for the pictures that refer to it.
        painted.make_writable()
        planes = list_planes(painted, planar)
        size = (painted.width, painted.height)
        space = CodeSpace.of(painted, planar)
        # Where covers overlap, the one for the largest face comes last: finer samples must not show a part of it.
        ordered = sorted(outlines, key=lambda outline: outline.face_px)
        stored = [transform(outline, size, self._turn) for outline in ordered]
        step = _compute_step(painted, planar)
        whole = (0, 0, *size)

        def fill_all(box: Box) -> Coverage:
            """The coverage of a part of the picture by all of its covers."""
            if everything:
                return np.full((box[3] - box[1], box[2] - box[0]), 255, np.uint8)
            coverage = fill([outline for outline in stored if _meets(outline.bounds(), box)], box)
            if not self._settings.inverse:
                return coverage
            return np.minimum((255 - coverage).astype(np.uint16) * _INVERSE_EDGE, 255).astype(np.uint8)

        # Each group of parts is painted together, with one strength.
        groups: list[tuple[list[tuple[Box, Coverage]], float]] = []
        if everything or self._settings.inverse:
            groups.append(([(whole, fill_all(whole))], self._largest_face_px))
        elif self._effect.uses_shown:
            parts = [(window, fill(near, window)) for window, near in _gather(stored, size, step)]
            groups.append((parts, self._largest_face_px))
        else:
            windows = [(outline, clip(outline.bounds(), size, step)) for outline in stored]
            groups += [([(window, fill([outline], window))], outline.face_px) for outline, window in windows if window]
        # All covers are computed from the original samples before the first is painted.
        jobs = []
        for parts, face_px in groups:
            covers = self._cover(painted, planes, space, fill_all, [window for window, _ in parts], face_px)
            jobs += [(window, coverage, cover) for (window, coverage), cover in zip(parts, covers, strict=True)]
        for window, coverage, cover in jobs:
            _blend(planes, space, window, coverage, cover, step)
        return painted

    def _cover(
        self,
        frame: Any,
        planes: list[Plane],
        space: CodeSpace,
        fill_all: Callable[[Box], Coverage],
        windows: Sequence[Box],
        face_px: float,
    ) -> list[list[Any]]:
        """For each window, the samples of the covered picture at full resolution; a single value each for one colour.

        `fill_all` gives the coverage of a part of the picture by all of its covers.
        """
        import cv2

        if not windows:
            return []
        if isinstance(self._effect, Solid):
            color = self._effect.paint(Region(_NOTHING, _NOTHING[..., 0], (0, 0), (1, 1), face_px))
            return [space.to_codes(encode_srgb(color, frame))] * len(windows)
        size = (frame.width, frame.height)
        turned_size = _turn_size(size, self._turn)
        margin = self._effect.compute_margin(turned_size, face_px)
        x1, y1, x2, y2 = _surround(windows)
        box: Box = clip((x1 - margin, y1 - margin, x2 + margin, y2 + margin), size, _compute_step(frame, space.planar))
        rgb: Any = _NOTHING
        if self._effect.uses_picture:
            rgb = space.to_rgb(read_samples(planes, box, space.planar))
        shown: Any = np.broadcast_to(np.float32(1), (box[3] - box[1], box[2] - box[0]))
        if self._effect.uses_shown:
            shown = cv2.LUT(fill_all(box), _SHOWN)
        # The effect is computed in the orientation in which the picture is shown.
        quarters = -self._turn // 90 % 4
        region = Region(
            np.ascontiguousarray(np.rot90(rgb, quarters)),
            np.rot90(shown, quarters),
            self._turn_box(box, size)[:2],
            turned_size,
            face_px,
        )
        parts = self._effect.paint_parts(region, [self._turn_box(window, size) for window in windows])
        covers = [np.ascontiguousarray(np.rot90(part, -quarters)) for part in parts]
        return [space.to_codes(cover if self._effect.uses_picture else encode_srgb(cover, frame)) for cover in covers]

    def _turn_box(self, box: Box, size: tuple[int, int]) -> Box:
        """Where a box of the stored picture of `size` lies in the shown picture."""
        (width, height), (x1, y1, x2, y2) = size, box
        boxes = {
            0: box,
            90: (height - y2, x1, height - y1, x2),
            180: (width - x2, height - y2, width - x1, height - y1),
            270: (y1, width - x2, y2, width - x1),
        }
        return boxes[self._turn]


def _gather(
    outlines: Sequence[Outline], size: tuple[int, int], step: tuple[int, int]
) -> list[tuple[Box, list[Outline]]]:
    """Windows of the picture that do not meet, and the outlines in each."""
    windows: list[tuple[Box, list[Outline]]] = []
    for outline in outlines:
        window, members = clip(outline.bounds(), size, step), [outline]
        if window is None:
            continue
        # A window that has grown may meet others.
        while meeting := [other for other in windows if _meets(other[0], window)]:
            windows = [other for other in windows if other not in meeting]
            window = _surround([window, *(other for other, _ in meeting)])
            members += [member for _, others in meeting for member in others]
        windows.append((window, members))
    return windows


def _turn_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    return size[::-1] if turn in (90, 270) else size


def _surround(boxes: Sequence[Box]) -> Box:
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def _meets(one: Box, other: Box) -> bool:
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def _compute_step(frame: Any, planar: PlanarFormat) -> tuple[int, int]:
    """Columns and rows of the picture that share chroma samples. In interlaced pictures, fields alternate row by row,
    so that two chroma rows belong to four rows together."""
    x_shift, y_shift = planar.chroma_shift
    return 1 << x_shift, (1 << y_shift) * (2 if y_shift and frame.interlaced_frame else 1)


def _blend(
    planes: list[Plane],
    space: CodeSpace,
    window: Box,
    coverage: Coverage,
    cover: list[Any],
    step: tuple[int, int],
) -> None:
    """Mix the cover's samples (full resolution, or 1 x 1) into the planes."""
    import cv2

    x1, y1, x2, y2 = window
    planar = space.planar
    _mix(planes[0][y1:y2, x1:x2], cover[0], coverage, space.opaque)
    if len(cover) == 3:
        rows, columns = cut_chroma(window, planar)
        pooled = _pool(coverage, planar, step)
        for plane, full in zip(planes[1:3], cover[1:], strict=True):
            target = plane[rows, columns]
            fits = full.size == 1 or full.shape == target.shape
            samples = full if fits else cv2.resize(full, target.shape[::-1], interpolation=cv2.INTER_AREA)
            _mix(target, samples, pooled, space.opaque)
    if planar.has_alpha:
        # A transparent cover would let the outline of the person show.
        opaque = np.full((1, 1), space.opaque, np.float32)
        _mix(planes[-1][y1:y2, x1:x2], opaque, coverage, space.opaque)


def _pool(coverage: Coverage, planar: PlanarFormat, step: tuple[int, int]) -> Coverage:
    """The coverage of chroma samples: that of the most covered pixel to which a sample belongs."""
    x_shift, y_shift = planar.chroma_shift
    columns, rows = step
    height, width = coverage.shape
    pooled = coverage
    if height % rows or width % columns:
        pooled = np.pad(coverage, ((0, -height % rows), (0, -width % columns)))
    pooled = reduce(np.maximum, (pooled[:, first::columns] for first in range(columns)))
    pooled = reduce(np.maximum, (pooled[first::rows] for first in range(rows)))
    repeated = np.repeat(pooled, rows >> y_shift, axis=0)
    return np.asarray(repeated[: -(-height >> y_shift), : -(-width >> x_shift)])


def _mix(target: Plane, samples: NDArray[np.float32], coverage: Coverage, most: int) -> None:
    """Mix `samples`, limited to whole numbers in 0..`most`, into `target` by the coverage."""
    before = target.astype(np.float32)
    codes = np.rint(samples)
    np.clip(codes, 0, most, out=codes)
    # A share of exactly 0 or 1 gives exactly one of the two.
    mixed = codes - before
    mixed *= np.divide(coverage, 255, dtype=np.float32)
    mixed += before
    target[...] = np.rint(mixed, out=mixed)
