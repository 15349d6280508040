# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures for lists and reports, in which the face is nothing but a few blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .types import Box, Ellipse

Picture = NDArray[np.uint8]
"""Height x width x 3, BGR."""

SAMPLES_ACROSS = 6
"""Blocks across a face."""

_FACE_ROOM, _FACE_SIDE = 1.35, 96
_PLACE_ROOM, _PLACE_SIDE, _LEAST_PX = 3.0, 320, 24


def draw_face(picture: Picture, ellipse: Ellipse) -> bytes:
    """A square JPEG of a face and a little around it, all of it in blocks; nothing where none of it shows."""
    import cv2

    reach = _FACE_ROOM * max(ellipse.rx, ellipse.ry)
    left, top, right, bottom = _cut((ellipse.cx - reach, ellipse.cy - reach, ellipse.cx + reach, ellipse.cy + reach),
                                    picture)
    if right - left < 2 or bottom - top < 2:
        return b""
    block = 2 * min(ellipse.rx, ellipse.ry) / SAMPLES_ACROSS
    blocks = max(1, int((right - left) / block)), max(1, int((bottom - top) / block))
    small = cv2.resize(picture[top:bottom, left:right], blocks, interpolation=cv2.INTER_AREA)
    scale = _FACE_SIDE / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    return _pack(np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST), np.uint8))


def draw_place(picture: Picture, box: Box) -> bytes:
    """A JPEG of a place and what is around it, what is in the box in blocks and framed in red."""
    import cv2

    reach = _PLACE_ROOM / 2 * max(box[2] - box[0], box[3] - box[1], _LEAST_PX)
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top, right, bottom = _cut((cx - reach, cy - reach, cx + reach, cy + reach), picture)
    if right - left < 2 or bottom - top < 2:
        return b""
    crop = picture[top:bottom, left:right].copy()
    x1, y1, x2, y2 = _cut((box[0] - left, box[1] - top, box[2] - left, box[3] - top), crop)
    if x2 > x1 and y2 > y1:
        small = cv2.resize(crop[y1:y2, x1:x2], (SAMPLES_ACROSS, SAMPLES_ACROSS), interpolation=cv2.INTER_AREA)
        crop[y1:y2, x1:x2] = cv2.resize(small, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
        cv2.rectangle(crop, (x1, y1), (x2 - 1, y2 - 1), (40, 40, 230), max(1, crop.shape[0] // 120))
    scale = min(1.0, _PLACE_SIDE / max(crop.shape[:2]))
    if scale < 1:
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return _pack(crop)


def _cut(box: Box, picture: Picture) -> tuple[int, int, int, int]:
    height, width = picture.shape[:2]
    return (min(max(round(box[0]), 0), width), min(max(round(box[1]), 0), height),
            min(max(round(box[2]), 0), width), min(max(round(box[3]), 0), height))


def _pack(picture: Picture) -> bytes:
    import cv2

    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
