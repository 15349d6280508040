# SPDX-License-Identifier: GPL-3.0-or-later
"""The two stages of an analysis: from pictures to records, and from records to a document."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..detection.brightening import Averager, brighten, compute_stretch
from ..detection.enlarged import EnlargedSearch
from ..detection.fusion import FusedDetection, fuse_detections
from ..detection.picture_sizes import compute_detector_size
from ..detection.settings import PLATES, DetectorUse, Preset
from ..detection.turned import TURNED, DetectTurned, ScoreFaces, TurnedSearch
from ..detection.windows import choose_windows, detect_in_windows, touches_edge
from ..geometry import Array
from ..types import Detection, ModelUse, ReviewItem, ReviewReason, SourceInfo, TrackDocument
from .appearance import describe_appearance
from .face_probability import FaceScorer
from .linking import link_tracks
from .observations import ObservationTable, Segment
from .optical_flow import track_boxes
from .shots import THUMBNAIL, CutDetector, build_shots, drop_rapid_cuts
from .tracker import FrameRecord, Tracker


@dataclass(frozen=True, slots=True)
class FrameAnalysisSettings:
    """How a film is split into segments, and what is computed from its pictures besides detections."""

    flow_long_side_px: int = 640
    """Long side, in pixels, of the picture for optical flow, unless all detectors use smaller ones. Raising it tracks
    smaller faces and takes time in proportion to its square. Origin not recorded."""
    transition_s: float = 0.8
    """Length, in seconds, of the window in which gradual transitions are detected: twice
    `ShotSettings.transition_half_s`. Raising it lists longer stretches around transitions for review. Origin not
    recorded."""
    describe_every_s: float = 0.5
    """Seconds between two descriptions of a face's colours. Raising it saves time, but people who come back are
    compared with older colours. Origin not recorded."""
    least_segment_s: float = 4.0
    """Shortest segment, in seconds, that is worth a process of its own. Raising it uses fewer processes for short
    films. Origin not recorded."""
    least_segment_frames: int = 96
    """The same limit in frames; a segment must reach both. Raising it does the same. Origin not recorded."""


FRAME_ANALYSIS = FrameAnalysisSettings()


class Detector(Protocol):
    """What the analysis needs from a detector; `detectors.base.FaceDetector` is one."""

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]: ...


def compute_stride(detect_every_s: float, frame_rate: float) -> int:
    """The interval, in frames, between regular detection passes."""
    return max(1, int(detect_every_s * frame_rate + 0.1))


def split_range(frame_count: int, frame_rate: float, processes: int) -> list[Segment]:
    """Equal segments of 0..frame_count: `processes` of them, or fewer if they would be too short."""
    least = max(FRAME_ANALYSIS.least_segment_frames, round(FRAME_ANALYSIS.least_segment_s * frame_rate))
    parts = max(1, min(processes, frame_count // least))
    edges = [frame_count * i // parts for i in range(parts + 1)]
    return [Segment(a, b) for a, b in itertools.pairwise(edges)]


def analyse_frames(
    frames: Iterable[tuple[int, NDArray[np.uint8]]],
    frame_size: tuple[int, int],
    frame_rate: float,
    detectors: Sequence[tuple[Detector, DetectorUse]],
    strong_confidence: float,
    upright_turn: int = 0,
    stride: int = 1,
    score_faces: ScoreFaces | None = None,
    detect_turned: DetectTurned | None = None,
    seeks_enlarged: bool = False,
) -> Iterator[FrameRecord]:
    """Detect and track faces in consecutive pictures (BGR, of `compute_decode_size`); yields records in order.

    A record follows its picture by about a second. Boxes are in pixels of `frame_size`. `upright_turn` is the clockwise
    rotation in degrees (0, 90, 180, 270) of the pictures for the detectors; results are rotated back. The detectors run
    on the first frame, on each multiple of `stride`, and after cuts; in between, optical flow tracks the faces. When it
    loses one, or becomes unreliable, the detectors search around the expected position. `score_faces` gives the second
    opinion on what they find. With `detect_turned`, faces that lie or stand on their heads are sought too.
    With `seeks_enlarged`, so are faces that only an enlarged picture shows, which the second opinion must confirm.
    """
    return _FrameAnalyser(
        frame_size,
        frame_rate,
        detectors,
        strong_confidence,
        upright_turn,
        stride,
        score_faces,
        detect_turned,
        seeks_enlarged,
    ).run(frames)


class _FrameAnalyser:
    """The state of `analyse_frames` between one frame and the next. One object analyses one run of frames."""

    def __init__(
        self,
        frame_size: tuple[int, int],
        frame_rate: float,
        detectors: Sequence[tuple[Detector, DetectorUse]],
        strong_confidence: float,
        upright_turn: int,
        stride: int,
        score_faces: ScoreFaces | None,
        detect_turned: DetectTurned | None,
        seeks_enlarged: bool,
    ) -> None:
        """The arguments are those of `analyse_frames`."""
        self._stored_size, self._upright_turn = frame_size, upright_turn
        self._upright_size = frame_size[::-1] if upright_turn in (90, 270) else frame_size
        # A detector's own size if possible: scaling once more would take as long as optical flow.
        self._flow_size = compute_detector_size(
            self._upright_size, min(FRAME_ANALYSIS.flow_long_side_px, max(use.long_side for _, use in detectors))
        )
        self._to_flow = np.tile(np.array(self._flow_size) / np.array(self._upright_size), 2)
        # Running the same detector twice at the same size adds nothing.
        self._detectors = list(
            {
                (use.detector, compute_detector_size(self._upright_size, use.long_side)): (detector, use)
                for detector, use in detectors
            }.items()
        )
        self._stride = stride
        self._describe_every = stride * max(1, round(FRAME_ANALYSIS.describe_every_s * frame_rate / stride))
        self._tracker = Tracker(frame_rate, strong_confidence, partial(_compute_flow, self._to_flow), stride)
        self._scorer = FaceScorer(score_faces, frame_rate) if score_faces is not None else None
        looking, use = min(
            (both for _, both in self._detectors), key=lambda both: (both[1].each_look, -both[1].long_side)
        )
        self._turned: TurnedSearch | None = None
        if detect_turned is not None:
            self._turned = TurnedSearch(detect_turned, frame_rate, use.detector, score_faces)
        self._enlarged: EnlargedSearch | None = None
        if seeks_enlarged and score_faces is not None:
            self._enlarged = EnlargedSearch(looking.detect, score_faces, frame_rate)
        self._turns: list[int] = []
        """The rotations, in degrees, in which the detectors see the newest frame besides the upright one."""
        self._cuts = CutDetector(frame_rate)
        self._averager = Averager()
        self._frame: _PreparedFrame | None = None

    def run(self, frames: Iterable[tuple[int, NDArray[np.uint8]]]) -> Iterator[FrameRecord]:
        """The records of consecutive frames, in order."""
        for source_frame, picture in frames:
            for record in self._step(source_frame, picture):
                yield _turn_record_back(record, self._upright_turn, self._stored_size)
        for record in self._tracker.finish():
            yield _turn_record_back(record, self._upright_turn, self._stored_size)

    def _step(self, source_frame: int, picture: NDArray[np.uint8]) -> list[FrameRecord]:
        """Process the next frame and return the records that are now complete."""
        is_first = self._frame is None
        # When a film repeats a picture, its source yields the same array again.
        is_new = self._frame is None or picture is not self._frame.picture
        if self._frame is None or is_new:
            self._frame = _PreparedFrame(picture, self._upright_turn, self._flow_size, self._upright_size)
        frame = self._frame
        is_cut, is_mixed = self._cuts.add_frame(frame.thumbnail)
        if is_cut or frame.stretch is None:
            self._averager.clear()
        if is_new and frame.stretch is not None:
            self._averager.take(frame.upright)
        self._turns = self._turned.list_turns(source_frame) if self._turned is not None else []
        fused = self._detect_when_due(frame, source_frame, is_first or is_cut)
        is_look = is_first or is_cut or (self._turned is not None and self._turned.is_due(source_frame, self._stride))
        if self._turned is not None and fused is not None and is_look:
            fused = self._look_turned(frame, source_frame, self._turned)
        if self._enlarged is not None and fused is not None:
            fused = self._search_enlarged(frame, source_frame, self._enlarged, fused, is_new_shot=is_first or is_cut)
        if fused and source_frame % self._describe_every == 0:
            for detection in fused:
                detection.appearance = describe_appearance(frame.small, detection.box * self._to_flow)
        records = self._tracker.step(source_frame, fused, frame.grey, is_cut, is_mixed, self._detect_around)
        self._tracker.newest.is_detected_frame = len(frame.detections) == len(self._detectors)
        if self._scorer is not None:
            seen = frame.get_largest()
            scale = np.array(seen.shape[1::-1]) / np.array(self._upright_size)
            self._scorer.score(self._tracker.newest, seen, scale)
        return records

    def _detect_when_due(
        self, frame: _PreparedFrame, source_frame: int, is_new_shot: bool
    ) -> list[FusedDetection] | None:
        """The detections of a frame on which detectors run; None if its faces are only tracked."""
        if is_new_shot:
            return self._detect(frame, 0)
        if source_frame % self._stride == 0:
            # Counted from the film's first frame, so that two processes decide alike about the frames they share.
            return self._detect(frame, source_frame // self._stride)
        if frame.detections:
            return self._detect(frame, 1)
        return None

    def _detect_around(self, places: Sequence[Array]) -> Iterator[list[FusedDetection]]:
        """Detections around these boxes: first from the detectors that run most often, then from all."""
        assert self._frame is not None
        yield self._detect(self._frame, 1, places)
        yield self._detect(self._frame, 0, places)

    def _detect(self, frame: _PreparedFrame, number: int, places: Sequence[Array] = ()) -> list[FusedDetection]:
        """Run the detectors that are due at the detection pass of that number (0: all), each once per picture.

        With `places` (boxes) they search only around these, if that takes less time.
        """
        if frame.stretch is not None and not frame.bright:
            frame.bright[max(frame.scaled)] = brighten(self._averager.average(), frame.stretch)
        for i, ((_, size), (detector, use)) in enumerate(self._detectors):
            if i in frame.detections or i in frame.near or number % use.each_look:
                continue
            shown, scale = frame.at_size(size), np.array(size) / np.array(self._upright_size)
            windows = choose_windows([place * np.tile(scale, 2) for place in places], size)
            if windows:
                # The detector takes a window's edge for the picture's.
                found = [
                    one
                    for one in detect_in_windows(detector.detect, shown, windows)
                    if one.confidence >= use.threshold or touches_edge(one.box, size)
                ]
            else:
                found = detector.detect(shown)
            (frame.near if windows else frame.detections)[i] = _scale_detections(found, *(1 / scale).tolist())
            if self._turns and i not in frame.turned:
                self._detect_turned(frame, i, self._turns)
        return frame.fuse()

    def _look_turned(self, frame: _PreparedFrame, source_frame: int, turned: TurnedSearch) -> list[FusedDetection]:
        """Look for turned faces in a frame that the detectors have seen, and let them search it where there are some.

        Returns all detections.
        """
        long_side = turned.choose_long_side(source_frame, self._stride)
        small = compute_detector_size(self._upright_size, long_side)
        seen = frame.get_largest()
        scale = np.array(seen.shape[1::-1]) / np.array(self._upright_size)
        upright = [one for found in frame.detections.values() for one in found]
        turned.look(source_frame, frame.at_size(small), seen, _scale_detections(upright, *scale.tolist()))
        new = [turn for turn in turned.list_turns(source_frame) if turn not in self._turns]
        for i in frame.detections if new else ():
            self._detect_turned(frame, i, new)
        return frame.fuse()

    def _search_enlarged(
        self,
        frame: _PreparedFrame,
        source_frame: int,
        enlarged: EnlargedSearch,
        fused: list[FusedDetection],
        *,
        is_new_shot: bool,
    ) -> list[FusedDetection]:
        """Search an enlarged frame that the detectors have seen as it is, if that is due. `fused` is what they found;
        returns all detections."""
        if is_new_shot:
            enlarged.forget()
        is_look = is_new_shot or enlarged.is_due(source_frame, self._stride)
        if not is_look and not enlarged.is_following(source_frame):
            return fused
        seen = frame.get_largest()
        scale = np.array(seen.shape[1::-1]) / np.array(self._upright_size)
        known = [(one.box * np.tile(scale, 2), one.confidence) for one in fused]
        found = enlarged.search(source_frame, seen, known, is_look=is_look)
        if not found:
            return fused
        frame.enlarged = _scale_detections(found, *(1 / scale).tolist())
        return frame.fuse()

    def _detect_turned(self, frame: _PreparedFrame, number: int, turns: Sequence[int]) -> None:
        """Let the detector of that number search the frame in these rotations."""
        assert self._turned is not None
        (_, size), (_, use) = self._detectors[number]
        found = self._turned.detect_turned(use.detector, frame.at_size(size), turns)
        sure = [one for one in found if one.confidence >= TURNED.least_confidence]
        back = np.array(self._upright_size) / np.array(size)
        frame.turned.setdefault(number, []).extend(_scale_detections(sure, *back.tolist()))


def _compute_flow(
    to_flow: Array, before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: list[Array]
) -> list[Array | None]:
    """Where `boxes` of the frame `before` are in `after`; `to_flow` scales them to the size of these pictures.

    As a method it would make a cycle of the analyser and its tracker, whose pictures would stay until Python next
    looks for cycles. In the process that analyses one picture after another, that scattered its memory.
    """
    flowed = track_boxes(before, after, [box * to_flow for box in boxes])
    return [None if box is None else box / to_flow for box in flowed]


class _PreparedFrame:
    """A picture, upright and in the sizes requested so far, with its detections.

    `detections` holds, by the number of the detector, the results for the whole picture, `near` those for parts of it,
    `turned` those for the whole picture in other rotations, and `enlarged` what only a larger picture shows. `stretch`
    holds the new levels of a picture that is too dark, and `bright` that picture brightened.
    """

    def __init__(
        self, picture: NDArray[np.uint8], upright_turn: int, flow_size: tuple[int, int], size: tuple[int, int]
    ) -> None:
        """Detections are in pixels of a picture of `size`."""
        import cv2

        self._size = size

        turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}.get(upright_turn)
        self.picture = picture
        self.upright = picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)
        self.scaled = {(self.upright.shape[1], self.upright.shape[0]): self.upright}
        self.bright: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self.detections: dict[int, list[Detection]] = {}
        self.near: dict[int, list[Detection]] = {}
        self.turned: dict[int, list[Detection]] = {}
        self.enlarged: list[Detection] = []
        self.small = _scale_to(self.scaled, flow_size)
        # In two steps: OpenCV reduces to a quarter quickly.
        quarter = max(flow_size[0] // 4, THUMBNAIL[0]), max(flow_size[1] // 4, THUMBNAIL[1])
        self.thumbnail = _reduce(_reduce(self.small, quarter), THUMBNAIL)
        self.stretch = compute_stretch(self.thumbnail)
        seen = self.small if self.stretch is None else brighten(self.small, self.stretch)
        self.grey = np.asarray(cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY), np.uint8)

    def fuse(self) -> list[FusedDetection]:
        """What all detectors have found so far."""
        kinds = (self.detections, self.near, self.turned)
        found = [one for kind in kinds for seen in kind.values() for one in seen]
        fused = fuse_detections([*found, *self.enlarged])
        for one in fused:
            x1, y1, x2, y2 = one.box.tolist()
            one.is_at_edge = touches_edge((x1, y1, x2, y2), self._size)
        return fused

    def get_largest(self) -> NDArray[np.uint8]:
        """The picture in the size in which it came, brightened if it is too dark."""
        return self.at_size((self.upright.shape[1], self.upright.shape[0]))

    def at_size(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The picture at a size, brightened if it is too dark."""
        return _scale_to(self.bright or self.scaled, size)


