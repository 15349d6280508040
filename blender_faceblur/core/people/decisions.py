# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whom to cover: people, a decision about each track, and how the document changes with the decisions.

A face stays visible only where it is certain, all along the track, whom it shows. Covering needs no certainty. A track
whose person stays visible has the status ALLOWED: the program neither covers nor checks nor lists it. A new analysis
covers the track again until there is a new decision.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from ..document.editing import bring_back
from ..document.naming import choose_free_name
from ..geometry import Array
from ..tracking.review_items import make_review_item
from ..types import ReviewItem, ReviewReason, Track, TrackDocument, TrackKind, TrackStatus
from .similarity import (
    GOOD,
    USABLE,
    FaceEmbedding,
    Vector,
    choose_references,
    compute_false_accept_rate,
    compute_median_distance,
    compute_threshold,
    describe_rate,
    list_coexisting_pairs,
    measure_distances,
)

NOBODY_OF = "none of those to be blurred"
"""The name of a person who is not one of those to be covered, where everyone else stays visible. Documents hold it."""

REASONS = (
    ReviewReason.DIFFERENT_PERSON,
    ReviewReason.NOT_RECOGNIZED,
    ReviewReason.WEAK_EVIDENCE,
    ReviewReason.AMBIGUOUS_PERSON,
    ReviewReason.PERSON_ELSEWHERE,
    ReviewReason.TOO_FEW_FACE_CROPS,
)
"""All reasons of review items about people."""


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """How certain a track's person must be before the track stays visible.

    Distances are those of `SimilaritySettings`. "The limit" is the distance that belongs to the chosen rate of
    strangers. A good crop has at least `SimilaritySettings.good_quality`. docs/people.md has the measurements that were
    made with all of these values.
    """

    stranger_rate: float = 1e-4
    """Share (0..1) of strangers who may look like a person in every crop, unless the user chooses another rate. Raising
    it keeps more of the right people visible, and more strangers. Origin: lowered from 1e-3; with it, none of 5400
    tracks of strangers stayed visible."""
    stranger_rates: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    """The rates that the user may choose from. Raising the first rate would keep more strangers visible. Origin not
    recorded; docs/people.md says what each rate costs."""
    least_crops: int = 4
    """Good crops in a row that a track needs to stay visible. Raising it covers more of the right people. Origin not
    recorded."""
    many_crops: int = 8
    """Good crops that are needed where they are less than half of a track's, and below which the evidence counts as
    weak. Raising it covers and lists more of the right people. Origin not recorded."""
    agreeing_slack: float = 0.06
    """How far beyond the limit a single crop may lie and still show the person. Raising it keeps the person visible in
    more frames. Origin not recorded."""
    contradicting_slack: float = 0.09
    """How far beyond the limit a good crop must lie to show a different person. Raising it delays the moment when the
    program notices that another person has taken their place. Origin not recorded."""
    rival_margin: float = 0.06
    """How much nearer a track must be to the person who stays visible than to any person who is covered. Where a person
    seems to be at two places at once, a track stays visible only if it is nearer than the other by twice this value.
    Raising it covers more of the right people. Origin not recorded."""
    weak_margin: float = 0.03
    """A median distance that is less than this below the limit is weak evidence, which is listed for review. Raising it
    lists more tracks. Origin not recorded."""
    somebody_else_distance: float = 0.64
    """Distance from which a good crop shows a different person in any case. Raising it delays the moment when the
    program notices that another person has taken their place. Origin: at most 1 in 200 pairs of one person's
    photographs lie this far apart."""
    stranger_distance: float = 0.66
    """Where only certain people are covered: the distance to each of them from which a good crop shows someone else.
    Raising it covers more of the other people. Origin not recorded."""
    stranger_median_distance: float = 0.7
    """The same for the median of a track's good crops. Raising it covers more of the other people. Origin not
    recorded."""
    recognised_distance: float = 0.62
    """Distance up to which a person who is to be covered counts as recognised: covering needs no certainty. Raising it
    covers more of the other people. Origin not recorded."""
    reach_s: float = 3.0
    """Seconds between two crops with the person for which the track stays visible. Raising it keeps the person visible
    in more frames, and also anyone who takes their place in between. Origin not recorded."""
    end_s: float = 1.5
    """Seconds before the first such crop and after the last one for which the track stays visible. Raising it has the
    same effects. Origin not recorded."""
    fade_s: float = 0.12
    """Seconds around a change to a different person that are covered too: while one face fades into another, a crop may
    still recognise the first. Raising it covers more of the right people. Origin: introduced with that observation; how
    it was chosen is not recorded."""


