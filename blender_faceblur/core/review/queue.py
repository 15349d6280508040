# SPDX-License-Identifier: GPL-3.0-or-later
"""The review queue: the review items of a document, those first that probably show most, and the editor's verdicts.

A verdict is a line in `TrackDocument.reviewed`: `KIND START-STOP X1,Y1,X2,Y2=VERDICT`, as in `ends 115-120
310,80,370,160=fine`. Frames and pixels are whole numbers of the source. ` by NAME` follows where the reviewer is known.
The line names no track, because tracks are renamed and detected again: a verdict also holds for an item of another
analysis that has the same kind and lies at the same place.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array
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
    """How the review queue is sorted, and when a verdict also holds for an item of another analysis.

    An item's risk (0..1) starts with the risk of its kind (`_KINDS`), whose origin is not recorded either.
    """

    seconds_per_item: float = 4.0
    """Seconds to review one item, until the actual time is measured. Raising it makes the shown estimate longer.
    Origin: a guess."""
    large_share: float = 0.2
    """Size of a face, as a share of the picture's shorter side, from which its risk is not reduced: such a face can
    always be recognised. Raising it moves small faces down the queue. Origin not recorded."""
    least_size_weight: float = 0.5
    """Share (0..1) of the risk that remains for the smallest faces. Raising it makes size matter less. Origin not
    recorded."""
    after_cut_s: float = 0.6
    """Seconds after a cut within which the beginning of a track has `after_cut_risk`. Raising it applies that risk to
    more tracks. Origin not recorded."""
    after_cut_risk: float = 0.9
    """Risk (0..1) of such a beginning. Raising it moves these items up the queue. Origin not recorded."""
    uncovered_risk: float = 0.25
    """Risk (0..1) of an uncovered track with a confidence of 0. Raising it moves uncovered tracks up the queue. Origin
    not recorded."""
    uncovered_risk_per_confidence: float = 0.6
    """Addition to that risk at a confidence of 1. Raising it moves uncovered tracks with high confidence up the queue.
    Origin not recorded."""
    undetected_risk: float = 0.2
    """Largest addition to the risk of a stretch without detection. Raising it moves long stretches up the queue. Origin
    not recorded."""
    undetected_full_s: float = 10
    """Length of such a stretch, in seconds, from which it gets the whole addition. Raising it moves shorter stretches
    down the queue. Origin not recorded."""
    same_time_share: float = 0.5
    """Share (0..1) of the longer of two items that both must have in common for a verdict on one to hold for the other.
    Raising it lists more reviewed items again after a new analysis. Origin not recorded."""
    same_place_share: float = 0.4
    """Intersection over union (0..1) that their boxes must have as well. Raising it has the same effect. Origin not
    recorded."""
    rim_share: float = 0.25
    """Share (0..1) of a face that shows if the cover that lies on it does not fit. Raising it moves such items up,
    before faces that may have no cover at all. Origin: a guess."""
    brief_share: float = 0.5
    """Share (0..1) of an uncovered track's rank that remains if it lasts one frame only. Raising it makes length matter
    less. Origin: a guess."""
    long_s: float = 2.0
    """Length of an uncovered track, in seconds, from which its rank is not reduced. Raising it moves short tracks down
    the queue. Origin: a guess."""
    blurred_share: float = 0.3
    """Share (0..1) of an item's rank that remains if its face is too blurred to be recognised all the time. Raising it
    makes sharpness matter less; a face whose sharpness is unknown counts as sharp. Origin: a guess; less than
    `brief_share`, since a viewer can stop the film."""
    blurred_sharpness: float = 0.25
    """Sharpness (0..1) below which the description of a pile calls a face blurred. Raising it calls more so. Origin: a
    blur by 8 % of the face's width, at which a recogniser's best guess is right for one portrait in ten
    (docs/measuring.md)."""
    hiding_points: int = 17
    """Points along each side of a face's box at which the covers of other faces are compared with it. Raising it finds
    smaller gaps between them, and takes longer. Origin: a gap of a sixteenth of a face shows nobody."""
    undetected_confidence: float = 0.1
    """Confidence (0..1) of a frame without a detection in the choice of a face's clearest picture. Raising it chooses
    large faces without a detection more often. Origin not recorded."""
    confidence_base: float = 0.01
    """Addition to every confidence in that choice, so that size decides between frames with a confidence of 0. Raising
    it gives size more weight. Origin not recorded."""


REVIEW_QUEUE = ReviewQueueSettings()

SECONDS_EACH = REVIEW_QUEUE.seconds_per_item

_WHOLE = (
    ReviewReason.LOW_CONFIDENCE,
    ReviewReason.NOT_FOUND_AGAIN,
    ReviewReason.SINGLE_DETECTOR,
    ReviewReason.UNLIKELY_FACE,
)
"""Reasons that concern a whole track and not only some of its frames."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """`key` is the first word of a verdict's key. Files hold these keys, so the words must not change."""

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
    ReviewReason.UNLIKELY_FACE: _Kind("unlikely", 0.1),
}
_OTHER = _Kind("other", 0.4)

