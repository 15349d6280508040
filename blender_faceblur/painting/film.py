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
from ..sources.unchanged import SourceGuard
from .chroma import read_chroma_location
from .covers import Moment, Timeline
from .encoders import (
    CAPTIONING,
    EncoderChoice,
    MasteringDisplay,
    StreamLook,
    choose_encoder,
    list_unwritten,
    open_encoder,
)
from .formats import choose_planar, convert, parse_planar
from .painter import Painter

PIECE_S = 8.0
"""Shortest length of a piece in seconds, except of the last. Raising it repeats more work after an interruption or a
correction, and lowering it costs bytes: each piece begins with a key picture."""

_TICKS_PER_S = 10_000
"""At least this many units of time make a second in films with a picture for each frame. Raising it places their sound
more precisely; some players cannot count more than 90000."""

_EXTRAS = {
    "DOVI_RPU_BUFFER": "the Dolby Vision layer",
    "DOVI_METADATA": "the Dolby Vision layer",
    "DYNAMIC_HDR_PLUS": "HDR10+ brightness",
    "DYNAMIC_HDR_VIVID": "HDR Vivid brightness",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient light of HDR",
    "STEREO3D": "the marking as stereoscopic",
    "SPHERICAL": "the marking as a 360-degree film",
    "ICC_PROFILE": "the colour profile",
    "A53_CC": "closed captions",
}
"""FFmpeg's side data of pictures that is not written, and its name for the user."""

_VERSION = 2
"""Increase it when the same source, settings and tracks give different pieces, so that no run mixes old and new."""

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
    """A film's video stream: how players show it, and FFmpeg's names of its codec and pixel format."""

    look: StreamLook
    codec: str
    pixel_format: str
    matrix: tuple[int, ...]
    """The display matrix: nine numbers, or none."""
    header_colors: tuple[int, int, int, int]
    """Like `StreamLook.colors`, as the container names them."""
    extras: tuple[str, ...] = ()
    """What the film has besides, in words for the user, that no encoder here keeps."""


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

    @property
    def note(self) -> Path:
        """The file that says how many pictures the piece has. It is written first."""
        return self.path.with_suffix(".json")

    def read_counts(self) -> tuple[int, int] | None:
        """How many pictures the piece has, and how many of them are covered completely; None if it is not complete."""
        try:
            counts = json.loads(self.note.read_text(encoding="utf-8"))
            return (int(counts["pictures"]), int(counts["whole"])) if self.path.is_file() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class PaintedFilm:
    """The pieces of a film, all complete, and what the caller should know."""

    pieces: list[Piece]
    choice: EncoderChoice
    pictures: int
    whole: int
    """Pictures that are covered completely, because they were not analysed."""
    painted: int
    """Pictures that were painted now, not by an earlier run."""