DECISIONS = DecisionSettings()

USUAL_RATE = DECISIONS.stranger_rate
RATES = DECISIONS.stranger_rates


class Mode(str, Enum):
    BLUR = "blur"
    KEEP = "keep"


@dataclass(slots=True)
class Person:
    """A person with a name. `references` are embeddings of the person's face; they are never saved."""

    name: str
    mode: Mode
    references: list[Vector] = field(default_factory=list, repr=False)


@dataclass(slots=True)
class People:
    """The known people. With `others_clear` everyone else stays visible (blur only these), otherwise everyone else is
    covered (keep these)."""

    persons: list[Person] = field(default_factory=list)
    others_clear: bool = False
    stranger_rate: float = USUAL_RATE

    def get(self, name: str) -> Person | None:
        return next((person for person in self.persons if person.name == name), None)


@dataclass(slots=True)
class Decision:
    """A decision about a track: it stays visible in the frame ranges `clear` (half-open, sorted), and is covered
    elsewhere.

    `person` is the person whom the track probably shows; empty for an unknown person. `why` describes the evidence.
    """

    track: str
    person: str = ""
    clear: list[tuple[int, int]] = field(default_factory=list)
    embedding_count: int = 0
    agreeing: int = 0
    distance: float = math.inf
    rate: float = 1.0
    why: str = ""
    by_editor: bool = False
    is_stranger: bool = False
    """The track stays visible because it shows none of the people to be covered, and not because of whom it shows."""
    review_items: list[ReviewItem] = field(default_factory=list)


@dataclass(slots=True)
class _Run:
    """Consecutive crops of a track without a sign that they show two people."""

    embeddings: list[FaceEmbedding]
    distances: Array


def decide_tracks(
    document: TrackDocument,
    embeddings: Mapping[str, Sequence[FaceEmbedding]],
    people: People,
    assigned: Mapping[str, str] | None = None,
) -> list[Decision]:
    """Decide about each covered face track, in the document's order.

    `embeddings` are by track name, sorted by frame. `assigned` maps tracks to the people that an editor has assigned.
    An assignment counts more than any similarity, but the track is covered where it changes to a different person.
    """
    rate = float(document.source.frame_rate)
    tracks = [track for track in document.tracks if track.kind is TrackKind.FACE]
    decisions = {}
    for track in tracks:
        track_embeddings = [embedding for embedding in embeddings.get(track.name, ()) if embedding.quality >= USABLE]
        name = (assigned or {}).get(track.name, "")
        if name:
            decisions[track.name] = _apply_editor(track, track_embeddings, people, name, rate)
        else:
            single = document.source.frame_count == 1
            decisions[track.name] = _decide(track, track_embeddings, people, rate, single)
    _resolve_doubles(decisions, tracks)
    return list(decisions.values())


