# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint the covers of a film, piece by piece: decode, paint, encode.

A piece begins at a key picture of the source and is encoded on its own, so that a run that was interrupted goes on at
the piece where it stopped, and a changed track makes only the pieces anew in which it is. `delivery/join.py` puts the
pieces together.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.cover.effects import EffectSettings
from ..core.types import FaceBlurError
from ..delivery.join import PIECE_LEAD_S
from ..sources.movie import MovieSource
from .covers import Moment, Timeline
from .encoders import EncoderChoice, MasteringDisplay, StreamLook, choose_encoder, open_encoder
from .formats import choose_planar, parse_planar
from .painter import Painter

PIECE_S = 8.0
"""Shortest length of a piece in seconds, except of the last. Raising it repeats more work after an interruption or a
correction, and lowering it costs bytes: each piece begins with a key picture."""

_TICKS_PER_S = 10_000
"""At least this many units of time make a second in films with a picture for each frame. Raising it places their sound
more precisely; some players cannot count more than 90000."""

_MASTERING = struct.Struct("<20i2i")
_LIGHT = struct.Struct("<2I")
"""AVMasteringDisplayMetadata and AVContentLightMetadata (libavutil/mastering_display_metadata.h)."""
_MATRIX = struct.Struct("=9i")


@dataclass(frozen=True, slots=True)
class FilmSettings:
    """How a film is painted and encoded; see `encoders.choose_encoder`."""

    effect: EffectSettings
    codec: str = "auto"
    quality: str = "high"
    encoder: str = "cpu"
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilmStream:
    """A film's video stream: how players show it, FFmpeg's names of its codec and pixel format, and its display matrix
    (nine numbers, or none)."""

    look: StreamLook
    codec: str
    pixel_format: str
    matrix: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FrameClock:
    """The times of a film that has one picture for each frame of a strip: frame n is shown at `start + n * step`, in
    units of `time_base` seconds. `start` is the source's, up to half a unit."""

    time_base: Fraction
    start: int
    step: int

    @classmethod
    def of(cls, source: MovieSource) -> FrameClock:
        rate = source.info.frame_rate
        scale = -(-_TICKS_PER_S // rate.numerator)
        base = Fraction(1, rate.numerator * scale)
        return cls(base, round(source.start * source.time_base / base), rate.denominator * scale)

    def get_time(self, frame: int) -> int:
        return self.start + frame * self.step


@dataclass(frozen=True, slots=True)
class Piece:
    """A half-open range of times, None for the film's beginning and end, and the file that holds it when it is done.

    If the film has one picture for each frame of a strip, the range is one of frames.
    """

    start: int | None
    stop: int | None
    path: Path


@dataclass(frozen=True, slots=True)
class PaintedFilm:
    """The pieces of a film, all complete, and what the caller should know."""

    pieces: list[Piece]
    choice: EncoderChoice
    pictures: int
    whole: int
    """Pictures that are covered completely, because they were not analysed."""


class FilmPainter:
    """Paints one film. Raises FaceBlurError where its pixel format, colours or codec cannot be kept."""

    def __init__(
        self,
        source: MovieSource,
        path: Path,
        timeline: Timeline,
        settings: FilmSettings,
        sticker: NDArray[np.uint8] | None = None,
        per_frame: bool = False,
    ) -> None:
        """With `per_frame` the film gets one picture for each frame of the source's strip, at its constant rate: the
        picture that the strip shows there. Otherwise it gets the source's pictures, at their own times."""
        self._source, self._settings, self._timeline = source, settings, timeline
        self._painter = Painter(settings.effect, timeline.largest_face_px, source.turn, sticker)
        self.stream = read_stream(path, source)
        self.clock = FrameClock.of(source) if per_frame else None
        if self.clock is not None:
            # Blender ignores the matrix in some containers, and the new film's may not be one of them.
            matrix = self.stream.matrix if source.turn else ()
            look = replace(self.stream.look, time_base=self.clock.time_base)
            self.stream = replace(self.stream, look=look, matrix=matrix)
        self.look = self.stream.look
        self.choice = choose_encoder(
            self.stream.codec,
            self.stream.pixel_format,
            settings.codec,
            settings.quality,
            self.look,
            settings.encoder,
            *([settings.allowed] if settings.allowed else []),
        )

    def paint(self, folder: Path, on_progress: Callable[[int], None], processors: int | None = None) -> PaintedFilm:
        """Make the pieces that `folder` does not hold yet, and remove others; `on_progress` gets the pictures done."""
        folder.mkdir(parents=True, exist_ok=True)
        pieces = self._plan_pieces(folder)
        _remove_others(folder, {piece.path for piece in pieces})
        missing = [piece for piece in pieces if not piece.path.is_file()]
        count, stopped, lock = 0, Event(), Lock()
        whole = 0

        def note(everything: bool) -> None:
            nonlocal count, whole
            with lock:
                count, whole = count + 1, whole + everything
                on_progress(count)

        cores = processors or os.cpu_count() or 1
        lanes = max(1, min(len(missing), cores // 4))
        with ThreadPoolExecutor(lanes) as pool:
            jobs = [pool.submit(self._paint_piece, piece, cores // lanes, note, stopped) for piece in missing]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                stopped.set()
                raise
        return PaintedFilm(pieces, self.choice, count, whole)

    def _list_edges(self) -> list[int]:
        """Where a new piece begins: a time, or a frame if the film has one picture for each."""
        shortest = round(PIECE_S / self._source.time_base)
        edges: list[int] = []
        keys = self._source.list_key_times()
        for time in keys[1:]:
            if time - (edges[-1] if edges else keys[0]) >= shortest:
                edges.append(time)
        if self.clock is None:
            return edges
        frames = {self._source.find_frames_showing(time, None)[0].start for time in edges}
        return sorted(frame for frame in frames if 0 < frame < self._source.info.frame_count)

    def _find_position(self, edge: int) -> float:
        """The position of an edge, in frames."""
        return float(edge) if self.clock is not None else self._source.find_frames_showing(edge, edge)[1]

    def _plan_pieces(self, folder: Path) -> list[Piece]:
        edges = self._list_edges()
        settings: list[Any] = [asdict(self._settings.effect), asdict(self.choice), _describe_look(self.look)]
        if self.clock is not None:
            settings += [asdict(self.clock), self._source.info.fingerprint, self._timeline.largest_face_px]
        pieces = []
        for number, (start, stop) in enumerate(zip([None, *edges], [*edges, None], strict=True)):
            first = -1.0 if start is None else self._find_position(start)
            last = float("inf") if stop is None else self._find_position(stop)
            content = json.dumps([settings, start, stop, self._timeline.describe(first, last)], default=str)
            digest = hashlib.sha256(content.encode()).hexdigest()[:32]
            pieces.append(Piece(start, stop, folder / f"{number:06}-{digest}.nut"))
        return pieces

    def _paint_piece(self, piece: Piece, threads: int, note: Callable[[bool], None], stopped: Event) -> None:
        import av

        part = piece.path.with_suffix(".part")
        lead = round(PIECE_LEAD_S / self.look.time_base)
        try:
            with av.open(str(part), "w", format="nut") as container:
                stream = open_encoder(container, self.choice, self.look, threads)
                for time, frame, moment, again in self._walk(piece):
                    if stopped.is_set():
                        return
                    everything = self._timeline.covers_everything(moment)
                    outlines = [] if everything else self._timeline.list_outlines(moment)
                    kept = [_view_rows(plane).copy() for plane in frame.planes] if again else []
                    painted = self._to_encoder(self._painter.paint(frame, outlines, everything))
                    painted.pts, painted.time_base = time + lead, self.look.time_base
                    painted.pict_type = 0
                    for packet in stream.encode(painted):
                        container.mux(packet)
                    _restore(frame, kept)
                    note(everything)
                for packet in stream.encode(None):
                    container.mux(packet)
            part.replace(piece.path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FaceBlurError(f"The covered pictures cannot be encoded as {self.choice.codec}: {reason}.") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _walk(self, piece: Piece) -> Iterator[tuple[int, Any, Moment, bool]]:
        """Each picture of a piece with its time, with the frames of the strip that show it, and whether the next
        picture is the same object."""
        if self.clock is not None:
            yield from self._walk_frames(self.clock, piece)
            return
        before: tuple[int, Any] | None = None
        for time, frame in self._source.pictures(piece.start, piece.stop):
            if before is not None:
                yield *before, self._find_moment(before[0], time), False
            before = time, frame
        if before is not None:
            yield *before, self._find_moment(before[0], piece.stop), False

    def _walk_frames(self, clock: FrameClock, piece: Piece) -> Iterator[tuple[int, Any, Moment, bool]]:
        before: tuple[int, Any] | None = None
        for number, frame in self._source.stored_frames(piece.start or 0, piece.stop):
            if before is not None:
                yield clock.get_time(before[0]), before[1], Moment((before[0],), before[0]), frame is before[1]
            before = number, frame
        if before is not None:
            yield clock.get_time(before[0]), before[1], Moment((before[0],), before[0]), False

    def _find_moment(self, time: int, next_time: int | None) -> Moment:
        frames, position = self._source.find_frames_showing(time, next_time)
        return Moment(tuple(frames), position)

    def _to_encoder(self, frame: Any) -> Any:
        """The frame in the encoder's pixel format, which has the same samples."""
        wanted = self.choice.pixel_format
        if frame.format.name == wanted:
            return frame
        planar, other = parse_planar(frame.format.name), parse_planar(wanted)
        if planar is not None and other is not None and planar.is_full_range != other.is_full_range:
            return _relabel(frame, wanted)
        return frame.reformat(format=wanted)


def read_stream(path: Path, source: MovieSource) -> FilmStream:
    """Read what a film's stream and first picture say. Raises FaceBlurError if no picture can be decoded."""
    import av
    from av.sidedata.sidedata import Type

    first = next((frame for _, frame in source.pictures()), None)
    if first is None:
        raise FaceBlurError(f"{path.name}: no picture of the film can be decoded")
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        stream = container.streams[source.stream_index]
        context = stream.codec_context
        field_order = int(context.field_order)
        codec = str(context.codec.canonical_name)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
    if first.interlaced_frame and field_order <= 1:
        field_order = 2
    planar = choose_planar(first.format.name)
    color_range = 2 if planar.kind == "yuv" and planar.is_full_range else int(first.color_range)
    look = StreamLook(
        first.width,
        first.height,
        aspect,
        source.time_base,
        source.info.frame_rate,
        (color_range, int(first.colorspace), int(first.color_primaries), int(first.color_trc)),
        field_order if first.interlaced_frame else 1,
        mastering=_read_mastering(first),
        light=_read_light(first),
    )
    matrix = first.side_data.get(Type.DISPLAYMATRIX)
    return FilmStream(look, codec, first.format.name, _MATRIX.unpack(bytes(matrix)) if matrix is not None else ())


def _read_mastering(frame: Any) -> MasteringDisplay | None:
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.MASTERING_DISPLAY_METADATA)
    if data is None:
        return None
    numbers = _MASTERING.unpack_from(bytes(data))
    shares = [Fraction(numbers[i], numbers[i + 1] or 1) for i in range(0, 20, 2)]
    if not (numbers[20] and numbers[21]):
        return None
    places = [(round(x * 50000), round(y * 50000)) for x, y in zip(shares[:8:2], shares[1:8:2], strict=True)]
    red, green, blue, white = places
    return MasteringDisplay(green, blue, red, white, (round(shares[9] * 10000), round(shares[8] * 10000)))


def _read_light(frame: Any) -> tuple[int, int] | None:
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.CONTENT_LIGHT_LEVEL)
    if data is None:
        return None
    most, average = _LIGHT.unpack_from(bytes(data))
    return most, average


def _restore(frame: Any, kept: Sequence[NDArray[np.uint8]]) -> None:
    """Give a painted picture that is needed once more its former samples; nothing if `kept` is empty."""
    if not kept:
        return
    # The encoder may still need what was painted.
    frame.make_writable()
    for plane, rows in zip(frame.planes, kept, strict=True):
        _copy_rows(rows, _view_rows(plane))


def _relabel(frame: Any, name: str) -> Any:
    """A frame with the same samples in a format that differs only in the range that its name stands for."""
    import av

    copy = av.VideoFrame(frame.width, frame.height, name)
    for target, plane in zip(copy.planes, frame.planes, strict=True):
        _copy_rows(_view_rows(plane), _view_rows(target))
    for name_of_color in ("colorspace", "color_primaries", "color_trc"):
        setattr(copy, name_of_color, getattr(frame, name_of_color))
    copy.color_range = 2
    return copy


def _view_rows(plane: Any) -> NDArray[np.uint8]:
    """The bytes of a plane, row by row, with the padding at the end of each."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)


def _copy_rows(rows: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    # Rows can have different padding.
    width = min(target.shape[1], rows.shape[1])
    target[:, :width] = rows[:, :width]


def _describe_look(look: StreamLook) -> list[Any]:
    return [str(value) for value in asdict(look).values()]


def _remove_others(folder: Path, wanted: Sequence[Path] | set[Path]) -> None:
    for path in folder.iterdir():
        if path not in wanted and path.suffix in (".nut", ".part"):
            with suppress(OSError):
                path.unlink()
