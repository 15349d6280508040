# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins the separately encoded pieces of a covered film with everything of the source that is kept, without encoding.

Kept bit for bit, where the container holds them: sound, subtitles, chapters and the starting timecode. Every picture
gets the time that it has in the source.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from .container import Container, can_copy, list_sound_streams
from .matroska import ROOM, name_pixel_aspect
from .remux import (
    compute_blank,
    find_earliest_sound,
    list_dropped,
    merge_tracks,
    move_chapters,
    plan_sound,
    read_timecode,
    walk_packets,
)
from .voice import Voice, plan_disguised

PIECE_LEAD_S = 86400
"""How much later pictures are in a piece than in the source. Otherwise the NUT muxer would move a piece that has a time
below zero, which the first pictures have in the order of decoding: as far below as the longest gap between pictures."""


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """What becomes of a film besides its pictures. `record` is written into its comment."""

    container: Container
    record: str
    reencode_audio: bool = False
    keep_subtitles: bool = True
    voice: Voice = Voice.KEEP


@dataclass(frozen=True, slots=True)
class PictureStream:
    """How players show the joined pictures: see `painting.encoders.StreamLook`. `matrix` is the display matrix, nine
    numbers, or empty."""

    time_base: Fraction
    pixel_aspect: Fraction
    colors: tuple[int, int, int, int]
    matrix: tuple[int, ...] = ()
    frame_rate: Fraction = Fraction(25)


@dataclass(frozen=True, slots=True)
class Joined:
    """What a joined film holds: sentences about what was not kept, the time of every picture, and the time that the
    first of them has in the source, in seconds."""

    notes: list[str]
    times: Sequence[Fraction]
    start: Fraction


def join_film(
    pieces: Sequence[Path], source: Path, output: Path, pictures: PictureStream, settings: JoinSettings
) -> Joined:
    """Write `output`.

    Times are moved so that the first picture or sound is at 0. Raises FaceBlurError if a file cannot be read or
    written, or if the pieces do not fit together.
    """
    import av

    try:
        with contextlib.ExitStack() as files:
            original = files.enter_context(av.open(str(source), options={"protocol_whitelist": "file"}))
            container = settings.container
            # A file with its index at the front plays while it still loads; only MP4 and MOV have the option.
            options = {"movflags": "+faststart"} if container.format in ("mp4", "mov") else {}
            result = files.enter_context(av.open(str(output), "w", format=container.format, options=options))
            result.metadata["comment"] = settings.record
            plan = _PicturePlan(pieces, pictures)
            blank = min(compute_blank(original), plan.start)
            if container.format == "matroska" and settings.voice is Voice.KEEP:
                # It has no edit lists, and no times below zero.
                early = find_earliest_sound(source, settings.reencode_audio, container)
                blank = min(blank, early) if early < 0 else blank
            tracks = [plan.add_to(result, container, read_timecode(original), blank)]
            problems: list[str] = []
            for stream in list_sound_streams(original):
                if settings.voice is Voice.KEEP:
                    reencode = settings.reencode_audio
                    tracks.append(plan_sound(stream, source, result, container, reencode, blank, problems))
                elif settings.voice is Voice.DISGUISE:
                    tracks.append(plan_disguised(stream, source, result, container, blank))
            subtitles = [s for s in original.streams.subtitles if settings.keep_subtitles]
            kept = [stream for stream in subtitles if can_copy(stream, container)]
            tracks += [_plan_subtitle(stream, source, result, blank, problems) for stream in kept]
            chapters = move_chapters(original, blank)
            if chapters:
                result.set_chapters(chapters)
            for packet in merge_tracks(tracks):
                result.mux(packet)
            notes = list_dropped(original, {stream.index for stream in kept}, keeps_marks=True)
            notes += dict.fromkeys(problems)
        if plan.names_aspect_late:
            name_pixel_aspect(output, plan.size, pictures.pixel_aspect)
        return Joined(notes, plan.list_times(blank), plan.start)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FaceBlurError(f"The pictures and sound of {source.name} cannot be joined: {reason}.") from error


class PictureTimes(Sequence[Fraction]):
    """Times in seconds, of which only whole multiples of `unit` are kept: eight bytes a picture in a film of hours."""

    def __init__(self, counts: NDArray[np.int64], unit: Fraction) -> None:
        self._counts, self._unit = counts, unit

    def __len__(self) -> int:
        return len(self._counts)

    @overload
    def __getitem__(self, place: int) -> Fraction: ...

    @overload
    def __getitem__(self, place: slice) -> PictureTimes: ...

    def __getitem__(self, place: int | slice) -> Fraction | PictureTimes:
        if isinstance(place, slice):
            return PictureTimes(self._counts[place], self._unit)
        return int(self._counts[place]) * self._unit


