# SPDX-License-Identifier: GPL-3.0-or-later
"""Link tracklets into tracks: join those of one face, suppress weak ones, fill gaps and smooth the motion."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..document.naming import name_track
from ..geometry import Array, compute_areas, compute_centre, compute_paired_common_areas, compute_size
from ..types import ReviewItem, ReviewReason, Sample, Suppression, SuppressionReason, Track, TrackKind, TrackStatus
from .appearance import is_similar_appearance
from .face_probability import FACE_PROBABILITY, compute_face_logit, is_denied, is_unlikely, lasts_unconfirmed
from .filling import FILLING, TrajectoryPart, fill_trajectories, split_at_gaps
from .observations import ObservationTable, Trajectory
from .review_items import find_review_items, make_review_item
from .shots import drop_rapid_cuts


@dataclass(frozen=True, slots=True)
class LinkingSettings:
    """Which tracklets show one face, and which are too weak, or too rarely detected, to be covered.

    A face's size is the side of the square with its box's area. Picture shares are of the picture's shorter side unless
    they say otherwise.
    """

    same_face_overlap_share: float = 0.4
    """Mean intersection over union (0..1) above which tracklets of neighbouring processes show one face, in the frames
    that both processed. Raising it splits faces at the borders between processes. Origin not recorded."""
    join_gap_s: float = 1.0
    """Longest gap, in seconds, that is interpolated, and across which two tracklets are joined by position and size
    alone. Raising it covers longer gaps, and joins different people more often. Origin not recorded."""
    join_sizes: float = 0.8
    """Greatest distance, in sizes of the face, between the ends of two tracklets that are joined across such a gap.
    Raising it joins faster faces, and different people more often. Origin not recorded."""
    join_size_ratio: float = 1.8
    """How many times larger or smaller the second tracklet may begin. Raising it joins across faster zooms, and
    different people more often. Origin not recorded."""
    hidden_s: float = 3.0
    """Seconds for which a face may be hidden and still come back as the same track, if its colours agree too (see
    `AppearanceSettings`). Raising it joins longer absences, and different people more often. Origin not recorded."""
    hidden_sizes: float = 0.6
    """Greatest distance, in sizes of the face, of a face that comes back from its last or its predicted position.
    Raising it joins more returns, including wrong ones. Origin not recorded."""
    hidden_size_ratio: float = 1.4
    """How many times larger or smaller it may come back. Raising it joins more returns, including wrong ones. Origin
    not recorded."""
    speed_s: float = 0.5
    """Seconds at a tracklet's end over which its speed is measured to predict where a hidden face comes back. Raising
    it averages over more motion and reacts less to the latest. Origin not recorded."""
    sure_confidence: float = 0.72
    """Confidence (0..1) from which a single detection makes a track that is covered. Raising it leaves more single
    detections uncovered. Origin not recorded."""
    sure_detections: int = 2
    """High-confidence detections that make a track that is covered. Raising it leaves more brief faces uncovered.
    Origin not recorded."""
    sustained_detections: int = 6
    """Low-confidence detections that together make a track that is covered, if the detectors ran on every frame.
    Raising it leaves more faint faces uncovered. Origin: lowered from 8 together with the brightening of dark
    pictures."""
    sustained_least_detections: int = 3
    """The fewest such detections, however few frames the detectors ran on. Raising it leaves brief faint faces
    uncovered. Origin: introduced with detection in every third frame; how it was chosen is not recorded."""
    sustained_share: float = 0.5
    """Share (0..1) of the frames in which every detector ran that must have such a detection. Raising it leaves faint
    faces uncovered that are missed now and then. Origin: raised from 0.4 when only frames in which every detector ran
    began to count."""
    sustained_confidence: float = 0.24
    """Mean confidence (0..1) that such detections need for a tiny face. Raising it leaves more faint faces uncovered.
    Origin not recorded."""
    sustained_confidence_per_size: float = 0.2
    """Added to `sustained_confidence` for a face as large as the picture's shorter side, and proportionally less for
    smaller ones: small faces often get low confidence, but a large face with low confidence is mostly foliage or cloth.
    Raising it leaves more large faint faces uncovered. Origin not recorded."""
    single_detector_share: float = 0.06
    """Size from which several detectors should see a face, as a share of the picture's shorter side. Raising it covers
    more of what only one detector sees. Origin: chosen on 238 tracks in 57 films (docs/measuring.md)."""
    rarely_detected_least_frames: int = 8
    """Frames in which every detector must have run before a track can be called rarely detected. Raising it covers more
    brief tracks of one detector. Origin: chosen on 238 tracks in 57 films (docs/measuring.md)."""
    rarely_detected_share: float = 0.4
    """A large track that only one detector sees, in a smaller share (0..1) of those frames than this, is not covered.
    Raising it leaves more uncovered. Origin: chosen on 238 tracks in 57 films; 11 were detected so rarely (hands, a
    kettle, drums, a jacket), and none was a face (docs/measuring.md)."""
    rarely_detected_most_confidence: float = 0.85
    """Confidence (0..1) from which a track is covered however rarely it is detected. Raising it leaves more uncovered.
    Origin: chosen on 238 tracks in 57 films (docs/measuring.md)."""
    single_detector_carry_s: float = 0.4
    """Seconds for which a large track of only one detector is carried before its first and after its last detection.
    Raising it covers more that is not a face. Origin: in 34 clips that nothing was tuned on, 0.4 s instead of 1.25 s
    avoided a ninth of the needless cover and lost no face; nor did it lose one in any version of the annotated
    clips."""
    doubtful_beyond_share: float = 0.25
    """For how long a covered track that the second opinion doubts is carried beyond its first and its last detection,
    and extrapolated from there, as a share of the time between them. Raising it covers more that is not a face. Origin:
    a hand that looks like a face for 0.4 s was covered for 1 s; it loses no clear face in any version of the annotated
    clips (docs/measuring.md)."""
    single_picture_confidence: float = 0.35
    """Confidence (0..1) from which a face in a single picture is covered, since no other frame can confirm it. Raising
    it leaves more faces uncovered. Origin not recorded."""
    likely_share: float = 0.12
    """Size, as a share of the picture's shorter side, below which presets that cover uncertain faces cover a
    low-confidence track. Raising it covers more large things that are not faces. Origin not recorded."""
    contained_share: float = 0.85
    """Share (0..1) of a track's box inside a larger covered one, in every frame, from which the track is dropped as
    part of it. Raising it keeps more duplicates. Origin not recorded."""
    alone_s: float = 1.0
    """Seconds between the first and the last detection of a large track that is too weak or too unlikely to be covered,
    from which it is covered all the same, until somebody judges it, if no other face is covered meanwhile: it may be
    the face that the shot is about, half hidden. Raising it leaves more half-hidden faces uncovered. Origin: with the
    next three, chosen on three films with something held before a face; they last for 2.0 s and more
    (docs/measuring.md)."""
    alone_size_share: float = 0.35
    """Size of such a track. Raising it leaves more half-hidden faces uncovered, and fewer hands and things that fill
    the picture covered. Origin: see `alone_s`; the three have 0.42 and more."""
    alone_detected_share: float = 0.5
    """Share (0..1) of the frames in which every detector ran that must find such a track. Raising it leaves more
    half-hidden faces uncovered. Origin: that of `sustained_share`; the three are found in nearly all of them."""
    alone_share: float = 0.5
    """Share (0..1) of its time in which no other track may be covered. Raising it leaves more half-hidden faces
    uncovered beside something else that is covered briefly. Origin: see `alone_s`; in labelled clips it is almost
    always 0 or 1."""
    uncertain_margin_share: float = 1 / 960
    """Margin on each side of a face, as a share of the picture's longer side, in presets that cover uncertain faces:
    the position of a face of a few pixels is that uncertain. Raising it covers more around small faces. Origin: added
    for faces of a few pixels; how it was chosen is not recorded."""
    uncertain_least_margin_px: float = 1.0
    """The least such margin, in pixels of the source. Raising it covers more around small faces. Origin: added for
    faces of a few pixels; how it was chosen is not recorded."""


LINKING = LinkingSettings()


@dataclass(slots=True)
class LinkedTracks:
    tracks: list[Track] = field(default_factory=list)
    review_items: list[ReviewItem] = field(default_factory=list)
    uncovered: list[Track] = field(default_factory=list)


def link_tracks(
    table: ObservationTable,
    frame_count: int,
    frame_size: tuple[int, int],
    frame_rate: float,
    strong_confidence: float,
    cover_uncertain: bool,
    has_several_detectors: bool,
    shows_faces: bool = True,
) -> LinkedTracks:
    """Link all observations into tracks over frames 0..frame_count, with their review items.

    `strong_confidence`: see `settings.Preset`. `shows_faces`: whether the boxes are those of faces.
    """
    cuts = drop_rapid_cuts(table.cuts, frame_rate)
    trajectories = join_tracklets(table, frame_size, frame_rate, has_several_detectors)
    detected_frames = table.list_detected_frames()
    margin = 0.0
    if cover_uncertain:
        margin = max(LINKING.uncertain_least_margin_px, LINKING.uncertain_margin_share * max(frame_size))
    covered: list[tuple[Track, Trajectory, Suppression | None]] = []
    aside: list[tuple[Track, Trajectory, Suppression | None]] = []
    reasons = [
        explain_weakness(
            trajectory,
            strong_confidence,
            frame_size,
            detected_frames,
            has_several_detectors=has_several_detectors,
            single=frame_count == 1,
        )
        for trajectory in trajectories
    ]
    logits = [
        compute_face_logit(trajectory, frame_size, detected_frames) if has_several_detectors else None
        for trajectory in trajectories
    ]
    reasons = [
        Suppression(SuppressionReason.UNLIKELY_FACE)
        if reason is None
        and logit is not None
        and is_unlikely(trajectory, logit, frame_size, frame_rate, detected_frames)
        else reason
        for trajectory, reason, logit in zip(trajectories, reasons, logits, strict=True)
    ]
    doubtful = {
        id(trajectory)
        for trajectory, logit in zip(trajectories, logits, strict=True)
        if logit is not None
        and (logit < FACE_PROBABILITY.certain_logit or lasts_unconfirmed(trajectory, frame_rate, detected_frames))
    }
    alone: set[int] = set()
    if has_several_detectors and shows_faces:
        alone = _find_alone(trajectories, reasons, frame_size, frame_rate, detected_frames)
        doubtful |= alone
        reasons = [
            None if id(trajectory) in alone else reason
            for trajectory, reason in zip(trajectories, reasons, strict=True)
        ]
    suppressed = [
        bool(reason) and not (cover_uncertain and _is_likely(trajectory, strong_confidence, frame_size))
        for trajectory, reason in zip(trajectories, reasons, strict=True)
    ]
    kept = _drop_contained(list(zip(trajectories, reasons, suppressed, strict=True)), alone)
    parts = [
        _list_parts(trajectory, cuts, frame_rate, bool(reason), id(trajectory) in doubtful and not is_suppressed)
        for trajectory, reason, is_suppressed in kept
    ]
    together = list(itertools.chain.from_iterable(parts))
    filled = iter(fill_trajectories(together, cuts, frame_count, frame_size, frame_rate, margin, shows_faces))
    for (trajectory, reason, is_suppressed), own in zip(kept, parts, strict=True):
        samples: list[Sample] = []
        for part in itertools.islice(filled, len(own)):
            samples += [s for s in part if not samples or s.source_frame > samples[-1].source_frame]
        if samples:
            track = Track("", samples, sharpness=trajectory.compute_sharpness())
            if is_suppressed:
                track.status, track.suppression = TrackStatus.SUPPRESSED, reason
            (aside if is_suppressed else covered).append((track, trajectory, reason))
    linked = LinkedTracks()
    for tracks, status in ((covered, TrackStatus.COVERED), (aside, TrackStatus.SUPPRESSED)):
        tracks.sort(key=lambda t: (t[0].samples[0].source_frame, t[0].samples[0].ellipse.cx))
        for number, (track, trajectory, reason) in enumerate(tracks, 1):
            track.name = name_track(TrackKind.FACE, status, number, len(tracks))
            if reason:
                linked.review_items.append(_to_review_item(track.name, trajectory, reason, frame_count))
            else:
                several = detected_frames if has_several_detectors else detected_frames[:0]
                items = find_review_items(track, trajectory, cuts, frame_count, frame_size, frame_rate, several)
                if id(trajectory) in doubtful or (has_several_detectors and is_denied(trajectory)):
                    items = [item for item in items if item.reason is not ReviewReason.SINGLE_DETECTOR]
                    items.append(make_review_item(track.name, track.samples, ReviewReason.UNLIKELY_FACE))
                linked.review_items += items
    linked.tracks, linked.uncovered = [track for track, *_ in covered], [track for track, *_ in aside]
    linked.review_items.sort(key=lambda d: d.start)
    return linked


def _find_alone(
    trajectories: Sequence[Trajectory],
    reasons: Sequence[Suppression | None],
    frame_size: tuple[int, int],
    frame_rate: float,
    detected_frames: NDArray[np.int_],
) -> set[int]:
    """The identities (`id`) of those trajectories that have a reason to be suppressed, but are large, are found
    steadily and for long, and are shown while no other face is: what may be a half-hidden face, to be covered until
    somebody judges it."""
    # As Python's sets of frames these would take 100 bytes a frame.
    taken = [t.frames for t, reason in zip(trajectories, reasons, strict=True) if reason is None]
    taken_frames = np.unique(np.concatenate(taken)) if taken else np.zeros(0, int)
    alone = set()
    for trajectory, reason in zip(trajectories, reasons, strict=True):
        if reason is None or trajectory.compute_size() < LINKING.alone_size_share * min(frame_size):
            continue
        seen = trajectory.frames[trajectory.is_detected()]
        first, last = int(seen[0]), int(seen[-1])
        start, stop = np.searchsorted(taken_frames, (first, last + 1))
        if (
            last - first >= LINKING.alone_s * frame_rate
            and 1 - int(stop - start) / (last - first + 1) >= LINKING.alone_share
            and _compute_detection_share(trajectory, detected_frames)[1] >= LINKING.alone_detected_share
        ):
            alone.add(id(trajectory))
    return alone


def _list_parts(
    trajectory: Trajectory, cuts: list[int], frame_rate: float, is_weak: bool, is_doubtful: bool
) -> list[TrajectoryPart]:
    """The parts of a trajectory between cuts and long gaps."""
    # What may not be a face is not extrapolated out of the picture: its motion is as unreliable as its size.
    extrapolate_s, leaving_s = FILLING.extrapolate_s, FILLING.extrapolate_s if is_weak else FILLING.leaving_s
    if is_doubtful:
        found = trajectory.frames[trajectory.is_detected()]
        beyond = LINKING.doubtful_beyond_share * int(found[-1] - found[0])
        trajectory = _trim_ends(trajectory, round(beyond))
        extrapolate_s, leaving_s = (min(seconds, beyond / frame_rate) for seconds in (extrapolate_s, leaving_s))
    return [
        TrajectoryPart(part, extrapolate_s, leaving_s, is_doubtful)
        for part in split_at_gaps(trajectory, cuts, round(LINKING.join_gap_s * frame_rate))
    ]


def join_tracklets(
    table: ObservationTable, frame_size: tuple[int, int], frame_rate: float, has_several_detectors: bool
) -> list[Trajectory]:
    """The trajectories of all faces, whether they are covered or not: tracklets that show one face are joined."""
    trajectories = _join_segments(table.build_trajectories())
    trajectories = _join_met(trajectories, table.joins)
    trajectories = _join_fragments(trajectories, drop_rapid_cuts(table.cuts, frame_rate), frame_rate)
    if not has_several_detectors:
        return trajectories
    carried = round(LINKING.single_detector_carry_s * frame_rate)
    return [
        _trim_ends(trajectory, carried) if _is_single_detector(trajectory, frame_size) else trajectory
        for trajectory in trajectories
    ]


def _join_segments(trajectories: list[Trajectory]) -> list[Trajectory]:
    """Join trajectories of neighbouring processes that overlap in the frames which both processed."""
    inner = [p for p in trajectories if p.owned.all()]
    edge = [p for p in trajectories if not p.owned.all()]
    pairs = []
    extents = _Extents(edge)
    near = [(i, j) for i, one in enumerate(edge) for j in extents.list_meeting(one).tolist() if j > i]
    for i, j in near:
        common, one, two = np.intersect1d(edge[i].frames, edge[j].frames, assume_unique=True, return_indices=True)
        if not len(common) or not (edge[i].owned[one] ^ edge[j].owned[two]).any():
            continue
        both = compute_paired_common_areas(edge[i].boxes[one], edge[j].boxes[two])
        areas = compute_areas(edge[i].boxes[one]) + compute_areas(edge[j].boxes[two])
        overlap = (both / (areas - both)).mean()
        if overlap > LINKING.same_face_overlap_share:
            pairs.append((len(common) * float(overlap), i, j))
    # A trajectory between two others may be joined on both sides, but only once on each.
    used: set[tuple[int, int]] = set()
    home = list(range(len(edge)))
    merged: dict[int, Trajectory] = dict(enumerate(edge))
    for _, i, j in sorted(pairs, reverse=True):
        side = int(edge[i].frames[0] < edge[j].frames[0])
        if (i, side) in used or (j, 1 - side) in used:
            continue
        used |= {(i, side), (j, 1 - side)}
        a, b = home[i], home[j]
        if a != b:
            merged[a] = merged[a].join(merged.pop(b))
            home = [a if h == b else h for h in home]
    # A face that a process saw only outside its own frames is reported by the neighbouring process.
    outer = [p for p in merged.values() if p.owned.any()]
    return sorted(inner + outer, key=lambda p: (p.frames[0], p.boxes[0, 0]))


def _join_met(trajectories: list[Trajectory], joins: list[tuple[int, int]]) -> list[Trajectory]:
    """Join trajectories that met while one was carried back, unless both were detected in several common frames."""
    place = {number: trajectory for trajectory in trajectories for number in trajectory.numbers}
    for first, second in joins:
        one, two = place.get(first), place.get(second)
        if one is None or two is None or one is two:
            continue
        both = np.intersect1d(one.frames[one.is_detected()], two.frames[two.is_detected()])
        if len(both) > 1:
            continue
        whole = one.join(two)
        for number in whole.numbers:
            place[number] = whole
    unique = {id(p): p for p in place.values()}
    return sorted(unique.values(), key=lambda p: (p.frames[0], p.boxes[0, 0]))


def _join_fragments(trajectories: list[Trajectory], cuts: list[int], frame_rate: float) -> list[Trajectory]:
    """Join a trajectory that ends with one that begins soon after, nearby, of similar size, and in the same shot.

    After more than a second, the new one must begin closer to the last or the predicted position, be closer in size,
    and have similar colours.
    """
    soon, latest = (max(2, round(seconds * frame_rate)) for seconds in (LINKING.join_gap_s, LINKING.hidden_s))
    slots: list[Trajectory] = []
    ends = _Ends(len(trajectories), frame_rate)
    for trajectory in trajectories:
        start = int(trajectory.frames[0])
        best: tuple[bool, float, int] | None = None
        for i, long, distance in ends.list_near(trajectory, soon, latest):
            earlier = slots[i]
            if bisect_right(cuts, int(earlier.frames[-1])) != bisect_right(cuts, start):
                continue
            if (
                long
                and earlier.appearances
                and trajectory.appearances
                and not is_similar_appearance(earlier.appearances[-1][1], trajectory.appearances[0][1])
            ):
                continue
            best = min(best or (long, distance, i), (long, distance, i))
        if best is None:
            slots.append(trajectory)
            ends.put(len(slots) - 1, trajectory)
        else:
            slots[best[2]] = slots[best[2]].join(trajectory)
            ends.put(best[2], slots[best[2]])
    return sorted(slots, key=lambda p: (p.frames[0], p.boxes[0, 0]))


class _Ends:
    """The ends of up to `count` trajectories, to find those that a new one may continue."""

    def __init__(self, count: int, frame_rate: float) -> None:
        self._frame_rate, self._count = frame_rate, 0
        self._last = np.zeros(count, np.int64)
        self._centres, self._speeds, self._sizes = np.zeros((count, 2)), np.zeros((count, 2)), np.zeros(count)

    def put(self, slot: int, trajectory: Trajectory) -> None:
        """Keep the end of a trajectory in a slot; slots are filled in order."""
        self._count = max(self._count, slot + 1)
        self._last[slot] = trajectory.frames[-1]
        self._centres[slot] = compute_centre(trajectory.boxes[-1])
        self._sizes[slot] = compute_size(trajectory.boxes[-1])
        self._speeds[slot] = _compute_speed(trajectory, self._frame_rate)

    def list_near(self, trajectory: Trajectory, soon: int, latest: int) -> list[tuple[int, bool, float]]:
        """Slot, whether the gap is longer than `soon`, and distance in sizes, of each end at most `latest` frames
        before the beginning of a trajectory that it may continue by position and size."""
        start, size = int(trajectory.frames[0]), compute_size(trajectory.boxes[0])
        gaps = start - self._last[: self._count]
        slots = np.flatnonzero((gaps > 0) & (gaps <= latest))
        gaps, sizes = gaps[slots], self._sizes[slots]
        away = compute_centre(trajectory.boxes[0]) - self._centres[slots]
        long = gaps > soon
        distances = np.hypot(*away.T) / sizes
        predicted = np.hypot(*(away - self._speeds[slots] * gaps[:, None]).T) / sizes
        distances = np.where(long, np.minimum(distances, predicted), distances)
        near = distances <= np.where(long, LINKING.hidden_sizes, LINKING.join_sizes)
        near &= np.maximum(size / sizes, sizes / size) <= np.where(
            long, LINKING.hidden_size_ratio, LINKING.join_size_ratio
        )
        return list(zip(slots[near].tolist(), long[near].tolist(), distances[near].tolist(), strict=True))


def _compute_speed(trajectory: Trajectory, frame_rate: float) -> Array:
    """Speed at a trajectory's end (2,), in pixels per frame."""
    tail = trajectory.frames > trajectory.frames[-1] - max(2, round(LINKING.speed_s * frame_rate))
    if tail.sum() < 2:
        return np.zeros(2)
    centres = (trajectory.boxes[tail, :2] + trajectory.boxes[tail, 2:]) / 2
    frames = trajectory.frames[tail]
    return np.asarray((centres[-1] - centres[0]) / (frames[-1] - frames[0]))


