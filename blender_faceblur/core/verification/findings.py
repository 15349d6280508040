# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification looks for and what it found: expected faces, findings, and the file that holds them."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ..types import Box, Ellipse, FaceBlurError, ModelUse, Track, TrackDocument, TrackKind, TrackStatus


class FindingKind(StrEnum):
    LEAK = "leak"
    POSSIBLE_LEAK = "doubt"
    KEPT = "kept"
    """The face is shown on purpose."""


class FindingReason(StrEnum):
    """Why a verification lists something, or why a face may show at its place."""

    NOT_COVERED = "not_covered"
    PARTLY_COVERED = "partly_covered"
    TOO_FAINT = "too_faint"
    """The face may be uncovered, but it is too faint to tell."""
    UNEXPECTED = "unexpected"
    """A face at a place without a track."""
    PERHAPS_UNEXPECTED = "perhaps_unexpected"

    SWITCHED_OFF = "switched_off"
    DELETED = "deleted"
    EXEMPT = "exempt"
    """The face lies in a region that is never blurred; `Finding.subject` names the region."""
    NEVER_REGION = "never_region"
    """The place is such a region."""
    ALLOWED = "allowed"
    """The face is that of a person who stays visible; `Finding.subject` names the person."""
    REVIEWED = "reviewed"
    """The program suppressed the track, and an editor has reviewed that."""


@dataclass(frozen=True, slots=True)
class ExpectedFace:
    """A track's place in one frame. `kept` is the reason why the face may show; None where it must be covered."""

    track: str
    ellipse: Ellipse
    kept: FindingReason | None = None


@dataclass(slots=True)
class Finding:
    """A finding for the editor. Frames are those of the film, counted from 0; start..stop is half-open.

    `share` is the share of the face that shows in the frame `worst`, and `box` its place there. `picture` is a JPEG of
    its surroundings with the face obscured, or empty. `subject` is the person or the region that the reason refers to.
    """

    kind: FindingKind
    track: str
    start: int
    stop: int
    frames: int
    worst: int
    box: Box
    share: float
    confidence: float
    reason: FindingReason
    picture: bytes = b""
    subject: str = ""


@dataclass(slots=True)
class Verification:
    """The result of verifying a film. `problems` are faults of the file itself, one sentence each."""

    film: str
    source: str
    frames: int
    seconds_long: float
    sound_streams: int
    compared: int
    """Faces that were compared with the source, counted in each frame."""
    flat: int
    """Compared faces that are too flat or too dark to tell."""
    searched_frames: int
    """Frames in which the detectors searched for unexpected faces. `every` is the step between them."""
    every: int
    weak_detections: int
    """Detections that were too weak to be listed."""
    models: list[ModelUse]
    leaks: list[Finding]
    uncertain: list[Finding]
    """Findings for review: they may be leaks."""
    shown_on_purpose: list[Finding]
    """Faces that an editor chose to show."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faces: dict[str, bytes] = field(default_factory=dict)
    """For each track, an obscured JPEG of its face in the source, for a report; see `obscured.draw_face`."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.leaks and not self.problems


def list_places(
    document: TrackDocument,
    is_reviewed: Callable[[str], bool] = lambda track: False,
) -> dict[int, list[ExpectedFace]]:
    """For each source frame, the places where a face must be covered, and those where an editor chose to show one.

    `is_reviewed` tells whether an editor has reviewed a track that the program suppressed.
    """
    places: dict[int, list[ExpectedFace]] = {}
    for track in document.tracks:
        covered = {frame for span in track.list_covered_spans() for frame in range(*span)}
        for sample in track.samples:
            kept = None if sample.source_frame in covered else FindingReason.SWITCHED_OFF
            places.setdefault(sample.source_frame, []).append(ExpectedFace(track.name, sample.ellipse, kept))
    for track in document.uncovered:
        if track.is_editor_decision or is_reviewed(track.name):
            for sample in track.samples:
                places.setdefault(sample.source_frame, []).append(
                    ExpectedFace(track.name, sample.ellipse, _explain(track))
                )
    return places


def _explain(track: Track) -> FindingReason:
    """Why an uncovered track may show."""
    if track.kind is TrackKind.NEVER:
        return FindingReason.NEVER_REGION
    return {
        TrackStatus.DELETED: FindingReason.DELETED,
        TrackStatus.EXEMPT: FindingReason.EXEMPT,
        TrackStatus.ALLOWED: FindingReason.ALLOWED,
    }.get(track.status, FindingReason.REVIEWED)


