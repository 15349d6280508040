# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's types: detections, tracks, and what is written to a mask.

Pixel coordinates are those of the picture as Blender's strip shows it (after rotation metadata), x to the right, y
down, with the outer corner of the first pixel at (0, 0). Frames are source frames counted from 0; ranges are half-open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""

Picture = NDArray[np.uint8]
"""Height x width x 3, BGR, or height x width where a grey picture is meant."""

Color = tuple[float, float, float, float]
"""Red, green, blue and alpha, from 0 to 1."""

Warn = Callable[[str], None]
"""Passes a sentence on to the user."""


class FaceBlurError(Exception):
    """An error that the user must see. Its text is one line."""


class Evidence(str, Enum):
    """How the position of a sample was obtained. The values are those of the tracks document."""

    DETECTED = "detected"
    FLOW = "flow"
    INTERPOLATED = "interpolated"
    EXTRAPOLATED = "held"
    LOCKED = "locked"
    """An editor set it; later analyses do not move it."""


class TrackKind(StrEnum):
    """What a track shows. The values are those of the tracks document."""

    FACE = "face"
    PLATE = "plate"
    """A number plate that a detector found."""
    TEXT = "text"
    """A line of text that a detector found."""
    REGION = "region"
    """An area that an editor drew, to be covered like a face: a sign, a screen, a number plate."""
    NEVER = "never"
    """An area that an editor drew, in which no face is covered: a poster. It is kept among the tracks that are not
    covered."""


class TrackStatus(StrEnum):
    """Whether a track is covered and, if not, who decided that. The values are those of the tracks document."""

    COVERED = "covered"
    SUPPRESSED = "suppressed"
    """The program does not cover it; `Track.suppression` says why."""
    DELETED = "deleted"
    """An editor deleted it."""
    EXEMPT = "exempt"
    """It lies in a region of `TrackKind.NEVER`, which `Track.never_region` names, or is such a region."""
    ALLOWED = "allowed"
    """It shows a person who stays visible (`Track.allowed_person`)."""

    @property
    def is_editor_decision(self) -> bool:
        """Whether a person, not the program, decided that the track is not covered."""
        return self in (TrackStatus.DELETED, TrackStatus.EXEMPT, TrackStatus.ALLOWED)


class SuppressionReason(StrEnum):
    """Why the program does not cover a track. Each reason is also a `ReviewReason` of the same value."""

    LOW_CONFIDENCE = "low_confidence"
    """Detected in only a few frames, with low confidence."""
    RARELY_DETECTED = "rarely_detected"
    """Large, detected by only one of several detectors, and in few of the frames in which all of them ran."""
    UNLIKELY_FACE = "unlikely_face"
    """All that is known about it together, with the opinion of another network, says that it is no face."""
    NOT_FOUND_AGAIN = "not_found_again"
    """It was covered before, but a later analysis did not find it."""
    UNKNOWN = "unknown"
    """A document gives no reason, or one that this program does not know."""


class ReviewReason(StrEnum):
    """Why an editor should review a place. The values are those of the tracks document."""

    ENDS = "ends"
    """The track ends in the middle of the picture."""
    BEGINS = "begins"
    """The track begins in the middle of the picture."""
    GRADUAL_TRANSITION = "gradual_transition"
    FLOW_ONLY = "flow_only"
    """For a while the face was not detected, only tracked by optical flow or interpolated."""
    FAST_MOTION = "fast_motion"
    JUMP = "jump"
    """For a moment the face lies elsewhere than just before and just after."""
    DETECTORS_DISAGREE = "detectors_disagree"
    """Only one detector finds the face in these frames; several find it in most others."""
    SINGLE_DETECTOR = "single_detector"
    """A large face that only one detector ever finds."""

    LOW_CONFIDENCE = "low_confidence"
    RARELY_DETECTED = "rarely_detected"
    UNLIKELY_FACE = "unlikely_face"
    NOT_FOUND_AGAIN = "not_found_again"

    DIFFERENT_PERSON = "different_person"
    """From here on the track may show another person, so it is covered."""
    NOT_RECOGNIZED = "not_recognized"
    """The person who stays visible was not recognised here."""
    WEAK_EVIDENCE = "weak_evidence"
    """The person stays visible, although there is little evidence of who it is."""
    AMBIGUOUS_PERSON = "ambiguous_person"
    """The face resembles two people."""
    PERSON_ELSEWHERE = "person_elsewhere"
    """The face resembles a person who is elsewhere in the picture."""
    TOO_FEW_FACE_CROPS = "too_few_views"
    """The face was never seen well enough to recognise the person. Only documents of earlier versions have this: such a
    face is covered, so nobody needs to look."""

    UNKNOWN = "unknown"
    """A document gives no reason, or one that this program does not know."""


