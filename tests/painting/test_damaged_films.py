# SPDX-License-Identifier: GPL-3.0-or-later
"""Films that were cut off or begin before time zero are covered as far as they go, and Blender still refuses them."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from blender_faceblur.batch.planning import FilmJob
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.reporting.progress import Reporter
from blender_faceblur.sources import MovieSource
from blender_faceblur.worker.opening import open_requested
from blender_faceblur.worker.protocol import SourceRef

from .films import Film, check_fed, cover_film, read_pictures, read_planes, write_film
from .test_kept_streams import Extras

MS = Fraction(1, 1000)
GROUPS = {"g": "12", "bf": "2"}
EARLY = Film(
    ticks=[40 * number - 400 for number in range(30)],
    time_base=MS,
    options=GROUPS,
    container_options={"avoid_negative_ts": "disabled"},
)


def write_cut_off(path: Path, percent: int) -> Path:
    """A film with sound of which only the beginning is there."""
    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    codec = "flv" if path.suffix == ".flv" else "libx264"
    film = Film(codec, count=100, size=(160, 96), options=GROUPS if codec != "flv" else {}, container_options=options)
    sound = ("libmp3lame",) if path.suffix == ".flv" else ("aac",)
    write_film(path, film, Extras(sound=sound, sound_s=4).add)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * percent // 100])
    return path


def list_readable(path: Path) -> list[Any]:
    """The pictures that PyAV can decode, until the first error."""
    frames = []
    with av.open(str(path)) as container:
        try:
            for packet in container.demux(video=0):
                try:
                    frames += packet.decode()
                except av.error.InvalidDataError:
                    continue
        except av.error.InvalidDataError:
            frames += container.streams.video[0].codec_context.decode(None)
    return frames


def count_sound(path: Path) -> int:
    """The number of packets of sound that can be read."""
    count = 0
    with av.open(str(path)) as container, suppress(av.error.InvalidDataError):
        for packet in container.demux(audio=0):
            count += bool(packet.size)
    return count


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
@pytest.mark.parametrize("percent", [30, 60, 90])
def test_a_film_that_was_cut_off_is_covered_as_far_as_it_goes(suffix: str, percent: int, tmp_path: Path) -> None:
    source = write_cut_off(tmp_path / f"a{suffix}", percent)
    readable = list_readable(source)
    with MovieSource(source) as film:
        assert any("cut off" in text for text in film.info.warnings)
        # The analysis sees all that is painted.
        shown = [picture for _, picture in film.read_frames(grey=True)]
    assert len({id(picture) for picture in shown}) == len(readable)
    covered = cover_film(source, tmp_path)
    assert len(covered.fed) == len(readable) >= (2 if suffix == ".flv" else percent * 7 // 10)
    assert not any("covered completely" in text for text in covered.warnings)
    # `--verify` compares with these.
    assert len(MovieSource(source).list_times()) == len(readable)
    assert count_sound(covered.path) == count_sound(source) > 5


def test_a_wrong_length_does_not_multiply_the_frames(tmp_path: Path) -> None:
    """A header that promises 30 hours made the analysis repeat the last picture two million times."""
    source = write_film(tmp_path / "a.flv", Film("flv", count=15))
    content = source.read_bytes()
    place = content.index(b"duration") + 9
    source.write_bytes(content[:place] + struct.pack(">d", 109_948.0) + content[place + 8 :])
    with MovieSource(source) as film:
        assert film.info.frame_count == 15 and "length" in film.blender_problem


def test_an_intact_film_is_not_reported_as_cut_off(tmp_path: Path) -> None:
    for name, extras in (("a.mkv", Extras(sound_s=3.0)), ("b.mp4", Extras(sound_s=0.2)), ("c.mkv", Extras(sound=()))):
        with MovieSource(write_film(tmp_path / name, Film(count=30), extras.add)) as film:
            assert film.info.warnings[1:] == () and "cut off" not in "".join(film.info.warnings)
            assert not film.blender_problem


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".webm"])
def test_of_films_joined_end_to_end_only_what_was_analysed_is_shown(suffix: str, tmp_path: Path) -> None:
    """As `cat` or a recorder leaves them: the times begin again, so no frame of the strip shows the later pictures."""
    codec = "libvpx" if suffix == ".webm" else "libx264"
    parts = [
        write_film(tmp_path / f"{name}{suffix}", Film(codec, count=count, size=(160, 96)))
        for name, count in (("a", 12), ("b", 9))
    ]
    joined = tmp_path / f"joined{suffix}"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    readable = len(list_readable(joined))
    covered = cover_film(joined, tmp_path)
    contrasts = [int(np.ptp(planes[0])) for planes in covered.fed]
    assert readable == len(contrasts) == 21
    assert min(contrasts[:12]) > 0 and max(contrasts[12:]) == 0
    assert any("9 pictures are covered completely" in text for text in covered.warnings)


@pytest.mark.parametrize(("shifts", "unknown"), [({4: 40, 5: 40}, ()), ({4: 40, 5: 80, 6: 120}, (5, 6))])
def test_a_picture_with_the_time_of_the_one_before_it_is_shown_with_its_covers(
    shifts: dict[int, int], unknown: tuple[int, ...], tmp_path: Path
) -> None:
    """As bad recorders write them: it follows that one, so its covers are known. Of the next ones they are not."""
    even = write_film(tmp_path / "even.mkv", Film("mjpeg", "yuvj420p", (160, 96), time_base=MS))
    source = tmp_path / "a.mkv"
    with av.open(str(even)) as film, av.open(str(source), "w") as container:
        stream = container.add_stream_from_template(film.streams.video[0])
        for number, packet in enumerate(film.demux(video=0)):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = packet.pts - shifts.get(number, 0)
                container.mux(packet)
    opened = MovieSource(source)
    pictures = list(opened.read_timed_pictures())
    assert len(pictures) == 12 and tuple(at for at, (_, _, goes_back) in enumerate(pictures) if goes_back) == unknown
    covered = cover_film(source, tmp_path)
    assert tuple(at for at, planes in enumerate(covered.fed) if not np.ptp(planes[0])) == unknown
    assert any("covered completely" in text for text in covered.warnings) == bool(unknown)


@pytest.mark.parametrize("form", ["untimed.mkv", "long.mkv", "timed.webm", "timed.ts"])
def test_a_film_that_begins_before_time_zero_is_covered_from_its_first_picture(form: str, tmp_path: Path) -> None:
    """FFmpeg reads no times below zero from Matroska, where only `write_film`'s order tells when pictures are shown."""
    film = EARLY
    if form == "long.mkv":
        film = replace(film, options={"bf": "2"})
    elif form == "timed.webm":
        film = replace(film, codec="libvpx-vp9", options={"g": "12"})
    source = write_film(tmp_path / form, film)
    opened = MovieSource(source)
    assert opened.info.frame_count == 30 and "before time zero" in opened.blender_problem
    assert opened.start_s == Fraction(-2, 5)
    times = [time * opened.time_base for time, _ in opened.read_pictures()]
    assert times == [Fraction(number - 10, 25) for number in range(30)]
    for start in (0, 7, 12, 29):
        whole = dict(opened.read_frames(grey=True))
        assert np.array_equal(dict(opened.read_frames(start, start + 1, grey=True))[start], whole[start])
    covered = cover_film(source, tmp_path)
    check_fed(source, covered)
    made = [time for time, _ in read_pictures(covered.path)]
    assert made == [Fraction(number, 25) for number in range(30)]
    assert not any("completely" in text for text in covered.warnings)


