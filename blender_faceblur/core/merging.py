# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one hit of what several detectors and scales say about the same face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Array, areas, overlaps, roll_from_landmarks, shares_of_smaller
from .types import Detection

_SAME_OVERLAP = 0.4
_SAME_SHARE, _SAME_AREA_RATIO = 0.7, 3.0
_AGREED_OVERLAP, _STRONGER = 0.6, 0.8


@dataclass(slots=True)
class Hit:
    """A face found in one frame: `box` (4,) in pixels, `roll` in radians or None, `voices` different detectors.

    `look`: what `appearance.describe` says of it, empty where that was not asked.
    """

    box: Array
    confidence: float
    roll: float | None
    voices: int
    look: bytes = b""


def merge_detections(detections: list[Detection]) -> list[Hit]:
    """Group detections of one frame that show the same face, surest first.

    Two belong together when their boxes overlap by 0.4, or the smaller lies in one of at most three times its area.
    Boxes that agree are averaged by confidence. A box that only contains, or lies in, the best one extends it, and so
    does one that lies beside it (overlaps by less than 0.6) with at least 0.8 of its confidence: nothing that a
    detector took for the face is lost.
    """
    if not detections:
        return []
    boxes = np.array([d.box for d in detections], dtype=float)
    confidence = np.array([d.confidence for d in detections])
    area = areas(boxes)
    overlap = overlaps(boxes, boxes)
    ratio = np.maximum(area[:, None], area[None, :]) / np.minimum(area[:, None], area[None, :])
    same = (overlap >= _SAME_OVERLAP) | ((shares_of_smaller(boxes, boxes) >= _SAME_SHARE) & (ratio <= _SAME_AREA_RATIO))
    free = np.ones(len(boxes), bool)
    hits = []
    for best in np.argsort(-confidence, kind="stable"):
        if not free[best]:
            continue
        group = np.nonzero(same[best] & free)[0]
        free[group] = False
        needed = np.where(confidence[group] >= _STRONGER * confidence[best], _AGREED_OVERLAP, _SAME_OVERLAP)
        agrees = overlap[best, group] >= needed
        agreeing, apart = group[agrees], group[~agrees]
        # A best one without confidence (a threshold of 0) still has its place.
        box = np.average(boxes[agreeing], axis=0, weights=np.maximum(confidence[agreeing], 1e-6))
        if len(apart):
            box[:2] = np.minimum(box[:2], boxes[apart, :2].min(axis=0))
            box[2:] = np.maximum(box[2:], boxes[apart, 2:].max(axis=0))
        landmarks = detections[best].landmarks
        hits.append(Hit(
            box,
            float(confidence[best]),
            None if landmarks is None else roll_from_landmarks(landmarks),
            len({detections[i].detector for i in group}),
        ))
    return hits
