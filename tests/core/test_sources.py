# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources without Blender: exact seeking, sizes and memory, and which files are refused or give warnings."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.sources import MovieSource, fingerprint, open_source
from blender_faceblur.sources.sequence import check_names
from tests.films import SIZE, draw_number, read_number, write_film

B_FRAMES = {"g": "12", "bf": "3"}
QUIET_HEVC = {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1"}

FILMS: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"options": B_FRAMES},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3"}},
    "open_gop.ts": {"options": {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3"}},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=20:scenecut=0"}},
    "hevc.mkv": {"codec": "libx265", "options": QUIET_HEVC},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12"}, "context": {"max_b_frames": 2}},
    "b_frames.avi": {"options": B_FRAMES},
    "late.mkv": {"options": B_FRAMES, "first_tick": 20},
    "variable.mp4": {
        "options": B_FRAMES,
        "rate": 30,
        "time_base": Fraction(1, 3000),
        "ticks": [tick * 100 + tick * tick % 70 for tick in range(60)],
    },
}


@pytest.mark.parametrize("name", FILMS)
def test_starting_at_any_frame_gives_the_same_frames(name: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / name, range(60), **FILMS[name])
    with open_source(path) as source:
        whole = [picture for _, picture in source.read_frames()]
        assert len(whole) == source.info.frame_count
        for start in (*range(0, len(whole), 7), len(whole) - 1):
            stop = min(start + 4, len(whole))
            part = list(source.read_frames(start, stop))
            assert [frame for frame, _ in part] == list(range(start, stop))
            for frame, picture in part:
                assert np.array_equal(picture, whole[frame])


def test_a_far_jump_does_not_decode_from_the_start(tmp_path: Path) -> None:
    path = write_film(tmp_path / "long.mp4", (n % 256 for n in range(1500)), options={"g": "25", "bf": "2"})
    with open_source(path) as source:
        decoded: list[int] = []
        original = source._decode  # type: ignore[attr-defined]

        def count(*arguments: Any, **named: Any) -> Any:
            for item in original(*arguments, **named):
                decoded.append(item.time)
                yield item

        source._decode = count  # type: ignore[attr-defined]
        ((frame, picture),) = source.read_frames(1400, 1401)
        assert frame == 1400 and read_number(picture) == 1400 % 256
        assert len(decoded) < 60


