# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert the JSON of an older tracks document to the present version.

Up to version 2, which Face Blur 0.1.0 wrote, an uncovered track had a sentence with the reason (`aside`), and so had a
review item (`reason`); number plates were regions with a certain name. The sentences here are those of 0.1.0 and never
change. Any other sentence is kept as `text` and shown to the user; as in 0.1.0, its first words still determine the
reason.

Values of the wrong type stay unchanged: the reader of the result refuses them.
"""

from __future__ import annotations

import re
from typing import Any

from ..types import ReviewReason, SuppressionReason, TrackKind, TrackStatus

_DELETED = "deleted by the editor"
_ALLOWED = "kept clear: "
_IN_REGION = "in the region"
_REGION = re.compile(r"in the region '(.*)', where nothing is blurred", re.DOTALL)
_PLATE = re.compile(r"(?:Plate|Perhaps plate) [0-9]+")
_COUNT = "(0|[1-9][0-9]{0,6})"
_WEAKLY = re.compile(rf"found weakly in (?:(1) frame|(?!1 ){_COUNT} frames) only")
_RARELY = re.compile(rf"found by one detector only, in {_COUNT} of {_COUNT} frames that all looked at")

_REASONS = {
    "ends in the middle of the picture": ReviewReason.ENDS,
    "begins in the middle of the picture": ReviewReason.BEGINS,
    "gradual transition: faces that fade in or out here may be found late": ReviewReason.GRADUAL_TRANSITION,
    "covered by following only, not found again in these frames": ReviewReason.FLOW_ONLY,
    "moves fast": ReviewReason.FAST_MOTION,
    "jumps for a moment": ReviewReason.JUMP,
    "found by one detector only in these frames, by several in most others": ReviewReason.DETECTORS_DISAGREE,
    "not found again by the new analysis": ReviewReason.NOT_FOUND_AGAIN,
    "large, and found by one detector only": ReviewReason.SINGLE_DETECTOR,
    "may be somebody else than before: covered": ReviewReason.DIFFERENT_PERSON,
    "not recognised here: covered": ReviewReason.NOT_RECOGNIZED,
    "kept clear on weak evidence": ReviewReason.WEAK_EVIDENCE,
    "looks like two people: covered": ReviewReason.AMBIGUOUS_PERSON,
    "looks like somebody who is elsewhere in the picture: covered": ReviewReason.PERSON_ELSEWHERE,
    "never seen well enough to say who it is: covered": ReviewReason.TOO_FEW_FACE_CROPS,
}
_BEGINNINGS = {
    "ends in the middle": ReviewReason.ENDS,
    "begins in the middle": ReviewReason.BEGINS,
    "gradual transition": ReviewReason.GRADUAL_TRANSITION,
    "covered by following only": ReviewReason.FLOW_ONLY,
    "moves fast": ReviewReason.FAST_MOTION,
    "jumps for a moment": ReviewReason.JUMP,
    "found by one detector only": ReviewReason.DETECTORS_DISAGREE,
    "not found again": ReviewReason.NOT_FOUND_AGAIN,
    "large, and found by one": ReviewReason.SINGLE_DETECTOR,
    "found weakly": ReviewReason.LOW_CONFIDENCE,
}
_PEOPLE_NOTES = ("Kept clear: ", "People: ")


def migrate(content: dict[str, Any]) -> None:
    """Convert an older document's JSON in place to the form that the present version writes."""
    uncovered = content.pop("aside", [])
    content["uncovered"] = uncovered if content.get("version") != 1 else []
    if content.get("version") == 1:
        content["reviewed"] = []
    for track in _list_objects(content.get("tracks")):
        _change_kind(track)
        track.pop("aside", None)
    for track in _list_objects(content["uncovered"]):
        _change_kind(track)
        track.update(_parse_status(track.pop("aside", ""), track.get("kind")))
    for item in _list_objects(content.get("doubts")):
        item.update(_parse_reason(item.get("reason")))
    notes = content.get("notes")
    if isinstance(notes, list) and all(isinstance(note, str) for note in notes):
        content["people_notes"] = [note for note in notes if note.startswith(_PEOPLE_NOTES)]
        content["notes"] = [note for note in notes if not note.startswith(_PEOPLE_NOTES)]


def _list_objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _change_kind(track: dict[str, Any]) -> None:
    if track.get("kind") == TrackKind.REGION and _PLATE.fullmatch(str(track.get("name"))):
        track["kind"] = TrackKind.PLATE.value


def _parse_status(sentence: Any, kind: Any) -> dict[str, Any]:
    """The members of an uncovered track that hold its status and the reason for it."""
    if not isinstance(sentence, str):
        return {"status": sentence}
    if sentence.startswith(_ALLOWED):
        return {"status": TrackStatus.ALLOWED.value, "allowed_person": sentence.removeprefix(_ALLOWED)}
    if kind == TrackKind.NEVER or sentence.startswith(_IN_REGION):
        region = _REGION.fullmatch(sentence)
        return {"status": TrackStatus.EXEMPT.value, **({"never_region": region[1]} if region else {})}
    if sentence == _DELETED:
        return {"status": TrackStatus.DELETED.value}
    found = _parse_reason(sentence)
    if found["reason"] == ReviewReason.DETECTORS_DISAGREE:
        found["reason"] = SuppressionReason.RARELY_DETECTED.value
    if found["reason"] not in list(SuppressionReason):
        found = {"reason": SuppressionReason.UNKNOWN.value, "text": sentence}
    return {"status": TrackStatus.SUPPRESSED.value, "suppression": found}


def _parse_reason(sentence: Any) -> dict[str, Any]:
    """The members of a review item that hold its reason."""
    if not isinstance(sentence, str):
        return {"reason": sentence}
    if sentence in _REASONS:
        return {"reason": _REASONS[sentence].value}
    if weakly := _WEAKLY.fullmatch(sentence):
        return {"reason": ReviewReason.LOW_CONFIDENCE.value, "detected_frames": int(weakly[1] or weakly[2])}
    if rarely := _RARELY.fullmatch(sentence):
        return {
            "reason": ReviewReason.RARELY_DETECTED.value,
            "detected_frames": int(rarely[1]),
            "searched_frames": int(rarely[2]),
        }
    reason = next(
        (own for beginning, own in _BEGINNINGS.items() if sentence.startswith(beginning)), ReviewReason.UNKNOWN
    )
    return {"reason": reason.value, **({"text": sentence} if sentence else {})}
