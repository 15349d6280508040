# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the core: what a detector finds, what a track is, what reaches a mask.

Pixel coordinates are those of the picture as Blender's strip shows it (after rotation metadata),
x to the right, y down, the outer corner of the first pixel at (0, 0). Frames are source frames counted from 0;
ranges are half-open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from fractions import Fraction

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


class FaceBlurError(Exception):
    """Something the user must be told in one line; its text is that line."""


class Evidence(str, Enum):
    """Why a track has a sample at a frame, strongest first."""

    DETECTED = "detected"
    FLOW = "flow"
    INTERPOLATED = "interpolated"
    EXTRAPOLATED = "held"
    LOCKED = "locked"
    """The editor put it there: a key that no later run moves."""


class TrackKind(StrEnum):
    """What a track follows. The values are those of the tracks document."""

    FACE = "face"
    PLATE = "plate"
    """A number plate that a detector found."""
    REGION = "region"
    """A place that an editor drew, to be covered like a face: a sign, a screen, a number plate."""
    NEVER = "never"
    """A place that an editor drew, in which no face is covered: a poster. It is among the tracks that are not covered.
    """


class TrackStatus(StrEnum):
    """Whether a track is covered, and who decided that it is not. The values are those of the tracks document."""

    COVERED = "covered"
    SUPPRESSED = "suppressed"
    """The machine does not cover it; `Track.suppression` says why."""
    DELETED = "deleted"
    """An editor deleted it."""
    EXEMPT = "exempt"
    """It lies in a region of `TrackKind.NEVER` (`Track.never_region`), or is one."""
    ALLOWED = "allowed"
    """The person whom it shows (`Track.allowed_person`) stays visible."""

    @property
    def is_chosen(self) -> bool:
        """Whether a person, and not the machine, decided that the track is not covered."""
        return self in (TrackStatus.DELETED, TrackStatus.EXEMPT, TrackStatus.ALLOWED)


class SuppressionReason(StrEnum):
    """Why the machine does not cover a track. Each is a `ReviewReason` of the same value too."""

    LOW_CONFIDENCE = "low_confidence"
    """Detected in a few frames only, with low confidence."""
    RARELY_DETECTED = "rarely_detected"
    """Large, detected by one of several detectors only, and in few of the frames in which all of them looked."""
    NOT_FOUND_AGAIN = "not_found_again"
    """Covered before, but a later analysis did not find it."""
    UNKNOWN = "unknown"
    """A document gives a reason that this program does not know, or none."""


class ReviewReason(StrEnum):
    """Why an editor should look at a place. The values are those of the tracks document."""

    ENDS = "ends"
    """The track ends in the middle of the picture."""
    BEGINS = "begins"
    """The track begins in the middle of the picture."""
    GRADUAL_TRANSITION = "gradual_transition"
    FLOW_ONLY = "flow_only"
    """For a while the face was tracked by optical flow, or interpolated, and not detected."""
    FAST_MOTION = "fast_motion"
    JUMP = "jump"
    """The face lies elsewhere for a moment than just before and just after."""
    DETECTORS_DISAGREE = "detectors_disagree"
    """One detector only finds the face in these frames, several do in most others."""
    SINGLE_DETECTOR = "single_detector"
    """A large face that only one detector ever finds."""

    LOW_CONFIDENCE = "low_confidence"
    RARELY_DETECTED = "rarely_detected"
    NOT_FOUND_AGAIN = "not_found_again"

    DIFFERENT_PERSON = "different_person"
    """From here on the track may show somebody else, and is covered."""
    NOT_RECOGNIZED = "not_recognized"
    """The person who stays visible was not recognised here."""
    WEAK_EVIDENCE = "weak_evidence"
    """The person stays visible on little evidence."""
    AMBIGUOUS_PERSON = "ambiguous_person"
    """The face looks like two people."""
    PERSON_ELSEWHERE = "person_elsewhere"
    """The face looks like a person who is elsewhere in the picture."""
    TOO_FEW_VIEWS = "too_few_views"
    """The face was never seen well enough to say whose it is."""

    UNKNOWN = "unknown"
    """A document gives a reason that this program does not know, or none."""


