# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the rendered pictures and the source's sound packets, unchanged and in step, into one file."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError
from .container import Container, name_codec

AAC_BIT_RATE = 192_000
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


def remux_film(pictures: Path, source: Path, output: Path, container: Container, *, frame_rate: Fraction,
               record: str, reencode_audio: bool) -> list[str]:
    """Write `output`: every picture packet of `pictures`, every sound packet of `source`; returns what was left out.

    Pictures are timed anew, picture n at n / frame_rate after the time at which the source's video begins, so sound
    and picture stay in step. Of the metadata only the language and role of sound streams are kept. Sound that the
    container cannot hold is encoded anew when `reencode_audio`. Raises FaceBlurError when a file cannot be read or
    written.
    """
    import av

    try:
        with contextlib.ExitStack() as files:
            rendered = files.enter_context(av.open(str(pictures)))
            original = files.enter_context(av.open(str(source), options={"protocol_whitelist": "file"}))
            # A result whose index lies at its front plays while it still loads; only MP4 and MOV know the option.
            options = {"movflags": "+faststart"} if container.format in ("mp4", "mov") else {}
            result = files.enter_context(av.open(str(output), "w", format=container.format, options=options))
            result.metadata["comment"] = record
            tracks = [_plan_pictures(rendered, original, result, frame_rate)]
            for stream in original.streams.audio:
                tracks.append(_plan_sound(stream, source, result, container, reencode_audio))
            for packet in _merge(tracks):
                result.mux(packet)
            return _list_dropped(original)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FaceBlurError(f"The result of {source.name} cannot be put together: {reason}.") from error


def find_start(container: Any) -> Fraction:
    """The time, in seconds, at which the film's first video stream begins."""
    stream = container.streams.video[0]
    return (stream.start_time or 0) * Fraction(stream.time_base)


def time_pictures(packets: list[tuple[int, int]], frame_rate: Fraction, time_base: Fraction) -> list[tuple[int, int]]:
    """(pts, dts) in frames for (pts, dts) in a time base that may be coarser than a frame, in decoding order.

    Matroska rounds times to milliseconds: 29.97 pictures a second are uneven there. Raises FaceBlurError when the
    pictures are not at a constant rate.
    """
    order = [round(pts * time_base * frame_rate) for pts, _ in packets]
    first = min(order, default=0)
    shown = [index - first for index in order]
    if sorted(shown) != list(range(len(shown))):
        raise FaceBlurError("The rendered pictures are not at a constant rate: some are missing or double.")
    delay = max((position - index for position, index in enumerate(shown)), default=0)
    return [(index, position - delay) for position, index in enumerate(shown)]


def _plan_pictures(rendered: Any, original: Any, result: Any, frame_rate: Fraction) -> Iterator[tuple[Fraction, Any]]:
    stream = rendered.streams.video[0]
    time_base = Fraction(stream.time_base)
    # The times are needed before the first packet is written, the pictures are not: so read the file twice.
    times = time_pictures([(packet.pts, packet.dts) for packet in rendered.demux(stream) if packet.pts is not None],
                          frame_rate, time_base)
    rendered.seek(0)
    target = result.add_stream_from_template(stream)
    unit = _find_unit(frame_rate)
    target.time_base = unit
    return _walk_pictures(rendered, stream, target, times, find_start(original), frame_rate, unit)


def _find_unit(frame_rate: Fraction) -> Fraction:
    """A time base in which frames last a whole number of ticks, and so fine that any start fits within 6 us."""
    ticks = frame_rate.numerator
    while ticks < 90_000:
        ticks *= 2
    return Fraction(1, ticks)


