# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes small films in any pixel format, with a bright disk as their face, and covers them as a run does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.batch.planning import FilmJob, choose_output
from blender_faceblur.batch.renderers import DirectRenderer, Task
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.batch.stages import Stages
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.types import Ellipse, Evidence, Sample, SourceInfo, Track, TrackDocument
from blender_faceblur.delivery.matroska import ROOM, name_pixel_aspect
from blender_faceblur.painting.chroma import read_chroma_location
from blender_faceblur.painting.film import FilmPainter
from blender_faceblur.sources import MovieSource
from blender_faceblur.worker.painting import paint
from blender_faceblur.worker.protocol import Warned

SIZE = (96, 64)
RADIUS = 9.0
MARGIN = 1.4
GREEN = "30C040"
Planes = list[NDArray[Any]]
_HDR = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")

_PACKED: dict[str, tuple[int, tuple[int, ...]]] = {
    "rgb24": (3, (1, 2, 0)),
    "bgr24": (3, (1, 0, 2)),
    "bgr0": (4, (1, 0, 2)),
    "bgra": (4, (1, 0, 2, 3)),
    "rgba": (4, (1, 2, 0, 3)),
    "0rgb": (4, (2, 3, 1)),
}
"""Bytes for each pixel, and where green, blue, red (and alpha) lie in them."""


def place_disk(picture: int) -> tuple[float, float]:
    return 30.0 + picture, 28.0 + picture / 2


