# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a finished film with its source: whether each expected face is covered, and whether other faces show.

A pixel's detail is its difference from the mean of a box of `block_px` around it, which is about as large as the
effect's samples. Where the film shows the source, apart from coding noise, the detail of their difference is small
compared with the detail of the source. Under an effect it is at least as large, because the effect has removed the
source's detail. The comparison runs in windows of a quarter of a face, wherever the face has enough detail.

Measured on six real clips (2,486 faces in frames, mosaic, H.264 at rate factor 17): under the covers at most 0.04 of a
face seemed to show, and 0.12 of faces 18 pixels wide. Two of the clips (1,831 faces in frames) were encoded without
covers: 1,824 faces were leaks, and 7 were too dark to tell. At rate factor 28, 1,779 were leaks, 8 were too dark, and
41 were listed for review.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array
from ..types import Box, Ellipse, FaceBlurError, ModelUse, Track, TrackDocument, TrackKind, TrackStatus

Grey = NDArray[np.uint8]
"""Brightness, height x width."""


class FindingKind(StrEnum):
    LEAK = "leak"
    POSSIBLE_LEAK = "doubt"
    KEPT = "kept"
    """The face is shown on purpose."""


class FindingReason(StrEnum):
    """Why a verification lists something, or why a face may show at its place."""

    NOT_COVERED = "not_covered"
    PARTLY_COVERED = "partly_covered"
    TOO_FAINT = "too_faint"
    """The face may be uncovered, but it is too faint to tell."""
    UNEXPECTED = "unexpected"
    """A face at a place without a track."""
    PERHAPS_UNEXPECTED = "perhaps_unexpected"

    SWITCHED_OFF = "switched_off"
    DELETED = "deleted"
    EXEMPT = "exempt"
    """The face lies in a region that is never blurred; `Finding.subject` names the region."""
    NEVER_REGION = "never_region"
    """The place is such a region."""
    ALLOWED = "allowed"
    """The face is that of a person who stays visible; `Finding.subject` names the person."""
    REVIEWED = "reviewed"
    """The program suppressed the track, and an editor has reviewed that."""


