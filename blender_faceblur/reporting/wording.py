# SPDX-License-Identifier: GPL-3.0-or-later
"""The words for the program's enums: labels and sentences for the window, the reports and the command line.

Only people read these texts. The program itself asks the enums (`tests/core/test_typed_state.py`).
"""

from __future__ import annotations

from typing import Protocol

from ..core.review.queue import Pile, ReviewEntry
from ..core.translation import count, mark, translate
from ..core.types import ReviewItem, Suppression, SuppressionReason, TrackKind, TrackStatus, Verdict
from ..core.types import ReviewReason as Reason
from ..core.verification.findings import Finding, FindingKind, FindingReason


class Decided(Protocol):
    """A track, or the part of it that the overlay knows."""

    @property
    def kind(self) -> TrackKind: ...
    @property
    def status(self) -> TrackStatus: ...
    @property
    def suppression(self) -> Suppression | None: ...
    @property
    def allowed_person(self) -> str: ...
    @property
    def never_region(self) -> str: ...


VERDICTS = mark(
    {
        Verdict.CONFIRMED: "Fine",
        Verdict.FIXED: "Fixed",
        Verdict.TURNED_OFF: "Switched off",
        Verdict.COVERED: "Covered",
        Verdict.UNCOVERED: "Left uncovered",
    }
)

NOT_COVERED = mark("not covered")

_REASONS = mark(
    {
        Reason.ENDS: "ends in the middle of the picture",
        Reason.BEGINS: "begins in the middle of the picture",
        Reason.GRADUAL_TRANSITION: "changes gradually, so a face that fades in or out may be detected late",
        Reason.FLOW_ONLY: "was tracked by optical flow only, without a detection in these frames",
        Reason.FAST_MOTION: "moves fast",
        Reason.JUMP: "jumps for a moment",
        Reason.DETECTORS_DISAGREE: "was detected by only one detector in these frames, but by several in most others",
        Reason.SINGLE_DETECTOR: "is large, but was detected by only one detector",
        Reason.DIFFERENT_PERSON: "may show a different person here, so it is covered",
        Reason.NOT_RECOGNIZED: "was not recognised here, so it is covered",
        Reason.WEAK_EVIDENCE: "is kept visible on weak evidence",
        Reason.AMBIGUOUS_PERSON: "looks like two different people, so it is covered",
        Reason.PERSON_ELSEWHERE: "looks like a person who is elsewhere in the picture, so it is covered",
        Reason.TOO_FEW_FACE_CROPS: "was never seen clearly enough to be recognised, so it is covered",
    }
)
"""What follows the name of a track, in the review."""

_IS_IT_A_FACE = mark("Is it a face?")
_IS_IT_WHOLE = mark("Is the whole face inside the outline?")
_QUESTIONS = mark(
    {
        Reason.ENDS: "Is the face still visible here, without a cover?",
        Reason.BEGINS: "Is the face already visible here, without a cover?",
        Reason.GRADUAL_TRANSITION: "Does a face fade in or out here, without a cover?",
        Reason.FLOW_ONLY: "Is the cover still on the face?",
        Reason.FAST_MOTION: "Does the cover keep up with the face?",
        Reason.JUMP: "Is the cover on the face in every frame?",
        Reason.DETECTORS_DISAGREE: _IS_IT_WHOLE,
        Reason.RARELY_DETECTED: "Is it a face, and is all of it inside the outline?",
        Reason.NOT_FOUND_AGAIN: _IS_IT_A_FACE,
        Reason.UNLIKELY_FACE: _IS_IT_A_FACE,
        Reason.SINGLE_DETECTOR: _IS_IT_A_FACE,
        Reason.LOW_CONFIDENCE: _IS_IT_A_FACE,
    }
)
_CHECK_IT = mark("Please check it.")

FINDING_KINDS = mark(
    {FindingKind.LEAK: "leak", FindingKind.POSSIBLE_LEAK: "to review", FindingKind.KEPT: "shown on purpose"}
)

_FINDINGS = mark(
    {
        FindingReason.NOT_COVERED: NOT_COVERED,
        FindingReason.PARTLY_COVERED: "only partly covered",
        FindingReason.TOO_FAINT: "possibly not covered: too faint to tell",
        FindingReason.UNEXPECTED: "an unexpected face",
        FindingReason.PERHAPS_UNEXPECTED: "possibly an unexpected face",
        FindingReason.SWITCHED_OFF: "switched off by the editor",
        FindingReason.DELETED: "deleted by the editor",
        FindingReason.NEVER_REGION: "never blurred",
        FindingReason.REVIEWED: "ignored after a review",
    }
)


def describe_status(track: Decided) -> str:
    """Why a track is not covered; empty for a covered track, and where no reason is known."""
    match track.status:
        case TrackStatus.COVERED:
            return ""
        case TrackStatus.DELETED:
            return translate(_FINDINGS[FindingReason.DELETED])
        case TrackStatus.ALLOWED:
            return _describe_allowed(track.allowed_person)
        case TrackStatus.EXEMPT:
            return _describe_exempt(track.never_region)
        case TrackStatus.SUPPRESSED:
            return describe_suppression(track.suppression) if track.suppression is not None else ""


