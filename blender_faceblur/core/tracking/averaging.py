# SPDX-License-Identifier: GPL-3.0-or-later
"""Averages over time of several values at once."""

from __future__ import annotations

import numpy as np

from ..geometry import Array


def average(values: Array, kernel: Array, keep_trend: bool = False) -> Array:
    """Columns of values (N x C) averaged over time with a symmetric kernel of odd length.

    Beyond both ends the values stay as they are there; with `keep_trend` a steady motion goes on, so that the ends do
    not lag.
    """
    reach = len(kernel) // 2
    if not keep_trend:
        before, after = values[:1].repeat(reach, axis=0), values[-1:].repeat(reach, axis=0)
    elif len(values) > reach:
        before, after = 2 * values[0] - values[reach:0:-1], 2 * values[-1] - values[-2 : -reach - 2 : -1]
    else:
        padded = np.pad(values, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
        before, after = padded[:reach], padded[-reach:]
    # np.pad and sliding windows take several times as long for the few values of a short track.
    columns = np.concatenate([before, values, after]).T
    return np.stack([np.convolve(column, kernel, "valid") for column in columns], axis=1)
