# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one detector on one picture in several passes: rotated, for lying faces, and in tiles, for tiny ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.detection.picture_sizes import compute_detector_size
from ..core.detection.settings import DetectorUse
from ..core.detection.turned import DetectTurned
from ..core.detection.windows import is_cut_off, map_to_picture, touches_edge
from ..core.geometry import compute_size
from ..core.types import Detection
from .base import FaceDetector, suppress_duplicates


@dataclass(frozen=True, slots=True)
class DetectionPassSettings:
    """How a picture is cut into tiles, and how the results of several passes are merged."""

    overlap_share: float = 0.4
    """Intersection over union (0..1) from which the less confident of two boxes from several passes is dropped. Raising
    it keeps more duplicates; lowering it drops faces that are close together. Origin not recorded."""
    tile_overlap_share: float = 0.125
    """How far a tile reaches beyond its share of the picture on each side, relative to that share. Raising it finds
    larger faces whole in one tile and takes time. Origin not recorded."""
    tile_edge_px: int = 2
    """Distance from a tile's edge, in pixels of the picture, within which a box counts as cut off. Raising it drops
    more boxes, which the neighbouring tile must find. Origin not recorded."""


DETECTION_PASSES = DetectionPassSettings()


@dataclass(frozen=True, slots=True)
class DetectionPass:
    """`turns` are clockwise rotations of the picture in degrees; the detector runs once for each.

    With `tiles` = n above 1 it sees n x n overlapping parts, each enlarged n times (so about as large as the picture).
    Detections larger than `largest`, a share of the picture's long side, are dropped, and so are those with less
    confidence than `threshold`, or than `edge_threshold` at the picture's edge, since one detector serves several
    passes.
    """

    detector: FaceDetector
    turns: tuple[int, ...] = (0,)
    tiles: int = 1
    largest: float = 1.0
    threshold: float = 0.0
    edge_threshold: float | None = None

    def accepts(self, found: Detection, size: tuple[int, int]) -> bool:
        """Whether a detection in a picture of that size (width, height) is confident and small enough."""
        threshold = self.threshold
        if self.edge_threshold is not None and touches_edge(found.box, size):
            threshold = self.edge_threshold
        return found.confidence >= threshold and (
            self.largest >= 1 or compute_size(found.box) <= self.largest * max(size)
        )


class MultiPassDetector:
    """Merges several passes over pictures of one size, in the picture's own pixels, with duplicates suppressed."""

    def __init__(self, passes: Sequence[DetectionPass]) -> None:
        self._passes = tuple(passes)

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        """As `FaceDetector.detect`; boxes of rotated passes enclose the leaning face, and landmarks are rotated
        back."""
        size = image_bgr.shape[1], image_bgr.shape[0]
        found = [d for one_pass in self._passes for d in _run_pass(image_bgr, one_pass) if one_pass.accepts(d, size)]
        if len(self._passes) == 1 and self._passes[0].turns == (0,) and self._passes[0].tiles == 1:
            return found
        boxes = np.array([d.box for d in found], np.float32).reshape(-1, 4)
        confidences = np.array([d.confidence for d in found], np.float32)
        return [found[i] for i in suppress_duplicates(boxes, confidences, DETECTION_PASSES.overlap_share)]


def combine_passes(
    used: Sequence[tuple[FaceDetector, DetectorUse]], frame_size: tuple[int, int]
) -> list[tuple[MultiPassDetector, DetectorUse]]:
    """One for each detector and size of picture, with all its turns and tiles; the order is kept.

    Each detector was opened with the least of its thresholds. Large sizes can become the same for a small source;
    identical passes, which would add nothing, run only once. All passes of one size run as often as the most frequent
    of them.
    """
    passes: dict[tuple[str, tuple[int, int]], dict[object, DetectionPass]] = {}
    uses: dict[tuple[str, tuple[int, int]], DetectorUse] = {}
    for detector, use in used:
        key = use.detector, compute_detector_size(frame_size, use.long_side)
        uses[key] = min(uses.get(key, use), use, key=lambda one: one.each_look)
        way = use.turns, use.tiles, use.largest, use.threshold, use.edge_threshold
        passes.setdefault(key, {})[way] = DetectionPass(detector, *way)
    return [(MultiPassDetector(list(passes[key].values())), use) for key, use in uses.items()]


