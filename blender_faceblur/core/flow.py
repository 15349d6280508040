# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow boxes from one picture to the next by forward-backward Lucas-Kanade optical flow.

Method: Kalal et al., "Forward-Backward Error: Automatic Detection of Tracking Failures", ICPR 2010 (median flow).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import Array

_GRID = 6
_WINDOW = (15, 15)
_LEVELS = 3
_ERROR_PX = 1.0
_LEAST_POINTS = 8
_LARGEST_STEP = 1.25
"""Greatest change of size from frame to frame that is believed."""


def _grid_points(box: Array, width: int, height: int) -> NDArray[np.float32]:
    """Points over the inner 80 % of the box that lie in the picture: K x 2."""
    steps = np.linspace(0.1, 0.9, _GRID)
    x = box[0] + steps * (box[2] - box[0])
    y = box[1] + steps * (box[3] - box[1])
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    inside = (points[:, 0] >= 0) & (points[:, 0] < width) & (points[:, 1] >= 0) & (points[:, 1] < height)
    return points[inside].astype(np.float32)


def follow_boxes(before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[Array]) -> list[Array | None]:
    """Where each box in the grey picture `before` is in `after`; None where the flow cannot be trusted.

    Boxes are in pixels of the pictures (both H x W), which may be given in either order of time.
    """
    import cv2

    height, width = before.shape
    grids = [_grid_points(box, width, height) for box in boxes]
    if not any(len(grid) >= _LEAST_POINTS for grid in grids):
        return [None] * len(boxes)
    start = np.concatenate(grids)[:, None]
    ends = np.empty_like(start)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, ends.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, ends, winSize=_WINDOW, maxLevel=_LEVELS)
    error = np.linalg.norm((back - start)[:, 0], axis=1)
    good = (found[:, 0] == 1) & (found_back[:, 0] == 1) & (error <= _ERROR_PX)
    followed: list[Array | None] = []
    at = 0
    for box, grid in zip(boxes, grids, strict=True):
        part = slice(at, at + len(grid))
        at += len(grid)
        old, new = grid[good[part]].astype(float), there[part, 0][good[part]].astype(float)
        followed.append(_move_box(box, old, new) if len(old) >= max(_LEAST_POINTS, len(grid) // 4) else None)
    return followed


def _move_box(box: Array, old: Array, new: Array) -> Array | None:
    """The box moved and scaled as most of its points were."""
    shift = np.median(new - old, axis=0)
    # A quarter of the points against the rest that lies across the box: enough pairs for a stable median.
    other = np.roll(np.arange(len(old)), len(old) // 2)
    span = np.linalg.norm(old - old[other], axis=1)
    far = span > 1
    scale = float(np.median(np.linalg.norm(new - new[other], axis=1)[far] / span[far])) if far.any() else 1.0
    if not 1 / _LARGEST_STEP <= scale <= _LARGEST_STEP:
        return None
    centre = (box[:2] + box[2:]) / 2 + shift
    half = (box[2:] - box[:2]) / 2 * scale
    return np.concatenate([centre - half, centre + half])
