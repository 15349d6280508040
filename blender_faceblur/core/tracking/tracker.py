# SPDX-License-Identifier: GPL-3.0-or-later
"""Track faces through consecutive frames: match detections to tracklets, and carry them over gaps by optical flow.

Faces are carried forward when they are no longer detected and, once proven to be faces, backward from their first
detection. The results are numbers only, so that later stages need no pictures.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ..detection.fusion import FusedDetection
from ..geometry import Array, compute_centre, compute_overlaps, compute_shares_of_smaller, compute_size
from ..types import Picture

Flow = Callable[[Picture, Picture, list[Array]], list[Array | None]]
"""Takes two grey pictures (H x W) and boxes in the first; returns the boxes in the second, None for lost ones."""


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """How detections become tracklets, and for how long optical flow carries a tracklet without a detection.

    A face's size is the side of the square with its box's area. A tracklet is "proven" once it has enough detections to
    count as a face.
    """

    match_overlap_share: float = 0.25
    """Intersection over union (0..1) from which a detection may continue a tracklet. Raising it breaks the tracklets
    of fast faces; lowering it lets neighbours swap. Origin not recorded."""
    proven_bonus: float = 0.1
    """Added to the overlap of a proven tracklet when several compete for a detection, so that long tracklets win over
    stray ones at the same place. Raising it favours them even where they fit worse. Origin not recorded."""
    near_sizes: float = 0.75
    """Greatest distance, in sizes of the face, between a detection and a tracklet that optical flow has also lost, for
    the detection to continue it. Raising it bridges faster motion and may take a neighbour for the face. Origin not
    recorded."""
    near_size_ratio: float = 1.7
    """How many times larger or smaller that detection may be. Raising it accepts faster zooms, and other people's
    faces. Origin not recorded."""
    same_place_share: float = 0.5
    """Intersection over union (0..1) from which two boxes are at one place: a tracklet is no longer carried where
    another was detected, two tracklets that meet are joined, and a face that was sought is found. Raising it keeps
    duplicates side by side for longer. Origin not recorded."""
    duplicate_share: float = 0.9
    """Share of a low-confidence detection inside a larger face of the same frame, above which it starts no tracklet
    because it is part of that face. Raising it starts more tracklets on noses and ears. Origin not recorded."""
    drifted_sizes: float = 0.25
    """Greatest distance, in sizes of the face, that optical flow may carry a face between two detection passes before
    the detectors run again. Raising it saves detection passes and lets covers drift. Origin: introduced with detection
    in every third frame, which lost no annotated face, clear or hard; how it was chosen is not recorded."""
    drift_memory_share: float = 0.5
    """Weight (0..1) of the previous motion when a tracklet's motion from frame to frame is averaged with the newest
    step. Raising it smooths the predicted motion and makes it lag. Origin not recorded."""
    drift_decay_share: float = 0.8
    """Factor on a tracklet's motion after each frame in which it waits to be detected again. Raising it predicts the
    face farther along its way. Origin not recorded."""
    carry_unproven_s: float = 0.2
    """Seconds for which optical flow carries a tracklet that is not proven. Raising it covers more that is not a face.
    Origin not recorded."""
    carry_low_confidence_s: float = 0.4
    """Seconds for a proven tracklet with at most one high-confidence detection, forwards and backwards. Raising it
    bridges longer gaps and covers more that is not a face. Origin not recorded."""
    carry_s: float = 1.25
    """Seconds for a proven tracklet with at least two high-confidence detections. Raising it covers faces that are
    hidden for longer, lets covers drift off, and makes neighbouring processes share more frames. Origin not
    recorded."""
    carry_back_s: float = 1.0
    """Seconds for which a proven tracklet is carried backwards from its first detection. Raising it covers faces
    earlier, delays every record, and keeps more pictures in memory. Origin not recorded."""
    carry_confidence_decay: float = 0.97
    """Factor on a tracklet's confidence for each frame of optical flow. Raising it makes carried frames look more
    certain. Origin not recorded."""
    wait_s: float = 0.6
    """Seconds for which a tracklet that can no longer be carried waits, invisible, to be detected again. Raising it
    joins longer interruptions, and joins them to the wrong face more often. Origin not recorded."""
    proven_detections: int = 3
    """Detections, at least one of high confidence, that prove a tracklet if the detectors run on every frame; otherwise
    fewer suffice. Raising it carries new faces later. Origin not recorded."""
    proven_low_confidence_detections: int = 8
    """Detections that prove a tracklet without a high-confidence one. Raising it carries faint faces later, and delays
    every record. Origin not recorded."""


TRACKING = TrackingSettings()


@dataclass(slots=True)
class Observation:
    """A tracklet's box (4,) at one frame: detected (votes above 0) or carried there by optical flow (votes 0).

    `appearance`: see `fusion.FusedDetection`. `face_score` (0..1): how much the picture here looks like a face to the
    network that gives the second opinion, and `sharpness` (0..1) how sharp it is; NaN where nobody was asked.
    """

    tracklet: int
    box: Array
    confidence: float
    roll: float | None
    votes: int
    appearance: bytes = b""
    face_score: float = math.nan
    sharpness: float = math.nan


@dataclass(slots=True)
class FrameRecord:
    """All that is known of one source frame. `mixed`: a gradual transition was in progress just before it."""

    source_frame: int
    cut: bool
    mixed: bool
    observations: list[Observation] = field(default_factory=list)
    joins: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of tracklets that met here, the earlier one first: probably the same face."""
    is_detected_frame: bool = True
    """Whether all detectors ran."""