def _is_single_detector(trajectory: Trajectory, frame_size: tuple[int, int]) -> bool:
    """Whether only one detector ever found a trajectory that is large enough for others to find it too."""
    least = LINKING.single_detector_share * min(frame_size)
    return bool(trajectory.votes.max() <= 1 and trajectory.compute_size() >= least)


def _trim_ends(trajectory: Trajectory, frames: int) -> Trajectory:
    """Cut a trajectory that many frames before its first and after its last detection."""
    seen = trajectory.frames[trajectory.is_detected()]
    return trajectory.select((trajectory.frames >= seen[0] - frames) & (trajectory.frames <= seen[-1] + frames))


def explain_weakness(
    trajectory: Trajectory,
    strong_confidence: float,
    frame_size: tuple[int, int],
    detected_frames: NDArray[np.int_],
    *,
    has_several_detectors: bool,
    single: bool,
) -> Suppression | None:
    """Why a trajectory is suppressed before anybody gives a second opinion on it; None if it is not.

    `detected_frames`: the frames in which all detectors ran, sorted. `single`: whether the film is a single picture.
    """
    rarely = _explain_rarely_detected(trajectory, frame_size, detected_frames) if has_several_detectors else None
    return rarely or _explain_low_confidence(trajectory, strong_confidence, frame_size, detected_frames, single=single)


