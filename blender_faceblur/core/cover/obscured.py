# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures for lists and reports, in which faces are reduced to a few blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Box, Ellipse, Picture


@dataclass(frozen=True, slots=True)
class ObscuringSettings:
    """How large the small pictures of lists and reports are, and how little of a face they show."""

    samples_per_face: int = 6
    """Blocks across a face. Raising it reveals more of the person's identity (docs/strength.md). Origin not
    recorded."""
    face_reach_ratio: float = 1.35
    """Half the side of a face's picture, as a multiple of the face's longer semi-axis. Raising it shows more of the
    surroundings. Origin not recorded."""
    face_side_px: int = 96
    """Side of a face's picture, in pixels. Raising it makes reports larger. Origin not recorded."""
    place_ratio: float = 3.0
    """Side of a place's picture, as a multiple of the longer side of its box. Raising it shows more of the
    surroundings. Origin not recorded."""
    place_side_px: int = 320
    """Greatest side of a place's picture, in pixels. Raising it makes reports larger. Origin not recorded."""
    least_place_px: int = 24
    """Least side that is assumed for a place's box, in pixels of the source. Raising it shows more around tiny places.
    Origin not recorded."""
    jpeg_quality: int = 85
    """OpenCV's JPEG quality, 0..100. Raising it makes reports larger. Origin not recorded."""


OBSCURING = ObscuringSettings()


def draw_face(picture: Picture, ellipse: Ellipse) -> bytes:
    """A square JPEG of a face and its surroundings, all in blocks; empty if the face is outside the picture."""
    import cv2

    reach = OBSCURING.face_reach_ratio * max(ellipse.rx, ellipse.ry)
    left, top, right, bottom = _cut(
        (ellipse.cx - reach, ellipse.cy - reach, ellipse.cx + reach, ellipse.cy + reach), picture
    )
    if right - left < 2 or bottom - top < 2:
        return b""
    block = 2 * min(ellipse.rx, ellipse.ry) / OBSCURING.samples_per_face
    blocks = max(1, int((right - left) / block)), max(1, int((bottom - top) / block))
    small = cv2.resize(picture[top:bottom, left:right], blocks, interpolation=cv2.INTER_AREA)
    scale = OBSCURING.face_side_px / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    return _pack(np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST), np.uint8))


def draw_place(picture: Picture, box: Box) -> bytes:
    """A JPEG of a place and its surroundings, the box in blocks and framed in red; empty if outside the picture."""
    import cv2

    reach = OBSCURING.place_ratio / 2 * max(box[2] - box[0], box[3] - box[1], OBSCURING.least_place_px)
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top, right, bottom = _cut((cx - reach, cy - reach, cx + reach, cy + reach), picture)
    if right - left < 2 or bottom - top < 2:
        return b""
    crop = picture[top:bottom, left:right].copy()
    x1, y1, x2, y2 = _cut((box[0] - left, box[1] - top, box[2] - left, box[3] - top), crop)
    if x2 > x1 and y2 > y1:
        blocks = OBSCURING.samples_per_face, OBSCURING.samples_per_face
        small = cv2.resize(crop[y1:y2, x1:x2], blocks, interpolation=cv2.INTER_AREA)
        crop[y1:y2, x1:x2] = cv2.resize(small, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
        cv2.rectangle(crop, (x1, y1), (x2 - 1, y2 - 1), (40, 40, 230), max(1, crop.shape[0] // 120))
    scale = min(1.0, OBSCURING.place_side_px / max(crop.shape[:2]))
    if scale < 1:
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return _pack(crop)


def _cut(box: Box, picture: Picture) -> tuple[int, int, int, int]:
    height, width = picture.shape[:2]
    return (
        min(max(round(box[0]), 0), width),
        min(max(round(box[1]), 0), height),
        min(max(round(box[2]), 0), width),
        min(max(round(box[3]), 0), height),
    )


def _pack(picture: Picture) -> bytes:
    import cv2

    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, OBSCURING.jpeg_quality])[1])