@dataclass(slots=True)
class _Tracklet:
    number: int
    box: Array
    first_frame: int
    last_found: int
    confidence: float
    found_at: tuple[float, float]
    drift: Array = field(default_factory=lambda: np.zeros(2))
    detection_count: int = 1
    strong_count: int = 0
    proven: bool = False
    carried: bool = True
    """False while the tracklet waits, invisible, to be detected again."""
    began_at_edge: bool = False

    def predict(self) -> Array:
        return self.box + np.concatenate((self.drift, self.drift))


@dataclass(slots=True)
class _CarriedBack:
    """A tracklet on its way back; `last` is the position in the ring where it ends."""

    number: int
    box: Array
    confidence: float
    last: int


def _place_before(carried: _CarriedBack, box: Array | None, record: FrameRecord) -> bool:
    """Add a tracklet that is carried back to the record before, unless it meets another one; whether it goes on."""
    if box is None:
        return False
    others = [r for r in record.observations if r.tracklet != carried.number]
    if others:
        overlap = compute_overlaps(box[None], np.array([r.box for r in others]))[0]
        if overlap.max() > TRACKING.same_place_share:
            record.joins.append((others[int(overlap.argmax())].tracklet, carried.number))
            return False
    carried.box = box
    carried.confidence *= TRACKING.carry_confidence_decay
    record.observations.append(Observation(carried.number, box, carried.confidence, None, 0))
    return True


def _are_covered(tracklets: list[_Tracklet], record: FrameRecord) -> list[bool]:
    """For each tracklet whether a face was detected at its place in this frame."""
    found = [observation.box for observation in record.observations if observation.votes]
    if not found or not tracklets:
        return [False] * len(tracklets)
    overlaps = compute_overlaps(np.array([tracklet.box for tracklet in tracklets]), np.array(found))
    covered: list[bool] = (overlaps.max(axis=1) > TRACKING.same_place_share).tolist()
    return covered


def _blend_drift(before: Array, step: Array) -> Array:
    memory = TRACKING.drift_memory_share
    return memory * before + (1 - memory) * step


