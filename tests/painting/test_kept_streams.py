# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound, subtitles, chapters and timecode are kept packet for packet; places, devices and names are left behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.delivery.traces import find_traces

from .films import GREEN, Covered, Film, check_fed, check_times, cover_film, draw_frame, write_film

MS = Fraction(1, 1000)
NTSC = Fraction(30000, 1001)
PERSON = "Jane Doe"
CUES = ((40, 160, "Hello"), (240, 160, "World"))
CHAPTERS = ((0, 200, "One"), (200, 480, "Two"))


@dataclass(frozen=True, slots=True)
class Extras:
    """What a film has besides its pictures."""

    sound: tuple[str, ...] = ("aac", "aac")
    sound_s: float = 0.48
    subtitles: str = ""
    """The codec; empty for none."""
    chapters: bool = False
    timecode: str = ""
    font: bool = False
    cover: bool = False
    measurements: bool = False
    """A data stream of positions."""
    languages: tuple[str, ...] = field(default=("deu", "fra"))

    def add(self, container: Any) -> Callable[[], None]:
        """Add the streams to a container that has its video stream; returns what writes their packets."""
        tags = {"title": PERSON, "location": "+48.1+11.5/", "make": PERSON, "creation_time": "2020-01-01T00:00:00Z"}
        container.metadata.update(tags)
        container.streams.video[0].metadata["handler_name"] = f"{PERSON}'s camera"
        if self.timecode:
            container.streams.video[0].metadata["timecode"] = self.timecode
        packets = [self._encode_tone(container, *pair) for pair in zip(self.sound, self.languages, strict=False)]
        if self.subtitles:
            packets.append(self._write_cues(container))
        if self.chapters:
            container.set_chapters(
                [
                    {"id": number, "start": start, "end": end, "time_base": MS, "metadata": {"title": title}}
                    for number, (start, end, title) in enumerate(CHAPTERS)
                ]
            )
        if self.font:
            container.add_attachment("font.ttf", "font/ttf", b"\0\1\0\0" * 40)
        if self.cover:
            packets.append(self._draw_cover(container))
        if self.measurements:
            stream = container.add_data_stream("klv")
            position = av.Packet(b"\x06\x0e\x2b\x34" + PERSON.encode())
            position.stream, position.time_base, position.pts, position.dts = stream, MS, 40, 40
            packets.append([position])

        def finish() -> None:
            for some in packets:
                container.mux(some)

        return finish

    def _encode_tone(self, container: Any, codec: str, language: str) -> list[Any]:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        stream.codec_context.bit_rate = 64_000
        stream.metadata.update({"language": language, "title": f"{PERSON} speaks"})
        wave = (8000 * np.sin(np.arange(round(self.sound_s * 48000)) / (20 + len(language)))).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        return [*stream.encode(frame), *stream.encode(None)]

    def _write_cues(self, container: Any) -> list[Any]:
        stream = container.add_mux_stream(self.subtitles)
        stream.metadata["language"] = "eng"
        packets = []
        for start, length, text in CUES:
            size = len(text).to_bytes(2, "big") if self.subtitles == "mov_text" else b""
            packet = av.Packet(size + text.encode())
            packet.stream, packet.time_base = stream, MS
            packet.pts = packet.dts = start
            packet.duration = length
            packets.append(packet)
        return packets

    @staticmethod
    def _draw_cover(container: Any) -> list[Any]:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.disposition = Disposition.attached_pic
        return [*stream.encode(draw_frame(0, (64, 48), "yuvj420p")), *stream.encode(None)]


@dataclass(frozen=True, slots=True)
class Stream:
    """A sound or subtitle stream: its language, and of each packet a hash, the time and the duration in seconds."""

    kind: str
    codec: str
    language: str
    packets: tuple[tuple[str, float, float], ...]


def read_streams(path: Path) -> list[Stream]:
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        packets: dict[int, list[tuple[str, float, float]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                base = packet.time_base
                digest = hashlib.sha256(bytes(packet)).hexdigest()
                times = round(float(packet.pts * base), 2), round(float(packet.duration * base), 2)
                packets[packet.stream.index].append((digest, *times))
        return [
            Stream(one.type, one.codec_context.name, one.metadata.get("language", ""), tuple(packets[one.index]))
            for one in streams
        ]


def read_chapters(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]), one["metadata"]["title"])
            for one in container.chapters()
        ]


def read_timecodes(path: Path) -> set[str]:
    with av.open(str(path)) as container:
        tags = [(key.lower(), value) for stream in container.streams for key, value in stream.metadata.items()]
        return {value for key, value in tags if key == "timecode"}


ALL = {
    "mp4": ("a.mp4", Film(), Extras(subtitles="mov_text", chapters=True, timecode="01:02:03:04")),
    "mov": (
        "a.mov",
        Film(),
        Extras(("pcm_s16le", "aac"), subtitles="mov_text", chapters=True, timecode="01:02:03:04"),
    ),
    "mov-drop-frame": ("a.mov", Film("prores_ks", "yuv422p10le", rate=NTSC), Extras(timecode="01:02:03;04")),
    "mkv": ("a.mkv", Film(), Extras(("flac", "aac"), subtitles="subrip", chapters=True, timecode="01:02:03:04")),
    "webm": ("a.webm", Film("libvpx-vp9"), Extras(("libopus", "libopus"), subtitles="webvtt", chapters=True)),
    "ts": ("a.ts", Film(), Extras()),
    "long-sound": ("a.mp4", Film(), Extras(sound_s=1.5)),
    "silent": ("a.mp4", Film(), Extras((), chapters=True)),
}


