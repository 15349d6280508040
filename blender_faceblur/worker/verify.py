# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a finished film: processes compare one part each with its source, and the leading process evaluates all."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.detection.settings import DetectorUse, get_preset
from ..core.document.tracks_file import read_document
from ..core.tracking.analysis import split_range
from ..core.types import FaceBlurError, SourceInfo, TrackDocument
from ..core.verification.findings import Verification, list_shown_on_purpose, to_json
from ..core.verification.leaks import LeakClassifier
from ..core.verification.sync import SyncChecker
from ..delivery.picture import verify_picture
from ..delivery.traces import find_carried, find_picture_traces, find_traces
from ..delivery.verify import Expected, read_sound, verify_film
from ..delivery.voice import Voice
from ..detectors.passes import combine_passes
from ..detectors.providers import choose_providers, list_available
from ..sources import FrameSource, MovieSource, open_source
from .compare import Comparison, FilmDetectors, FrameComparison, compute_shown_frames, from_text, to_text
from .ensemble import Networks, choose_usable, count_processes, list_used, open_sessions
from .opening import open_requested
from .process import WorkerProcess, listen
from .protocol import (
    Finished,
    Progress,
    Running,
    Stage,
    Started,
    VerificationDone,
    VerifyRequest,
    Warned,
    to_line,
)
from .reporting import REPORTING

VERIFY_PRESET = "thorough"

OnProgress = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class _Comparisons:
    """What is compared: the opened film and source, the document with the expected faces, and the detectors."""

    request: VerifyRequest
    document: TrackDocument
    uses: Sequence[DetectorUse]
    source: FrameSource
    film: FrameSource
    networks: Networks
    send: OnProgress

    def run(self, frames: tuple[int, int], total: int) -> Iterator[FrameComparison]:
        """The comparison of each film frame in the half-open range `frames`, in this process.

        Reports progress, as counts of `total` frames.
        """
        detectors = _open_film_detectors(self.networks, self.uses, self.source, self.request.provider, self.send)
        reported = _Pace(total, self.send)
        for comparison in Comparison(self.request, self.document, self.source, self.film, detectors).run(*frames):
            yield comparison
            reported.count()

    def run_in_processes(self, parts: list[tuple[int, int]], folder: Path) -> tuple[list[VerifyRequest], list[str]]:
        """The same for one process a part, written to files in `folder`, one frame a line.

        Returns the requests, which name these files, in the order of the parts, and sentences about the two films.
        """
        facts, film_facts = (
            one.list_facts() if isinstance(one, MovieSource) else None for one in (self.source, self.film)
        )
        requests = [
            replace(
                self.request,
                output=str(folder / f"{number}.jsonl"),
                part=list(part),
                facts=facts,
                film_facts=film_facts,
            )
            for number, part in enumerate(parts)
        ]
        return requests, _run_parts(requests, _Pace(self.film.info.frame_count, self.send))

    def list_notes(self) -> list[str]:
        """Sentences about the two files, as far as they were read in this process."""
        return [*self.film.notes(), *self.source.notes()]


def verify(request: VerifyRequest, send: OnProgress, networks: Networks) -> None:
    """Verify a film and send the result. Raises FaceBlurError if the film cannot be compared."""
    began = time.monotonic()
    if request.every < 1 or request.samples_per_face <= 0:
        raise FaceBlurError("The interval between detection passes must be at least one frame.")
    document = read_document(Path(request.tracks))
    uses, notes = choose_usable(get_preset(VERIFY_PRESET))
    with ExitStack() as opened:
        source, film = (opened.enter_context(one) for one in _open_both(request, document))
        comparisons = _Comparisons(request, document, uses, source, film, networks, send)
        if request.part:
            _verify_part(comparisons)
        else:
            _verify_whole(comparisons, notes, began)


def _verify_part(comparisons: _Comparisons) -> None:
    """Write the comparisons of one part to the request's output, one frame a line."""
    request = comparisons.request
    start, stop = request.part
    done = 0
    try:
        with open(request.output, "w", encoding="utf-8", newline="\n") as lines:
            for comparison in comparisons.run((start, stop), stop - start):
                lines.write(to_text(comparison))
                done += 1
    except OSError as error:
        raise FaceBlurError(f"The verification cannot be written to {request.output}: {error.strerror}.") from error
    comparisons.send(Finished(done, comparisons.list_notes()))