_LINE = re.compile(
    r"([a-z]{1,16}) (\d{1,9})-(\d{1,9}) (-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9}),(-?\d{1,9})=([a-z]{1,16})"
    r"(?: by (.{1,60}))?"
)


@dataclass(frozen=True, slots=True)
class ReviewEntry:
    """A review item with its place in the queue. Ranges are half-open source frames.

    `risk` (0..1) combines how likely a leak is and how large the face. `frame` is the frame to show to the editor.
    `track` is the name of the track, covered or not, or empty. `off_frames` are the frames that the verdict OFF
    switches off. `verdict` is None for an open item; `reviewer` is empty where the reviewer is not known.
    `frames_after_cut` counts the frames from a cut to the beginning of the track if that is why it is listed, else 0.
    """

    key: str
    item: ReviewItem
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
    size_px: float = 0.0
    """The size of the face, as the side of a square of the same area."""
    weight: float = 0.0
    """What may show: uncovered area in square pixels of the source, times risk, and reduced for brief and for blurred
    tracks. Items are sorted by it."""
    is_blurred: bool = False
    """The face is hardly to be recognised in any of the moments in which its sharpness was measured."""
    members: tuple[ReviewEntry, ...] = ()
    """The other items of its group (see `groups`)."""
    pile: Pile | None = None
    """Set if the group is a pile of what could show least."""


@dataclass(frozen=True, slots=True)
class Pile:
    """What a pile of review items consists of."""

    places: int
    covered: int
    """Covered tracks."""
    uncovered: int
    largest_px: float
    """The size of its largest face."""
    longest_s: float
    """The length of its longest track, in seconds."""
    blurred: int = 0
    """Tracks whose faces are hardly to be recognised, as they are blurred."""


def list_review_entries(document: TrackDocument, unreliable: Collection[str] = ()) -> list[ReviewEntry]:
    """All review items, reviewed or open, those first that probably show most: by risk and uncovered area.

    A place that other covers hide completely all the time is no item. The covers of the tracks `unreliable`
    hide nothing, as they are switched off or drawn by hand.
    """
    tracks = {track.name: track for track in (*document.uncovered, *document.tracks)}
    verdicts = _Verdicts(document.reviewed)
    covered = {id(track) for track in document.tracks}
    covers = _Covers([track for track in document.tracks if track.name not in unreliable], document.margin)
    # An item without a track counts as a large face.
    large = REVIEW_QUEUE.large_share * min(document.source.width, document.source.height)
    found: list[ReviewEntry] = []
    for item in (*document.review_items, *_list_unreported(document)):
        track = tracks.get(item.track)
        if track is None and item.track:
            track = _find_track_at(document, item)
        entry = _to_entry(document, item, track, id(track) in covered, verdicts)
        shown = 1.0 if track is None else _compute_shown_share(covers, entry, track)
        if shown or entry.verdict:
            own = [] if track is None else _list_samples(track, item.start, item.stop)
            size = large if track is None else _compute_size(own, item.box)
            part = 1.0
            # A track that was covered during the review keeps its place in the queue.
            if track is not None and (not entry.covered or entry.verdict is Verdict.COVERED):
                part = _compute_length_weight(len(track.samples), document)
            elif entry.start <= entry.frame < entry.stop:
                # Where a cover is, it may be too small or too late, but hides most of the face.
                part = REVIEW_QUEUE.rim_share if entry.covered else 1.0
            part *= _compute_sharpness_weight(track)
            found.append(
                replace(
                    entry,
                    size_px=size,
                    weight=entry.risk * part * shown * size**2,
                    is_blurred=is_blurred(track),
                )
            )
    return sorted(found, key=lambda entry: (-entry.weight, entry.start))