@dataclass(frozen=True, slots=True)
class ExposureSettings:
    """When a face's pixels show the source. Shares (0..1) are shares of the pixels in the face's ellipse.

    The thresholds were chosen on "the clips", those of docs/verifying.md.
    """

    inner_share: float = 0.95
    """Share of the ellipse's semi-axes within which pixels count, since a cover's edge is soft. Raising it counts more
    of the rim. Origin not recorded."""
    least_pixels: int = 12
    """Pixels below which the visible part of a face is too small to recognise. Raising it checks fewer small or cut-off
    faces. Origin not recorded."""
    least_detail: float = 1.2
    """Variance of the source's detail, in levels squared, from which a pixel is compared. Raising it compares fewer
    pixels of dark and flat faces. Origin: chosen on the clips; lowered from 2.0 when faint faces began to count."""
    least_block_px: float = 3.0
    """The smallest block size for detail, in pixels. Raising it compares coarser detail in small faces. Origin not
    recorded."""
    face_block_divisor: float = 1.25
    """The largest block size is a face's smaller semi-axis divided by this. Raising it compares finer detail where the
    effect's samples are large. Origin not recorded."""
    least_film_face_share: float = 1 / 8
    """The smallest face width for which an effect is scaled, as a share of the source's height, as in
    `blender.cover.find_largest_face_px`. Raising it above the effect's own value compares coarser detail than the
    effect leaves. Origin: the effect's own rule."""
    smoothed_block_px: int = 13
    """Block size, in pixels, from which the finest detail is smoothed away first: coding changes it most, and it
    matters little for a large face. Raising it compares large faces by finer detail. Origin: introduced when faint
    faces began to count; how it was chosen is not recorded."""
    least_window_px: float = 5.0
    """The smallest window over which detail is averaged, in pixels. Raising it averages over more of a small face.
    Origin not recorded."""
    window_divisor: float = 2
    """The window size is a face's smaller semi-axis divided by this, which is a quarter of a face. Raising it finds
    smaller uncovered parts, and more false ones. Origin not recorded."""
    same_detail_share: float = 0.3
    """A pixel shows the source where less than this share of its detail is lost. Raising it takes more covered pixels
    for uncovered ones. Origin: chosen on the clips; lowered from 0.35 when faint faces began to count."""
    whole_share: float = 0.9
    """Share of the compared pixels that must show for the check of slopes to be skipped. Raising it checks slopes more
    often. Origin: introduced for flat signs; how it was chosen is not recorded."""
    steep_share: float = 0.04
    """Square of a slope, divided by the detail around it, from which the slope counts. Raising it counts fewer slopes.
    Origin: this and the next three values prevent a single edge along a mosaic's blocks from counting as a face; chosen
    on the clips."""
    steep_spread_share: float = 0.25
    """Share of a window's pixels that must have such a slope for the window to be compared. Raising it compares fewer
    windows. Origin: see `steep_share`."""
    same_slope_share: float = 0.5
    """A slope survived the effect where it changed by less than this share of its square. Raising it counts more slopes
    as survived. Origin: see `steep_share`."""
    survived_share: float = 0.25
    """Share of a window's pixels whose slopes must have survived for it to show the source. Raising it finds fewer
    leaks. Origin: see `steep_share`."""
    leak_share: float = 0.2
    """Share of a face that must show for a leak. Raising it finds fewer leaks. Origin: chosen on the clips."""
    leak_decided_share: float = 0.5
    """Share of a face's compared pixels that must show for a leak as well. Raising it finds fewer leaks. Origin: chosen
    on the clips."""
    least_decided_share: float = 0.08
    """Share of a face's pixels that must have enough detail to be compared; a face with less is flat. Raising it counts
    more faces as flat. Origin: chosen on the clips."""
    review_share: float = 0.14
    """Share of a face that must show for the face to be listed for review. Raising it lists fewer faces. Origin: chosen
    on the clips."""
    review_lost_share: float = 0.55
    """A face is also listed for review where less than this share of its detail is lost. Raising it lists more faces.
    Origin: introduced for faces that coding has changed too much to tell; chosen on the clips."""


EXPOSURE = ExposureSettings()


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
class StepSettings:
    """When a film's pictures are not those of the source, or belong to another frame. Levels are from 0 to 255."""

    thumbnail_px: int = 256
    """Long side of the compared pictures, in pixels. Raising it finds smaller differences and takes more time. Origin
    not recorded."""
    cover_ratio: float = 1.3
    """Assumed size of a cover compared with its mask: a tolerance and the feather make it larger. Raising it compares
    less of the picture. Origin not recorded."""
    cover_margin_px: float = 6
    """Pixels of the source by which the cover is assumed to be larger still. Raising it compares less of the picture.
    Origin not recorded."""
    least_outside_px: int = 400
    """Pixels outside all covers that a comparison needs. Raising it compares fewer frames. Origin not recorded."""
    noise_levels: float = 1.5
    """Difference that coding may cause, in levels (standard deviation). Raising it misses more frames that are out of
    step. Origin not recorded."""
    late_ratio: float = 1.6
    """A frame is out of step where its difference from the source's frame is more than this many times its difference
    from the source's frame before or after. Raising it misses more such frames. Origin not recorded."""
    least_detail: float = 4.0
    """Variance of the source's picture, in levels squared, from which the picture can be identified. Raising it checks
    fewer dark and flat pictures. Origin not recorded."""
    foreign_share: float = 0.5
    """A frame shows a different picture where the difference is more than this share of that variance. Raising it
    misses more such frames. Origin not recorded."""


STEP_CHECK = StepSettings()


@dataclass(frozen=True, slots=True)
class ExpectedFace:
    """A track's place in one frame. `kept` is the reason why the face may show; None where it must be covered."""

    track: str
    ellipse: Ellipse
    kept: FindingReason | None = None


