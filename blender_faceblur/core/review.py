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
from dataclasses import dataclass
from statistics import median

from .doubts import tell_samples
from .editing import DELETED, NEVER, sample_at
from .people import KEPT
from .types import Box, Doubt, Ellipse, Evidence, FaceBlurError, Sample, Track, TrackDocument

VERDICTS = {"fine": "Is fine", "fixed": "Fixed", "off": "Switched off", "covered": "Covered", "left": "Left uncovered"}
"""What may follow the equals sign, and how it is told. The last is of places that were made uncovered elsewhere."""


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

_WEAK, _LOST, _ENDS, _BEGINS = "weak", "lost", "ends", "begins"
_WHOLE = (_WEAK, _LOST, "lone")
"""Kinds that doubt all of a track, not just some of its frames."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """`reason` is how a doubt's reason begins; see `doubts`, `linking` and `analysis`."""

    name: str
    reason: str
    risk: float
    question: str


_KINDS = (
    _Kind(_ENDS, "ends in the middle", 0.9, "Is the face still to be seen here, uncovered?"),
    _Kind(_BEGINS, "begins in the middle", 0.85, "Was the face to be seen before, uncovered?"),
    _Kind("mixed", "gradual transition", 0.6, "Does a face show that fades in or out?"),
    _Kind("unseen", "covered by following only", 0.55, "Is the cover still on the face?"),
    _Kind("fast", "moves fast", 0.5, "Does the cover keep up with the face?"),
    _Kind("jumps", "jumps for a moment", 0.5, "Is the cover on the face throughout?"),
    _Kind("disagree", "found by one detector only", 0.45, "Is it the face here, and all of it?"),
    _Kind(_LOST, "not found again", 0.7, "Is it a face?"),
    _Kind("lone", "large, and found by one", 0.2, "Is it a face?"),
    _Kind(_WEAK, "found weakly", 0.1, "Is it a face?"),
)
_OTHER = _Kind("other", "", 0.4, "Look at it.")

