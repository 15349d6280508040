# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of worker processes: one process leads an analysis, and it and its children analyse one segment each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from ..core.detection.picture_sizes import compute_decode_size
from ..core.detection.settings import MARGINS, DetectorUse, get_preset
from ..core.document.tracks_file import write_document
from ..core.people.similarity import RECOGNIZER, assign_embeddings
from ..core.review.groups import count_left
from ..core.tracking.analysis import Detector, analyse_frames, build_document, compute_stride, split_range
from ..core.tracking.objects import mark_objects
from ..core.tracking.observations import ObservationTable, Segment
from ..core.tracking.tracker import Tracker
from ..core.types import FaceBlurError, SourceInfo, TrackDocument, TrackKind
from ..detectors import get_detector
from ..detectors.base import FaceDetector
from ..detectors.passes import combine_passes, make_turned
from ..detectors.providers import CPU, choose_providers, list_available
from ..files.paths import get_model_path
from ..files.storage import name_stored, read_stored, store
from ..recognition import get_recognizer
from ..sources import FrameSource, MovieSource, SourceGuard
from .checkpoint import Checkpoint, split_known
from .embedding import embed_pictures, embed_tracks
from .ensemble import (
    Networks,
    choose_usable,
    count_processes,
    find_opinion_weights,
    list_used,
    open_opinion,
    open_sessions,
)
from .gpu_probe import choose_faster
from .live_embedding import LiveEmbedder
from .memory import MemoryRelease
from .opening import open_requested, read_rate
from .painting import paint
from .process import NO_MEMORY, Heard, PreparedProcesses, WorkerThread, listen
from .protocol import (
    AnalysisRequest,
    BoxEmbedding,
    EmbeddingsDone,
    EmbedRequest,
    ErrorMessage,
    Finished,
    Frame,
    PaintRequest,
    PrepareRequest,
    ProbeRequest,
    Progress,
    ProtocolError,
    Providers,
    Ready,
    ReferenceRequest,
    Result,
    Running,
    SegmentRequest,
    Stage,
    Started,
    ThumbnailsRequest,
    TrackEmbedding,
    TrackRequest,
    VerifyRequest,
    Warned,
    from_record,
    parse_line,
    to_line,
    to_record,
)
from .reporting import REPORTING
from .thumbnails import cut_faces
from .tracking import track_region

OnProgress = Callable[[Any], None]

_USUAL_RATE = Fraction(25)
"""Frames a second of a film that is not open yet."""


def serve(lines: Iterator[str], messages: TextIO, lasting: bool) -> int:
    """Run the jobs of request lines; returns the exit code. Every expected failure is sent as an ErrorMessage.

    With `lasting`, a Ready follows the last message of each job; without it, the first job is the last. The first
    failure ends the loop: nothing that a failed job may have left behind is used for another one.
    """

    def send(message: Any) -> None:
        messages.write(to_line(message))
        messages.flush()

    release = MemoryRelease()
    with Networks() as networks:
        for line in lines:
            code = _run_job(line, send, networks)
            if code is None:
                continue
            if code != 0 or not lasting:
                return code
            networks.close_failed()
            send(Ready())
            release.count_job()
    return 0


def _run_job(line: str, send: OnProgress, networks: Networks) -> int | None:
    """Run a request's job; returns the exit code, or None after a preparation, which the job follows."""
    try:
        request: object = parse_line(line, (*_WORK, *_DETECTING_WORK, PrepareRequest))
        if isinstance(request, PrepareRequest):
            _prepare()
            return None
        if type(request) in _DETECTING_WORK:
            _DETECTING_WORK[type(request)](request, send, networks)
        else:
            _WORK[type(request)](request, send)
    except (FaceBlurError, ProtocolError) as error:
        send(ErrorMessage(str(error)))
        return 1
    except MemoryError:
        send(ErrorMessage(NO_MEMORY))
        return 1
    return 0


def _prepare() -> None:
    """Load the libraries that the analysis of a film needs."""
    import av  # noqa: F401
    import cv2  # noqa: F401
    import onnxruntime  # noqa: F401


def _detect_segment(request: SegmentRequest, send: OnProgress, networks: Networks) -> None:
    with open_requested(request.source, "the analysis began", request.facts) as source:
        _detect_in(source, request, send, networks)


