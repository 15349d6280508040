# SPDX-License-Identifier: GPL-3.0-or-later
"""Sort what shows in a finished film into leaks and findings to review, over all its frames."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from ..types import Box
from .exposure import EXPOSURE, Visibility
from .findings import ExpectedFace, Finding, FindingKind, FindingReason, compute_bounding_box


@dataclass(frozen=True, slots=True)
class LeakSettings:
    """When something in the finished film is a leak, and when it is listed for review."""

    run_gap_frames: int = 3
    """Largest gap, in frames, between two exposures of a track that are one finding. Raising it makes longer findings.
    Origin not recorded."""
    exposed_share: float = 0.7
    """Share (0..1) of a face that must show for the finding to be NOT_COVERED and not PARTLY_COVERED. Raising it
    changes only the reason. Origin not recorded."""
    both_confidence: float = 0.4
    """Confidence (0..1) that two detectors must both have for their detection to be a face. Raising it finds fewer
    leaks. Origin: foliage, hands and a dog in two real clips had at most 0.25 in two neighbouring passes."""
    alone_confidence: float = 0.8
    """Confidence (0..1) that a single detector must have for the same. Raising it finds fewer leaks. Origin: foliage,
    hands and a dog in two real clips had at most 0.67 in two neighbouring passes."""
    hint_both_confidence: float = 0.3
    """Confidence (0..1) that two detectors must both have for a place to be listed for review. Raising it lists fewer
    places. Origin: chosen on the clips of docs/verifying.md."""
    hint_alone_confidence: float = 0.6
    """Confidence (0..1) that a single detector must have for the same. Raising it lists fewer places. Origin: chosen on
    the clips of docs/verifying.md."""
    same_face_overlap_share: float = 0.2
    """Intersection over union (0..1) from which detections of two passes are one face. Raising it splits fast faces, so
    that a second pass confirms fewer of them. Origin not recorded."""
    open_passes: int = 2
    """Detection passes without the face after which its tracklet ends. Raising it bridges more passes. Origin not
    recorded."""


LEAK_RULES = LeakSettings()


@dataclass(frozen=True, slots=True)
class FilmDetection:
    """A face that detectors found in the film, with the best confidence of each detector."""

    box: Box
    confidences: tuple[tuple[str, float], ...]

    @property
    def confidence(self) -> float:
        return max(value for _, value in self.confidences)

    @property
    def second(self) -> float:
        """The second-highest confidence; 0 where only one detector found the face."""
        return sorted(value for _, value in self.confidences)[-2] if len(self.confidences) > 1 else 0.0

    @property
    def hints(self) -> bool:
        """Whether the detection is strong enough to be listed for review."""
        return _is_found(self, LEAK_RULES.hint_both_confidence, LEAK_RULES.hint_alone_confidence)


@dataclass(slots=True)
class _LeakTracklet:
    """One unexpected face over several detection passes."""

    detections: list[tuple[int, int, FilmDetection, Visibility]]
    """(number of the detection pass, frame, detection, how much of the face shows)"""
    kept: FindingReason | None
    worst: int
    picture: bytes


class LeakClassifier:
    """Collects faces frame by frame, and sorts them into leaks and findings to review.

    `single` means that the film is one picture, where a second pass cannot confirm a face.
    """

    def __init__(self, single: bool = False) -> None:
        self._single = single
        self._runs: dict[str, list[Finding]] = {}
        self._open: list[_LeakTracklet] = []
        self._done: list[_LeakTracklet] = []
        self._pass_number = 0
        self.compared = self.flat = 0

    def add_face(self, frame: int, place: ExpectedFace, shown: Visibility, draw: Callable[[], bytes]) -> None:
        """Add a face that must be covered. `draw` makes a picture of its place in this frame."""
        self.compared += 1
        self.flat += shown.flat
        if not shown.leaks and not shown.uncertain:
            return
        kind = FindingKind.LEAK if shown.leaks else FindingKind.POSSIBLE_LEAK
        runs = self._runs.setdefault(place.track, [])
        reason = (
            FindingReason.NOT_COVERED
            if shown.part >= LEAK_RULES.exposed_share
            else (FindingReason.PARTLY_COVERED if shown.share >= EXPOSURE.review_share else FindingReason.TOO_FAINT)
        )
        if not runs or frame - runs[-1].stop > LEAK_RULES.run_gap_frames or runs[-1].kind is not kind:
            runs.append(
                Finding(
                    kind,
                    place.track,
                    frame,
                    frame + 1,
                    1,
                    frame,
                    compute_bounding_box(place.ellipse),
                    shown.part,
                    1.0,
                    reason,
                    draw(),
                )
            )
            return
        run = runs[-1]
        run.stop, run.frames = frame + 1, run.frames + 1
        if shown.part > run.share:
            run.worst, run.share, run.box, run.picture, run.reason = (
                frame,
                shown.part,
                compute_bounding_box(place.ellipse),
                draw(),
                reason,
            )

    def add_detections(
        self,
        frame: int,
        detections: list[tuple[FilmDetection, Visibility, FindingReason | None]],
        draw: Callable[[Box], bytes],
    ) -> bool:
        """Add the faces of one detection pass whose pixels show the source.

        Each is (detection, how much shows, why the face may show or None). Passes must come in the order of frames.
        Returns whether the next frame should be searched as well.
        """
        self._pass_number += 1
        self._done += [c for c in self._open if self._pass_number - c.detections[-1][0] > LEAK_RULES.open_passes]
        self._open = [c for c in self._open if self._pass_number - c.detections[-1][0] <= LEAK_RULES.open_passes]
        needs_next = False
        for detection, shown, kept in sorted(detections, key=lambda one: -one[0].confidence):
            tracklet = max(
                (c for c in self._open if c.detections[-1][0] < self._pass_number),
                default=None,
                key=lambda c: _compute_overlap(c.detections[-1][2].box, detection.box),
            )
            if (
                tracklet is None
                or _compute_overlap(tracklet.detections[-1][2].box, detection.box) < LEAK_RULES.same_face_overlap_share
            ):
                tracklet = _LeakTracklet([], kept, frame, b"")
                self._open.append(tracklet)
            best = max((_rank(known) for _, _, known, _ in tracklet.detections), default=(0.0, 0.0))
            tracklet.detections.append((self._pass_number, frame, detection, shown))
            tracklet.kept = tracklet.kept or kept
            if _rank(detection) > best:
                tracklet.worst = frame
                if detection.hints:
                    tracklet.picture = draw(detection.box)
            needs_next = needs_next or (not kept and _is_sure(detection))
        return needs_next

    def finish(self) -> tuple[list[Finding], list[Finding], int]:
        """Leaks, findings to review (both worst first), and the number of detections too weak to be listed."""
        leaks: list[Finding] = []
        doubts: list[Finding] = []
        weak = 0
        for run in (run for runs in self._runs.values() for run in runs):
            (leaks if run.kind is FindingKind.LEAK else doubts).append(run)
        for tracklet in (*self._done, *self._open):
            kind = self._classify(tracklet)
            if kind is None:
                weak += not tracklet.kept
                continue
            _, frame, detection, shown = max(tracklet.detections, key=lambda detection: _rank(detection[2]))
            reason = FindingReason.UNEXPECTED if kind is FindingKind.LEAK else FindingReason.PERHAPS_UNEXPECTED
            finding = Finding(
                kind,
                "",
                tracklet.detections[0][1],
                tracklet.detections[-1][1] + 1,
                len(tracklet.detections),
                frame,
                detection.box,
                shown.part,
                detection.confidence,
                reason,
                tracklet.picture,
            )
            (leaks if kind is FindingKind.LEAK else doubts).append(finding)
        return sorted(leaks, key=_weigh, reverse=True), sorted(doubts, key=_weigh, reverse=True), weak

    def _classify(self, tracklet: _LeakTracklet) -> FindingKind | None:
        if tracklet.kept:
            return None
        sure = [number for number, _, detection, _ in tracklet.detections if _is_sure(detection)]
        if _has_neighbours(sure) or (sure and self._single):
            return FindingKind.LEAK
        hints = [number for number, _, detection, _ in tracklet.detections if detection.hints]
        return FindingKind.POSSIBLE_LEAK if sure or _has_neighbours(hints) or (hints and self._single) else None


def _is_sure(detection: FilmDetection) -> bool:
    return _is_found(detection, LEAK_RULES.both_confidence, LEAK_RULES.alone_confidence)


def _is_found(detection: FilmDetection, both: float, alone: float) -> bool:
    return detection.second >= both or detection.confidence >= alone


def _has_neighbours(passes: list[int]) -> bool:
    return any(after - before == 1 for before, after in itertools.pairwise(passes))


def _rank(detection: FilmDetection) -> tuple[float, float]:
    return detection.second, detection.confidence


def _compute_overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    both = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - common
    return common / both if both > 0 else 0.0


def _weigh(finding: Finding) -> float:
    """How bad a finding is: it grows with the share that shows, the size of the face and the number of frames."""
    x1, y1, x2, y2 = finding.box
    return float(finding.share * math.sqrt(max((x2 - x1) * (y2 - y1), 1.0)) * finding.frames**0.5)