def _explain_rarely_detected(
    trajectory: Trajectory, frame_size: tuple[int, int], detected_frames: NDArray[np.int_]
) -> Suppression | None:
    """Why a large trajectory that only one of several detectors finds is suppressed; None if it is not."""
    searched, share = _compute_detection_share(trajectory, detected_frames)
    if (
        not _is_single_detector(trajectory, frame_size)
        or trajectory.confidence[trajectory.is_detected()].max() >= LINKING.rarely_detected_most_confidence
        or searched < LINKING.rarely_detected_least_frames
        or share >= LINKING.rarely_detected_share
    ):
        return None
    return Suppression(SuppressionReason.RARELY_DETECTED, round(share * searched), searched)


def _compute_detection_share(trajectory: Trajectory, detected_frames: NDArray[np.int_]) -> tuple[int, float]:
    """The number of frames within a trajectory in which all detectors ran, and the share with a detection."""
    seen = trajectory.frames[trajectory.is_detected()]
    searched = detected_frames[
        np.searchsorted(detected_frames, seen[0]) : np.searchsorted(detected_frames, seen[-1], "right")
    ]
    return len(searched), float(np.isin(searched, seen).mean()) if len(searched) else 1.0


def _explain_low_confidence(
    trajectory: Trajectory,
    strong_confidence: float,
    frame_size: tuple[int, int],
    detected_frames: NDArray[np.int_],
    single: bool,
) -> Suppression | None:
    """Why a trajectory is too weak to be covered; None if it is not.

    `detected_frames`: the frames in which all detectors ran, sorted.
    """
    found = trajectory.is_detected()
    confidence = trajectory.confidence[found]
    strong_count = int(((confidence >= strong_confidence) | (trajectory.votes[found] > 1)).sum())
    if single and confidence.max() >= LINKING.single_picture_confidence:
        return None
    if strong_count >= LINKING.sure_detections or confidence.max() >= LINKING.sure_confidence:
        return None
    seen = trajectory.frames[found]
    # Small faces often get low confidence; a large one that never gets more is mostly foliage or cloth.
    size = trajectory.compute_size() / min(frame_size)
    enough = LINKING.sustained_confidence + LINKING.sustained_confidence_per_size * size
    searched, share = _compute_detection_share(trajectory, detected_frames)
    span = int(seen[-1] - seen[0]) + 1
    # If the detectors ran on only some frames, fewer detections stand for the same duration.
    if (
        len(seen) >= max(LINKING.sustained_least_detections, math.ceil(LINKING.sustained_detections * searched / span))
        and share >= LINKING.sustained_share
        and float(confidence.mean()) >= enough
    ):
        return None
    return Suppression(SuppressionReason.LOW_CONFIDENCE, len(confidence))