def _detect_in(source: FrameSource, request: SegmentRequest, send: OnProgress, networks: Networks) -> None:
    """Carry out a request about an open source."""
    preset = get_preset(request.preset)
    uses, _ = choose_usable(preset)
    info = source.info
    frame_size = (info.width, info.height)
    sessions = open_sessions(networks, uses, request.provider)
    detectors = combine_passes([(sessions[u.detector], u) for u in uses], frame_size)
    send(Started(request.stop - request.start))
    warned = _warn_newly(sessions.values(), 0, send)
    send(Running(" and ".join(sorted({detector.provider for detector in sessions.values()}))))
    frames = source.read_frames(request.start, request.stop, compute_decode_size(frame_size, uses))
    count = 0
    rate = float(info.frame_rate)
    seeing: Sequence[tuple[Detector, DetectorUse]] = detectors
    if request.recognise and not source.upright_turn:
        recognizer = networks.open(get_recognizer(RECOGNIZER), get_model_path(RECOGNIZER))
        watch = LiveEmbedder(frame_size, rate, recognizer, send)
        frames, seeing = watch.pass_frames(frames), watch.observe(detectors)
    stride = compute_stride(preset.detect_every_s, rate)
    opinion = open_opinion(networks, preset)
    for record in analyse_frames(
        frames,
        frame_size,
        rate,
        seeing,
        preset.strong_confidence,
        source.upright_turn,
        stride,
        opinion.score_faces if opinion is not None else None,
        make_turned(sessions) if preset.seeks_turned else None,
        preset.seeks_enlarged,
    ):
        send(from_record(record))
        count += 1
        warned = _warn_newly(sessions.values(), warned, send)
    send(Finished(count, source.notes()))


def _warn_newly(detectors: Iterable[FaceDetector], known: int, send: OnProgress) -> int:
    """Send the detectors' notes beyond the first `known` ones; returns how many there are now."""
    notes = [note for detector in detectors for note in detector.notes]
    if len(notes) > known:
        for text in dict.fromkeys(notes):
            send(Warned(text))
    return len(notes)


def _lead(request: AnalysisRequest, send: OnProgress, networks: Networks) -> None:
    # Before anything else: they load their libraries while this process loads its own and opens the film.
    with PreparedProcesses(_count_expected(request) - 1) as others:
        analysis = _Analysis(request, send, networks, others)
        with analysis.source:
            analysis.run()


def _count_expected(request: AnalysisRequest) -> int:
    """How many processes will probably share the film, this one included."""
    rate = read_rate(request.source) or _USUAL_RATE
    frames = request.span[1] - request.span[0] if len(request.span) == 2 else request.expected_frames
    processes = count_processes(get_preset(request.preset), CPU, request.processes)
    return len(split_range(max(0, frames), float(rate), processes))


