# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the user how the work goes: one moving line on a terminal, plain lines elsewhere, JSON lines, or nothing."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

PLAIN_INTERVAL_S = 10.0
TERMINAL_INTERVAL_S = 0.2


@dataclass(slots=True)
class Outcome:
    """What became of one input. `status` is "done", "skipped" or "failed"; `reason` says why it is not "done"."""

    source: Path
    status: str
    output: Path | None = None
    reason: str = ""
    faces: int = 0
    regions: int = 0
    review_items: int = 0
    frames: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    verified: bool | None = None
    """Whether nothing leaked; None where the output was not verified."""
    findings: list[str] = field(default_factory=list)
    """What the verification found, a line each, leaks first."""


class Reporter:
    """Says nothing but what failed; the others build on it. Everything for people goes to `stream`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self._stage = ""
        self._since = 0.0
        self._shown = 0.0

    def start(self, source: Path, number: int, count: int) -> None:
        """Work on an input begins; `number` counts from 1."""

    def show_progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` frames of a stage are finished."""

    def warn(self, text: str) -> None:
        """A sentence about the current input; the work goes on."""

    def finish(self, outcome: Outcome) -> None:
        """The current input is finished."""
        if outcome.status == "failed":
            self._print(f"{outcome.source}: {outcome.reason}")
        if outcome.verified is False:
            self._print(f"{outcome.source}: NOT PASSED: {'; '.join(outcome.findings)}")

    def summarize(self, outcomes: list[Outcome]) -> None:
        """All is finished."""

    def _print(self, text: str) -> None:
        # A file's name may hold line ends and orders to the terminal.
        shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
        print(shown, file=self.stream, flush=True)

    def _measure(self, stage: str, done: int, total: int, interval_s: float) -> tuple[float, float] | None:
        """Frames per second and seconds left, or None when it is too early to say something again."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._since = stage, now
            # The first word of a stage has no speed yet: a log can wait for the next.
            self._shown = now if interval_s == PLAIN_INTERVAL_S else 0.0
        if now - self._shown < interval_s and done < total:
            return None
        self._shown = now
        rate = done / (now - self._since) if now > self._since and done else 0.0
        return rate, (total - done) / rate if rate else 0.0


class LineReporter(Reporter):
    """Plain lines, for logs."""

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
            self._print("  verified: nothing leaked" if outcome.verified else "  NOT PASSED: something leaked")
            for line in outcome.findings:
                self._print(f"    {line}")

    def summarize(self, outcomes: list[Outcome]) -> None:
        counts = {
            status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped", "failed")
        }
        if len(outcomes) > 1:
            covered = count_covered(
                sum(outcome.faces for outcome in outcomes), sum(outcome.regions for outcome in outcomes)
            )
            doubts = sum(outcome.review_items for outcome in outcomes)
            self._print(
                f"{counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed; "
                f"{covered}, {count(doubts, 'doubt')}."
            )
            for outcome in outcomes:
                if outcome.status == "failed":
                    self._print(f"  FAILED {outcome.source}: {outcome.reason}")
                if outcome.verified is False:
                    self._print(f"  NOT PASSED {outcome.source}")
        if counts["done"]:
            self._print("Look at the result before you give it away: no detector finds every face.")


class TerminalReporter(LineReporter):
    """One line that is drawn over while the work goes on."""

    def show_progress(self, stage: str, done: int, total: int) -> None:
        measured = self._measure(stage, done, total, TERMINAL_INTERVAL_S)
        if measured:
            width = shutil.get_terminal_size().columns - 1
            text = "  " + describe_progress(stage, done, total, *measured)
            self.stream.write("\r" + text[:width].ljust(width))
            self.stream.flush()

    def _print(self, text: str) -> None:
        self.stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
        super()._print(text)


class JsonReporter(Reporter):
    """One JSON object per line on standard output: type is start, progress, warning, finish or summary."""

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

    def summarize(self, outcomes: list[Outcome]) -> None:
        self._send(
            "summary",
            **{
                status: sum(outcome.status == status for outcome in outcomes)
                for status in ("done", "skipped", "failed")
            },
        )

    def _send(self, kind: str, **content: object) -> None:
        print(json.dumps({"type": kind, **content}), file=self.stream, flush=True)


def choose_reporter(quiet: bool, as_json: bool) -> Reporter:
    if as_json:
        return JsonReporter()
    if quiet:
        return Reporter()
    return TerminalReporter() if sys.stderr.isatty() else LineReporter()


def describe_progress(stage: str, done: int, total: int, rate: float, left_s: float) -> str:
    share = 100 * done // total if total else 100
    words = f"{stage}: {done}/{total} ({share} %)"
    if rate:
        words += f", {rate:.1f} fps"
    return words + (f", {describe_time(left_s)} left" if left_s >= 1 else "")


def describe_faces(outcome: Outcome) -> str:
    """How many faces were covered and how many places were too doubtful for it."""
    doubts = f", {count(outcome.review_items, 'doubt')} to look at" if outcome.review_items else ""
    return count_covered(outcome.faces, outcome.regions) + doubts


def count_covered(faces: int, regions: int) -> str:
    """What was covered; regions (number plates, what was drawn) are named where there are any."""
    return count(faces, "face") + (f" and {count(regions, 'region')}" if regions else "") + " covered"


def count(number: int, word: str) -> str:
    """ "1 face", "2 faces"."""
    return f"{number} {word}{'s' * (number != 1)}"


def describe_time(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"
