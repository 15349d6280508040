# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound is copied packet for packet and stays in sync, and no other data is copied."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.container import SourceSound, choose_container, list_sound
from blender_faceblur.delivery.encode import encode_pictures, needs_encoding
from blender_faceblur.delivery.picture import finish_picture, read_picture_record, read_profile, verify_picture
from blender_faceblur.delivery.record import make_record, parse_frames, read_film_record
from blender_faceblur.delivery.remux import remux_film, time_pictures
from blender_faceblur.delivery.verify import Expected, read_sound, verify_film
from blender_faceblur.sources.image import parse_orientation

NTSC = Fraction(30000, 1001)


def write_film(
    path: Path,
    *,
    frames: int = 12,
    rate: Fraction = NTSC,
    sound: tuple[str, ...] = ("aac",),
    video: str = "libx264",
    start_s: float = 0.0,
    languages: tuple[str, ...] = (),
    subtitle: bool = False,
    aspect: Fraction = Fraction(1),
) -> None:
    """A small film whose video begins `start_s` after its sound, with B-frames if the codec supports them."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "holiday of Jane Doe"
        container.metadata["location"] = "+48.1+11.5/"
        stream: Any = container.add_stream(video, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if aspect != 1:
            stream.codec_context.sample_aspect_ratio = aspect
        # MPEG-4 has no finer time unit than 1/65535 s.
        unit = Fraction(1, 90000) if start_s else 1 / rate
        tones: list[Any] = [container.add_stream(codec, rate=48000, layout="mono") for codec in sound]
        for tone in tones:
            # The encoders of Windows Media Audio refuse FFmpeg's default.
            tone.codec_context.bit_rate = 128_000
        for tone, language in zip(tones, languages, strict=False):
            tone.metadata["language"] = language
        stream.codec_context.time_base = unit
        for tone in tones:
            for packet in encode_tone(tone, frames / rate + Fraction(start_s)):
                container.mux(packet)
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index % 255, np.uint8), format="rgb24")
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = round((index / rate + Fraction(start_s)) / unit), unit
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def encode_tone(stream: Any, seconds: Fraction) -> list[Any]:
    count = round(seconds * 48000)
    wave = (8000 * np.sin(np.arange(count) / 20)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    return [*stream.encode(frame), *stream.encode(None)]


def render(
    path: Path,
    frames: int = 12,
    rate: Fraction = NTSC,
    size: tuple[int, int] = (64, 48),
    aspect: Fraction = Fraction(1),
) -> None:
    """The output of Blender's child process: pictures in Matroska, with B-frames and without sound."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if aspect != 1:
            stream.codec_context.sample_aspect_ratio = aspect
        for index in range(frames):
            noise = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), np.uint8)
            picture = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def deliver(
    source: Path,
    folder: Path,
    *,
    frames: int = 12,
    rate: Fraction = NTSC,
    size: tuple[int, int] = (64, 48),
    wanted: Path | None = None,
    reencode: bool = False,
    aspect: Fraction = Fraction(1),
) -> tuple[Path, list[str]]:
    container, warnings = choose_container(source, list_sound(source), "h264", wanted, reencode)
    pictures, result = folder / "pictures.mkv", folder / f"result{container.suffix}"
    render(pictures, frames, rate, size, aspect)
    warnings += remux_film(
        pictures,
        source,
        result,
        container,
        frame_rate=rate,
        pixel_aspect=aspect,
        record="faceblur:1:test",
        reencode_audio=reencode,
    )
    verify_film(result, source, Expected(frames, rate, *size, aspect), reencode)
    return result, warnings