class _Analysis:
    """An analysis that this process leads: it analyses the first frames in a thread, child processes those of the other
    parts, and then it builds the document.

    Its methods raise FaceBlurError if the request cannot be carried out.
    """

    def __init__(
        self, request: AnalysisRequest, send: OnProgress, networks: Networks, others: PreparedProcesses
    ) -> None:
        self._request, self._send, self._networks, self._others = request, send, networks, others
        self._began = time.monotonic()
        self._preset = get_preset(request.preset)
        if not MARGINS[0] <= request.margin <= MARGINS[1]:
            raise FaceBlurError(f"The margin must be between {MARGINS[0]} and {MARGINS[1]}.")
        self._uses, self._notes = choose_usable(self._preset)
        self._opinion, notes = find_opinion_weights(self._preset)
        self._notes += notes
        self._kinds = {get_detector(use.detector).finds for use in self._uses}
        if len(self._kinds) > 1:
            raise FaceBlurError(
                "Faces, number plates and text cannot be detected in one analysis. Run several analyses."
            )
        # What it says of a GPU is sent with the other notes, and is none of the document's.
        self._said: list[str] = []
        cache = Path(request.cache) if request.cache else None
        self._choice = choose_faster(request.provider, self._uses, cache, self._said.append)
        self._provider = choose_providers(list_available(), self._choice, sys.platform)[0]
        read_rate(request.source)
        self._guard = SourceGuard(Path(request.source.path), request.source.files)
        self.source = open_requested(request.source, facts=request.facts)
        self._info = self.source.info
        if self._guard.fingerprint != self._info.fingerprint:
            raise FaceBlurError(f"{self._info.file_name} changed while it was opened. Start again.")
        self._reach = Tracker.compute_reach(float(self._info.frame_rate))
        self._first, self._stop = _get_span(request, self._info)
        self._models = list_used(self._uses, self._info)
        self._stored = self._name_stored()

    def run(self) -> None:
        """Reuse the stored document or make a new one, write it where the request says, and send the result."""
        self._send(Started(self._stop - self._first))
        for text in (*self._said, *self._notes, *self._info.warnings):
            self._send(Warned(text))
        found = read_stored(self._stored, self._info) if self._stored is not None else None
        if found is not None:
            self._send(Warned("This source was analysed before with the same settings; the stored analysis is reused."))
            self._deliver(found)
            return
        checkpoint = None
        if self._stored is not None:
            checkpoint = Checkpoint(self._stored.with_suffix(".checkpoint"), self._guard.is_same_file)
        parts = self._split(checkpoint)
        collector = _Collector(ObservationTable([part for part, _ in parts]), self._send, checkpoint)
        notes = self._detect(parts, collector)
        # What was stored would be taken for the analysis of the source as it was, should that come back.
        self._guard.check("the analysis")
        for text in notes:
            self._send(Warned(text))
        self._send(Progress(Stage.LINK, 0, 1, 0.0))
        document = self._build_document(collector.table, notes)
        if self._request.recognise and collector.seen and not any(known for _, known in parts):
            _send_embeddings(document, collector.seen, self._send)
        self._deliver(document)
        if self._stored is not None:
            store(self._stored, Path(self._request.output))

    def _name_stored(self) -> Path | None:
        """Where the analysis of this source with these settings is stored; None if nothing may be stored."""
        request, info = self._request, self._info
        if not request.storage:
            return None
        shape = [
            info.fingerprint,
            info.kind,
            str(info.frame_rate),
            info.frame_count,
            request.preset,
            request.margin,
            request.span,
            self._provider,
            [asdict(model) for model in self._models],
            [asdict(use) for use in self._uses],
            self._opinion,
        ]
        return name_stored(Path(request.storage), shape)

    def _split(self, checkpoint: Checkpoint | None) -> list[tuple[Segment, list[Frame]]]:
        """The parts of the film, each with the frames that an earlier run has analysed."""
        processes = count_processes(self._preset, self._provider, self._request.processes)
        own = [
            Segment(self._first + part.start, self._first + part.stop)
            for part in split_range(self._stop - self._first, float(self._info.frame_rate), processes)
        ]
        known = checkpoint.read(self._reach, self._info.frame_count) if checkpoint is not None else []
        return split_known(own, known)

    def _detect(self, parts: list[tuple[Segment, list[Frame]]], collector: _Collector) -> list[str]:
        """Collect all frames, known ones and those of the other parts; returns the sources' notes.

        The first part that is not known is analysed in this process: the start of another one takes longer than many
        pictures. The checkpoint keeps the frames that were analysed before a failure.
        """
        if collector.checkpoint is not None:
            collector.checkpoint.begin(parts)
        processes: dict[int, Heard] = {}
        own: int | None = None
        try:
            for number, (part, frames) in enumerate(parts):
                for frame in frames:
                    collector.table.add(number, to_record(frame))
                if not frames and self._info.frame_count == 1:
                    request = self._request_segment(part)
                    _detect_in(self.source, request, partial(collector.take, number), self._networks)
                elif not frames and own is None:
                    own = number
                elif not frames:
                    processes[number] = self._others.start(to_line(self._request_segment(part)))
            if own is not None:
                # Last, since it takes time from the start of the others.
                processes[own] = WorkerThread(partial(self._detect_here, self._request_segment(parts[own][0])))
            return collector.collect(processes)
        finally:
            for process in processes.values():
                process.kill()
            if collector.checkpoint is not None:
                collector.checkpoint.close(finished=not collector.table.count_missing())

    def _detect_here(self, request: SegmentRequest, send: OnProgress) -> None:
        """Analyse a part of the film in this process, with networks whose memory is free afterwards."""
        with Networks() as networks:
            _detect_in(self.source, request, send, networks)

    def _request_segment(self, part: Segment) -> SegmentRequest:
        source = replace(self._request.source, fingerprint=self._info.fingerprint)
        return SegmentRequest(
            source,
            self._request.preset,
            max(0, part.start - self._reach),
            min(self._info.frame_count, part.stop + self._reach),
            self._choice,
            self._request.recognise,
            self.source.list_facts() if isinstance(self.source, MovieSource) else None,
            sys_path=self._request.sys_path,
        )

    def _build_document(self, table: ObservationTable, notes: list[str]) -> TrackDocument:
        document = build_document(
            table, self._info, self._preset, self._request.margin, self._models, [*self._notes, *notes]
        )
        (kind,) = self._kinds
        if kind is not TrackKind.FACE:
            mark_objects(document, kind)
        if self._request.span:
            document.analysed = [(self._first, self._stop)]
        return document

    def _deliver(self, document: TrackDocument) -> None:
        output = self._request.output
        try:
            write_document(document, Path(output))
        except OSError as error:
            raise FaceBlurError(f"The tracks cannot be written to {output}: {error.strerror}.") from error
        seconds = time.monotonic() - self._began
        self._send(Result(output, document.source.frame_count, len(document.tracks), count_left(document), seconds))


