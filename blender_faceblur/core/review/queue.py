# SPDX-License-Identifier: GPL-3.0-or-later
"""The review queue: the doubtful places of a document, riskiest first, and what an editor has judged of them.

A judgement is a line in `TrackDocument.reviewed`: `KIND START-STOP X1,Y1,X2,Y2=VERDICT`, as in
`ends 115-120 310,80,370,160=fine`; frames and pixels are whole numbers of the source. ` by NAME` follows where whoever
judged is named. It names no track, as tracks are renamed and found anew: a doubt of another analysis is judged where it
is of the same kind at the same place.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from ..document.editing import sample_at
from ..tracking.review_items import make_review_item
from ..types import (
    Box,
    Ellipse,
    Evidence,
    FaceBlurError,
    ReviewItem,
    ReviewReason,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class ReviewQueueSettings:
    """How the review queue is ordered, and when a judgement is about a place that was found anew.

    A place's risk (0..1) begins with that of its kind (`_KINDS`), whose origin is not recorded either.
    """

    seconds_per_item: float = 4.0
    """Seconds that reviewing one place takes as long as nothing was measured. Raising it makes the shown estimate
    longer. Origin: a guess."""
    large_share: float = 0.2
    """Size, as a share of the picture's shorter side, from which a face counts with its whole risk: such faces are
    recognisable in any case. Raising it moves small faces down the queue. Origin not recorded."""
    least_size_weight: float = 0.5
    """Share (0..1) of the risk that a face without size keeps. Raising it lets size matter less. Origin not
    recorded."""
    after_cut_s: float = 0.6
    """Seconds after a cut within which a track that begins is listed with `after_cut_risk`. Raising it lists more as
    such. Origin not recorded."""
    after_cut_risk: float = 0.9
    """Risk (0..1) of such a track. Raising it moves it up the queue. Origin not recorded."""
    uncovered_risk: float = 0.25
    """Risk (0..1) of a track that is not covered and was detected without confidence. Raising it moves uncovered tracks
    up the queue. Origin not recorded."""
    uncovered_risk_per_confidence: float = 0.6
    """What full confidence adds to it. Raising it moves surely detected tracks that are not covered up the queue.
    Origin not recorded."""
    undetected_risk: float = 0.2
    """What a long stretch without detection adds to its risk at most. Raising it moves long stretches up the queue.
    Origin not recorded."""
    undetected_full_s: float = 10
    """Seconds from which such a stretch gets all of that. Raising it moves shorter ones down the queue. Origin not
    recorded."""
    same_time_share: float = 0.5
    """Share (0..1) of the longer of two stretches in which both lie, from which a judgement of the one holds for the
    other. Raising it shows more judged places again after a new analysis. Origin not recorded."""
    same_place_share: float = 0.4
    """Intersection over union (0..1) of their boxes that they need as well. Raising it does the same. Origin not
    recorded."""
    undetected_confidence: float = 0.1
    """Confidence (0..1) that a frame without detection counts as, where the clearest picture of a face is chosen.
    Raising it chooses large undetected frames more often. Origin not recorded."""
    confidence_base: float = 0.01
    """Added to every confidence there, so that size decides between frames without any. Raising it lets size decide
    more. Origin not recorded."""


REVIEW_QUEUE = ReviewQueueSettings()

SECONDS_EACH = REVIEW_QUEUE.seconds_per_item

_WHOLE = (ReviewReason.LOW_CONFIDENCE, ReviewReason.NOT_FOUND_AGAIN, ReviewReason.SINGLE_DETECTOR)
"""Reasons to doubt all of a track, not just some of its frames."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """`key` begins the keys of judgements, which lie in files: it stays as it is."""

    key: str
    risk: float


_KINDS = {
    ReviewReason.ENDS: _Kind("ends", 0.9),
    ReviewReason.BEGINS: _Kind("begins", 0.85),
    ReviewReason.GRADUAL_TRANSITION: _Kind("mixed", 0.6),
    ReviewReason.FLOW_ONLY: _Kind("unseen", 0.55),
    ReviewReason.FAST_MOTION: _Kind("fast", 0.5),
    ReviewReason.JUMP: _Kind("jumps", 0.5),
    ReviewReason.DETECTORS_DISAGREE: _Kind("disagree", 0.45),
    ReviewReason.RARELY_DETECTED: _Kind("disagree", 0.45),
    ReviewReason.NOT_FOUND_AGAIN: _Kind("lost", 0.7),
    ReviewReason.SINGLE_DETECTOR: _Kind("lone", 0.2),
    ReviewReason.LOW_CONFIDENCE: _Kind("weak", 0.1),
}
_OTHER = _Kind("other", 0.4)

_LINE = re.compile(
    r"([a-z]{1,16}) (\d{1,9})-(\d{1,9}) (-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9})=([a-z]{1,16})"
    r"(?: by (.{1,60}))?"
)


@dataclass(frozen=True, slots=True)
class ReviewEntry:
    """A doubtful place. Ranges are half-open source frames; `risk` 0..1 weighs what would show by how likely it is.

    `frame` is where to look; `track` the name of the track, covered or not, or empty; `off_frames` what switching it
    off switches off. `verdict` is None where nobody has judged; `reviewer` who has, empty where that is not known.
    `frames_after_cut`: how many frames after a cut a track begins, where that makes it doubtful; else 0.
    """

    key: str
    doubt: ReviewItem
    start: int
    stop: int
    box: Box
    risk: float
    frame: int
    track: str
    covered: bool
    off_frames: tuple[int, int]
    verdict: Verdict | None
    reviewer: str = ""
    frames_after_cut: int = 0


def list_review_entries(document: TrackDocument) -> list[ReviewEntry]:
    """All doubtful places, riskiest first, those that were judged included."""
    tracks = {track.name: track for track in (*document.aside, *document.tracks)}
    judged = _Judged(document.reviewed)
    covered = {id(track) for track in document.tracks}
    found = []
    for item in (*document.review_items, *_list_unreported(document)):
        track = tracks.get(item.track)
        if track is None and item.track:
            track = _find_track_at(document, item)
        found.append(_to_entry(document, item, track, id(track) in covered, judged))
    return sorted(found, key=lambda d: (-d.risk, d.start))


def count_left(document: TrackDocument, shown: tuple[int, int] | None = None) -> int:
    """How many doubtful places nobody has judged; with `shown` only those in these half-open source frames."""
    return sum(not d.verdict and is_shown(d, shown) for d in list_review_entries(document))


def is_shown(doubtful: ReviewEntry, shown: tuple[int, int] | None) -> bool:
    """Whether any frame of a place is among half-open source frames; None stands for all."""
    return shown is None or (doubtful.start < shown[1] and doubtful.stop > shown[0])


def record_verdict(document: TrackDocument, key: str, verdict: Verdict, reviewer: str = "") -> None:
    """Keep what an editor, who need not be named, thinks of a place. FaceBlurError for what is no key or no verdict."""
    if verdict not in list(Verdict) or _LINE.fullmatch(f"{key}={verdict}") is None:
        raise FaceBlurError("There is no such doubtful place.")
    name = "".join(sign for sign in reviewer if sign.isprintable()).strip()[:60]
    line = f"{key}={verdict}" + (f" by {name}" if name else "")
    document.reviewed = [other for other in document.reviewed if other.partition("=")[0] != key] + [line]


def is_fixed(document: TrackDocument, doubtful: ReviewEntry) -> bool:
    """Whether an editor has corrected the cover at a review item: a locked key lies in its frames, or next to them."""
    track = next((t for t in document.tracks if t.name == doubtful.track), None)
    return track is not None and any(
        s.evidence is Evidence.LOCKED and doubtful.start - 1 <= s.source_frame <= doubtful.stop for s in track.samples
    )


def estimate_left(count: int, seconds_each: float = SECONDS_EACH) -> float:
    """Seconds that looking at so many places takes."""
    return count * seconds_each


def choose_clearest(samples: Iterable[Sample], frame_size: tuple[int, int]) -> Sample:
    """The sample in which a face is seen best: large, surely found, and whole in the picture of (width, height)."""
    width, height = frame_size

    def weigh(sample: Sample) -> float:
        e = sample.ellipse
        across = min(e.cx + e.rx, width) - max(e.cx - e.rx, 0.0)
        down = min(e.cy + e.ry, height) - max(e.cy - e.ry, 0.0)
        seen = max(across, 0.0) * max(down, 0.0)
        sure = (
            sample.confidence
            if sample.evidence in (Evidence.DETECTED, Evidence.LOCKED)
            else (REVIEW_QUEUE.undetected_confidence)
        )
        return seen * (sure + REVIEW_QUEUE.confidence_base) * seen / (4 * e.rx * e.ry)

    return max(samples, key=weigh)


def _to_entry(
    document: TrackDocument, item: ReviewItem, track: Track | None, covered: bool, judged: _Judged
) -> ReviewEntry:
    kind = _KINDS.get(item.reason, _OTHER)
    source = document.source
    size = (source.width, source.height)
    own: list[Sample] = [] if track is None else _between(track, item.start, item.stop)
    risk, frame, after = kind.risk, (item.start + item.stop - 1) // 2, 0
    if item.reason is ReviewReason.ENDS:
        frame = min(item.stop, source.frame_count - 1)
    elif item.reason is ReviewReason.BEGINS:
        frame = max(item.start - 1, 0)
        after = _frames_after_cut(document, item.start)
        if after:
            risk = REVIEW_QUEUE.after_cut_risk
    elif own and item.reason in _WHOLE:
        frame = choose_clearest(own, size).source_frame
    key = _make_key(kind.key, item)
    verdict, reviewer = judged.find_verdict(key, kind.key, item)
    # What was covered in the review stays where it stands in it.
    if track is not None and (not covered or verdict is Verdict.COVERED):
        uncovered = REVIEW_QUEUE.uncovered_risk + REVIEW_QUEUE.uncovered_risk_per_confidence * item.confidence
        risk = max(kind.risk, uncovered)
    elif item.reason is ReviewReason.FLOW_ONLY:
        full = REVIEW_QUEUE.undetected_full_s * float(source.frame_rate)
        risk += REVIEW_QUEUE.undetected_risk * min((item.stop - item.start) / full, 1.0)
    # The whole picture's box says nothing of a face.
    share = 1.0 if track is None else _compute_size(own, item.box) / (REVIEW_QUEUE.large_share * min(size))
    small = REVIEW_QUEUE.least_size_weight
    off_frames = (item.start, item.stop)
    if own and track is not None and item.reason in _WHOLE:
        off_frames = track.samples[0].source_frame, track.samples[-1].source_frame + 1
    if not verdict and track is not None:
        verdict = _get_decision(track, covered, own)
    return ReviewEntry(
        key,
        item,
        item.start,
        item.stop,
        item.box,
        risk * (small + (1 - small) * min(share, 1.0)),
        frame,
        track.name if track is not None else "",
        covered,
        off_frames,
        verdict,
        reviewer,
        after,
    )


def _get_decision(track: Track, covered: bool, own: list[Sample]) -> Verdict | None:
    """What an editor has decided of a track by other means than the queue."""
    if not covered:
        return Verdict.LEFT if track.is_chosen else None
    hidden = own and all(any(first <= s.source_frame < stop for first, stop in track.off) for s in own)
    return Verdict.OFF if hidden else None


def _find_track_at(document: TrackDocument, item: ReviewItem) -> Track | None:
    """The covered track that is where a doubt is whose own track is gone, merged into another perhaps."""
    x1, y1, x2, y2 = item.box
    for track in document.tracks:
        sample = sample_at(track, (item.start + item.stop - 1) // 2)
        if sample is not None and x1 <= sample.ellipse.cx <= x2 and y1 <= sample.ellipse.cy <= y2:
            return track
    return None


def _between(track: Track, start: int, stop: int) -> list[Sample]:
    first, last = (bisect_left(track.samples, frame, key=lambda s: s.source_frame) for frame in (start, stop))
    return track.samples[first:last]


def _list_unreported(document: TrackDocument) -> list[ReviewItem]:
    """Doubts about tracks that were set aside without one: what is no longer covered must be looked at."""
    reported = {item.track for item in document.review_items}
    return [
        _tell_suppressed(track)
        for track in document.aside
        if track.samples and track.name not in reported and not track.is_chosen
    ]


def _tell_suppressed(track: Track) -> ReviewItem:
    why = track.suppression or Suppression(SuppressionReason.UNKNOWN)
    return replace(
        make_review_item(track.name, track.samples, ReviewReason(why.reason)),
        detected_frames=why.detected_frames,
        searched_frames=why.searched_frames,
        text=why.text,
    )


def _frames_after_cut(document: TrackDocument, frame: int) -> int:
    """How many frames after a cut, where it was just before; else 0."""
    soon = round(REVIEW_QUEUE.after_cut_s * float(document.source.frame_rate))
    return next(
        (
            frame - shot.start
            for shot in document.shots
            if shot.start and 0 < frame - shot.start <= soon and frame < shot.stop
        ),
        0,
    )


def _compute_size(own: list[Sample], box: Box) -> float:
    """How large a face is in pixels, as the side of a square."""
    if own:
        return median(_side(s.ellipse) for s in own)
    return float((max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)) ** 0.5)


def _side(ellipse: Ellipse) -> float:
    return float(2 * (ellipse.rx * ellipse.ry) ** 0.5)


def _make_key(kind: str, item: ReviewItem) -> str:
    return f"{kind} {item.start}-{item.stop} {','.join(str(round(edge)) for edge in item.box)}"


class _Judged:
    """The judgements of a document, as they were written and by kind."""

    def __init__(self, lines: list[str]) -> None:
        self._exact: dict[str, tuple[Verdict, str]] = {}
        self._kinds: dict[str, list[tuple[int, int, Box, tuple[Verdict, str]]]] = {}
        for line in lines:
            match = _LINE.fullmatch(line)
            if match is None or match[8] not in list(Verdict):
                continue
            x1, y1, x2, y2 = (float(match[number]) for number in range(4, 8))
            reported = Verdict(match[8]), match[9] or ""
            self._exact[line.partition("=")[0]] = reported
            self._kinds.setdefault(match[1], []).append((int(match[2]), int(match[3]), (x1, y1, x2, y2), reported))

    def find_verdict(self, key: str, kind: str, item: ReviewItem) -> tuple[Verdict | None, str]:
        """The verdict on a doubt, or on one of the same kind at the same place, and whose; None where there is none."""
        if key in self._exact:
            return self._exact[key]
        for start, stop, box, reported in self._kinds.get(kind, ()):
            common = min(stop, item.stop) - max(start, item.start)
            needed = REVIEW_QUEUE.same_time_share * max(stop - start, item.stop - item.start)
            if common >= needed and common > 0 and _compute_overlap(box, item.box) >= REVIEW_QUEUE.same_place_share:
                return reported
        return None, ""


def _compute_overlap(one: Box, other: Box) -> float:
    """Of two boxes, as a share of both together."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - across * down
    return across * down / both