@pytest.mark.parametrize("case", ALL)
def test_streams_are_kept_packet_for_packet(case: str, tmp_path: Path) -> None:
    name, film, extras = ALL[case]
    source = write_film(tmp_path / name, film, extras.add)
    covered = cover_film(source, tmp_path)
    check_times(source, covered)
    if case != "long-sound":
        check_fed(source, covered)
    before, after = read_streams(source), read_streams(covered.path)
    if name == "a.ts":
        # Transport streams put a header before each AAC packet, and start late; `verify_film` has compared the sound.
        assert [(one.kind, one.codec, one.language, len(one.packets)) for one in before] == [
            (one.kind, one.codec, one.language, len(one.packets)) for one in after
        ]
    else:
        assert before == after and len(after) == len(extras.sound) + bool(extras.subtitles)
    assert read_chapters(source) == read_chapters(covered.path)
    assert len(read_chapters(covered.path)) == (2 if extras.chapters else 0)
    assert read_timecodes(covered.path) == ({extras.timecode} if extras.timecode else set())
    check_anonymous(source, covered)
    assert len(covered.warnings) == (1 if name == "a.ts" else 0)


def check_anonymous(source: Path, covered: Covered) -> None:
    """Assert that nothing of what `Extras` writes about a person is left, and that the check of films agrees."""
    data = covered.path.read_bytes()
    assert PERSON.encode() in source.read_bytes() or source.suffix == ".ts"
    assert PERSON.encode() not in data and b"48.1" not in data and b"2020-01-01" not in data
    assert find_traces(covered.path, source) == []


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("a.mkv", Extras(("aac",), font=True)),
        ("a.mp4", Extras(("aac",), cover=True)),
        ("a.mkv", Extras(("aac",), cover=True)),
        ("a.ts", Extras(("aac",), measurements=True)),
    ],
)
def test_further_streams_are_left_behind_with_a_warning(name: str, extras: Extras, tmp_path: Path) -> None:
    source = write_film(tmp_path / name, Film(), extras.add)
    covered = cover_film(source, tmp_path)
    with av.open(str(source)) as before, av.open(str(covered.path)) as after:
        assert len(before.streams) == 3
        assert [stream.type for stream in after.streams] == ["video", "audio"]
    assert len(covered.warnings) == (2 if name == "a.ts" else 1)
    check_anonymous(source, covered)


def test_subtitles_that_the_container_cannot_hold_are_reported(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", Film(), Extras(("aac",), subtitles="subrip").add)
    covered = cover_film(source, tmp_path, output=tmp_path / "b.mp4")
    assert [one.kind for one in read_streams(covered.path)] == ["audio"] and len(covered.warnings) == 1
    source = write_film(tmp_path / "c.mp4", Film(), Extras(("aac",), subtitles="mov_text").add)
    covered = cover_film(source, tmp_path, output=tmp_path / "d.mkv")
    assert [one.kind for one in read_streams(covered.path)] == ["audio"] and len(covered.warnings) == 1


def test_subtitles_are_dropped_on_request(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", Film(), Extras(("aac",), subtitles="subrip").add)
    covered = cover_film(source, tmp_path, settings=BatchSettings(color=GREEN, drop_subtitles=True))
    assert [one.kind for one in read_streams(covered.path)] == ["audio"] and len(covered.warnings) == 1


def test_a_late_start_moves_sound_subtitles_and_chapters_together(tmp_path: Path) -> None:
    film = Film(ticks=[800 + 40 * number for number in range(12)], time_base=MS)
    source = write_film(tmp_path / "a.mkv", film, Extras((), subtitles="subrip", chapters=True).add)
    with av.open(str(source)) as container:
        assert container.streams.video[0].start_time == 800
    covered = cover_film(source, tmp_path)
    check_times(source, covered)
    # Everything before the first picture is at the film's start.
    assert read_chapters(covered.path)[0][0] == 0
    assert find_traces(covered.path, source) == []


def test_what_is_not_from_the_source_is_a_trace(tmp_path: Path) -> None:
    extras = Extras(subtitles="mov_text", chapters=True, timecode="01:02:03:04")
    source = write_film(tmp_path / "a.mp4", Film(), extras.add)
    covered = cover_film(source, tmp_path)
    plain = write_film(tmp_path / "plain.mp4", Film(), Extras().add)
    # The timecode, two or three further streams, and the chapters.
    assert len(find_traces(covered.path, plain)) == 3
    assert len(find_traces(covered.path)) == 3
    other = write_film(tmp_path / "b.mp4", Film(), Extras(subtitles="mov_text", timecode="11:12:13:14").add)
    assert len(find_traces(covered.path, other)) == 2
