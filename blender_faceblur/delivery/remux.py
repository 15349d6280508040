# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the rendered pictures and the source's unchanged sound packets into one file, in sync."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError
from .container import AAC_LAYOUTS, Container, can_copy, list_sound_streams, name_codec

AAC_BIT_RATE = 192_000
_DISCARD_ALL = 48
"""AVDISCARD_ALL (libavcodec/defs.h)."""
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def remux_film(
    pictures: Path,
    source: Path,
    output: Path,
    container: Container,
    *,
    frame_rate: Fraction,
    pixel_aspect: Fraction,
    record: str,
    reencode_audio: bool,
) -> list[str]:
    """Write `output` from the packets of `pictures` and the sound packets of `source`; returns what was dropped.

    Pictures get new times, picture n at n / frame_rate after the start of the source's video, so that sound and picture
    stay in sync; the earlier of them begins at 0, even if the source (such as a recorded broadcast) begins later. Of
    the metadata only the language and role of sound streams are kept. With `reencode_audio` sound that the container
    cannot hold is encoded again. Raises FaceBlurError if a file cannot be read or written.
    """
    import av

    try:
        with contextlib.ExitStack() as files:
            rendered = files.enter_context(av.open(str(pictures)))
            original = files.enter_context(av.open(str(source), options={"protocol_whitelist": "file"}))
            # A file with its index at the front plays while it still loads; only MP4 and MOV have the option.
            options = {"movflags": "+faststart"} if container.format in ("mp4", "mov") else {}
            result = files.enter_context(av.open(str(output), "w", format=container.format, options=options))
            result.metadata["comment"] = record
            blank = compute_blank(original)
            start = read_start(original) - blank
            if container.format == "matroska":
                # It has no edit lists, and no times below zero.
                early = min(find_earliest_sound(source, reencode_audio, container), Fraction(0))
                blank, start = blank + early, start - early
            problems: list[str] = []
            tracks = [_plan_pictures(rendered, result, frame_rate, pixel_aspect, start)]
            tracks += [
                plan_sound(stream, source, result, container, reencode_audio, blank, problems)
                for stream in list_sound_streams(original)
            ]
            for packet in merge_tracks(tracks):
                result.mux(packet)
            return [*list_dropped(original), *dict.fromkeys(problems)]
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FaceBlurError(f"The pictures and sound of {source.name} cannot be joined: {reason}.") from error


def read_timecode(container: Any) -> str:
    """The timecode of the first picture, which MP4 and MOV store in a stream of its own; empty if there is none."""
    for metadata in (*(stream.metadata for stream in container.streams), container.metadata):
        for key, value in metadata.items():
            # Matroska writes the names of its tags in capitals.
            if key.lower() == "timecode" and value:
                return str(value)
    return ""


def move_chapters(container: Any, blank: Fraction) -> list[dict[str, Any]]:
    """The chapters of a film that begins `blank` seconds earlier. Of what is written about them only the titles are
    left."""
    chapters = []
    for chapter in container.chapters():
        early = round(blank / Fraction(chapter["time_base"]))
        titles = {key: value for key, value in chapter["metadata"].items() if key.lower() == "title"}
        start, end = max(chapter["start"] - early, 0), max(chapter["end"] - early, 0)
        chapters.append({**chapter, "start": start, "end": end, "metadata": titles})
    return chapters


def read_start(container: Any) -> Fraction:
    """The time, in seconds, at which the film's first video stream begins."""
    stream = container.streams.video[0]
    return (stream.start_time or 0) * Fraction(stream.time_base)


def compute_blank(container: Any) -> Fraction:
    """The seconds before the first picture or sound; 0 if a stream begins before time zero."""
    streams = [container.streams.video[0], *container.streams.audio]
    starts = [stream.start_time * Fraction(stream.time_base) for stream in streams if stream.start_time is not None]
    return max(min(starts, default=Fraction(0)), Fraction(0))


def time_pictures(packets: list[tuple[int, int]], frame_rate: Fraction, time_base: Fraction) -> list[tuple[int, int]]:
    """(pts, dts) in frames for (pts, dts) in a time base that may be coarser than a frame, in decoding order.

    Matroska rounds times to milliseconds, which makes 29.97 pictures a second uneven. Raises FaceBlurError if the
    pictures do not have a constant rate.
    """
    order = [round(pts * time_base * frame_rate) for pts, _ in packets]
    first = min(order, default=0)
    shown = [index - first for index in order]
    if sorted(shown) != list(range(len(shown))):
        raise FaceBlurError("The rendered pictures do not have a constant rate: some are missing or duplicated.")
    delay = max((position - index for position, index in enumerate(shown)), default=0)
    return [(index, position - delay) for position, index in enumerate(shown)]