def describe_suppression(suppression: Suppression) -> str:
    """Why the program does not cover a track; empty where no reason is known."""
    return suppression.text or _describe_detections(
        suppression.reason, suppression.detected_frames, suppression.searched_frames
    )


def describe_reason(item: ReviewItem) -> str:
    """Why a review item is listed, as it follows the name of its track; empty where no reason is known."""
    if item.text:
        return item.text
    if item.reason in _REASONS:
        return translate(_REASONS[item.reason])
    words = _describe_detections(item.reason, item.detected_frames, item.searched_frames)
    return translate("was {words}", words=words) if words else ""


def _describe_detections(reason: Reason | SuppressionReason, detected: int, searched: int) -> str:
    match reason:
        case Reason.LOW_CONFIDENCE | SuppressionReason.LOW_CONFIDENCE:
            return translate("detected in only {frames}, with low confidence", frames=count(detected, "frame"))
        case Reason.RARELY_DETECTED | SuppressionReason.RARELY_DETECTED:
            return translate(
                "detected by only one detector, in {detected} of the {searched} frames that all detectors searched",
                detected=detected,
                searched=searched,
            )
        case Reason.UNLIKELY_FACE | SuppressionReason.UNLIKELY_FACE:
            return translate("probably not a face")
        case Reason.NOT_FOUND_AGAIN | SuppressionReason.NOT_FOUND_AGAIN:
            return translate("not found again by the new analysis")
    return ""


_MOST_NAMED = 2
"""How many further items of a group its description names."""


def describe_place(place: ReviewEntry) -> str:
    """A place to review in a few sentences, with a question to the editor, and what else belongs to it."""
    if place.pile is not None:
        return translate(
            "{pile} The first of them: {item}", pile=_describe_pile(place.pile), item=_describe_item(place)
        )
    # What is not covered comes first.
    members = sorted(place.members, key=lambda member: member.covered)
    further = list(dict.fromkeys(_describe_further(member, place) for member in members))
    if not further:
        return _describe_item(place)
    named, rest = further[:_MOST_NAMED], len(further) - _MOST_NAMED
    more = translate("; and {rest} more", rest=rest) if rest > 0 else ""
    return translate("{item} Also: {others}{more}.", item=_describe_item(place), others="; ".join(named), more=more)


def _describe_pile(pile: Pile) -> str:
    tracks = [
        f"{number} {translate(word)}"
        for number, word in mark(((pile.covered, "covered"), (pile.uncovered, NOT_COVERED)))
        if number
    ]
    faces = pile.covered + pile.uncovered
    size = ""
    if faces:
        blurred = translate(", {number} of them blurred", number=pile.blurred) if pile.blurred else ""
        size = translate(
            ", of at most {px:.0f} px and {seconds:.1f} s{blurred}: {tracks}",
            px=pile.largest_px,
            seconds=pile.longest_s,
            blurred=blurred,
            tracks=", ".join(tracks),
        )
    return translate(
        "{places} more places with {faces}{size}.", places=pile.places, faces=count(faces, "face"), size=size
    )


def _describe_further(member: ReviewEntry, place: ReviewEntry) -> str:
    subject = f"'{member.track}'" if member.track else translate("the picture")
    if member.track == place.track:
        subject = translate("it")
    words = describe_reason(member.item) or translate("is listed for review")
    if member.track and not member.covered and member.track != place.track:
        return translate("{subject} {words} and is not covered", subject=subject, words=words)
    return f"{subject} {words}"


def _describe_item(place: ReviewEntry) -> str:
    if place.track:
        subject = f"'{place.track}'"
    else:
        subject = translate("The picture" if place.item.reason is Reason.GRADUAL_TRANSITION else "A face")
    words = describe_reason(place.item)
    if place.frames_after_cut:
        words = translate("begins {frames} after a cut", frames=count(place.frames_after_cut, "frame"))
    elif place.item.text:
        subject += ":"
    sentence = f"{subject} {words or translate('is listed for review')}."
    if place.track and not place.covered:
        sentence += " " + translate("It is not covered.")
    return f"{sentence} {translate(_QUESTIONS.get(place.item.reason, _CHECK_IT))}"


def describe_finding_reason(finding: Finding) -> str:
    """Why a verification lists a finding."""
    match finding.reason:
        case FindingReason.ALLOWED:
            return _describe_allowed(finding.subject)
        case FindingReason.EXEMPT:
            return _describe_exempt(finding.subject)
        case reason:
            return translate(_FINDINGS[reason])


def _describe_allowed(person: str) -> str:
    return translate("kept visible: {person}", person=person)


def _describe_exempt(region: str) -> str:
    if region:
        return translate("in the region '{region}', which is never blurred", region=region)
    return translate(_FINDINGS[FindingReason.NEVER_REGION])
