# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the places of covered tracks that an editor should review."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import compute_areas
from ..types import Evidence, ReviewItem, ReviewReason, Sample, Track
from .observations import Trajectory


@dataclass(frozen=True, slots=True)
class ReviewRuleSettings:
    """Which places of a covered track an editor should review."""

    undetected_s: float = 0.7
    """Seconds without a detection from which a stretch of a track is listed. Raising it lists fewer. Origin not
    recorded."""
    edge_semi_axes: float = 0.25
    """Distance from the picture's edge, in semi-axes of the face, within which a track may begin or end without being
    listed. Raising it lists fewer. Origin not recorded."""
    end_frames: int = 5
    """Frames at a track's beginning or end of which one must be that close to the edge. Raising it lists fewer. Origin
    not recorded."""
    large_share: float = 0.2
    """Size, as a share of the picture's shorter side, above which a track that only one detector sees is listed.
    Raising it lists fewer. Origin not recorded."""
    fast_sizes: float = 0.25
    """Motion from frame to frame, in the face's smaller diameter, above which a face counts as fast. Raising it lists
    fewer. Origin not recorded."""
    fast_s: float = 0.12
    """Seconds for which a face must be fast to be listed. Raising it lists fewer. Origin not recorded."""
    several_detectors_share: float = 0.5
    """Share (0..1) of its frames in which several detectors must find a track before a stretch with only one is listed.
    Raising it lists fewer. Origin: with the next two, lists 1 place in the 204 s of clips that accuracy is measured
    with."""
    single_detector_s: float = 0.45
    """Shortest such stretch, in seconds. Raising it lists fewer. Origin: see `several_detectors_share`."""
    single_detector_frames: int = 3
    """Frames with a detection that it must have. Raising it lists fewer. Origin: see `several_detectors_share`."""
    jump_sizes: float = 0.35
    """Distance of a box from the midpoint between its neighbours, in sizes of the face, above which it is listed as a
    jump. Raising it lists fewer. Origin: with `jump_size_ratio`, lists 4 places in the 204 s of clips that accuracy is
    measured with."""
    jump_size_ratio: float = 1.42
    """How many times larger or smaller than its neighbours a box may be without being listed. Raising it lists fewer.
    Origin: see `jump_sizes`."""
    same_jump_s: float = 0.5
    """Jumps less than this many seconds apart are one place. Raising it lists fewer. Origin not recorded."""


REVIEW_RULES = ReviewRuleSettings()


def find_review_items(
    track: Track,
    trajectory: Trajectory,
    cuts: list[int],
    frame_count: int,
    frame_size: tuple[int, int],
    frame_rate: float,
    detected_frames: NDArray[np.int_],
) -> list[ReviewItem]:
    """The review items of a covered track that was made of `trajectory`.

    `cuts`: first frames of shots, sorted. `detected_frames`: the frames in which several detectors ran, sorted; empty
    if there was only one detector.
    """

    def make_item(samples: list[Sample], reason: ReviewReason) -> ReviewItem:
        return make_review_item(track.name, samples, reason)

    items = []
    for undetected, run in itertools.groupby(
        track.samples, key=lambda s: s.evidence in (Evidence.FLOW, Evidence.INTERPOLATED)
    ):
        stretch = list(run)
        if undetected and len(stretch) >= REVIEW_RULES.undetected_s * frame_rate:
            items.append(make_item(stretch, ReviewReason.FLOW_ONLY))
    edges, near = {0, frame_count, *cuts}, REVIEW_RULES.end_frames
    for start, stop in track.list_spans():
        own = [s for s in track.samples if start <= s.source_frame < stop]
        for reason, outermost, frame in (
            (ReviewReason.BEGINS, own[:near], start),
            (ReviewReason.ENDS, own[-near:], stop),
        ):
            if frame not in edges and not _lies_at_edge(outermost, frame_size):
                items.append(make_item(outermost, reason))
    if (
        len(detected_frames)
        and trajectory.votes.max() == 1
        and trajectory.compute_size() > REVIEW_RULES.large_share * min(frame_size)
    ):
        items.append(make_item(track.samples, ReviewReason.SINGLE_DETECTOR))
    least = max(3, REVIEW_RULES.fast_s * frame_rate)
    fast_runs = [run for run in _find_fast(track.samples, cuts) if len(run) >= least]
    items += [make_item(run, ReviewReason.FAST_MOTION) for run in fast_runs]
    fast = {sample.source_frame for run in fast_runs for sample in run}
    jumps = [
        (first - 1, last + 2, ReviewReason.JUMP)
        for first, last in _find_jumps(trajectory, cuts, REVIEW_RULES.same_jump_s * frame_rate)
        if first not in fast
    ]
    single_detector = [
        (first, last + 1, ReviewReason.DETECTORS_DISAGREE)
        for first, last in _find_single_detector(
            trajectory, detected_frames, REVIEW_RULES.single_detector_s * frame_rate
        )
    ]
    for start, stop, reason in jumps + single_detector:
        own = [s for s in track.samples if start <= s.source_frame < stop]
        if own:
            items.append(make_item(own, reason))
    return items