def _send_embeddings(document: TrackDocument, comparison: list[BoxEmbedding], send: OnProgress) -> None:
    """Send the embeddings that belong to tracks, then a message that these are all."""
    # Two processes analyse the frames around the border of their segments.
    looks = {
        (name, comparison[at].frame): comparison[at]
        for name, at in assign_embeddings(document.tracks, [(s.frame, s.box) for s in comparison])
    }
    for (name, frame), look in looks.items():
        send(TrackEmbedding(name, frame, look.quality, look.vector))
    send(EmbeddingsDone(RECOGNIZER, len(looks), 0.0))


def _get_span(request: AnalysisRequest, info: SourceInfo) -> tuple[int, int]:
    if not request.span:
        return 0, info.frame_count
    if len(request.span) != 2 or not 0 <= request.span[0] < request.span[1] <= info.frame_count:
        raise FaceBlurError("The frames to analyse are outside the film.")
    return request.span[0], request.span[1]


class _Collector:
    """Collects the messages of an analysis's processes in its table and checkpoint, and reports progress.

    `seen` are the embeddings that the processes sent.
    """

    def __init__(self, table: ObservationTable, send: OnProgress, checkpoint: Checkpoint | None = None) -> None:
        self.table, self.checkpoint = table, checkpoint
        self.seen: list[BoxEmbedding] = []
        self._send = send
        self._warned: set[str] = set()
        self._notes: dict[str, None] = {}

    def collect(self, processes: Mapping[int, Heard]) -> list[str]:
        """Listen until every part is finished; returns the sources' notes. Raises FaceBlurError if any fails."""
        began = reported = time.monotonic()
        before = self.table.frame_count - self.table.count_missing()
        for number, message in listen(processes, "Analysis process", (Started, Warned, Frame, BoxEmbedding)):
            self.take(number, message)
            if time.monotonic() - reported >= REPORTING.progress_every_s:
                reported = time.monotonic()
                self._send_progress(before, began)
        self._send_progress(before, began)
        missing = self.table.count_missing()
        if missing:
            raise FaceBlurError(f"{missing} of {self.table.frame_count} frames were not analysed; nothing was written.")
        return list(self._notes)

    def take(self, number: int, message: Any) -> None:
        """Take in a message of the process that analyses the part of that number."""
        match message:
            case Frame():
                self._take_frame(number, message)
            case BoxEmbedding():
                self.seen.append(message)
            case Warned() if message.text not in self._warned:
                self._warned.add(message.text)
                self._send(message)
            case Running():
                self._send(message)
            case Finished():
                self._notes.update(dict.fromkeys(message.notes))

    def _take_frame(self, number: int, frame: Frame) -> None:
        if self.checkpoint is not None:
            self.checkpoint.add(number, frame)
        try:
            self.table.add(number, to_record(frame))
        except ValueError as error:
            raise FaceBlurError(f"Analysis process {number + 1} sent invalid frames: {error}.") from error

    def _send_progress(self, before: int, began: float) -> None:
        done = self.table.frame_count - self.table.count_missing()
        self._send(
            Progress(Stage.DETECT, done, self.table.frame_count, (done - before) / max(time.monotonic() - began, 1e-6))
        )


def _verify(request: VerifyRequest, send: OnProgress, networks: Networks) -> None:
    # Not at the top: that took each process of an analysis 45 ms.
    from .verify import verify

    verify(request, send, networks)


def _probe(request: ProbeRequest, send: OnProgress) -> None:
    send(Providers(list_available()))


_DETECTING_WORK: dict[type, Callable[[Any, OnProgress, Networks], None]] = {
    AnalysisRequest: _lead,
    SegmentRequest: _detect_segment,
    VerifyRequest: _verify,
}
"""The jobs that open networks which the next job can use."""

_WORK: dict[type, Callable[[Any, OnProgress], None]] = {
    ProbeRequest: _probe,
    TrackRequest: track_region,
    EmbedRequest: embed_tracks,
    ReferenceRequest: embed_pictures,
    ThumbnailsRequest: cut_faces,
    PaintRequest: paint,
}