def _compute_length_weight(frames: int, document: TrackDocument) -> float:
    """The share (0..1) of its rank that an uncovered track of so many frames keeps."""
    length = min(frames / (REVIEW_QUEUE.long_s * float(document.source.frame_rate)), 1.0)
    return REVIEW_QUEUE.brief_share + (1 - REVIEW_QUEUE.brief_share) * length


def _compute_sharpness_weight(track: Track | None) -> float:
    """The share (0..1) of its rank that an item about this track keeps."""
    sharpness = 1.0 if track is None or track.sharpness is None else track.sharpness
    return REVIEW_QUEUE.blurred_share + (1 - REVIEW_QUEUE.blurred_share) * sharpness


def is_blurred(track: Track | None) -> bool:
    """Whether a track's face is known to be hardly recognisable at its sharpest."""
    return track is not None and track.sharpness is not None and track.sharpness < REVIEW_QUEUE.blurred_sharpness


def is_shown(entry: ReviewEntry, shown: tuple[int, int] | None) -> bool:
    """Whether any frame of an item, or of its group, lies in a half-open range of source frames; None stands for all
    frames."""
    return shown is None or any(one.start < shown[1] and one.stop > shown[0] for one in (entry, *entry.members))


def record_verdict(document: TrackDocument, key: str, verdict: Verdict, reviewer: str = "") -> None:
    """Save an editor's verdict on a review item. Raises FaceBlurError where the key or the verdict is invalid."""
    if verdict not in list(Verdict) or _LINE.fullmatch(f"{key}={verdict}") is None:
        raise FaceBlurError("There is no such place to review.")
    name = "".join(sign for sign in reviewer if sign.isprintable()).strip()[:60]
    line = f"{key}={verdict}" + (f" by {name}" if name else "")
    document.reviewed = [other for other in document.reviewed if other.partition("=")[0] != key] + [line]


def is_fixed(document: TrackDocument, entry: ReviewEntry) -> bool:
    """Whether an editor has corrected the cover at a review item: a locked key lies in its frames, or next to them."""
    track = next((t for t in document.tracks if t.name == entry.track), None)
    return track is not None and any(
        s.evidence is Evidence.LOCKED and entry.start - 1 <= s.source_frame <= entry.stop for s in track.samples
    )


def estimate_left(count: int, seconds_each: float = SECONDS_EACH) -> float:
    """The seconds that reviewing `count` items takes."""
    return count * seconds_each