def _is_likely(trajectory: Trajectory, strong_confidence: float, frame_size: tuple[int, int]) -> bool:
    """Whether presets that cover uncertain faces cover a weak trajectory.

    A large one needs a strong detection or two detectors that agree: small faces often get low confidence, but so do
    cloth and foliage that look like large faces.
    """
    return bool(
        trajectory.compute_size() < LINKING.likely_share * min(frame_size)
        or trajectory.votes.max() > 1
        or trajectory.confidence[trajectory.is_detected()].max() >= strong_confidence
    )


def _to_review_item(name: str, trajectory: Trajectory, reason: Suppression, frame_count: int) -> ReviewItem:
    low, high = trajectory.boxes[:, :2].min(axis=0), trajectory.boxes[:, 2:].max(axis=0)
    return ReviewItem(
        max(0, int(trajectory.frames[0])),
        min(frame_count, int(trajectory.frames[-1]) + 1),
        (*low.tolist(), *high.tolist()),
        float(trajectory.confidence[trajectory.is_detected()].max()),
        ReviewReason(reason.reason),
        name,
        reason.detected_frames,
        reason.searched_frames,
    )


def _drop_contained(
    trajectories: list[tuple[Trajectory, Suppression | None, bool]], alone: set[int]
) -> list[tuple[Trajectory, Suppression | None, bool]]:
    """Drop trajectories that lie within a covered one in all of their frames; the bools mark suppressed ones.

    What is covered only because it is alone (`alone`: identities) takes no covered one with it, which would show as
    soon as somebody uncovers the larger one.
    """
    ordered = sorted(trajectories, key=lambda p: (p[2], -len(p[0].frames)))
    extents = _Extents([trajectory for trajectory, *_ in ordered])
    kept = np.zeros(len(ordered), np.bool_)
    for number, (trajectory, _, is_suppressed) in enumerate(ordered):
        kept[number] = not any(
            kept[other]
            and not ordered[other][2]
            and (is_suppressed or id(ordered[other][0]) not in alone)
            and _is_contained(trajectory, ordered[other][0])
            for other in extents.list_meeting(trajectory)
            if other < number
        )
    return [one for one, keep in zip(ordered, kept.tolist(), strict=True) if keep]


