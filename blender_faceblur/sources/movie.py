# SPDX-License-Identifier: GPL-3.0-or-later
"""Films: decoded with PyAV, each strip frame matched to the picture that Blender's own reader shows there.

The rules (stream, length, rate, picture of each frame, rotation) are those of Blender's
source/blender/imbuf/movie/intern/movie_read.cc, versions 5.0 to 5.2; tests/blender compares them with renders.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError, Picture, SourceInfo
from .base import FrameSource, fingerprint
from .conversion import PictureConverter, check_alike
from .streams import (
    ALPHA_LOST,
    count_frames,
    format_rate,
    get_rotation,
    get_stream,
    list_losses,
    list_streams,
    round_half_away,
)

if TYPE_CHECKING:
    import av
    import av.container

_NO_TIME = -(1 << 63)
"""AV_NOPTS_VALUE, which Blender uses as the time of a picture without one."""

_SURVEY_BYTES = 256 << 20
"""How much of a film is read (not decoded) on opening, to learn which pictures its strip shows."""

_ENTRIES_CHECKED = 256
"""How many of an MP4's last pictures are checked for whether the file contains them."""

_SEEK_MARGINS_S = (0.5, 4.0, 20.0)
"""How far before the wanted time to search for a key picture, in turn, before reading from the start."""

_INDIRECT_FORMATS = frozenset({"concat", "hls", "applehttp", "dash", "imf", "sdp", "rtsp", "tty", "lavfi"})
"""Text formats that refer to other files or are rendered as text: not films, though FFmpeg would open them."""

_GENERATE_TIMES = 0x1
_TIMES_JUMP = 0x200
"""AVFMT_FLAG_GENPTS, AVFMT_TS_DISCONT (libavformat/avformat.h)."""

_MISSING_S = 0.25
"""How long before its stated end a film's last packet may end. Raising it overlooks files that were cut off; below the
longest packets of sound and subtitles, intact films would be taken for damaged ones."""

_LONGEST_PAUSE = 1000
"""If a film whose length is taken from its pictures' times has more frames than this for each picture, the times are
wrong. Raising it accepts longer pauses, and wastes more time on damaged files."""

_HIGHEST_RATE = 1000
"""Blender assigns 90000 frames a second to a transport stream of variable rate, which cannot be edited."""


@dataclass(slots=True)
class _Decoded:
    time: int
    """In the stream's time base: the picture's own time, else that of the packet which released it."""
    frame: av.VideoFrame


@dataclass(slots=True)
class _Survey:
    """What the packets of a film say, read without decoding."""

    times: list[tuple[int | None, int | None]]
    """The time of each picture and of its decoding, in the stream's time base, in the order of the file."""
    whole: bool
    """Whether all packets were read; otherwise those at the beginning of a very large film."""
    form: list[str]
    """FFmpeg's names of the container."""
    index_exceeds_file: bool
    unreadable: bool
    """Whether reading ended with an error."""
    missing: str
    """How the file was cut off, in words for the user; empty if it has all that it announces."""
    rates: tuple[Fraction | None, Fraction | None]
    delay: int
    """How many pictures the decoder holds back."""


@dataclass(frozen=True, slots=True)
class MovieFacts:
    """What opening a film found out about it, so that another process need not: that takes as long as decoding dozens
    of pictures. Fractions are numerators and denominators; sizes are widths and heights."""

    fingerprint: str
    stream: int
    time_base: list[int]
    start: int
    first_time: int
    untimed: list[int]
    pixel_format: str
    coded_size: list[int]
    rotation: int
    is_cut_off: bool
    begins_early: bool
    seeks_wrong: bool
    surveyed_whole: bool
    pictures: int
    frame_rate: list[int]
    frame_count: int
    pixel_aspect: list[int]
    variable_rate: bool
    warnings: list[str]
    blender_losses: list[str]
    blender_problem: str


