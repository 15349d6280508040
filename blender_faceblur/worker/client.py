# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an analysis in separate processes and pass on its messages, to a window's timer or to a plain loop."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..core.detection.settings import DEFAULT_MARGIN
from ..core.types import Box, Ellipse, FaceBlurError
from ..detectors.providers import choose_providers, label_provider
from ..files.paths import get_cache_folder
from ..sources import MovieFacts
from .process import WorkerProcess
from .protocol import (
    AnalysisRequest,
    EmbeddingsDone,
    EmbedRequest,
    ErrorMessage,
    Finished,
    Message,
    PaintDone,
    PaintRequest,
    ProbeRequest,
    Progress,
    ProtocolError,
    Providers,
    Ready,
    ReferenceRequest,
    Result,
    Running,
    SourceRef,
    Started,
    Thumbnail,
    ThumbnailsRequest,
    TrackEmbedding,
    TrackRequest,
    VerificationDone,
    VerifyRequest,
    Waiting,
    Warned,
    parse_line,
    to_line,
)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How long a caller waits for the leading process."""

    start_s: float = 120.0
    """Seconds within which the process must report that it has started. Raising it waits longer for slow disks, and for
    a process that hangs. Origin not recorded."""
    silence_s: float = 300.0
    """Seconds without a message after which the process counts as stuck; longer than `ProcessSettings.silence_s`.
    Raising it waits longer. Origin not recorded."""


CLIENT = ClientSettings()

_FROM_CHILD = (
    Started,
    Running,
    Progress,
    Warned,
    TrackEmbedding,
    EmbeddingsDone,
    Result,
    VerificationDone,
    PaintDone,
    ErrorMessage,
)

Request = AnalysisRequest | TrackRequest | EmbedRequest | ReferenceRequest | VerifyRequest | PaintRequest

_LAST: dict[type, type] = {
    AnalysisRequest: Result,
    TrackRequest: Result,
    EmbedRequest: EmbeddingsDone,
    ReferenceRequest: EmbeddingsDone,
    VerifyRequest: VerificationDone,
    PaintRequest: PaintDone,
}
"""The message that completes each kind of request."""


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """What a caller chooses about an analysis."""

    preset: str = "balanced"
    margin: float = DEFAULT_MARGIN
    """The factor by which a cover is larger than its face."""
    provider: str = "auto"
    """"auto" (a GPU if it is faster), "cpu" or "gpu"."""
    processes: int = 0
    """The number of processes; with 0 the leading process chooses it."""
    storage: Path | None = None
    """The folder in which an unfinished analysis is kept and resumed."""
    span: tuple[int, int] | None = None
    """The half-open source frames to analyse; None for all."""
    recognise: bool = False
    """Whether the process sends embeddings of the tracks' faces before the result."""
    expected_frames: int = 0
    """About how many frames the source has, if that is known: the analysis of a long film then starts sooner."""
    facts: MovieFacts | None = None
    """What the caller found out when it opened the film, which is then not examined again."""


def build_request(
    source: Path | SourceRef, output: Path, options: AnalysisOptions = AnalysisOptions()
) -> AnalysisRequest:
    """A request whose process finds packages where this one does. `source` may be the path of a film or a picture."""
    return AnalysisRequest(
        _to_ref(source),
        str(output.resolve()),
        options.preset,
        options.margin,
        options.processes,
        options.provider,
        str(options.storage) if options.storage is not None else "",
        list(options.span or ()),
        options.recognise,
        str(get_cache_folder()),
        options.expected_frames,
        options.facts,
    )


def build_track_request(
    source: SourceRef, output: Path, keys: dict[int, Ellipse], start: int, stop: int, cuts: Sequence[int]
) -> TrackRequest:
    """A request to track one region from an editor's keys; see `core.tracking.retracking.track_keys`."""
    numbers = [[float(frame), e.cx, e.cy, e.rx, e.ry, e.angle] for frame, e in keys.items()]
    return TrackRequest(source, str(output.resolve()), numbers, start, stop, list(cuts))


