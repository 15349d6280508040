# SPDX-License-Identifier: GPL-3.0-or-later
"""Track one place that an editor has marked, forwards and backwards from its keys, by optical flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..document.editing import blend
from ..geometry import Array
from ..types import Ellipse, Evidence, Sample
from .optical_flow import track_boxes

Pictures = Callable[[int, int], Iterable[tuple[int, NDArray[np.uint8]]]]
"""Grey pictures of frames start..stop, in order, all of one size."""


@dataclass(frozen=True, slots=True)
class KeyTrackingSettings:
    """How a place is tracked from the keys that an editor has locked."""

    chunk_frames: int = 64
    """Frames held in memory at once when pictures are read backwards. Raising it decodes fewer frames twice and takes
    memory. Origin not recorded."""
    least_visible_share: float = 0.2
    """Share (0..1) of the box inside the picture below which tracking ends. Raising it ends the cover sooner when the
    place leaves the picture. Origin not recorded."""
    confidence_decay: float = 0.97
    """Factor on the confidence for each frame away from the nearest key. Raising it makes tracked frames look more
    certain. Origin: that of `TrackingSettings.carry_confidence_decay`."""


KEY_TRACKING = KeyTrackingSettings()


def track_keys(
    pictures: Pictures,
    keys: dict[int, Ellipse],
    start: int,
    stop: int,
    scale: float,
    cuts: Collection[int],
    frame_size: tuple[int, int],
) -> list[Sample]:
    """Samples of a place in frames start..stop, without those of the keys.

    Each key is tracked both ways: up to the next key, or until flow loses it, it leaves the picture, or the shot ends.
    Between two keys the results of both are blended by distance. `scale`: pixels of the pictures per pixel of the
    frame. `cuts`: first frames of shots.
    """
    forward, backward = _walk(pictures, keys, start, stop, scale, cuts, frame_size)
    samples = []
    marks = sorted(keys)
    for frame in sorted({*forward, *backward} - set(keys)):
        ahead, behind = forward.get(frame), backward.get(frame)
        if ahead is not None and behind is not None:
            before = max(mark for mark in marks if mark < frame)
            after = min(mark for mark in marks if mark > frame)
            ellipse = blend(ahead, behind, (frame - before) / (after - before))
            away = min(frame - before, after - frame)
        else:
            one = ahead if ahead is not None else behind
            assert one is not None
            ellipse = one
            away = min(abs(mark - frame) for mark in marks)
        samples.append(Sample(frame, ellipse, Evidence.FLOW, KEY_TRACKING.confidence_decay**away))
    return samples


def _walk(
    pictures: Pictures,
    keys: dict[int, Ellipse],
    start: int,
    stop: int,
    scale: float,
    cuts: Collection[int],
    frame_size: tuple[int, int],
) -> tuple[dict[int, Ellipse], dict[int, Ellipse]]:
    """The ellipses tracked forwards and those tracked backwards from the keys, by frame."""
    first, last = min(keys), max(keys)
    found: tuple[dict[int, Ellipse], dict[int, Ellipse]] = ({}, {})
    for way, here in ((0, first), (1, last)):
        ellipse: Ellipse | None = keys[here]
        before: NDArray[np.uint8] | None = None
        for frame, picture in _step(pictures, here, start, stop, backward=way == 1):
            if before is not None and ellipse is not None:
                cut = (frame if way == 0 else frame + 1) in cuts
                ellipse = None if cut else _track_step(before, picture, ellipse, scale, frame_size)
            if frame in keys:
                ellipse = keys[frame]
            elif ellipse is not None:
                found[way][frame] = ellipse
            elif not any(key > frame if way == 0 else key < frame for key in keys):
                break
            before = picture
    return found


def _step(
    pictures: Pictures, here: int, start: int, stop: int, backward: bool
) -> Iterable[tuple[int, NDArray[np.uint8]]]:
    if not backward:
        yield from pictures(here, stop)
        return
    end = here + 1
    while end > start:
        begin = max(start, end - KEY_TRACKING.chunk_frames)
        yield from reversed(list(pictures(begin, end)))
        end = begin


def _track_step(
    before: NDArray[np.uint8], after: NDArray[np.uint8], ellipse: Ellipse, scale: float, frame_size: tuple[int, int]
) -> Ellipse | None:
    box = np.array([ellipse.cx - ellipse.rx, ellipse.cy - ellipse.ry, ellipse.cx + ellipse.rx, ellipse.cy + ellipse.ry])
    moved = track_boxes(before, after, [box * scale])[0]
    if moved is None:
        return None
    box = moved / scale
    if not all(map(math.isfinite, box)) or _is_gone(box, frame_size):
        return None
    return Ellipse(
        (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2, ellipse.angle
    )


def _is_gone(box: Array, frame_size: Sequence[int]) -> bool:
    """Whether too little of a box lies in the picture to track it."""
    seen = np.minimum(box[2:], frame_size) - np.maximum(box[:2], 0)
    return bool((seen <= 0).any() or seen.prod() < KEY_TRACKING.least_visible_share * (box[2:] - box[:2]).prod())