class Tracker:
    """Takes frames in order by `step` and returns their records about a second later; `finish` returns the rest."""

    def __init__(self, frame_rate: float, strong_confidence: float, flow: Flow, stride: int = 1) -> None:
        """`strong_confidence` is the confidence from which one detection is trusted. Detectors run at least on every
        `stride`th frame."""
        self._strong_confidence = strong_confidence
        self._flow = flow
        self._unproven_carry = max(3, round(TRACKING.carry_unproven_s * frame_rate), 2 * stride)
        self._low_confidence_carry = max(3, round(TRACKING.carry_low_confidence_s * frame_rate))
        self._carry = max(4, round(TRACKING.carry_s * frame_rate))
        self._coast = max(3, round(TRACKING.wait_s * frame_rate))
        self._backward = max(3, round(TRACKING.carry_back_s * frame_rate))
        self._stride = stride
        # Detections in neighbouring frames are not independent: what counts is how long a face was detected.
        self._proving_detections = max(2, math.ceil(TRACKING.proven_detections / stride))
        self._proving_low_confidence_detections = max(3, math.ceil(TRACKING.proven_low_confidence_detections / stride))
        self._delay = self._backward + self._proving_low_confidence_detections * stride
        self._ring: deque[tuple[Picture, FrameRecord]] = deque()
        self._tracklets: list[_Tracklet] = []
        self._count = 0

    @staticmethod
    def compute_reach(frame_rate: float) -> int:
        """How many frames before and after a range must be processed to get the same records as from all frames."""
        return max(4, round(TRACKING.carry_s * frame_rate)) + 1

    @property
    def newest(self) -> FrameRecord:
        """The record of the latest frame."""
        return self._ring[-1][1]

    def step(
        self,
        source_frame: int,
        detections: list[FusedDetection] | None,
        picture: Picture,
        cut: bool,
        mixed: bool,
        more_passes: Callable[[list[Array]], Iterable[list[FusedDetection]]] | None = None,
    ) -> list[FrameRecord]:
        """Process the next frame and return the records that are complete. `picture` is kept for about a second.

        `detections` is None if no detector ran. If optical flow then loses a face, detection passes from `more_passes`
        search around the expected positions until all are found; each pass returns all detections so far.
        """
        if cut:
            self._tracklets.clear()
        record = FrameRecord(source_frame, cut, mixed)
        self._ring.append((picture, record))
        flowed: dict[int, Array | None] | None = None
        if detections is None:
            flowed = self._apply_flow(self._tracklets)
            sought = [
                c
                for c in self._tracklets
                if c.carried
                and (
                    (c.strong_count and self._needs_detection(c, flowed[c.number]))
                    or self._may_come_in(c, source_frame)
                )
            ]
            places = [c.predict() if (box := flowed[c.number]) is None else box for c in sought]
            for seen in more_passes(places) if more_passes is not None and sought else ():
                detections = seen
                if self._are_among(detections, places):
                    break
        record.is_detected_frame = detections is not None
        detections = detections or []
        free = self._match(
            record, detections, [c.predict() for c in self._tracklets], self._tracklets, list(range(len(detections)))
        )
        lost = [c for c in self._tracklets if c.last_found != source_frame]
        if lost:
            carried = self._apply_flow(lost) if flowed is None else flowed
            kept = [(c, b) for c in lost if (b := carried[c.number]) is not None]
            free = self._match(record, detections, [b for _, b in kept], [c for c, _ in kept], free)
            free = self._match_near(record, detections, [c for c in lost if c.last_found != source_frame], free)
            still_lost = [c for c in lost if c.last_found != source_frame]
            for tracklet, is_covered in zip(still_lost, _are_covered(still_lost, record), strict=True):
                self._carry_on(tracklet, carried[tracklet.number], record, is_covered)
        for i in free:
            self._begin_tracklet(record, detections[i])
        self._tracklets = [c for c in self._tracklets if self._lives(c, source_frame)]
        proven = [c for c in self._tracklets if not c.proven and self._is_proven(c)]
        for tracklet in proven:
            tracklet.proven = True
        self._carry_back(proven)
        done = []
        while len(self._ring) > self._delay:
            done.append(self._ring.popleft()[1])
        return done

    def finish(self) -> list[FrameRecord]:
        records = [record for _, record in self._ring]
        self._ring.clear()
        self._tracklets.clear()
        return records

    def _apply_flow(self, tracklets: list[_Tracklet]) -> dict[int, Array | None]:
        """Boxes by tracklet number, moved from the previous frame; None for tracklets that wait or were lost."""
        moving = [c for c in tracklets if c.carried]
        places: dict[int, Array | None] = dict.fromkeys((c.number for c in tracklets), None)
        if moving and len(self._ring) > 1:
            boxes = self._flow(self._ring[-2][0], self._ring[-1][0], [c.box for c in moving])
            places.update(zip((c.number for c in moving), boxes, strict=True))
        return places

    def _needs_detection(self, tracklet: _Tracklet, flowed: Array | None) -> bool:
        """Whether flow lost a face, or carried it so far that it must be detected again."""
        if flowed is None:
            return True
        way = np.subtract(compute_centre(flowed), tracklet.found_at)
        return bool(np.hypot(*way) > TRACKING.drifted_sizes * compute_size(flowed))

    def _may_come_in(self, tracklet: _Tracklet, source_frame: int) -> bool:
        """Whether the frame before showed, for the first time and uncertainly, a face that the picture's edge cuts off.

        More of it may show now, and it may be hidden again before the next regular detection pass.
        """
        return tracklet.began_at_edge and tracklet.first_frame == source_frame - 1 and not tracklet.strong_count

    def _are_among(self, detections: list[FusedDetection], places: list[Array]) -> bool:
        """Whether the faces expected at these places are all among the high-confidence detections."""
        sure = [detection.box for detection in detections if self._is_strong(detection)]
        if not sure:
            return False
        overlaps = compute_overlaps(np.array(places), np.array(sure))
        return bool((overlaps.max(axis=1) >= TRACKING.same_place_share).all())

    def _match(
        self,
        record: FrameRecord,
        detections: list[FusedDetection],
        places: list[Array],
        tracklets: list[_Tracklet],
        free: list[int],
    ) -> list[int]:
        """Assign free detections to the tracklets that they overlap most; returns those still free."""
        if not places or not free:
            return free
        overlap = compute_overlaps(np.array(places), np.array([detections[i].box for i in free]))
        # Long tracklets win over stray ones at the same place.
        worth = overlap + TRACKING.proven_bonus * np.array([[c.proven] for c in tracklets])
        # In a crowd most pairs are far apart.
        rows, columns = np.nonzero(overlap >= TRACKING.match_overlap_share)
        order = np.argsort(-worth[rows, columns], kind="stable")
        taken = set()
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            if tracklets[row].last_found == record.source_frame or free[column] in taken:
                continue
            taken.add(free[column])
            self._extend_by_detection(tracklets[row], detections[free[column]], record)
        return [i for i in free if i not in taken]

    def _match_near(
        self, record: FrameRecord, detections: list[FusedDetection], tracklets: list[_Tracklet], free: list[int]
    ) -> list[int]:
        """Assign free detections of similar size nearby to tracklets that flow also lost; returns those still free."""
        centres = np.array([compute_centre(detections[i].box) for i in free]).reshape(-1, 2)
        sizes = np.array([compute_size(detections[i].box) for i in free])
        for tracklet in sorted(tracklets, key=lambda c: -c.detection_count):
            if not free:
                break
            size = compute_size(tracklet.box)
            distances = np.hypot(*(centres - compute_centre(tracklet.box)).T) / size
            ratio = TRACKING.near_size_ratio
            near = (distances <= TRACKING.near_sizes) & (1 / ratio <= sizes / size) & (sizes / size <= ratio)
            if near.any():
                best = int(np.where(near, distances, np.inf).argmin())
                self._extend_by_detection(tracklet, detections[free[best]], record)
                free = free[:best] + free[best + 1 :]
                centres, sizes = np.delete(centres, best, axis=0), np.delete(sizes, best)
        return free

    def _extend_by_detection(self, tracklet: _Tracklet, detection: FusedDetection, record: FrameRecord) -> None:
        if tracklet.carried and record.source_frame - tracklet.last_found <= 1 + self._stride:
            step = np.array(compute_centre(detection.box)) - np.array(compute_centre(tracklet.box))
            tracklet.drift = _blend_drift(tracklet.drift, step)
        else:
            tracklet.drift = np.zeros(2)
        tracklet.box = detection.box
        tracklet.found_at = compute_centre(detection.box)
        tracklet.last_found = record.source_frame
        tracklet.detection_count += 1
        tracklet.strong_count += self._is_strong(detection)
        tracklet.carried = True
        tracklet.confidence = detection.confidence
        record.observations.append(
            Observation(
                tracklet.number,
                detection.box,
                detection.confidence,
                detection.roll,
                detection.votes,
                detection.appearance,
            )
        )

    def _is_strong(self, detection: FusedDetection) -> bool:
        return detection.confidence >= self._strong_confidence or detection.votes > 1

    def _begin_tracklet(self, record: FrameRecord, detection: FusedDetection) -> None:
        if record.observations and not self._is_strong(detection):
            inside = compute_shares_of_smaller(detection.box[None], np.array([r.box for r in record.observations]))[0]
            smaller = compute_size(detection.box) < max(
                compute_size(record.observations[int(i)].box) for i in [inside.argmax()]
            )
            if smaller and inside.max() > TRACKING.duplicate_share:
                return
        tracklet = _Tracklet(
            self._count,
            detection.box,
            record.source_frame,
            record.source_frame,
            detection.confidence,
            compute_centre(detection.box),
        )
        tracklet.strong_count = int(self._is_strong(detection))
        tracklet.began_at_edge = detection.is_at_edge
        self._count += 1
        self._tracklets.append(tracklet)
        record.observations.append(
            Observation(
                tracklet.number,
                detection.box,
                detection.confidence,
                detection.roll,
                detection.votes,
                detection.appearance,
            )
        )

    def _carry_on(self, tracklet: _Tracklet, box: Array | None, record: FrameRecord, is_covered: bool) -> None:
        """Carry a tracklet on to `box`, or let it wait, as where another one was detected at its place."""
        if box is None or record.source_frame - tracklet.last_found > self._limit(tracklet) or is_covered:
            tracklet.carried = False
            tracklet.drift = TRACKING.drift_decay_share * tracklet.drift
            return
        tracklet.drift = _blend_drift(
            tracklet.drift, np.array(compute_centre(box)) - np.array(compute_centre(tracklet.box))
        )
        tracklet.box = box
        tracklet.confidence *= TRACKING.carry_confidence_decay
        record.observations.append(Observation(tracklet.number, box, tracklet.confidence, None, 0))

    def _lives(self, tracklet: _Tracklet, source_frame: int) -> bool:
        limit = self._limit(tracklet)
        return source_frame - tracklet.last_found <= (limit if tracklet.carried else min(limit, self._coast))

    def _limit(self, tracklet: _Tracklet) -> int:
        """For how many frames a tracklet is carried without a detection: longer the more certainly it is a face."""
        if not tracklet.proven:
            return self._unproven_carry
        return self._carry if tracklet.strong_count > 1 else self._low_confidence_carry

    def _is_proven(self, tracklet: _Tracklet) -> bool:
        return tracklet.detection_count >= (
            self._proving_detections if tracklet.strong_count else self._proving_low_confidence_detections
        )

    def _carry_back(self, tracklets: list[_Tracklet]) -> None:
        """Carry tracklets back from their first frames, each until flow fails, a cut comes, or it meets another one."""
        newest = self._ring[-1][1].source_frame
        begun: dict[int, list[_Tracklet]] = {}
        for tracklet in tracklets:
            begun.setdefault(len(self._ring) - 1 - (newest - tracklet.first_frame), []).append(tracklet)
        # All tracklets together, one frame after the other: each frame's pictures are prepared once.
        carried: list[_CarriedBack] = []
        for i in range(max(begun, default=0), 0, -1):
            (picture, record), (earlier, before) = self._ring[i], self._ring[i - 1]
            for tracklet in begun.get(i, ()):
                box = next(r.box for r in record.observations if r.tracklet == tracklet.number)
                steps = self._backward if tracklet.strong_count > 1 else self._low_confidence_carry
                carried.append(_CarriedBack(tracklet.number, box, tracklet.confidence, max(0, i - steps)))
            # Tracklets that were proven first are carried first, as others may meet them.
            carried = [] if record.cut else sorted((c for c in carried if i > c.last), key=lambda c: c.number)
            if not carried:
                continue
            boxes = self._flow(picture, earlier, [c.box for c in carried])
            carried = [c for c, box in zip(carried, boxes, strict=True) if _place_before(c, box, before)]
