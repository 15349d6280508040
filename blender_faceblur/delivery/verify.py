# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens a result again and compares it with the rendered pictures and the source's sound."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..core.types import FaceBlurError, SourceInfo
from .container import list_sound_streams, name_codec
from .remux import read_start, walk_heard
from .voice import DISGUISED_CODECS, Voice

STEP_TOLERANCE_S = Fraction(2, 1000)
"""Matroska rounds times to milliseconds, so two of them may differ by half a millisecond each."""

_DISGUISE_TOLERANCE_S = Fraction(15, 100)
"""How far beginning and end of lowered sound may be from the source's, in seconds: an encoder's delay, what a decoder
drops from a cut-off packet, and the silence added at the end."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected properties of a film; width, height and pixel aspect are those of its stored pictures."""

    frames: int
    frame_rate: Fraction | None
    """The constant rate; None if pictures may come at any time."""
    width: int
    height: int
    pixel_aspect: Fraction = Fraction(1)
    times: Sequence[Fraction] = ()
    """When each picture is shown, in seconds; only the times since the first are compared. Empty if not known."""
    turn: int = 0
    """Degrees clockwise by which players turn the pictures."""
    start: Fraction | None = None
    """The time of the first picture in the source, in seconds; None if it is where the source's stream begins."""

    def walk_times(self) -> Iterator[Fraction]:
        """When each picture is shown, in seconds after the first."""
        if self.frame_rate is not None:
            yield from (index / self.frame_rate for index in range(self.frames))
        else:
            yield from (time - self.times[0] for time in self.times)

    @classmethod
    def rendered(cls, info: SourceInfo) -> Expected:
        """A film as Blender renders it: upright, at the strip's constant rate."""
        return cls(info.frame_count, info.frame_rate, info.width, info.height, info.pixel_aspect)

    @classmethod
    def painted(
        cls,
        info: SourceInfo,
        turn: int,
        frames: int,
        times: Sequence[Fraction] = (),
        start: Fraction | None = None,
    ) -> Expected:
        """A film whose pictures are stored as in its source, which players turn by `turn` degrees clockwise."""
        lies = turn in (90, 270)
        size = (info.height, info.width) if lies else (info.width, info.height)
        return cls(frames, None, *size, 1 / info.pixel_aspect if lies else info.pixel_aspect, times, turn, start)


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound stream: codec, hash and number of its packets, and when it begins and ends after the video's start."""

    codec: str
    sha256: str
    packets: int
    offset_s: Fraction
    end_s: Fraction


def verify_film(
    result: Path, source: Path, expected: Expected, reencode_audio: bool, voice: Voice = Voice.KEEP
) -> None:
    """Raise FaceBlurError unless every picture has its expected time and size, and the sound equals the source's.

    Pictures are counted and timed packet by packet, and the first one is decoded; sound packets are compared by hash.
    With another `voice`, the sound must be absent, or encoded anew and as long as the source's.
    """
    import av

    try:
        with av.open(str(result)) as container:
            problem = _check_pictures(container, expected)
    except (av.error.FFmpegError, OSError) as error:
        problem = str(error)
    if not problem:
        theirs = read_sound(source, expected.start)
        ours = read_sound(result, everything=True)
        if voice is Voice.KEEP:
            problem = _check_sound(ours, theirs, reencode_audio)
        elif voice is Voice.DISGUISE:
            problem = _check_disguise(ours, theirs)
        else:
            problem = "it has sound" if ours else ""
    if problem:
        raise FaceBlurError(f"The result for {source.name} failed its check: {problem}.")


def read_sound(path: Path, start: Fraction | None = None, everything: bool = False) -> list[Sound]:
    """All sound streams of a file, read packet by packet: those that `walk_heard` copies, or `everything`.

    `start` is the time of the first picture; None if it is where the stream begins.
    """
    import av

    sounds = []
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        start = read_start(container) if start is None else start
        count = len(list_sound_streams(container))
    for number in range(count):
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            stream = list_sound_streams(container)[number]
            packets = container.demux(stream) if everything else walk_heard(container, stream)
            digest, found, first, end = hashlib.sha256(), 0, Fraction(0), Fraction(0)
            for packet in packets:
                if not packet.size:
                    continue
                digest.update(_strip_adts(bytes(packet), stream))
                time = (packet.pts or 0) * Fraction(packet.time_base) - start
                if not found:
                    first = time
                end = max(end, time + (packet.duration or 0) * Fraction(packet.time_base))
                found += 1
            sounds.append(Sound(name_codec(stream), digest.hexdigest(), found, first, end))
    return sounds


def _strip_adts(data: bytes, stream: Any) -> bytes:
    """The AAC frame without the header that transport streams repeat before each (ISO/IEC 13818-7, 6.2)."""
    if name_codec(stream) == "aac" and len(data) > 7 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
        if length == len(data):
            return data[7 if data[1] & 1 else 9 :]
    return data


def _check_pictures(container: Any, expected: Expected) -> str:
    stream = container.streams.video[0]
    time_base = Fraction(stream.time_base)
    whole = (packet for packet in container.demux(stream) if packet.size and not packet.is_corrupt)
    times = np.sort(np.fromiter((packet.pts for packet in whole), np.int64))
    if len(times) != expected.frames:
        return f"{len(times)} pictures instead of {expected.frames}"
    for index, (time, wanted) in enumerate(zip(times, expected.walk_times(), strict=False)):
        if abs(int(time - times[0]) * time_base - wanted) > STEP_TOLERANCE_S:
            return f"picture {index} is not at the expected time"
    size = (stream.codec_context.width, stream.codec_context.height)
    if size != (expected.width, expected.height):
        return f"{size[0]} x {size[1]} pixels instead of {expected.width} x {expected.height}"
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    if abs(aspect / expected.pixel_aspect - 1) > Fraction(1, 1000):
        return f"its pixels have the shape {aspect} instead of {expected.pixel_aspect}"
    container.seek(0)
    first = next(container.decode(stream), None)
    if first is None:
        return "its first picture cannot be decoded"
    turn = int(-first.rotation % 360)
    return "" if turn == expected.turn else f"players turn it by {turn} degrees instead of {expected.turn}"


def _check_disguise(result: list[Sound], source: list[Sound]) -> str:
    if len(result) != len(source):
        return f"{len(result)} sound streams instead of {len(source)}"
    for number, (ours, theirs) in enumerate(zip(result, source, strict=True), 1):
        if ours.codec not in DISGUISED_CODECS or (theirs.packets and ours.sha256 == theirs.sha256):
            return f"sound stream {number} was not disguised"
        if theirs.packets and not ours.packets:
            return f"sound stream {number} is empty"
        apart = max(abs(ours.offset_s - theirs.offset_s), abs(ours.end_s - theirs.end_s))
        if theirs.packets and apart > _DISGUISE_TOLERANCE_S:
            return f"sound stream {number} is {float(apart):.3f} s out of sync"
    return ""


def _check_sound(result: list[Sound], source: list[Sound], reencode_audio: bool) -> str:
    if len(result) != len(source):
        return f"{len(result)} sound streams instead of {len(source)}"
    for number, (ours, theirs) in enumerate(zip(result, source, strict=True), 1):
        if reencode_audio and ours.codec != theirs.codec:
            continue
        if (ours.sha256, ours.packets) != (theirs.sha256, theirs.packets):
            return f"sound stream {number} differs from the source's"
        if theirs.packets and abs(ours.offset_s - theirs.offset_s) > STEP_TOLERANCE_S:
            return f"sound stream {number} is {float(ours.offset_s - theirs.offset_s):+.3f} s out of sync"
    return ""
