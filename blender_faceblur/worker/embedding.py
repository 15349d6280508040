# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute embeddings of the faces of tracks, or of reference pictures, to tell people apart.

The embeddings are sent to the caller and never written to disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.detection.picture_sizes import fit_size
from ..core.document.tracks_file import read_document
from ..core.geometry import compute_size
from ..core.people.similarity import GOOD, RECOGNIZER, USABLE, compute_clarity, rate_crop
from ..core.types import Box, Detection, Ellipse, Evidence, FaceBlurError, Picture, Sample, Track, TrackKind
from ..detectors import get_detector
from ..files.paths import get_model_path
from ..recognition import get_recognizer
from ..recognition.base import Recognizer
from ..sources import FrameSource, open_source
from .opening import open_requested
from .protocol import EmbeddingsDone, EmbedRequest, Progress, ReferenceRequest, Stage, Started, TrackEmbedding, Warned
from .reporting import REPORTING


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """Which frames of a track are embedded, how its face is cut out, and which reference pictures are accepted."""

    every_s: float = 0.2
    """Seconds between two embeddings of a track. Raising it saves time and detects short appearances of another person
    less reliably. Origin: lowered from 1.0, like `LiveEmbeddingSettings.good_every_s`."""
    poor_every_s: float = 0.6
    """Seconds after a poor crop until the next one. Raising it saves time and leaves fewer crops to decide on. Origin:
    introduced when a track had five embeddings a second; how it was chosen is not recorded."""
    least_crops: int = 6
    """Least number of embeddings of a track, if it has that many frames. Raising it takes more time for short tracks.
    Origin not recorded."""
    long_side_px: int = 1920
    """Long side of the pictures that are read, in pixels; they are never enlarged. Raising it shows small faces of
    large films in more detail and takes time. Origin not recorded."""
    reference_sides_px: tuple[int, ...] = (960, 480, 240)
    """Long sides, in pixels, to which a reference picture is scaled in turn to detect its face: a face that fills its
    picture is only detected in a small one. Raising the first one detects smaller faces. Origin: the smaller ones were
    introduced for faces that fill their picture."""
    reference_rim_share: float = 0.2
    """Grey border around a reference picture, as a share of its long side, for the same reason. Raising it makes the
    face smaller in the detector's input. Origin not recorded."""
    reference_rim_level: int = 127
    """Level of that border, 0..255. Raising it makes it lighter. Origin: the middle of the range."""
    reference_confidence: float = 0.6
    """Confidence (0..1) above which a face in a reference picture counts. Raising it rejects more pictures. Origin not
    recorded."""
    reference_area_ratio: float = 2.0
    """How many times larger in area than any other the face of a reference picture must be. Raising it rejects more
    pictures with several faces. Origin not recorded."""
    face_width_px: int = 96
    """Width of the face in the crop that the landmark detector receives, in pixels. Raising it takes time; the detector
    works well at this size. Origin not recorded."""
    crop_ratio: float = 2.0
    """Side of that crop, in face widths. Raising it includes more background. Origin not recorded."""
    width_by_height_ratio: float = 0.8
    """Least width of a face as a share of its height. Raising it makes crops of narrow ellipses larger. Origin not
    recorded."""
    landmark_threshold: float = 0.3
    """Least confidence (0..1) of the landmark detector. Raising it embeds fewer faces. Origin not recorded."""
    landmark_middle_share: float = 0.5
    """How far from the middle of the crop the detected face may lie, in `face_width_px`. Raising it accepts a
    neighbour's face more often. Origin not recorded."""
    landmark_size_ratio: float = 2.0
    """How many times larger or smaller than expected the detected face may be. Raising it accepts other faces more
    often. Origin not recorded."""
    landmark_size_share: float = 1.1
    """Expected size of the detected box, in `face_width_px`: faces are higher than wide. Raising it expects larger
    boxes. Origin not recorded."""
    upright_roll_deg: float = 15
    """Roll, in degrees, up to which a crop is not rotated upright. Raising it saves time and gives the detector tilted
    faces. Origin not recorded."""
    detected_weight: float = 1.0
    """Weight of a detected frame in the choice of the best frame near a planned one. Raising it prefers such frames
    more. Origin not recorded."""
    locked_weight: float = 0.9
    """The same for a key that an editor locked. Raising it prefers such frames more. Origin not recorded."""
    tracked_weight: float = 0.7
    """The same for a frame tracked by optical flow. Raising it prefers such frames more. Origin not recorded."""
    interpolated_weight: float = 0.4
    """The same for an interpolated frame. Raising it prefers such frames more. Origin not recorded."""
    extrapolated_weight: float = 0.1
    """The same for an extrapolated frame. Raising it prefers such frames more. Origin not recorded."""
    confidence_base: float = 0.2
    """Added to a frame's confidence in that choice, so that differences between low confidences count less. Raising it
    makes confidence matter less. Origin not recorded."""
    full_semi_axis_px: float = 40.0
    """Horizontal semi-axis, in pixels of the source, above which size no longer matters in that choice. Raising it
    prefers larger faces up to a larger size. Origin not recorded."""
    read_over_frames: int = 150
    """Up to this many frames are read over instead of seeking: a seek has to decode from the previous key picture,
    which in most films is farther away. Raising it reads more in films with frequent key pictures. Origin not
    recorded."""
    detail_side_px: int = 50
    """Side, in pixels, to which the aligned face is scaled to measure sharpness: a third of its size. Raising it
    measures finer detail, including noise. Origin not recorded; `SimilaritySettings.full_detail` depends on it."""
    detail_rim_px: int = 5
    """Border of it that does not count, in pixels. Raising it excludes hair and background. Origin not recorded."""
    dark_contrast_levels: float = 4.0
    """Added to the contrast, in levels, by which the sharpness is divided, so that noise in dark faces does not count
    as sharpness. Raising it rates dark faces as less sharp. Origin not recorded."""


