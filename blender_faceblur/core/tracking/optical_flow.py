# SPDX-License-Identifier: GPL-3.0-or-later
"""Track boxes from one picture to the next by forward-backward Lucas-Kanade optical flow.

Method: Kalal et al., "Forward-Backward Error: Automatic Detection of Tracking Failures", ICPR 2010 (median flow).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array


@dataclass(frozen=True, slots=True)
class OpticalFlowSettings:
    """How optical flow carries a box from one picture to the next, and when its result is rejected."""

    grid_points: int = 6
    """Points along each side of the grid that is laid over a box. Raising it makes the median steadier and takes time
    in proportion to its square. Origin not recorded."""
    crowd_boxes: int = 40
    """Boxes in one picture from which `crowd_grid_points` are used, since the time grows with the number of points.
    Raising it takes more time in crowds. Origin: above what the annotated clips show."""
    crowd_grid_points: int = 3
    """Points along each side of the grid in such a picture. Raising it makes the median steadier and takes time in
    proportion to its square. Origin: the windows around 3 x 3 points already overlap in a face of a crowd
    (docs/measuring.md)."""
    crowd_least_points: int = 4
    """`least_points` in such a picture. Raising it gives up small and half-hidden faces sooner. Origin: a larger share
    of the points than of `least_points`, as a median of fewer is less steady."""
    crowd_window_px: int = 11
    """`window_px` in such a picture, where faces are small. Raising it takes time in proportion to its square. Origin:
    on faces that move by known amounts, as close to them as 15 px (docs/measuring.md)."""
    grid_edge_share: float = 0.1
    """Share of the box that the grid leaves free on each side, where background shows beside the face. Raising it keeps
    out more background and leaves less to track. Origin not recorded."""
    window_px: int = 15
    """Side, in pixels of the picture for optical flow, of the square around each point that Lucas-Kanade compares.
    Raising it steadies flat areas, blurs the border between face and background, and takes time. Origin not
    recorded."""
    pyramid_levels: int = 3
    """How often the pictures are halved for large motion, in addition to the full size. Raising it tracks faster
    motion, but small faces dissolve. Origin not recorded."""
    most_error_px: float = 1.0
    """Greatest distance, in pixels of the picture for optical flow, between a point and where it ends when tracked
    forward and back (the forward-backward error of Kalal et al.). Raising it keeps more points, including wrong ones.
    Origin not recorded."""
    least_points: int = 8
    """Points that must pass that check for a box to be tracked. Raising it gives up small and half-hidden faces sooner.
    Origin not recorded."""
    least_points_divisor: int = 4
    """The number of points in the box divided by this must pass as well. Raising it trusts flow that lost most of its
    points. Origin not recorded."""
    surroundings_px: int = 112
    """How much of the pictures around all points is looked at, in pixels: OpenCV prepares all that it gets, which takes
    longer than tracking a face. Raising it takes time. Origin: the coarsest windows reach 60 px from their points, the
    filters between the sizes 14 px farther, and most points move by less than `most_motion_px`."""
    most_motion_px: float = 36.0
    """Motion from one picture to the next, in pixels, from which the whole pictures are looked at. Raising it lets
    windows reach beyond the surroundings. Origin: see `surroundings_px`."""
    most_surroundings_share: float = 0.6
    """Share (0..1) of the picture from which surroundings are not worth cutting out. Raising it takes time where points
    move far, and saves hardly any. Origin: not measured."""
    most_scale_ratio: float = 1.25
    """Greatest change of size between two frames that is accepted, as a ratio either way. Raising it tracks faster
    zooms, and lets bad matches inflate a box. Origin not recorded."""


OPTICAL_FLOW = OpticalFlowSettings()


def track_boxes(before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[Array]) -> list[Array | None]:
    """The position in `after` of each box in the grey picture `before`; None if the flow is unreliable.

    Boxes are in pixels of the pictures (both H x W), which may be given in either order of time. OpenCV prepares both
    pictures again in every call, so all boxes of a picture should be passed together.
    """
    if not boxes:
        return []
    places = np.array(boxes, float)
    side, least, reach = OPTICAL_FLOW.grid_points, OPTICAL_FLOW.least_points, OPTICAL_FLOW.window_px
    if len(boxes) >= OPTICAL_FLOW.crowd_boxes:
        side, least = OPTICAL_FLOW.crowd_grid_points, OPTICAL_FLOW.crowd_least_points
        reach = OPTICAL_FLOW.crowd_window_px
    grids, inside = _lay_grids(places, side, (before.shape[1], before.shape[0]))
    counts = inside.sum(axis=1)
    if (counts < least).all():
        return [None] * len(boxes)
    there, kept_points = _track_near(before, after, grids[inside], reach)
    good = inside.copy()
    good[inside] = kept_points
    ended = np.zeros_like(grids)
    ended[inside] = there
    moved, plausible = _move_boxes(places, grids.astype(float), ended.astype(float), good)
    needed = np.maximum(least, counts // OPTICAL_FLOW.least_points_divisor)
    kept = (good.sum(axis=1) >= needed) & plausible
    return [box if keep else None for box, keep in zip(moved, kept.tolist(), strict=True)]


def _track_near(
    before: NDArray[np.uint8], after: NDArray[np.uint8], start: NDArray[np.float32], window_px: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`_track_points` in the surroundings of the points only; in the whole pictures if that saves little, or if points
    move so far that the result could differ."""
    height, width = before.shape
    # The halved pictures of a part are parts of the halved pictures only where it begins at a multiple of this.
    unit = 1 << OPTICAL_FLOW.pyramid_levels
    low = np.maximum(start.min(axis=0) - OPTICAL_FLOW.surroundings_px, 0).astype(int) // unit * unit
    high = np.ceil((start.max(axis=0) + OPTICAL_FLOW.surroundings_px) / unit).astype(int) * unit
    (left, top), (right, bottom) = low.tolist(), np.minimum(high, (width, height)).tolist()
    if (right - left) * (bottom - top) > OPTICAL_FLOW.most_surroundings_share * width * height:
        return _track_points(before, after, start, window_px)
    part = slice(top, bottom), slice(left, right)
    offset = np.array([left, top], np.float32)
    there, kept = _track_points(before[part], after[part], start - offset, window_px)
    there += offset
    if (np.abs(there - start).max(axis=1) > OPTICAL_FLOW.most_motion_px).any():
        return _track_points(before, after, start, window_px)
    return there, kept


