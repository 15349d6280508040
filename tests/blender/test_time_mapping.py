# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that is analysed for a strip's frame is the one that Blender renders there: same number, same pixels."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.blender.common.footage import Footage
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.sources import open_source
from blender_faceblur.worker.opening import open_requested
from tests.films import SIZE, draw_number, patch_edit_list, read_number, write_film

B_FRAMES = {"g": "12", "bf": "3"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3"}
FAST_VP9 = {"g": "12", "cpu-used": "8", "deadline": "realtime"}
QUIET_HEVC = {"x265-params": "log-level=none:keyint=12:min-keyint=12:open-gop=1"}


def add_strip(path: Path, kind: str = "movie") -> Any:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.context.workspace.sequencer_scene = scene
    strips = scene.sequence_editor_create().strips
    add = strips.new_movie if kind == "movie" else strips.new_image
    strip = add("film", str(path), 1, 1)
    element = strip.elements[0]
    scene.render.resolution_x, scene.render.resolution_y = element.orig_width, element.orig_height
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    return strip


def count_frames(strip: Any) -> int:
    # Blender 5.2 warns of the old name.
    return int(strip.duration if hasattr(strip, "duration") else strip.frame_final_duration)


def render(folder: Path, start: int, stop: int) -> list[NDArray[np.uint8]]:
    """Render strip frames start..stop (half-open, from 0) of the strip that begins at scene frame 1."""
    import cv2

    scene = bpy.context.scene
    shutil.rmtree(folder, ignore_errors=True)
    scene.frame_start, scene.frame_end = start + 1, stop
    scene.render.filepath = str(folder) + "/"
    bpy.ops.render.render(animation=True)
    return [cv2.imread(str(file)) for file in sorted(folder.glob("*.png"))]


def assert_same(path: Path, tmp_path: Path, length_differs: bool = False) -> list[int | None]:
    """Compare a source with Blender's strip and renders from the start and the middle; returns the frame numbers."""
    strip = add_strip(path)
    with open_source(path) as source:
        info = source.info
        element = strip.elements[0]
        assert (info.width, info.height) == (element.orig_width, element.orig_height)
        assert float(info.frame_rate) == pytest.approx(element.orig_fps, rel=1e-6)
        length = count_frames(strip)
        assert abs(length - info.frame_count) <= (1 if length_differs else 0)
        rendered = render(tmp_path / "shown", 0, length)
        analysed = [picture for _, picture in source.read_frames(stop=length)]
        assert len(rendered) == len(analysed) == length
        numbers = [read_number(picture) for picture in analysed]
        assert numbers == [read_number(picture) for picture in rendered]
        for ours, theirs in zip(analysed, rendered, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(ours.astype(int) - theirs).mean() < 2
        middle = length * 2 // 3
        if middle:
            later = render(tmp_path / "later", middle, length)
            assert [read_number(picture) for picture in later] == numbers[middle:]
    return numbers


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001", "60000/1001", "50", "10", "25/2", "120000/1001"])
def test_films_with_a_constant_frame_rate(rate: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", range(40), rate=Fraction(rate), options=B_FRAMES)
    assert assert_same(path, tmp_path) == list(range(40))


FORMS: dict[str, dict[str, Any]] = {
    "h264.mkv": {"rate": Fraction(30000, 1001), "options": B_FRAMES},
    "open_gop.mp4": {"options": OPEN_GOP},
    "intra_only.mp4": {"options": {"g": "1"}},
    "negative_offsets.mp4": {"options": B_FRAMES, "container_options": {"movflags": "negative_cts_offsets"}},
    "no_edit_list.mp4": {"options": B_FRAMES, "container_options": {"use_editlist": "0"}},
    "fragmented.mp4": {"options": B_FRAMES, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "sound.mp4": {"options": B_FRAMES, "sound": True},
    "sound.mov": {"options": B_FRAMES, "sound": True, "rate": Fraction(30000, 1001)},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12"}, "context": {"max_b_frames": 2}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": FAST_VP9, "rate": 30},
    "vp8.webm": {"codec": "libvpx", "options": FAST_VP9, "rate": 30},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le", "rate": 24},
    "hevc.mkv": {"codec": "libx265", "options": QUIET_HEVC},
    "hevc10.mp4": {"codec": "libx265", "options": QUIET_HEVC, "pixel_format": "yuv420p10le"},
    "ffv1.mkv": {"codec": "ffv1"},
    "wmv2.wmv": {"codec": "wmv2"},
    "h264.flv": {"options": B_FRAMES},
    "h264.ts": {"options": B_FRAMES},
    "open_gop.ts": {"options": OPEN_GOP},
    "sound.ts": {"options": B_FRAMES, "sound": True},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "12"}, "context": {"max_b_frames": 2}},
    "two_hours_in.ts": {"options": B_FRAMES, "first_tick": 2 * 3600 * 25},
    "late.mp4": {"options": B_FRAMES, "first_tick": 20},
    "late_sound.mp4": {"options": B_FRAMES, "first_tick": 20, "sound": True},
    "late.mkv": {"options": B_FRAMES, "first_tick": 20},
    "two_streams.mp4": {"duplicate_stream": True},
}


@pytest.mark.parametrize("name", FORMS)
def test_containers_and_codecs(name: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / name, range(40), **FORMS[name])
    assert assert_same(path, tmp_path) == list(range(40))


def test_the_length_of_a_film_with_sound_may_differ_by_one(tmp_path: Path) -> None:
    """Blender 5.0 subtracts the sound's priming from a Matroska film's length; 5.2 does not."""
    path = write_film(tmp_path / "film.mkv", range(40), rate=30, sound=True, options=B_FRAMES)
    numbers = assert_same(path, tmp_path, length_differs=True)
    assert numbers == list(range(40 if bpy.app.version >= (5, 2) else 39))


def test_pictures_of_an_avi_film_with_b_frames_are_late(tmp_path: Path) -> None:
    """AVI stores no timestamps, so Blender shows such a film late by the decoder's delay."""
    path = write_film(tmp_path / "film.avi", range(40), options=B_FRAMES)
    numbers = assert_same(path, tmp_path)
    assert numbers == [0, 0, *range(38)]
    with open_source(path) as source:
        assert any("repeated for 2 frames at the start" in warning for warning in source.info.warnings)
        assert any("ends 2 pictures before the film" in warning for warning in source.info.warnings)


def test_a_strip_that_is_shorter_than_its_film(tmp_path: Path) -> None:
    path = write_film(
        tmp_path / "film.mpg",
        range(45),
        codec="mpeg2video",
        options={"g": "12"},
        context={"max_b_frames": 2},
    )
    numbers = assert_same(path, tmp_path)
    assert numbers == list(range(len(numbers))) and len(numbers) < 45
    with open_source(path) as source:
        assert any("before the film does" in warning for warning in source.info.warnings)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_films(count: int, tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", range(5, 5 + count))
    assert assert_same(path, tmp_path) == list(range(5, 5 + count))


def make_dropped(count: int) -> list[int]:
    return [tick * 100 for tick in range(count) if tick % 5 != 3]


def make_phone(count: int) -> list[int]:
    chance, ticks = random.Random(1), [0]
    while len(ticks) < count:
        ticks.append(ticks[-1] + max(30, round(chance.gauss(100, 25))))
    return ticks


def make_wild(count: int) -> list[int]:
    chance, ticks = random.Random(3), [0]
    while len(ticks) < count:
        ticks.append(ticks[-1] + chance.choice((33, 50, 100, 100, 150, 300, 1500)))
    return ticks


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("make", [make_dropped, make_phone, make_wild])
def test_films_with_a_variable_frame_rate(make: Callable[[int], list[int]], suffix: str, tmp_path: Path) -> None:
    ticks = make(70)
    path = write_film(
        tmp_path / f"film.{suffix}",
        range(len(ticks)),
        rate=30,
        time_base=Fraction(1, 3000),
        ticks=ticks,
        options=B_FRAMES,
    )
    numbers = assert_same(path, tmp_path)
    assert len(set(numbers)) > 20
    with open_source(path) as source:
        assert source.info.variable_rate
        assert source.info.warnings[0].startswith("variable frame rate")


@pytest.mark.parametrize("skipped", [0, 5, 7, 13])
def test_an_edit_list_that_skips_pictures(skipped: int, tmp_path: Path) -> None:
    """The edit begins within a group of pictures and keeps its length, so the last picture is frozen."""
    path = write_film(tmp_path / "film.mp4", range(40), options=B_FRAMES)
    data = path.read_bytes()
    at = data.index(b"elst")
    first = struct.unpack_from(">i", data, at + 16)[0]
    patch_edit_list(path, first + skipped * 512)
    numbers = assert_same(path, tmp_path)
    assert numbers == [*range(skipped, 40), *([39] * skipped)]


def copy_packets(source: Path, target: Path, keep: Callable[[int], bool]) -> Path:
    """Cut a film without re-encoding it, like FFmpeg's `-c copy`."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in old.demux(stream) if packet.dts is not None):
            if keep(number):
                packet.stream = copy
                new.mux(packet)
    return target


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_film_that_starts_between_key_frames(suffix: str, tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.mp4", range(60), options=B_FRAMES)
    path = copy_packets(whole, tmp_path / f"film.{suffix}", lambda number: number >= 5)
    numbers = assert_same(path, tmp_path)
    assert numbers[-1] == 59


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_film_with_missing_packets(suffix: str, tmp_path: Path) -> None:
    form: dict[str, Any] = (
        {"codec": "mjpeg", "pixel_format": "yuvj420p"} if suffix == "avi" else {"options": {"g": "12", "bf": "0"}}
    )
    whole = write_film(tmp_path / f"whole.{suffix}", range(60), **form)
    path = copy_packets(whole, tmp_path / f"film.{suffix}", lambda number: not 14 <= number < 24)
    numbers = assert_same(path, tmp_path)
    assert numbers[:14] == list(range(14)) and numbers[-1] == 59


@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "film.webm", "film.avi"])
def test_a_truncated_film(name: str, tmp_path: Path) -> None:
    """Blender and the analysis show the same remaining pictures; the last one is frozen."""
    forms: dict[str, dict[str, Any]] = {
        "film.webm": {"codec": "libvpx-vp9", "options": FAST_VP9},
        "film.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    }
    path = write_film(tmp_path / name, range(60), **forms.get(name, {"options": B_FRAMES}))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    numbers = assert_same(path, tmp_path)
    assert numbers[:15] == list(range(15)) and 59 not in numbers


def test_blender_cannot_show_a_truncated_mp4_film(tmp_path: Path) -> None:
    """After the last readable key frame Blender shows uninitialised memory (5.0.1, 5.2.2)."""
    path = write_film(tmp_path / "film.mp4", range(60), options=B_FRAMES, container_options={"movflags": "faststart"})
    data = path.read_bytes()
    for part in (60, 90, 99):
        path.write_bytes(data[: len(data) * part // 100])
        with open_source(path) as source:
            assert "truncated" in source.blender_problem
        # Whatever the extension analyses, it opens like this.
        with pytest.raises(FaceBlurError, match="truncated"):
            open_requested(Footage(path).to_source_ref(25))


def test_a_film_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", range(60), options=B_FRAMES)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    for place in range(middle, middle + 400):
        data[place] = data[place] * 7 + place & 255
    path.write_bytes(data)
    strip = add_strip(path)
    rendered = render(tmp_path / "shown", 0, count_frames(strip))
    with open_source(path) as source:
        analysed = [picture for _, picture in source.read_frames()]
        assert [read_number(picture) for picture in analysed] == [read_number(picture) for picture in rendered]
        assert any("damaged" in note for note in source.notes())


@pytest.mark.parametrize(
    ("turn", "pixel_format"),
    [(turn, form) for turn in (90, 180, -90, 30) for form in ("yuv420p", "yuv420p10le")],
)
def test_rotated_films(turn: int, pixel_format: str, tmp_path: Path) -> None:
    deep = pixel_format != "yuv420p"
    path = write_film(
        tmp_path / "film.mp4",
        range(5),
        rotation=turn,
        codec="libx265" if deep else "libx264",
        options=QUIET_HEVC if deep else B_FRAMES,
        pixel_format=pixel_format,
    )
    if deep and turn == 30:
        with pytest.raises(FaceBlurError, match="degrees"):
            open_source(path)
        return
    assert_same(path, tmp_path)
    with open_source(path) as source:
        shown = SIZE if turn in (180, 30) else SIZE[::-1]
        assert (source.info.width, source.info.height) == shown
        assert any("rotation by" in warning for warning in source.info.warnings) == (turn == 30)


@pytest.mark.parametrize(
    "form",
    [
        {"size": (150, 90)},
        {"size": (151, 91), "pixel_format": "yuv444p"},
        {"pixel_aspect": Fraction(4, 3)},
        {"pixel_format": "yuvj420p"},
        {"pixel_format": "gray"},
        {"context": {"colorspace": 1, "color_primaries": 1, "color_trc": 1}},
        {"size": (1282, 722), "context": {"colorspace": 1}},
        {"size": (1282, 722)},
    ],
)
def test_geometry_and_colour(form: dict[str, Any], tmp_path: Path) -> None:
    """Odd sizes and coded padding, pixel aspects (which do not stretch the picture), colour ranges and matrices."""
    path = write_film(tmp_path / "film.mp4", range(4), **form)
    assert assert_same(path, tmp_path) == list(range(4))


def write_exif(orientation: int) -> bytes:
    """An EXIF block, a little TIFF file, with nothing but an orientation."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def write_picture(path: Path, orientation: int, number: int = 178) -> Path:
    import cv2

    kind = path.suffix
    data: bytes = cv2.imencode(kind, draw_number(number))[1].tobytes()
    exif = write_exif(orientation)
    if kind == ".jpg":
        block = b"Exif\0\0" + exif
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    elif kind == ".tif":
        place = struct.unpack_from("<I", data, 4)[0]
        count = struct.unpack_from("<H", data, place)[0]
        entries = [data[place + 2 + 12 * n : place + 14 + 12 * n] for n in range(count)]
        entries = [entry for entry in entries if entry[:2] != b"\x12\x01"]
        entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
        directory = (
            struct.pack("<H", len(entries))
            + b"".join(sorted(entries, key=lambda entry: struct.unpack_from("<H", entry)))
            + bytes(4)
        )
        data += bytes(len(data) % 2)
        data = data[:4] + struct.pack("<I", len(data)) + data[8:] + directory
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_pictures(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Blender and the analysis ignore orientation tags; the analysis reports the turn that makes a picture upright."""
    path = write_picture(tmp_path / f"picture{suffix}", orientation)
    strip = add_strip(path, "image")
    (rendered,) = render(tmp_path / "shown", 0, 1)
    with open_source(path) as source:
        ((frame, analysed),) = source.read_frames()
        assert frame == 0 and source.info.kind == "image" and source.info.frame_count == count_frames(strip) == 1
        assert analysed.shape == rendered.shape
        assert np.abs(analysed.astype(int) - rendered).mean() < 2
        tagged = suffix in (".jpg", ".tif")
        assert source.upright_turn == ({1: 0, 6: 90, 8: 270}[orientation] if tagged else 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_image_sequence(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Frame i of an image strip shows its element i, even if names repeat or are not in order."""
    numbers = [178, 20, 91, 20, 20, 240, 3]
    names = [f"Bild {place} ü{suffix}" for place in (5, 1, 2, 1, 1, 4, 3)]
    for name, number in zip(names, numbers, strict=True):
        write_picture(tmp_path / name, orientation, number)
    strip = add_strip(tmp_path / names[0], "image")
    for name in names[1:]:
        strip.elements.append(name)
    assert [element.filename for element in strip.elements] == names
    length = count_frames(strip)
    rendered = render(tmp_path / "shown", 0, length)
    with open_source(tmp_path, names) as source:
        analysed = [picture for _, picture in source.read_frames()]
        assert source.info.frame_count == length == len(rendered)
        tagged = suffix in (".jpg", ".tif")
        assert source.upright_turn == ({1: 0, 6: 90}[orientation] if tagged else 0)
    assert [read_number(picture) for picture in analysed] == numbers
    assert [read_number(picture) for picture in rendered] == numbers
    for ours, theirs in zip(analysed, rendered, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours.astype(int) - theirs).mean() < 2
    later = render(tmp_path / "later", 4, length)
    assert [read_number(picture) for picture in later] == numbers[4:]


def test_deep_image_sequence(tmp_path: Path) -> None:
    """Sequences with 16 bits per channel, with and without transparency."""
    import cv2

    names = []
    for number in (178, 20, 91):
        names.append(f"{number}.png")
        deep = draw_number(number).astype(np.uint16) * 257
        if number == 20:
            deep = np.dstack([deep, np.full(SIZE[::-1], 65535, np.uint16)])
        (tmp_path / names[-1]).write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    strip = add_strip(tmp_path / names[0], "image")
    for name in names[1:]:
        strip.elements.append(name)
    rendered = render(tmp_path / "shown", 0, 3)
    with open_source(tmp_path, names) as source:
        for (_, ours), theirs in zip(source.read_frames(), rendered, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(ours.astype(int) - theirs).mean() < 2