@pytest.mark.parametrize(
    ("name", "video", "sound", "suffix"),
    [
        ("a.mp4", "libx264", ("aac",), ".mp4"),
        ("a.mov", "libx264", ("pcm_s16le",), ".mov"),
        ("a.mkv", "libx264", ("flac", "ac3"), ".mkv"),
        ("a.webm", "libvpx", ("libopus",), ".mkv"),
        ("a.avi", "mpeg4", ("pcm_s16le",), ".mkv"),
        ("a.ts", "libx264", ("aac",), ".mkv"),
        ("a.mp4", "libx264", (), ".mp4"),
    ],
)
def test_sound_is_copied_packet_for_packet(
    tmp_path: Path, name: str, video: str, sound: tuple[str, ...], suffix: str
) -> None:
    source = tmp_path / name
    write_film(source, sound=sound, video=video)
    result, warnings = deliver(source, tmp_path)
    assert result.suffix == suffix
    assert bool(warnings) == (suffix != source.suffix)
    assert [stream.sha256 for stream in read_sound(result)] == [stream.sha256 for stream in read_sound(source)]
    assert [stream.packets > 0 for stream in read_sound(result)] == [True] * len(sound)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_video_that_begins_late_stays_in_sync(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    write_film(source, start_s=0.85)
    assert float(read_sound(source)[0].offset_s) == pytest.approx(-0.85, abs=0.05)
    result, _ = deliver(source, tmp_path)
    assert abs(read_sound(result)[0].offset_s - read_sound(source)[0].offset_s) <= Fraction(2, 1000)


def test_the_language_is_the_only_metadata_that_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_film(source, sound=("aac", "aac"), languages=("deu", "fra"))
    result, _ = deliver(source, tmp_path)
    with av.open(str(result)) as container:
        assert [stream.metadata.get("language") for stream in container.streams.audio] == ["deu", "fra"]
        assert container.metadata["comment"] == "faceblur:1:test"
        everything = str(container.metadata) + "".join(str(stream.metadata) for stream in container.streams)
    assert "Jane" not in everything and "48.1" not in everything
    assert b"Jane" not in result.read_bytes()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_pixel_aspect_is_kept(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    write_film(source, aspect=Fraction(16, 15))
    result, _ = deliver(source, tmp_path, aspect=Fraction(16, 15))
    with av.open(str(result)) as container:
        picture = next(container.decode(video=0))
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
        # The headers of the pictures must have it too: some players read nothing else.
        assert container.streams.video[0].codec_context.sample_aspect_ratio == Fraction(16, 15)
        assert (picture.width, picture.height) == (64, 48)


def test_a_transport_stream_begins_at_zero(tmp_path: Path) -> None:
    """The clock of a transport stream can start at any time. The output must not begin with hours of nothing."""
    early, source = tmp_path / "a.mp4", tmp_path / "a.ts"
    write_film(early, start_s=0.4)
    with av.open(str(early)) as container, av.open(str(source), "w") as late:
        targets = {stream.index: late.add_stream_from_template(stream) for stream in container.streams}
        for packet in container.demux():
            if packet.size:
                packet.stream = targets[packet.stream.index]
                hour = round(3600 / packet.time_base)
                packet.pts, packet.dts = packet.pts + hour, packet.dts + hour
                late.mux(packet)
    with av.open(str(source)) as container:
        assert container.start_time > 3_000_000_000
    result, _ = deliver(source, tmp_path)
    with av.open(str(result)) as container:
        assert container.start_time == 0 and container.duration < 1_000_000
    assert abs(read_sound(result)[0].offset_s - read_sound(source)[0].offset_s) <= Fraction(2, 1000)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_odd_sizes_are_re_encoded(tmp_path: Path, codec: str) -> None:
    assert needs_encoding(codec, 65, 48) and needs_encoding(codec, 64, 49) and not needs_encoding(codec, 64, 48)
    assert not needs_encoding("ffv1", 65, 49)
    rendered, encoded = tmp_path / "rendered.mkv", tmp_path / "encoded.mkv"
    with av.open(str(rendered), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=NTSC)
        stream.width, stream.height, stream.pix_fmt = 65, 49, "bgr0"
        for index in range(5):
            ramp = np.linspace([20 + index, 0, 200], [220, 250 - index, 30], 65).round().astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(np.repeat(ramp[None], 49, axis=0), format="rgb24")
            picture.pts = index
            container.mux(stream.encode(picture.reformat(format="bgr0")))
        container.mux(stream.encode(None))
    done: list[int] = []
    encode_pictures(rendered, encoded, codec=codec, quality="high", frame_rate=NTSC, progress=done.append)
    assert done == [1, 2, 3, 4, 5]
    with av.open(str(rendered)) as ours, av.open(str(encoded)) as theirs:
        assert theirs.streams.video[0].guessed_rate == NTSC
        for before, after in zip(ours.decode(video=0), theirs.decode(video=0), strict=True):
            assert (after.width, after.height, int(after.colorspace)) == (65, 49, 1)
            difference = before.to_ndarray(format="rgb24").astype(float) - after.to_ndarray(format="rgb24")
            assert abs(difference.mean()) < 0.5 and np.abs(difference).mean() < 1.5


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001), Fraction(25, 2)])
def test_the_frame_rate_is_kept(tmp_path: Path, rate: Fraction) -> None:
    source = tmp_path / "a.mp4"
    write_film(source, rate=rate)
    result, _ = deliver(source, tmp_path, rate=rate)
    with av.open(str(result)) as container:
        assert Fraction(container.streams.video[0].guessed_rate) == rate


