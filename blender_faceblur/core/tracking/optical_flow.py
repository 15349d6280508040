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
    most_scale_ratio: float = 1.25
    """Greatest change of size between two frames that is accepted, as a ratio either way. Raising it tracks faster
    zooms, and lets bad matches inflate a box. Origin not recorded."""


OPTICAL_FLOW = OpticalFlowSettings()


def _list_grid_points(box: Array, width: int, height: int) -> NDArray[np.float32]:
    """Points (K x 2) of the grid over the inner part of the box that lie in the picture."""
    edge = OPTICAL_FLOW.grid_edge_share
    steps = np.linspace(edge, 1 - edge, OPTICAL_FLOW.grid_points)
    x = box[0] + steps * (box[2] - box[0])
    y = box[1] + steps * (box[3] - box[1])
    points: NDArray[np.float64] = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    inside = (points[:, 0] >= 0) & (points[:, 0] < width) & (points[:, 1] >= 0) & (points[:, 1] < height)
    return points[inside].astype(np.float32)


def track_boxes(before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[Array]) -> list[Array | None]:
    """The position in `after` of each box in the grey picture `before`; None if the flow is unreliable.

    Boxes are in pixels of the pictures (both H x W), which may be given in either order of time.
    """
    import cv2

    height, width = before.shape
    grids = [_list_grid_points(box, width, height) for box in boxes]
    if not any(len(grid) >= OPTICAL_FLOW.least_points for grid in grids):
        return [None] * len(boxes)
    start = np.concatenate(grids)[:, None]
    ends = np.empty_like(start)
    window, levels = (OPTICAL_FLOW.window_px, OPTICAL_FLOW.window_px), OPTICAL_FLOW.pyramid_levels
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, ends.copy(), winSize=window, maxLevel=levels)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, ends, winSize=window, maxLevel=levels)
    error = np.linalg.norm((back - start)[:, 0], axis=1)
    good = (found[:, 0] == 1) & (found_back[:, 0] == 1) & (error <= OPTICAL_FLOW.most_error_px)
    flowed: list[Array | None] = []
    at = 0
    for box, grid in zip(boxes, grids, strict=True):
        part = slice(at, at + len(grid))
        at += len(grid)
        old, new = grid[good[part]].astype(float), there[part, 0][good[part]].astype(float)
        needed = max(OPTICAL_FLOW.least_points, len(grid) // OPTICAL_FLOW.least_points_divisor)
        flowed.append(_move_box(box, old, new) if len(old) >= needed else None)
    return flowed


def _move_box(box: Array, old: Array, new: Array) -> Array | None:
    """The box moved and scaled by the median of its points; None if the change of size is implausible."""
    shift = np.median(new - old, axis=0)
    # Each point is paired with one half the list away: enough pairs across the box for a stable median.
    other = np.roll(np.arange(len(old)), len(old) // 2)
    span = np.linalg.norm(old - old[other], axis=1)
    far = span > 1
    scale = float(np.median(np.linalg.norm(new - new[other], axis=1)[far] / span[far])) if far.any() else 1.0
    most = OPTICAL_FLOW.most_scale_ratio
    if not 1 / most <= scale <= most:
        return None
    centre = (box[:2] + box[2:]) / 2 + shift
    half = (box[2:] - box[:2]) / 2 * scale
    moved: Array = np.concatenate([centre - half, centre + half])
    return moved