def _is_contained(trajectory: Trajectory, other: Trajectory) -> bool:
    """Whether a trajectory lies within another one, which is not smaller, in all of its frames."""
    if trajectory.frames[0] < other.frames[0] or trajectory.frames[-1] > other.frames[-1]:
        return False
    at = np.minimum(np.searchsorted(other.frames, trajectory.frames), len(other.frames) - 1)
    if (other.frames[at] != trajectory.frames).any():
        return False
    areas, other_areas = compute_areas(trajectory.boxes), compute_areas(other.boxes[at])
    share = compute_paired_common_areas(trajectory.boxes, other.boxes[at]) / np.minimum(areas, other_areas)
    return bool((share >= LINKING.contained_share).all() and (areas <= other_areas).all())


class _Extents:
    """Where and when trajectories are: whole boxes and frame ranges, to leave out pairs that are far apart."""

    def __init__(self, trajectories: list[Trajectory]) -> None:
        self._first = np.array([t.frames[0] for t in trajectories])
        self._last = np.array([t.frames[-1] for t in trajectories])
        self._low = np.array([t.boxes[:, :2].min(axis=0) for t in trajectories]).reshape(-1, 2)
        self._high = np.array([t.boxes[:, 2:].max(axis=0) for t in trajectories]).reshape(-1, 2)

    def list_meeting(self, trajectory: Trajectory) -> NDArray[np.intp]:
        """The indices, ascending, of trajectories that this one may overlap in a common frame; its own included."""
        low, high = trajectory.boxes[:, :2].min(axis=0), trajectory.boxes[:, 2:].max(axis=0)
        return np.flatnonzero(
            (self._first <= trajectory.frames[-1])
            & (self._last >= trajectory.frames[0])
            & (self._low < high).all(axis=1)
            & (self._high > low).all(axis=1)
        )