def _apply_editor(
    track: Track, track_embeddings: list[FaceEmbedding], people: People, name: str, rate: float
) -> Decision:
    person = people.get(name)
    decision = Decision(
        track.name, name, embedding_count=len(track_embeddings), by_editor=True, why="assigned by the editor"
    )
    keep = person.mode is Mode.KEEP if person is not None else people.others_clear
    if not keep:
        return decision
    decision.clear = track.list_spans()
    if not track_embeddings and track.samples:
        decision.review_items = _make_items(
            track, track.samples[0].source_frame, track.samples[-1].source_frame + 1, ReviewReason.WEAK_EVIDENCE
        )
    if person is not None and person.references:
        distances = measure_distances(track_embeddings, person.references)
        limit = DECISIONS.somebody_else_distance
        others = [
            v.source_frame for v, d in zip(track_embeddings, distances, strict=True) if v.quality >= GOOD and d >= limit
        ]
        agreeing = [v.source_frame for v, d in zip(track_embeddings, distances, strict=True) if d < limit]
        decision.agreeing, decision.distance = len(agreeing), compute_median_distance(distances, track_embeddings)
        for other in others:
            # From the last crop of the person before this frame to the first one after it.
            fade = round(DECISIONS.fade_s * rate)
            at = bisect_left(agreeing, other)
            start = agreeing[at - 1] + 1 - fade if at else track.samples[0].source_frame
            stop = agreeing[at] + fade if at < len(agreeing) else track.samples[-1].source_frame + 1
            decision.clear = _remove_range(decision.clear, start, stop)
            decision.review_items += _make_items(track, start, stop, ReviewReason.DIFFERENT_PERSON)
        decision.review_items = list(dict.fromkeys(decision.review_items))
    return decision


def _decide(track: Track, track_embeddings: list[FaceEmbedding], people: People, rate: float, single: bool) -> Decision:
    decision = Decision(track.name, embedding_count=len(track_embeddings))
    good = [embedding for embedding in track_embeddings if embedding.quality >= GOOD]
    if len(good) < (1 if single else DECISIONS.least_crops):
        decision.why = f"seen clearly in {len(good)} crops"
        decision.person = _get_nearest(track_embeddings, people)
        return decision
    keep = [p for p in people.persons if p.mode is Mode.KEEP and p.references]
    blur = [p for p in people.persons if p.mode is Mode.BLUR and p.references]
    for person in keep:
        found = _match(track, track_embeddings, person, blur, people.stranger_rate, rate, single)
        if decision.clear:
            better = bool(found.clear) and found.distance < decision.distance
        else:
            better = bool(found.clear or (found.review_items and not decision.review_items))
        decision = found if better else decision
    if not decision.clear and people.others_clear:
        decision = _clear_stranger(track, track_embeddings, blur, rate, single, decision)
    if not decision.clear and not decision.person:
        decision.person = _get_nearest(track_embeddings, people)
        decision.why = decision.why or "looks like no known person"
    return decision


def _match(
    track: Track,
    track_embeddings: list[FaceEmbedding],
    person: Person,
    blur: list[Person],
    stranger_rate: float,
    rate: float,
    single: bool,
) -> Decision:
    """Whether, and where, a track certainly shows a person who stays visible."""
    decision = Decision(track.name, embedding_count=len(track_embeddings))
    references = choose_references(person.references)
    limit = compute_threshold(stranger_rate, len(references))
    distances = measure_distances(track_embeddings, references)
    decision.distance = compute_median_distance(distances, track_embeddings)
    used: list[tuple[FaceEmbedding, float]] = []
    other = min(DECISIONS.somebody_else_distance, limit + DECISIONS.contradicting_slack)
    others = [
        v.source_frame for v, d in zip(track_embeddings, distances, strict=True) if v.quality >= GOOD and d >= other
    ]
    good_count = sum(embedding.quality >= GOOD for embedding in track_embeddings)
    spans = track.list_spans()
    for run in _split_runs(track_embeddings, distances, other):
        if not _is_certain(run, limit, good_count, single):
            continue
        rivals = [
            p
            for p in blur
            if compute_median_distance(measure_distances(run.embeddings, p.references), run.embeddings)
            < compute_median_distance(run.distances, run.embeddings) + DECISIONS.rival_margin
        ]
        if rivals:
            decision.person = ""
            decision.why = f"looks like {person.name} and like {rivals[0].name}"
            decision.review_items += _make_items(
                track,
                run.embeddings[0].source_frame,
                run.embeddings[-1].source_frame + 1,
                ReviewReason.AMBIGUOUS_PERSON,
            )
            continue
        own = [
            v.source_frame
            for v, d in zip(run.embeddings, run.distances, strict=True)
            if d <= limit + DECISIONS.agreeing_slack
        ]
        decision.clear += _compute_clear(spans, own, others, rate)
        used += list(zip(run.embeddings, run.distances.tolist(), strict=True))
    if not decision.clear:
        return decision
    decision.clear.sort()
    decision.person = person.name
    decision.distance = compute_median_distance(np.array([d for _, d in used]), [v for v, _ in used])
    decision.agreeing = sum(d <= limit + DECISIONS.agreeing_slack for _, d in used)
    decision.rate = compute_false_accept_rate(decision.distance, len(references))
    decision.why = (
        f"{decision.agreeing} of {len(track_embeddings)} crops match, at a typical distance of "
        f"{decision.distance:.2f}; {describe_rate(decision.rate)} strangers is as similar"
    )
    decision.review_items += _list_covered(track, decision.clear, others)
    if decision.agreeing < DECISIONS.many_crops or decision.distance > limit - DECISIONS.weak_margin:
        start, stop = decision.clear[0][0], decision.clear[-1][1]
        decision.review_items += _make_items(track, start, stop, ReviewReason.WEAK_EVIDENCE)
    return decision


