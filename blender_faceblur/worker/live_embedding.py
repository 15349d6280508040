# SPDX-License-Identifier: GPL-3.0-or-later
"""Embed faces while a film is analysed, when its pictures are decoded and the detectors' landmarks are known.

Decoding the film a second time only to recognise people would cost a large part of the analysis time again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..core.detection.settings import DetectorUse
from ..core.geometry import compute_centre, compute_size
from ..core.people.similarity import GOOD, USABLE, compute_clarity, rate_crop
from ..core.tracking.analysis import Detector
from ..core.types import Box, Detection, Picture
from ..detectors import get_detector
from ..recognition.base import Recognizer
from .embedding import compute_detail, to_numbers
from .protocol import BoxEmbedding


@dataclass(frozen=True, slots=True)
class LiveEmbeddingSettings:
    """Which faces are embedded while their film is analysed, and how often."""

    good_every_s: float = 0.2
    """Seconds between two embeddings of a clearly visible face: another person may take its place at any time. Raising
    it saves time and detects short appearances less reliably. Origin: with one embedding a second, plus one where the
    picture changed, 1 of 120 appearances of 0.6 s was shown; with this value none was (docs/people.md)."""
    poor_every_s: float = 1.0
    """Seconds between two embeddings of a poorly visible face, which cannot show that it is another person's. Raising
    it saves time and leaves fewer crops to decide on. Origin: lowered from 1.2 when people were first measured on the
    annotated clips; how it was chosen is not recorded."""
    batch_faces: int = 8
    """Crops per recogniser batch. Raising it delays the embeddings and takes memory. Origin: a batch of 8 takes a fifth
    less time than single crops."""
    least_confidence: float = 0.4
    """Confidence (0..1) from which a detection is embedded. Raising it saves time and embeds fewer low-confidence
    faces. Origin not recorded."""
    better_ratio: float = 1.1
    """How many times better than the best crop so far the estimate of a new one must be for it to be cut out. Raising
    it saves time and keeps worse crops. Origin: introduced to save time; how it was chosen is not recorded."""
    sharper_ratio: float = 1.2
    """How many times sharper than the sharpest crop so far that estimate assumes the new one to be, since sharpness is
    only known after cutting. Raising it cuts out more crops. Origin not recorded."""
    lost_s: float = 0.5
    """Seconds without a detection after which a face is finished. Raising it bridges longer gaps, and joins different
    people more often. Origin not recorded."""
    same_face_sizes: float = 0.7
    """How far from a face, in face sizes, a detection may lie to count as the same face. Raising it joins faster faces,
    and different people more often. Origin not recorded."""
    same_face_size_ratio: float = 1.6
    """How many times larger or smaller it may be. Raising it has the same effect. Origin not recorded."""


LIVE_EMBEDDING = LiveEmbeddingSettings()


@dataclass(slots=True)
class _FaceInProgress:
    """One face over several detections, with the best crop since its last embedding."""

    last_frame: int
    box: Box
    reported_at: int
    best: BoxEmbedding | None = None
    quality: float = 0.0
    detail: float = math.inf
    """Sharpness of the sharpest crop since the last embedding; infinite until one was cut out."""
    aligned: Picture | None = field(default=None, repr=False)


class LiveEmbedder:
    """Stands between the source, the detectors and the analysis, and sends embeddings as they are computed."""

    def __init__(
        self,
        frame_size: tuple[int, int],
        frame_rate: float,
        recognizer: Recognizer,
        send: Callable[[BoxEmbedding], None],
    ) -> None:
        """Boxes are sent in pixels of `frame_size`."""
        self._recognizer = recognizer
        self._size, self._rate, self._send = frame_size, frame_rate, send
        self._frame = 0
        self._faces: list[_FaceInProgress] = []
        self._waiting: list[tuple[BoxEmbedding, Picture]] = []

    def pass_frames(self, frames: Iterable[tuple[int, Picture]]) -> Iterator[tuple[int, Picture]]:
        """Pass on the same pictures and note their frame numbers."""
        for self._frame, picture in frames:
            yield self._frame, picture
        for face in self._faces:
            self._take_best(face)
        self._faces.clear()
        self._send_waiting()

    def observe(self, detectors: Sequence[tuple[Detector, DetectorUse]]) -> list[tuple[Detector, DetectorUse]]:
        """The same detectors; the most frequent one with landmarks (then the largest) also feeds the embedder."""
        able = [use for _, use in detectors if get_detector(use.detector).gives_landmarks]
        chosen = min(able, key=lambda use: (use.each_look, -use.long_side), default=None)
        return [
            (_ObservedDetector(detector, self._receive) if use is chosen else detector, use)
            for detector, use in detectors
        ]

    def _receive(self, picture: Picture, found: list[Detection]) -> None:
        height, width = picture.shape[:2]
        x, y = self._size[0] / width, self._size[1] / height
        self._faces = [face for face in self._faces if self._is_there(face)]
        taken: set[int] = set()
        for d in found:
            if d.landmarks is None or d.confidence < LIVE_EMBEDDING.least_confidence:
                continue
            box = (d.box[0] * x, d.box[1] * y, d.box[2] * x, d.box[3] * y)
            face = self._match_face(box, taken)
            taken.add(id(face))
            face.last_frame, face.box = self._frame, box
            self._consider(face, picture, d, x)
            # A poor crop cannot show that the face is another person's, so wait for a better one.
            every_s = LIVE_EMBEDDING.good_every_s if face.quality >= GOOD else LIVE_EMBEDDING.poor_every_s
            if self._frame - face.reported_at >= every_s * self._rate:
                self._take_best(face)

    def _is_there(self, face: _FaceInProgress) -> bool:
        if self._frame - face.last_frame <= LIVE_EMBEDDING.lost_s * self._rate:
            return True
        self._take_best(face)
        return False

    def _match_face(self, box: Box, taken: set[int]) -> _FaceInProgress:
        centre, size = compute_centre(box), compute_size(box)
        best: tuple[float, _FaceInProgress] | None = None
        for face in self._faces:
            other, ratio = compute_centre(face.box), compute_size(face.box) / size
            away = math.dist(centre, other) / size
            most = LIVE_EMBEDDING.same_face_size_ratio
            if (
                id(face) not in taken
                and away < LIVE_EMBEDDING.same_face_sizes
                and 1 / most < ratio < most
                and (best is None or away < best[0])
            ):
                best = away, face
        if best is not None:
            return best[1]
        face = _FaceInProgress(self._frame, box, self._frame)
        self._faces.append(face)
        return face

    def _consider(self, face: _FaceInProgress, picture: Picture, found: Detection, scale: float) -> None:
        assert found.landmarks is not None
        side = (found.box[2] - found.box[0]) * scale
        # Sharpness is only known after cutting, which takes longer than all other steps.
        hoped = rate_crop(found.landmarks, side, found.confidence, LIVE_EMBEDDING.sharper_ratio * face.detail)
        if hoped <= max(LIVE_EMBEDDING.better_ratio * face.quality, USABLE):
            return
        try:
            aligned = self._recognizer.align(picture, found.landmarks)
        except ValueError:
            return
        detail = compute_detail(aligned)
        face.detail = detail if face.detail == math.inf else max(face.detail, detail)
        quality = rate_crop(found.landmarks, side, found.confidence, detail)
        if quality > max(face.quality, USABLE):
            face.quality, face.aligned = quality, aligned
            face.best = BoxEmbedding(self._frame, [round(v, 1) for v in face.box], round(quality, 3), [])

    def _take_best(self, face: _FaceInProgress) -> None:
        """Use the best crop since the last embedding, if there is one."""
        if face.best is not None and face.aligned is not None:
            self._waiting.append((face.best, face.aligned))
        face.reported_at, face.best, face.quality, face.aligned, face.detail = self._frame, None, 0.0, None, math.inf
        if len(self._waiting) >= LIVE_EMBEDDING.batch_faces:
            self._send_waiting()

    def _send_waiting(self) -> None:
        if not self._waiting:
            return
        vectors = self._recognizer.embed_many([aligned for _, aligned in self._waiting])
        for (look, _), vector in zip(self._waiting, vectors, strict=True):
            quality = round(look.quality * compute_clarity(vector), 3)
            self._send(BoxEmbedding(look.frame, look.box, quality, to_numbers(vector)))
        self._waiting.clear()


class _ObservedDetector:
    """A detector whose detections are also passed to a callback."""

    def __init__(self, detector: Detector, see: Callable[[Picture, list[Detection]], None]) -> None:
        self._detector, self._see = detector, see

    def detect(self, image_bgr: Picture) -> list[Detection]:
        found = self._detector.detect(image_bgr)
        self._see(image_bgr, found)
        return found