def _verify_whole(comparisons: _Comparisons, notes: list[str], began: float) -> None:
    """Compare all frames, and write and send the result, with these notes. `began` is `time.monotonic()` then."""
    request, document, send = comparisons.request, comparisons.document, comparisons.send
    info, made = comparisons.source.info, comparisons.film.info
    send(Started(made.frame_count))
    for text in notes:
        send(Warned(text))
    problems = _check_file(comparisons.source, made, request)
    verdict, file_notes = _compare_all(comparisons)
    seconds = time.monotonic() - began
    send(Progress(Stage.VERIFY, made.frame_count, made.frame_count, verdict.frames / max(seconds, 1e-6)))
    leaks, uncertain, weak = verdict.classifier.finish()
    verification = Verification(
        film=made.file_name,
        source=info.file_name,
        frames=verdict.frames,
        seconds_long=float(verdict.frames / made.frame_rate),
        sound_streams=len(read_sound(Path(request.film))) if made.kind == "movie" else 0,
        compared=verdict.classifier.compared,
        flat=verdict.classifier.flat,
        searched_frames=verdict.searched_frames,
        every=request.every,
        weak_detections=weak,
        models=list_used(comparisons.uses, info),
        leaks=leaks,
        uncertain=uncertain,
        shown_on_purpose=list_shown_on_purpose(document),
        problems=[*problems, *verdict.steps.describe()],
        notes=list(dict.fromkeys([*notes, *file_notes])),
        faces=verdict.faces,
        seconds=time.monotonic() - began,
    )
    _write(to_json(verification), Path(request.output))
    send(VerificationDone(request.output, verification.frames, len(leaks), len(uncertain), verification.seconds))


def _compare_all(comparisons: _Comparisons) -> tuple[_VerificationBuilder, list[str]]:
    """Compare all frames, in this process or in several. Returns also sentences about the two files."""
    request, made = comparisons.request, comparisons.film.info
    verdict = _VerificationBuilder(comparisons.document, made.frame_count)
    parts = _split(request, made)
    if len(parts) == 1:
        for comparison in comparisons.run(parts[0], made.frame_count):
            verdict.add(comparison)
        return verdict, comparisons.list_notes()
    # Beside the result: the caller removes that folder even if this process crashes.
    with tempfile.TemporaryDirectory(dir=Path(request.output).parent) as folder:
        requests, notes = comparisons.run_in_processes(parts, Path(folder))
        for one in requests:
            with open(one.output, encoding="utf-8") as lines:
                for line in lines:
                    verdict.add(from_text(line))
    return verdict, notes


class _VerificationBuilder:
    """Collects the comparisons, frame by frame in order."""

    def __init__(self, document: TrackDocument, frame_count: int) -> None:
        self.classifier = LeakClassifier(single=frame_count == 1)
        self.steps = SyncChecker(document.margin)
        self.faces: dict[str, bytes] = {}
        self.frames = self.searched_frames = 0

    def add(self, comparison: FrameComparison) -> None:
        self.frames += 1
        self.steps.late += [comparison.frame] if comparison.late else []
        self.steps.foreign += [comparison.frame] if comparison.foreign else []
        self.classifier.compared += comparison.covered
        self.classifier.flat += comparison.flat
        self.faces |= comparison.clearest
        for place, shown, picture in comparison.faces:
            self.classifier.add_face(comparison.frame, place, shown, lambda picture=picture: picture)  # type: ignore[misc]
        if comparison.finds is not None:
            self.searched_frames += 1
            pictures = {find.box: picture for find, _, _, picture in comparison.finds}
            self.classifier.add_detections(
                comparison.frame,
                [(find, shown, kept) for find, shown, kept, _ in comparison.finds],
                pictures.__getitem__,
            )


class _Pace:
    """Reports progress at intervals."""

    def __init__(self, total: int, send: OnProgress) -> None:
        self.send, self.total, self.done = send, total, 0
        self._began = self._told = time.monotonic()
        send(Progress(Stage.VERIFY, 0, total, 0.0))

    def count(self, done: int | None = None) -> None:
        """Count one more frame, or set the total to `done`."""
        self.done = self.done + 1 if done is None else done
        now = time.monotonic()
        if now - self._told >= REPORTING.progress_every_s:
            self._told = now
            self.send(Progress(Stage.VERIFY, self.done, self.total, self.done / max(now - self._began, 1e-6)))