def make_review_item(track: str, samples: list[Sample], reason: ReviewReason) -> ReviewItem:
    """A review item for these samples of a track, with a box around all of them."""
    ellipses = [s.ellipse for s in samples]
    return ReviewItem(
        samples[0].source_frame,
        samples[-1].source_frame + 1,
        (
            min(e.cx - e.rx for e in ellipses),
            min(e.cy - e.ry for e in ellipses),
            max(e.cx + e.rx for e in ellipses),
            max(e.cy + e.ry for e in ellipses),
        ),
        min(s.confidence for s in samples),
        reason,
        track,
    )


def _lies_at_edge(samples: Iterable[Sample], frame_size: tuple[int, int]) -> bool:
    """Whether a face touches the picture's edge, or nearly does, in one of the samples."""
    (width, height), near = frame_size, REVIEW_RULES.edge_semi_axes
    return any(
        e.cx - e.rx < near * e.rx
        or e.cx + e.rx > width - near * e.rx
        or e.cy - e.ry < near * e.ry
        or e.cy + e.ry > height - near * e.ry
        for e in (s.ellipse for s in samples)
    )


def _find_fast(samples: list[Sample], cuts: list[int]) -> list[list[Sample]]:
    """Runs of samples, within shots, in which the face moves fast."""
    runs: list[list[Sample]] = []
    last: Sample | None = None
    for one, other in itertools.pairwise(samples):
        step = np.hypot(other.ellipse.cx - one.ellipse.cx, other.ellipse.cy - one.ellipse.cy)
        joined = other.source_frame == one.source_frame + 1 and bisect_right(cuts, one.source_frame) == bisect_right(
            cuts, other.source_frame
        )
        if joined and step > REVIEW_RULES.fast_sizes * 2 * min(other.ellipse.rx, other.ellipse.ry):
            if runs and last is one:
                runs[-1].append(other)
            else:
                runs.append([one, other])
            last = other
    return runs


def _find_jumps(trajectory: Trajectory, cuts: list[int], apart: float) -> list[tuple[int, int]]:
    """First and last frame of each moment in which the face lies elsewhere than just before and after, within a shot.

    A jump less than `apart` frames after another belongs to it.
    """
    frames, middles = trajectory.frames, (trajectory.boxes[:, :2] + trajectory.boxes[:, 2:]) / 2
    sizes = np.sqrt(compute_areas(trajectory.boxes))
    shots = np.searchsorted(cuts, frames, "right")
    joined = (frames[2:] == frames[:-2] + 2) & (shots[2:] == shots[:-2])
    away = np.hypot(*(middles[1:-1] - (middles[:-2] + middles[2:]) / 2).T) / sizes[1:-1]
    ratio = np.abs(np.log(sizes[1:-1] / np.sqrt(sizes[:-2] * sizes[2:])))
    jumps: list[tuple[int, int]] = []
    elsewhere = (away > REVIEW_RULES.jump_sizes) | (ratio > np.log(REVIEW_RULES.jump_size_ratio))
    for frame in frames[1:-1][joined & elsewhere].tolist():
        if jumps and frame - jumps[-1][1] < apart:
            jumps[-1] = jumps[-1][0], frame
        else:
            jumps.append((frame, frame))
    return jumps


def _find_single_detector(
    trajectory: Trajectory, detected_frames: NDArray[np.int_], least: float
) -> list[tuple[int, int]]:
    """First and last frame of each stretch in which only one detector finds a face that several find in most frames.

    Stretches shorter than `least` frames are ignored.
    """
    at = trajectory.is_detected() & np.isin(trajectory.frames, detected_frames)
    frames, agreed = trajectory.frames[at].tolist(), trajectory.votes[at] > 1
    if not len(frames) or agreed.mean() < REVIEW_RULES.several_detectors_share:
        return []
    runs = (
        [frame for frame, _ in run]
        for many, run in itertools.groupby(zip(frames, agreed.tolist(), strict=True), key=lambda pair: pair[1])
        if not many
    )
    return [
        (run[0], run[-1])
        for run in runs
        if len(run) >= REVIEW_RULES.single_detector_frames and run[-1] + 1 - run[0] >= least
    ]
