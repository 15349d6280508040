# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses a container for the blurred picture and the source's sound, and reports it if either has to change."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError

_MP4_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_MOV_SOUND = frozenset(
    {
        "aac",
        "mp3",
        "ac3",
        "eac3",
        "alac",
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_s32be",
        "pcm_f32le",
        "pcm_f32be",
        "pcm_u8",
        "pcm_s8",
        "pcm_alaw",
        "pcm_mulaw",
    }
)
_MP4_TEXT = frozenset({"mov_text"})
_WEBM_SOUND = frozenset({"opus", "vorbis"})
AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""The layouts in which sound is encoded again, by the number of channels."""


@dataclass(frozen=True, slots=True)
class Container:
    """`format` is FFmpeg's name of the muxer.

    `sound` and `subtitles` are the codecs that players read in the container; None where they read all that the muxer
    writes.
    """

    suffix: str
    format: str
    pictures: frozenset[str]
    sound: frozenset[str] | None
    subtitles: frozenset[str] | None


CONTAINERS = (
    Container(".mp4", "mp4", frozenset({"h264", "h265", "av1", "vp9"}), _MP4_SOUND, _MP4_TEXT),
    Container(".m4v", "mp4", frozenset({"h264", "h265"}), _MP4_SOUND, _MP4_TEXT),
    Container(".mov", "mov", frozenset({"h264", "h265", "prores", "dnxhr"}), _MOV_SOUND, _MP4_TEXT),
    Container(".webm", "webm", frozenset({"av1", "vp9"}), _WEBM_SOUND, frozenset({"webvtt"})),
    Container(".mkv", "matroska", frozenset({"h264", "h265", "av1", "vp9", "prores", "ffv1"}), None, None),
)
MATROSKA = CONTAINERS[-1]


@dataclass(frozen=True, slots=True)
class SourceSound:
    """A sound stream of a source: its codec by `name_codec`, and what can become of it."""

    codec: str
    formats: frozenset[str]
    """The formats of the containers that hold it unchanged."""
    encodable: bool = True
    """Whether it can be decoded and encoded again as AAC."""


def list_sound(path: Path) -> list[SourceSound]:
    """The sound streams of a film, in order. Raises FaceBlurError."""
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as source:
            return [
                SourceSound(
                    name_codec(stream),
                    frozenset(container.format for container in CONTAINERS if can_copy(stream, container)),
                    stream.codec_context is not None and stream.codec_context.channels in AAC_LAYOUTS,
                )
                for stream in list_sound_streams(source)
            ]
    except (av.error.FFmpegError, OSError) as error:
        raise FaceBlurError(f"{path.name} cannot be opened: {error}") from error


def list_sound_streams(opened: Any) -> list[Any]:
    """The sound streams of an open film that its output gets.

    These are all, except for those whose codec FFmpeg does not know, if there are others: an iPhone stores its ordinary
    sound and the same in Apple's spatial format. If none is known, nothing may be left out, so all are listed.
    """
    known = [stream for stream in opened.streams.audio if stream.codec_context is not None]
    return known or list(opened.streams.audio)


def can_copy(stream: Any, container: Container) -> bool:
    """Whether the container can hold an open sound or subtitle stream unchanged. Its muxer is asked to begin a file
    with it."""
    import av

    codecs = container.subtitles if stream.type == "subtitle" else container.sound
    if stream.codec_context is None or (codecs is not None and name_codec(stream) not in codecs):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=container.format) as result:
            result.add_stream_from_template(stream)
            result.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def name_codec(stream: Any) -> str:
    """FFmpeg's name of a stream's codec, or "unknown". All decoders of a codec share the name."""
    if stream.codec_context is None:
        return "unknown"
    return str(stream.codec_context.codec.canonical_name)


def choose_container(
    source: Path, sound: list[SourceSound], codec: str, wanted: Path | None, reencode_audio: bool
) -> tuple[Container, list[str]]:
    """The container for a source's blurred film, and sentences for the user about the choice.

    `wanted` is the requested file, or None if the file name extension is free: the source's own container if it
    can hold everything, else Matroska. Raises FaceBlurError if the sound cannot be kept unchanged and `reencode_audio`
    is off, or if it cannot be encoded again either.
    """
    if wanted is not None:
        container = get_container(wanted.suffix)
        if container is None:
            known = ", ".join(known.suffix for known in CONTAINERS)
            raise FaceBlurError(f"{wanted.name}: this file type cannot be written. Use one of {known}.")
        if codec not in container.pictures:
            raise FaceBlurError(f"{wanted.name} cannot hold {codec} pictures. Name it .mkv.")
        foreign = _list_foreign(sound, container)
        if foreign and not reencode_audio:
            other = "name it .mkv, or " if not _list_foreign(sound, MATROSKA) else ""
            raise FaceBlurError(
                f"{wanted.name} cannot hold {', '.join(foreign)} sound unchanged: {other}use --reencode-audio."
            )
        _check_encodable(source, sound, container)
        return container, []
    own = get_container(source.suffix)
    if own is not None and codec in own.pictures and not _list_foreign(sound, own):
        return own, []
    if codec not in MATROSKA.pictures:
        raise FaceBlurError(f"{codec} pictures can only be written as .mov, which cannot hold the sound. Use --codec.")
    foreign = _list_foreign(sound, MATROSKA)
    _check_encodable(source, sound, MATROSKA)
    if foreign and not reencode_audio:
        raise FaceBlurError(
            f"The {', '.join(foreign)} sound of {source.name} cannot be kept unchanged. Use --reencode-audio."
        )
    if own is MATROSKA:
        return MATROSKA, []
    what = (
        f"{codec} pictures"
        if own is None or codec not in own.pictures
        else f"{', '.join(_list_foreign(sound, own))} sound unchanged"
    )
    return MATROSKA, [f"Written as .mkv: {source.suffix or 'a file without an extension'} cannot hold {what}."]


def get_container(suffix: str) -> Container | None:
    """The container of files with this name extension; None if we write none."""
    return next((container for container in CONTAINERS if container.suffix == suffix.lower()), None)


def _list_foreign(sound: list[SourceSound], container: Container) -> list[str]:
    return sorted({stream.codec for stream in sound if container.format not in stream.formats})


def _check_encodable(source: Path, sound: list[SourceSound], container: Container) -> None:
    for stream in sound:
        if container.format not in stream.formats and not stream.encodable:
            raise FaceBlurError(f"The {stream.codec} sound of {source.name} can neither be kept nor encoded again.")