EMBEDDING = EmbeddingSettings()

_DETECTOR = "yunet_2023mar"
_STRAIGHT = math.radians(EMBEDDING.upright_roll_deg)
_SHARE = {
    Evidence.DETECTED: EMBEDDING.detected_weight,
    Evidence.LOCKED: EMBEDDING.locked_weight,
    Evidence.FLOW: EMBEDDING.tracked_weight,
    Evidence.INTERPOLATED: EMBEDDING.interpolated_weight,
    Evidence.EXTRAPOLATED: EMBEDDING.extrapolated_weight,
}

OnProgress = Callable[[Any], None]


def choose_crops(tracks: Iterable[Track], frame_rate: float) -> dict[int, list[tuple[str, Sample]]]:
    """The frames to embed, in order, with the tracks (by name) and their samples in each."""
    chosen: dict[int, list[tuple[str, Sample]]] = {}
    for track in tracks:
        step = max(1, min(round(EMBEDDING.every_s * frame_rate), len(track.samples) // EMBEDDING.least_crops))
        for run in _split_runs(track):
            for sample in _choose_samples(run, step):
                chosen.setdefault(sample.source_frame, []).append((track.name, sample))
    return dict(sorted(chosen.items()))


def _split_runs(track: Track) -> list[list[Sample]]:
    """The track's samples, split at its gaps."""
    runs: list[list[Sample]] = []
    for sample in track.samples:
        if runs and sample.source_frame == runs[-1][-1].source_frame + 1:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return runs


def _choose_samples(run: list[Sample], step: int) -> Iterator[Sample]:
    """Of consecutive samples, the best near every `step`th one, and one at the end."""
    slack = step // 4
    last, at = -1, 0
    while last < len(run) - 1 - slack:
        # The rest is shorter than a step, so it is the end of the run.
        at = min(at, len(run) - 1 - slack // 2)
        low = max(at - slack, last + 1)
        last = max(range(low, min(at + slack + 1, len(run))), key=lambda n: (_score(run[n]), -abs(n - at)))
        yield run[last]
        at = last + step


def _score(sample: Sample) -> float:
    sure, size = EMBEDDING.confidence_base + sample.confidence, min(sample.ellipse.rx, EMBEDDING.full_semi_axis_px)
    return _SHARE[sample.evidence] * sure * size


def embed_tracks(request: EmbedRequest, send: OnProgress) -> None:
    """Embed the faces of a tracks document and send the embeddings. Raises FaceBlurError."""
    began = time.process_time()
    reported = time.monotonic()
    document = read_document(Path(request.tracks))
    faces = [track for track in document.tracks if track.kind is TrackKind.FACE]
    looks = choose_crops(faces, float(document.source.frame_rate))
    views = done = 0
    with open_requested(request.source) as source:
        info = source.info
        if any(frame >= info.frame_count for frame in looks):
            raise FaceBlurError("The tracks were made from another film. Detect the faces of this film again.")
        total = sum(map(len, looks.values()))
        send(Started(total))
        if looks:
            eye = FaceEmbedder()
        size = fit_size((info.width, info.height), EMBEDDING.long_side_px)
        scale = size[0] / info.width
        rest = round(EMBEDDING.poor_every_s * float(info.frame_rate))
        resting: dict[str, int] = {}
        for frame, picture in _read_crops(source, list(looks), size):
            done += len(looks.get(frame, ()))
            for name, sample in looks.get(frame, ()):
                if frame < resting.get(name, 0):
                    continue
                found = eye.embed_face(picture, sample.ellipse, scale)
                if found is None or found[0] < GOOD:
                    resting[name] = frame + rest
                if found is not None:
                    quality, vector = found
                    views += 1
                    send(TrackEmbedding(name, frame, round(quality, 3), to_numbers(vector)))
            if time.monotonic() - reported > REPORTING.progress_every_s:
                reported = time.monotonic()
                send(Progress(Stage.RECOGNISE, done, total, 0.0))
    send(EmbeddingsDone(RECOGNIZER, views, time.process_time() - began))


def _read_crops(source: FrameSource, frames: list[int], size: tuple[int, int]) -> Iterator[tuple[int, Picture]]:
    """These frames (sorted) of a source, and the frames between two that are close together."""
    start = 0
    for at in range(1, len(frames) + 1):
        if at < len(frames) and frames[at] - frames[at - 1] <= EMBEDDING.read_over_frames:
            continue
        yield from source.read_frames(frames[start], frames[at - 1] + 1, size)
        start = at


def embed_pictures(request: ReferenceRequest, send: OnProgress) -> None:
    """Send an embedding of the face in each picture, and a warning for each picture that cannot be used."""
    began = time.process_time()
    send(Started(len(request.pictures)))
    eye = FaceEmbedder()
    views = 0
    for number, name in enumerate(request.pictures, 1):
        try:
            quality, vector = eye.embed_picture(Path(name))
        except FaceBlurError as error:
            send(Warned(str(error)))
            continue
        views += 1
        send(TrackEmbedding(name, 0, round(quality, 3), to_numbers(vector)))
        send(Progress(Stage.RECOGNISE, number, len(request.pictures), 0.0))
    send(EmbeddingsDone(RECOGNIZER, views, time.process_time() - began))


def to_numbers(vector: NDArray[np.float32]) -> list[float]:
    numbers: list[float] = np.round(vector.astype(float), 5).tolist()
    return numbers


class FaceEmbedder:
    """A detector that provides landmarks, and the recogniser."""

    def __init__(self) -> None:
        """Raises FaceBlurError if the weights are missing."""
        self._recognizer: Recognizer = get_recognizer(RECOGNIZER)(get_model_path(RECOGNIZER))
        self._detector = get_detector(_DETECTOR)(get_model_path(_DETECTOR), EMBEDDING.landmark_threshold, "cpu")

    def embed_face(
        self, picture: Picture, face: Ellipse, scale: float = 1.0
    ) -> tuple[float, NDArray[np.float32]] | None:
        """Quality and embedding of the face at an ellipse, or None; `scale` is picture pixels per ellipse pixel."""
        part, middle, factor = _cut_crop(picture, face, scale)
        if part is None:
            return None
        away = [
            (math.hypot((d.box[0] + d.box[2]) / 2 - middle[0], (d.box[1] + d.box[3]) / 2 - middle[1]), d)
            for d in self._detector.detect(part)
            if d.landmarks is not None
        ]
        width, most = EMBEDDING.face_width_px, EMBEDDING.landmark_size_ratio
        near = [
            (distance, d)
            for distance, d in away
            if distance < EMBEDDING.landmark_middle_share * width
            and 1 / most < compute_size(d.box) / (EMBEDDING.landmark_size_share * width) < most
        ]
        if not near:
            return None
        found = min(near, key=lambda pair: pair[0])[1]
        return self._embed_crop(part, found, (found.box[2] - found.box[0]) / factor)

    def embed_picture(self, path: Path) -> tuple[float, NDArray[np.float32]]:
        """Quality and embedding of the one face in a picture file. Raises FaceBlurError for no face, or for several."""
        import cv2

        with open_source(path) as source:
            if source.info.kind != "image":
                raise FaceBlurError(f"{path.name}: a reference must be a picture, not a film.")
            _, picture = next(iter(source.read_frames(0, 1)))
            turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}.get(
                source.upright_turn
            )
            upright = picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)
        # The detector needs a border to detect a face that fills its picture.
        rim, grey = round(EMBEDDING.reference_rim_share * max(upright.shape[:2])), EMBEDDING.reference_rim_level
        framed = cv2.copyMakeBorder(upright, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=(grey, grey, grey))
        upright = np.asarray(framed, np.uint8)
        faces: list[Box] = []
        for side in EMBEDDING.reference_sides_px:
            scale = side / max(upright.shape[:2])
            size = max(1, round(upright.shape[1] * scale)), max(1, round(upright.shape[0] * scale))
            seen = cv2.resize(upright, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            found_now = [
                d.box
                for d in self._detector.detect(np.asarray(seen, np.uint8))
                if d.confidence > EMBEDDING.reference_confidence
            ]
            faces = sorted(
                ((x1 / scale, y1 / scale, x2 / scale, y2 / scale) for x1, y1, x2, y2 in found_now),
                key=lambda box: -compute_size(box),
            )
            if faces:
                break
        if not faces:
            raise FaceBlurError(f"{path.name}: no face was detected in this reference. Choose another picture.")
        if (
            len(faces) > 1
            and compute_size(faces[0]) ** 2 < EMBEDDING.reference_area_ratio * compute_size(faces[1]) ** 2
        ):
            raise FaceBlurError(f"{path.name}: it shows several faces. Crop it to one face to use it as a reference.")
        found = self.embed_face(upright, Ellipse.inscribed(faces[0]))
        if found is None or found[0] < USABLE:
            raise FaceBlurError(
                f"{path.name}: its face is too small, blurred or turned away for a reference. Choose another picture."
            )
        return found

    def _embed_crop(self, part: Picture, found: Detection, side_px: float) -> tuple[float, NDArray[np.float32]] | None:
        assert found.landmarks is not None
        try:
            aligned = self._recognizer.align(part, found.landmarks)
        except ValueError:
            return None
        quality = rate_crop(found.landmarks, side_px, found.confidence, compute_detail(aligned))
        if quality <= 0:
            return None
        vector = self._recognizer.embed(aligned)
        return quality * compute_clarity(vector), vector


def _cut_crop(picture: Picture, face: Ellipse, scale: float) -> tuple[Picture | None, tuple[float, float], float]:
    """The upright crop around a face at the detector's preferred size, the face's middle in it, and its scale.

    The scale is pixels of the crop per pixel of the source.
    """
    import cv2

    height, width = picture.shape[:2]
    half_width = max(face.rx, EMBEDDING.width_by_height_ratio * face.ry)
    half = EMBEDDING.crop_ratio * half_width * scale
    cx, cy = face.cx * scale, face.cy * scale
    x1, y1 = max(0, math.floor(cx - half)), max(0, math.floor(cy - half))
    x2, y2 = min(width, math.ceil(cx + half)), min(height, math.ceil(cy + half))
    if x2 - x1 < 8 or y2 - y1 < 8:
        return None, (0.0, 0.0), 1.0
    factor = EMBEDDING.face_width_px / (2 * half_width * scale)
    size = max(1, round((x2 - x1) * factor)), max(1, round((y2 - y1) * factor))
    part = cv2.resize(picture[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    middle = (cx - x1) * factor, (cy - y1) * factor
    if abs(math.remainder(face.angle, 2 * math.pi)) > _STRAIGHT:
        turn = cv2.getRotationMatrix2D(middle, math.degrees(face.angle), 1.0)
        part = cv2.warpAffine(part, turn, size, flags=cv2.INTER_LINEAR)
    return np.asarray(part, np.uint8), middle, factor * scale


def compute_detail(aligned: Picture) -> float:
    """Sharpness of an aligned face: its second differences divided by its contrast, at a third of its size.

    Sharp faces 32 pixels wide have 0.45 or more, those blurred by a twentieth of their width 0.2 (80 portraits).
    """
    import cv2

    side, rim = EMBEDDING.detail_side_px, EMBEDDING.detail_rim_px
    grey = cv2.cvtColor(cv2.resize(aligned, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    inner = grey[rim:-rim, rim:-rim].astype(np.float32)
    return float(cv2.Laplacian(inner, cv2.CV_32F).std() / (inner.std() + EMBEDDING.dark_contrast_levels))