class HardwareEncoderError(FaceBlurError):
    """A hardware encoder that opened has failed later."""


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
        self._guard = SourceGuard(path)
        if self._guard.fingerprint != source.info.fingerprint:
            raise FaceBlurError(f"{path.name} changed while it was opened. Start again.")
        self._sticker = "" if sticker is None else hashlib.sha256(sticker.tobytes()).hexdigest()
        self._painter = Painter(settings.effect, timeline.largest_face_px, source.turn, sticker)
        self.stream = read_stream(path, source)
        self.clock = FrameClock.of(source) if per_frame else None
        if self.clock is not None:
            # Blender ignores the matrix in some containers, and the new film's may not be one of them.
            matrix = self.stream.matrix if source.turn else ()
            look = replace(self.stream.look, time_base=self.clock.time_base)
            self.stream = replace(self.stream, look=look, matrix=matrix)
        self.look = self.stream.look
        self.choice = self._choose_encoder(settings.encoder)

    def _choose_encoder(self, wanted: str) -> EncoderChoice:
        settings = self._settings
        allowed = [settings.allowed] if settings.allowed else []
        stream = self.stream
        return choose_encoder(
            stream.codec, stream.pixel_format, settings.codec, settings.quality, self.look, wanted, *allowed
        )

    @property
    def picture_count(self) -> int:
        """About how many pictures are painted in all."""
        return self._source.picture_count if self.clock is None else self._source.info.frame_count

    @property
    def can_fall_back(self) -> bool:
        """Whether the encoder is a hardware encoder that nobody has asked for by its name."""
        return self.choice.is_hardware and self._settings.encoder == "auto"

    def fall_back(self) -> None:
        """Encode on the processor from now on. The pieces that were made before are then made again."""
        self.choice = self._choose_encoder("cpu")

    def list_losses(self) -> list[str]:
        """Sentences about what the covered film does not keep of its pictures."""
        captioned = self.choice.encoder in CAPTIONING
        extras = [name for name in self.stream.extras if not (captioned and name == _EXTRAS["A53_CC"])]
        lost = [*extras, *list_unwritten(self.choice, self.look)]
        return [*self.choice.notes, *([f"Not kept: {', '.join(lost)}."] if lost else [])]

    def paint(
        self,
        folder: Path,
        on_progress: Callable[[int], None],
        processors: int | None = None,
        share: tuple[int, int] | None = None,
    ) -> PaintedFilm:
        """Make the pieces that `folder` does not hold yet, and remove others.

        `on_progress` gets the number of pictures done, those of an earlier run included. With `share` (i, n; i from 1)
        only every nth piece is made, beginning with the ith, and none is removed: other machines make the others.
        """
        folder.mkdir(parents=True, exist_ok=True)
        pieces = self._plan_pieces(folder)
        if share is None:
            _remove_others(folder, {path for piece in pieces for path in (piece.path, piece.note)})
        else:
            pieces = pieces[share[0] - 1 :: share[1]]
        made = [(piece, piece.read_counts()) for piece in pieces]
        missing = [piece for piece, counts in made if counts is None]
        count = sum(counts[0] for _, counts in made if counts is not None)
        whole = sum(counts[1] for _, counts in made if counts is not None)
        earlier, stopped, lock = count, Event(), Lock()

        def note(everything: bool) -> None:
            nonlocal count, whole
            with lock:
                count, whole = count + 1, whole + everything
                on_progress(count)

        cores = processors or os.cpu_count() or 1
        lanes = max(1, min(len(missing), cores // 4))

        def work(piece: Piece) -> None:
            try:
                self._paint_piece(piece, cores // lanes, note, stopped)
            except BaseException:
                # At once, so that this thread does not begin the next piece.
                stopped.set()
                raise

        with ThreadPoolExecutor(lanes) as pool:
            jobs = [pool.submit(work, piece) for piece in missing]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                stopped.set()
                raise
        return PaintedFilm(pieces, self.choice, count, whole, count - earlier)

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
        import av

        edges = self._list_edges()
        settings = [
            _VERSION,
            str(av.library_versions),
            self._source.info.fingerprint,
            asdict(self._settings.effect),
            self._sticker,
            asdict(self.choice),
            _describe_look(self.look),
        ]
        if self.clock is not None:
            settings.append(str(self.clock))
        pieces = []
        for number, (start, stop) in enumerate(zip([None, *edges], [*edges, None], strict=True)):
            first = -1.0 if start is None else self._find_position(start)
            last = float("inf") if stop is None else self._find_position(stop)
            covers = self._timeline.describe(first, last)
            # Only these depend on the largest face: pictures that are covered completely (as the film's ends may be,
            # beyond the strip), and effects that paint all covers of a picture together.
            if covers[-1] or self._painter.paints_together or start is None or stop is None:
                covers.append(self._timeline.largest_face_px)
            content = json.dumps([settings, start, stop, covers], default=str)
            digest = hashlib.sha256(content.encode()).hexdigest()[:32]
            pieces.append(Piece(start, stop, folder / f"{number:06}-{digest}.{self.choice.piece_format}"))
        return pieces

    def _paint_piece(self, piece: Piece, threads: int, note: Callable[[bool], None], stopped: Event) -> None:
        import av

        part = piece.path.with_suffix(".part")
        form = self.choice.piece_format
        # MOV stores a late start in this unit.
        options = {"movie_timescale": str(self.look.time_base.denominator)} if form == "mov" else {}
        lead = round(PIECE_LEAD_S / self.look.time_base)
        pictures = whole = 0
        try:
            with av.open(str(part), "w", format=form, options=options) as container:
                stream = open_encoder(container, self.choice, self.look, threads)
                for time, frame, moment, again in self._walk(piece):
                    if stopped.is_set():
                        return
                    everything = self._covers_everything(moment)
                    kept = [_view_rows(plane).copy() for plane in frame.planes] if again else []
                    painted = self._to_encoder(self.cover(frame, moment))
                    painted.pts, painted.time_base = time + lead, self.look.time_base
                    painted.pict_type = 0
                    for packet in stream.encode(painted):
                        container.mux(packet)
                    _restore(frame, kept)
                    pictures, whole = pictures + 1, whole + everything
                    note(everything)
                for packet in stream.encode(None):
                    container.mux(packet)
            if not self._guard.is_same_file():
                # A later run would take the piece for one of the source as it was, should that come back.
                raise FaceBlurError(f"{self._source.info.file_name} changed while it was painted. Start again.")
            piece.note.write_text(json.dumps({"pictures": pictures, "whole": whole}), encoding="utf-8")
            part.replace(piece.path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            if self.choice.is_hardware:
                raise HardwareEncoderError(
                    f"The hardware encoder {self.choice.encoder} failed: {reason}. Use --encoder cpu."
                ) from error
            raise FaceBlurError(f"The covered pictures cannot be encoded as {self.choice.codec}: {reason}.") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _walk(self, piece: Piece) -> Iterator[tuple[int, Any, Moment, bool]]:
        """Each picture of a piece with its time, when it is shown, and whether the next one is the same object."""
        if self.clock is None:
            for time, frame, moment in self.walk_pictures(piece.start, piece.stop):
                yield time, frame, moment, False
            return
        before: tuple[int, Any] | None = None
        for number, frame in self._source.read_stored_frames(piece.start or 0, piece.stop):
            if before is not None:
                yield self.clock.get_time(before[0]), before[1], Moment((before[0],), before[0]), frame is before[1]
            before = number, frame
        if before is not None:
            yield self.clock.get_time(before[0]), before[1], Moment((before[0],), before[0]), False

    def _name_colors(self, frame: Any) -> None:
        """Give a picture that names no colours those of its stream: covers are painted in them, and some encoders write
        them."""
        own = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
        frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc = _merge_colors(
            own, self.look.colors
        )

    def cover(self, frame: Any, moment: Moment) -> Any:
        """The stored picture of a moment with its covers; see `Painter.paint`."""
        self._name_colors(frame)
        everything = self._covers_everything(moment)
        return self._painter.paint(frame, [] if everything else self._timeline.list_outlines(moment), everything)

    def _covers_everything(self, moment: Moment) -> bool:
        return moment.goes_back or self._timeline.covers_everything(moment)

    def walk_pictures(self, start: int | None = None, stop: int | None = None) -> Iterator[tuple[int, Any, Moment]]:
        """Each stored picture from `start` to `stop` (see `MovieSource.read_pictures`) with its time, and when it is
        shown."""
        before: tuple[int, Any, bool] | None = None
        for picture in self._source.read_timed_pictures(start, stop):
            if before is not None:
                yield *before[:2], self._find_moment(before, picture[0])
            before = picture
        if before is not None:
            yield *before[:2], self._find_moment(before, stop)

    def _find_moment(self, picture: tuple[int, Any, bool], next_time: int | None) -> Moment:
        time, _, goes_back = picture
        frames, position = self._source.find_frames_showing(time, next_time)
        return Moment(tuple(frames), position, goes_back)

    def _to_encoder(self, frame: Any) -> Any:
        """The frame in the encoder's pixel format, which has the same samples."""
        wanted = self.choice.pixel_format
        if frame.format.name == wanted:
            return frame
        planar, other = parse_planar(frame.format.name), parse_planar(wanted)
        if planar is not None and other is not None and planar.is_full_range != other.is_full_range:
            return _relabel(frame, wanted)
        return convert(frame, wanted)


def read_stream(path: Path, source: MovieSource) -> FilmStream:
    """Read what a film's stream and first picture say. Raises FaceBlurError if no picture can be decoded."""
    import av
    from av.sidedata.sidedata import Type

    first = next((frame for _, frame in source.read_pictures()), None)
    if first is None:
        raise FaceBlurError(f"{path.name}: no picture of the film can be decoded")
    planar = choose_planar(first.format.name)
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        stream = container.streams[source.stream_index]
        context = stream.codec_context
        field_order = int(context.field_order)
        codec = str(context.codec.canonical_name)
        header = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        chroma_location = read_chroma_location(bytes(context.extradata or b""), codec)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        hides_alpha = stream.metadata.get("alpha_mode") == "1" and not planar.has_alpha
    if first.interlaced_frame and field_order <= 1:
        field_order = 2
    shown = (first.color_range, first.colorspace, first.color_primaries, first.color_trc)
    in_header, in_pictures = _merge_colors(header, shown), _merge_colors(shown, header)
    if planar.kind == "yuv" and planar.is_full_range:
        in_header, in_pictures = (2, *in_header[1:]), (2, *in_pictures[1:])
    look = StreamLook(
        first.width,
        first.height,
        aspect,
        source.time_base,
        source.info.frame_rate,
        in_pictures,
        field_order if first.interlaced_frame else 1,
        chroma_location,
        mastering=_read_mastering(first),
        light=_read_light(first),
    )
    matrix = first.side_data.get(Type.DISPLAYMATRIX)
    numbers = _MATRIX.unpack(bytes(matrix)) if matrix is not None else ()
    # Not by iteration: that gives the data in one build of PyAV, and its types in another.
    extras = {words for name, words in _EXTRAS.items() if first.side_data.get(Type[name]) is not None}
    if hides_alpha:
        extras.add("transparency")
    return FilmStream(look, codec, first.format.name, numbers, in_header, tuple(sorted(extras)))


def _merge_colors(wanted: Sequence[Any], other: Sequence[Any]) -> tuple[int, int, int, int]:
    """Range, matrix, primaries and transfer curve: the wanted ones where they are specified, else the others."""
    unspecified = (0, 2, 2, 2)
    color_range, matrix, primaries, curve = (
        int(one) if int(one) != nothing else int(two)
        for one, two, nothing in zip(wanted, other, unspecified, strict=True)
    )
    return color_range, matrix, primaries, curve


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
        if path not in wanted and path.suffix in (".nut", ".mov", ".json", ".part"):
            with suppress(OSError):
                path.unlink()
