# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the faces of tracks, or of reference pictures, so that people can be told apart.

What is found is told and never written anywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.analysis import fit_size
from ..core.document import read_document
from ..core.geometry import size_of
from ..core.likeness import GOOD, RECOGNIZER, USABLE, find_clarity, rate_view
from ..core.types import Box, Detection, Ellipse, Evidence, FaceBlurError, Sample, Track
from ..detectors import find_detector
from ..paths import find_model
from ..recognition import Recognizer, find_recognizer
from ..sources import FrameSource, open_source
from .opening import open_requested
from .protocol import Embedded, EmbedRequest, FaceView, Progress, ReferenceRequest, Started, Warned

Picture = NDArray[np.uint8]

EVERY_S, LEAST_LOOKS, _POOR_S = 0.2, 6, 0.6
"""A track is looked at so often, at least so many times where it has the frames, and seldomer where it is seen poorly.
"""

_LONG_SIDE, _PICTURE_SIDES = 1920, (960, 480, 240)
_RIM, _SURE = 0.2, 0.6
_FACE_PX, _ROOM = 96, 2.0
"""In the part that the landmarks' detector sees: the face's width, and the part's by the face's."""

_DETECTOR, _THRESHOLD = "yunet_2023mar", 0.3
_STRAIGHT = math.radians(15)
_SHARE = {Evidence.DETECTED: 1.0, Evidence.LOCKED: 0.9, Evidence.FLOW: 0.7, Evidence.INTERPOLATED: 0.4,
          Evidence.HELD: 0.1}
_READ_OVER = 150
"""Frames. To jump takes reading from a key picture before, which in most films lies farther away."""
_OUTSTANDING = 2.0
"""How many times larger than any other the face of a reference picture must be."""

_DETAIL_PX, _RIM_PX, _DARK = 50, 5, 4.0
_TELL_S = 0.3

Tell = Callable[[Any], None]


