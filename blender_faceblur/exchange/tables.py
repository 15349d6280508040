# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks as files for other programs: a CSV with one row per face and frame, the MOT challenge's format, masks."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ..core.document.tracks_file import write_document
from ..core.types import Ellipse, FaceBlurError, Sample, Track, TrackDocument
from .after_effects import write_after_effects
from .fusion import write_fusion
from .nuke import write_nuke

COLUMNS = (
    *("frame", "seconds", "track", "kind", "status", "covered", "left", "top", "width", "height"),
    *("cx", "cy", "rx", "ry", "angle_degrees", "confidence", "evidence"),
)
"""Frames count from 0. The box and the ellipse are the face's, without the margin, in pixels of the shown picture."""


def write_tracks(document: TrackDocument, path: Path, ending: str) -> None:
    """Write the document as a table (.csv), in the MOT format (.txt), as masks for Fusion (.setting), After Effects
    (.jsx) or Nuke (.py), or with any other ending as its own JSON.

    Raises FaceBlurError where the file cannot be written, or its pixels are not square and masks need that.
    """
    write = WRITERS.get(ending)
    if write is None:
        write_document(document, path)
        return
    try:
        with open(path, "w", encoding="utf-8", newline="") as stream:
            write(document, stream)
    except OSError as error:
        raise FaceBlurError(f"{path} cannot be written: {error.strerror}.") from error


def write_csv(document: TrackDocument, stream: TextIO) -> None:
    """One row for each track and frame, those that are not covered included."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    covers = {id(track): _list_covered_frames(track) for track in document.tracks}
    for frame, track, sample in _list_samples([*document.tracks, *document.uncovered]):
        e, (x1, y1, x2, y2) = sample.ellipse, compute_bounds(sample.ellipse)
        covered = frame in covers.get(id(track), ())
        rows.writerow(
            [
                *(frame, f"{float(frame / document.source.frame_rate):.4f}", track.name, track.kind.value),
                *(track.status.value, int(covered)),
                *(f"{value:.2f}" for value in (x1, y1, x2 - x1, y2 - y1, e.cx, e.cy, e.rx, e.ry)),
                *(f"{math.degrees(e.angle):.2f}", f"{sample.confidence:.3f}", sample.evidence.name.lower()),
            ]
        )


def write_mot(document: TrackDocument, stream: TextIO) -> None:
    """What is covered: frame (from 1), number of the track, left, top, width, height, confidence, -1, -1, -1.

    A position that an editor set has the confidence 1.
    """
    numbers = {id(track): number for number, track in enumerate(document.tracks, 1)}
    covers = {id(track): _list_covered_frames(track) for track in document.tracks}
    for frame, track, sample in _list_samples(document.tracks):
        if frame not in covers[id(track)]:
            continue
        x1, y1, x2, y2 = compute_bounds(sample.ellipse)
        box = ",".join(f"{value:.2f}" for value in (x1, y1, x2 - x1, y2 - y1))
        stream.write(f"{frame + 1},{numbers[id(track)]},{box},{sample.confidence:.3f},-1,-1,-1\n")


WRITERS: dict[str, Callable[[TrackDocument, TextIO], None]] = {
    ".csv": write_csv,
    ".txt": write_mot,
    ".setting": write_fusion,
    ".jsx": write_after_effects,
    ".py": write_nuke,
}


def compute_bounds(ellipse: Ellipse) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of the smallest upright box around an ellipse."""
    c, s = math.cos(ellipse.angle), math.sin(ellipse.angle)
    across, down = math.hypot(ellipse.rx * c, ellipse.ry * s), math.hypot(ellipse.rx * s, ellipse.ry * c)
    return ellipse.cx - across, ellipse.cy - down, ellipse.cx + across, ellipse.cy + down


def _list_covered_frames(track: Track) -> set[int]:
    return {frame for span in track.list_covered_spans() for frame in range(*span)}


def _list_samples(tracks: list[Track]) -> Iterator[tuple[int, Track, Sample]]:
    """All samples with their frame and track, frame by frame."""
    pairs = [(sample.source_frame, number, sample) for number, track in enumerate(tracks) for sample in track.samples]
    for frame, number, sample in sorted(pairs, key=lambda pair: pair[:2]):
        yield frame, tracks[number], sample
