# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices when a face's picture changes suddenly: perhaps it is another's, for less time than lies between two looks.

It says when to look, never who it is: a face that turns away or is hidden changes as well.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SIDE = 24
"""Of the pictures that are compared, in pixels."""

_SHIFT = 3
_MIDDLE = (slice(_SHIFT, -_SHIFT),) * 2
_ALIKE = 0.75
"""Correlation below which two pictures may show two people: 96 % of 2415 pairs of official portraits, which are much
alike. Of one face a third of a second apart 5 to 10 % are in quiet films, half in two lively ones."""

_BACK_S = 0.3

Small = NDArray[np.uint8]


class Change:
    """What one face looked like a moment ago."""

    def __init__(self, frame_rate: float) -> None:
        self._reach = max(1, round(_BACK_S * frame_rate))
        self._seen: deque[tuple[int, Small]] = deque()

    def see(self, frame: int, face: Small) -> bool:
        """Whether the face (SIDE x SIDE, grey; a later frame than the last) differs from what it was so long ago."""
        while len(self._seen) > 1 and frame - self._seen[1][0] >= self._reach:
            self._seen.popleft()
        changed = bool(self._seen) and not _are_alike(self._seen[0][1], face)
        if changed:
            self._seen.clear()
        self._seen.append((frame, face))
        return changed


def _are_alike(one: Small, other: Small) -> bool:
    """Whether the middle of one is found in the other, where it is or a little beside: boxes of faces jump.

    By NumPy: OpenCV's matchTemplate takes 0.1 s at its first call.
    """
    inner = _level(one[_MIDDLE].reshape(1, -1))[0]
    # Most faces are where they were; the other places take ten times as long.
    if _level(other[_MIDDLE].reshape(1, -1))[0] @ inner >= _ALIKE:
        return True
    places = sliding_window_view(other, (SIDE - 2 * _SHIFT, SIDE - 2 * _SHIFT)).reshape(-1, inner.size)
    return bool((_level(places) @ inner).max() >= _ALIKE)


def _level(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures (N x pixels) without their mean and contrast: their products are correlations."""
    levels = pictures.astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    # One grey all over is like nothing.
    levels /= np.maximum(np.sqrt(np.einsum("ij,ij->i", levels, levels)), 1e-3)[:, None]
    return levels