def _plan_pictures(
    rendered: Any, result: Any, frame_rate: Fraction, pixel_aspect: Fraction, start: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    stream = rendered.streams.video[0]
    time_base = Fraction(stream.time_base)
    # All times are needed before the first packet is written, so the file is read twice instead of kept in memory.
    times = time_pictures(
        [(packet.pts, packet.dts) for packet in rendered.demux(stream) if packet.pts is not None], frame_rate, time_base
    )
    rendered.seek(0)
    target = result.add_stream_from_template(stream)
    shape = _plan_shape(stream, target, pixel_aspect)
    unit = _compute_unit(frame_rate)
    target.time_base = unit
    return _walk_pictures(rendered, stream, target, shape, times, start, frame_rate, unit)


def _plan_shape(stream: Any, target: Any, pixel_aspect: Fraction) -> Any:
    """Set the pixels' shape on the target; returns a filter that writes it into the pictures' headers, or None.

    Blender renders with square pixels: with other shapes it stretches its strips, and the mask with them.
    """
    from av.bitstream import BitStreamFilterContext

    shaper = {"h264": "h264_metadata", "hevc": "hevc_metadata"}.get(name_codec(stream))
    if shaper is None or pixel_aspect == (stream.sample_aspect_ratio or 1):
        return None
    shape = f"sample_aspect_ratio={pixel_aspect.numerator}/{pixel_aspect.denominator}"
    written = BitStreamFilterContext(f"{shaper}={shape}", stream, target)
    # MP4 and MOV also store the shape; the filter has just reset the target to the old one.
    target.codec_context.sample_aspect_ratio = pixel_aspect
    return written


def _compute_unit(frame_rate: Fraction) -> Fraction:
    """A time base in which a frame lasts a whole number of ticks and any start is exact to 6 us."""
    ticks = frame_rate.numerator
    while ticks < 90_000:
        ticks *= 2
    return Fraction(1, ticks)


def _walk_pictures(
    rendered: Any,
    stream: Any,
    target: Any,
    shape: Any,
    times: list[tuple[int, int]],
    start: Fraction,
    frame_rate: Fraction,
    unit: Fraction,
) -> Iterator[tuple[Fraction, Any]]:
    offset = round(start / unit)
    frame = 1 / frame_rate / unit
    packets = (packet for packet in rendered.demux(stream) if packet.pts is not None)
    if shape is not None:
        # One packet in, one packet out: these filters buffer nothing.
        packets = (shaped for packet in packets for shaped in shape.filter(packet))
    for packet, (pts, dts) in zip(packets, times, strict=True):
        packet.stream, packet.time_base = target, unit
        packet.pts, packet.dts = offset + round(pts * frame), offset + round(dts * frame)
        packet.duration = round(frame)
        yield packet.dts * unit, packet


def plan_sound(
    stream: Any,
    source: Path,
    result: Any,
    container: Container,
    reencode_audio: bool,
    blank: Fraction,
    problems: list[str],
) -> Iterator[tuple[Fraction, Any]]:
    """Each sound stream is read through a container of its own, so that no stream waits in memory for another.

    While its packets are written, `problems` gets sentences about what could not be read.
    """
    if can_copy(stream, container):
        target = result.add_stream_from_template(stream)
        walk = walk_packets(source, stream.index, target, blank, problems)
    elif reencode_audio and stream.codec_context is not None:
        channels = stream.codec_context.channels
        if channels not in AAC_LAYOUTS:
            raise FaceBlurError(f"The sound of {source.name} has {channels} channels, which AAC does not support.")
        rate = stream.codec_context.sample_rate
        target = result.add_stream("aac", rate=rate if rate in _AAC_RATES else 48000, layout=AAC_LAYOUTS[channels])
        target.codec_context.bit_rate = AAC_BIT_RATE
        walk = _walk_encoded(source, stream.index, target, blank)
    else:
        raise FaceBlurError(f"The {name_codec(stream)} sound of {source.name} cannot be kept unchanged.")
    language = stream.metadata.get("language")
    if language:
        target.metadata["language"] = language
    target.disposition = stream.disposition
    return walk


def walk_packets(
    source: Path, index: int, target: Any, blank: Fraction, problems: list[str]
) -> Iterator[tuple[Fraction, Any]]:
    import av

    with av.open(str(source), options={"protocol_whitelist": "file"}) as original:
        stream = original.streams[index]
        early = round(blank / stream.time_base)
        for packet in walk_heard(original, stream, problems):
            time = (packet.dts if packet.dts is not None else packet.pts or 0) * Fraction(packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - early
            packet.dts = None if packet.dts is None else packet.dts - early
            packet.stream = target
            yield time - blank, packet


def walk_heard(container: Any, stream: Any, problems: list[str] | None = None) -> Iterator[Any]:
    """The packets of an open file's stream that players play, and the one that their decoder needs before them.

    Only MP4 and MOV have edit lists, which hide packets. What is hidden may be somebody's words, so it is left out. The
    packet before the first one that is heard completely stays: most codecs decode a packet with the help of the one
    before it. Where a file was cut off, the packets end, and `problems` gets a sentence.
    """
    import av

    before: Any = None
    heard = False
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_discard:
                before = packet
                continue
            if not heard and before is not None and _needs_packet_before(stream, packet):
                yield before
            heard = True
            yield packet
    except av.error.InvalidDataError:
        if problems is not None:
            problems.append("The file is damaged or cut off, so its sound or subtitles end early.")


def _needs_packet_before(stream: Any, first: Any) -> bool:
    # Of a packet that an edit list hides in part, the hidden part serves the decoder.
    is_whole = first.pts is not None and stream.start_time is not None and first.pts >= stream.start_time
    return is_whole and not name_codec(stream).startswith(("pcm_", "flac", "alac"))


def find_earliest_sound(source: Path, reencode_audio: bool, container: Container) -> Fraction:
    """The time in seconds at which the first copied packet of sound of an MP4 or MOV begins; at most 0."""
    import av

    earliest = Fraction(0)
    with av.open(str(source), options={"protocol_whitelist": "file"}) as original:
        if "mp4" not in original.format.name.split(","):
            # In other containers a time below zero belongs to a delay that the container names.
            return earliest
        for number in range(len(list_sound_streams(original))):
            # Each search begins at the start.
            with av.open(str(source), options={"protocol_whitelist": "file"}) as opened:
                stream = list_sound_streams(opened)[number]
                if reencode_audio and not can_copy(stream, container):
                    continue
                first = next(walk_heard(opened, stream), None)
                if first is not None and first.pts is not None:
                    earliest = min(earliest, first.pts * Fraction(first.time_base))
    return earliest


def _walk_encoded(source: Path, index: int, target: Any, blank: Fraction) -> Iterator[tuple[Fraction, Any]]:
    import av

    with av.open(str(source), options={"protocol_whitelist": "file"}) as original:
        stream = original.streams[index]
        resampler = av.AudioResampler("fltp", target.codec_context.layout.name, target.codec_context.sample_rate)
        time_base = Fraction(1, target.codec_context.sample_rate)
        for frame in _chain_none(original.decode(stream)):
            if frame is not None and frame.pts is not None:
                frame.pts -= round(blank / frame.time_base)
            for piece in resampler.resample(frame):
                for packet in target.encode(piece):
                    yield (packet.dts or 0) * time_base, packet
        for packet in target.encode(None):
            yield (packet.dts or 0) * time_base, packet


def _chain_none(frames: Iterator[Any]) -> Iterator[Any]:
    yield from frames
    yield None


def merge_tracks(tracks: list[Iterator[tuple[Fraction, Any]]]) -> Iterator[Any]:
    for _, packet in heapq.merge(*tracks, key=lambda item: item[0]):
        yield packet


def list_dropped(original: Any, kept: Collection[int] = (), keeps_marks: bool = False) -> list[str]:
    """A sentence about the streams and chapters that an output lacks.

    `kept` are the indexes of further streams that it has; with `keeps_marks` it has the chapters and the timecode.
    """
    counts: dict[str, int] = {}
    for stream in original.streams:
        if stream.type in ("audio", "video") or stream.index in kept or (keeps_marks and is_mark(stream)):
            continue
        kind = {"subtitle": "subtitle stream", "attachment": "attachment"}.get(stream.type, "data stream")
        counts[kind] = counts.get(kind, 0) + 1
    unknown = len(original.streams.audio) - len(list_sound_streams(original))
    if unknown:
        counts["unknown sound stream"] = unknown
    further = len(original.streams.video) - 1
    if further > 0:
        counts["further video stream or cover picture"] = further
    chapters = 0 if keeps_marks else len(original.chapters())
    if chapters:
        counts["chapter"] = chapters
    if not counts:
        return []
    return [
        "Not carried over: "
        + ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items())
        + "."
    ]


def is_mark(stream: Any) -> bool:
    """Whether a stream is how MP4 and MOV store the names of chapters or the timecode."""
    # FFmpeg has read the names of the chapters by then, and discards the stream.
    return stream.type == "data" and (bool(stream.metadata.get("timecode")) or int(stream.discard) == _DISCARD_ALL)