def _scale_to(scaled: dict[tuple[int, int], NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture at `size`, made from the smallest version that is large enough, and kept with the others."""
    if size not in scaled:
        # The time that scaling takes depends on the pixels that it reads.
        nearest = min((s for s in scaled if s[0] >= size[0]), default=max(scaled))
        scaled[size] = _reduce(scaled[nearest], size)
    return scaled[size]


def _reduce(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    # At ratios below two, linear sampling still reads every pixel, in a sixth of the time that INTER_AREA takes.
    smooth = picture.shape[1] < 2 * size[0] and picture.shape[0] < 2 * size[1]
    reduced = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR if smooth else cv2.INTER_AREA)
    return np.asarray(reduced, np.uint8)


def _turn_record_back(record: FrameRecord, upright_turn: int, stored_size: tuple[int, int]) -> FrameRecord:
    """The record with its observations rotated back to the picture as it is stored."""
    if upright_turn:
        width, height = stored_size
        for observation in record.observations:
            x1, y1, x2, y2 = observation.box
            observation.box = np.array(
                {
                    90: (y1, height - x2, y2, height - x1),
                    180: (width - x2, height - y2, width - x1, height - y1),
                    270: (width - y2, x1, width - y1, x2),
                }[upright_turn]
            )
            observation.roll = None if observation.roll is None else observation.roll - math.radians(upright_turn)
    return record


def _scale_detections(detections: list[Detection], x: float, y: float) -> list[Detection]:
    scaled = []
    for d in detections:
        box = (d.box[0] * x, d.box[1] * y, d.box[2] * x, d.box[3] * y)
        marks = None if d.landmarks is None else tuple((px * x, py * y) for px, py in d.landmarks)
        scaled.append(replace(d, box=box, landmarks=marks))
    return scaled


def build_document(
    table: ObservationTable,
    source: SourceInfo,
    preset: Preset,
    margin: float,
    models: list[ModelUse],
    notes: list[str],
) -> TrackDocument:
    """Build a document from all records. This takes seconds for an hour of film and needs no pictures."""
    rate = float(source.frame_rate)
    window = max(3, round(FRAME_ANALYSIS.transition_s * rate))
    shots = build_shots(source.frame_count, drop_rapid_cuts(table.cuts, rate), sorted(table.mixing), window)
    linked = link_tracks(
        table,
        source.frame_count,
        (source.width, source.height),
        rate,
        preset.strong_confidence,
        preset.cover_uncertain,
        has_several_detectors=len({model.name for model in models}) > 1,
        shows_faces=preset.name != PLATES.name,
    )
    whole = (0.0, 0.0, float(source.width), float(source.height))
    gradual = [
        ReviewItem(
            max(0, shot.start - window),
            min(source.frame_count, shot.start + window),
            whole,
            0.0,
            ReviewReason.GRADUAL_TRANSITION,
        )
        for shot in shots
        if shot.gradual
    ]
    review_items = sorted(linked.review_items + gradual, key=lambda d: (d.start, d.stop))
    return TrackDocument(
        source, preset.name, margin, models, shots, linked.tracks, review_items, list(notes), linked.uncovered
    )
