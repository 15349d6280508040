# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses a container for the blurred picture and the source's sound, and reports it if either has to change."""

from __future__ import annotations

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
# Codecs with an identifier in FFmpeg's Matroska muxer. G.711 and the like would become ACM, which few players read.
_MKV_SOUND = frozenset(
    {
        "aac",
        "mp2",
        "mp3",
        "ac3",
        "eac3",
        "alac",
        "opus",
        "flac",
        "vorbis",
        "dts",
        "truehd",
        "mlp",
        "tta",
        "wavpack",
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_s32be",
        "pcm_f32le",
        "pcm_f64le",
        "pcm_u8",
        "wmav1",
        "wmav2",
        "pcm_alaw",
        "pcm_mulaw",
        "adpcm_ms",
        "adpcm_ima_wav",
    }
)


@dataclass(frozen=True, slots=True)
class Container:
    """`format` is FFmpeg's name of the muxer."""

    suffix: str
    format: str
    pictures: frozenset[str]
    sound: frozenset[str]


CONTAINERS = (
    Container(".mp4", "mp4", frozenset({"h264", "h265"}), _MP4_SOUND),
    Container(".m4v", "mp4", frozenset({"h264", "h265"}), _MP4_SOUND),
    Container(".mov", "mov", frozenset({"h264", "h265"}), _MOV_SOUND),
    Container(".mkv", "matroska", frozenset({"h264", "h265", "ffv1"}), _MKV_SOUND),
)
MATROSKA = CONTAINERS[-1]


def list_sound(path: Path) -> list[str]:
    """The codec of each sound stream, in order; "unknown" if FFmpeg has no name for it."""
    import av

    try:
        with av.open(str(path)) as container:
            return [name_codec(stream) for stream in container.streams.audio]
    except (av.error.FFmpegError, OSError) as error:
        raise FaceBlurError(f"{path.name} cannot be opened: {error}") from error


def name_codec(stream: Any) -> str:
    """FFmpeg's name of a stream's codec, or "unknown". All decoders of a codec share the name."""
    if stream.codec_context is None:
        return "unknown"
    return str(stream.codec_context.codec.canonical_name)


def choose_container(
    source: Path, sound: list[str], codec: str, wanted: Path | None, reencode_audio: bool
) -> tuple[Container, list[str]]:
    """The container for a source's blurred film, and sentences for the user about the choice.

    `wanted` is the requested file, or None if the file name extension is free: the source's own container if it
    can hold everything, else Matroska. Raises FaceBlurError if the sound cannot be kept unchanged and `reencode_audio`
    is off.
    """
    if wanted is not None:
        container = _get_container(wanted.suffix)
        if container is None:
            known = ", ".join(known.suffix for known in CONTAINERS)
            raise FaceBlurError(f"{wanted.name}: this file type cannot be written. Use one of {known}.")
        if codec not in container.pictures:
            raise FaceBlurError(f"{wanted.name} cannot hold {codec} pictures. Name it .mkv.")
        foreign = _list_foreign(sound, container)
        if foreign and not reencode_audio:
            other = "name it .mkv, or " if set(sound) <= MATROSKA.sound else ""
            raise FaceBlurError(
                f"{wanted.name} cannot hold {', '.join(foreign)} sound unchanged: {other}use --reencode-audio."
            )
        return container, []
    own = _get_container(source.suffix)
    if own is not None and codec in own.pictures and not _list_foreign(sound, own):
        return own, []
    foreign = _list_foreign(sound, MATROSKA)
    if foreign and not reencode_audio:
        raise FaceBlurError(
            f"The {', '.join(foreign)} sound of {source.name} cannot be kept unchanged. Use --reencode-audio."
        )
    if own is MATROSKA:
        return MATROSKA, []
    what = f"{codec} pictures" if own is None or codec not in own.pictures else f"{', '.join(sound)} sound unchanged"
    return MATROSKA, [f"Written as .mkv: {source.suffix or 'a file without an extension'} cannot hold {what}."]


def _get_container(suffix: str) -> Container | None:
    return next((container for container in CONTAINERS if container.suffix == suffix.lower()), None)


def _list_foreign(sound: list[str], container: Container) -> list[str]:
    return sorted({name for name in sound if name not in container.sound})