@dataclass(frozen=True, slots=True)
class Visibility:
    """How much of a face shows: `share` of its area shows the source, and `decided` has enough detail to tell."""

    share: float
    decided: float
    lost: float = 1.0
    """Share of the detail that is lost, where there is enough detail. Under an effect it is close to 1."""

    @property
    def leaks(self) -> bool:
        return self.share >= EXPOSURE.leak_share or (
            not self.flat and self.share >= EXPOSURE.leak_decided_share * self.decided
        )

    @property
    def uncertain(self) -> bool:
        """Whether a part of the face may show: the face is not clearly covered, but not certainly a leak."""
        return not self.leaks and (
            self.share >= EXPOSURE.review_share or (not self.flat and self.lost < EXPOSURE.review_lost_share)
        )

    @property
    def part(self) -> float:
        """The share of the face that shows, among the pixels with enough detail."""
        return self.share if self.flat else self.share / self.decided

    @property
    def flat(self) -> bool:
        return self.decided < EXPOSURE.least_decided_share


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
class Finding:
    """A finding for the editor. Frames are those of the film, counted from 0; start..stop is half-open.

    `share` is the share of the face that shows in the frame `worst`, and `box` its place there. `picture` is a JPEG of
    its surroundings with the face obscured, or empty. `subject` is the person or the region that the reason refers to.
    """

    kind: FindingKind
    track: str
    start: int
    stop: int
    frames: int
    worst: int
    box: Box
    share: float
    confidence: float
    reason: FindingReason
    picture: bytes = b""
    subject: str = ""


@dataclass(slots=True)
class Verification:
    """The result of verifying a film. `problems` are faults of the file itself, one sentence each."""

    film: str
    source: str
    frames: int
    seconds_long: float
    sound_streams: int
    compared: int
    """Faces that were compared with the source, counted in each frame."""
    flat: int
    """Compared faces that are too flat or too dark to tell."""
    searched_frames: int
    """Frames in which the detectors searched for unexpected faces. `every` is the step between them."""
    every: int
    weak_detections: int
    """Detections that were too weak to be listed."""
    models: list[ModelUse]
    leaks: list[Finding]
    uncertain: list[Finding]
    """Findings for review: they may be leaks."""
    shown_on_purpose: list[Finding]
    """Faces that an editor chose to show."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faces: dict[str, bytes] = field(default_factory=dict)
    """For each track, an obscured JPEG of its face in the source, for a report; see `obscured.draw_face`."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.leaks and not self.problems


def list_places(
    document: TrackDocument,
    is_reviewed: Callable[[str], bool] = lambda track: False,
) -> dict[int, list[ExpectedFace]]:
    """For each source frame, the places where a face must be covered, and those where an editor chose to show one.

    `is_reviewed` tells whether an editor has reviewed a track that the program suppressed.
    """
    places: dict[int, list[ExpectedFace]] = {}
    for track in document.tracks:
        covered = {frame for span in track.list_covered_spans() for frame in range(*span)}
        for sample in track.samples:
            kept = None if sample.source_frame in covered else FindingReason.SWITCHED_OFF
            places.setdefault(sample.source_frame, []).append(ExpectedFace(track.name, sample.ellipse, kept))
    for track in document.uncovered:
        if track.is_editor_decision or is_reviewed(track.name):
            for sample in track.samples:
                places.setdefault(sample.source_frame, []).append(
                    ExpectedFace(track.name, sample.ellipse, _explain(track))
                )
    return places


def _explain(track: Track) -> FindingReason:
    """Why an uncovered track may show."""
    if track.kind is TrackKind.NEVER:
        return FindingReason.NEVER_REGION
    return {
        TrackStatus.DELETED: FindingReason.DELETED,
        TrackStatus.EXEMPT: FindingReason.EXEMPT,
        TrackStatus.ALLOWED: FindingReason.ALLOWED,
    }.get(track.status, FindingReason.REVIEWED)


