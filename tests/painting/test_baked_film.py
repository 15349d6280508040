# SPDX-License-Identifier: GPL-3.0-or-later
"""Films that take a source's place in a strip: frame n of the strip shows the same picture in both."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.verify import read_sound
from blender_faceblur.painting.covers import Moment
from blender_faceblur.painting.film import PIECE_S
from blender_faceblur.painting.outlines import (
    COVERED,
    FrameOutlines,
    OutlineTimeline,
    read_outlines,
    write_outlines,
)
from blender_faceblur.sources import MovieSource, compute_fingerprint
from blender_faceblur.worker.baking import bake
from blender_faceblur.worker.protocol import PaintDone, PaintRequest, SourceRef
from tests.films import read_number, write_film

SIZE = (160, 96)
SQUARE = np.array([(20.0, 20.0), (60.0, 20.0), (60.0, 60.0), (20.0, 60.0)])


def _write_film(
    path: Path, times: list[int], base: Fraction, sound_s: float = 0.0, every: int = 12, codec: str = "libx264"
) -> Path:
    """A film whose picture n is grey with a bar at column 4 n, shown at times[n] in units of `base` seconds."""
    with av.open(str(path), "w") as film:
        stream: Any = film.add_stream(codec, rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        if codec == "libx264":
            stream.options = {"crf": "4", "g": str(every), "bf": "2"}
        sound: Any = film.add_stream("aac", rate=48000, layout="mono") if sound_s else None
        for number, time in enumerate(times):
            picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
            picture[:, (4 * number) % SIZE[0] :][:, :8] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, base
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        for start in range(0, round(sound_s * 48000), 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
            film.mux(sound.encode(samples))
        if sound is not None:
            film.mux(sound.encode(None))
    return path


def _bake(source: Path, outlines: list[FrameOutlines], folder: Path, kind: str = "solid") -> tuple[Path, int]:
    """The baked film, and the number of pictures that were painted for it."""
    folder.mkdir(exist_ok=True)
    write_outlines(folder / "outlines.npz", outlines)
    request = PaintRequest(
        SourceRef.of(source, fingerprint=compute_fingerprint(source)),
        "",
        str(folder / "report.json"),
        EffectSettings(kind, "0000FF"),
        folder=str(folder / "pieces"),
        outlines=str(folder / "outlines.npz"),
        film=str(folder / "film"),
        face_px=30.0,
    )
    messages: list[Any] = []
    bake(request, messages.append)
    done = next(message for message in messages if isinstance(message, PaintDone))
    film = next(path for path in folder.iterdir() if path.stem == "film")
    return film, done.frames


def _list_pictures(path: Path) -> list[Any]:
    with MovieSource(path) as source:
        return [picture.astype(int) for _, picture in source.read_frames()]


CONSTANT = [number * 512 for number in range(40)]
VARIABLE = [number * 512 for number in range(60) if number % 5 != 2 and not 20 <= number < 26]
LATE = [10880 + time for time in CONSTANT]


@pytest.mark.parametrize("times", [CONSTANT, VARIABLE, LATE], ids=["constant", "variable", "late"])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_frame_n_of_the_strip_shows_the_same_picture(times: list[int], ending: str, tmp_path: Path) -> None:
    source = _write_film(tmp_path / f"film{ending}", times, Fraction(1, 12288), sound_s=2.6)
    with MovieSource(source) as opened:
        info = opened.info
    outlines = [FrameOutlines(False)] * info.frame_count
    film, painted = _bake(source, outlines, tmp_path / "baked")
    assert painted == info.frame_count
    with MovieSource(film) as baked:
        assert (baked.info.frame_rate, baked.info.variable_rate) == (info.frame_rate, False)
    before, after = _list_pictures(source), _list_pictures(film)
    assert len(after) == len(before)
    for first, second in zip(before, after, strict=True):
        assert np.abs(first - second).mean() < 1.0
    sounds = [read_sound(path)[0] for path in (source, film)]
    assert sounds[0].sha256 == sounds[1].sha256
    assert abs(_find_lag(source) - _find_lag(film)) < Fraction(2, 1000)


def _find_lag(path: Path) -> Any:
    """How much later than the first picture the first sound comes, in seconds."""
    with av.open(str(path)) as film:
        starts = [Fraction(s.start_time) * s.time_base for s in (film.streams.video[0], film.streams.audio[0])]
    return starts[1] - starts[0]


@pytest.mark.parametrize("kind", ["solid", "mosaic"])
def test_a_picture_that_is_shown_twice_has_only_the_cover_of_its_own_frame(kind: str, tmp_path: Path) -> None:
    """The picture of frames 20 to 25 is decoded once, and covered in frame 21 alone."""
    source = _write_film(tmp_path / "film.mp4", VARIABLE, Fraction(1, 12288))
    with MovieSource(source) as opened:
        count = opened.info.frame_count
    outlines = [FrameOutlines(False)] * count
    outlines[21] = FrameOutlines(False, (SQUARE,), (2.0,))
    film, _ = _bake(source, outlines, tmp_path / "baked", kind)
    before, after = _list_pictures(source), _list_pictures(film)
    apart = [float(np.abs(first - second).mean()) for first, second in zip(before, after, strict=True)]
    assert max(apart[:21] + apart[22:]) < 1.0
    inside = (slice(22, 58), slice(22, 58))
    outside = np.ones((SIZE[1], SIZE[0]), bool)
    outside[14:66, 14:66] = False
    assert np.abs(before[21] - after[21])[inside].mean() > (50 if kind == "solid" else 2)
    assert np.abs(before[21] - after[21])[outside].mean() < 1.0


def test_after_a_change_only_its_piece_is_painted_again(tmp_path: Path) -> None:
    count = round(3 * PIECE_S * 24)
    source = _write_film(tmp_path / "film.mp4", [n * 512 for n in range(count)], Fraction(1, 12288), every=48)
    outlines = [FrameOutlines(False, (SQUARE,), (2.0,))] * count
    assert _bake(source, outlines, tmp_path / "baked")[1] == count
    (tmp_path / "baked" / "film.mp4").unlink()
    outlines[count // 2] = FrameOutlines(False, (SQUARE + 10.0,), (2.0,))
    film, painted = _bake(source, outlines, tmp_path / "baked")
    assert painted < count / 2
    pictures = _list_pictures(film)
    assert len(pictures) == count
    for frame, corner in ((count // 2, 65), (count // 2 - 1, 22), (count - 1, 22)):
        blue, _, red = pictures[frame][corner, corner]
        assert blue > 200 and red < 40


def test_another_codec_than_the_containers_is_written_in_one_that_blender_shows(tmp_path: Path) -> None:
    source = _write_film(tmp_path / "film.avi", list(range(30)), Fraction(1, 24), codec="mpeg4")
    film, _ = _bake(source, [COVERED] * 30, tmp_path / "baked")
    pictures = _list_pictures(film)
    assert film.suffix == ".mp4" and len(pictures) == 30
    # Pure blue, within the loss of the codec, in every pixel.
    assert all((picture[..., 0] > 230).all() and (picture[..., 1:] < 25).all() for picture in pictures)


def test_a_changed_source_is_refused(tmp_path: Path) -> None:
    source = _write_film(tmp_path / "film.mp4", CONSTANT, Fraction(1, 12288))
    (tmp_path / "baked").mkdir()
    write_outlines(tmp_path / "outlines.npz", [COVERED] * 40)
    request = PaintRequest(
        SourceRef.of(source, fingerprint="0" * 64),
        "",
        str(tmp_path / "report.json"),
        EffectSettings(),
        folder=str(tmp_path / "pieces"),
        outlines=str(tmp_path / "outlines.npz"),
        film=str(tmp_path / "film"),
    )
    with pytest.raises(FaceBlurError, match="has changed"):
        bake(request, lambda _: None)


def test_outlines_are_read_as_they_were_written(tmp_path: Path) -> None:
    first, second = FrameOutlines(False, (SQUARE, SQUARE[:3] * 0.5), (2.0, 0.0)), FrameOutlines(False)
    frames = [first, first, second, COVERED, first]
    write_outlines(tmp_path / "outlines.npz", frames)
    read = read_outlines(tmp_path / "outlines.npz")
    timelines = [OutlineTimeline(one, 20.0) for one in (frames, read)]
    assert timelines[0].digest() == timelines[1].digest()
    assert read[0] is read[1] and read[3].everything
    for frame in range(len(frames)):
        moment = Moment((frame,), frame)
        found = [timeline.list_outlines(moment) for timeline in timelines]
        assert [len(one) for one in found] == [len(frames[frame].polygons)] * 2
        for one, other in zip(*found, strict=True):
            assert (one.polygon == other.polygon).all() and one.feather == other.feather and one.face_px == 20.0
    assert [timelines[1].covers_everything(Moment((frame,), frame)) for frame in range(5)] == [
        frame == 3 for frame in range(5)
    ]


def test_the_description_of_a_range_depends_on_its_frames_only() -> None:
    frames = [FrameOutlines(False)] * 10
    changed = [*frames]
    changed[6] = FrameOutlines(False, (SQUARE,), (1.0,))
    plain, other = (OutlineTimeline(one, 20.0) for one in (frames, changed))
    assert plain.describe(0, 6) == other.describe(0, 6)
    assert plain.describe(7, float("inf")) == other.describe(7, float("inf"))
    assert plain.describe(6, 7) != other.describe(6, 7)
    assert plain.digest() != other.digest()


@pytest.mark.parametrize("damage", [b"", b"PK", b"nothing"])
def test_a_damaged_file_is_reported(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "outlines.npz"
    path.write_bytes(damage)
    with pytest.raises(FaceBlurError, match="cannot be read"):
        read_outlines(path)


B_FRAMES = {"g": "12", "bf": "3"}
QUIET = {"x265-params": "log-level=none"}
UNEVEN = [n * 512 + 37 * (n % 3) for n in range(0, 60, 2)]
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "turned by 90 degrees": ("film.mp4", {"rotation": 90}),
    "turned by 180 degrees": ("film.mov", {"rotation": 180}),
    "turned by 270 degrees": ("film.mkv", {"rotation": -90}),
    "turned by 45 degrees": ("film.mp4", {"rotation": 45}),
    "turned where Blender ignores it": ("film.ts", {"codec": "mpeg2video", "rotation": 90}),
    "wide pixels": ("film.mp4", {"pixel_aspect": Fraction(4, 3)}),
    "NTSC": ("film.mp4", {"rate": Fraction(30000, 1001), "options": B_FRAMES, "sound": True}),
    "late start": ("film.mp4", {"first_tick": 11, "options": B_FRAMES, "sound": True}),
    "transport stream": ("film.ts", {"codec": "libx264", "options": B_FRAMES, "sound": True}),
    "ten bits": (
        "film.mp4",
        {"codec": "libx265", "pixel_format": "yuv420p10le", "options": {"x265-params": "log-level=none"}},
    ),
    "ProRes": ("film.mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}),
    "4:4:4": ("film.mp4", {"pixel_format": "yuv444p"}),
    "odd size": ("film.mp4", {"pixel_format": "yuv444p", "size": (161, 97)}),
    "MPEG-4 in AVI": ("film.avi", {"codec": "mpeg4"}),
    "FFV1 in Matroska": ("film.mkv", {"codec": "ffv1"}),
    "VP9 in WebM": ("film.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    "variable rate in Matroska": (
        "film.mkv",
        {"ticks": [n * 40 for n in range(40) if n % 7 != 3], "time_base": Fraction(1, 1000), "numbers": range(34)},
    ),
    "variable rate": (
        "film.mp4",
        {
            "ticks": [n * 512 + 37 * (n % 3) for n in range(0, 60, 2)],
            "time_base": Fraction(1, 12800),
            "options": B_FRAMES,
        },
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_film_shows_the_same_pictures_after_the_bake(shape: str, tmp_path: Path) -> None:
    name, options = SHAPES[shape]
    source = write_film(tmp_path / name, **options)
    with MovieSource(source) as opened:
        info = opened.info
    film, _ = _bake(source, [FrameOutlines(False)] * info.frame_count, tmp_path / "baked")
    with MovieSource(film) as baked:
        assert (baked.info.width, baked.info.height, baked.info.frame_rate) == (
            info.width,
            info.height,
            info.frame_rate,
        )
        assert baked.info.pixel_aspect == info.pixel_aspect
    pictures = list(zip(_list_pictures(source), _list_pictures(film), strict=True))
    for before, after in pictures:
        assert np.abs(before - after).mean() < 2.0
    numbers = [[read_number(picture.astype(np.uint8)) for picture in pair] for pair in pictures]
    assert all(before == after for before, after in numbers)
    assert "turned by" in shape or len({before for before, _ in numbers}) >= 20


def test_covers_lie_where_the_turned_picture_has_them(tmp_path: Path) -> None:
    source = write_film(tmp_path / "film.mp4", rotation=90)
    outlines = FrameOutlines(False, (np.array([(10.0, 100.0), (40.0, 100.0), (40.0, 140.0), (10.0, 140.0)]),), (0.0,))
    film, _ = _bake(source, [outlines] * 30, tmp_path / "baked")
    for picture in _list_pictures(film):
        assert picture.shape[:2] == (160, 96)
        blue = (picture[..., 0] > 200) & (picture[..., 2] < 60)
        assert blue[102:138, 12:38].mean() > 0.95 and blue[:98].mean() < 0.1