def choose_clearest(samples: Iterable[Sample], frame_size: tuple[int, int]) -> Sample:
    """The sample that shows a face best: large, confidently detected, and whole in a picture of (width, height)."""
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
    document: TrackDocument, item: ReviewItem, track: Track | None, covered: bool, verdicts: _Verdicts
) -> ReviewEntry:
    kind = _KINDS.get(item.reason, _OTHER)
    source = document.source
    size = (source.width, source.height)
    own: list[Sample] = [] if track is None else _list_samples(track, item.start, item.stop)
    risk, frame, after = kind.risk, (item.start + item.stop - 1) // 2, 0
    if item.reason is ReviewReason.ENDS:
        frame = min(item.stop, source.frame_count - 1)
    elif item.reason is ReviewReason.BEGINS:
        frame = max(item.start - 1, 0)
        after = _count_frames_after_cut(document, item.start)
        if after:
            risk = REVIEW_QUEUE.after_cut_risk
    elif own and (item.reason in _WHOLE or not covered):
        frame = choose_clearest(own, size).source_frame
    elif own:
        # Between two parts of a track there may be nothing to see.
        middle = frame
        frame = min((s.source_frame for s in own), key=lambda f: abs(f - middle))
    key = _make_key(kind.key, item)
    verdict, reviewer = verdicts.find_verdict(key, kind.key, item)
    # A track that was covered during the review keeps its place in the queue.
    if track is not None and (not covered or verdict is Verdict.COVERED):
        uncovered = REVIEW_QUEUE.uncovered_risk + REVIEW_QUEUE.uncovered_risk_per_confidence * item.confidence
        risk = max(kind.risk, uncovered)
    elif item.reason is ReviewReason.FLOW_ONLY:
        full = REVIEW_QUEUE.undetected_full_s * float(source.frame_rate)
        risk += REVIEW_QUEUE.undetected_risk * min((item.stop - item.start) / full, 1.0)
    # An item without a track has the box of the whole picture, which says nothing about the size of a face.
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
    """The verdict that follows from an editor's decision about the track outside the review queue."""
    if not covered:
        return Verdict.UNCOVERED if track.is_editor_decision else None
    hidden = own and all(any(first <= s.source_frame < stop for first, stop in track.off) for s in own)
    return Verdict.TURNED_OFF if hidden else None


def _find_track_at(document: TrackDocument, item: ReviewItem) -> Track | None:
    """The covered track at the place of an item whose own track is gone, perhaps because it was merged."""
    x1, y1, x2, y2 = item.box
    for track in document.tracks:
        middle = (item.start + item.stop - 1) // 2
        if any(x1 <= s.ellipse.cx <= x2 and y1 <= s.ellipse.cy <= y2 for s in _list_samples(track, middle, middle + 1)):
            return track
    return None


def _compute_shown_share(covers: _Covers, entry: ReviewEntry, track: Track) -> float:
    """The largest share (0..1) of an item's face that no cover of another track hides, over the item's frames."""
    own = _list_samples(track, entry.start, entry.stop)
    if not own:
        return 1.0
    places = [(s.source_frame, _get_box(s.ellipse)) for s in own]
    if not entry.start <= entry.frame < entry.stop:
        # Where the face may go on, beyond the track's beginning or end.
        places.append((entry.frame, places[0 if entry.frame < entry.start else -1][1]))
    return covers.compute_shown_share(places, track)


class _Covers:
    """The covers of tracks, to compute how much of a place they hide together.

    They are the tracks' ellipses with their margin, which the layers contain at each frame (`core/cover`).
    """

    def __init__(self, tracks: list[Track], margin: float) -> None:
        self._tracks, self._margin = tracks, margin

    @cached_property
    def _numbers(self) -> dict[int, int]:
        """The number of each track, by its id."""
        return {id(track): number for number, track in enumerate(self._tracks)}

    @cached_property
    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Frames (N, sorted), the tracks' numbers (N), and ellipses with the margin (N x 5) of all covered samples."""
        frames: list[int] = []
        owners: list[int] = []
        ellipses: list[tuple[float, float, float, float, float]] = []
        for number, track in enumerate(self._tracks):
            for sample in track.samples:
                if track.off and any(start <= sample.source_frame < stop for start, stop in track.off):
                    continue
                e = sample.ellipse
                frames.append(sample.source_frame)
                owners.append(number)
                ellipses.append((e.cx, e.cy, e.rx, e.ry, e.angle))
        order = np.argsort(np.array(frames, np.int64), kind="stable")
        rows = np.array(ellipses, float).reshape(-1, 5) * (1.0, 1.0, self._margin, self._margin, 1.0)
        return np.array(frames, np.int64)[order], np.array(owners, np.int64)[order], rows[order]

    def compute_shown_share(self, places: list[tuple[int, Box]], own: Track) -> float:
        """The largest share (0..1) of the boxes that no cover hides, except those of the track `own`."""
        frames, owners, ellipses = self._table
        number = self._numbers.get(id(own), -1)
        most = 0.0
        for frame, box in places:
            here = slice(*np.searchsorted(frames, (frame, frame + 1)))
            near = ellipses[here]
            reach = np.maximum(near[:, 2], near[:, 3])
            meets = (near[:, 0] - reach < box[2]) & (near[:, 0] + reach > box[0])
            meets &= (near[:, 1] - reach < box[3]) & (near[:, 1] + reach > box[1])
            most = max(most, _compute_outside(box, near[meets & (owners[here] != number)]))
            if most == 1.0:
                break
        return most