def build_thumbnails_request(source: SourceRef, faces: Sequence[tuple[int, Box]], side: int) -> ThumbnailsRequest:
    """A request for small square pictures of faces, each given by its source frame and box."""
    return ThumbnailsRequest(source, [[float(frame), *box] for frame, box in faces], side)


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How a film is compared with its source; see `protocol.VerifyRequest`."""

    samples_per_face: float = 6.0
    every: int = 3
    shown: Sequence[tuple[int, int, int]] = ()
    place: Sequence[float] = ()
    provider: str = "auto"
    processes: int = 0
    voice: str = "keep"


def build_verify_request(
    source: Path | SourceRef, film: Path, tracks: Path, output: Path, options: VerifyOptions = VerifyOptions()
) -> VerifyRequest:
    """A request to compare a finished film with its source and its tracks document.

    `run_job` runs it; the last message is a VerificationDone, whose `output` `core.verification.findings.from_json`
    reads.
    """
    return VerifyRequest(
        _to_ref(source),
        str(film.resolve()),
        str(tracks.resolve()),
        str(output.resolve()),
        options.samples_per_face,
        options.every,
        [list(run) for run in options.shown],
        list(options.place),
        options.provider,
        options.processes,
        voice=options.voice,
    )


def build_embed_request(source: SourceRef, tracks: Path) -> EmbedRequest:
    """A request to embed the faces of the tracks document at `tracks`; see `worker.embedding`."""
    return EmbedRequest(source, str(tracks.resolve()))


def build_reference_request(pictures: Sequence[Path]) -> ReferenceRequest:
    """A request to embed the one face in each of these picture files."""
    return ReferenceRequest([str(picture.resolve()) for picture in pictures])


def _to_ref(source: Path | SourceRef) -> SourceRef:
    return SourceRef.of(source) if isinstance(source, Path) else source


def probe_providers(timeout_s: float = 60.0, *, python: str | None = None, script: Path | None = None) -> list[str]:
    """onnxruntime's names of the providers that an analysis could use.

    A separate process finds them, so that Blender itself never loads onnxruntime. Raises FaceBlurError if that fails.
    """
    process = WorkerProcess(to_line(ProbeRequest()), python, *([script] if script else []))
    try:
        line = process.lines.get(timeout=timeout_s)
        if line is None:
            raise FaceBlurError(f"The process that lists the detectors' providers failed ({process.describe_end()}).")
        answer = parse_line(line, (Providers, ErrorMessage))
    except queue.Empty:
        raise FaceBlurError(f"The process that lists providers has not answered for {timeout_s:.0f} s.") from None
    except ProtocolError as error:
        raise FaceBlurError(f"The process that lists providers sent no valid answer: {error}.") from error
    finally:
        process.kill()
    if isinstance(answer, ErrorMessage):
        raise FaceBlurError(answer.text)
    assert isinstance(answer, Providers)
    return answer.names


def describe_provider(available: Sequence[str], wanted: str = "auto") -> str:
    """The user-visible name ("CPU", "CUDA", ...) of the provider that an analysis would use of the available ones."""
    return label_provider(choose_providers(available, wanted, sys.platform)[0])


class LastingWorker:
    """Keeps the process of one picture's job for the next one; the end of the `with` block ends it.

    What fails, hangs, is stopped or has more than one picture ends its process, and the next job gets a new one.
    """

    def __init__(self) -> None:
        self._process: WorkerProcess | None = None
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Also one that is not ready: an interruption can come before or after its job's own end of the process.
        if self._process is not None:
            self._process.kill()

    def start(self, request_line: str, python: str | None = None, *script: Path) -> WorkerProcess:
        """A process that has got the request. The caller kills it, or gives it back to be kept."""
        was_ready, self._is_ready = self._is_ready, False
        if self._process is not None:
            if was_ready and self._process.ask(request_line):
                return self._process
            self._process.kill()
        self._process = WorkerProcess(request_line, python, *script, lasting=True)
        return self._process

    def keep(self, process: WorkerProcess) -> None:
        """Keep a process that is ready for another request."""
        assert process is self._process
        self._is_ready = True


def run_job(
    request: Request,
    wait_s: float | None = None,
    *,
    worker: LastingWorker | None = None,
    python: str | None = None,
    script: Path | None = None,
    start_timeout_s: float = CLIENT.start_s,
    silence_timeout_s: float = CLIENT.silence_s,
) -> Generator[Message, None, None]:
    """Run a job and yield its messages. The last one always comes: a result (see `_LAST`) or an ErrorMessage.

    With `wait_s` it yields Waiting whenever nothing has arrived for that long, so that a timer never blocks.
    Closing or dropping the generator ends all processes. With a `worker`, the process is kept for the next job if this
    one was for a single picture and succeeded. `python` is the interpreter to use (this one's by default), `script`
    replaces the worker's script.
    """
    start = worker.start if worker is not None else WorkerProcess
    try:
        process = start(to_line(request), python, *([script] if script else []))
    except FaceBlurError as error:
        yield ErrorMessage(str(error))
        return
    is_picture, finished_with = False, None
    try:
        messages = _read_messages(
            process, (*_FROM_CHILD, Ready), "The analysis process", wait_s, start_timeout_s, silence_timeout_s
        )
        for message in _read_to_the_end(process, request, messages, worker is not None):
            is_picture |= isinstance(message, Started) and message.frames == 1
            yield message
            # Not before: where the caller stops listening, the process ends.
            finished_with = message
    except FaceBlurError as error:
        yield ErrorMessage(str(error))
    finally:
        if worker is not None and is_picture and isinstance(finished_with, _LAST[type(request)]):
            worker.keep(process)
        else:
            process.kill()


def watch_job(
    request: Request,
    wait_s: float | None = None,
    on_message: Callable[[Message], None] | None = None,
    worker: LastingWorker | None = None,
) -> Generator[Progress | None, None, None]:
    """Run a job and yield its progress, or None after `wait_s` without a message; `on_message` gets other messages.

    Windows and commands share this message loop. Raises FaceBlurError if the job fails. Closing the generator ends all
    processes.
    """
    last: Message | None = None
    with closing(run_job(request, wait_s, worker=worker)) as messages:
        for last in messages:
            match last:
                case Waiting():
                    yield None
                case Progress():
                    yield last
                case ErrorMessage():
                    raise FaceBlurError(last.text)
                case _ if on_message is not None:
                    on_message(last)
    if not isinstance(last, _LAST[type(request)]):
        raise FaceBlurError("The analysis process ended without a result. Try again.")


def finish_job(
    request: Request,
    on_progress: Callable[[str, int, int], None],
    on_message: Callable[[Message], None] | None = None,
    worker: LastingWorker | None = None,
) -> None:
    """Run a job to its end; `on_progress` gets stage, done and total. For `worker` see `run_job`. Raises
    FaceBlurError."""
    # Close it at once if an exception ends the loop, so that its processes do not run on beside the next job's.
    with closing(watch_job(request, on_message=on_message, worker=worker)) as steps:
        for progress in steps:
            if progress is not None:
                on_progress(progress.stage, progress.done, progress.total)


def run_thumbnails(
    request: ThumbnailsRequest,
    wait_s: float | None = None,
    *,
    python: str | None = None,
    script: Path | None = None,
    silence_timeout_s: float = CLIENT.start_s,
) -> Generator[Thumbnail | Waiting, None, None]:
    """The pictures as they are made. With `wait_s` see `run_job`. Raises FaceBlurError if they cannot be made."""
    process = WorkerProcess(to_line(request), python, *([script] if script else []))
    try:
        for message in _read_messages(
            process,
            (Started, Thumbnail, Finished, ErrorMessage),
            "The process that makes thumbnails",
            wait_s,
            silence_timeout_s,
            silence_timeout_s,
        ):
            match message:
                case ErrorMessage():
                    raise FaceBlurError(message.text)
                case Finished():
                    return
                case Thumbnail() | Waiting():
                    yield message
    finally:
        process.kill()


def _read_to_the_end(
    process: WorkerProcess, request: Request, messages: Iterator[Message | Ready], lasting: bool
) -> Iterator[Message]:
    """The messages of a job up to the last one; if the process fails after its result, an ErrorMessage replaces it."""
    for message in messages:
        if isinstance(message, Ready):
            yield ErrorMessage("The analysis process ended its job without a result.")
            return
        if isinstance(message, Result | VerificationDone | PaintDone | EmbeddingsDone):
            is_last = isinstance(message, _LAST[type(request)])
            if is_last and lasting:
                yield from _wait_until_ready(messages)
            if not isinstance(message, EmbeddingsDone) and not (
                (lasting or process.wait_for_success())
                and message.output == getattr(request, "output", None)
                and Path(message.output).is_file()
            ):
                how = "its output is missing" if lasting else process.describe_end()
                yield ErrorMessage(f"The analysis process failed after it had sent its result ({how}).")
                return
        yield message
        if isinstance(message, (_LAST[type(request)], ErrorMessage)):
            return


def _wait_until_ready(messages: Iterator[Message | Ready]) -> Iterator[Waiting]:
    """Read up to the message with which a lasting process says that its job is over. Raises FaceBlurError."""
    for message in messages:
        match message:
            case Ready():
                return
            case Waiting():
                yield message
            case _:
                raise FaceBlurError("The analysis process sent a message after its result.")


def _read_messages(
    process: WorkerProcess,
    kinds: tuple[type, ...],
    who: str,
    wait_s: float | None,
    start_timeout_s: float,
    silence_timeout_s: float,
) -> Iterator[Any]:
    """A process's messages of these kinds, and Waiting whenever nothing has arrived for `wait_s`.

    Raises FaceBlurError, which calls the process `who`, if it is silent too long, ends, or sends an invalid message.
    Until its Started message it may be silent for `start_timeout_s`.
    """
    limit, last_message = start_timeout_s, time.monotonic()
    while True:
        left = last_message + limit - time.monotonic()
        if left <= 0:
            words = process.last_errors()
            text = f"{who} has not responded for {limit:.0f} s"
            raise FaceBlurError(f"{text}: {words}" if words else f"{text}.")
        try:
            line = process.lines.get(timeout=left if wait_s is None else min(left, wait_s))
        except queue.Empty:
            if wait_s is not None:
                yield Waiting()
            continue
        last_message = time.monotonic()
        if line is None:
            raise FaceBlurError(f"{who} ended without a result ({process.describe_end()}).")
        try:
            message: Any = parse_line(line, kinds)
        except ProtocolError as error:
            raise FaceBlurError(f"{who} sent an invalid message: {error}.") from error
        if isinstance(message, Started):
            limit = silence_timeout_s
        yield message
