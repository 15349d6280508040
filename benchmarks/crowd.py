# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of each stage by the number of faces: build.py bench crowd [PORTRAITS].

Films of 1280 x 720 are made in which small faces move. PORTRAITS is a folder of pictures with one face each, such as
the official portraits of Reform-to/congress-photos (github.com, public domain); without it, all faces are
scikit-image's astronaut, mirrored or not. Each stage runs once, in this process and in one thread of Python (OpenCV and
onnxruntime use their own), so that its time can be measured alone; jobs of `faceblur` use several processes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.cover.layers import plan_layers
from blender_faceblur.core.detection.picture_sizes import compute_decode_size
from blender_faceblur.core.detection.settings import DEFAULT_MARGIN, DetectorUse, get_preset
from blender_faceblur.core.document.tracks_file import from_json, to_json
from blender_faceblur.core.review.overview import read_overview
from blender_faceblur.core.review.queue import list_review_entries
from blender_faceblur.core.tracking import analysis, linking
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.types import FaceBlurError, Picture, TrackDocument
from blender_faceblur.detectors.passes import combine_passes, make_turned
from blender_faceblur.painting.covers import CoverTimeline, Moment
from blender_faceblur.painting.painter import Painter
from blender_faceblur.sources import open_source
from blender_faceblur.worker.ensemble import Networks, choose_usable, list_used, open_opinion, open_sessions
from tools.film import read_astronaut

from .portraits import FACE_HEIGHT, FACE_PX, TILE_PX, compute_middle, lay_out, open_yunet

WIDTH, HEIGHT, RATE = 1280, 720, Fraction(25)
HEAD_REACH = (0.85, 1.15)
"""How far a head is cut out around the middle of its face, in widths of the face: sideways, and up and down."""
AMPLITUDE_PX = (8.0, 5.0)
"""How far each face moves from the middle of its cell, so that it never meets its neighbours."""


@dataclass(slots=True)
class StageClock:
    """The seconds that each stage took, without those of the stages that it called."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=lambda: [0.0])

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        began = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took, inner = time.process_time() - began, self._inner.pop()
            self._inner[-1] += took
            self.seconds[stage] = self.seconds.get(stage, 0.0) + took - inner

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.time(stage):
                return function(*arguments, **named)

        return timed

    def wrap_frames(self, stage: str, frames: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self.time(stage):
                one = next(frames, None)
            if one is None:
                return
            yield one


@dataclass(frozen=True, slots=True)
class _TimedDetector:
    detect: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A head: height x width x 3, and its matte (0..1)."""

    picture: NDArray[np.float32]
    matte: NDArray[np.float32]


def read_sprites(folder: Path | None, most: int, face_px: float) -> list[Sprite]:
    """Heads whose faces are `face_px` high. Raises FaceBlurError if the folder holds no usable portrait."""
    detector = open_yunet()
    if folder is not None and not folder.is_dir():
        raise FaceBlurError(f"{folder}: there is no such folder")
    portraits: Iterator[Picture | None] = (
        iter([read_astronaut()]) if folder is None else (cv2.imread(str(file)) for file in sorted(folder.iterdir()))
    )
    sprites: list[Sprite] = []
    for portrait in portraits:
        tile = lay_out(portrait, detector)
        if tile is not None:
            sprites.append(_cut_out(tile.picture, face_px))
        if len(sprites) == most:
            break
    if not sprites:
        raise FaceBlurError(f"{folder}: no picture in this folder shows a face of 30 pixels or more")
    mirrored = [Sprite(sprite.picture[:, ::-1], sprite.matte[:, ::-1]) for sprite in sprites]
    both = sprites + mirrored
    return [both[number % len(both)] for number in range(most)]


