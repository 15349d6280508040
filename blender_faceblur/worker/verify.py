# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a finished film: decode it beside its source, compare every expected face, and look for unexpected ones."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.analysis import detector_size
from ..core.document import read_document
from ..core.geometry import Array, overlaps
from ..core.merging import merge_detections
from ..core.obscuring import Picture, draw_face, draw_place
from ..core.review import find_clearest, list_doubts
from ..core.settings import DetectorUse, choose_detectors, find_preset
from ..core.types import Box, Detection, Ellipse, FaceBlurError, ModelUse, SourceInfo, TrackDocument
from ..core.verifying import (
    Find,
    Judge,
    Place,
    Shown,
    StepWatch,
    Verification,
    find_block_px,
    find_kept,
    fit_matrix,
    is_on,
    list_kept,
    list_places,
    measure_shown,
    to_json,
)
from ..delivery.picture import verify_picture
from ..delivery.traces import find_carried, find_picture_traces, find_traces
from ..delivery.verify import Expected, read_sound, verify_film
from ..detectors import find_detector
from ..detectors.looks import ManyLooks, combine_looks
from ..paths import find_model, list_models
from ..sources import FrameSource, open_source
from .ensemble import list_usable
from .opening import open_requested
from .protocol import Progress, Running, Started, Verified, VerifyRequest, Warned

PRESET = "thorough"

_TELL_S = 0.3
_AHEAD = 60
"""Frames that are rather read over than jumped over."""

_SAME = 0.4
_FIND_BLOCKS = 4.0


def verify(request: VerifyRequest, tell: Callable[[Any], None]) -> None:
    """Do what the request asks and tell it. Raises FaceBlurError where the film cannot be compared."""
    began = time.monotonic()
    if request.every < 1 or request.samples_across <= 0:
        raise FaceBlurError("The film must be looked at in every frame, or in every second, third and so on.")
    document = read_document(Path(request.tracks))
    with ExitStack() as opened:
        source = opened.enter_context(open_requested(request, document.source.fingerprint))
        film = opened.enter_context(open_source(Path(request.film)))
        size = source.info.width, source.info.height
        if not request.place and (film.info.width, film.info.height) != size:
            raise FaceBlurError(f"{film.info.file_name} has {film.info.width} x {film.info.height} pixels instead of "
                                f"{size[0]} x {size[1]}.")
        tell(Started(film.info.frame_count))
        looks, models, notes = _open_detectors(opened, size, source.upright_turn, request.provider, tell)
        for text in notes:
            tell(Warned(text))
        problems = _check_file(film.info, source.info, request)
        verification = _compare(request, document, source, film, looks, tell)
    verification.models, verification.seconds = models, time.monotonic() - began
    verification.problems[:0] = problems
    verification.notes[:0] = notes
    _write(to_json(verification), Path(request.output))
    tell(Verified(request.output, verification.frames, len(verification.leaks), len(verification.doubts),
                  verification.seconds))


def _check_file(made: SourceInfo, info: SourceInfo, request: VerifyRequest) -> list[str]:
    """What is wrong with the film's file as a copy of its source: frames, duration, sound, and what it carries over."""
    film = Path(request.film)
    if request.shown or request.place:
        # A timeline has a length, sound and perhaps words of its own.
        return find_carried(film, Path(request.source)) if made.kind == info.kind == "movie" else []
    problems = []
    try:
        if info.kind == "image":
            verify_picture(film, info.width, info.height)
        else:
            expected = Expected(info.frame_count, info.frame_rate, info.width, info.height, info.pixel_aspect)
            # Sound that was encoded anew on purpose has another codec; nothing else may differ.
            verify_film(film, Path(request.source), expected, reencode_audio=True)
    except FaceBlurError as error:
        problems.append(str(error))
    return problems + (find_picture_traces(film) if info.kind == "image" else find_traces(film))


