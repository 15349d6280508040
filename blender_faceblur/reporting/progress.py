# SPDX-License-Identifier: GPL-3.0-or-later
"""Report progress to the user: as bars on a terminal, as plain lines, as JSON lines, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..core.translation import count

if TYPE_CHECKING:
    from tqdm import tqdm

PLAIN_INTERVAL_S = 10.0
TERMINAL_INTERVAL_S = 0.2


@dataclass(slots=True)
class Outcome:
    """The result of one input. `status` is "done", "skipped" or "failed"; `reason` says why it is not "done"."""

    source: Path
    status: str
    output: Path | None = None
    reason: str = ""
    faces: int = 0
    regions: int = 0
    review_items: int = 0
    frames: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    verified: bool | None = None
    """Whether the verification passed; None where the output was not verified."""
    findings: tuple[str, ...] = ()
    """The findings of the verification, one line each: problems with the file, leaks, then findings to review."""


@dataclass(slots=True)
class Totals:
    """What is kept of the outcomes of a batch: counts, and only the outcomes that the summary names.

    Its memory does not grow with inputs that are well, of which there may be a hundred thousand.
    """

    inputs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    """How many inputs have each status of an Outcome."""
    faces: int = 0
    regions: int = 0
    review_items: int = 0
    bad: list[Outcome] = field(default_factory=list)
    """Those that failed, or whose verification did not pass."""

    def add(self, outcome: Outcome) -> None:
        self.inputs += 1
        self.statuses[outcome.status] += 1
        self.faces += outcome.faces
        self.regions += outcome.regions
        self.review_items += outcome.review_items
        if outcome.status == "failed" or outcome.verified is False:
            self.bad.append(outcome)


def print_line(text: str, stream: TextIO) -> None:
    """Print a line. Where the reader of the stream has gone, or its disk is full, everything after it is dropped.

    The work is worth more than its messages, and its exit code still says how it ended.
    """
    _write(text + "\n", stream)


def _write(text: str, stream: TextIO) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        # Python itself writes what is left in the stream's buffer at its end, and would fail again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Reporter:
    """Reports only failures, and is the base class of the other reporters. Text goes to `stream`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self._stage = ""
        self._since = 0.0
        self._shown = 0.0

    def start(self, source: Path, number: int, count: int) -> None:
        """Report that the work on an input begins. `number` counts from 1."""

    def show_progress(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` frames of a stage are finished."""

    def warn(self, text: str) -> None:
        """Report a warning about the current input. The work continues."""

    def finish(self, outcome: Outcome) -> None:
        """Report the outcome of the current input."""
        if outcome.status == "failed":
            self._print(f"{outcome.source}: {outcome.reason}")
        if outcome.verified is False:
            self._print(f"{outcome.source}: NOT PASSED: {'; '.join(outcome.findings)}")

    def summarize(self, totals: Totals) -> None:
        """Report that all inputs are finished."""

    def _print(self, text: str) -> None:
        # A file name may hold line breaks and control characters for the terminal.
        shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
        print_line(shown, self.stream)

    def _measure(self, stage: str, done: int, total: int, interval_s: float) -> tuple[float, float] | None:
        """Frames per second and seconds left; None while it is too early for the next report."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._since = stage, now
            # The first report of a stage has no speed yet, so a log waits for the second.
            self._shown = now if interval_s == PLAIN_INTERVAL_S else 0.0
        if now - self._shown < interval_s and done < total:
            return None
        self._shown = now
        rate = done / (now - self._since) if now > self._since and done else 0.0
        return rate, (total - done) / rate if rate else 0.0


class LineReporter(Reporter):
    """Reports in plain lines, for logs."""

    def start(self, source: Path, number: int, count: int) -> None:
        self._stage = ""
        self._print(f"[{number}/{count}] {source}")

    def show_progress(self, stage: str, done: int, total: int) -> None:
        measured = self._measure(stage, done, total, PLAIN_INTERVAL_S)
        if measured:
            self._print("  " + describe_progress(stage, done, total, *measured))

    def warn(self, text: str) -> None:
        self._print(f"  note: {text}")

    def finish(self, outcome: Outcome) -> None:
        if outcome.status == "failed":
            self._print(f"  FAILED: {outcome.reason}")
        elif outcome.status == "skipped":
            self._print(f"  skipped: {outcome.reason}")
        else:
            where = f" -> {outcome.output}" if outcome.output else ""
            self._print(f"  done in {describe_time(outcome.seconds)}: {describe_faces(outcome)}{where}")
        if outcome.verified is not None:
            self._print("  verified: nothing leaked" if outcome.verified else "  NOT PASSED: see the findings below")
            for line in outcome.findings:
                self._print(f"    {line}")

    def summarize(self, totals: Totals) -> None:
        counts = totals.statuses
        if totals.inputs > 1:
            self._print(
                f"{counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed; "
                f"{count_covered(totals.faces, totals.regions)}, {count(totals.review_items, 'place')} to review."
            )
            for outcome in totals.bad:
                if outcome.status == "failed":
                    self._print(f"  FAILED {outcome.source}: {outcome.reason}")
                if outcome.verified is False:
                    self._print(f"  NOT PASSED {outcome.source}")
        if counts["done"]:
            self._print("Check the result before you share it: no detector finds every face.")


class _Terminal:
    """What tqdm writes a bar to. Like `print_line` it goes on where nobody reads any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> None:
        _write(text, self._stream)

    def flush(self) -> None:
        """Everything is written at once."""


class TerminalReporter(LineReporter):
    """Shows a bar for each stage, with its speed and the time left; a finished one stays. Lines appear above it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._bar: tqdm[Any] | None = None

    def show_progress(self, stage: str, done: int, total: int) -> None:
        if self._bar is None or (stage, total) != (self._stage, self._bar.total):
            self._end_bar()
            self._stage, self._bar = stage, self._open_bar(stage, done, total)
        self._bar.update(max(0, done - self._bar.n))
        if done >= total:
            self._end_bar()

    def _open_bar(self, stage: str, done: int, total: int) -> tqdm[Any]:
        from tqdm import tqdm

        # Its thread watches for bars that hang, which these do while a process starts.
        tqdm.monitor_interval = 0
        return tqdm(
            desc=f"  {stage:9}",
            total=total,
            # What an earlier run has done says nothing about the speed.
            initial=done if done < total else 0,
            unit=" frames",
            mininterval=TERMINAL_INTERVAL_S,
            ncols=shutil.get_terminal_size().columns - 1,
            file=_Terminal(self.stream),
            bar_format="{desc} {percentage:3.0f} % |{bar}| {n_fmt}/{total_fmt}, {rate_noinv_fmt}, {remaining} left",
        )

    def finish(self, outcome: Outcome) -> None:
        self._end_bar()
        super().finish(outcome)

    def _end_bar(self) -> None:
        if self._bar is not None:
            # A stage of one step, or one that the next has replaced, leaves no line.
            self._bar.leave = self._bar.n >= (self._bar.total or 0) > 1
            self._bar.close()
            self._bar = None

    def _print(self, text: str) -> None:
        if self._bar is None:
            super()._print(text)
            return
        self._bar.clear()
        super()._print(text)
        self._bar.refresh()


class JsonReporter(Reporter):
    """Reports in one JSON object per line on standard output. Its type is start, progress, warning, finish or
    summary."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream if stream is not None else sys.stdout)
        self._source = ""

    def start(self, source: Path, number: int, count: int) -> None:
        self._stage, self._source = "", str(source)
        self._send("start", source=self._source, number=number, count=count)

    def show_progress(self, stage: str, done: int, total: int) -> None:
        measured = self._measure(stage, done, total, TERMINAL_INTERVAL_S)
        if measured:
            self._send(
                "progress",
                source=self._source,
                stage=stage,
                done=done,
                total=total,
                fps=round(measured[0], 2),
                seconds_left=round(measured[1], 1),
            )

    def warn(self, text: str) -> None:
        self._send("warning", source=self._source, text=text)

    def finish(self, outcome: Outcome) -> None:
        self._send(
            "finish",
            source=str(outcome.source),
            status=outcome.status,
            reason=outcome.reason,
            output=str(outcome.output) if outcome.output else None,
            faces=outcome.faces,
            regions=outcome.regions,
            doubts=outcome.review_items,
            frames=outcome.frames,
            seconds=round(outcome.seconds, 2),
            verified=outcome.verified,
            findings=outcome.findings,
        )

    def summarize(self, totals: Totals) -> None:
        self._send("summary", **{status: totals.statuses[status] for status in ("done", "skipped", "failed")})

    def _send(self, kind: str, **content: object) -> None:
        print_line(json.dumps({"type": kind, **content}), self.stream)


def choose_reporter(quiet: bool, as_json: bool) -> Reporter:
    if as_json:
        return JsonReporter()
    if quiet:
        return Reporter()
    # A bar is not worth a failure where a Python has everything but tqdm.
    return TerminalReporter() if sys.stderr.isatty() and find_spec("tqdm") else LineReporter()


def describe_progress(stage: str, done: int, total: int, rate: float, left_s: float) -> str:
    share = 100 * done // total if total else 100
    words = f"{stage}: {done}/{total} ({share} %)"
    if rate:
        words += f", {rate:.1f} fps"
    return words + (f", {describe_time(left_s)} left" if left_s >= 1 else "")


def describe_faces(outcome: Outcome) -> str:
    """How many faces were covered, and how many places an editor should review."""
    to_review = f", {count(outcome.review_items, 'place')} to review" if outcome.review_items else ""
    return count_covered(outcome.faces, outcome.regions) + to_review


def count_covered(faces: int, regions: int) -> str:
    """How many faces were covered, and how many regions (number plates and drawn regions) if there are any."""
    return count(faces, "face") + (f" and {count(regions, 'region')}" if regions else "") + " covered"


def describe_time(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