def read_planes(frame: Any) -> Planes:
    """Copies of a frame's samples as Y, U, V or G, B, R or grey, then alpha, whatever the layout."""
    name = frame.format.name
    if name in _PACKED:
        width, order = _PACKED[name]
        packed = _view(frame.planes[0], np.uint8)[:, : frame.width * width].reshape(frame.height, frame.width, width)
        return [packed[..., place].copy() for place in order]
    deep = max(component.bits for component in frame.format.components) > 8
    views = [_view(plane, np.uint16 if deep else np.uint8) for plane in frame.planes]
    if name.startswith(("nv", "p0")):
        shift = 6 if name == "p010le" else 0
        half = -(-frame.width // 2)
        luma, chroma = views[0][:, : frame.width] >> shift, views[1][:, : 2 * half] >> shift
        return [luma, chroma[:, 0::2].copy(), chroma[:, 1::2].copy()]
    return [view[:, : plane.width].copy() for view, plane in zip(views, frame.planes, strict=True)]


def _view(plane: Any, kind: Any) -> NDArray[Any]:
    samples: NDArray[Any] = np.frombuffer(plane, kind)
    return samples.reshape(plane.height, -1)


def draw_frame(number: int, size: tuple[int, int], pixel_format: str, disk: tuple[float, float] | None = None) -> Any:
    """A frame with a moving pattern that uses the lowest bits too, and a bright disk."""
    frame = av.VideoFrame(*size, pixel_format)
    bits = max(component.bits for component in frame.format.components)
    packed = pixel_format in _PACKED
    cx, cy = disk or place_disk(number)
    for at, plane in enumerate(frame.planes):
        view = _view(plane, np.uint16 if bits > 8 else np.uint8)
        width = plane.width * (_PACKED[pixel_format][0] if packed else 1)
        if pixel_format.startswith(("nv", "p0")) and at:
            width *= 2
        y, x = np.mgrid[0 : plane.height, 0:width]
        low, high = (64, 192) if pixel_format.startswith("yuv") else (16, 200)
        pattern = low + (x * 3 + y * 5 + number * 2 + at * 31) % (high - low)
        pattern = (pattern << (bits - 8)) + ((x + y) % (1 << (bits - 8)))
        scale_x, scale_y = size[0] / width, size[1] / plane.height
        inside = ((x + 0.5) * scale_x - cx) ** 2 + ((y + 0.5) * scale_y - cy) ** 2 < RADIUS**2
        is_alpha = pixel_format.startswith(("yuva", "gbrap")) and at == 3
        pattern[inside & (not is_alpha)] = 230 << (bits - 8)
        if pixel_format == "p010le":
            pattern <<= 6
        view[:, :width] = pattern
    return frame


@dataclass(frozen=True, slots=True)
class Film:
    """A film to write; see `write_film`."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = SIZE
    count: int = 12
    rate: Fraction = Fraction(25)
    ticks: Sequence[int] | None = None
    time_base: Fraction | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    rotation: int | None = None
    pixel_aspect: Fraction | None = None
    interlaced: str = ""
    """"tff" or "bff"."""
    container_options: Mapping[str, str] = field(default_factory=dict)


def write_film(path: Path, film: Film, add: Callable[[Any], Callable[[], None]] | None = None) -> Path:
    """Write a film. `add` adds further streams to the container, and returns what writes their packets."""
    base = film.time_base or 1 / film.rate
    ticks = film.ticks or [round(index / film.rate / base) for index in range(film.count)]
    with av.open(str(path), "w", container_options=dict(film.container_options)) as container:
        stream: Any = container.add_stream(film.codec, rate=film.rate, options=dict(film.options))
        stream.width, stream.height, stream.pix_fmt = *film.size, film.pixel_format
        stream.codec_context.time_base = stream.time_base = base
        # Packets then come in the same order in every run.
        stream.codec_context.thread_count = 1
        if film.pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = film.pixel_aspect
        for name, value in film.context.items():
            setattr(stream.codec_context, name, value)
        if film.pixel_aspect is not None and path.suffix in (".mkv", ".webm"):
            stream.metadata.update(ROOM)
        if film.rotation is not None:
            stream.set_display_rotation(-film.rotation)
        if film.interlaced:
            from av.codec.context import Flags

            stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        finish = add(container) if add is not None else None
        for number, tick in enumerate(ticks):
            frame = draw_frame(number, film.size, film.pixel_format)
            frame.pts, frame.time_base = tick, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if finish is not None:
            finish()
    if film.pixel_aspect is not None and path.suffix in (".mkv", ".webm"):
        name_pixel_aspect(path, film.size, film.pixel_aspect)
    return path


def read_pictures(path: Path) -> list[tuple[Fraction, Any]]:
    """Every picture that a film's first video stream holds, with its time in seconds, decoded by PyAV alone."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base)
        return [((frame.pts or 0) * base, frame) for frame in container.decode(stream)]


def list_shown(source: Path) -> list[int]:
    """The number of the picture that each frame of the strip shows."""
    pictures = [frame.to_ndarray(format="gray").astype(int) for _, frame in read_pictures(source)]
    with MovieSource(source) as film:
        turns = film.turn // 90
        shown = [np.rot90(picture, turns) for _, picture in film.read_frames(grey=True)]
    return [int(np.argmin([np.abs(one - other).mean() for other in pictures])) for one in shown]


def build_document(info: SourceInfo, shown: Sequence[int] | None = None) -> TrackDocument:
    """The disk as a face in the strip's frames. `shown` are the pictures that they show; by default picture n is shown
    at frame n."""
    samples = [
        Sample(frame, Ellipse(*place_disk(picture), RADIUS, RADIUS), Evidence.DETECTED, 1.0)
        for frame, picture in enumerate(shown or range(info.frame_count))
    ]
    return TrackDocument(info, "balanced", MARGIN, [], [], [Track("Face 01", samples)], [])


@dataclass(frozen=True, slots=True)
class Properties:
    """How players show a film's pictures."""

    size: tuple[int, int]
    pixel_format: str
    """Without the range that FFmpeg's older names include."""
    rotation: int
    pixel_aspect: Fraction
    field_order: int
    interlaced: bool
    colors: tuple[int, ...]
    """Range, matrix, primaries and transfer curve of the pictures; the range of RGB is left open."""
    header_colors: tuple[int, ...]
    """The same, as the container has them."""
    hdr: tuple[bytes, ...]
    """Mastering display and content light."""
    chroma_location: int
    rate: Fraction


def read_properties(path: Path) -> Properties:
    """The properties of a film's stream and of its first picture."""
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        context = stream.codec_context
        header = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        location = read_chroma_location(bytes(context.extradata or b""), context.codec.canonical_name)
        frame = read_pictures(path)[0][1]
        names = {data.type.name for data in frame.side_data}
        hdr = tuple(bytes(frame.side_data[key]) for key in _HDR if key in names)
        colors = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
        return Properties(
            (frame.width, frame.height),
            frame.format.name.replace("yuvj", "yuv"),
            int(frame.rotation),
            Fraction(stream.sample_aspect_ratio or 1),
            int(context.field_order),
            bool(frame.interlaced_frame),
            tuple(map(int, colors))[1 if frame.format.is_rgb else 0 :],
            tuple(map(int, header))[1 if frame.format.is_rgb else 0 :],
            hdr,
            location,
            Fraction(stream.guessed_rate),
        )


def check_times(source: Path, covered: Covered) -> None:
    """Assert that every picture is there, at its time, with its content: Matroska and WebM round times to 1 ms."""
    before, after = read_pictures(source), read_pictures(covered.path)
    assert len(before) == len(after) == covered.painted["pictures"]
    tolerance = Fraction(1, 1000) if covered.path.suffix in (".mkv", ".webm") else Fraction(1, 100000)
    for (time, _), (made, _) in zip(before, after, strict=True):
        assert abs((made - after[0][0]) - (time - before[0][0])) <= tolerance
    steps = []
    for (_, frame), fed in zip(after, covered.fed, strict=True):
        bits = max(component.bits for component in frame.format.components)
        distances = [np.abs(read_planes(frame)[0].astype(int) - other[0]).mean() / (1 << bits) for other in covered.fed]
        steps.append(int(np.argmin(distances)))
        assert np.abs(read_planes(frame)[0].astype(int) - fed[0]).mean() < 0.04 * (1 << bits)
    assert steps == list(range(len(steps)))


@dataclass(slots=True)
class Covered:
    """A covered film: the result, what the encoder got, what was reported, and the worker's list of pieces."""

    path: Path
    fed: list[Planes]
    warnings: list[str]
    painted: dict[str, Any]


def cover_film(
    source: Path,
    folder: Path,
    *,
    settings: BatchSettings | None = None,
    output: Path | None = None,
    document: Callable[[SourceInfo], TrackDocument] = build_document,
    collect: bool = True,
) -> Covered:
    """Cover a film as a run does: plan, paint, join and verify."""
    settings = settings or BatchSettings(color=GREEN)
    fed: list[Planes] = []
    warnings: list[str] = []
    job = FilmJob(source, output or folder / f"{source.stem}.blurred{source.suffix}", output is None)
    with MovieSource(source) as film:
        info = film.info
        job, container, notes = choose_output(job, film, settings)
    warnings += notes
    for place in (folder / "work", folder / "part", folder / "storage"):
        place.mkdir(exist_ok=True)
    tracks = folder / "tracks.json"
    write_document(document(info), tracks)

    def run(request: Any, on_progress: Any, warn: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if collect:
                feed = FilmPainter._to_encoder

                def note(self: Any, frame: Any) -> Any:
                    made = feed(self, frame)
                    fed.append(read_planes(made))
                    return made

                patch.setattr(FilmPainter, "_to_encoder", note)
                patch.setattr("os.cpu_count", lambda: 1)
            paint(request, lambda message: warn(message.text) if isinstance(message, Warned) else None)

    def unused(*_: Any) -> Any:
        raise AssertionError("a stage that painting does not need")

    task = Task(
        job,
        info,
        container,
        settings,
        Stages(unused, unused, unused, run),
        folder / "work",
        folder / "part",
        None,
        folder / "storage",
        lambda *_: None,
        warnings.append,
    )
    renderer = DirectRenderer(task)
    renderer.render(tracks)
    result = renderer.deliver()
    return Covered(result, fed, warnings, json.loads((folder / "work" / "painted.json").read_text(encoding="utf-8")))


def check_fed(source: Path, covered: Covered, turn: int = 0, whole: int = 0) -> None:
    """Assert that what the encoder got equals the decoded source, except that a cover hides the disk.

    The last `whole` pictures must be covered completely.
    """
    pictures = read_pictures(source)
    assert len(covered.fed) == len(pictures)
    for number, ((_, frame), fed) in enumerate(zip(pictures, covered.fed, strict=True)):
        decoded = read_planes(frame)
        if number >= len(pictures) - whole:
            assert all((plane == plane[0, 0]).all() for plane in fed[:3]), number
            continue
        width, height = frame.width, frame.height
        cx, cy = place_disk(number)
        cx, cy = {
            0: (cx, cy),
            90: (cy, height - cx),
            180: (width - cx, height - cy),
            270: (width - cy, cx),
        }[turn]
        assert [plane.shape for plane in fed] == [plane.shape for plane in decoded]
        for at, (before, after) in enumerate(zip(decoded, fed, strict=True)):
            rows, columns = before.shape
            y, x = np.mgrid[0:rows, 0:columns]
            # Samples of subsampled planes stand for several pixels, of which the nearest counts.
            step_x, step_y = -(-width // columns), -(-height // rows)
            away = np.hypot((x + 0.5) * step_x - cx, (y + 0.5) * step_y - cy)
            reach = RADIUS * MARGIN * 1.5 + 3 * max(step_x, step_y)
            changed = before != after
            assert not changed[away > reach].any(), (number, at)
            hidden = after[away < RADIUS + 1]
            if at < 3:
                # One colour covers the whole disk.
                assert hidden.size and (hidden == hidden[0]).all(), (number, at)