class Verdict(StrEnum):
    """What an editor decided about a review item. The values are those of the tracks document."""

    CONFIRMED = "fine"
    FIXED = "fixed"
    TURNED_OFF = "off"
    COVERED = "covered"
    UNCOVERED = "left"
    """It stays uncovered; also used for tracks that were uncovered outside the review."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One face, or one object of the kind that its detector `finds`, in one source frame.

    `box` reaches roughly from brow to chin. `landmarks` are None or (x, y) in the order right eye, left eye, nose tip,
    right and left mouth corner; right is the person's right, which appears on the left.
    """

    box: Box
    confidence: float
    detector: str
    landmarks: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse in pixels: centre, semi-axes and clockwise rotation (radians, as seen on the screen)."""

    cx: float
    cy: float
    rx: float
    ry: float
    angle: float = 0.0

    def scaled(self, factor: float) -> Ellipse:
        return Ellipse(self.cx, self.cy, self.rx * factor, self.ry * factor, self.angle)

    def grown(self, margin_px: float) -> Ellipse:
        return Ellipse(self.cx, self.cy, self.rx + margin_px, self.ry + margin_px, self.angle)

    @classmethod
    def inscribed(cls, box: Box, angle: float = 0.0) -> Ellipse:
        x1, y1, x2, y2 = box
        return cls((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2, angle)


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a track's face is at one source frame: the face itself, without the margin."""

    source_frame: int
    ellipse: Ellipse
    evidence: Evidence
    confidence: float


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why the program does not cover a track, with the counts that belong to the reason."""

    reason: SuppressionReason
    detected_frames: int = 0
    """Frames in which the track was detected; set for LOW_CONFIDENCE and RARELY_DETECTED."""
    searched_frames: int = 0
    """Frames within the track in which all detectors ran; set for RARELY_DETECTED."""
    text: str = ""
    """The document's own words where it gives no known reason; for display only."""