def _clear_stranger(
    track: Track,
    track_embeddings: list[FaceEmbedding],
    blur: list[Person],
    rate: float,
    single: bool,
    decided: Decision,
) -> Decision:
    """Whether, and where, a track certainly shows none of the people to be covered."""
    references = [vector for person in blur for vector in person.references]
    if not references:
        return decided
    distances = measure_distances(track_embeddings, references)
    good = [(v, d) for v, d in zip(track_embeddings, distances, strict=True) if v.quality >= GOOD]
    median = compute_median_distance(np.array([d for _, d in good]), [v for v, _ in good])
    decision = Decision(track.name, embedding_count=len(track_embeddings), distance=median)
    if median < DECISIONS.stranger_median_distance:
        decision.person = _get_nearest(track_embeddings, People(blur))
        decision.why = f"not certainly someone other than {decision.person or 'the people to be covered'}"
        if median > DECISIONS.recognised_distance:
            decision.review_items = _make_items(
                track, track.samples[0].source_frame, track.samples[-1].source_frame + 1, ReviewReason.AMBIGUOUS_PERSON
            )
        return decision
    sure = [v.source_frame for v, d in good if d >= DECISIONS.stranger_distance]
    near = [
        v.source_frame for v, d in zip(track_embeddings, distances, strict=True) if d < DECISIONS.recognised_distance
    ]
    if len(sure) < (1 if single else DECISIONS.least_crops):
        return decision
    decision.clear = _compute_clear(track.list_spans(), sure, near, rate)
    if decision.clear:
        decision.person, decision.is_stranger, decision.agreeing = NOBODY_OF, True, len(sure)
        decision.why = (
            f"{len(sure)} of {len(track_embeddings)} crops show someone else, at a typical distance of {median:.2f}"
        )
        decision.review_items = _list_covered(track, decision.clear, near)
        if len(sure) < DECISIONS.many_crops:
            decision.review_items += _make_items(
                track, decision.clear[0][0], decision.clear[-1][1], ReviewReason.WEAK_EVIDENCE
            )
    return decision


def _split_runs(track_embeddings: list[FaceEmbedding], distances: Array, other: float) -> list[_Run]:
    """Split the crops at those that certainly show a different person, which are left out."""
    runs: list[_Run] = []
    kept: list[int] = []
    for i in range(len(track_embeddings) + 1):
        if i < len(track_embeddings) and not (track_embeddings[i].quality >= GOOD and distances[i] >= other):
            kept.append(i)
        elif kept:
            runs.append(_Run([track_embeddings[k] for k in kept], distances[kept]))
            kept = []
    return runs