class _PicturePlan:
    """The packets of all pieces, in the order of decoding, with the times of the source."""

    def __init__(self, pieces: Sequence[Path], pictures: PictureStream) -> None:
        self._pieces, self._pictures = pieces, pictures
        base = pictures.time_base
        # MP4 and Matroska count whole fractions of a second.
        self._unit = Fraction(1, base.denominator)
        self._step = round(1 / pictures.frame_rate / self._unit)
        self._lead = round(PIECE_LEAD_S / base) * base.numerator
        self.size = (0, 0)
        self.names_aspect_late = False
        self._extradata: bytes | None = None
        # Arrays, because lists take four times their memory, and dictionaries ten times.
        self._times = np.concatenate([np.zeros(0, np.int64), *(self._read_times(piece) for piece in pieces)])
        places = np.argsort(self._times, kind="stable")
        self._order = order = self._times[places]
        steps = np.diff(order)
        if (steps == 0).any():
            raise ValueError("two pictures have the same time")
        ranks = np.empty_like(places)
        ranks[places] = np.arange(len(places))
        delay = int((np.arange(len(ranks)) - ranks).max(initial=0))
        shortest = int(steps.min()) if len(steps) else self._step
        ahead = [int(order[0]) - shortest * (delay - place) for place in range(delay)]
        self._decoding = np.concatenate([np.array(ahead, np.int64), order])[: len(order)]
        last = int(steps[-1]) if len(steps) else self._step
        self._durations = np.append(steps, last)[ranks]

    @property
    def start(self) -> Fraction:
        return int(self._order[0]) * self._unit

    def list_times(self, blank: Fraction) -> Sequence[Fraction]:
        return PictureTimes(self._order - round(blank / self._unit), self._unit)

    def add_to(
        self, result: Any, container: Container, timecode: str, blank: Fraction
    ) -> Iterator[tuple[Fraction, Any]]:
        import av

        with av.open(str(self._pieces[0])) as first:
            # Without `opaque`, PyAV looks for an encoder with the decoder's name, such as libdav1d.
            target = result.add_stream_from_template(first.streams.video[0], opaque=True)
        target.time_base = self._unit
        context = target.codec_context
        self.size = (context.width, context.height)
        context.framerate = self._pictures.frame_rate
        context.sample_aspect_ratio = self._pictures.pixel_aspect
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = self._pictures.colors
        if self._pictures.matrix:
            target.set_display_matrix(self._pictures.matrix)
        if container.format in ("matroska", "webm") and self._pictures.pixel_aspect != 1:
            target.metadata.update(ROOM)
            self.names_aspect_late = True
        if timecode:
            target.metadata["timecode"] = timecode
        return self._walk(target, round(blank / self._unit))

    def _read_times(self, piece: Path) -> NDArray[np.int64]:
        """The source's times of a piece's packets, in units of `_unit`, in the order of decoding."""
        import av

        with av.open(str(piece)) as container:
            stream = container.streams.video[0]
            extradata = bytes(stream.codec_context.extradata or b"")
            if self._extradata is None:
                self._extradata = extradata
            elif extradata != self._extradata:
                raise ValueError("the pieces were encoded differently")
            ratio = Fraction(stream.time_base) / self._unit
            times = (round(packet.pts * ratio) - self._lead for packet in container.demux(stream) if packet.size)
            return np.fromiter(times, np.int64)

    def _walk(self, target: Any, early: int) -> Iterator[tuple[Fraction, Any]]:
        import av

        place = 0
        for piece in self._pieces:
            with av.open(str(piece)) as container:
                stream = container.streams.video[0]
                for packet in container.demux(stream):
                    if not packet.size:
                        continue
                    packet.stream, packet.time_base = target, self._unit
                    packet.pts, packet.dts = (int(times[place]) - early for times in (self._times, self._decoding))
                    packet.duration = int(self._durations[place])
                    place += 1
                    yield packet.dts * self._unit, packet


def _plan_subtitle(
    stream: Any, source: Path, result: Any, blank: Fraction, problems: list[str]
) -> Iterator[tuple[Fraction, Any]]:
    target = result.add_stream_from_template(stream)
    language = stream.metadata.get("language")
    if language:
        target.metadata["language"] = language
    target.disposition = stream.disposition
    return walk_packets(source, stream.index, target, blank, problems)