def _walk_pictures(rendered: Any, stream: Any, target: Any, times: list[tuple[int, int]], start: Fraction,
                   frame_rate: Fraction, unit: Fraction) -> Iterator[tuple[Fraction, Any]]:
    offset = round(start / unit)
    frame = 1 / frame_rate / unit
    packets = (packet for packet in rendered.demux(stream) if packet.pts is not None)
    for packet, (pts, dts) in zip(packets, times, strict=True):
        packet.stream, packet.time_base = target, unit
        packet.pts, packet.dts = offset + round(pts * frame), offset + round(dts * frame)
        packet.duration = round(frame)
        yield packet.dts * unit, packet


def _plan_sound(stream: Any, source: Path, result: Any, container: Container,
                reencode_audio: bool) -> Iterator[tuple[Fraction, Any]]:
    """Each sound stream is read through a container of its own, so that no stream waits in memory for another."""
    if name_codec(stream) in container.sound:
        target = result.add_stream_from_template(stream)
        walk = _walk_packets(source, stream.index, target, container)
    elif reencode_audio and stream.codec_context is not None:
        channels = stream.codec_context.channels
        if channels not in _AAC_LAYOUTS:
            raise FaceBlurError(f"The sound of {source.name} has {channels} channels, which AAC cannot hold.")
        rate = stream.codec_context.sample_rate
        target = result.add_stream("aac", rate=rate if rate in _AAC_RATES else 48000, layout=_AAC_LAYOUTS[channels])
        target.codec_context.bit_rate = AAC_BIT_RATE
        walk = _walk_encoded(source, stream.index, target)
    else:
        raise FaceBlurError(f"The {name_codec(stream)} sound of {source.name} cannot be kept as it is.")
    language = stream.metadata.get("language")
    if language:
        target.metadata["language"] = language
    target.disposition = stream.disposition
    return walk


def _walk_packets(source: Path, index: int, target: Any, container: Container) -> Iterator[tuple[Fraction, Any]]:
    import av

    with av.open(str(source), options={"protocol_whitelist": "file"}) as original:
        stream = original.streams[index]
        for packet in original.demux(stream):
            # Only MP4 and MOV have edit lists, which say that a packet before the start must not be heard.
            if packet.size and not (packet.is_discard and container.format == "matroska"):
                time = (packet.dts if packet.dts is not None else packet.pts or 0) * Fraction(packet.time_base)
                packet.stream = target
                yield time, packet


def _walk_encoded(source: Path, index: int, target: Any) -> Iterator[tuple[Fraction, Any]]:
    import av

    with av.open(str(source), options={"protocol_whitelist": "file"}) as original:
        stream = original.streams[index]
        resampler = av.AudioResampler("fltp", target.codec_context.layout.name, target.codec_context.sample_rate)
        time_base = Fraction(1, target.codec_context.sample_rate)
        for frame in _chain_none(original.decode(stream)):
            for piece in resampler.resample(frame):
                for packet in target.encode(piece):
                    yield (packet.dts or 0) * time_base, packet
        for packet in target.encode(None):
            yield (packet.dts or 0) * time_base, packet


def _chain_none(frames: Iterator[Any]) -> Iterator[Any]:
    yield from frames
    yield None


def _merge(tracks: list[Iterator[tuple[Fraction, Any]]]) -> Iterator[Any]:
    for _, packet in heapq.merge(*tracks, key=lambda item: item[0]):
        yield packet


def _list_dropped(original: Any) -> list[str]:
    counts: dict[str, int] = {}
    for stream in original.streams:
        if stream.type not in ("audio", "video"):
            kind = {"subtitle": "subtitle stream", "attachment": "attachment"}.get(stream.type, "data stream")
            counts[kind] = counts.get(kind, 0) + 1
    further = len(original.streams.video) - 1
    if further > 0:
        counts["further video stream or cover picture"] = further
    chapters = len(original.chapters())
    if chapters:
        counts["chapter"] = chapters
    if not counts:
        return []
    return ["Not carried over: " + ", ".join(f"{count} {kind}{'s' if count > 1 else ''}"
                                             for kind, count in counts.items()) + "."]
