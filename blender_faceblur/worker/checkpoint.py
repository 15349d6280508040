# SPDX-License-Identifier: GPL-3.0-or-later
"""Analysed frames kept on disk, so that an analysis that was stopped or crashed can resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..core.tracking.observations import Segment
from .protocol import Frame, ProtocolError, parse_line, to_line, to_record


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """How often an analysis writes its analysed frames to disk."""

    flush_every_s: float = 0.1
    """Seconds between two writes. Raising it loses more when an analysis is stopped. Origin: two processes analyse some
    hundred small frames a second, and a write costs far less than one of them."""


CHECKPOINT = CheckpointSettings()


class Checkpoint:
    """A file of JSON lines: the parts of the film, each with its range, then frames of any part as they arrive.

    Frames are written only while `is_source_same` says so: a source that is replaced or cut off yields other pictures,
    and when it is back, a later run must not take their faces for its own. If the file cannot be written, the analysis
    continues without a checkpoint and cannot be resumed.
    """

    def __init__(self, path: Path, is_source_same: Callable[[], bool]) -> None:
        self._path, self._is_source_same = path, is_source_same
        self._stream: IO[str] | None = None
        self._waiting: list[dict[str, Any]] = []
        self._flushed = 0.0

    def read(self, reach: int, frame_count: int) -> list[tuple[Segment, list[Frame]]]:
        """The parts with known frames, each with its frames in order.

        Each ends `reach` frames before its last known one, unless that is the last of the film's `frame_count`: like
        all parts it overlaps with the next one, or the tracks of both would not be joined.
        """
        parts: list[tuple[Segment, list[Frame]]] = []
        with (
            suppress(OSError, ValueError, ProtocolError, LookupError, TypeError),
            open(self._path, encoding="utf-8") as stream,
        ):
            # The analysis repeats everything after a damaged or incomplete line.
            for line in stream:
                content = json.loads(line)
                if "part" in content:
                    parts.append((Segment(int(content["part"][0]), int(content["part"][1])), []))
                else:
                    frame = parse_line(json.dumps(content["frame"]), (Frame,))
                    to_record(frame)
                    parts[int(content["of"])][1].append(frame)
        known = []
        for part, frames in parts:
            seen = [frame.frame for frame in frames if frame.frame >= part.start]
            reached = part.start + len(seen)
            stop = min(part.stop, reached if reached == frame_count else reached - reach)
            if stop > part.start and seen == list(range(part.start, reached)):
                known.append((Segment(part.start, stop), frames))
        return sorted(known, key=lambda one: one[0].start)

    def begin(self, parts: list[tuple[Segment, list[Frame]]]) -> None:
        """Write a new file with the parts of the film and the known frames of each."""
        part_file = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(part_file, "w", encoding="utf-8")  # noqa: SIM115 (closed by `close`)
            for part, _ in parts:
                _write(self._stream, {"part": [part.start, part.stop]})
            for number, (_, frames) in enumerate(parts):
                for frame in frames:
                    _write(self._stream, {"of": number, "frame": json.loads(to_line(frame))})
            self._stream.flush()
            part_file.replace(self._path)
        except OSError:
            self._give_up()

    def add(self, part: int, frame: Frame) -> None:
        """Store a frame; `part` is the index of its part."""
        if self._stream is None:
            return
        self._waiting.append({"of": part, "frame": json.loads(to_line(frame))})
        if time.monotonic() - self._flushed > CHECKPOINT.flush_every_s:
            self._flush()

    def _flush(self) -> None:
        """Write the frames that wait. Their pictures are older than the check of the source."""
        waiting, self._waiting = self._waiting, []
        self._flushed = time.monotonic()
        if self._stream is None or not self._is_source_same():
            self._give_up()
            return
        try:
            for content in waiting:
                _write(self._stream, content)
            self._stream.flush()
        except OSError:
            self._give_up()

    def close(self, finished: bool) -> None:
        """Close the file, and delete it if the analysis has finished."""
        if not finished:
            self._flush()
        self._give_up()
        if finished:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _give_up(self) -> None:
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
            self._stream = None


def _write(stream: IO[str], content: dict[str, Any]) -> None:
    stream.write(json.dumps(content, separators=(",", ":")) + "\n")


def split_known(own: list[Segment], known: list[tuple[Segment, list[Frame]]]) -> list[tuple[Segment, list[Frame]]]:
    """All parts of a film in order: the known parts unchanged, and the unknown gaps of `own` between them."""
    parts = list(known)
    for segment in own:
        start = segment.start
        for part, _ in known:
            if part.stop <= start or part.start >= segment.stop:
                continue
            if part.start > start:
                parts.append((Segment(start, part.start), []))
            start = max(start, part.stop)
        if start < segment.stop:
            parts.append((Segment(start, segment.stop), []))
    return sorted(parts, key=lambda one: one[0].start)