def list_shown_on_purpose(document: TrackDocument) -> list[Finding]:
    """The faces that an editor chose to show, in source frames."""
    kept = []
    for track in document.tracks:
        for start, stop in track.off:
            samples = [s for s in track.samples if start <= s.source_frame < stop]
            if samples:
                kept.append(
                    Finding(
                        FindingKind.KEPT,
                        track.name,
                        samples[0].source_frame,
                        samples[-1].source_frame + 1,
                        len(samples),
                        samples[0].source_frame,
                        compute_bounding_box(samples[0].ellipse),
                        1.0,
                        0.0,
                        FindingReason.SWITCHED_OFF,
                    )
                )
    for track in document.uncovered:
        if track.is_editor_decision and track.samples:
            first, last = track.samples[0], track.samples[-1]
            kept.append(
                Finding(
                    FindingKind.KEPT,
                    track.name,
                    first.source_frame,
                    last.source_frame + 1,
                    len(track.samples),
                    first.source_frame,
                    compute_bounding_box(first.ellipse),
                    1.0,
                    0.0,
                    _explain(track),
                    subject=track.allowed_person or track.never_region,
                )
            )
    return sorted(kept, key=lambda one: one.start)


def compute_bounding_box(ellipse: Ellipse) -> Box:
    """The bounding box of an ellipse, including its rotation."""
    c, s = math.cos(ellipse.angle), math.sin(ellipse.angle)
    half_x, half_y = math.hypot(ellipse.rx * c, ellipse.ry * s), math.hypot(ellipse.rx * s, ellipse.ry * c)
    return ellipse.cx - half_x, ellipse.cy - half_y, ellipse.cx + half_x, ellipse.cy + half_y


def compute_block_px(document: TrackDocument, samples_per_face: float) -> float:
    """The size of the effect's samples in pixels, which follows the widest face and has a lower limit.

    See `blender.cover.find_largest_face_px`.
    """
    widest = max((2 * s.ellipse.rx for track in document.tracks for s in track.samples), default=0.0)
    return max(widest, EXPOSURE.least_film_face_share * document.source.height) / samples_per_face


def measure_shown(source: Grey, film: Grey, ellipse: Ellipse, block_px: float) -> Visibility | None:
    """How much of a face's ellipse shows the source in the film; None where hardly any of it lies in the picture.

    Both pictures have the same size, and the ellipse is in their pixels. Detail larger than `block_px` is ignored, and
    with it changes of brightness and colour.
    """
    height, width = source.shape
    smaller = min(ellipse.rx, ellipse.ry)
    least = EXPOSURE.least_block_px
    block = _round_to_odd(min(max(block_px, least), max(smaller / EXPOSURE.face_block_divisor, least)))
    reach = max(ellipse.rx, ellipse.ry) + block + 2
    x1, x2 = max(0, int(ellipse.cx - reach)), min(width, int(ellipse.cx + reach) + 1)
    y1, y2 = max(0, int(ellipse.cy - reach)), min(height, int(ellipse.cy + reach) + 1)
    if x2 - x1 < 3 or y2 - y1 < 3:
        return None
    inside = draw_inside(ellipse, x1, y1, x2, y2)
    area = int(inside.sum())
    if area < EXPOSURE.least_pixels:
        return None
    first = source[y1:y2, x1:x2].astype(np.float32)
    change = film[y1:y2, x1:x2].astype(np.float32) - first
    detail, changed = _take_detail(first, block), _take_detail(change, block)
    weight = inside.astype(np.float32)
    window = _round_to_odd(max(EXPOSURE.least_window_px, smaller / EXPOSURE.window_divisor))
    # Only pixels inside the ellipse count: beyond the edge of a cover the source may show.
    near = np.maximum(_blur(weight, window), 1e-6)
    there = _blur(detail**2 * weight, window) / near
    lost = _blur(changed**2 * weight, window) / near
    decided = inside & (there >= EXPOSURE.least_detail)
    shown = decided & (lost < EXPOSURE.same_detail_share * there)
    if shown.sum() < EXPOSURE.whole_share * decided.sum():
        # A single straight edge between two blocks survives a mosaic. A face that shows has slopes all over.
        steep = _compute_slopes(first, block)
        detailed = steep >= EXPOSURE.steep_share * there
        survived = detailed & (_compute_slopes(change, block) < EXPOSURE.same_slope_share * steep)
        decided &= _blur(detailed * weight, window) / near >= EXPOSURE.steep_spread_share
        shown &= decided & (_blur(survived * weight, window) / near >= EXPOSURE.survived_share)
    gone = float(np.minimum(lost[decided] / there[decided], 1.0).mean()) if decided.any() else 1.0
    return Visibility(float(shown.sum()) / area, float(decided.sum()) / area, gone)


