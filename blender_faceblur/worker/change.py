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
        changed = bool(self._seen) and _compare(self._seen[0][1], face) < _ALIKE
        if changed:
            self._seen.clear()
        self._seen.append((frame, face))
        return changed


def _compare(one: Small, other: Small) -> float:
    """The best correlation of the middle of one in the other, -1 to 1: boxes of faces jump by a little.

    By NumPy: OpenCV's matchTemplate takes 0.1 s at its first call.
    """
    inner = one[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT].astype(np.float32).ravel()
    places = sliding_window_view(other.astype(np.float32), (SIDE - 2 * _SHIFT, SIDE - 2 * _SHIFT))
    parts = places.reshape(-1, inner.size)
    inner = inner - inner.mean()
    parts = parts - parts.mean(axis=1, keepdims=True)
    # One grey all over is like nothing.
    lengths = np.maximum(np.linalg.norm(parts, axis=1) * np.linalg.norm(inner), 1e-6)
    return float((parts @ inner / lengths).max())
