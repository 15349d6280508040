# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves sound out, or lowers its voices, so that a person is not recognised at once.

Lowering is a disguise, not anonymisation: who knows the program can raise the sound again, and words, accent and the
rhythm of speech stay (Tomashenko et al., "The VoicePrivacy 2020 Challenge", 2022: recognisers of speakers see through
constant changes of pitch).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError
from .container import AAC_LAYOUTS, CONTAINERS, Container, SourceSound


class Voice(Enum):
    """What becomes of a film's sound."""

    KEEP = "keep"
    MUTE = "mute"
    DISGUISE = "disguise"


@dataclass(frozen=True, slots=True)
class DisguiseSettings:
    """How sound is lowered."""

    pitch: float = 0.8
    """The factor by which pitch and formants are multiplied. Lowering it disguises more, and below about 0.7 speech is
    hard to understand. 0.8 is about four semitones: chosen by listening, not measured on recognisers."""
    bit_rate: int = 192_000
    """Bits a second of the encoded sound. Raising it makes larger files."""


DISGUISE = DisguiseSettings()

DISGUISED_CODECS = ("aac", "opus")
"""The codecs of lowered sound: Opus in WebM, AAC elsewhere."""


def list_disguised(sound: list[SourceSound]) -> list[SourceSound]:
    """What the streams of a film are after they were lowered: every container can hold them.

    Raises FaceBlurError if one of them cannot be decoded and encoded.
    """
    if not all(stream.encodable for stream in sound):
        raise FaceBlurError("The voices cannot be disguised: a sound stream cannot be encoded. Use --voice mute.")
    return [SourceSound("aac", frozenset(container.format for container in CONTAINERS)) for _ in sound]


def plan_disguised(
    stream: Any, source: Path, result: Any, container: Container, blank: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """Add a lowered stream to `result`; yields its packets with their times in seconds, `blank` seconds earlier."""
    encoder = "libopus" if container.format == "webm" else "aac"
    layout = AAC_LAYOUTS[stream.codec_context.channels]
    target = result.add_stream(encoder, rate=48000, layout=layout)
    target.codec_context.bit_rate = DISGUISE.bit_rate
    language = stream.metadata.get("language")
    if language:
        target.metadata["language"] = language
    target.disposition = stream.disposition
    return _walk(source, stream.index, target, blank)


def _walk(source: Path, index: int, target: Any, blank: Fraction) -> Iterator[tuple[Fraction, Any]]:
    import av

    time_base = Fraction(1, 48000)
    with av.open(str(source), options={"protocol_whitelist": "file"}) as original:
        stream = original.streams[index]
        time: int | None = None
        for piece in lower_frames(original.decode(stream), target.codec_context.layout.name):
            if time is None:
                time = round((piece.time_base * (piece.pts or 0) - blank) / time_base)
            # The filters change times along with the speed. Samples follow each other, and gaps were filled.
            piece.pts, piece.time_base = time, time_base
            time += piece.samples
            for packet in target.encode(piece):
                yield (packet.dts or 0) * time_base, packet
        for packet in target.encode(None):
            yield (packet.dts or 0) * time_base, packet


def lower_frames(frames: Iterator[Any], layout: str) -> Iterator[Any]:
    """Lower pitch and formants of decoded sound without changing its length; yields planar floats at 48 kHz.

    Only the first frame's time is right; the samples of the others follow it. Gaps become silence.
    """
    import av

    first = next(frames, None)
    if first is None:
        return
    start = first.pts or 0, first.time_base
    slower = round(48000 * DISGUISE.pitch)
    graph = av.filter.Graph()
    steps = [
        graph.add_abuffer(
            sample_rate=first.sample_rate, format=first.format.name, layout=first.layout.name, time_base=first.time_base
        ),
        graph.add("aresample", "48000:async=1:min_hard_comp=0.1"),
        # The filter that restores the speed swallows the last milliseconds.
        graph.add("apad", "pad_dur=0.05"),
        graph.add("asetrate", str(slower)),
        graph.add("aresample", "48000"),
        graph.add("atempo", str(1 / DISGUISE.pitch)),
        graph.add("aformat", f"sample_fmts=fltp:sample_rates=48000:channel_layouts={layout}"),
        graph.add("abuffersink"),
    ]
    for one, following in itertools.pairwise(steps):
        one.link_to(following)
    graph.configure()
    is_first = True
    for frame in _follow(first, frames):
        graph.push(frame)
        while True:
            try:
                piece = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            if is_first:
                piece.pts, piece.time_base = round(start[0] * start[1] * 48000), Fraction(1, 48000)
                is_first = False
            yield piece


def _follow(first: Any, frames: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from frames
    yield None