def list_shown_on_purpose(document: TrackDocument) -> list[Finding]:
    """The faces that an editor chose to show, in source frames."""
    kept = []
    for track in document.tracks:
        for start, stop in track.off:
            samples = [s for s in track.samples if start <= s.source_frame < stop]
            if samples:
                kept.append(
                    Finding(
                        FindingKind.KEPT,
                        track.name,
                        samples[0].source_frame,
                        samples[-1].source_frame + 1,
                        len(samples),
                        samples[0].source_frame,
                        compute_bounding_box(samples[0].ellipse),
                        1.0,
                        0.0,
                        FindingReason.SWITCHED_OFF,
                    )
                )
    for track in document.uncovered:
        if track.is_editor_decision and track.samples:
            first, last = track.samples[0], track.samples[-1]
            kept.append(
                Finding(
                    FindingKind.KEPT,
                    track.name,
                    first.source_frame,
                    last.source_frame + 1,
                    len(track.samples),
                    first.source_frame,
                    compute_bounding_box(first.ellipse),
                    1.0,
                    0.0,
                    _explain(track),
                    subject=track.allowed_person or track.never_region,
                )
            )
    return sorted(kept, key=lambda one: one.start)


def compute_bounding_box(ellipse: Ellipse) -> Box:
    """The bounding box of an ellipse, including its rotation."""
    c, s = math.cos(ellipse.angle), math.sin(ellipse.angle)
    half_x, half_y = math.hypot(ellipse.rx * c, ellipse.ry * s), math.hypot(ellipse.rx * s, ellipse.ry * c)
    return ellipse.cx - half_x, ellipse.cy - half_y, ellipse.cx + half_x, ellipse.cy + half_y


def get_kept_reason(places: list[ExpectedFace], box: Box) -> FindingReason | None:
    """Why a detection at this place may show; None where the editor did not choose to show a face there."""
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return next((place.kept for place in places if place.kept and _holds(place.ellipse, cx, cy)), None)


def is_on(places: list[ExpectedFace], box: Box) -> bool:
    """Whether a detection lies on one of these faces."""
    return any(_holds(place.ellipse, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for place in places)


def _holds(e: Ellipse, x: float, y: float) -> bool:
    c, s = math.cos(e.angle), math.sin(e.angle)
    x, y = x - e.cx, y - e.cy
    return math.hypot((x * c + y * s) / e.rx, (y * c - x * s) / e.ry) <= 1


SCHEMA, VERSION = "faceblur-verification", 2


_SAVED_NAMES = {
    "searched_frames": "looked",
    "weak_detections": "weak",
    "uncertain": "doubts",
    "shown_on_purpose": "kept",
}
"""The names that fields of `Verification` have in files, where they differ. They must not change."""


def to_content(verification: Verification) -> dict[str, Any]:
    """The fields of the verification under the names that they have in files."""
    return {_SAVED_NAMES.get(name, name): value for name, value in asdict(verification).items()}


def to_json(verification: Verification) -> str:
    """The verification as one line of JSON, with pictures in Base64."""
    content = to_content(verification)
    for finding in _walk_findings(content):
        finding["picture"] = base64.b64encode(finding["picture"]).decode("ascii")
    content["faces"] = {name: base64.b64encode(data).decode("ascii") for name, data in verification.faces.items()}
    return json.dumps(
        {"schema": SCHEMA, "version": VERSION, "passed": verification.passed, **content},
        ensure_ascii=False,
        allow_nan=False,
    )


def from_json(text: str) -> Verification:
    """Parse the JSON of `to_json`. Raises FaceBlurError."""
    try:
        content = json.loads(text)
        if content.pop("schema") != SCHEMA or content.pop("version") != VERSION:
            raise ValueError("it has another version")
        content.pop("passed")
        for finding in _walk_findings(content):
            finding["picture"] = base64.b64decode(finding["picture"], validate=True)
            finding["box"] = tuple(float(value) for value in finding["box"])
            finding["kind"], finding["reason"] = FindingKind(finding["kind"]), FindingReason(finding["reason"])
        for name in ("leaks", "doubts", "kept"):
            content[name] = [Finding(**finding) for finding in content[name]]
        content["faces"] = {str(name): base64.b64decode(data, validate=True) for name, data in content["faces"].items()}
        content["models"] = [ModelUse(**model) for model in content["models"]]
        fields = {saved: name for name, saved in _SAVED_NAMES.items()}
        return Verification(**{fields.get(name, name): value for name, value in content.items()})
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, RecursionError) as error:
        raise FaceBlurError(f"This is not a verification: {str(error)[:200]}") from error


def _walk_findings(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("leaks", "doubts", "kept"):
        yield from content[name]