def _is_certain(run: _Run, limit: float, good_count: int, single: bool) -> bool:
    """Whether a run of crops certainly shows the person. None of its good crops is far from the references.

    `good_count` is the number of good crops in the whole track. A run with less than half of them must be longer: a
    short run can be near any person by chance.
    """
    good = sum(embedding.quality >= GOOD for embedding in run.embeddings)
    needed = 1 if single else DECISIONS.least_crops if good >= good_count / 2 else DECISIONS.many_crops
    return good >= needed and compute_median_distance(run.distances, run.embeddings) <= limit


def _compute_clear(
    spans: Sequence[tuple[int, int]], own: list[int], blocked: list[int], rate: float
) -> list[tuple[int, int]]:
    """Where a track with these spans stays visible: between crops of the person (frames `own`) that are close in time,
    and for a moment before the first and after the last of them.

    A range never crosses a gap of the track. Towards a crop of a different person (frames `blocked`) it ends shortly
    before the last crop of the person.
    """
    reach, end, fade = (round(seconds * rate) for seconds in (DECISIONS.reach_s, DECISIONS.end_s, DECISIONS.fade_s))
    clear: list[tuple[int, int]] = []
    for start, stop in spans:
        mine = [f for f in own if start <= f < stop]
        if not mine:
            continue
        # Crops of other people outside this span do not matter.
        not_mine = [f for f in blocked if start <= f < stop]
        runs = [[mine[0]]]
        for frame in mine[1:]:
            last = runs[-1][-1]
            if frame - last <= reach and bisect_right(not_mine, last) == bisect_left(not_mine, frame):
                runs[-1].append(frame)
            else:
                runs.append([frame])
        for number, run in enumerate(runs):
            before = [f for f in not_mine if f < run[0]]
            after = [f for f in not_mine if f > run[-1]]
            lowest = runs[number - 1][-1] + 1 if number else start
            highest = runs[number + 1][0] if number + 1 < len(runs) else stop
            low = run[0] + fade if before and max(before) >= lowest - 1 else max(lowest, run[0] - end)
            high = run[-1] + 1 - fade if after and min(after) <= highest else min(highest, run[-1] + 1 + end)
            if low >= high:
                continue
            if clear and clear[-1][1] >= low:
                clear[-1] = (clear[-1][0], high)
            else:
                clear.append((low, high))
    return clear


def _list_covered(track: Track, clear: list[tuple[int, int]], others: list[int]) -> list[ReviewItem]:
    """Review items for the frames in which an allowed track is covered. `others` are the frames that show a different
    person."""
    items = []
    for start, stop in track.list_spans():
        for low, high in _subtract((start, stop), clear):
            other = any(low <= frame < high for frame in others)
            items += _make_items(
                track, low, high, ReviewReason.DIFFERENT_PERSON if other else ReviewReason.NOT_RECOGNIZED
            )
    return items