def _compute_outside(box: Box, ellipses: Array) -> float:
    """The share (0..1) of a box that lies in no ellipse (N x 5: cx, cy, rx, ry, angle), on a grid that includes its
    edges."""
    if not len(ellipses):
        return 1.0
    points = REVIEW_QUEUE.hiding_points
    x, y = np.linspace(box[0], box[2], points), np.linspace(box[1], box[3], points)[:, None]
    outside = np.ones((points, points), np.bool_)
    for cx, cy, rx, ry, angle in ellipses.tolist():
        cos, sin = math.cos(angle), math.sin(angle)
        along, across = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
        outside &= (along / rx) ** 2 + (across / ry) ** 2 > 1
    return float(outside.mean())


def _get_box(ellipse: Ellipse) -> Box:
    return ellipse.cx - ellipse.rx, ellipse.cy - ellipse.ry, ellipse.cx + ellipse.rx, ellipse.cy + ellipse.ry


def _list_samples(track: Track, start: int, stop: int) -> list[Sample]:
    first, last = (bisect_left(track.samples, frame, key=lambda s: s.source_frame) for frame in (start, stop))
    return track.samples[first:last]


def _list_unreported(document: TrackDocument) -> list[ReviewItem]:
    """Review items for suppressed tracks without one: the editor must see every track that is no longer covered."""
    reported = {item.track for item in document.review_items}
    return [
        _make_suppressed_item(track)
        for track in document.uncovered
        if track.samples and track.name not in reported and not track.is_editor_decision
    ]


def _make_suppressed_item(track: Track) -> ReviewItem:
    why = track.suppression or Suppression(SuppressionReason.UNKNOWN)
    return replace(
        make_review_item(track.name, track.samples, ReviewReason(why.reason)),
        detected_frames=why.detected_frames,
        searched_frames=why.searched_frames,
        text=why.text,
    )


def _count_frames_after_cut(document: TrackDocument, frame: int) -> int:
    """The number of frames since a cut that was shortly before; 0 where there was none."""
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
    """The size of a face in pixels, as the side of a square of the same area."""
    if own:
        return median(_compute_side(s.ellipse) for s in own)
    return float((max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)) ** 0.5)


def _compute_side(ellipse: Ellipse) -> float:
    return float(2 * (ellipse.rx * ellipse.ry) ** 0.5)


def _make_key(kind: str, item: ReviewItem) -> str:
    return f"{kind} {item.start}-{item.stop} {','.join(str(round(edge)) for edge in item.box)}"


class _Verdicts:
    """The verdicts of a document, by their exact key and by kind."""

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
        """The verdict on an item, or on one of its kind at its place, with the reviewer; None where there is none."""
        if key in self._exact:
            return self._exact[key]
        for start, stop, box, reported in self._kinds.get(kind, ()):
            common = min(stop, item.stop) - max(start, item.start)
            needed = REVIEW_QUEUE.same_time_share * max(stop - start, item.stop - item.start)
            if common >= needed and common > 0 and _compute_overlap(box, item.box) >= REVIEW_QUEUE.same_place_share:
                return reported
        return None, ""


def _compute_overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - across * down
    return across * down / both
