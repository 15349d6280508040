# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint covers into one decoded picture. Every sample outside of the covers and their soft edges keeps its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.cover.effects import EffectSettings
from .colors import CodeSpace, Rgb, cut_chroma, encode_srgb, read_samples
from .covers import Coverage, Outline, clip, fill, transform
from .effects import Effect, Region, Solid, make_effect
from .formats import PlanarFormat, Plane, choose_planar, list_planes, rearrange

_INVERSE_EDGE = 8
"""An inverse cover shows the innermost 1 / 8 of the soft edge, as the node group "Face Blur Inverse" does."""

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
        jobs: list[tuple[tuple[int, int, int, int], Coverage, list[Any]]] = []
        if everything:
            coverage = np.full(size[::-1], 255, np.uint8)
            jobs.append((whole, coverage, self._cover(painted, planes, space, stored, whole, self._largest_face_px)))
        elif self._settings.inverse:
            shown = np.minimum((255 - fill(stored, whole)).astype(np.uint16) * _INVERSE_EDGE, 255).astype(np.uint8)
            jobs.append((whole, shown, self._cover(painted, planes, space, stored, whole, self._largest_face_px)))
        else:
            # An effect that depends on all covers paints them together.
            for group in [stored] if self._effect.uses_shown else [[outline] for outline in stored]:
                window = clip(_surround(group), size, step)
                if window is not None:
                    coverage = fill(group, window)
                    face_px = self._largest_face_px if self._effect.uses_shown else group[0].face_px
                    jobs.append((window, coverage, self._cover(painted, planes, space, stored, window, face_px)))
        # All covers are computed from the original samples before the first is painted.
        for window, coverage, cover in jobs:
            _blend(planes, space, window, coverage, cover, step)
        return painted

    def _cover(
        self,
        frame: Any,
        planes: list[Plane],
        space: CodeSpace,
        outlines: Sequence[Outline],
        window: tuple[int, int, int, int],
        face_px: float,
    ) -> list[Any]:
        """The samples of the covered picture in a window, at full resolution; a single value each for one colour."""
        if isinstance(self._effect, Solid):
            color = self._effect.paint(Region(_NOTHING, _NOTHING[..., 0], (0, 0), (1, 1), face_px))
            return space.to_codes(encode_srgb(color, frame))
        size = (frame.width, frame.height)
        margin = self._effect.compute_margin(_turn_size(size, self._turn), face_px)
        x1, y1, x2, y2 = window
        grown = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
        region = clip(grown, size, _compute_step(frame, space.planar))
        rgb = np.zeros((region[3] - region[1], region[2] - region[0], 3), np.float32)
        if self._effect.uses_picture:
            rgb = space.to_rgb(read_samples(planes, region, space.planar))
        shown = np.ones(rgb.shape[:2], np.float32)
        if self._effect.uses_shown:
            near = [outline for outline in outlines if _meets(outline.bounds(), region)]
            shown -= fill(near, region).astype(np.float32) / 255
        painted = self._paint_upright(rgb, shown, region, size, face_px)
        left, top = x1 - region[0], y1 - region[1]
        cover = painted[top : top + y2 - y1, left : left + x2 - x1]
        return space.to_codes(cover if self._effect.uses_picture else encode_srgb(cover, frame))

    def _paint_upright(
        self,
        rgb: Rgb,
        shown: NDArray[np.float32],
        region: tuple[int, int, int, int],
        size: tuple[int, int],
        face_px: float,
    ) -> Rgb:
        """The effect on a region, computed in the orientation in which the picture is shown."""
        quarters = -self._turn // 90 % 4
        x1, y1, x2, y2 = region
        origin = {
            0: (x1, y1),
            90: (size[1] - y2, x1),
            180: (size[0] - x2, size[1] - y2),
            270: (y1, size[0] - x2),
        }[self._turn]
        turned = Region(
            np.ascontiguousarray(np.rot90(rgb, quarters)),
            np.ascontiguousarray(np.rot90(shown, quarters)),
            origin,
            _turn_size(size, self._turn),
            face_px,
        )
        return np.ascontiguousarray(np.rot90(self._effect.paint(turned), -quarters))


def _turn_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    return size[::-1] if turn in (90, 270) else size


def _surround(outlines: Sequence[Outline]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = zip(*(outline.bounds() for outline in outlines), strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def _meets(bounds: tuple[int, int, int, int], region: tuple[int, int, int, int]) -> bool:
    return bounds[0] < region[2] and bounds[2] > region[0] and bounds[1] < region[3] and bounds[3] > region[1]


def _compute_step(frame: Any, planar: PlanarFormat) -> tuple[int, int]:
    """Columns and rows of the picture that share chroma samples. In interlaced pictures, fields alternate row by row,
    so that two chroma rows belong to four rows together."""
    x_shift, y_shift = planar.chroma_shift
    return 1 << x_shift, (1 << y_shift) * (2 if y_shift and frame.interlaced_frame else 1)


def _blend(
    planes: list[Plane],
    space: CodeSpace,
    window: tuple[int, int, int, int],
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
    padded = np.pad(coverage, ((0, -height % rows), (0, -width % columns)))
    pooled = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns).max(axis=(1, 3))
    repeated = np.repeat(pooled, rows >> y_shift, axis=0)
    return np.asarray(repeated[: -(-height >> y_shift), : -(-width >> x_shift)])


def _mix(target: Plane, samples: NDArray[np.float32], coverage: Coverage, most: int) -> None:
    solid = coverage == 255
    codes = np.clip(np.rint(samples), 0, most)
    if codes.size == 1:
        target[solid] = int(codes.flat[0])
        codes = np.broadcast_to(codes, coverage.shape)
    else:
        target[solid] = codes[solid].astype(target.dtype)
    edge = (coverage > 0) & ~solid
    share = coverage[edge].astype(np.float32) / 255
    before = target[edge].astype(np.float32)
    target[edge] = np.rint(before + (codes[edge] - before) * share).astype(target.dtype)