@dataclass(slots=True)
class Track:
    """One identity that the editor sees. `samples` are sorted by frame; frames may be missing (a gap)."""

    name: str
    samples: list[Sample]
    kind: TrackKind = TrackKind.FACE
    locked: bool = False
    """Later analyses do not change it."""
    off: list[tuple[int, int]] = field(default_factory=list)
    """Half-open frame ranges, sorted and disjoint, in which the editor turned the cover off."""
    status: TrackStatus = TrackStatus.COVERED
    suppression: Suppression | None = None
    """Set for a SUPPRESSED track."""
    allowed_person: str = ""
    """The name of the person who stays visible; set for an ALLOWED track."""
    never_region: str = ""
    """The name of the region in which an EXEMPT track lies; empty for the region itself."""
    sharpness: float | None = None
    """How sharp its picture is at its sharpest measured moment: from 0, which shows nobody, to 1. None if unknown."""

    def cover(self) -> None:
        """Set the status to COVERED and clear the details of any other status."""
        self.status, self.suppression, self.allowed_person, self.never_region = TrackStatus.COVERED, None, "", ""

    @property
    def is_editor_decision(self) -> bool:
        """Whether a person, not the program, decided that the track is not covered."""
        return self.kind is TrackKind.NEVER or self.status.is_editor_decision

    def list_covered_spans(self) -> list[tuple[int, int]]:
        """The half-open frame ranges in which the track is covered: its spans without the ranges in `off`."""
        spans = []
        for start, stop in self.list_spans():
            shown = start
            for off_start, off_stop in self.off:
                if shown < min(off_start, stop):
                    spans.append((shown, min(off_start, stop)))
                shown = max(shown, min(off_stop, stop))
            if shown < stop:
                spans.append((shown, stop))
        return spans

    def list_spans(self) -> list[tuple[int, int]]:
        """The half-open frame ranges in which the track has samples."""
        spans: list[tuple[int, int]] = []
        for sample in self.samples:
            if spans and spans[-1][1] == sample.source_frame:
                spans[-1] = (spans[-1][0], sample.source_frame + 1)
            else:
                spans.append((sample.source_frame, sample.source_frame + 1))
        return spans


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A place that an editor should review: a track too weak to be covered, or part of a covered one."""

    start: int
    stop: int
    box: Box
    confidence: float
    reason: ReviewReason
    track: str = ""
    """The name of the track concerned, covered or not; empty if there is none."""
    detected_frames: int = 0
    """As in `Suppression`."""
    searched_frames: int = 0
    """As in `Suppression`."""
    text: str = ""
    """The document's own words where this program has none, or others; for display only."""


@dataclass(frozen=True, slots=True)
class Shot:
    """The frames between two cuts; `gradual` if the shot begins within a slow transition."""

    start: int
    stop: int
    gradual: bool = False


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """The analysed source. `frame_count` and `frame_rate` are the strip's, `width` and `height` as the strip shows
    them."""

    file_name: str
    """For a sequence, the name of its first picture."""
    kind: str
    """"movie", "image" (one picture, however long it is shown) or "sequence" (pictures, one frame each)."""
    width: int
    height: int
    frame_count: int
    frame_rate: Fraction
    fingerprint: str
    """Hexadecimal SHA-256 of the size and of samples of the content; for a sequence, of all its files."""
    pixel_aspect: Fraction = Fraction(1)
    variable_rate: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keyframe:
    """An ellipse, margin included, that is written as a shape key."""

    source_frame: int
    ellipse: Ellipse


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A detector and how it was run: enough to repeat the analysis."""

    name: str
    sha256: str
    input_long_side: int
    threshold: float


@dataclass(slots=True)
class TrackDocument:
    """What the program and the editor decided about one source."""

    source: SourceInfo
    preset: str
    margin: float
    models: list[ModelUse]
    shots: list[Shot]
    tracks: list[Track]
    review_items: list[ReviewItem]
    notes: list[str] = field(default_factory=list)
    """Sentences for the user: what was reduced or skipped, and what to check."""
    uncovered: list[Track] = field(default_factory=list)
    """Tracks that are not covered; `Track.status` says why. An editor can bring each one back."""
    reviewed: list[str] = field(default_factory=list)
    """Keys of the review items that an editor has judged (see `core.review.queue`)."""
    analysed: list[tuple[int, int]] = field(default_factory=list)
    """Half-open frame ranges, sorted and disjoint, that were analysed; empty if all frames were."""
    people_notes: list[str] = field(default_factory=list)
    """Sentences for the user about who stays visible and why; they are removed when everyone is covered again."""

    @property
    def all_notes(self) -> list[str]:
        return [*self.notes, *self.people_notes]

    def list_unanalysed_spans(self) -> list[tuple[int, int]]:
        """The half-open frame ranges that were not analysed, which must be covered entirely."""
        edges = [0, *(edge for span in self.analysed for edge in span), self.source.frame_count]
        spans = list(zip(edges[::2], edges[1::2], strict=True)) if self.analysed else []
        return [(start, stop) for start, stop in spans if start < stop]