def test_sound_stays_in_sync_with_pictures_before_time_zero(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", EARLY, Extras(sound=("libmp3lame",)).add)
    covered = cover_film(source, tmp_path)
    with av.open(str(covered.path)) as container:
        stream = container.streams.audio[0]
        first = next(packet for packet in container.demux(stream) if packet.size)
        assert float(first.pts * stream.time_base) == pytest.approx(0.4, abs=0.03)


def test_blender_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    early = write_film(tmp_path / "early.webm", replace(EARLY, codec="libvpx-vp9", options={}))
    cut_off = write_cut_off(tmp_path / "cut.mp4", 60)
    for path, words in ((early, "before time zero"), (cut_off, "truncated")):
        open_requested(SourceRef.of(path)).close()
        with pytest.raises(FaceBlurError, match=words):
            open_requested(replace(SourceRef.of(path), for_blender=True))
        for settings, project in (
            (BatchSettings(renderer="blender"), None),
            (BatchSettings(), tmp_path / "a.blend"),
        ):
            job = FilmJob(path, tmp_path / "out.mkv", False, save_blend=project)
            (outcome,) = run_jobs([job], settings, Reporter(), analyse=refuse_analysis)
            assert outcome.status == "failed" and words in outcome.reason


def refuse_analysis(*_: Any) -> None:
    raise AssertionError("the film must be refused before its analysis")


def set_edit(path: Path, stream: int, media_time: int, ticks: int | None = None) -> Path:
    """Let an MP4's stream begin at `media_time` (its time scale), and last `ticks` (the file's time scale)."""
    content, at = bytearray(path.read_bytes()), -1
    for _ in range(stream + 1):
        at = content.index(b"elst", at + 1)
    if ticks is not None:
        struct.pack_into(">I", content, at + 12, ticks)
    struct.pack_into(">i", content, at + 16, media_time)
    path.write_bytes(content)
    return path


def read_sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("output", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_the_packet_that_primes_the_decoder_is_kept(name: str, output: str, tmp_path: Path) -> None:
    source = write_film(tmp_path / name, Film(count=25), Extras(sound=("aac",), sound_s=1).add)
    covered = cover_film(source, tmp_path, output=tmp_path / output)
    assert read_sound_packets(covered.path) == read_sound_packets(source)
    assert find_offset(covered.path) == pytest.approx(find_offset(source), abs=0.002)


def find_offset(path: Path) -> float:
    """How much later the first packet of sound comes than the first picture, in seconds."""
    with av.open(str(path)) as container:
        firsts: dict[str, list[float]] = {}
        for packet in container.demux():
            if packet.size:
                firsts.setdefault(packet.stream.type, []).append(float(packet.pts * packet.time_base))
    return min(firsts["audio"]) - min(firsts["video"])


@pytest.mark.parametrize("output", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize(("media_time", "hidden"), [(25 * 1024, 24), (25 * 1024 + 300, 25), (2048, 1), (1500, 1)])
def test_sound_that_an_edit_list_hides_is_left_out(output: str, media_time: int, hidden: int, tmp_path: Path) -> None:
    """At most one packet remains of it."""
    source = write_film(tmp_path / "a.mp4", Film(count=25), Extras(sound=("aac",), sound_s=1).add)
    before = read_sound_packets(source)
    set_edit(source, 1, media_time)
    covered = cover_film(source, tmp_path, output=tmp_path / output)
    assert read_sound_packets(covered.path) == before[hidden:]
    samples = media_time - hidden * 1024
    assert 0 < samples <= 1024
    assert find_offset(covered.path) == pytest.approx(-samples / 48000, abs=0.002)


def test_sound_without_a_decoder_that_looks_back_keeps_nothing_hidden(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mov", Film(count=25), Extras(sound=("pcm_s16le",), sound_s=1).add)
    before = b"".join(read_sound_packets(source))
    set_edit(source, 1, 24000)
    covered = cover_film(source, tmp_path, output=tmp_path / "b.mov")
    after = b"".join(read_sound_packets(covered.path))
    assert before.endswith(after) and 24000 <= len(after) // 2 < 24000 + 1100


def test_pictures_that_an_edit_list_hides_are_not_in_the_output(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", Film(count=30, options={"g": "12", "bf": "0"}))
    whole = [read_planes(frame)[0] for _, frame in read_pictures(source)]
    with av.open(str(source)) as container:
        ticks = round(8 / 25 / container.streams.video[0].time_base)
    set_edit(source, 0, ticks, 400)
    covered = cover_film(source, tmp_path)
    made = [read_planes(frame)[0].astype(int) for _, frame in read_pictures(covered.path)]
    nearest = [int(np.argmin([np.abs(one - other).mean() for other in whole])) for one in made]
    assert nearest == list(range(8, 18))
    with av.open(str(covered.path)) as container:
        assert sum(bool(packet.size) for packet in container.demux(video=0)) == 10
    assert covered.warnings == []