@pytest.mark.parametrize(("name", "most"), [("b_frames.mp4", 2), ("hevc.mkv", 2), ("open_gop.ts", 3)])
def test_a_film_is_opened_no_more_often_than_needed(
    name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time FFmpeg decodes the first pictures, which takes 40 ms in 1080p."""
    path = write_film(tmp_path / name, range(60), **FILMS[name])
    opened = []
    opens = MovieSource._open

    def count(source: MovieSource) -> Any:
        opened.append(source)
        return opens(source)

    monkeypatch.setattr(MovieSource, "_open", count)
    with open_source(path) as source:
        assert source.info.frame_count == 60 and not source.blender_problem
    assert 0 < len(opened) <= most


def test_a_real_clip_can_start_at_any_frame() -> None:
    folder = os.environ.get("FACEBLUR_MEDIA")
    if not folder:
        pytest.skip("FACEBLUR_MEDIA does not name the folder of clips")
    with open_source(Path(folder) / "hamilton.mp4") as source:
        assert (source.info.width, source.info.height, source.info.frame_count) == (640, 360, 275)
        assert source.info.frame_rate == Fraction(2997, 100)
        small = [picture for _, picture in source.read_frames(size=(160, 90))]
        for start in (31, 148, 260):
            for frame, picture in source.read_frames(start, start + 3, size=(160, 90)):
                assert np.array_equal(picture, small[frame])


def test_frames_beyond_the_end_repeat_the_last_picture(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", range(10))
    with open_source(path) as source:
        assert [read_number(picture) for _, picture in source.read_frames(8, 13)] == [8, 9, 9, 9, 9]


def test_pictures_have_the_requested_size_and_colours(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", [178], size=(640, 384))
    turned = write_film(tmp_path / "turned.mp4", [178], size=(640, 384), rotation=90)
    with open_source(path) as source:
        picture = next(source.read_frames())[1]
        assert picture.shape == (384, 640, 3) and picture.dtype == np.uint8
        assert np.abs(picture.astype(int) - draw_number(178, (640, 384))).mean() < 4
        small = next(source.read_frames(size=(160, 96)))[1]
        assert small.shape == (96, 160, 3) and read_number(small) == 178
        grey = next(source.read_frames(size=(160, 96), grey=True))[1]
        assert grey.shape == (96, 160)
        assert abs(float(grey[5, 5]) - float(small[5, 5].mean())) < 4
    with open_source(turned) as source:
        assert (source.info.width, source.info.height) == (384, 640)
        assert next(source.read_frames(size=(96, 160)))[1].shape == (160, 96, 3)


def test_scaling_down_averages_pixels(tmp_path: Path) -> None:
    """Fine stripes become grey. Picking single pixels would show false stripes."""
    import av

    path = tmp_path / "stripes.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 960, 540, "yuv420p"
        stripes = np.zeros((540, 960, 3), np.uint8)
        stripes[:, ::2] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stripes, "bgr24")))
        container.mux(stream.encode(None))
    with open_source(path) as source:
        small = next(source.read_frames(size=(240, 135)))[1]
    assert float(small.std()) < 12 and abs(float(small.mean()) - 127) < 12


WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "ten.mp4": ({"codec": "libx265", "pixel_format": "yuv420p10le", "options": QUIET_HEVC}, "10-bit"),
    "prores.mov": ({"codec": "prores_ks", "pixel_format": "yuv422p10le"}, "4:2:2"),
    "full.mkv": ({"codec": "ffv1", "pixel_format": "yuv444p"}, "4:4:4"),
    "alpha.mov": ({"codec": "qtrle", "pixel_format": "argb"}, "transparency"),
    "pq.mp4": (
        {
            "codec": "libx265",
            "pixel_format": "yuv420p10le",
            "options": QUIET_HEVC,
            "context": {"color_primaries": 9, "color_trc": 16, "colorspace": 9},
        },
        "HDR (PQ)",
    ),
    "hlg.mp4": (
        {
            "codec": "libx265",
            "pixel_format": "yuv420p10le",
            "options": QUIET_HEVC,
            "context": {"color_primaries": 9, "color_trc": 18, "colorspace": 9},
        },
        "HDR (HLG)",
    ),
    "wide.mp4": ({"context": {"color_primaries": 9}}, "wide-gamut"),
    "interlaced.mkv": ({"options": {"x264-params": "tff=1"}}, "interlaced"),
    "two.mp4": ({"duplicate_stream": True}, "2 video streams"),
    "turned.mp4": ({"rotation": 30}, "rotation by"),
}


@pytest.mark.parametrize("name", WARNED)
def test_unusual_films_have_warnings(name: str, tmp_path: Path) -> None:
    form, words = WARNED[name]
    with open_source(write_film(tmp_path / name, range(4), **form)) as source:
        assert any(words in warning for warning in source.info.warnings)
        assert read_number(next(source.read_frames())[1]) == 0


def test_a_plain_film_has_no_warnings(tmp_path: Path) -> None:
    with open_source(write_film(tmp_path / "film.mp4", range(30), options=B_FRAMES, sound=True)) as source:
        assert source.info.warnings == ()
        assert not source.info.variable_rate
        assert len(list(source.read_frames())) == 30 and source.notes() == []


def test_the_pixel_aspect_is_read(tmp_path: Path) -> None:
    with open_source(write_film(tmp_path / "film.mp4", range(2), pixel_aspect=Fraction(4, 3))) as source:
        assert (source.info.width, source.info.height, source.info.pixel_aspect) == (*SIZE, Fraction(4, 3))


@pytest.mark.parametrize("name", ['it\'s a "film" 100%.mp4', "фильм — 映画 ü.mp4", "%03d.mp4", "a:b.mp4", "-i.mp4"])
def test_names_are_not_interpreted(name: str, tmp_path: Path) -> None:
    if os.name == "nt" and set(name) & set('":'):
        pytest.skip("Windows forbids such names")
    write_film(tmp_path / "plain.mp4", range(3)).rename(tmp_path / name)
    with open_source(tmp_path / name) as source:
        assert source.info.file_name == name
        assert [read_number(picture) for _, picture in source.read_frames()] == [0, 1, 2]


def write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.pts, frame.sample_rate, frame.time_base = start, 48000, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_no_frames(path: Path) -> None:
    """A film with headers but without pictures."""
    write_film(path, range(3), container_options={"movflags": "empty_moov+frag_keyframe"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])


def write_cut_head(path: Path) -> None:
    """An MP4 file that ends before its index, which is at its end."""
    data = write_film(path, range(30)).read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 10])


def write_playlist(path: Path) -> None:
    write_film(path.with_name("other.mp4"), range(3))
    path.write_text("ffconcat version 1.0\nfile other.mp4\n", encoding="utf-8")


def write_hls(path: Path) -> None:
    write_film(path.with_name("other.ts"), range(30))
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nother.ts\n#EXT-X-ENDLIST\n", encoding="utf-8")


REFUSED: dict[str, tuple[Any, str]] = {
    "missing.mp4": (lambda path: None, "no such file"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "empty"),
    "folder.mp4": (lambda path: path.mkdir(), "folder"),
    "text.mp4": (lambda path: path.write_text("Dear diary, there is no film in here.\n" * 50), "not a readable film"),
    "zeros.mp4": (lambda path: path.write_bytes(bytes(5000)), "not a readable film"),
    "sound.m4a": (write_sound, "only sound"),
    "no_frames.mp4": (write_no_frames, ""),
    "cut.mp4": (write_cut_head, "not a readable film"),
    "list.mp4": (write_playlist, ""),
    "list.m3u8": (write_hls, ""),
    "raw.h264": (lambda path: write_film(path, range(5)), "no length"),
    "cut.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(50)), "damaged"),
    "deep.exr": (lambda path: path.write_bytes(b"\x76\x2f\x31\x01" + bytes(90)), "OpenEXR"),
    "phone.heic": (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(90)), "damaged"),
    "animated.webp": (lambda path: path.write_bytes(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(90)), "animated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_files_give_a_one_line_error(name: str, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(FaceBlurError) as caught:
        open_source(tmp_path / name)
    message = str(caught.value)
    assert name in message and words in message and "\n" not in message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_libraries_do_not_write_to_the_error_output(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import cv2

    data = bytearray(cv2.imencode(suffix, draw_number(178))[1].tobytes())
    for place in range(len(data) // 2, len(data), 7):
        data[place] ^= 0x55
    (tmp_path / f"damaged{suffix}").write_bytes(data)
    with suppress(FaceBlurError), open_source(tmp_path / f"damaged{suffix}") as source:
        list(source.read_frames())
    print("still open", file=sys.stderr)
    assert capfd.readouterr().err == "still open\n"


@contextmanager
def be_nobody() -> Iterator[None]:
    """Give up the rights of root for as long, to whom no permission is denied."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="permissions do not bind there")
def test_a_file_without_permission_is_refused() -> None:
    # Others may not enter pytest's own folder.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = write_film(Path(folder) / "film.mp4", range(3))
        with be_nobody(), open_source(path) as source:
            assert source.info.frame_count == 3
        path.chmod(0)
        with be_nobody(), pytest.raises(FaceBlurError, match="cannot be read"):
            open_source(path)


def test_a_film_whose_size_changes_is_refused(tmp_path: Path) -> None:
    small = write_film(tmp_path / "small.ts", range(20)).read_bytes()
    large = write_film(tmp_path / "large.ts", range(20), size=(320, 192), first_tick=20).read_bytes()
    (tmp_path / "both.ts").write_bytes(small + large)
    with open_source(tmp_path / "both.ts") as source, pytest.raises(FaceBlurError, match="changes midway"):
        list(source.read_frames(stop=40))


def test_unusual_pictures_are_read(tmp_path: Path) -> None:
    import cv2

    deep = draw_number(178).astype(np.uint16) * 257
    (tmp_path / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    clear = np.dstack([draw_number(178), np.zeros(SIZE[::-1], np.uint8)])
    (tmp_path / "clear.png").write_bytes(cv2.imencode(".png", clear)[1].tobytes())
    (tmp_path / "wrong_name.mp4").write_bytes(cv2.imencode(".jpg", draw_number(178))[1].tobytes())
    for name, words in (("deep.png", "8 bits"), ("clear.png", "transparency"), ("wrong_name.mp4", "")):
        with open_source(tmp_path / name) as source:
            assert (source.info.kind, source.info.frame_count) == ("image", 1)
            assert (source.info.width, source.info.height) == SIZE
            assert any(words in warning for warning in source.info.warnings) or not words
            ((frame, picture),) = source.read_frames(size=(80, 48))
            assert frame == 0 and picture.shape == (48, 80, 3) and read_number(picture) == 178


def test_the_orientation_tag_of_png_and_webp_is_applied(tmp_path: Path) -> None:
    import zlib

    import cv2

    exif = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 3, 0, 0)
    png = cv2.imencode(".png", draw_number(178))[1].tobytes()
    chunk = b"eXIf" + exif
    chunk = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "tagged.png").write_bytes(png[:33] + chunk + png[33:])
    with open_source(tmp_path / "tagged.png") as source:
        assert source.upright_turn == 180
        assert read_number(next(source.read_frames())[1]) == 178
        assert any("orientation" in warning for warning in source.info.warnings)