def draw_inside(ellipse: Ellipse, x1: int, y1: int, x2: int, y2: int) -> NDArray[np.bool_]:
    """Which pixels of a part of the picture lie well inside an ellipse."""
    y, x = np.mgrid[y1:y2, x1:x2] + 0.5
    c, s = math.cos(ellipse.angle), math.sin(ellipse.angle)
    x, y = x - ellipse.cx, y - ellipse.cy
    rx, ry = EXPOSURE.inner_share * ellipse.rx, EXPOSURE.inner_share * ellipse.ry
    return np.asarray(((x * c + y * s) / rx) ** 2 + ((y * c - x * s) / ry) ** 2 <= 1)


def _compute_slopes(values: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """The squared slopes, in levels per pixel."""
    down, across = np.gradient(_blur(values, 3) if block >= EXPOSURE.smoothed_block_px else values)
    return np.asarray(down**2 + across**2, np.float32)


def _round_to_odd(size: float) -> int:
    return max(3, round(size) | 1)


def _blur(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.boxFilter(values, -1, (size, size)), np.float32)


def _take_detail(values: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    # Coding changes the finest detail most, and this detail says little about a large face.
    return (_blur(values, 3) if block >= EXPOSURE.smoothed_block_px else values) - _blur(values, block)


class SyncChecker:
    """Checks that the film's pictures are those of the source, and not of the frame before or after."""

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._last: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.foreign: list[int] = []
        self.late: list[int] = []

    def compare(self, frame: int, source: Grey, film: Grey, places: list[ExpectedFace]) -> None:
        """Compare small versions of one frame's pictures, outside the covers."""
        import cv2

        height, width = source.shape
        scale = min(1.0, STEP_CHECK.thumbnail_px / max(height, width))
        size = max(8, round(width * scale)), max(8, round(height * scale))
        theirs, ours = (
            np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.float32) for p in (source, film)
        )
        outside = np.ones(theirs.shape, bool)
        for place in places:
            # Covers are larger than the face by the margin, a tolerance and the feather.
            e = place.ellipse.scaled(STEP_CHECK.cover_ratio * self._margin).grown(STEP_CHECK.cover_margin_px)
            box = compute_bounding_box(Ellipse(e.cx * scale, e.cy * scale, e.rx * scale, e.ry * scale, e.angle))
            x1, y1, x2, y2 = (
                max(0, math.floor(box[0])),
                max(0, math.floor(box[1])),
                math.ceil(box[2]) + 1,
                math.ceil(box[3]) + 1,
            )
            outside[y1:y2, x1:x2] = False
        if outside.sum() >= STEP_CHECK.least_outside_px:
            detail, rest = (theirs - theirs[outside].mean())[outside], (ours - theirs)[outside]
            rest = rest - rest.mean()
            there, lost = float((detail**2).mean()), float((rest**2).mean())
            apart = (
                math.inf
                if self._last is None
                else min(
                    self._compute_difference(ours, self._last[0], outside),
                    self._compute_difference(self._last[1], theirs, outside),
                )
            )
            if math.sqrt(lost) > STEP_CHECK.late_ratio * apart + STEP_CHECK.noise_levels:
                self.late.append(frame)
            elif there >= STEP_CHECK.least_detail and lost > STEP_CHECK.foreign_share * there:
                self.foreign.append(frame)
        self._last = theirs, ours

    @staticmethod
    def _compute_difference(one: NDArray[np.float32], other: NDArray[np.float32], outside: NDArray[np.bool_]) -> float:
        return float((one - other)[outside].std())

    def describe(self) -> list[str]:
        """The faults found, one sentence each."""
        return [
            f"In {len(frames)} frames, from frame {frames[0]} on, the film {words}."
            for frames, words in (
                (self.foreign, "shows different pictures from the source"),
                (self.late, "is out of sync with the source"),
            )
            if frames
        ]


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


def get_kept_reason(places: list[ExpectedFace], box: Box) -> FindingReason | None:
    """Why a detection at this place may show; None where the editor did not choose to show a face there."""
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return next((place.kept for place in places if place.kept and _holds(place.ellipse, cx, cy)), None)


def is_on(places: list[ExpectedFace], box: Box) -> bool:
    """Whether a detection lies on one of these faces."""
    return any(_holds(place.ellipse, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for place in places)


def _holds(e: Ellipse, x: float, y: float) -> bool:
    c, s = math.cos(e.angle), math.sin(e.angle)
    x, y = x - e.cx, y - e.cy
    return math.hypot((x * c + y * s) / e.rx, (y * c - x * s) / e.ry) <= 1


SCHEMA, VERSION = "faceblur-verification", 2


_SAVED_NAMES = {
    "searched_frames": "looked",
    "weak_detections": "weak",
    "uncertain": "doubts",
    "shown_on_purpose": "kept",
}
"""The names that fields of `Verification` have in files, where they differ. They must not change."""


def to_content(verification: Verification) -> dict[str, Any]:
    """The fields of the verification under the names that they have in files."""
    return {_SAVED_NAMES.get(name, name): value for name, value in asdict(verification).items()}


def to_json(verification: Verification) -> str:
    """The verification as one line of JSON, with pictures in Base64."""
    content = to_content(verification)
    for finding in _walk_findings(content):
        finding["picture"] = base64.b64encode(finding["picture"]).decode("ascii")
    content["faces"] = {name: base64.b64encode(data).decode("ascii") for name, data in verification.faces.items()}
    return json.dumps(
        {"schema": SCHEMA, "version": VERSION, "passed": verification.passed, **content},
        ensure_ascii=False,
        allow_nan=False,
    )


def from_json(text: str) -> Verification:
    """Parse the JSON of `to_json`. Raises FaceBlurError."""
    try:
        content = json.loads(text)
        if content.pop("schema") != SCHEMA or content.pop("version") != VERSION:
            raise ValueError("it has another version")
        content.pop("passed")
        for finding in _walk_findings(content):
            finding["picture"] = base64.b64decode(finding["picture"], validate=True)
            finding["box"] = tuple(float(value) for value in finding["box"])
            finding["kind"], finding["reason"] = FindingKind(finding["kind"]), FindingReason(finding["reason"])
        for name in ("leaks", "doubts", "kept"):
            content[name] = [Finding(**finding) for finding in content[name]]
        content["faces"] = {str(name): base64.b64decode(data, validate=True) for name, data in content["faces"].items()}
        content["models"] = [ModelUse(**model) for model in content["models"]]
        fields = {saved: name for name, saved in _SAVED_NAMES.items()}
        return Verification(**{fields.get(name, name): value for name, value in content.items()})
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, RecursionError) as error:
        raise FaceBlurError(f"This is not a verification: {str(error)[:200]}") from error


def _walk_findings(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("leaks", "doubts", "kept"):
        yield from content[name]


def fit_matrix(place: list[float]) -> Array:
    """The 2 x 3 matrix from the source's pixels to the film's. Raises FaceBlurError where it cannot be inverted."""
    matrix = np.array(place, float).reshape(2, 3)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:, :2])) < 1e-6:
        raise FaceBlurError("The film's pictures cannot be aligned with the source's.")
    return matrix
