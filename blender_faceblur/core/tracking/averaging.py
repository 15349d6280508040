# SPDX-License-Identifier: GPL-3.0-or-later
"""Averages over time of several values at once, for the frames of many tracks together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..geometry import Array


class Runs:
    """Runs of consecutive frames, whose values lie one run after the other in the same arrays (N rows in all).

    A crowd has hundreds of short tracks, and numpy takes hardly longer for the values of all than for those of one.
    """

    def __init__(self, lengths: Sequence[int] | NDArray[np.int_]) -> None:
        """Each run has at least one frame."""
        self.lengths: NDArray[np.int_] = np.asarray(lengths, int)
        self.starts: NDArray[np.int_] = np.cumsum(self.lengths) - self.lengths

    def list_slices(self) -> list[slice]:
        """The rows of each run."""
        return [slice(start, start + n) for start, n in zip(self.starts.tolist(), self.lengths.tolist(), strict=True)]

    def select(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Runs]:
        """Which rows (N) belong to the chosen runs, and these runs alone."""
        return np.repeat(chosen, self.lengths), Runs(self.lengths[chosen])

    def unwrap(self, angles: Array, period: float) -> Array:
        """Angles (N) without jumps of whole periods within a run; the first of each run stays as it is."""
        whole = np.unwrap(angles, period=period)
        whole -= np.repeat(whole[self.starts] - angles[self.starts], self.lengths)
        return np.asarray(whole)

    def average(self, values: Array, kernel: Array, keep_trend: bool = False) -> Array:
        """Columns of values (N x C), averaged over time in each run with a symmetric kernel of odd length.

        Beyond both ends of a run the values stay as they are there; with `keep_trend` a steady motion goes on, so that
        the ends do not lag.
        """
        reach = len(kernel) // 2
        padded = values[self._list_padded(reach)] if not keep_trend else self._continue_trends(values, reach)
        columns = [np.convolve(column, kernel, "valid") for column in padded.T]
        return np.stack(columns, axis=1)[self._list_places(2 * reach)]

    def raise_to_maxima(self, values: Array, kernel: Array) -> Array:
        """A smooth curve that is nowhere below `values` (N): the mean of the maxima of all windows that contain a
        point of it in its run."""
        reach = len(kernel) // 2
        highest = sliding_window_view(values[self._list_padded(2 * reach)], len(kernel)).max(axis=1)
        raised: Array = np.convolve(highest, kernel, "valid")
        return raised[self._list_places(4 * reach)]

    def _list_places(self, added: int) -> NDArray[np.int_]:
        """Where the rows lie after `added` values between each run and the next."""
        places = np.arange(self.lengths.sum())
        places += added * np.repeat(np.arange(len(self.lengths)), self.lengths)
        return places

    def _place_padded(self, reach: int) -> tuple[NDArray[np.int_], NDArray[np.int_], NDArray[np.int_]]:
        """For all frames of all runs and `reach` more at each end: the number in the run, its length and start."""
        longer = self.lengths + 2 * reach
        begin = np.cumsum(longer) - longer
        at = np.arange(longer.sum()) - np.repeat(begin, longer) - reach
        return at, np.repeat(self.lengths, longer), np.repeat(self.starts, longer)

    def _list_padded(self, reach: int) -> NDArray[np.int_]:
        """The rows of all runs, with the first and the last of each repeated `reach` times."""
        at, length, start = self._place_padded(reach)
        return start + np.clip(at, 0, length - 1)

    def _continue_trends(self, values: Array, reach: int) -> Array:
        """The values of all runs, with `reach` more at each end: those on its other side, turned by half a turn."""
        at, length, start = self._place_padded(reach)
        last = length - 1
        mirrored = np.clip(np.where(at < 0, -at, np.where(at > last, 2 * last - at, at)), 0, last)
        padded: Array = 2 * values[start + np.clip(at, 0, last)] - values[start + mirrored]
        for number in np.nonzero(self.lengths <= reach)[0].tolist():
            begin, length_here = int(self.starts[number]), int(self.lengths[number])
            place = begin + 2 * reach * number
            padded[place : place + length_here + 2 * reach] = np.pad(
                values[begin : begin + length_here], ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd"
            )
        return padded
