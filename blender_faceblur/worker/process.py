# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a worker process, or a job in a thread beside it, read its lines without blocking forever, and end it."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

from ..core.types import FaceBlurError
from ..files.paths import get_bytecode_folder
from .child import LASTING
from .protocol import LONGEST_LINE, ErrorMessage, Finished, PrepareRequest, Running, parse_line, to_line

_CHILD = Path(__file__).resolve().with_name("child.py")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How much of a worker process's output is kept, and how long it may be silent."""

    error_lines: int = 12
    """Last lines of its standard error that a message about a crash may quote. Raising it makes such messages longer.
    Origin not recorded."""
    queued_lines: int = 512
    """Unread lines after which the process must wait. Raising it takes memory. Origin not recorded."""
    silence_s: float = 240.0
    """Seconds without a line after which the process counts as stuck. Raising it waits longer for slow machines, and
    for processes that hang. Origin not recorded."""
    thread_end_s: float = 20.0
    """Seconds to wait for a job in a thread that is no longer wanted: it ends at its next picture. Raising it waits
    longer for one that hangs. Origin: not measured."""


PROCESS = ProcessSettings()

NO_MEMORY = "There is not enough memory for the analysis. Close other programs or use fewer processes."


class WorkerProcess:
    """A child process that got a request on its stdin. `lines` holds its output lines, and None after the last one."""

    def __init__(
        self, request_line: str, python: str | None = None, script: Path = _CHILD, *, lasting: bool = False
    ) -> None:
        """A lasting process waits for another request after each job, see `ask`. Raises FaceBlurError if the process
        cannot be started."""
        hidden = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            self._process = subprocess.Popen(
                # -S: packages come from the request's folders, in their order, so that another Python's package of the
                # same name does not hide one of the extension's.
                [
                    python or sys.executable,
                    "-I",
                    "-S",
                    *_choose_bytecode(),
                    str(script),
                    *([LASTING] if lasting else []),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                creationflags=hidden,
                # OpenCV warns of damaged pictures, which the program reports in its own words. NumPy's threads
                # would keep a core busy with waiting, since the products are too small for them.
                env={**os.environ, "OPENCV_LOG_LEVEL": "SILENT", "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise FaceBlurError(f"The analysis process cannot be started: {error}") from error
        self.lines: queue.Queue[str | None] = queue.Queue(PROCESS.queued_lines)
        self._stopped = threading.Event()
        self._last: deque[str] = deque(maxlen=PROCESS.error_lines)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._readers = [
            threading.Thread(target=self._read_messages, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._writer = self._start_writer(request_line)

    def ask(self, request_line: str) -> bool:
        """Send a lasting process that is ready, or one that prepares itself, another request; False if it has ended, or
        said more than it should."""
        self._writer.join(timeout=2)
        if self._writer.is_alive() or self._process.poll() is not None or not self.lines.empty():
            return False
        self._writer = self._start_writer(request_line)
        return True

    def _start_writer(self, request_line: str) -> threading.Thread:
        # Thousands of names do not fit into a pipe, and a child that never reads must not block a window.
        writer = threading.Thread(target=self._write, args=(self._process.stdin, request_line), daemon=True)
        writer.start()
        return writer

    def _write(self, stream: IO[bytes], request_line: str) -> None:
        # If the child has already died, its end of output and its exit code show it.
        with contextlib.suppress(OSError):
            stream.write(request_line.encode())
            stream.flush()

    def _read_messages(self, stream: IO[bytes]) -> None:
        while not self._stopped.is_set():
            line = stream.readline(LONGEST_LINE + 2)
            if not line:
                break
            _put(self.lines, line.decode("utf-8", "replace"), self._stopped)
        _put(self.lines, None, self._stopped)

    def _read_errors(self, stream: IO[bytes]) -> None:
        while line := stream.readline(4096):
            self._last.append(line.decode("utf-8", "replace").rstrip())

    def describe_end(self) -> str:
        """One line that says how a process whose output has ended came to its end: exit code and last error output."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return "it closed its output but did not end"
        self._readers[1].join(timeout=2)
        words = " | ".join(line for line in self._last if line.strip())
        how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        return f"{how}; its last output: {words[-600:]}" if words else how

    def wait_for_success(self) -> bool:
        """Wait for the end of a process that has sent its last message; whether its exit code is 0."""
        try:
            return self._process.wait(timeout=20) == 0
        except subprocess.TimeoutExpired:
            return False

    def last_errors(self) -> str:
        return " | ".join(line for line in self._last if line.strip())[-600:]

    def kill(self) -> None:
        """End the process and wait for it. Its children end too, because their stdin closes with it."""
        self._stopped.set()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for thread in (self._writer, *self._readers):
            thread.join(timeout=2)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                # Unsent bytes of a request to a dead child: nothing will read them.
                with contextlib.suppress(OSError):
                    stream.close()


class PreparedProcesses:
    """Worker processes that load what a job needs before it is known, which takes longer than many pictures. Those that
    got no job end with the `with` block."""

    def __init__(self, count: int) -> None:
        """Raises FaceBlurError if one cannot be started."""
        self._idle: list[WorkerProcess] = []
        for _ in range(count):
            self._idle.append(WorkerProcess(to_line(PrepareRequest())))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._idle:
            process.kill()

    def start(self, request_line: str) -> WorkerProcess:
        """A process that has got the request, a new one if none is left. The caller ends it."""
        if not self._idle:
            return WorkerProcess(request_line)
        process = self._idle.pop()
        if process.ask(request_line):
            return process
        process.kill()
        return WorkerProcess(request_line)


def _put(lines: queue.Queue[str | None], line: str | None, stopped: threading.Event) -> bool:
    """Wait until there is room for a line; False if that is no longer wanted."""
    while not stopped.is_set():
        try:
            lines.put(line, timeout=0.5)
        except queue.Full:
            continue
        return True
    return False


def _choose_bytecode() -> list[str]:
    """Options of an interpreter that writes no bytecode beside the code.

    Nothing compiles the packages of an installed extension, which takes longer than an import of what is compiled.
    """
    folder = get_bytecode_folder()
    return ["-B"] if folder is None else ["-X", f"pycache_prefix={folder}"]


class WorkerThread:
    """A job in a thread of this process, which is heard like a WorkerProcess: it shares a job with other processes
    without the time and memory that another process takes."""

    def __init__(self, job: Callable[[Callable[[Any], None]], None]) -> None:
        """`job` gets a function that sends a message, and may raise FaceBlurError."""
        self.lines: queue.Queue[str | None] = queue.Queue(PROCESS.queued_lines)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._thread.start()

    def _run(self, job: Callable[[Callable[[Any], None]], None]) -> None:
        try:
            job(lambda message: self._put(to_line(message)))
        except _StoppedError:
            return
        except (FaceBlurError, MemoryError) as error:
            with contextlib.suppress(_StoppedError):
                self._put(to_line(ErrorMessage(str(error) or NO_MEMORY)))
        finally:
            # Any other error is a fault of the program, which the thread prints.
            with contextlib.suppress(_StoppedError):
                self._put(None)

    def _put(self, line: str | None) -> None:
        if not _put(self.lines, line, self._stopped):
            raise _StoppedError

    def describe_end(self) -> str:
        """One line that says how a job whose output has ended came to its end."""
        return "it ended without a result"

    def last_errors(self) -> str:
        return ""

    def kill(self) -> None:
        """End the job at its next message, and wait for that."""
        self._stopped.set()
        self._thread.join(timeout=PROCESS.thread_end_s)


class _StoppedError(Exception):
    """The messages of a job in a thread are no longer wanted."""


class Heard(Protocol):
    """What `listen` needs: a WorkerProcess or a WorkerThread."""

    lines: queue.Queue[str | None]

    def describe_end(self) -> str: ...

    def last_errors(self) -> str: ...

    def kill(self) -> None: ...


def listen(processes: Mapping[int, Heard], name: str, kinds: tuple[type, ...]) -> Iterator[tuple[int, Any]]:
    """The messages of processes that share a job, each with its process's number, until all have finished.

    Messages are of these `kinds` or Finished, plus one Running for all once every process has named its provider.
    Raises FaceBlurError if one fails, ends early or stops responding; `name` is what a message calls such a process.
    """
    providers: dict[int, str] = {}
    running = set(processes)
    last_line = dict.fromkeys(processes, time.monotonic())
    while running:
        idle = True
        for i in sorted(running):
            try:
                line = processes[i].lines.get_nowait()
            except queue.Empty:
                if time.monotonic() - last_line[i] > PROCESS.silence_s:
                    raise FaceBlurError(
                        f"{name} {i + 1} has stopped responding. {processes[i].last_errors()}"
                    ) from None
                continue
            idle, last_line[i] = False, time.monotonic()
            if line is None:
                raise FaceBlurError(f"{name} {i + 1} crashed ({processes[i].describe_end()}).")
            message: Any = parse_line(line, (*kinds, Running, Finished, ErrorMessage))
            if isinstance(message, ErrorMessage):
                raise FaceBlurError(message.text)
            if isinstance(message, Finished):
                running.discard(i)
            if isinstance(message, Running):
                providers[i] = message.provider
                if len(providers) < len(processes):
                    continue
                message = Running(" and ".join(sorted(set(providers.values()))))
            yield i, message
        if idle:
            time.sleep(0.005)
