# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for known faces in small parts of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .geometry import Array, centre_of
from .types import Detection

_SIDES = (192, 320)
"""Of the windows, in pixels: multiples of what all detectors need. Few, since each size costs memory."""
_ROOM = 3.0
"""How many times as large as the face a window is at least: detectors need what is around a face."""
_WORTH = 0.5
"""Of the picture's area: with more in windows, the whole picture is looked at."""


def find_windows(places: Sequence[Array], size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Left, top and side of a square for each place (a box, in pixels of the picture with that size).

    None where the whole picture is to be looked at: without places, with large ones, and with many.
    """
    windows = []
    for place in places:
        needed = _ROOM * float((place[2:] - place[:2]).max())
        side = next((s for s in _SIDES if needed <= s <= min(size)), None)
        if side is None:
            return []
        left, top = (
            int(np.clip(round(middle - side / 2), 0, length - side))
            for middle, length in zip(centre_of(place), size, strict=True))
        windows.append((left, top, side))
    return windows if sum(side * side for *_, side in windows) <= _WORTH * size[0] * size[1] else []


def detect_in_windows(
    detect: Callable[[NDArray[np.uint8]], list[Detection]], picture: NDArray[np.uint8],
    windows: Sequence[tuple[int, int, int]],
) -> list[Detection]:
    """What a detector finds in the windows of a picture, in the picture's pixels; without what a window cuts off."""
    height, width = picture.shape[:2]
    found = []
    for left, top, side in windows:
        for one in detect(picture[top:top + side, left:left + side]):
            x1, y1, x2, y2 = one.box
            whole = (
                (x1 > 0 or left == 0) and (y1 > 0 or top == 0)
                and (x2 < side or left + side == width) and (y2 < side or top + side == height))
            if whole:
                marks = one.landmarks and tuple((x + left, y + top) for x, y in one.landmarks)
                found.append(replace(one, box=(x1 + left, y1 + top, x2 + left, y2 + top), landmarks=marks))
    return found
