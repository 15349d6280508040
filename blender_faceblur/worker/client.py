# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an analysis in processes of its own and tell its messages, to a window's timer or to a plain loop."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from ..core.settings import DEFAULT_EXPANSION
from ..core.types import FaceBlurError
from .process import WorkerProcess
from .protocol import (
    AnalysisRequest,
    ErrorMessage,
    Message,
    Progress,
    ProtocolError,
    Result,
    Started,
    Waiting,
    Warned,
    parse_line,
    to_line,
)

_START_S, _SILENCE_S = 120.0, 300.0
_FROM_CHILD = (Started, Progress, Warned, Result, ErrorMessage)


def build_request(
    source: Path, output: Path, preset: str = "balanced", expansion: float = DEFAULT_EXPANSION, processes: int = 0
) -> AnalysisRequest:
    """A request whose process finds packages where this one does."""
    # Empty entries stand for the current folder, which is not the child's to import from.
    return AnalysisRequest(
        str(source.resolve()), str(output.resolve()), preset, expansion, [p for p in sys.path if p], processes)


def run_job(
    request: AnalysisRequest,
    wait_s: float | None = None,
    *,
    python: str | None = None,
    script: Path | None = None,
    start_timeout_s: float = _START_S,
    silence_timeout_s: float = _SILENCE_S,
) -> Generator[Message, None, None]:
    """Messages of one analysis; the last one is a Result or an ErrorMessage, and always comes.

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
    process: WorkerProcess, request: AnalysisRequest, wait_s: float | None, start_timeout_s: float,
    silence_timeout_s: float,
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
        if isinstance(message, Result) and not (
            process.ended_well() and message.output == request.output and Path(message.output).is_file()
        ):
            yield ErrorMessage(f"The analysis process failed after its result ({process.end_story()}).")
            return
        started = started or isinstance(message, Started)
        yield message
        if isinstance(message, Result | ErrorMessage):
            return
