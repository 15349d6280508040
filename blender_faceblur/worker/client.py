# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an analysis in processes of its own and tell its messages, to a window's timer or to a plain loop."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..core.settings import DEFAULT_EXPANSION
from ..core.types import Box, Ellipse, FaceBlurError
from ..detectors.providers import choose_providers, label_provider
from .process import WorkerProcess
from .protocol import (
    AnalysisRequest,
    Embedded,
    EmbedRequest,
    ErrorMessage,
    FaceView,
    Finished,
    FollowRequest,
    Message,
    ProbeRequest,
    Progress,
    ProtocolError,
    Providers,
    ReferenceRequest,
    Result,
    Running,
    Started,
    Thumbnail,
    ThumbnailsRequest,
    Verified,
    VerifyRequest,
    Waiting,
    Warned,
    parse_line,
    to_line,
)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How long whoever asked for an analysis waits for the leading process."""

    start_s: float = 120.0
    """Seconds until it must have reported that it began. Raising it waits longer for slow disks, and for a process that
    hangs. Origin not recorded."""
    silence_s: float = 300.0
    """Seconds without a report after which it is taken for stuck; longer than `ProcessSettings.silence_s`. Raising it
    waits longer. Origin not recorded."""


CLIENT = ClientSettings()

_FROM_CHILD = (Started, Running, Progress, Warned, FaceView, Embedded, Result, Verified, ErrorMessage)

Request = AnalysisRequest | FollowRequest | EmbedRequest | ReferenceRequest | VerifyRequest


def build_request(
    source: Path, output: Path, preset: str = "balanced", expansion: float = DEFAULT_EXPANSION, processes: int = 0,
    *, files: Sequence[str] = (), provider: str = "auto", frame_rate: Fraction | None = None,
    storage: Path | None = None, span: tuple[int, int] | None = None, recognise: bool = False,
) -> AnalysisRequest:
    """A request whose process finds packages where this one does.

    With `files` the source is the sequence of these pictures in the folder `source`; `frame_rate` is the rate at
    which it is shown. With `span` only those source frames, half-open, are analysed. `provider` is "auto" (a GPU where
    onnxruntime has one) or "cpu". With `recognise` looks at the tracks' faces are told before the result.
    """
    rate = [] if frame_rate is None else [frame_rate.numerator, frame_rate.denominator]
    return AnalysisRequest(str(source.resolve()), str(output.resolve()), preset, expansion, _list_folders(), processes,
                           list(files), rate, provider, storage=str(storage) if storage is not None else "",
                           span=list(span or ()), recognise=recognise)


def build_follow_request(
    source: Path, output: Path, fingerprint: str, keys: dict[int, Ellipse], start: int, stop: int,
    cuts: Sequence[int], *, files: Sequence[str] = (), frame_rate: Fraction | None = None,
) -> FollowRequest:
    """A request to follow one place from its keys; see `core.refollow.follow_keys`."""
    rate = [] if frame_rate is None else [frame_rate.numerator, frame_rate.denominator]
    numbers = [[float(frame), e.cx, e.cy, e.rx, e.ry, e.angle] for frame, e in keys.items()]
    return FollowRequest(str(source.resolve()), str(output.resolve()), fingerprint, numbers, start, stop, list(cuts),
                         _list_folders(), list(files), rate)


def build_thumbnails_request(
    source: Path, fingerprint: str, faces: Sequence[tuple[int, Box]], side: int, *, files: Sequence[str] = (),
    frame_rate: Fraction | None = None,
) -> ThumbnailsRequest:
    """A request for small square pictures of faces, each given by its source frame and its box."""
    rate = [] if frame_rate is None else [frame_rate.numerator, frame_rate.denominator]
    return ThumbnailsRequest(str(source.resolve()), fingerprint, [[float(frame), *box] for frame, box in faces], side,
                             _list_folders(), list(files), rate)


def run_thumbnails(
    request: ThumbnailsRequest, wait_s: float | None = None, *, python: str | None = None, script: Path | None = None,
    silence_timeout_s: float = CLIENT.start_s,
) -> Generator[Thumbnail | Waiting, None, None]:
    """The pictures, as they are made; raises FaceBlurError where they cannot be. With `wait_s` see `run_job`."""
    process = WorkerProcess(to_line(request), python, *([script] if script else []))
    heard = time.monotonic()
    try:
        while True:
            left = heard + silence_timeout_s - time.monotonic()
            try:
                line = process.lines.get(timeout=max(left if wait_s is None else min(left, wait_s), 0))
            except queue.Empty:
                if time.monotonic() - heard > silence_timeout_s:
                    raise FaceBlurError(
                        f"The process that makes thumbnails has said nothing for {silence_timeout_s:.0f} s.") from None
                if wait_s is not None:
                    yield Waiting()
                continue
            heard = time.monotonic()
            if line is None:
                raise FaceBlurError(f"The process that makes thumbnails has ended early ({process.end_story()}).")
            try:
                message = parse_line(line, (Started, Thumbnail, Finished, ErrorMessage))
            except ProtocolError as error:
                raise FaceBlurError(f"The process that makes thumbnails sent no message: {error}.") from error
            if isinstance(message, ErrorMessage):
                raise FaceBlurError(message.text)
            if isinstance(message, Finished):
                return
            if isinstance(message, Thumbnail):
                yield message
    finally:
        process.kill()


def build_verify_request(
    source: Path, film: Path, tracks: Path, output: Path, samples_across: float = 6.0, every: int = 3, *,
    shown: Sequence[tuple[int, int, int]] = (), place: Sequence[float] = (), files: Sequence[str] = (),
    frame_rate: Fraction | None = None, provider: str = "auto", processes: int = 0,
) -> VerifyRequest:
    """A request to compare a finished film with its source; see `protocol.VerifyRequest`.

    `run_job` runs it; the last message is a Verified, whose `output` `core.verifying.from_json` reads.
    """
    rate = [] if frame_rate is None else [frame_rate.numerator, frame_rate.denominator]
    return VerifyRequest(str(source.resolve()), str(film.resolve()), str(tracks.resolve()), str(output.resolve()),
                         _list_folders(), samples_across, every, [list(run) for run in shown], list(place),
                         list(files), rate, provider, processes)


def build_embed_request(
    source: Path, tracks: Path, fingerprint: str, *, files: Sequence[str] = (), frame_rate: Fraction | None = None,
) -> EmbedRequest:
    """A request to look at the faces of a tracks document that lies at `tracks`; see `worker.embedding`."""
    rate = [] if frame_rate is None else [frame_rate.numerator, frame_rate.denominator]
    return EmbedRequest(str(source.resolve()), str(tracks.resolve()), fingerprint, _list_folders(), list(files), rate)


def build_reference_request(pictures: Sequence[Path]) -> ReferenceRequest:
    """A request to look at the one face in each of these picture files."""
    return ReferenceRequest([str(picture.resolve()) for picture in pictures], _list_folders())


def probe_providers(
    timeout_s: float = 60.0, *, python: str | None = None, script: Path | None = None
) -> list[str]:
    """onnxruntime's names of the providers that an analysis could use, found out in a process of its own.

    So a Blender that asks never loads onnxruntime itself. FaceBlurError when there is no answer.
    """
    process = WorkerProcess(to_line(ProbeRequest(_list_folders())), python, *([script] if script else []))
    try:
        line = process.lines.get(timeout=timeout_s)
        if line is None:
            raise FaceBlurError(f"The detectors' providers cannot be found out ({process.end_story()}).")
        answer = parse_line(line, (Providers, ErrorMessage))
    except queue.Empty:
        raise FaceBlurError(f"The process that looks for providers has said nothing for {timeout_s:.0f} s.") from None
    except ProtocolError as error:
        raise FaceBlurError(f"The process that looks for providers sent no answer: {error}.") from error
    finally:
        process.kill()
    if isinstance(answer, ErrorMessage):
        raise FaceBlurError(answer.text)
    assert isinstance(answer, Providers)
    return answer.names


def describe_provider(available: Sequence[str], wanted: str = "auto") -> str:
    """The word for people ("CPU", "CUDA", ...) for what an analysis would ask for, of what `probe_providers` found."""
    return label_provider(choose_providers(available, wanted, sys.platform)[0])


def _list_folders() -> list[str]:
    # Empty entries stand for the current folder, which is not the child's to import from.
    return [folder for folder in sys.path if folder]


def run_job(
    request: Request,
    wait_s: float | None = None,
    *,
    python: str | None = None,
    script: Path | None = None,
    start_timeout_s: float = CLIENT.start_s,
    silence_timeout_s: float = CLIENT.silence_s,
) -> Generator[Message, None, None]:
    """Messages of what a process was asked for; the last is a Result, Verified, Embedded or ErrorMessage, and always
    comes.

    With `wait_s` it yields Waiting whenever nothing has arrived for that long, so that a timer never blocks.
    Closing the generator (or dropping it) ends all processes. `python` is the interpreter to use (this one's by
    default), `script` another child.
    """
    try:
        process = WorkerProcess(to_line(request), python, *([script] if script else []))
    except FaceBlurError as error:
        yield ErrorMessage(str(error))
        return
    try:
        yield from _follow(process, request, wait_s, start_timeout_s, silence_timeout_s)
    finally:
        process.kill()


def _follow(
    process: WorkerProcess, request: Request, wait_s: float | None,
    start_timeout_s: float, silence_timeout_s: float,
) -> Iterator[Message]:
    started = False
    heard = time.monotonic()
    while True:
        limit = silence_timeout_s if started else start_timeout_s
        left = heard + limit - time.monotonic()
        if left <= 0:
            words = process.last_words()
            text = f"The analysis process has said nothing for {limit:.0f} s"
            yield ErrorMessage(f"{text}: {words}" if words else f"{text}.")
            return
        try:
            line = process.lines.get(timeout=left if wait_s is None else min(left, wait_s))
        except queue.Empty:
            if wait_s is not None:
                yield Waiting()
            continue
        heard = time.monotonic()
        if line is None:
            yield ErrorMessage(f"The analysis process has ended without a result ({process.end_story()}).")
            return
        try:
            message: Message = parse_line(line, _FROM_CHILD)  # type: ignore[assignment]
        except ProtocolError as error:
            yield ErrorMessage(f"The analysis process sent something that is no message: {error}.")
            return
        if isinstance(message, Result | Verified) and not (
            process.ended_well() and message.output == getattr(request, "output", None)
            and Path(message.output).is_file()
        ):
            yield ErrorMessage(f"The analysis process failed after its result ({process.end_story()}).")
            return
        started = started or isinstance(message, Started)
        yield message
        asked_to_look = isinstance(request, EmbedRequest | ReferenceRequest)
        if isinstance(message, Result | Verified | ErrorMessage) or (asked_to_look and isinstance(message, Embedded)):
            return