def _cut_out(tile: Picture, face_px: float) -> Sprite:
    scale = face_px / (FACE_PX * FACE_HEIGHT)
    y, x = np.mgrid[:TILE_PX, :TILE_PX] + 0.5
    away = np.hypot(
        (x - compute_middle()[0]) / (HEAD_REACH[0] * FACE_PX), (y - compute_middle()[1]) / (HEAD_REACH[1] * FACE_PX)
    )
    matte = np.clip((1 - away) / 0.15, 0, 1)
    size = (round(TILE_PX * scale),) * 2
    return Sprite(
        np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), np.float32),
        np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.float32),
    )


def write_crowd(path: Path, sprites: Sequence[Sprite], faces: int, frames: int) -> None:
    """Write a film of that many moving faces, in rows."""
    import av

    columns = max(1, round((faces * WIDTH / HEIGHT) ** 0.5))
    rows = -(-faces // columns)
    rng = np.random.default_rng(faces)
    phases, speeds = rng.uniform(0, 2 * np.pi, (faces, 2)), rng.uniform(2.5, 5.0, (faces, 2))
    noise = rng.normal(0, 1, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.float32)
    behind = 105 + 25 * np.asarray(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    with av.open(str(path), "w") as container:
        target: Any = container.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
        target.width, target.height, target.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            picture: NDArray[np.float32] = np.array(behind, np.float32)
            moves = np.sin(phases + speeds * index / float(RATE)) * AMPLITUDE_PX
            for number in range(faces):
                x = (number % columns + 0.5) / columns * WIDTH + moves[number, 0]
                y = (number // columns + 0.5) / rows * HEIGHT + moves[number, 1]
                paste(picture, sprites[number], x, y)
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="bgr24")
            frame.pts, frame.time_base = index, 1 / RATE
            container.mux(target.encode(frame))
        container.mux(target.encode(None))


def paste(picture: NDArray[np.float32], sprite: Sprite, x: float, y: float) -> None:
    """Put a head into a picture (height x width x 3), its middle at a place in pixels."""
    side = len(sprite.matte)
    left, top = int(np.floor(x - side / 2)), int(np.floor(y - side / 2))
    shift = np.array([[1, 0, x - side / 2 - left], [0, 1, y - side / 2 - top]])
    head, matte = (cv2.warpAffine(part, shift, (side + 1, side + 1)) for part in (sprite.picture, sprite.matte))
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + side + 1, width), min(top + side + 1, height)
    inside = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
    share = np.asarray(matte)[inside][..., None]
    picture[y1:y2, x1:x2] += share * (np.asarray(head)[inside] - picture[y1:y2, x1:x2])


def analyse(film: Path, preset_name: str, clock: StageClock) -> TrackDocument:
    """Analyse a film in this process, as one segment."""
    preset = get_preset(preset_name)
    uses, _ = choose_usable(preset)
    with ExitStack() as opened:
        source = opened.enter_context(open_source(film))
        info = source.info
        size, rate = (info.width, info.height), float(info.frame_rate)
        sessions = open_sessions(opened.enter_context(Networks()), uses, "cpu")
        detectors: list[tuple[analysis.Detector, DetectorUse]] = [
            (_TimedDetector(clock.wrap(f"detect: {use.detector}", detector.detect)), use)
            for detector, use in combine_passes([(sessions[use.detector], use) for use in uses], size)
        ]
        models = list_used(uses, info)
        for module, name, stage in (
            (analysis, "track_boxes", "optical flow"),
            (analysis, "fuse_detections", "fuse detections"),
            (analysis, "describe_appearance", "describe colours"),
            (analysis, "_PreparedFrame", "scale pictures"),
            (linking, "fill_trajectories", "fill and smooth"),
            (linking, "find_review_items", "find review items"),
        ):
            opened.enter_context(mock.patch.object(module, name, clock.wrap(stage, getattr(module, name))))
        opinion = open_opinion(Networks(), preset)
        table = ObservationTable([Segment(0, info.frame_count)])
        frames = clock.wrap_frames("decode", source.read_frames(0, info.frame_count, compute_decode_size(size, uses)))
        with clock.time("match and track"):
            for record in analysis.analyse_frames(
                frames,
                size,
                rate,
                detectors,
                preset.strong_confidence,
                0,
                analysis.compute_stride(preset.detect_every_s, rate),
                None if opinion is None else clock.wrap("second opinion", opinion.score_faces),
                clock.wrap("turned pictures", make_turned(sessions)) if preset.seeks_turned else None,
                preset.seeks_enlarged,
            ):
                table.add(0, record)
        with clock.time("link tracks"):
            return analysis.build_document(table, info, preset, DEFAULT_MARGIN, models, [])


def paint(film: Path, document: TrackDocument, kind: str, most: int, clock: StageClock) -> None:
    """Paint the covers into the film's first pictures."""
    import av

    timeline = CoverTimeline(document)
    painter = Painter(EffectSettings(kind), timeline.largest_face_px)
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(container.streams.video[0])):
            if number == most:
                break
            with clock.time("outlines"):
                outlines = timeline.list_outlines(Moment((number,), number))
            with clock.time(f"paint: {kind}"):
                painter.paint(frame, outlines)