def write_pictures(folder: Path, numbers: list[int], suffix: str = ".png") -> list[str]:
    """Write one picture for each number. Returns the names in order."""
    import cv2

    folder.mkdir(exist_ok=True)
    names = [f"picture {place:03}{suffix}" for place in range(len(numbers))]
    for name, number in zip(names, numbers, strict=True):
        (folder / name).write_bytes(cv2.imencode(suffix, draw_number(number))[1].tobytes())
    return names


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_a_sequence_has_one_frame_per_picture(suffix: str, tmp_path: Path) -> None:
    numbers = [7, 200, 33, 90, 120]
    names = write_pictures(tmp_path, numbers, suffix)
    with open_source(tmp_path, names, Fraction(24)) as source:
        info = source.info
        assert (info.kind, info.frame_count, info.frame_rate, info.file_name) == ("sequence", 5, Fraction(24), names[0])
        assert (info.width, info.height) == SIZE and info.warnings == ()
        whole = list(source.read_frames())
        assert [frame for frame, _ in whole] == list(range(5))
        for name, (_, picture) in zip(names, whole, strict=True):
            with open_source(tmp_path / name) as alone:
                assert np.array_equal(picture, next(alone.read_frames())[1])
        assert [read_number(picture) for _, picture in source.read_frames(3, 7)] == [90, 120, 120, 120]
        ((_, small),) = source.read_frames(1, 2, size=(80, 48))
        ((_, grey),) = source.read_frames(1, 2, size=(80, 48), grey=True)
        assert small.shape == (48, 80, 3) and read_number(small) == 200 and grey.shape == (48, 80)