def _subtract(span: tuple[int, int], ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    left = [span]
    for start, stop in ranges:
        left = _remove_range(left, start, stop)
    return left


def _remove_range(ranges: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """The ranges without the frames start..stop."""
    left = []
    for low, high in ranges:
        left += [(low, min(high, start)), (max(low, stop), high)] if start < high and stop > low else [(low, high)]
    return [(low, high) for low, high in left if low < high]


def _make_items(track: Track, start: int, stop: int, reason: ReviewReason) -> list[ReviewItem]:
    low, high = (bisect_left(track.samples, frame, key=lambda s: s.source_frame) for frame in (start, stop))
    samples = track.samples[low:high]
    return [make_review_item(track.name, samples, reason)] if samples else []


def _get_nearest(track_embeddings: list[FaceEmbedding], people: People) -> str:
    """The person whom a track resembles most, if not certainly enough to stay visible; empty for none."""
    near = [
        (compute_median_distance(measure_distances(track_embeddings, p.references), track_embeddings), p.name)
        for p in people.persons
        if p.references
    ]
    near = [pair for pair in near if pair[0] < DECISIONS.recognised_distance]
    return min(near)[1] if near else ""


def _resolve_doubles(decisions: dict[str, Decision], tracks: list[Track]) -> None:
    """Cover both of two tracks that show one person at two places at once, unless one of them is much more certain."""
    kept = [
        t
        for t in tracks
        if decisions[t.name].clear and not decisions[t.name].is_stranger and not decisions[t.name].by_editor
    ]
    clear = {t.name: decisions[t.name] for t in kept}
    for one, other in list_coexisting_pairs(kept):
        a, b = clear[one], clear[other]
        if a.person != b.person or not a.clear or not b.clear:
            continue
        for mine, their in ((a, b), (b, a)):
            if mine.distance > their.distance - 2 * DECISIONS.rival_margin:
                mine.review_items = _make_items(
                    next(t for t in kept if t.name == mine.track),
                    mine.clear[0][0],
                    mine.clear[-1][1],
                    ReviewReason.PERSON_ELSEWHERE,
                )
    for decision in clear.values():
        if any(item.reason is ReviewReason.PERSON_ELSEWHERE for item in decision.review_items):
            decision.clear, decision.why = [], f"{decision.person} is at two places at once"


def apply_decisions(document: TrackDocument, decisions: Sequence[Decision], people: People) -> None:
    """Stop covering the tracks that stay visible, split tracks that stay visible only in part, and add review items and
    notes.

    The changes of an earlier call must be undone first (`cover_everybody`).
    """
    for decision in decisions:
        track = next((t for t in document.tracks if t.name == decision.track), None)
        if track is None:
            continue
        document.review_items += decision.review_items
        kept = [s for s in track.samples if any(a <= s.source_frame < b for a, b in decision.clear)]
        if not kept:
            continue
        if len(kept) == len(track.samples):
            document.tracks.remove(track)
            track.status, track.allowed_person = TrackStatus.ALLOWED, decision.person
            document.uncovered.append(track)
            continue
        frames = {s.source_frame for s in kept}
        name = choose_free_name(document, TrackKind.FACE)
        document.uncovered.append(
            replace(track, name=name, samples=kept, status=TrackStatus.ALLOWED, allowed_person=decision.person, off=[])
        )
        track.samples = [s for s in track.samples if s.source_frame not in frames]
        document.review_items = [
            replace(d, track=name) if d.track == track.name and d.reason is ReviewReason.WEAK_EVIDENCE else d
            for d in document.review_items
        ]
    document.review_items.sort(key=lambda d: d.start)
    document.people_notes += describe_decisions(decisions, people)


def cover_everybody(document: TrackDocument) -> None:
    """Undo `apply_decisions`: cover all ALLOWED tracks again, and remove the review items and notes about people."""
    for name in [track.name for track in document.uncovered if track.status is TrackStatus.ALLOWED]:
        bring_back(document, name)
    document.tracks.sort(key=lambda t: t.samples[0].source_frame)
    document.review_items = [item for item in document.review_items if item.reason not in REASONS]
    document.people_notes = []


def get_kept_person(track: Track) -> str:
    """The person who stays visible in a track; empty where the track is covered, or uncovered for another reason."""
    return track.allowed_person if track.status is TrackStatus.ALLOWED else ""


def describe_decisions(decisions: Sequence[Decision], people: People) -> list[str]:
    """Notes for the report: who stays visible, in which track, and on what evidence."""
    names = (
        ", ".join(person.name for person in people.persons if (person.mode is Mode.BLUR) == people.others_clear)
        or "no person"
    )
    notes = [
        "People: "
        + (
            f"only {names}, and anyone who might be one of them, is covered."
            if people.others_clear
            else f"everyone is covered except {names}, where they are certainly recognised."
        )
    ]
    notes += [
        f"Kept visible: {decision.person} in {decision.track} ({decision.why})."
        for decision in decisions
        if decision.clear
    ]
    return notes