def test_sound_that_cannot_be_copied_is_refused_unless_re_encoding_is_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_film(source, sound=("pcm_s16le",))
    with pytest.raises(FaceBlurError, match="cannot hold pcm_s16le sound unchanged"):
        deliver(source, tmp_path, wanted=tmp_path / "b.mp4")
    result, _ = deliver(source, tmp_path, wanted=tmp_path / "b.mp4", reencode=True)
    assert [stream.codec for stream in list_sound(result)] == ["aac"]


def test_unsupported_sound_and_containers_are_refused() -> None:
    with pytest.raises(FaceBlurError, match="--reencode-audio"):
        choose_container(Path("a.mov"), [SourceSound("qdm2", frozenset())], "h264", None, False)
    with pytest.raises(FaceBlurError, match="this file type cannot be written"):
        choose_container(Path("a.mov"), [], "h264", Path("b.avi"), False)
    with pytest.raises(FaceBlurError, match="cannot hold h264"):
        choose_container(Path("a.mov"), [], "h264", Path("b.webm"), False)


@pytest.mark.parametrize(
    ("name", "sound"),
    [("a.avi", codec) for codec in ("adpcm_ms", "adpcm_ima_wav", "pcm_alaw", "pcm_mulaw")]
    + [("a.wmv", codec) for codec in ("wmav1", "wmav2")],
)
def test_sound_that_no_muxer_takes_is_refused_before_the_work_or_encoded_again(
    tmp_path: Path, name: str, sound: str
) -> None:
    source = tmp_path / name
    write_film(source, sound=(sound,), video="mpeg4", rate=Fraction(25))
    with pytest.raises(FaceBlurError, match=f"The {sound} sound of {name} cannot be kept.*--reencode-audio"):
        choose_container(source, list_sound(source), "h264", None, False)
    result, _ = deliver(source, tmp_path, reencode=True, rate=Fraction(25))
    assert [stream.codec for stream in list_sound(result)] == ["aac"]


def test_each_container_of_the_table_really_takes_the_sound_that_it_is_given(tmp_path: Path) -> None:
    source = tmp_path / "a.mov"
    write_film(source, sound=("pcm_s16be", "pcm_alaw", "pcm_mulaw", "aac"))
    assert [stream.formats for stream in list_sound(source)] == [
        {"mov", "matroska"},
        {"mov"},
        {"mov"},
        {"mp4", "mov", "matroska"},
    ]
    result, warnings = deliver(source, tmp_path)
    assert (result.suffix, warnings) == (".mov", [])


def test_sound_that_cannot_be_encoded_again_is_refused_before_the_work() -> None:
    sound = [SourceSound("aac", frozenset({"mp4", "matroska"})), SourceSound("unknown", frozenset(), False)]
    for wanted in (None, Path("b.mp4")):
        with pytest.raises(FaceBlurError, match=r"The unknown sound of a\.mp4 can neither be kept nor encoded again"):
            choose_container(Path("a.mp4"), sound, "h264", wanted, True)


def test_verification_finds_faults_of_the_file(tmp_path: Path) -> None:
    source, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_film(source)
    write_film(other, sound=("aac",), frames=20)
    result, _ = deliver(source, tmp_path)
    for expected, words in (
        (Expected(13, NTSC, 64, 48), "12 pictures instead of 13"),
        (Expected(12, Fraction(25), 64, 48), "not at the expected time"),
        (Expected(12, NTSC, 64, 50), "64 x 48 pixels"),
        (Expected(12, NTSC, 64, 48, Fraction(4, 3)), "shape"),
    ):
        with pytest.raises(FaceBlurError, match=words):
            verify_film(result, source, expected, False)
    with pytest.raises(FaceBlurError, match="differs from the source's"):
        verify_film(result, other, Expected(12, NTSC, 64, 48), False)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(result.read_bytes()[:-200])
    with pytest.raises(FaceBlurError, match="failed its check"):
        verify_film(cut, source, Expected(12, NTSC, 64, 48), False)
    silent = tmp_path / "silent.mp4"
    write_film(silent, sound=())
    result, _ = deliver(silent, tmp_path)
    cut.write_bytes(result.read_bytes()[:-200])
    verify_film(result, silent, Expected(12, NTSC, 64, 48), False)
    with pytest.raises(FaceBlurError, match="failed its check"):
        verify_film(cut, silent, Expected(12, NTSC, 64, 48), False)