def test_a_sequence_of_one_picture_is_an_image(tmp_path: Path) -> None:
    (name,) = write_pictures(tmp_path, [178])
    with open_source(tmp_path, [name], Fraction(24)) as source, open_source(tmp_path / name) as alone:
        assert source.info == alone.info and source.info.kind == "image"
        assert np.array_equal(next(source.read_frames())[1], next(alone.read_frames())[1])
    write_film(tmp_path / "film.mp4", range(3))
    with pytest.raises(FaceBlurError, match=r"film\.mp4: this is not a readable picture"):
        open_source(tmp_path, ["film.mp4"])


def test_a_repeated_picture_is_the_same_array(tmp_path: Path) -> None:
    """The analysis relies on it to analyse such a picture only once."""
    names = write_pictures(tmp_path, [7, 200])
    order = [names[0], names[0], names[1], names[0]]
    with open_source(tmp_path, order) as source:
        pictures = [picture for _, picture in source.read_frames()]
        assert [read_number(picture) for picture in pictures] == [7, 7, 200, 7]
        assert pictures[0] is pictures[1]


def test_a_sequence_is_read_one_picture_at_a_time(tmp_path: Path) -> None:
    import tracemalloc

    names = write_pictures(tmp_path, list(range(60)))
    with open_source(tmp_path, names) as source:
        tracemalloc.start()
        frames = source.read_frames()
        next(frames)
        early = tracemalloc.get_traced_memory()[0]
        for _ in frames:
            pass
        assert tracemalloc.get_traced_memory()[1] - early < 8 * SIZE[0] * SIZE[1] * 3
        tracemalloc.stop()


def write_larger(path: Path) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", draw_number(5, (320, 192)))[1].tobytes())


def write_turned(path: Path) -> None:
    import cv2

    block = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    data = cv2.imencode(".jpg", draw_number(5))[1].tobytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])


