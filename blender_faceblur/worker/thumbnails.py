# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut small pictures of faces out of a source and send them, without writing them to disk."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import Box, FaceBlurError
from .opening import open_requested
from .protocol import Finished, Started, Thumbnail, ThumbnailsRequest


@dataclass(frozen=True, slots=True)
class ThumbnailSettings:
    """How much of a source a small picture of a face shows."""

    side_ratio: float = 1.4
    """Side of the square that is cut out, in multiples of the longer side of the face's box. Raising it shows more of
    the surroundings. Origin not recorded."""
    least_face_px: float = 4.0
    """Least side of a face's box, in pixels of the source. Raising it shows more around tiny faces. Origin not
    recorded."""
    most_side_px: int = 512
    """Largest side of a picture that a request may ask for, in pixels. Raising it allows larger messages. Origin not
    recorded."""


THUMBNAILS = ThumbnailSettings()


def cut_faces(request: ThumbnailsRequest, send: Callable[[Any], None]) -> None:
    """Send a picture of each face, in the order of their frames. Raises FaceBlurError."""
    if not 1 <= request.side <= THUMBNAILS.most_side_px or any(len(face) != 5 for face in request.faces):
        raise FaceBlurError("The request names no valid faces for thumbnails.")
    with open_requested(request.source) as source:
        count = source.info.frame_count
        wanted = sorted((int(face[0]), number) for number, face in enumerate(request.faces) if 0 <= face[0] < count)
        send(Started(len(wanted)))
        for frame, group in groupby(wanted, key=lambda pair: pair[0]):
            _, picture = next(iter(source.read_frames(frame, frame + 1)))
            for _, number in group:
                x1, y1, x2, y2 = request.faces[number][1:]
                seen = cut_square(picture, (x1, y1, x2, y2), request.side)
                send(Thumbnail(number, request.side, base64.b64encode(seen.tobytes()).decode("ascii")))
        send(Finished(len(wanted), source.notes()))


def cut_square(picture: NDArray[np.uint8], box: Box, side: int) -> NDArray[np.uint8]:
    """The surroundings of a box in a BGR picture as `side` x `side` x 3 RGB, with repeated edges beyond it."""
    import cv2

    height, width = picture.shape[:2]
    reach = (
        min(max(box[2] - box[0], box[3] - box[1], THUMBNAILS.least_face_px) * THUMBNAILS.side_ratio, max(width, height))
        / 2
    )
    x, y = (
        min(max((low + high) / 2, 0.0), most) for low, high, most in ((box[0], box[2], width), (box[1], box[3], height))
    )
    columns, rows = (
        np.clip(np.arange(round(at - reach), max(round(at + reach), round(at - reach) + 1)), 0, most - 1)
        for at, most in ((x, width), (y, height))
    )
    square = picture[rows[:, None], columns, ::-1]
    shrinks = len(columns) > side
    return np.asarray(
        cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )
