# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a part of a finished film with its source, frame by frame; one verification process runs this for each part.

A frame's `FrameComparison` depends on no other part, so the number of processes does not change the verification.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from functools import partial

import numpy as np

from ..core.cover.obscured import draw_face, draw_place
from ..core.detection.fusion import fuse_detections
from ..core.detection.picture_sizes import compute_detector_size
from ..core.detection.settings import DetectorUse
from ..core.geometry import Array, compute_overlaps
from ..core.review.queue import choose_clearest, list_review_entries
from ..core.types import Box, Detection, Ellipse, FaceBlurError, Picture, TrackDocument
from ..core.verification.exposure import Visibility, compute_block_px, measure_shown
from ..core.verification.findings import ExpectedFace, FindingReason, get_kept_reason, is_on, list_places
from ..core.verification.leaks import FilmDetection, LeakClassifier
from ..core.verification.sync import SyncChecker, fit_matrix
from ..detectors.passes import MultiPassDetector
from ..sources import FrameSource
from .protocol import VerifyRequest


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """How a finished film is read beside its source, and how detections in it are evaluated."""

    read_over_frames: int = 60
    """Up to this many source frames are read over instead of seeking. Raising it reads more where a timeline skips
    frames. Origin not recorded."""
    same_face_overlap_share: float = 0.4
    """Intersection over union (0..1) from which a single detection belongs to a fused one and its detector is counted.
    Raising it counts fewer detectors per face. Origin: that of `FusionSettings.same_overlap_share`."""
    blocks_per_face: float = 4.0
    """Blocks across a detected face in which detail is compared with the source. Raising it compares finer detail.
    Origin not recorded."""


COMPARISON = ComparisonSettings()


@dataclass(slots=True)
class FrameComparison:
    """The comparison of one frame of the film with its source. `faces` are the expected faces that are not clearly
    covered. `finds` are detections of other faces, or None in frames without a detection pass. Both carry a picture or
    empty bytes. `clearest`: the source's pictures of each track's face.
    """

    frame: int
    late: bool = False
    foreign: bool = False
    covered: int = 0
    flat: int = 0
    """How many of the covered faces are too flat or too dark to compare."""
    faces: list[tuple[ExpectedFace, Visibility, bytes]] = field(default_factory=list)
    finds: list[tuple[FilmDetection, Visibility, FindingReason | None, bytes]] | None = None
    clearest: dict[str, bytes] = field(default_factory=dict)


def to_text(comparison: FrameComparison) -> str:
    """One line of JSON, line feed included."""
    faces = [
        [place.track, astuple(place.ellipse), astuple(shown), _encode(picture)]
        for place, shown, picture in comparison.faces
    ]
    finds = (
        None
        if comparison.finds is None
        else [
            [find.box, find.confidences, astuple(shown), kept, _encode(picture)]
            for find, shown, kept, picture in comparison.finds
        ]
    )
    clearest = {name: _encode(picture) for name, picture in comparison.clearest.items()}
    return (
        json.dumps(
            [
                comparison.frame,
                comparison.late,
                comparison.foreign,
                comparison.covered,
                comparison.flat,
                faces,
                finds,
                clearest,
            ],
            separators=(",", ":"),
            allow_nan=False,
        )
        + "\n"
    )


def from_text(line: str) -> FrameComparison:
    """Read a line that `to_text` wrote. Raises FaceBlurError."""
    try:
        frame, late, foreign, covered, flat, faces, finds, clearest = json.loads(line)
        return FrameComparison(
            frame,
            late,
            foreign,
            covered,
            flat,
            [
                (ExpectedFace(track, Ellipse(*ellipse)), Visibility(*shown), base64.b64decode(picture, validate=True))
                for track, ellipse, shown, picture in faces
            ],
            None
            if finds is None
            else [
                (
                    FilmDetection(tuple(box), tuple((name, value) for name, value in confidences)),
                    Visibility(*shown),
                    FindingReason(kept) if kept is not None else None,
                    base64.b64decode(picture, validate=True),
                )
                for box, confidences, shown, kept, picture in finds
            ],
            {name: base64.b64decode(picture, validate=True) for name, picture in clearest.items()},
        )
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise FaceBlurError(f"A verification process wrote an invalid result: {error}.") from error


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One frame of the film and the source frame that it shows, in the source's pixels, with the expected `places`.

    `original` and its `grey` are the source's; `picture` and its grey version `other` are the film's.
    """

    frame: int
    source_frame: int
    original: Picture
    picture: Picture
    grey: Picture
    other: Picture
    places: list[ExpectedFace]


class Comparison:
    """A film beside its source. One object compares one part of the film, in order."""

    def __init__(
        self,
        request: VerifyRequest,
        document: TrackDocument,
        source: FrameSource,
        film: FrameSource,
        film_detectors: FilmDetectors,
    ) -> None:
        self._request, self._film, self._detectors = request, film, film_detectors
        chosen = {entry.track for entry in list_review_entries(document) if entry.verdict and not entry.covered}
        self._places = list_places(document, chosen.__contains__)
        self._block_px = compute_block_px(document, request.samples_per_face)
        # One object for the whole part: it keeps candidate pictures and decides when a second detection pass is needed.
        self._classifier = LeakClassifier(single=film.info.frame_count == 1)
        self._sync = SyncChecker(document.margin)
        self._matrix = fit_matrix(request.place) if request.place else None
        self._originals = _Originals(source)
        self._clearest: dict[int, list[tuple[str, Ellipse]]] = {}
        for track in (track for track in document.tracks if track.samples):
            sample = choose_clearest(track.samples, (source.info.width, source.info.height))
            self._clearest.setdefault(sample.source_frame, []).append((track.name, sample.ellipse))
        self._shown_frames = compute_shown_frames(request.shown, film.info.frame_count)
        self._detects_again = False

    def run(self, start: int, stop: int) -> Iterator[FrameComparison]:
        """The comparison of each frame start..stop of the film that shows the source, in order."""
        own = [frame for frame in self._shown_frames if start <= frame < stop]
        # Each frame is also compared with the frames before it.
        before = max((frame for frame in self._shown_frames if frame < start), default=start)
        for frame, picture in self._film.read_frames(before, own[-1] + 1) if own else ():
            source_frame = self._shown_frames.get(frame)
            if source_frame is None:
                continue
            pair = self._pair(frame, source_frame, picture)
            self._sync.compare(frame, pair.grey, pair.other, pair.places)
            if frame >= start:
                yield self._see(pair)

    def _pair(self, frame: int, source_frame: int, shown: Picture) -> _Pair:
        import cv2

        original = self._originals.read(source_frame)
        picture = shown if self._matrix is None else _lay_back(shown, self._matrix, original.shape)
        grey, other = (np.asarray(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), np.uint8) for p in (original, picture))
        return _Pair(frame, source_frame, original, picture, grey, other, self._places.get(source_frame, []))

    def _see(self, pair: _Pair) -> FrameComparison:
        comparison = FrameComparison(
            pair.frame, self._sync.late[-1:] == [pair.frame], self._sync.foreign[-1:] == [pair.frame]
        )
        for name, ellipse in self._clearest.get(pair.source_frame, []):
            comparison.clearest[name] = draw_face(pair.original, ellipse)
        leaking = self._measure_places(pair, comparison)
        is_due = pair.frame % self._request.every == 0
        if is_due or self._detects_again:
            finds = self._find(pair, leaking)
            self._detects_again = self._classifier.add_detections(pair.frame, finds, lambda box: b"") and is_due
            comparison.finds = [
                (find, shown, kept, draw_place(pair.picture, find.box) if find.hints else b"")
                for find, shown, kept in finds
            ]
        return comparison

    def _measure_places(self, pair: _Pair, comparison: FrameComparison) -> list[ExpectedFace]:
        """Measure how well each expected face is covered; returns the faces that leak."""
        leaking = []
        for place in pair.places:
            if place.kept:
                continue
            smaller = 2 * min(place.ellipse.rx, place.ellipse.ry)
            shown = measure_shown(
                pair.grey, pair.other, place.ellipse, max(self._block_px, smaller / self._request.samples_per_face)
            )
            if shown is None:
                continue
            if not shown.leaks and not shown.uncertain:
                comparison.covered += 1
                comparison.flat += shown.flat
                continue
            drawn: list[bytes] = []
            self._classifier.add_face(
                pair.frame, place, shown, partial(_keep, drawn, pair.picture, _compute_box(place.ellipse))
            )
            comparison.faces.append((place, shown, drawn[0] if drawn else b""))
            leaking += [place] if shown.leaks else []
        return leaking

    def _find(
        self, pair: _Pair, leaking: list[ExpectedFace]
    ) -> list[tuple[FilmDetection, Visibility, FindingReason | None]]:
        """Detections in the film's picture where it shows the source, except on the `leaking` faces."""
        number = pair.frame // self._request.every - min(self._shown_frames, default=0) // self._request.every
        detections = self._detectors.detect(pair.picture, number)
        boxes = np.array([d.box for d in detections], float).reshape(-1, 4)
        finds = []
        for hit in fuse_detections(detections):
            same = compute_overlaps(hit.box[None], boxes)[0] >= COMPARISON.same_face_overlap_share
            best: dict[str, float] = {}
            for detection, here in zip(detections, same, strict=True):
                if here:
                    best[detection.detector] = max(best.get(detection.detector, 0.0), detection.confidence)
            box: Box = tuple(hit.box.tolist())
            ellipse = Ellipse.inscribed(box)
            block_px = 2 * min(ellipse.rx, ellipse.ry) / COMPARISON.blocks_per_face
            shown = measure_shown(pair.grey, pair.other, ellipse, block_px)
            if shown is not None and best and shown.leaks and not is_on(leaking, box):
                finds.append((FilmDetection(box, tuple(best.items())), shown, get_kept_reason(pair.places, box)))
        return finds


def _keep(drawn: list[bytes], picture: Picture, box: Box) -> bytes:
    drawn.append(draw_place(picture, box))
    return drawn[0]


def compute_shown_frames(shown: list[list[int]], frame_count: int) -> dict[int, int]:
    """The source frame that each film frame shows, by film frame. Raises FaceBlurError for frames outside the film."""
    if not shown:
        return {frame: frame for frame in range(frame_count)}
    for run in shown:
        if len(run) != 3 or min(run) < 0 or run[0] + run[2] > frame_count:
            raise FaceBlurError("The request names frames that the film does not have.")
    return dict(sorted((run[0] + i, run[1] + i) for run in shown for i in range(run[2])))


class _Originals:
    """The source's pictures; reading them in order is cheapest."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._frames: Iterator[tuple[int, Picture]] = iter(())
        self._at = -1 - COMPARISON.read_over_frames
        self._picture: Picture | None = None

    def read(self, source_frame: int) -> Picture:
        if not self._at <= source_frame <= self._at + COMPARISON.read_over_frames:
            count = self._source.info.frame_count
            if source_frame >= count:
                raise FaceBlurError(f"{self._source.info.file_name} has no frame {source_frame}.")
            self._frames = self._source.read_frames(source_frame, count)
            self._picture = None
        while self._picture is None or self._at < source_frame:
            self._at, self._picture = next(self._frames)
        return self._picture


def _lay_back(picture: Picture, matrix: Array, shape: tuple[int, ...]) -> Picture:
    """The film's picture transformed into the source's pixels."""
    import cv2

    # OpenCV puts pixel centres at whole numbers; this program puts pixel corners there.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(
        cv2.warpAffine(picture, shifted, (shape[1], shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.uint8
    )


class FilmDetectors:
    """The detectors, each with its picture size, applied to upright pictures."""

    def __init__(self, film_detectors: list[tuple[MultiPassDetector, DetectorUse]], upright_turn: int) -> None:
        self._detectors, self._turn = film_detectors, upright_turn

    def detect(self, picture: Picture, number: int) -> list[Detection]:
        """All detections, not fused, in the picture's own pixels. Some detectors skip every second detection pass."""
        import cv2

        turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}.get(self._turn)
        upright = picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)
        frame_size = upright.shape[1], upright.shape[0]
        found = []
        for film_detectors, use in self._detectors:
            if number % use.each_look:
                continue
            size = compute_detector_size(frame_size, use.long_side)
            small = (
                upright
                if size == frame_size
                else np.asarray(cv2.resize(upright, size, interpolation=cv2.INTER_AREA), np.uint8)
            )
            x, y = frame_size[0] / size[0], frame_size[1] / size[1]
            found += [
                replace(
                    d,
                    landmarks=None,
                    box=self._turn_back((d.box[0] * x, d.box[1] * y, d.box[2] * x, d.box[3] * y), picture),
                )
                for d in film_detectors.detect(small)
            ]
        return found

    def _turn_back(self, box: Box, picture: Picture) -> Box:
        height, width = picture.shape[:2]
        x1, y1, x2, y2 = box
        return {
            90: (y1, height - x2, y2, height - x1),
            180: (width - x2, height - y2, width - x1, height - y1),
            270: (width - y2, x1, width - y1, x2),
        }.get(self._turn, box)


def _compute_box(ellipse: Ellipse) -> Box:
    reach = max(ellipse.rx, ellipse.ry)
    return ellipse.cx - reach, ellipse.cy - reach, ellipse.cx + reach, ellipse.cy + reach