class Verdict(StrEnum):
    """What an editor thinks of a place in the review. The values are those of the tracks document."""

    FINE = "fine"
    FIXED = "fixed"
    OFF = "off"
    COVERED = "covered"
    LEFT = "left"
    """It stays uncovered; also said of places that were made uncovered elsewhere."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One face, or thing of the class that its detector `finds`, in one source frame.

    `box` runs about from brow to chin. `landmarks` are (x, y) in the order right eye, left eye, nose tip,
    right and left mouth corner (the person's right, so seen on the left), or None.
    """

    box: Box
    confidence: float
    detector: str
    landmarks: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Centre, semi-axes and clockwise turn (radians, as seen on the screen) of a face."""

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
    """Where a track's face is at one source frame: the face itself, before the safety expansion."""

    source_frame: int
    ellipse: Ellipse
    evidence: Evidence
    confidence: float


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why the machine does not cover a track, with the numbers that belong to the reason."""

    reason: SuppressionReason
    detected_frames: int = 0
    """In how many frames it was detected; of LOW_CONFIDENCE and RARELY_DETECTED."""
    searched_frames: int = 0
    """In how many frames all detectors looked while it was there; of RARELY_DETECTED."""
    text: str = ""
    """What a document says in place of a reason; only to be shown."""


@dataclass(slots=True)
class Track:
    """One identity that the editor sees. `samples` are sorted by frame; frames may be missing (a gap)."""

    name: str
    samples: list[Sample]
    kind: TrackKind = TrackKind.FACE
    locked: bool = False
    """No later run changes it."""
    off: list[tuple[int, int]] = field(default_factory=list)
    """Half-open frame ranges, in order and apart, in which the editor shows what the track covers elsewhere."""
    status: TrackStatus = TrackStatus.COVERED
    suppression: Suppression | None = None
    """Of a track that is SUPPRESSED."""
    allowed_person: str = ""
    """The name of the person who stays visible, of a track that is ALLOWED."""
    never_region: str = ""
    """The name of the region in which a track lies that is EXEMPT; empty where it is the region itself."""

    def cover(self) -> None:
        """Make the status COVERED; what said why it was another goes."""
        self.status, self.suppression, self.allowed_person, self.never_region = TrackStatus.COVERED, None, "", ""

    @property
    def is_chosen(self) -> bool:
        """Whether a person, and not the machine, decided that the track is not covered."""
        return self.kind is TrackKind.NEVER or self.status.is_chosen

    def covered_spans(self) -> list[tuple[int, int]]:
        """The half-open frame ranges in which the track is covered: its spans without those that are off."""
        spans = []
        for start, stop in self.spans():
            shown = start
            for off_start, off_stop in self.off:
                if shown < min(off_start, stop):
                    spans.append((shown, min(off_start, stop)))
                shown = max(shown, min(off_stop, stop))
            if shown < stop:
                spans.append((shown, stop))
        return spans

    def spans(self) -> list[tuple[int, int]]:
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
    """Something that may be a face but was too weak to cover, or a place the editor should look at."""

    start: int
    stop: int
    box: Box
    confidence: float
    reason: ReviewReason
    track: str = ""
    """The name of the track that it is about, covered or not; empty where there is none."""
    detected_frames: int = 0
    """As in `Suppression`."""
    searched_frames: int = 0
    """As in `Suppression`."""
    text: str = ""
    """What a document says that this program says in other words, or not at all; only to be shown."""


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames between two cuts; `gradual` where the shot begins inside a slow transition."""

    start: int
    stop: int
    gradual: bool = False


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What was analysed. `frame_count` and `frame_rate` are the strip's, `width` and `height` those shown by it."""

    file_name: str
    """Of a sequence the first picture's."""
    kind: str
    """"movie", "image" (one picture, however long it is shown) or "sequence" (pictures, one frame each)."""
    width: int
    height: int
    frame_count: int
    frame_rate: Fraction
    fingerprint: str
    """SHA-256 over the size and samples of the content, hexadecimal; of a sequence over all of its files."""
    pixel_aspect: Fraction = Fraction(1)
    variable_rate: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keyframe:
    """An ellipse (safety expansion included) that is written as a shape key."""

    source_frame: int
    ellipse: Ellipse


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A detector as it was run: enough to repeat the analysis."""

    name: str
    sha256: str
    input_long_side: int
    threshold: float


@dataclass(slots=True)
class TrackDocument:
    """What the machine and the editor decided about one source."""

    source: SourceInfo
    preset: str
    margin: float
    models: list[ModelUse]
    shots: list[Shot]
    tracks: list[Track]
    review_items: list[ReviewItem]
    notes: list[str] = field(default_factory=list)
    """Sentences for the user: what was done with less than was asked, what to look at."""
    aside: list[Track] = field(default_factory=list)
    """Tracks that are not covered; `Track.status` says why. An editor can bring each back."""
    reviewed: list[str] = field(default_factory=list)
    """Keys (see `review`) of the doubtful places that an editor has judged."""
    analysed: list[tuple[int, int]] = field(default_factory=list)
    """Half-open frame ranges, in order and apart, outside of which nobody has looked for faces; empty: none."""
    people_notes: list[str] = field(default_factory=list)
    """Sentences for the user about who stays visible and why; covering everybody again removes them."""

    @property
    def all_notes(self) -> list[str]:
        return [*self.notes, *self.people_notes]

    def unanalysed_spans(self) -> list[tuple[int, int]]:
        """The half-open frame ranges in which nobody has looked for faces: they must be covered whole."""
        edges = [0, *(edge for span in self.analysed for edge in span), self.source.frame_count]
        spans = list(zip(edges[::2], edges[1::2], strict=True)) if self.analysed else []
        return [(start, stop) for start, stop in spans if start < stop]