def _compare(request: VerifyRequest, document: TrackDocument, source: FrameSource, film: FrameSource,
             looks: _Looks, tell: Callable[[Any], None]) -> Verification:
    import cv2

    chosen = {doubt.track for doubt in list_doubts(document) if doubt.verdict and not doubt.covered}
    places = list_places(document, chosen.__contains__)
    block_px = find_block_px(document, request.samples_across)
    judge = Judge(single=film.info.frame_count == 1)
    watch = StepWatch(document.expansion)
    matrix = fit_matrix(request.place) if request.place else None
    originals = _Originals(source)
    clearest: dict[int, list[tuple[str, Ellipse]]] = {}
    for track in (track for track in document.tracks if track.samples):
        sample = find_clearest(track.samples, (source.info.width, source.info.height))
        clearest.setdefault(sample.source_frame, []).append((track.name, sample.ellipse))
    faces: dict[str, bytes] = {}
    again = False
    began = told = time.monotonic()
    tell(Progress("verify", 0, film.info.frame_count, 0.0))
    looked = frames = 0
    for frame, source_frame, shown_picture in _walk(film, request.shown):
        frames += 1
        original = originals.read(source_frame)
        picture = shown_picture if matrix is None else _lay_back(shown_picture, matrix, original.shape)
        grey, other = (np.asarray(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), np.uint8) for p in (original, picture))
        here = places.get(source_frame, [])
        for name, ellipse in clearest.get(source_frame, []):
            faces[name] = draw_face(original, ellipse)
        watch.look(frame, grey, other, here)
        leaking = []
        for place in here:
            if not place.kept:
                smaller = 2 * min(place.ellipse.rx, place.ellipse.ry)
                shown = measure_shown(grey, other, place.ellipse, max(block_px, smaller / request.samples_across))
                if shown is not None:
                    judge.add_face(frame, place, shown, partial(draw_place, picture, _box_of(place.ellipse)))
                    leaking += [place] if shown.leaks else []
        if frame % request.every == 0 or again:
            looked += 1
            finds = _find(looks, grey, other, picture, here, leaking)
            again = judge.add_look(frame, finds, partial(draw_place, picture)) and frame % request.every == 0
        now = time.monotonic()
        if now - told >= _TELL_S:
            told = now
            tell(Progress("verify", frames, film.info.frame_count, frames / max(now - began, 1e-6)))
    tell(Progress("verify", film.info.frame_count, film.info.frame_count,
                  frames / max(time.monotonic() - began, 1e-6)))
    leaks, doubts, weak = judge.finish()
    sound = len(read_sound(Path(request.film))) if film.info.kind == "movie" else 0
    return Verification(
        film.info.file_name, source.info.file_name, frames, float(frames / film.info.frame_rate), sound,
        judge.compared, judge.flat, looked, request.every, weak, [], leaks, doubts, list_kept(document), watch.tell(),
        list(dict.fromkeys([*film.notes(), *source.notes()])), faces)


def _walk(film: FrameSource, shown: list[list[int]]) -> Iterator[tuple[int, int, Picture]]:
    """(film frame, source frame, the film's picture) for all that shows the source."""
    if not shown:
        for frame, picture in film.frames():
            yield frame, frame, picture
        return
    for run in sorted(shown):
        if len(run) != 3 or min(run) < 0 or run[0] + run[2] > film.info.frame_count:
            raise FaceBlurError("The frames that the film is said to show are not in it.")
    wanted = {run[0] + i: run[1] + i for run in shown for i in range(run[2])}
    if wanted:
        for frame, picture in film.frames(min(wanted), max(wanted) + 1):
            if frame in wanted:
                yield frame, wanted[frame], picture


class _Originals:
    """The source's pictures, cheapest when asked for in order."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._frames: Iterator[tuple[int, Picture]] = iter(())
        self._at = -1 - _AHEAD
        self._picture: Picture | None = None

    def read(self, source_frame: int) -> Picture:
        if not self._at <= source_frame <= self._at + _AHEAD:
            count = self._source.info.frame_count
            if source_frame >= count:
                raise FaceBlurError(f"{self._source.info.file_name} has no frame {source_frame}.")
            self._frames = self._source.frames(source_frame, count)
            self._picture = None
        while self._picture is None or self._at < source_frame:
            self._at, self._picture = next(self._frames)
        return self._picture


def _lay_back(picture: Picture, matrix: Array, shape: tuple[int, ...]) -> Picture:
    """The film's picture where the source's lies, in the source's pixels."""
    import cv2

    # OpenCV puts pixel centres at whole numbers, we put corners there.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(cv2.warpAffine(picture, shifted, (shape[1], shape[0]),
                                     flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.uint8)