class MovieSource(FrameSource):
    """A film's first video stream, frame by frame as a movie strip shows it.

    Films that Blender cannot show completely have a `blender_problem`. Their frames begin with the first picture, and
    end with the last one that can be read.
    """

    def __init__(self, path: Path, timing: tuple[Fraction, int] | None = None, facts: MovieFacts | None = None) -> None:
        """With `timing` (frame rate and number of frames) frames are counted like those of another film, of which this
        one is a copy. With `facts` the film must be the one that they describe, and is not examined again. Raises
        FaceBlurError if the film cannot be read, or is another one."""
        self._path = path
        self._damaged: set[int] = set()
        self._ended_at: int | None = None
        self._is_cut_off = self._begins_early = self._seeks_wrong = False
        self._untimed: list[int] = []
        if facts is not None:
            self._take_facts(facts)
            return
        with self._open() as container:
            stream = get_stream(container, path.name)
            self._stream_index: int = stream.index
            self._time_base = Fraction(stream.time_base)
            self._start = stream.start_time or 0
            rate = stream.guessed_rate
            if not rate or rate <= 0:
                raise FaceBlurError(
                    f"{path.name}: the film has no frame rate, so Blender cannot show it; convert it first"
                )
            if rate > _HIGHEST_RATE:
                raise FaceBlurError(
                    f"{path.name}: its frame rate is implausible ({float(rate):.0f} frames a second); convert it first"
                )
            self._rate, self._count = timing or (Fraction(rate), count_frames(container, stream, Fraction(rate)))
            # FFmpeg decodes the first pictures whenever a film is opened, so it is opened as seldom as possible.
            survey = self._survey(container)
        self._is_cut_off = bool(survey.missing)
        self._pictures = len(survey.times) if survey.whole else 0
        self._move_start(survey, keeps_length=timing is not None)
        if self._count < 1:
            raise FaceBlurError(
                f"{path.name}: the film has no length or no frames, so Blender cannot show it; convert it first"
            )
        with self._open() as container:
            stream = get_stream(container, path.name)
            first, begins_right = self._decode_first(container, survey)
            self._format = first.format.name
            self._coded_size = (first.width, first.height)
            self._rotation = get_rotation(container, first)
            if self._rotation % 90 and max(component.bits for component in first.format.components) > 8:
                # In this case Blender 5.0 and 5.2 show uninitialised memory instead of the picture.
                raise FaceBlurError(
                    f"{path.name}: Blender cannot show a rotation by {self._rotation} degrees; rotate it first"
                )
            pixel_aspect = Fraction(stream.sample_aspect_ratio or 1)
            warnings = list_losses(first, self._rotation)
            if stream.metadata.get("alpha_mode") == "1":
                warnings.append(ALPHA_LOST)
            others = list_streams(container, stream)
            self.blender_problem = self.blender_problem or self._find_unreachable_part(
                survey, container if begins_right else None
            )
        late = next((f for f in range(self._count) if self._get_time(f) >= self._first_time), self._count)
        if late:
            warnings.append(f"the first decodable picture is repeated for {late} frame{'s' * (late > 1)} at the start")
        self._damaged.clear()
        variable, surveyed = self._assess_survey(survey)
        if survey.missing:
            others.append(survey.missing)
        turned = self._rotation in (90, 270)
        self.info = self._describe(
            fingerprint(path),
            1 / pixel_aspect if turned else pixel_aspect,
            variable,
            tuple(others + warnings + surveyed),
        )
        self.blender_losses = tuple(warnings + surveyed)

    def list_facts(self) -> MovieFacts | None:
        """What another `MovieSource` of the same film needs; None of a film whose times do not fit into a message."""
        times = [self._start, self._first_time, *self._untimed]
        # The same as the messages' limits. A picture without a time has the least number of 64 bits.
        if len(self._untimed) > 1000 or any(abs(time) >= 1 << 53 for time in times):
            return None
        info = self.info
        return MovieFacts(
            fingerprint=info.fingerprint,
            stream=self._stream_index,
            time_base=list(self._time_base.as_integer_ratio()),
            start=self._start,
            first_time=self._first_time,
            untimed=list(self._untimed),
            pixel_format=self._format,
            coded_size=list(self._coded_size),
            rotation=self._rotation,
            is_cut_off=self._is_cut_off,
            begins_early=self._begins_early,
            seeks_wrong=self._seeks_wrong,
            surveyed_whole=self._surveyed_whole,
            pictures=self._pictures,
            frame_rate=list(self._rate.as_integer_ratio()),
            frame_count=self._count,
            pixel_aspect=list(info.pixel_aspect.as_integer_ratio()),
            variable_rate=info.variable_rate,
            warnings=list(info.warnings),
            blender_losses=list(self.blender_losses),
            blender_problem=self.blender_problem,
        )

    def _take_facts(self, facts: MovieFacts) -> None:
        if fingerprint(self._path) != facts.fingerprint:
            raise FaceBlurError(f"{self._path.name} has changed since it was opened. Start again.")
        self._stream_index, self._time_base = facts.stream, Fraction(*facts.time_base)
        self._start, self._first_time, self._untimed = facts.start, facts.first_time, list(facts.untimed)
        self._rate, self._count, self._pictures = Fraction(*facts.frame_rate), facts.frame_count, facts.pictures
        self._format, self._rotation = facts.pixel_format, facts.rotation
        self._coded_size = facts.coded_size[0], facts.coded_size[1]
        self._is_cut_off, self._surveyed_whole = facts.is_cut_off, facts.surveyed_whole
        self._begins_early, self._seeks_wrong = facts.begins_early, facts.seeks_wrong
        self.blender_problem, self.blender_losses = facts.blender_problem, tuple(facts.blender_losses)
        self.info = self._describe(
            facts.fingerprint, Fraction(*facts.pixel_aspect), facts.variable_rate, tuple(facts.warnings)
        )

    def _describe(
        self, digest: str, pixel_aspect: Fraction, variable_rate: bool, warnings: tuple[str, ...]
    ) -> SourceInfo:
        turned = self._rotation in (90, 270)
        width, height = self._coded_size[::-1] if turned else self._coded_size
        return SourceInfo(
            file_name=self._path.name,
            kind="movie",
            width=width,
            height=height,
            frame_count=self._count,
            frame_rate=self._rate,
            fingerprint=digest,
            pixel_aspect=pixel_aspect,
            variable_rate=variable_rate,
            warnings=warnings,
        )

    def read_frames(
        self, start: int = 0, stop: int | None = None, size: tuple[int, int] | None = None, grey: bool = False
    ) -> Iterator[tuple[int, Picture]]:
        convert = PictureConverter(self._coded_size, self._format, self._rotation, size, grey, self._path.name)
        shown: av.VideoFrame | None = None
        picture: Picture | None = None
        for source_frame, chosen in self.read_stored_frames(start, stop):
            if picture is None or shown is not chosen:
                shown, picture = chosen, convert(chosen)
            yield source_frame, picture

    def read_stored_frames(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (strip frame, stored picture) like `frames`, with the picture as the decoder returns it.

        Frames in a row that show the same picture yield the same object, which the decoder may still need: make it
        writable before writing into it.
        """
        stop = self._count if stop is None else stop
        decoded = self._decode_from(self._get_time(start))
        # Blender keeps the latest picture and the one before it, and reads on while the latest is too early.
        latest: _Decoded | None = None
        before: _Decoded | None = None
        ended = False
        for source_frame in range(start, stop):
            wanted = self._get_time(source_frame)
            while not ended and (latest is None or latest.time < wanted):
                before = latest or before
                latest = next(decoded, None)
                if latest is None:
                    ended = True
                    self._ended_at = source_frame
            if latest is None or (latest.time != wanted and before is not None and before.time <= wanted):
                chosen = before
            else:
                chosen = latest
            if chosen is None:
                raise FaceBlurError(f"{self._path.name}: no picture can be decoded at frame {source_frame}")
            check_alike(chosen.frame, self._coded_size, self._format, self._path.name)
            yield source_frame, chosen.frame

    def notes(self) -> list[str]:
        notes = []
        if self._damaged:
            notes.append(
                f"{len(self._damaged)} damaged parts could not be decoded; Blender shows a neighbouring picture "
                "there, and may show another one if playback starts in the middle: check the result"
            )
        if not self._surveyed_whole and self._ended_at is not None and self._ended_at < self._count:
            notes.append(f"the pictures end before frame {self._ended_at}; the last one is repeated from there on")
        return notes

    @property
    def start_s(self) -> Fraction:
        """The time of the first frame, in seconds."""
        return self._start * self._time_base

    @property
    def picture_count(self) -> int:
        """About how many pictures `pictures` yields: as many as the film has packets, or, of a very large film, as the
        strip has frames."""
        return self._pictures or self._count

    @property
    def time_base(self) -> Fraction:
        """The unit of `pictures`' times, in seconds."""
        return self._time_base

    @property
    def start(self) -> int:
        """The time that the strip's first frame stands for, in units of `time_base`."""
        return self._start

    @property
    def turn(self) -> int:
        return self._rotation if self._rotation in (90, 180, 270) else 0

    @property
    def stream_index(self) -> int:
        return self._stream_index

    def read_pictures(self, start: int | None = None, stop: int | None = None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (time, stored picture) for every picture that can be decoded, once each and in order.

        Unlike `frames`, which follows Blender's strip, it neither repeats nor skips pictures. `start` and `stop` are
        times in units of `time_base`; `start` must be that of a key picture (see `list_key_times`). Times always rise:
        a picture that has none comes one frame after the picture before it, and one with an earlier time right after
        it. The decoder may still need a picture: make it writable before writing into it. Raises FaceBlurError as
        `frames` does.
        """
        for time, frame, _ in self.read_timed_pictures(start, stop):
            yield time, frame

    def read_timed_pictures(
        self, start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        """Like `read_pictures`, and whether the picture's time lies behind that of an earlier picture.

        So it is in files that were joined end to end: no frame of the strip shows their later pictures, and nothing
        says which frames they resemble. A single step back by less than a frame is a damaged time stamp of a picture
        that follows the one before it; after several, a face may be anywhere.
        """
        frame = max(round(1 / (self._rate * self._time_base)), 1)
        last, goes_back, is_late = None, False, False
        for decoded in self._decode_all() if start is None else self._decode_from_key(start):
            if start is not None and decoded.time < start:
                continue
            if stop is not None and decoded.time >= stop:
                return
            time = decoded.time
            if time == _NO_TIME:
                time = self._start if last is None else last + frame
            elif last is not None and time <= last:
                goes_back = is_late or last - time >= frame
                time, is_late = last + 1, True
            else:
                goes_back = is_late = False
            last = time
            # PyAV would scale the picture to the encoder's size, with its covers in the wrong places.
            check_alike(decoded.frame, self._coded_size, self._format, self._path.name)
            yield time, decoded.frame, goes_back

    def list_key_times(self) -> list[int]:
        """The times of the key pictures from which decoding can start, ascending; empty if they cannot be found."""
        with self._open() as container:
            if int(container.format.flags) & _TIMES_JUMP:
                return []
            return sorted(packet.pts for packet in self._list_pictures(container) if packet.is_keyframe)

    def find_frames_showing(self, time: int, next_time: int | None) -> tuple[range, float]:
        """The strip's frames that show the picture at `time`, before the one at `next_time` (None if it is the last).

        Also returns the time as a position in frames: 2.5 lies between frames 2 and 3.
        """
        steps = 1.0 / float(self._rate * self._time_base)
        stop = self._count if next_time is None else self._find_frame_at(next_time, steps)
        # Frames before the first picture show it too.
        start = 0 if time <= self._first_time else self._find_frame_at(time, steps)
        return range(start, stop), (time - self._start) / steps

    def list_times(self) -> list[Fraction]:
        """The time of every picture in seconds, ascending, from the packets; pictures without a time are missing.

        Of a film that was cut off, those that can be decoded: its last packets may be incomplete.
        """
        if self._is_cut_off:
            return [time * self._time_base for time, _ in self.read_pictures()]
        with self._open() as container:
            times = [*self._untimed, *(packet.pts for packet in self._list_pictures(container))]
        return [time * self._time_base for time in sorted(times)]

    def _list_pictures(self, container: Any) -> Iterator[Any]:
        """The packets of pictures that have a time."""
        for packet in self._read_packets(container, container.streams[self._stream_index]):
            if packet is not None and packet.size and not packet.is_discard and packet.pts is not None:
                yield packet

    def _find_frame_at(self, time: int, steps: float) -> int:
        """The first strip frame whose time is not before `time`, at most the number of frames."""
        frame = min(max(math.floor((time - self._start) / steps) - 1, 0), self._count)
        while frame < self._count and self._get_time(frame) < time:
            frame += 1
        return frame

    def _decode_all(self) -> Iterator[_Decoded]:
        with self._open() as container:
            yield from self._decode(container)

    def _decode_from_key(self, start: int) -> Iterator[_Decoded]:
        """Decode from the key picture at a time; from an earlier one if the container does not seek precisely."""
        import av

        with self._open() as container, suppress(av.error.FFmpegError):
            container.seek(start, stream=container.streams[self._stream_index])
            decoded = self._decode(container, only_after_key=True)
            first = next(decoded, None)
            if first is not None and first.time <= start:
                yield first
                yield from decoded
                return
        yield from self._decode_from(start)

    def _get_time(self, source_frame: int) -> int:
        """The time that Blender uses for a strip frame: round() of doubles, halves away from zero."""
        steps = 1.0 / float(self._rate * self._time_base)
        return round_half_away(source_frame * steps) + self._start

    def _compute_seek_time(self, source_frame: int) -> int:
        """The time to which Blender seeks before it reads on to a strip frame (ffmpeg_get_seek_pts)."""
        steps = 1.0 / float(self._rate * self._time_base)
        return max(int(self._get_time(source_frame) - steps * 3), 0)

    def _open(self) -> av.container.InputContainer:
        import av

        # Never enable PyAV's logging, which is off by default: in a Blender built with the same FFmpeg version,
        # Blender's decoder threads call PyAV's callback and wait for Python forever (5.2.2).
        try:
            # A film must not make FFmpeg open any other file.
            # In a name like "file:talk.mp4", all before a colon would be a protocol, but not in an absolute path.
            container = av.open(str(self._path.absolute()), options={"protocol_whitelist": "file"})
        except PermissionError as error:
            if error.errno == errno.EACCES:
                raise FaceBlurError(f"{self._path.name}: there is no permission to read the file") from None
            # FFmpeg reports a playlist that leads out of its folder like this.
            raise FaceBlurError(f"{self._path.name}: this is a text or playlist, not a film") from None
        except (av.error.FFmpegError, OSError, ValueError):
            raise FaceBlurError(f"{self._path.name}: this is not a readable film or picture") from None
        # PyAV asks FFmpeg to generate missing packet times; Blender uses the packet's decoding time instead.
        container.flags = int(container.flags) & ~_GENERATE_TIMES
        if _INDIRECT_FORMATS & set(container.format.name.split(",")):
            form = container.format.long_name
            container.close()
            raise FaceBlurError(f"{self._path.name}: this is a text or playlist ({form}), not a film")
        return container

    def _decode(self, container: Any, only_after_key: bool = False) -> Iterator[_Decoded]:
        """Decode in output order, skipping damaged parts as Blender does.

        With `only_after_key` the iterator begins at the first key picture: after a seek, pictures that depend on
        skipped ones would be wrong. It ends without an error if there is none.
        """
        import av

        stream = container.streams[self._stream_index]
        context = stream.codec_context
        if not context.is_open:
            context.thread_count = 1
        key_packet = key_picture = not only_after_key
        untimed = iter(() if only_after_key else self._untimed)
        for packet in self._read_packets(container, stream):
            if not key_packet and packet is not None:
                if not packet.is_keyframe:
                    continue
                key_packet = True
            try:
                frames = context.decode(packet)
            except av.error.FFmpegError:
                if packet is not None:
                    self._damaged.add(packet.dts if packet.dts is not None else packet.pos or 0)
                continue
            for frame in frames:
                key_picture = key_picture or bool(frame.key_frame)
                if not key_picture:
                    continue
                time = frame.pts if frame.pts is not None else frame.dts
                if time is None:
                    time = next(untimed, _NO_TIME)
                yield _Decoded(time, frame)

    def _read_packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """The packets of a stream. Where a film was cut off, None stands for its end."""
        import av

        try:
            yield from container.demux(stream)
        except av.error.FFmpegError as error:
            if not (self._is_cut_off and isinstance(error, av.error.InvalidDataError)):
                raise self._name_unreadable() from None
            # The decoder still holds the last pictures, which it then gives.
            yield None

    def _decode_first(self, container: Any, survey: _Survey) -> tuple[av.VideoFrame, bool]:
        """The first picture that can be decoded, and whether it is certain that Blender finds it too."""
        times = [time for time, _ in survey.times if time is not None]
        if times and len(times) == len(survey.times) and not self.blender_problem:
            first = next(self._decode_as_blender(container), None)
            if first is not None and first.time == min(times):
                self._first_time = first.time
                return first.frame, True
        with self._open() as fresh:
            for decoded in self._decode(fresh):
                self._first_time = decoded.time
                return decoded.frame, False
        raise FaceBlurError(f"{self._path.name}: no picture of the film can be decoded")

    def _decode_from(self, wanted: int) -> Iterator[_Decoded]:
        """Decode from a key picture at or before a time, or from the start if there is none nearby."""
        import av

        if wanted > self._start:
            for margin in _SEEK_MARGINS_S:
                target = wanted - round(margin / self._time_base)
                if target <= self._start:
                    break
                with self._open() as container:
                    try:
                        container.seek(target, stream=container.streams[self._stream_index])
                    except av.error.FFmpegError:
                        break
                    decoded = self._decode(container, only_after_key=True)
                    first = next(decoded, None)
                    # After a seek in an MPEG program stream a picture without its own time gets a wrong one.
                    timed = first is not None and first.frame.pts is not None
                    needs_time = int(container.format.flags) & _TIMES_JUMP or self._untimed
                    if first is not None and first.time <= wanted and (timed or not needs_time):
                        yield first
                        yield from decoded
                        return
        with self._open() as container:
            # After a seek that failed, some containers read nothing more, or go on in the middle.
            as_blender = not (self._begins_early or self._seeks_wrong)
            yield from self._decode_as_blender(container) if as_blender else self._decode(container)

    def _decode_as_blender(self, container: Any) -> Iterator[_Decoded]:
        """The pictures that Blender decodes from the start; none if it finds none."""
        import av

        if not int(container.format.flags) & _TIMES_JUMP:
            # Blender first seeks to three frames before the start, but never before zero, and so loses pictures
            # of films that begin earlier.
            with suppress(av.error.FFmpegError):
                container.seek(self._compute_seek_time(0), stream=container.streams[self._stream_index])
        yield from self._decode(container)

    def _move_start(self, survey: _Survey, *, keeps_length: bool) -> None:
        """Let the frames begin with the first picture and end with the last, where Blender's rules do not."""
        steps = 1.0 / float(self._rate * self._time_base)
        times = [shown_at for shown_at, _ in survey.times]
        timed = [time for time in times if time is not None]
        if not timed:
            return
        missing = len(times) - len(timed)
        if missing and "matroska" in survey.form:
            # FFmpeg reads no times below zero from Matroska: these pictures come before the first one with a time.
            self._untimed = [min(timed) - round((missing - place) * steps) for place in range(missing)]
        start = min([self._start, *self._untimed]) if self._untimed else min(self._start, *timed)
        if start < 0:
            self._begins_early, self._start = True, start
            self.blender_problem = (
                f"{self._path.name}: the film begins before time zero, so Blender cannot show its start; "
                "convert it first"
            )
        if keeps_length:
            return
        if self._begins_early and not survey.whole:
            self._count += round(-self._start / steps)
        wrong = bool(survey.missing) and survey.whole and self._count > _LONGEST_PAUSE * len(times)
        if (self._begins_early and survey.whole) or self._count < 1 or wrong:
            count = round((max(timed) - self._start) / steps) + 1
            if count > _LONGEST_PAUSE * len(times):
                return
            if self._count < 1:
                self.blender_problem = (
                    f"{self._path.name}: the film has no length, so Blender cannot show it; convert it first"
                )
                survey.missing = survey.missing or (
                    "the file does not say how long the film is, and may have been cut off: it ends with the last "
                    "picture that can be read"
                )
            elif wrong:
                self.blender_problem = (
                    f"{self._path.name}: the file states a wrong length, so Blender cannot show it; convert it first"
                )
            self._count = count

    def _find_unreachable_part(self, survey: _Survey, used: Any) -> str:
        """Why Blender cannot reach the film's first or last frames; empty if it can. `used` is the open container in
        which it finds the first one, if that is certain.

        After the last picture Blender seeks back to a key picture. If there is none it shows uninitialised memory
        (seen in 5.0.1 and 5.2.2 with a truncated MP4), which cannot be analysed.
        """
        import av

        cut_off = f"{self._path.name}: the film is truncated and its end is unreadable; repair it first"
        if survey.unreadable:
            return str(self._name_unreadable())
        if survey.index_exceeds_file:
            return cut_off
        if used is None:
            with self._open() as fresh:
                first = next(self._decode_as_blender(fresh), None)
            if first is None or first.time > self._first_time:
                self._seeks_wrong = True
                return f"{self._path.name}: Blender cannot find the film's start; convert it first"
        target = self._compute_seek_time(self._count - 1)
        if used is not None and not int(used.format.flags) & _TIMES_JUMP and target > self._start:
            with suppress(av.error.FFmpegError):
                if self._can_decode_at(target, used):
                    return ""
        with self._open() as fresh:
            if int(fresh.format.flags) & _TIMES_JUMP or target <= self._start:
                # Where times jump, Blender goes back frame by frame until it reaches a key picture.
                return ""
            try:
                return "" if self._can_decode_at(target, fresh) else cut_off
            except av.error.FFmpegError:
                return ""

    def _can_decode_at(self, time: int, container: Any) -> bool:
        """Whether a picture can be decoded after a seek to that time."""
        container.seek(time, stream=container.streams[self._stream_index])
        return next(self._decode(container), None) is not None

    def _name_unreadable(self) -> FaceBlurError:
        return FaceBlurError(f"{self._path.name}: the file cannot be read to its end; repair it or cut it first")

    def _survey(self, container: Any) -> _Survey:
        """Read the packets' times from a film that was just opened, without decoding. A very large film is judged by
        its beginning."""
        import av

        times: list[tuple[int | None, int | None]] = []
        seen, whole, unreadable = 0, True, False
        pictures_end = last_end = Fraction(0)
        stream: Any = container.streams[self._stream_index]
        kinds = container.streams
        packets = container.demux([stream, *kinds.audio, *kinds.subtitles])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.InvalidDataError:
                unreadable = True
                break
            except av.error.FFmpegError:
                raise self._name_unreadable() from None
            at = packet.pts if packet.pts is not None else packet.dts
            end = Fraction(0) if at is None else (at + (packet.duration or 0)) * Fraction(packet.time_base)
            if packet.size:
                last_end = max(last_end, end)
            if packet.stream.index == stream.index and packet.size and not packet.is_discard:
                times.append((packet.pts, packet.dts))
                pictures_end = max(pictures_end, end)
            seen += packet.size
            if seen > _SURVEY_BYTES:
                whole = False
                break
        form = container.format.name.split(",")
        exceeds = "mp4" in form and self._has_entries_beyond(stream)
        begin = Fraction(container.start_time or 0, 1_000_000)
        length = Fraction(container.duration or 0, 1_000_000)
        missing = ""
        if exceeds or unreadable or (whole and last_end < begin + length - Fraction(_MISSING_S)):
            missing = "the file is cut off, or damaged at its end"
            if whole and length:
                missing += f": its pictures end after {float(pictures_end - begin):.1f} of {float(length):.1f} seconds"
        return _Survey(
            times,
            whole,
            form,
            exceeds,
            unreadable,
            missing,
            (stream.average_rate, stream.guessed_rate),
            stream.codec_context.reorder_depth,
        )

    def _has_entries_beyond(self, stream: Any) -> bool:
        """Whether an MP4, which lists the positions of all pictures, lists some that the file does not have."""
        entries, size = stream.index_entries, self._path.stat().st_size
        last = range(max(0, len(entries) - _ENTRIES_CHECKED), len(entries))
        return any(entries[place].pos + entries[place].size > size for place in last)

    def _assess_survey(self, survey: _Survey) -> tuple[bool, list[str]]:
        """Whether the strip shows every picture once: returns whether the rate varies, and warnings."""
        times, whole = survey.times, survey.whole
        self._surveyed_whole = whole
        untimed = any(shown_at is None for shown_at, _ in times)
        if self._untimed:
            times, untimed = [(time, None) for time in (*self._untimed, *(t for t, _ in times if t is not None))], False
        usable = [time for time in ((pair[1] if untimed else pair[0]) for pair in times) if time is not None]
        if not usable:
            return False, []
        known = np.unique(np.asarray(usable, np.int64))
        if not whole:
            # Reordered pictures near the point where reading stopped may be missing.
            known = known[: max(1, len(known) - 64)]
        steps = 1.0 / float(self._rate * self._time_base)
        if untimed:
            # Such a picture gets the time of the packet that made the decoder release it (AVI with B-frames).
            known = known + round(survey.delay * steps)
        reach = self._count
        if not whole:
            reach = min(reach, int((int(known[-1]) - self._start) / steps))
        wanted = np.floor(np.arange(reach) * steps + 0.5).astype(np.int64) + self._start
        shown = np.maximum(np.searchsorted(known, wanted, side="right") - 1, 0)
        return self._assess_times(shown, len(known), whole, survey.rates)

    def _assess_times(
        self, shown: NDArray[np.int64], pictures: int, whole: bool, rates: tuple[Fraction | None, Fraction | None]
    ) -> tuple[bool, list[str]]:
        """Turn the index of the picture shown at each strip frame into (rate varies, warnings)."""
        warnings = []
        first_last = int(np.searchsorted(shown, pictures - 1)) if whole else len(shown)
        first_move = int(np.searchsorted(shown, 0, side="right")) - 1
        steps = np.diff(shown[max(first_move, 0) : first_last + 1])
        variable = bool(np.any(steps != 1))
        if whole:
            skipped = pictures - len(np.unique(shown))
            behind = pictures - 1 - int(shown[-1]) if len(shown) else pictures
            held = len(shown) - 1 - first_last
            if behind > 0:
                warnings.append(
                    f"Blender's strip ends {behind} picture{'s' * (behind > 1)} before the film does "
                    f"({len(shown)} frames for {pictures} pictures)"
                )
            if skipped - behind > 0:
                warnings.append(f"{skipped - behind} of {pictures} pictures are never shown at a constant rate")
            if held > 0:
                warnings.append(f"at the strip's end the last picture is repeated for {held} frame{'s' * (held > 1)}")
        elif rates[0] and rates[1] and abs(1 - rates[0] / rates[1]) > Fraction(1, 1000):
            variable = True
        if variable:
            warnings.insert(
                0, f"variable frame rate: Blender shows a constant {format_rate(self._rate)} frames per second"
            )
        return variable, warnings
