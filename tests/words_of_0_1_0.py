# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of Face Blur 0.1.0 for what this version keeps as enums.

`expected.json` holds sentences that 0.1.0 showed. The tests put the typed state of today into these words, and compare:
a sentence that comes out the same proves that the reason, its numbers and its names were read as 0.1.0 meant them.
This module never changes; the present words are in `reporting/wording.py`.
"""

from __future__ import annotations

from blender_faceblur.core.review.queue import ReviewEntry
from blender_faceblur.core.types import ReviewItem, Suppression, TrackStatus
from blender_faceblur.core.types import ReviewReason as Reason
from blender_faceblur.core.verification.findings import Finding, FindingReason
from blender_faceblur.reporting.wording import Decided

NOT_COVERED = "not covered"

_REASONS = {
    Reason.ENDS: "ends in the middle of the picture",
    Reason.BEGINS: "begins in the middle of the picture",
    Reason.GRADUAL_TRANSITION: "gradual transition: faces that fade in or out here may be found late",
    Reason.FLOW_ONLY: "covered by following only, not found again in these frames",
    Reason.FAST_MOTION: "moves fast",
    Reason.JUMP: "jumps for a moment",
    Reason.DETECTORS_DISAGREE: "found by one detector only in these frames, by several in most others",
    Reason.SINGLE_DETECTOR: "large, and found by one detector only",
    Reason.NOT_FOUND_AGAIN: "not found again by the new analysis",
    Reason.DIFFERENT_PERSON: "may be somebody else than before: covered",
    Reason.NOT_RECOGNIZED: "not recognised here: covered",
    Reason.WEAK_EVIDENCE: "kept clear on weak evidence",
    Reason.AMBIGUOUS_PERSON: "looks like two people: covered",
    Reason.PERSON_ELSEWHERE: "looks like somebody who is elsewhere in the picture: covered",
    Reason.TOO_FEW_FACE_CROPS: "never seen well enough to say who it is: covered",
}

_IS_IT_A_FACE = "Is it a face?"
_IS_IT_ALL = "Is it the face here, and all of it?"
_QUESTIONS = {
    Reason.ENDS: "Is the face still to be seen here, uncovered?",
    Reason.BEGINS: "Was the face to be seen before, uncovered?",
    Reason.GRADUAL_TRANSITION: "Does a face show that fades in or out?",
    Reason.FLOW_ONLY: "Is the cover still on the face?",
    Reason.FAST_MOTION: "Does the cover keep up with the face?",
    Reason.JUMP: "Is the cover on the face throughout?",
    Reason.DETECTORS_DISAGREE: _IS_IT_ALL,
    Reason.RARELY_DETECTED: _IS_IT_ALL,
    Reason.NOT_FOUND_AGAIN: _IS_IT_A_FACE,
    Reason.SINGLE_DETECTOR: _IS_IT_A_FACE,
    Reason.LOW_CONFIDENCE: _IS_IT_A_FACE,
}

_FINDINGS = {
    FindingReason.NOT_COVERED: NOT_COVERED,
    FindingReason.PARTLY_COVERED: "covered in part only",
    FindingReason.TOO_FAINT: "perhaps not covered: too faint to tell",
    FindingReason.UNEXPECTED: "a face that nobody expected",
    FindingReason.PERHAPS_UNEXPECTED: "perhaps a face that nobody expected",
    FindingReason.SWITCHED_OFF: "switched off by the editor",
    FindingReason.DELETED: "deleted by the editor",
    FindingReason.NEVER_REGION: "never blurred",
    FindingReason.REVIEWED: "set aside",
}


def describe_status(track: Decided) -> str:
    match track.status:
        case TrackStatus.COVERED:
            return ""
        case TrackStatus.DELETED:
            return _FINDINGS[FindingReason.DELETED]
        case TrackStatus.ALLOWED:
            return _describe_allowed(track.allowed_person)
        case TrackStatus.EXEMPT:
            return _describe_exempt(track.never_region)
        case TrackStatus.SUPPRESSED:
            return describe_suppression(track.suppression) if track.suppression is not None else ""


def describe_suppression(suppression: Suppression) -> str:
    return suppression.text or _describe_detections(
        Reason(suppression.reason), suppression.detected_frames, suppression.searched_frames
    )


def describe_reason(item: ReviewItem) -> str:
    return item.text or _describe_detections(item.reason, item.detected_frames, item.searched_frames)


def _describe_detections(reason: Reason, detected: int, searched: int) -> str:
    if reason is Reason.LOW_CONFIDENCE:
        return f"found weakly in {detected} frame{'s' if detected != 1 else ''} only"
    if reason is Reason.RARELY_DETECTED:
        return f"found by one detector only, in {detected} of {searched} frames that all looked at"
    return _REASONS.get(reason, "")


def describe_place(place: ReviewEntry) -> str:
    who = f"'{place.track}'" if place.track else "In the picture:"
    words = describe_reason(place.item)
    if place.frames_after_cut:
        words = f"begins {place.frames_after_cut} frame{'s' if place.frames_after_cut > 1 else ''} after a cut"
    if place.track and not place.covered:
        words += f", and is {NOT_COVERED}"
    return f"{who} {words}. {_QUESTIONS.get(place.item.reason, 'Look at it.')}"


def describe_finding_reason(finding: Finding) -> str:
    match finding.reason:
        case FindingReason.ALLOWED:
            return _describe_allowed(finding.subject)
        case FindingReason.EXEMPT:
            return _describe_exempt(finding.subject)
        case reason:
            return _FINDINGS[reason]


def _describe_allowed(person: str) -> str:
    return f"kept clear: {person}"


def _describe_exempt(region: str) -> str:
    return f"in the region '{region}', where nothing is blurred" if region else _FINDINGS[FindingReason.NEVER_REGION]