def measure(film: Path, preset: str, frames: int) -> tuple[StageClock, TrackDocument]:
    """The seconds of each stage, and the document of the film."""
    clock = StageClock()
    document = analyse(film, preset, clock)
    with clock.time("write document"):
        text = to_json(document)
    with clock.time("read document"):
        from_json(text)
    with clock.time("review queue"):
        list_review_entries(document)
    with clock.time("overview"):
        read_overview(text)
    with clock.time("plan layers"):
        plan_layers(document)
    for kind in ("solid", "mosaic"):
        paint(film, document, kind, frames, clock)
    return clock, document


PAINTING = ("outlines", "paint: solid", "paint: mosaic")
AFTER = ("write document", "read document", "review queue", "overview", "plan layers")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build.py bench crowd", description=__doc__)
    parser.add_argument("portraits", type=Path, nargs="?")
    parser.add_argument("--faces", type=int, nargs="+", default=[1, 10, 50, 200, 400], metavar="N")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--face-px", type=float, default=26.0, help="height of each face")
    parser.add_argument("--preset", default="balanced")
    options = parser.parse_args(arguments)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    results: dict[int, StageClock] = {}
    with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as place:
        try:
            sprites = read_sprites(options.portraits, max(options.faces), options.face_px)
            for faces in options.faces:
                film = Path(place) / f"{faces}.mp4"
                write_crowd(film, sprites, faces, options.frames)
                clock, document = measure(film, options.preset, options.frames)
                results[faces] = clock
                print(
                    f"{faces} faces: {len(document.tracks)} tracks, {len(document.review_items)} places to review",
                    file=sys.stderr,
                )
        except FaceBlurError as error:
            print(error, file=sys.stderr)
            return 1
    print_table(results, options.frames)
    return 0


def print_table(results: dict[int, StageClock], frames: int) -> None:
    """Milliseconds per frame of each stage, and of the whole analysis, by the number of faces."""
    print(f"{'milliseconds per frame, by faces':34}" + "".join(f"{faces:>10}" for faces in results))
    stages = list(dict.fromkeys(stage for clock in results.values() for stage in clock.seconds))
    totals: dict[int, float] = {}
    for faces, clock in results.items():
        totals[faces] = sum(s for stage, s in clock.seconds.items() if stage not in PAINTING + AFTER)
    row = partial(_format_row, results)
    for stage in stages:
        print(row(stage, [1000 * clock.seconds.get(stage, 0.0) / frames for clock in results.values()]))
    print(row("analysis", [1000 * total / frames for total in totals.values()]))
    least = totals[min(totals)]
    print(row(f"analysis, times that of {min(totals)}", [total / least for total in totals.values()]))


def _format_row(results: dict[int, StageClock], name: str, values: list[float]) -> str:
    assert len(values) == len(results)
    return f"{name:34}" + "".join(f"{value:10.2f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