class _Looks:
    """The detectors, with the sizes of picture that each wants, for upright pictures."""

    def __init__(self, looks: list[tuple[ManyLooks, DetectorUse]], upright_turn: int) -> None:
        self._looks, self._turn = looks, upright_turn
        self._number = 0

    def detect(self, picture: Picture) -> list[Detection]:
        """All that is found, not merged, in the picture's own pixels."""
        import cv2

        turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}.get(self._turn)
        upright = picture if turn is None else np.asarray(cv2.rotate(picture, turn), np.uint8)
        frame_size = upright.shape[1], upright.shape[0]
        found = []
        for looks, use in self._looks:
            if self._number % use.each_look:
                continue
            size = detector_size(frame_size, use.long_side)
            small = upright if size == frame_size else np.asarray(
                cv2.resize(upright, size, interpolation=cv2.INTER_AREA), np.uint8)
            x, y = frame_size[0] / size[0], frame_size[1] / size[1]
            found += [Detection(self._turn_back((d.box[0] * x, d.box[1] * y, d.box[2] * x, d.box[3] * y), picture),
                                d.confidence, d.detector) for d in looks.detect(small)]
        self._number += 1
        return found

    def _turn_back(self, box: Box, picture: Picture) -> Box:
        height, width = picture.shape[:2]
        x1, y1, x2, y2 = box
        return {90: (y1, height - x2, y2, height - x1), 180: (width - x2, height - y2, width - x1, height - y1),
                270: (width - y2, x1, width - y1, x2)}.get(self._turn, box)


def _open_detectors(opened: ExitStack, size: tuple[int, int], upright_turn: int, provider: str,
                    tell: Callable[[Any], None]) -> tuple[_Looks, list[ModelUse], list[str]]:
    preset = find_preset(PRESET)
    usable, reasons = list_usable(preset)
    uses, notes = choose_detectors(preset, usable)
    least = {u.detector: min(other.threshold for other in uses if other.detector == u.detector) for u in uses}
    sessions = {name: opened.enter_context(closing(find_detector(name)(find_model(name), threshold, provider)))
                for name, threshold in least.items()}
    tell(Running(" and ".join(sorted({session.provider for session in sessions.values()}))))
    upright = size[::-1] if upright_turn in (90, 270) else size
    looks = combine_looks([(sessions[u.detector], u) for u in uses], upright)
    models = list_models()
    return _Looks(looks, upright_turn), [
        ModelUse(u.detector, models[u.detector].sha256, min(u.long_side, max(size)), u.threshold) for u in uses], \
        [*notes, *reasons]


def _find(looks: _Looks, source: Picture, film: Picture, picture: Picture, places: list[Place],
          leaking: list[Place]) -> list[tuple[Find, Shown, str]]:
    """What the detectors find in the film's picture over pixels that show the source (both grey), but on `leaking`."""
    detections = looks.detect(picture)
    boxes = np.array([d.box for d in detections], float).reshape(-1, 4)
    finds = []
    for hit in merge_detections(detections):
        same = overlaps(hit.box[None], boxes)[0] >= _SAME
        best: dict[str, float] = {}
        for detection, here in zip(detections, same, strict=True):
            if here:
                best[detection.detector] = max(best.get(detection.detector, 0.0), detection.confidence)
        box: Box = tuple(hit.box.tolist())
        ellipse = Ellipse.inscribed(box)
        shown = measure_shown(source, film, ellipse, 2 * min(ellipse.rx, ellipse.ry) / _FIND_BLOCKS)
        if shown is not None and best and shown.leaks and not is_on(leaking, box):
            finds.append((Find(box, tuple(best.items())), shown, find_kept(places, box)))
    return finds


def _box_of(ellipse: Ellipse) -> Box:
    reach = max(ellipse.rx, ellipse.ry)
    return ellipse.cx - reach, ellipse.cy - reach, ellipse.cx + reach, ellipse.cy + reach


def _write(text: str, path: Path) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=".faceblur-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.replace(name, path)
    except OSError as error:
        raise FaceBlurError(f"The verification cannot be written to {path}: {error.strerror}.") from error
