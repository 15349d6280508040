# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect in parts of a picture: choose small windows around known faces, and map results back to the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array, compute_centre
from ..types import Box, Detection


@dataclass(frozen=True, slots=True)
class DetectionWindowSettings:
    """How large the windows are in which detectors search for a face that optical flow lost."""

    sides_px: tuple[int, ...] = (192, 320)
    """Possible sides of a window, in pixels of the detector's picture, ascending: multiples of what all detectors need,
    and few, since each size costs memory. Raising the last one serves larger faces and saves less time. Origin not
    recorded."""
    face_ratio: float = 3.0
    """Least side of a window as a multiple of the face's longer side: detectors need the surroundings of a face.
    Raising it finds faces that moved farther and takes time. Origin not recorded."""
    most_area_share: float = 0.5
    """Share (0..1) of the picture's area in windows above which the detectors search the whole picture. Raising it
    saves less time the nearer it comes to 1. Origin not recorded; the windows as a whole saved a tenth of the time."""

    edge_share: float = 0.1
    """Share of a box's longer side within which it counts as touching the picture's edge. Raising it looks more often
    for faces that come in. Origin: boxes of cut faces end up to a twentieth before or beyond the edge."""


DETECTION_WINDOWS = DetectionWindowSettings()


def touches_edge(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box reaches the edge of a picture of `size` (width, height) within a small share of its own size."""
    near = DETECTION_WINDOWS.edge_share * max(box[2] - box[0], box[3] - box[1])
    return box[0] <= near or box[1] <= near or box[2] >= size[0] - near or box[3] >= size[1] - near


def choose_windows(places: Sequence[Array], size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Left, top and side of a square for each place (a box, in pixels of the picture with that size).

    Empty if the whole picture should be searched: without places, or if they are too large or too many.
    """
    windows = []
    for place in places:
        needed = DETECTION_WINDOWS.face_ratio * float((place[2:] - place[:2]).max())
        side = next((s for s in DETECTION_WINDOWS.sides_px if needed <= s <= min(size)), None)
        if side is None:
            return []
        left, top = (
            int(np.clip(round(middle - side / 2), 0, length - side))
            for middle, length in zip(compute_centre(place), size, strict=True)
        )
        windows.append((left, top, side))
    most = DETECTION_WINDOWS.most_area_share * size[0] * size[1]
    return windows if sum(side * side for *_, side in windows) <= most else []


def detect_in_windows(
    detect: Callable[[NDArray[np.uint8]], list[Detection]],
    picture: NDArray[np.uint8],
    windows: Sequence[tuple[int, int, int]],
) -> list[Detection]:
    """Detections in the windows of a picture, in the picture's pixels, without those that a window cuts off."""
    size = picture.shape[1], picture.shape[0]
    found = []
    for left, top, side in windows:
        right, bottom = left + side, top + side
        placed = [map_to_picture(one, left, top) for one in detect(picture[top:bottom, left:right])]
        found += [one for one in placed if not is_cut_off(one.box, (left, top, right, bottom), size)]
    return found


def map_to_picture(found: Detection, left: int, top: int, enlarged: int = 1) -> Detection:
    """Map a detection in an enlarged part of a picture back to the picture."""
    x1, y1, x2, y2 = (value / enlarged for value in found.box)
    marks = found.landmarks and tuple((x / enlarged + left, y / enlarged + top) for x, y in found.landmarks)
    return replace(found, box=(x1 + left, y1 + top, x2 + left, y2 + top), landmarks=marks)


def is_cut_off(box: Box, part: tuple[int, int, int, int], size: tuple[int, int], near_px: int = 0) -> bool:
    """Whether a box ends within `near_px` of an edge of the part that is not the picture's own edge."""
    return (
        (part[0] > 0 and box[0] <= part[0] + near_px)
        or (part[1] > 0 and box[1] <= part[1] + near_px)
        or (part[2] < size[0] and box[2] >= part[2] - near_px)
        or (part[3] < size[1] and box[3] >= part[3] - near_px)
    )
