# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the few frames at which a track's ellipse is keyed, so that linear motion between them covers the face.

Blender moves every point of a mask spline linearly between keys. The points of an ellipse are an affine image of those
of a circle, so the shape between two keys is the circle's image under the mean of the keys' affine maps: its support
in a direction u is c . u + |A^T u|, with centre c and matrix A both linear in time.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .geometry import Array
from .types import Ellipse, Keyframe, Sample, Track

HANDLE = 0.5523
"""Length of a Bezier handle for a quarter of a unit circle; with it the curve is nowhere inside the circle and
nowhere more than 0.03 % outside."""

TOLERANCE_SHARE, TOLERANCE_PX = 0.08, 3.0

_BEZIER_EXCESS = 3e-4
# Supports are compared in 24 directions. Between two of them the difference of two ellipses that lie within the
# tolerance of each other can be larger by about 4 % of the tolerance.
_ANGLES = np.linspace(0, np.pi, 12, endpoint=False)
_BETWEEN = 0.04
_TURN_FRAMES = 6


def find_tolerance_px(ellipses: Array) -> Array:
    """How far the mask may lie outside tracked ellipses (N x 5, without expansion): 8 % of the height or 3 px."""
    return np.maximum(TOLERANCE_SHARE * 2 * np.maximum(ellipses[:, 2], ellipses[:, 3]), TOLERANCE_PX)


def simplify(track: Track, expansion: float, frame_size: tuple[int, int]) -> list[Keyframe]:
    """Keys (safety expansion included) between which linear motion keeps to the track's ellipses.

    At every frame of every span of the track the mask contains `sample.ellipse.scaled(expansion)`, and reaches at most
    `find_tolerance_px` beyond it; the latter is not asked where the ellipse is wholly outside the picture of
    `frame_size` (width, height). Each span has a key on its first and on its last frame.
    """
    keys: list[Keyframe] = []
    at = 0
    for start, stop in track.spans():
        keys += _simplify_span(track.samples[at:at + stop - start], expansion, frame_size)
        at += stop - start
    return keys


def opacity_spans(track: Track) -> list[tuple[int, int]]:
    """The half-open frame ranges in which the track's mask is opaque; everywhere else it is fully transparent."""
    return track.spans()


def _simplify_span(samples: list[Sample], expansion: float, frame_size: tuple[int, int]) -> list[Keyframe]:
    faces = np.array([(e.cx, e.cy, e.rx, e.ry, e.angle) for e in (s.ellipse for s in samples)])
    # An ellipse turned by half a turn is the same; the points that Blender moves are not.
    faces[:, 4] = np.unwrap(faces[:, 4], period=np.pi)
    tolerance = find_tolerance_px(faces)
    faces[:, 2:4] *= expansion
    keyed = faces.copy()
    keyed[:, 2:4] += tolerance[:, None] / 2
    reach = _reach(faces)
    inner = reach + _BETWEEN * tolerance[:, None]
    outer = reach * (1 - _BEZIER_EXCESS) + (1 - _BETWEEN) * tolerance[:, None]
    outer[_is_outside(faces, tolerance, frame_size)] = np.inf
    centres = faces[:, 0:1] * np.cos(_ANGLES) + faces[:, 1:2] * np.sin(_ANGLES)
    best: tuple[list[int], Array] | None = None
    for candidate in (keyed, _lead_out(keyed, tolerance)):
        chosen = _choose(_maps(candidate), centres, inner, outer)
        if best is None or len(chosen) < len(best[0]):
            best = chosen, candidate
    assert best is not None
    return [Keyframe(samples[i].source_frame, Ellipse(*best[1][i].tolist())) for i in best[0]]


def _lead_out(ellipses: Array, tolerance: Array) -> Array:
    """Ellipses moved and sized a little beyond their turns, where straight lines between keys would cut inside.

    The difference to the mean over some frames points out of the curve; at most 0.3 of the tolerance is taken.
    """
    out = ellipses.copy()
    if len(ellipses) < 2 * _TURN_FRAMES:
        return out
    bell = np.exp(-0.5 * (np.arange(-_TURN_FRAMES, _TURN_FRAMES + 1) / (_TURN_FRAMES / 2)) ** 2)
    padded = np.pad(ellipses[:, :4], ((_TURN_FRAMES, _TURN_FRAMES), (0, 0)), mode="reflect", reflect_type="odd")
    mean = sliding_window_view(padded, len(bell), axis=0) @ (bell / bell.sum())
    for columns, share in ((slice(0, 2), 0.3), (slice(2, 4), 0.15)):
        step = ellipses[:, columns] - mean[:, columns]
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)
        out[:, columns] += step * np.minimum(1, share * tolerance / length)[:, None]
    return out


def _reach(ellipses: Array) -> Array:
    """|A^T u| of N ellipses in D directions: N x D."""
    turn = _ANGLES[None, :] - ellipses[:, 4:5]
    return np.hypot(ellipses[:, 2:3] * np.cos(turn), ellipses[:, 3:4] * np.sin(turn))


def _maps(ellipses: Array) -> Array:
    """c . u and both components of A^T u: N x 3 x D, all linear in time between two keys."""
    turn = _ANGLES[None, :] - ellipses[:, 4:5]
    centre = ellipses[:, 0:1] * np.cos(_ANGLES) + ellipses[:, 1:2] * np.sin(_ANGLES)
    return np.stack([centre, ellipses[:, 2:3] * np.cos(turn), ellipses[:, 3:4] * np.sin(turn)], axis=1)


def _is_outside(ellipses: Array, tolerance: Array, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    far = np.maximum(ellipses[:, 2], ellipses[:, 3]) + tolerance
    x, y = ellipses[:, 0], ellipses[:, 1]
    return (x + far < 0) | (y + far < 0) | (x - far > frame_size[0]) | (y - far > frame_size[1])


def _choose(maps: Array, centres: Array, inner: Array, outer: Array) -> list[int]:
    """Indices of keys, each as far from the one before as the bounds of the frames between allow."""
    last = len(maps) - 1
    chosen = [0]
    guess = 8

    def fits(begin: int, end: int) -> bool:
        part = slice(begin + 1, end)
        weight = (np.arange(1, end - begin) / (end - begin))[:, None, None]
        between = maps[begin] + weight * (maps[end] - maps[begin])
        reach = np.hypot(between[:, 1], between[:, 2])
        off = np.abs(between[:, 0] - centres[part])
        return bool((reach - off >= inner[part]).all() and (reach + off <= outer[part]).all())

    while chosen[-1] < last:
        begin = chosen[-1]
        low, step = begin + 1, guess
        high = last + 1
        # Gallop from the last stretch's length, then halve: whether a stretch fits is nearly monotonous.
        while low + step <= last and low + step < high:
            if fits(begin, low + step):
                low += step
                step *= 2
            else:
                high = low + step
        if high > last and low < last and fits(begin, last):
            low = last
        while high - low > 1 and low < last:
            middle = (low + high) // 2
            if fits(begin, middle):
                low = middle
            else:
                high = middle
        chosen.append(low)
        guess = max(2, (low - begin) // 2)
    return chosen