def make_turned(sessions: Mapping[str, FaceDetector]) -> DetectTurned:
    """What searches turned pictures with these detectors, by their names."""

    def detect_turned(name: str, picture: NDArray[np.uint8], turns: Collection[int]) -> list[Detection]:
        return MultiPassDetector([DetectionPass(sessions[name], tuple(turns))]).detect(picture)

    return detect_turned


def _run_pass(picture: NDArray[np.uint8], one_pass: DetectionPass) -> Iterator[Detection]:
    if one_pass.tiles == 1:
        for turn in one_pass.turns:
            yield from _detect_turned(picture, one_pass.detector, turn)
        return
    import cv2

    height, width = picture.shape[:2]
    near_px = DETECTION_PASSES.tile_edge_px
    for top, bottom in split_side(height, one_pass.tiles):
        for left, right in split_side(width, one_pass.tiles):
            size = (right - left) * one_pass.tiles, (bottom - top) * one_pass.tiles
            part = np.asarray(cv2.resize(picture[top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR))
            for turn in one_pass.turns:
                for d in _detect_turned(part, one_pass.detector, turn):
                    placed = map_to_picture(d, left, top, one_pass.tiles)
                    # The neighbouring tile shows that face whole.
                    if not is_cut_off(placed.box, (left, top, right, bottom), (width, height), near_px):
                        yield placed


def split_side(length: int, parts: int) -> list[tuple[int, int]]:
    """Half-open ranges over 0..length that overlap by a quarter of a share: what one cuts off, the next has whole."""
    share = length / parts
    more = DETECTION_PASSES.tile_overlap_share * share
    return [
        (max(0, math.floor(i * share - more)), min(length, math.ceil((i + 1) * share + more))) for i in range(parts)
    ]


def _detect_turned(picture: NDArray[np.uint8], detector: FaceDetector, turn_deg: int) -> list[Detection]:
    """Detections in the picture rotated clockwise, mapped back to the unrotated picture."""
    if turn_deg % 360 == 0:
        return detector.detect(picture)
    import cv2

    height, width = picture.shape[:2]
    # OpenCV counts angles anticlockwise.
    forth = cv2.getRotationMatrix2D((width / 2, height / 2), -turn_deg, 1.0)
    c, s = abs(forth[0, 0]), abs(forth[0, 1])
    # The whole picture stays visible, with black around it.
    size = math.ceil(width * c + height * s - 1e-6), math.ceil(width * s + height * c - 1e-6)
    forth[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    quarter = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    if turn_deg % 360 in quarter:
        seen = cv2.rotate(picture, quarter[turn_deg % 360])
    else:
        # In OpenCV, whole numbers are pixel centres; here they are pixel corners.
        shifted = forth.copy()
        shifted[:, 2] += forth[:, :2] @ (0.5, 0.5) - 0.5
        seen = cv2.warpAffine(picture, shifted, size, flags=cv2.INTER_LINEAR)
    back = cv2.invertAffineTransform(forth)
    return [_turn_back(d, back, math.radians(turn_deg)) for d in detector.detect(np.asarray(seen, np.uint8))]


def _turn_back(d: Detection, back: NDArray[np.float64], turn: float) -> Detection:
    x1, y1, x2, y2 = d.box
    points = ((x1 + x2) / 2, (y1 + y2) / 2), *(d.landmarks or ())
    (cx, cy), *marks = (np.array(points) @ back[:, :2].T + back[:, 2]).tolist()
    # The box around the ellipse that was inscribed in the detected box and now leans.
    half_x = math.hypot((x2 - x1) / 2 * math.cos(turn), (y2 - y1) / 2 * math.sin(turn))
    half_y = math.hypot((x2 - x1) / 2 * math.sin(turn), (y2 - y1) / 2 * math.cos(turn))
    box = cx - half_x, cy - half_y, cx + half_x, cy + half_y
    return replace(d, box=box, landmarks=None if d.landmarks is None else tuple((x, y) for x, y in marks))