def _track_points(
    before: NDArray[np.uint8], after: NDArray[np.uint8], start: NDArray[np.float32], window_px: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (K x 2) of one picture are in the other, and which of them come back when tracked back."""
    import cv2

    first, ends = start[:, None], np.empty_like(start[:, None])
    window, levels = (window_px, window_px), OPTICAL_FLOW.pyramid_levels
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, first, ends.copy(), winSize=window, maxLevel=levels)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, ends, winSize=window, maxLevel=levels)
    error = np.linalg.norm((back - first)[:, 0], axis=1)
    kept = (found[:, 0] == 1) & (found_back[:, 0] == 1) & (error <= OPTICAL_FLOW.most_error_px)
    return np.asarray(there[:, 0], np.float32), np.asarray(kept)


def _lay_grids(boxes: Array, side: int, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """For each of N boxes the `side` x `side` = K points of a grid over its inner part (N x K x 2), and which of them
    lie in the picture of `size` (width, height): N x K."""
    edge = OPTICAL_FLOW.grid_edge_share
    steps = np.linspace(edge, 1 - edge, side)
    low, span = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    across, down = np.moveaxis(low + steps[:, None] * span, 2, 0)
    points = np.stack(
        (np.tile(across, (1, side)), np.repeat(down, side, axis=1)),
        axis=2,
    )
    return points.astype(np.float32), ((points >= 0) & (points < np.array(size))).all(axis=2)


def _move_boxes(boxes: Array, old: Array, new: Array, good: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """N boxes moved and scaled by the medians of their good points, and whether the change of size is plausible.

    `old`, `new`: N x K x 2, the points in both pictures; `good`: N x K.
    """
    count = good.sum(axis=1)
    # The good points first, in their order.
    order = np.argsort(~good, axis=1, kind="stable")
    rank = np.broadcast_to(np.arange(good.shape[1]), good.shape)
    known = rank < count[:, None]
    old, new = (np.take_along_axis(points, order[..., None], axis=1) for points in (old, new))
    shift = np.stack([_compute_medians((new - old)[..., i], known) for i in (0, 1)], axis=1)
    # Each point is paired with one half the list away: enough pairs across the box for a stable median.
    other = (rank - (count // 2)[:, None]) % np.maximum(count, 1)[:, None]
    span, new_span = (
        np.linalg.norm(points - np.take_along_axis(points, other[..., None], axis=1), axis=2) for points in (old, new)
    )
    far = known & (span > 1)
    scale = np.where(far.any(axis=1), _compute_medians(new_span / np.where(far, span, 1.0), far), 1.0)
    most = OPTICAL_FLOW.most_scale_ratio
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + shift
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * scale[:, None]
    return np.concatenate([centre - half, centre + half], axis=1), (scale >= 1 / most) & (scale <= most)


def _compute_medians(values: Array, counted: NDArray[np.bool_]) -> Array:
    """The median of the counted values in each row (N x K); 0 where there are none."""
    count = counted.sum(axis=1)
    rows, ordered = np.arange(len(values)), np.sort(np.where(counted, values, np.inf), axis=1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, values.shape[1] - 1)
    medians: Array = np.where(count > 0, (ordered[rows, low] + ordered[rows, high]) / 2, 0.0)
    return medians