SPOILED: dict[str, tuple[Any, str]] = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "text": (lambda path: path.write_text("no picture"), "not a readable picture"),
    "deep": (lambda path: path.write_bytes(b"\x76\x2f\x31\x01" + bytes(90)), "OpenEXR"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "damaged"),
    "larger": (write_larger, "320 x 192"),
    "turned": (write_turned, "orientation tag"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_no_picture_of_a_sequence_is_skipped(how: str, tmp_path: Path) -> None:
    names = write_pictures(tmp_path, list(range(9)))
    spoil, words = SPOILED[how]
    spoil(tmp_path / names[6])
    with pytest.raises(FaceBlurError) as caught, open_source(tmp_path, names) as source:
        list(source.read_frames())
    message = str(caught.value)
    assert message.startswith(names[6]) and words in message and "\n" not in message


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a.png", "a/b.png", "/etc/passwd", "..\\a.png", "C:\\a.png", "a\0.png"]
)
def test_names_that_leave_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "inside", [1, 2])
    write_pictures(tmp_path, [3])
    for files in ([name], [*names, name]):
        with pytest.raises(FaceBlurError, match="not the name of a picture"):
            open_source(tmp_path / "inside", files)


def test_drives_are_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blender_faceblur.sources.sequence.os", SimpleNamespace(name="nt"))
    with pytest.raises(FaceBlurError, match="not the name of a picture"):
        check_names(["C:a.png"])
    monkeypatch.setattr("blender_faceblur.sources.sequence.os", SimpleNamespace(name="posix"))
    check_names(["12:30:00.png", "a..b.png", "..png"])


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceBlurError, match="no such folder"):
        open_source(tmp_path / "gone", ["a.png", "b.png"])


def test_a_sequence_may_have_unusual_names(tmp_path: Path) -> None:
    folder = tmp_path / "Bilder 100% — 映画 'n' more"
    names = write_pictures(folder, [1, 2])
    odd = ["%03d…ü.png", "-i 'x'.png"]
    for name, new in zip(names, odd, strict=True):
        (folder / name).rename(folder / new)
    with open_source(folder, odd) as source:
        assert [read_number(picture) for _, picture in source.read_frames()] == [1, 2]


def test_the_fingerprint_of_a_sequence_covers_all_files(tmp_path: Path) -> None:
    names = write_pictures(tmp_path, list(range(30)), ".bmp")
    before = open_source(tmp_path, names).info.fingerprint
    assert open_source(tmp_path, names, Fraction(50)).info.fingerprint == before and len(before) == 64
    assert open_source(tmp_path, names[:-1]).info.fingerprint != before
    assert open_source(tmp_path, [names[1], names[0], *names[2:]]).info.fingerprint != before
    for name, number in ((names[0], 99), (names[17], 99), (names[-1], 99)):
        path = tmp_path / name
        kept, size = path.read_bytes(), path.stat().st_size
        write_pictures(tmp_path / "other", [number], ".bmp")
        (tmp_path / "other" / "picture 000.bmp").replace(path)
        assert path.stat().st_size == size
        assert open_source(tmp_path, names).info.fingerprint != before
        path.write_bytes(kept)
    assert open_source(tmp_path, names).info.fingerprint == before


def test_a_sequence_of_many_pictures_opens_fast(tmp_path: Path) -> None:
    names = [f"{number:05}.png" for number in range(2000)]
    write_pictures(tmp_path, [5])
    data = (tmp_path / "picture 000.png").read_bytes()
    for name in names:
        (tmp_path / name).write_bytes(data + bytes(200_000))
    began = time.process_time()
    with open_source(tmp_path, names) as source:
        assert source.info.frame_count == 2000
    assert time.process_time() - began < 2


def test_the_fingerprint_depends_on_size_and_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    first = fingerprint(path)
    path.write_bytes(b"abd")
    assert fingerprint(path) != first and len(first) == 64
    with path.open("wb") as file:
        file.truncate(64 << 20)
    large = fingerprint(path)
    for place in (0, (64 << 20) - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        assert fingerprint(path) != large
        large = fingerprint(path)


def test_importing_sources_loads_no_heavy_library() -> None:
    code = "import sys, blender_faceblur.sources; print(sorted({'cv2', 'av', 'bpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