def choose_looks(tracks: Iterable[Track], frame_rate: float) -> dict[int, list[tuple[str, Sample]]]:
    """The frames to look at, in order, and which tracks in each."""
    chosen: dict[int, list[tuple[str, Sample]]] = {}
    for track in tracks:
        step = max(1, min(round(EVERY_S * frame_rate), len(track.samples) // LEAST_LOOKS))
        for run in _split_runs(track):
            for sample in _choose_samples(run, step):
                chosen.setdefault(sample.source_frame, []).append((track.name, sample))
    return dict(sorted(chosen.items()))


def _split_runs(track: Track) -> list[list[Sample]]:
    """The track's samples between its gaps."""
    runs: list[list[Sample]] = []
    for sample in track.samples:
        if runs and sample.source_frame == runs[-1][-1].source_frame + 1:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return runs


def _choose_samples(run: list[Sample], step: int) -> Iterator[Sample]:
    """Of samples that follow each other every `step`th or a better one next to it, and one at the end."""
    slack = step // 4
    last, at = -1, 0
    while last < len(run) - 1 - slack:
        # The rest is shorter than a step: its end.
        at = min(at, len(run) - 1 - slack // 2)
        low = max(at - slack, last + 1)
        last = max(range(low, min(at + slack + 1, len(run))), key=lambda n: (_score(run[n]), -abs(n - at)))
        yield run[last]
        at = last + step


def _score(sample: Sample) -> float:
    return _SHARE[sample.evidence] * (0.2 + sample.confidence) * min(sample.ellipse.rx, 40.0)


def embed_tracks(request: EmbedRequest, tell: Tell) -> None:
    """Do what the request asks and tell it. Raises FaceBlurError."""
    began = time.process_time()
    told = time.monotonic()
    document = read_document(Path(request.tracks))
    faces = [track for track in document.tracks if track.kind == "face"]
    looks = choose_looks(faces, float(document.source.frame_rate))
    views = done = 0
    with open_requested(request, request.fingerprint) as source:
        info = source.info
        if any(frame >= info.frame_count for frame in looks):
            raise FaceBlurError("The tracks do not belong to this film.")
        total = sum(map(len, looks.values()))
        tell(Started(total))
        if looks:
            eye = Eye()
        size = fit_size((info.width, info.height), _LONG_SIDE)
        scale = size[0] / info.width
        rest = round(_POOR_S * float(info.frame_rate))
        resting: dict[str, int] = {}
        for frame, picture in _read(source, list(looks), size):
            done += len(looks.get(frame, ()))
            for name, sample in looks.get(frame, ()):
                if frame < resting.get(name, 0):
                    continue
                found = eye.look(picture, sample.ellipse, scale)
                if found is None or found[0] < GOOD:
                    resting[name] = frame + rest
                if found is not None:
                    quality, vector = found
                    views += 1
                    tell(FaceView(name, frame, round(quality, 3), to_numbers(vector)))
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                tell(Progress("recognise", done, total, 0.0))
    tell(Embedded(RECOGNIZER, views, time.process_time() - began))


def _read(source: FrameSource, frames: list[int], size: tuple[int, int]) -> Iterator[tuple[int, Picture]]:
    """These frames (sorted) of a source, and what lies between two that are close."""
    start = 0
    for at in range(1, len(frames) + 1):
        if at < len(frames) and frames[at] - frames[at - 1] <= _READ_OVER:
            continue
        yield from source.frames(frames[start], frames[at - 1] + 1, size)
        start = at


def embed_pictures(request: ReferenceRequest, tell: Tell) -> None:
    """Tell a look at the face in each picture, and which pictures cannot be used and why."""
    began = time.process_time()
    tell(Started(len(request.pictures)))
    eye = Eye()
    views = 0
    for number, name in enumerate(request.pictures, 1):
        try:
            quality, vector = eye.look_at_picture(Path(name))
        except FaceBlurError as error:
            tell(Warned(str(error)))
            continue
        views += 1
        tell(FaceView(name, 0, round(quality, 3), to_numbers(vector)))
        tell(Progress("recognise", number, len(request.pictures), 0.0))
    tell(Embedded(RECOGNIZER, views, time.process_time() - began))


def to_numbers(vector: NDArray[np.float32]) -> list[float]:
    return np.round(vector.astype(float), 5).tolist()


class Eye:
    """A detector that gives landmarks, and the recogniser."""

    def __init__(self) -> None:
        """Raises FaceBlurError where the weights are not there."""
        self._recognizer: Recognizer = find_recognizer(RECOGNIZER)(find_model(RECOGNIZER))
        self._detector = find_detector(_DETECTOR)(find_model(_DETECTOR), _THRESHOLD, "cpu")

    def look(self, picture: Picture, face: Ellipse, scale: float = 1.0) -> tuple[float, NDArray[np.float32]] | None:
        """Quality and vector of the face at an ellipse, whose pixels are `scale` of the picture's; None for no face."""
        part, middle, factor = _cut(picture, face, scale)
        if part is None:
            return None
        away = [(math.hypot((d.box[0] + d.box[2]) / 2 - middle[0], (d.box[1] + d.box[3]) / 2 - middle[1]), d)
                for d in self._detector.detect(part) if d.landmarks is not None]
        near = [(distance, d) for distance, d in away
                if distance < 0.5 * _FACE_PX and 0.5 < size_of(d.box) / (1.1 * _FACE_PX) < 2]
        if not near:
            return None
        found = min(near, key=lambda pair: pair[0])[1]
        return self._embed(part, found, (found.box[2] - found.box[0]) / factor)

    def look_at_picture(self, path: Path) -> tuple[float, NDArray[np.float32]]:
        """Quality and vector of the one face in a picture file. FaceBlurError where there is none, or several."""
        import cv2

        with open_source(path) as source:
            if source.info.kind != "image":
                raise FaceBlurError(f"{path.name}: a reference must be a picture.")
            _, picture = next(iter(source.frames(0, 1)))
            turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180,
                    270: cv2.ROTATE_90_COUNTERCLOCKWISE}.get(source.upright_turn)
            upright = picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)
        # A face that fills its picture is only found with something around it.
        rim = round(_RIM * max(upright.shape[:2]))
        framed = cv2.copyMakeBorder(upright, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=(127, 127, 127))
        upright = np.asarray(framed, np.uint8)
        faces: list[Box] = []
        for side in _PICTURE_SIDES:
            scale = side / max(upright.shape[:2])
            size = max(1, round(upright.shape[1] * scale)), max(1, round(upright.shape[0] * scale))
            seen = cv2.resize(upright, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            found_now = [d.box for d in self._detector.detect(np.asarray(seen, np.uint8)) if d.confidence > _SURE]
            faces = sorted(((x1 / scale, y1 / scale, x2 / scale, y2 / scale) for x1, y1, x2, y2 in found_now),
                           key=lambda box: -size_of(box))
            if faces:
                break
        if not faces:
            raise FaceBlurError(f"{path.name}: no face was found in it; it is not used as a reference.")
        if len(faces) > 1 and size_of(faces[0]) ** 2 < _OUTSTANDING * size_of(faces[1]) ** 2:
            raise FaceBlurError(f"{path.name}: it shows several faces; cut it to one to use it as a reference.")
        found = self.look(upright, Ellipse.inscribed(faces[0]))
        if found is None or found[0] < USABLE:
            raise FaceBlurError(f"{path.name}: its face is too small, blurred or turned away for a reference.")
        return found

    def _embed(self, part: Picture, found: Detection, side_px: float) -> tuple[float, NDArray[np.float32]] | None:
        assert found.landmarks is not None
        try:
            aligned = self._recognizer.align(part, found.landmarks)
        except ValueError:
            return None
        quality = rate_view(found.landmarks, side_px, found.confidence, find_detail(aligned))
        if quality <= 0:
            return None
        vector = self._recognizer.embed(aligned)
        return quality * find_clarity(vector), vector


def _cut(picture: Picture, face: Ellipse, scale: float) -> tuple[Picture | None, tuple[float, float], float]:
    """The part around a face, upright and as large as the detector likes it; where its middle is in it; its scale.

    The last is pixels of the part by pixels of the source.
    """
    import cv2

    height, width = picture.shape[:2]
    half = _ROOM * max(face.rx, 0.8 * face.ry) * scale
    cx, cy = face.cx * scale, face.cy * scale
    x1, y1 = max(0, math.floor(cx - half)), max(0, math.floor(cy - half))
    x2, y2 = min(width, math.ceil(cx + half)), min(height, math.ceil(cy + half))
    if x2 - x1 < 8 or y2 - y1 < 8:
        return None, (0.0, 0.0), 1.0
    factor = _FACE_PX / (2 * max(face.rx, 0.8 * face.ry) * scale)
    size = max(1, round((x2 - x1) * factor)), max(1, round((y2 - y1) * factor))
    part = cv2.resize(picture[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    middle = (cx - x1) * factor, (cy - y1) * factor
    if abs(math.remainder(face.angle, 2 * math.pi)) > _STRAIGHT:
        turn = cv2.getRotationMatrix2D(middle, math.degrees(face.angle), 1.0)
        part = cv2.warpAffine(part, turn, size, flags=cv2.INTER_LINEAR)
    return np.asarray(part, np.uint8), middle, factor * scale


def find_detail(aligned: Picture) -> float:
    """How sharp an aligned face is: its second differences by its contrast, at a third of its size.

    Sharp faces 32 pixels wide have 0.45 and more, those blurred by a twentieth of their width 0.2 (80 portraits).
    """
    import cv2

    grey = cv2.cvtColor(cv2.resize(aligned, (_DETAIL_PX, _DETAIL_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    inner = grey[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX].astype(np.float32)
    return float(cv2.Laplacian(inner, cv2.CV_32F).std() / (inner.std() + _DARK))
