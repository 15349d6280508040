# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuse what several detectors and scales find of the same face into one detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Array, compute_areas, compute_overlaps, compute_roll, compute_shares_of_smaller
from ..types import Detection


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """Which detections of one frame show the same face."""

    same_overlap_share: float = 0.4
    """Intersection over union (0..1) from which two detections show one face. Raising it splits one face in two more
    often; lowering it merges faces that are close together. Origin not recorded."""
    contained_share: float = 0.7
    """Share (0..1) of the smaller box inside the larger one from which they also show one face. Raising it splits one
    face in two more often. Origin not recorded."""
    contained_area_ratio: float = 3.0
    """How many times larger the containing box's area may be for that. Raising it merges smaller parts of a face into
    it, but also small faces into large ones that they overlap. Origin not recorded."""
    agreed_overlap_share: float = 0.6
    """Intersection over union (0..1) from which a high-confidence box is averaged with the best one; below it the
    result is extended to contain both. Raising it covers more where detectors disagree. Origin: introduced so that both
    boxes are covered where confident detectors disagree; how it was chosen is not recorded."""
    rival_confidence_share: float = 0.8
    """Share (0..1) of the best box's confidence from which a box counts as high-confidence in that rule. Raising it
    averages more boxes away. Origin: that of `agreed_overlap_share`."""


FUSION = FusionSettings()


@dataclass(slots=True)
class FusedDetection:
    """A face in one frame: `box` (4,) in pixels, `roll` in radians or None, `votes`: how many detectors found it.

    `appearance`: its description by `appearance.describe`; empty if none was made. `is_at_edge`: whether the picture's
    edge may cut it off.
    """

    box: Array
    confidence: float
    roll: float | None
    votes: int
    appearance: bytes = b""
    is_at_edge: bool = False


def fuse_detections(detections: list[Detection]) -> list[FusedDetection]:
    """Group detections of one frame that show the same face, the most confident first.

    Two belong together if their boxes overlap by 0.4, or if the smaller lies in one of at most three times its area.
    Boxes that agree are averaged by confidence. The result is extended by boxes that merely contain or lie in the best
    one, and by boxes beside it (overlap below 0.6) with at least 0.8 of its confidence, so that nothing that a detector
    took for the face is lost.
    """
    if not detections:
        return []
    boxes = np.array([d.box for d in detections], dtype=float)
    confidence = np.array([d.confidence for d in detections])
    area = compute_areas(boxes)
    overlap = compute_overlaps(boxes, boxes)
    ratio = np.maximum(area[:, None], area[None, :]) / np.minimum(area[:, None], area[None, :])
    contained = (compute_shares_of_smaller(boxes, boxes) >= FUSION.contained_share) & (
        ratio <= FUSION.contained_area_ratio
    )
    same = (overlap >= FUSION.same_overlap_share) | contained
    free = np.ones(len(boxes), bool)
    fused = []
    for best in np.argsort(-confidence, kind="stable"):
        if not free[best]:
            continue
        group = np.nonzero(same[best] & free)[0]
        free[group] = False
        rival = confidence[group] >= FUSION.rival_confidence_share * confidence[best]
        needed = np.where(rival, FUSION.agreed_overlap_share, FUSION.same_overlap_share)
        agrees = overlap[best, group] >= needed
        agreeing, apart = group[agrees], group[~agrees]
        # With a threshold of 0 the best box can have no confidence, but it still needs a weight.
        weights = np.maximum(confidence[agreeing], 1e-6)
        box = weights @ boxes[agreeing] / weights.sum()
        if len(apart):
            box[:2] = np.minimum(box[:2], boxes[apart, :2].min(axis=0))
            box[2:] = np.maximum(box[2:], boxes[apart, 2:].max(axis=0))
        landmarks = detections[best].landmarks
        fused.append(
            FusedDetection(
                box,
                float(confidence[best]),
                None if landmarks is None else compute_roll(landmarks),
                len({detections[i].detector for i in group}),
            )
        )
    return fused