def _open_both(request: VerifyRequest, document: TrackDocument) -> Iterator[FrameSource]:
    """The source, then the film. Raises FaceBlurError if the source was not analysed or the film does not fit."""
    wanted = replace(request.source, fingerprint=document.source.fingerprint)
    source = open_requested(wanted, facts=request.facts)
    yield source
    info = source.info
    timeline = bool(request.shown or request.place)
    timing = (info.frame_rate, info.frame_count) if info.kind == "movie" and not timeline else None
    path = Path(request.film)
    facts = request.film_facts
    film = MovieSource(path, facts=facts) if facts is not None else open_source(path, timing=timing)
    yield film
    size = source.info.width, source.info.height
    if not request.place and (film.info.width, film.info.height) != size:
        raise FaceBlurError(
            f"{film.info.file_name} has {film.info.width} x {film.info.height} pixels instead of {size[0]} x {size[1]}."
        )


def _split(request: VerifyRequest, made: SourceInfo) -> list[tuple[int, int]]:
    """Half-open parts of the film's frames, one per process; each part begins with a detection pass."""
    frames = compute_shown_frames(request.shown, made.frame_count)
    first, stop = min(frames, default=0), max(frames, default=-1) + 1
    provider = choose_providers(list_available(), request.provider, sys.platform)[0]
    parts = split_range(
        stop - first, float(made.frame_rate), count_processes(get_preset(VERIFY_PRESET), provider, request.processes)
    )
    edges = [first + part.start for part in parts[1:]]
    edges = [first, *(edge - edge % request.every for edge in edges), stop]
    return [part for part in itertools.pairwise(edges) if part[0] < part[1]] or [(first, stop)]


def _run_parts(requests: list[VerifyRequest], reported: _Pace) -> list[str]:
    """Compare every part in a process of its own; returns the lines of their files. FaceBlurError if any fails."""
    processes = [WorkerProcess(to_line(request)) for request in requests]
    try:
        notes: dict[str, None] = {}
        done = [0] * len(processes)
        for i, message in listen(dict(enumerate(processes)), "Verification process", (Progress,)):
            if isinstance(message, Running):
                reported.send(message)
                continue
            done[i] = message.done if isinstance(message, Progress) else message.frames
            reported.count(sum(done))
            if isinstance(message, Finished):
                notes.update(dict.fromkeys(message.notes))
        return list(notes)
    finally:
        for process in processes:
            process.kill()


def _check_file(source: FrameSource, made: SourceInfo, request: VerifyRequest) -> list[str]:
    """Problems of the film's file as a copy of its source: frames, duration, sound and carried-over metadata."""
    film, info = Path(request.film), source.info
    if request.shown or request.place:
        # A timeline has its own length and sound, and may have its own metadata.
        return find_carried(film, Path(request.source.path)) if made.kind == info.kind == "movie" else []
    problems = []
    try:
        if info.kind == "image":
            verify_picture(film, info.width, info.height)
        else:
            _check_film(film, source, Path(request.source.path), Voice(request.voice))
    except FaceBlurError as error:
        problems.append(str(error))
    return problems + (
        find_picture_traces(film) if info.kind == "image" else find_traces(film, Path(request.source.path))
    )


def _check_film(film: Path, source: FrameSource, path: Path, voice: Voice) -> None:
    """Raise FaceBlurError unless the film has its source's pictures, either each at its own time or as Blender renders
    them, at a constant rate."""
    # Sound that was re-encoded on purpose has another codec; nothing else may differ.
    if isinstance(source, MovieSource):
        times = source.list_times()
        with suppress(FaceBlurError):
            verify_film(
                film,
                path,
                Expected.painted(source.info, source.turn, len(times), times, source.start_s),
                reencode_audio=True,
                voice=voice,
            )
            return
    verify_film(film, path, Expected.rendered(source.info), reencode_audio=True, voice=voice)


def _open_film_detectors(
    networks: Networks, uses: Sequence[DetectorUse], source: FrameSource, provider: str, send: OnProgress
) -> FilmDetectors:
    sessions = open_sessions(networks, uses, provider)
    send(Running(" and ".join(sorted({session.provider for session in sessions.values()}))))
    size = source.info.width, source.info.height
    upright = size[::-1] if source.upright_turn in (90, 270) else size
    return FilmDetectors(combine_passes([(sessions[u.detector], u) for u in uses], upright), source.upright_turn)


def _write(text: str, path: Path) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=".faceblur-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError as error:
        raise FaceBlurError(f"The verification cannot be written to {path}: {error.strerror}.") from error