_LINE = re.compile(r"([a-z]{1,16}) (\d{1,9})-(\d{1,9}) (-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9})=([a-z]{1,16})"
                   r"(?: by (.{1,60}))?")


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A doubtful place. Ranges are half-open source frames; `risk` 0..1 weighs what would show by how likely it is.

    `frame` is where to look; `track` the name of the track, covered or aside, or empty; `off_frames` what switching it
    off switches off. `verdict` is one of `VERDICTS`, empty where nobody has judged; `reviewer` who has, empty where
    that is not known.
    """

    key: str
    start: int
    stop: int
    box: Box
    sentence: str
    risk: float
    frame: int
    track: str
    covered: bool
    off_frames: tuple[int, int]
    verdict: str
    reviewer: str = ""


def list_doubts(document: TrackDocument) -> list[Doubtful]:
    """All doubtful places, riskiest first, those that were judged included."""
    tracks = {track.name: track for track in (*document.aside, *document.tracks)}
    judged = _Judged(document.reviewed)
    covered = {id(track) for track in document.tracks}
    found = []
    for doubt in (*document.doubts, *_find_untold(document)):
        track = tracks.get(doubt.track)
        if track is None and doubt.track:
            track = _find_there(document, doubt)
        found.append(_to_doubtful(document, doubt, track, id(track) in covered, judged))
    return sorted(found, key=lambda d: (-d.risk, d.start))


def count_left(document: TrackDocument, shown: tuple[int, int] | None = None) -> int:
    """How many doubtful places nobody has judged; with `shown` only those in these half-open source frames."""
    return sum(not d.verdict and is_shown(d, shown) for d in list_doubts(document))


def is_shown(doubtful: Doubtful, shown: tuple[int, int] | None) -> bool:
    """Whether any frame of a place is among half-open source frames; None stands for all."""
    return shown is None or (doubtful.start < shown[1] and doubtful.stop > shown[0])


def judge(document: TrackDocument, key: str, verdict: str, reviewer: str = "") -> None:
    """Keep what an editor, who need not be named, thinks of a place. FaceBlurError for what is no key or no verdict."""
    if verdict not in VERDICTS or _LINE.fullmatch(f"{key}={verdict}") is None:
        raise FaceBlurError("There is no such doubtful place.")
    name = "".join(sign for sign in reviewer if sign.isprintable()).strip()[:60]
    line = f"{key}={verdict}" + (f" by {name}" if name else "")
    document.reviewed = [other for other in document.reviewed if other.partition("=")[0] != key] + [line]


def is_fixed(document: TrackDocument, doubtful: Doubtful) -> bool:
    """Whether an editor has put the cover of a doubtful place right: a locked key lies in its frames, or next to them.
    """
    track = next((t for t in document.tracks if t.name == doubtful.track), None)
    return track is not None and any(
        s.evidence is Evidence.LOCKED and doubtful.start - 1 <= s.source_frame <= doubtful.stop for s in track.samples)


def estimate_left(count: int, seconds_each: float = SECONDS_EACH) -> float:
    """Seconds that looking at so many places takes."""
    return count * seconds_each


def find_clearest(samples: Iterable[Sample], frame_size: tuple[int, int]) -> Sample:
    """The sample in which a face is seen best: large, surely found, and whole in the picture of (width, height)."""
    width, height = frame_size

    def weigh(sample: Sample) -> float:
        e = sample.ellipse
        across = min(e.cx + e.rx, width) - max(e.cx - e.rx, 0.0)
        down = min(e.cy + e.ry, height) - max(e.cy - e.ry, 0.0)
        seen = max(across, 0.0) * max(down, 0.0)
        sure = sample.confidence if sample.evidence in (Evidence.DETECTED, Evidence.LOCKED) else (
            REVIEW_QUEUE.undetected_confidence)
        return seen * (sure + REVIEW_QUEUE.confidence_base) * seen / (4 * e.rx * e.ry)

    return max(samples, key=weigh)


def _to_doubtful(
    document: TrackDocument, doubt: Doubt, track: Track | None, covered: bool, judged: _Judged
) -> Doubtful:
    kind = next((kind for kind in _KINDS if doubt.reason.startswith(kind.reason)), _OTHER)
    source = document.source
    size = (source.width, source.height)
    own: list[Sample] = [] if track is None else _between(track, doubt.start, doubt.stop)
    reason, risk, frame = doubt.reason, kind.risk, (doubt.start + doubt.stop - 1) // 2
    if kind.name == _ENDS:
        frame = min(doubt.stop, source.frame_count - 1)
    elif kind.name == _BEGINS:
        frame = max(doubt.start - 1, 0)
        after = _frames_after_cut(document, doubt.start)
        if after:
            reason, risk = f"begins {after} frame{'s' if after > 1 else ''} after a cut", REVIEW_QUEUE.after_cut_risk
    elif own and kind.name in _WHOLE:
        frame = find_clearest(own, size).source_frame
    key = _make_key(kind.name, doubt)
    verdict, reviewer = judged.find(key, kind.name, doubt)
    if track is not None and not covered:
        reason += ", and is not covered"
    # What was covered in the review stays where it stands in it.
    if track is not None and (not covered or verdict == "covered"):
        uncovered = REVIEW_QUEUE.uncovered_risk + REVIEW_QUEUE.uncovered_risk_per_confidence * doubt.confidence
        risk = max(kind.risk, uncovered)
    elif kind.name == "unseen":
        full = REVIEW_QUEUE.undetected_full_s * float(source.frame_rate)
        risk += REVIEW_QUEUE.undetected_risk * min((doubt.stop - doubt.start) / full, 1.0)
    # The whole picture's box says nothing of a face.
    share = 1.0 if track is None else _find_size(own, doubt.box) / (REVIEW_QUEUE.large_share * min(size))
    small = REVIEW_QUEUE.least_size_weight
    off_frames = (doubt.start, doubt.stop)
    if own and track is not None and kind.name in _WHOLE:
        off_frames = track.samples[0].source_frame, track.samples[-1].source_frame + 1
    if not verdict and track is not None:
        verdict = _find_decided(track, covered, own)
    return Doubtful(
        key, doubt.start, doubt.stop, doubt.box, f"{_tell_who(track)} {reason}. {kind.question}",
        risk * (small + (1 - small) * min(share, 1.0)), frame, track.name if track is not None else "", covered,
        off_frames, verdict, reviewer)


def _tell_who(track: Track | None) -> str:
    return f"'{track.name}'" if track is not None else "In the picture:"


def _find_decided(track: Track, covered: bool, own: list[Sample]) -> str:
    """What an editor has decided of a track by other means than the queue."""
    if not covered:
        return "left" if _is_editors(track) else ""
    hidden = own and all(any(first <= s.source_frame < stop for first, stop in track.off) for s in own)
    return "off" if hidden else ""


def _find_there(document: TrackDocument, doubt: Doubt) -> Track | None:
    """The covered track that is where a doubt is whose own track is gone, merged into another perhaps."""
    x1, y1, x2, y2 = doubt.box
    for track in document.tracks:
        sample = sample_at(track, (doubt.start + doubt.stop - 1) // 2)
        if sample is not None and x1 <= sample.ellipse.cx <= x2 and y1 <= sample.ellipse.cy <= y2:
            return track
    return None


def _between(track: Track, start: int, stop: int) -> list[Sample]:
    first, last = (bisect_left(track.samples, frame, key=lambda s: s.source_frame) for frame in (start, stop))
    return track.samples[first:last]


def _find_untold(document: TrackDocument) -> list[Doubt]:
    """Doubts about tracks that were set aside without one: what is no longer covered must be looked at."""
    told = {doubt.track for doubt in document.doubts}
    return [tell_samples(track.name, track.samples, track.aside) for track in document.aside
            if track.samples and track.name not in told and not _is_editors(track)]


def _is_editors(track: Track) -> bool:
    """Whether an editor has set a track aside, and not the machine; people who stay clear are doubtful where told."""
    return track.aside == DELETED or track.kind == NEVER or track.aside.startswith(("in the region", KEPT))


def _frames_after_cut(document: TrackDocument, frame: int) -> int:
    """How many frames after a cut, where it was just before; else 0."""
    soon = round(REVIEW_QUEUE.after_cut_s * float(document.source.frame_rate))
    return next((frame - shot.start for shot in document.shots
                 if shot.start and 0 < frame - shot.start <= soon and frame < shot.stop), 0)


def _find_size(own: list[Sample], box: Box) -> float:
    """How large a face is in pixels, as the side of a square."""
    if own:
        return median(_side(s.ellipse) for s in own)
    return float(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)) ** 0.5


def _side(ellipse: Ellipse) -> float:
    return 2 * float(ellipse.rx * ellipse.ry) ** 0.5


def _make_key(kind: str, doubt: Doubt) -> str:
    return f"{kind} {doubt.start}-{doubt.stop} {','.join(str(round(edge)) for edge in doubt.box)}"


class _Judged:
    """The judgements of a document, as they were written and by kind."""

    def __init__(self, lines: list[str]) -> None:
        self._exact: dict[str, tuple[str, str]] = {}
        self._kinds: dict[str, list[tuple[int, int, Box, tuple[str, str]]]] = {}
        for line in lines:
            match = _LINE.fullmatch(line)
            if match is None or match[8] not in VERDICTS:
                continue
            x1, y1, x2, y2 = (float(match[number]) for number in range(4, 8))
            told = match[8], match[9] or ""
            self._exact[line.partition("=")[0]] = told
            self._kinds.setdefault(match[1], []).append((int(match[2]), int(match[3]), (x1, y1, x2, y2), told))

    def find(self, key: str, kind: str, doubt: Doubt) -> tuple[str, str]:
        """The verdict on a doubt, or on one of the same kind at the same place, and whose; empty where there is none.
        """
        if key in self._exact:
            return self._exact[key]
        for start, stop, box, told in self._kinds.get(kind, ()):
            common = min(stop, doubt.stop) - max(start, doubt.start)
            needed = REVIEW_QUEUE.same_time_share * max(stop - start, doubt.stop - doubt.start)
            if common >= needed and common > 0 and _find_overlap(box, doubt.box) >= REVIEW_QUEUE.same_place_share:
                return told
        return "", ""


def _find_overlap(one: Box, other: Box) -> float:
    """Of two boxes, as a share of both together."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - across * down
    return across * down / both
