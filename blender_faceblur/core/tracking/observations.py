# SPDX-License-Identifier: GPL-3.0-or-later
"""The observations from all processes of an analysis, by face; tracks are made of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array, compute_areas
from .tracker import FrameRecord

Appearance = tuple[int, bytes]
"""A frame, and the description of the face there (see `appearance.describe_appearance`)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The half-open range of frames that one process owns, out of those that it processes."""

    start: int
    stop: int


class ObservationTable:
    """All observations of all segments in compact columns: 48 bytes per face and frame."""

    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments
        self.cuts: set[int] = set()
        self.mixing: set[int] = set()
        self.joins: list[tuple[int, int]] = []
        self._detected_frames = array("i")
        self._frames = array("i")
        self._tracklets = array("q")
        self._numbers = array("f")
        self._appearances: dict[int, list[Appearance]] = {}
        self._received = [0] * len(segments)

    def add(self, segment: int, record: FrameRecord) -> None:
        """Add a record of a segment; ValueError if a frame that the segment owns comes out of order or twice."""
        own = self.segments[segment]
        if own.start <= record.source_frame < own.stop:
            if record.source_frame != own.start + self._received[segment]:
                raise ValueError(
                    f"received frame {record.source_frame} when {own.start + self._received[segment]} was due"
                )
            self._received[segment] += 1
            if record.cut:
                self.cuts.add(record.source_frame)
            if record.mixed:
                self.mixing.add(record.source_frame)
            if record.is_detected_frame:
                self._detected_frames.append(record.source_frame)
        for observation in record.observations:
            self._frames.append(record.source_frame)
            self._tracklets.append(self._number(segment, observation.tracklet))
            roll = float("nan") if observation.roll is None else observation.roll
            self._numbers.extend(
                (
                    *observation.box.tolist(),
                    observation.confidence,
                    roll,
                    observation.votes,
                    observation.face_score,
                    observation.sharpness,
                )
            )
            if observation.appearance and own.start <= record.source_frame < own.stop:
                appearances = self._appearances.setdefault(self._tracklets[-1], [])
                appearances[1:] = [(record.source_frame, observation.appearance)]
        for first, second in record.joins:
            self.joins.append((self._number(segment, first), self._number(segment, second)))

    def _number(self, segment: int, tracklet: int) -> int:
        return tracklet * len(self.segments) + segment

    def list_detected_frames(self) -> NDArray[np.int_]:
        """The frames in which all detectors ran, sorted."""
        return np.sort(np.array(self._detected_frames, int))

    @property
    def frame_count(self) -> int:
        """How many frames the segments own."""
        return sum(s.stop - s.start for s in self.segments)

    def count_missing(self) -> int:
        """How many owned frames have not been added."""
        return self.frame_count - sum(self._received)

    def build_trajectories(self) -> list[Trajectory]:
        """One trajectory per tracklet, in order of first frame."""
        frames = np.frombuffer(self._frames, np.int32) if self._frames else np.zeros(0, np.int32)
        numbers = np.frombuffer(self._numbers, np.float32).reshape(-1, 9) if self._frames else np.zeros((0, 9))
        tracklet_of = np.frombuffer(self._tracklets, np.int64) if self._frames else np.zeros(0, np.int64)
        order = np.lexsort((frames, tracklet_of))
        edges = np.nonzero(np.diff(tracklet_of[order]))[0] + 1
        trajectories = []
        for part in np.split(order, edges) if len(order) else []:
            number = int(tracklet_of[part[0]])
            segment = number % len(self.segments)
            own = self.segments[segment]
            rows = numbers[part].astype(float)
            if not (rows[:, 6] > 0).any():
                # Carried back from frames that this process never reported; the process that resumes finds the face.
                continue
            at = frames[part].astype(int)
            trajectories.append(
                Trajectory(
                    {number},
                    at,
                    rows[:, :4],
                    rows[:, 4],
                    rows[:, 5],
                    rows[:, 6],
                    rows[:, 7],
                    rows[:, 8],
                    (at >= own.start) & (at < own.stop),
                    self._appearances.get(number, []),
                )
            )
        return sorted(trajectories, key=lambda p: (p.frames[0], p.boxes[0, 0]))


@dataclass(slots=True)
class Trajectory:
    """Observations of one face, sorted by frame, one per frame. `owned`: whether the process owns the frame.

    `face_scores`, `sharpness`: see `tracker.Observation`; NaN in most frames.
    `appearances`: the first and the last one, if there are any.
    """

    numbers: set[int]
    frames: NDArray[np.int_]
    boxes: Array
    confidence: Array
    rolls: Array
    votes: Array
    face_scores: Array
    sharpness: Array
    owned: NDArray[np.bool_]
    appearances: list[Appearance] = field(default_factory=list)

    def join(self, other: Trajectory) -> Trajectory:
        """Both together. At a common frame an owned observation wins, then a detected one, then the more confident."""
        frames = np.concatenate([self.frames, other.frames])
        owned = np.concatenate([self.owned, other.owned])
        votes = np.concatenate([self.votes, other.votes])
        confidence = np.concatenate([self.confidence, other.confidence])
        order = np.lexsort((-confidence, votes == 0, ~owned, frames))
        keep = order[np.concatenate([[True], np.diff(frames[order]) > 0])]
        appearances = sorted(self.appearances + other.appearances)
        return Trajectory(
            self.numbers | other.numbers,
            frames[keep],
            np.concatenate([self.boxes, other.boxes])[keep],
            confidence[keep],
            np.concatenate([self.rolls, other.rolls])[keep],
            votes[keep],
            np.concatenate([self.face_scores, other.face_scores])[keep],
            np.concatenate([self.sharpness, other.sharpness])[keep],
            owned[keep],
            appearances[:1] + appearances[1:][-1:],
        )

    def select(self, rows: NDArray[np.int_] | NDArray[np.bool_]) -> Trajectory:
        """Some of its observations, by index or by mask."""
        return Trajectory(
            self.numbers,
            self.frames[rows],
            self.boxes[rows],
            self.confidence[rows],
            self.rolls[rows],
            self.votes[rows],
            self.face_scores[rows],
            self.sharpness[rows],
            self.owned[rows],
            self.appearances,
        )

    def is_detected(self) -> NDArray[np.bool_]:
        return self.votes > 0

    def compute_sharpness(self) -> float | None:
        """The sharpness (0..1) of its sharpest moment; None if none was measured."""
        known = self.sharpness[np.isfinite(self.sharpness)]
        return float(known.max()) if len(known) else None

    def compute_size(self) -> float:
        """The median size where it was detected: the square root of the box's area, in pixels."""
        return float(np.median(np.sqrt(compute_areas(self.boxes[self.is_detected()]))))