def test_time_stamps_follow_the_order_of_pictures() -> None:
    packets = [(0, -67), (100, -33), (33, 0), (67, 33), (133, 67)]
    assert time_pictures(packets, NTSC, Fraction(1, 1000)) == [(0, -1), (3, 0), (1, 1), (2, 2), (4, 3)]
    with pytest.raises(FaceBlurError, match="missing or duplicated"):
        time_pictures([(0, 0), (33, 33), (100, 100)], NTSC, Fraction(1, 1000))


def test_the_record_depends_on_source_and_settings(tmp_path: Path) -> None:
    record = make_record("ab", {"effect": "mosaic"}, 12)
    assert parse_frames(record, "ab", {"effect": "mosaic"}) == 12
    assert parse_frames(record, "ab", {"effect": "solid"}) is None
    assert parse_frames(record, "ac", {"effect": "mosaic"}) is None
    assert parse_frames("holiday", "ab", {"effect": "mosaic"}) is None
    film = tmp_path / "a.mkv"
    write_film(film)
    assert read_film_record(film) == ""
    assert read_film_record(tmp_path / "none.mkv") == ""


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.bmp"])
def test_a_picture_carries_the_record_and_no_other_metadata(tmp_path: Path, name: str) -> None:
    import cv2

    picture = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    path = tmp_path / name
    assert cv2.imwrite(str(path), picture)
    before = cv2.imread(str(path))
    if name == "a.jpg":
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\xff\xe1\x00\x0aGPS 48.1" + b"\xff\xfe\x00\x06Jane" + data[2:])
    if name == "a.png":
        data = path.read_bytes()
        path.write_bytes(data[:33] + b"\x00\x00\x00\x09tEXtFile\x00Jane\x00\x00\x00\x00" + data[33:])
    if name == "a.tif":
        data = path.read_bytes()
        directory = struct.unpack_from("<I", data, 4)[0]
        count = struct.unpack_from("<H", data, directory)[0]
        entries = data[directory + 2 : directory + 2 + 12 * count] + struct.pack("<HHII", 0x8298, 2, 9, len(data))
        path.write_bytes(
            data[:4]
            + struct.pack("<I", len(data) + 10)
            + data[8:]
            + b"Jane Doe\0\0"
            + struct.pack("<H", count + 1)
            + entries
            + b"\0\0\0\0"
        )
    record = make_record("ab", {}, 1)
    finish_picture(path, record)
    assert read_picture_record(path) == record
    assert np.array_equal(cv2.imread(str(path)), before)
    assert b"Jane" not in path.read_bytes() and b"GPS" not in path.read_bytes()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_keeps_its_orientation_and_colour_profile(tmp_path: Path, name: str, channels: int) -> None:
    import cv2

    path = tmp_path / name
    assert cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, (40, 61, channels), np.uint8))
    unchanged = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    before = cv2.imread(str(path), unchanged)
    # Longer than a JPEG segment. Only the parts that read_profile reads are real.
    profile = bytes(16) + b"RGB XYZ " + bytes(12) + b"acsp" + np.random.default_rng(2).bytes(70_001)
    finish_picture(path, make_record("ab", {}, 1), 8, profile)
    assert read_profile(path) == profile
    tag = parse_orientation(path.read_bytes())
    assert tag is not None and tag[2] == 8
    verify_picture(path, 61, 40)
    if name == "a.tif":
        # OpenCV rotates TIFF pictures in spite of its flags, or fails.
        finish_picture(path, make_record("ab", {}, 1))
    assert np.array_equal(cv2.imread(str(path), unchanged), before)


def test_a_grey_profile_is_kept_only_for_grey_outputs(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "a.jpg"
    assert cv2.imwrite(str(path), np.zeros((40, 61), np.uint8))
    profile = bytes(16) + b"GRAYXYZ " + bytes(12) + b"acsp" + bytes(100)
    finish_picture(path, make_record("ab", {}, 1), 1, profile)
    assert read_profile(path, keeps_grey=True) == profile
    assert read_profile(path) == b""


def test_a_real_film_with_late_video_stays_in_sync(tmp_path: Path) -> None:
    media = os.environ.get("FACEBLUR_MEDIA")
    if not media:
        pytest.skip("FACEBLUR_MEDIA does not name the folder of clips")
    source = Path(media) / "hamilton.mp4"
    result, warnings = deliver(source, tmp_path, frames=275)
    assert warnings == [] and result.suffix == ".mp4"
    with av.open(str(result)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert float(video.start_time * video.time_base - sound.start_time * sound.time_base) == pytest.approx(
            10214 / 11988 - 353 / 44100, abs=0.001
        )
