# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a half-hidden face shows: build.py bench hidden FOLDER.

In each clip of FOLDER the largest face that is found steadily is chosen. Films are made of it in which something hides
a part of that face: what is held before it, a scarf, somebody else, a cap. Each film is analysed as by the extension.

Where the face is comes from the tracks of the clip as it is. So only faces are counted that the preset finds when
nothing hides them, and the bodies, hands and backgrounds around them are real; what hides them is a plain rectangle.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Picture, Track, TrackDocument
from blender_faceblur.sources import open_source
from tools.film import FaceTruth, write_film

from .accuracy import describe_machine, print_report
from .covers import TracksCover, analyse
from .scoring import COVERED, draw_ellipse

LONG_SIDE_PX = 960
LEAST_S = 3.0
_STEADY = 0.25
"""Least share (0..1) of a track's frames in which it is detected; detectors run on every third frame."""


class Hider(StrEnum):
    """What hides a part of a face."""

    HELD = "held before it"
    SCARF = "a scarf"
    SIDE = "somebody else"
    CAP = "a cap"


_PLACES = {
    Hider.HELD: (0.2, 0.2, 0.85, 1.1),
    Hider.SCARF: (-0.1, 0.45, 1.1, 1.15),
    Hider.SIDE: (0.5, -0.3, 1.6, 1.3),
    Hider.CAP: (-0.15, -0.3, 1.15, 0.5),
}
"""Left, top, right and bottom of each, in widths and heights of the face, from its upper left corner."""

_COLOURS = {
    Hider.HELD: (25, 25, 25),
    Hider.SCARF: (54, 40, 108),
    Hider.SIDE: (81, 90, 99),
    Hider.CAP: (99, 54, 36),
}
"""Blue, green, red."""


@dataclass(frozen=True, slots=True)
class Result:
    """Frames of one film in which a part of the face that is not hidden shows."""

    exposed: int
    listed: int
    """Those to which a review item leads."""
    frames: int


def choose_track(document: TrackDocument) -> Track | None:
    """The largest face of at least `LEAST_S` that is detected steadily; None if there is none."""
    least = LEAST_S * float(document.source.frame_rate)
    steady = [
        track
        for track in document.tracks
        if len(track.samples) >= least
        and sum(s.evidence is Evidence.DETECTED for s in track.samples) >= _STEADY * len(track.samples)
    ]
    return max(steady, key=lambda t: float(np.median([s.ellipse.ry for s in t.samples])), default=None)


def place_hider(face: Ellipse, hider: Hider, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a picture of `size` (width, height) that something covers."""
    left, top, right, bottom = _PLACES[hider]
    corner, across = (face.cx - face.rx, face.cy - face.ry), (2 * face.rx, 2 * face.ry)
    x = [int(np.clip(round(corner[0] + share * across[0]), 0, size[0])) for share in (left, right)]
    y = [int(np.clip(round(corner[1] + share * across[1]), 0, size[1])) for share in (top, bottom)]
    return slice(*y), slice(*x)


def hide(picture: Picture, face: Ellipse, hider: Hider, seed: int) -> Picture:
    """The picture (BGR) with a part of the face hidden."""
    hidden = picture.copy()
    place = place_hider(face, hider, (picture.shape[1], picture.shape[0]))
    grain = np.random.default_rng(seed).normal(0, 4, hidden[place].shape)
    hidden[place] = np.clip(np.array(_COLOURS[hider]) + grain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(hidden, (3, 3), 0.5), np.uint8)


def measure(document: TrackDocument, faces: dict[int, Ellipse], hider: Hider) -> Result:
    """Compare the covers with the parts of the faces (by frame) that are not hidden."""
    cover = TracksCover(document, 0.0)
    exposed = listed = frames = 0
    for frame, face in faces.items():
        area = draw_ellipse(face, (cover.height, cover.width))
        area[place_hider(face, hider, (cover.width, cover.height))] = 0
        if not area.any():
            continue
        frames += 1
        mask = cover.draw(frame)
        if mask is None or float((area & mask).sum()) < COVERED * int(area.sum()):
            exposed += 1
            listed += cover.has_item(frame, face)
    return Result(exposed, listed, frames)


def make_film(clip: Path, track: Track, hider: Hider, most_s: float, path: Path) -> dict[int, Ellipse]:
    """Write a film of a track's frames in which its face is half hidden; returns where the face is, by frame.

    Raises FaceBlurError if the clip cannot be read.
    """
    start = track.samples[0].source_frame
    with open_source(clip) as source:
        info = source.info
        scale = min(1.0, LONG_SIDE_PX / max(info.width, info.height))
        width, height = (2 * int(length * scale / 2) for length in (info.width, info.height))
        stop = min(track.samples[-1].source_frame + 1, start + round(most_s * float(info.frame_rate)))
        x, y = width / info.width, height / info.height
        faces = {
            s.source_frame - start: Ellipse(
                s.ellipse.cx * x, s.ellipse.cy * y, s.ellipse.rx * x, s.ellipse.ry * y, s.ellipse.angle
            )
            for s in track.samples
            if s.source_frame < stop
        }

        def draw() -> Iterator[tuple[Picture, list[FaceTruth]]]:
            for frame, picture in source.read_frames(start, stop, (width, height)):
                face = faces.get(frame - start)
                yield (np.ascontiguousarray(picture) if face is None else hide(picture, face, hider, frame)), []

        write_film(
            path,
            draw(),
            width=width,
            height=height,
            frame_rate=info.frame_rate,
            frame_count=stop - start,
            crf=20,
        )
    return faces


def run(options: argparse.Namespace) -> Iterator[str]:
    """The lines of the report."""
    yield from describe_machine()
    totals: dict[Hider, list[Result]] = {hider: [] for hider in Hider}
    clips = [options.folder / name for name in options.clips] or sorted(p for p in options.folder.iterdir())
    for clip in (path for path in clips if path.is_file()):
        try:
            document, _ = analyse(clip, options.preset)
        except FaceBlurError as error:
            yield f"{clip.name}: not measured: {error}"
            continue
        track = choose_track(document)
        if track is None:
            yield f"{clip.name}: no face is found steadily for {LEAST_S:g} s"
            continue
        for hider in Hider:
            with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as folder:
                film = Path(folder) / "film.mp4"
                faces = make_film(clip, track, hider, options.seconds, film)
                result = measure(analyse(film, options.preset)[0], faces, hider)
            totals[hider].append(result)
            yield f"{clip.name}, {hider}: {_describe([result])}"
    for hider, results in totals.items():
        yield f"all {len(results)} films, {hider}: {_describe(results)}"


def _describe(results: list[Result]) -> str:
    exposed, listed, frames = (
        sum(values) for values in ([getattr(r, name) for r in results] for name in ("exposed", "listed", "frames"))
    )
    films = sum(r.exposed > 0 for r in results)
    return f"shows in {exposed} of {frames} frames ({films} films); a review item leads to {listed} of these"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py bench hidden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of clips")
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="only these clips")
    parser.add_argument("--seconds", type=float, default=4.0, help="the greatest length of each film")
    parser.add_argument("--preset", default="balanced")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return print_report(run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
