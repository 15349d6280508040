# SPDX-License-Identifier: GPL-3.0-or-later
"""Track a region that an editor has marked through the pictures of its source."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.detection.picture_sizes import fit_size
from ..core.document.tracks_file import write_document
from ..core.tracking.retracking import track_keys
from ..core.types import Ellipse, Evidence, FaceBlurError, Sample, Track, TrackDocument
from .opening import open_requested
from .protocol import Progress, Result, Stage, Started, TrackRequest
from .reporting import REPORTING


@dataclass(frozen=True, slots=True)
class KeyTrackingPictureSettings:
    """The pictures in which a region is tracked from an editor's keys."""

    long_side_px: int = 1280
    """Their long side, in pixels, never enlarged; larger than in an analysis, since number plates are smaller than
    faces. Raising it tracks smaller things and takes time with its square. Origin not recorded."""


KEY_TRACKING_PICTURES = KeyTrackingPictureSettings()


def track_region(request: TrackRequest, send: Callable[[Any], None]) -> None:
    """Track the request's region and send the result. Raises FaceBlurError."""
    import cv2

    began = reported = time.monotonic()
    keys = dict(map(_read_key, request.keys))
    with open_requested(request.source) as source:
        info = source.info
        start, stop = max(request.start, 0), min(request.stop, info.frame_count)
        if not keys or min(keys) < start or max(keys) >= stop:
            raise FaceBlurError("There is no key in the frames to track. Add one first.")
        send(Started(stop - start))
        size = fit_size((info.width, info.height), KEY_TRACKING_PICTURES.long_side_px)
        done = 0

        def pictures(first: int, last: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
            nonlocal done, reported
            for frame, picture in source.read_frames(first, last, size):
                yield frame, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
                done += 1
                if time.monotonic() - reported > REPORTING.progress_every_s:
                    reported = time.monotonic()
                    send(Progress(Stage.FOLLOW, min(done, stop - start), stop - start, done / (reported - began)))

        samples = track_keys(
            pictures, keys, start, stop, size[0] / info.width, set(request.cuts), (info.width, info.height)
        )
    samples += [Sample(frame, ellipse, Evidence.LOCKED, 1.0) for frame, ellipse in keys.items()]
    track = Track("followed", sorted(samples, key=lambda s: s.source_frame))
    try:
        write_document(TrackDocument(info, "follow", 1.0, [], [], [track], []), Path(request.output))
    except OSError as error:
        raise FaceBlurError(f"The track cannot be written to {request.output}: {error.strerror}.") from error
    send(Result(request.output, info.frame_count, 1, 0, time.monotonic() - began))


def _read_key(numbers: list[float]) -> tuple[int, Ellipse]:
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)) or min(numbers[3:5]) <= 0:
        raise FaceBlurError("A key must be an ellipse.")
    frame, cx, cy, rx, ry, angle = numbers
    return int(frame), Ellipse(cx, cy, rx, ry, angle)
