# SPDX-License-Identifier: GPL-3.0-or-later
"""A film is painted in pieces: a later run makes only those that are missing or have changed, and they join exactly."""

from __future__ import annotations

import io
import os
import shutil
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import blender_faceblur.painting.film as film_module
from blender_faceblur.batch import stages
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.types import FaceBlurError, TrackDocument
from blender_faceblur.painting.covers import CoverTimeline
from blender_faceblur.painting.encoders import StreamLook, choose_encoder, open_encoder
from blender_faceblur.painting.film import FilmPainter, FilmSettings, PaintedFilm
from blender_faceblur.reporting.progress import Outcome, Reporter
from blender_faceblur.sources import MovieSource
from blender_faceblur.worker import painting as worker
from blender_faceblur.worker.protocol import PaintRequest, SourceRef

from .films import (
    GREEN,
    Film,
    build_document,
    check_fed,
    check_times,
    cover_film,
    draw_frame,
    list_shown,
    read_planes,
    write_film,
)

KEYS = "keyint=6:min-keyint=6:scenecut=0"
X264 = Film(count=30, options={"bf": "2", "x264-params": KEYS})
X265 = Film("libx265", count=30, options={"x265-params": f"{KEYS}:log-level=none"})
GROUPS = {"gop_size": 6}
SOURCES = {
    "h264": ("a.mp4", X264, 3),
    "h264-open": ("a.mp4", replace(X264, options={"bf": "2", "x264-params": f"{KEYS}:open-gop=1"}), 3),
    "h264-open-mkv": ("a.mkv", replace(X264, options={"bf": "2", "x264-params": f"{KEYS}:open-gop=1"}), 3),
    "h264-refresh": ("a.mp4", replace(X264, options={"bf": "0", "x264-params": "keyint=8:intra-refresh=1"}), 4),
    "h264-late": ("a.mp4", replace(X264, ticks=[800 + 40 * n for n in range(30)], time_base=Fraction(1, 1000)), 3),
    "h264-flv": ("a.flv", X264, 3),
    "h264-fragments": ("a.mp4", replace(X264, container_options={"movflags": "frag_keyframe+empty_moov"}), 3),
    "h264-one-key": ("a.mp4", Film(count=30, options={"bf": "2"}), 1),
    "h264-ts": ("a.ts", X264, 1),
    "h264-avi": ("a.avi", X264, 1),
    "h265-open": ("a.mp4", X265, 3),
    "h265-open-mkv": ("a.mkv", X265, 3),
    "h265-closed": ("a.mov", replace(X265, options={"x265-params": f"{KEYS}:open-gop=0:log-level=none"}), 3),
    "av1": ("a.mp4", Film("libsvtav1", count=30, context=GROUPS), 3),
    "vp9": ("a.webm", Film("libvpx-vp9", count=30, context=GROUPS), 3),
    "prores": ("a.mov", Film("prores_ks", "yuv422p10le", count=30), 4),
    "dnxhr": ("a.mov", Film("dnxhd", "yuv422p", (256, 128), 30, options={"profile": "dnxhr_hq"}), 4),
    "ffv1": ("a.mkv", Film("ffv1", count=30), 3),
    "mpeg2-mkv": ("a.mkv", Film("mpeg2video", count=30, context=GROUPS | {"max_b_frames": 2}), 3),
    "mpeg2-mp4": ("a.mp4", Film("mpeg2video", count=30, context=GROUPS | {"max_b_frames": 2}), 3),
    "mpeg2-ps": ("a.mpg", Film("mpeg2video", count=30, context=GROUPS | {"max_b_frames": 2}), 1),
    "mpeg4-avi": ("a.avi", Film("mpeg4", count=30, context=GROUPS), 3),
    "mjpeg": ("a.avi", Film("mjpeg", "yuvj420p", count=30), 4),
}
"""A film, and the number of its pieces."""


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_module, "PIECE_S", 0.3)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film whose pieces begin at the pictures 0, 12 and 24."""
    return write_film(tmp_path_factory.mktemp("film") / "a.mp4", X264)


class Stopped(Exception):
    """Ends a run."""


def paint(source: Path, folder: Path, stop_at: int = 0, **changes: Any) -> tuple[PaintedFilm, list[int]]:
    """Paint a film's pieces; returns what was painted, and the progress. `stop_at` ends the run at a picture."""
    progress: list[int] = []

    def note(done: int) -> None:
        progress.append(done)
        if done == stop_at:
            raise Stopped

    film = MovieSource(source)
    document: TrackDocument = changes.pop("document", None) or build_document(film.info)
    effect = changes.pop("effect", EffectSettings(color=GREEN))
    sticker = changes.pop("sticker", None)
    painter = FilmPainter(film, source, CoverTimeline(document), FilmSettings(effect, **changes), sticker)
    return painter.paint(folder, note, processors=1), progress


@pytest.mark.parametrize("case", SOURCES)
def test_a_piece_decodes_like_the_whole_film(case: str, tmp_path: Path) -> None:
    name, film, _ = SOURCES[case]
    source = MovieSource(write_film(tmp_path / name, film))
    whole = [(time, read_planes(frame)) for time, frame in source.read_pictures()]
    assert len(whole) == 30
    for start in source.list_key_times():
        part = [(time, read_planes(frame)) for time, frame in source.read_pictures(start)]
        expected = [picture for picture in whole if picture[0] >= start]
        assert [time for time, _ in part] == [time for time, _ in expected]
        for (_, planes), (_, others) in zip(part, expected, strict=True):
            assert all((one == other).all() for one, other in zip(planes, others, strict=True))


@pytest.mark.parametrize("case", SOURCES)
def test_pieces_join_to_the_whole_film(case: str, tmp_path: Path) -> None:
    name, film, count = SOURCES[case]
    source = write_film(tmp_path / name, film)
    shown = list_shown(source)
    covered = cover_film(source, tmp_path, document=lambda info: build_document(info, shown))
    assert len(covered.painted["pieces"]) == count
    if case != "mpeg2-ps":
        check_fed(source, covered, whole=1 if case == "h264-avi" else 0)
    if case != "h264-avi":
        check_times(source, covered)


def test_a_stopped_run_goes_on_with_the_missing_pieces(source: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        paint(source, tmp_path, stop_at=20)
    assert len(list(tmp_path.glob("*.nut"))) == 1 and not list(tmp_path.glob("*.part"))
    film, progress = paint(source, tmp_path)
    assert progress == list(range(13, 31))
    assert (film.pictures, len(film.pieces)) == (30, 3)
    again, progress = paint(source, tmp_path)
    assert (again.pictures, progress) == (30, [])


def test_pieces_of_a_changed_source_are_not_kept(source: Path, tmp_path: Path) -> None:
    """When the source is back, a later run would join pictures of two films, with the faces of one covered."""
    film = Path(shutil.copy(source, tmp_path / "a.mp4"))
    folder = tmp_path / "pieces"

    def touch(done: int) -> None:
        if done == 20:
            os.utime(film)

    opened = MovieSource(film)
    timeline = CoverTimeline(build_document(opened.info))
    painter = FilmPainter(opened, film, timeline, FilmSettings(EffectSettings(color=GREEN)))
    with pytest.raises(FaceBlurError, match=r"a\.mp4 changed while it was painted"):
        painter.paint(folder, touch, processors=1)
    assert len(list(folder.glob("*.nut"))) == 1 and not list(folder.glob("*.part"))


def test_a_piece_that_is_not_complete_is_made_again(source: Path, tmp_path: Path) -> None:
    film, _ = paint(source, tmp_path)
    film.pieces[1].path.rename(film.pieces[1].path.with_suffix(".part"))
    film.pieces[2].note.write_text("", encoding="utf-8")
    assert paint(source, tmp_path)[1] == list(range(13, 31))
    assert not list(tmp_path.glob("*.part"))


def test_a_changed_track_makes_only_the_pieces_anew_in_which_it_is(source: Path, tmp_path: Path) -> None:
    with MovieSource(source) as film:
        document = build_document(film.info)
    whole = document.tracks[0]
    first, last = (replace(whole, name=name) for name in ("Face 01", "Face 02"))
    first.samples, last.samples = whole.samples[:5], whole.samples[26:]
    document.tracks = [first, last]
    before, _ = paint(source, tmp_path, document=document)
    moved = replace(last.samples[0], ellipse=replace(last.samples[0].ellipse, cx=50.0))
    document.tracks = [first, replace(last, samples=[moved, *last.samples[1:]])]
    after, progress = paint(source, tmp_path, document=document)
    assert [one.path == other.path for one, other in zip(before.pieces, after.pieces, strict=True)] == [
        True,
        True,
        False,
    ]
    assert progress == list(range(25, 31)) and len(list(tmp_path.glob("*.nut"))) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"quality": "low"},
        {"codec": "h265"},
        {"effect": EffectSettings("blur")},
        {"effect": EffectSettings(color="FF0000")},
    ],
)
def test_other_settings_make_all_pieces_anew(source: Path, change: dict[str, Any], tmp_path: Path) -> None:
    paint(source, tmp_path)
    assert paint(source, tmp_path, **change)[1] == list(range(1, 31))


def test_another_sticker_of_the_same_name_makes_all_pieces_anew(source: Path, tmp_path: Path) -> None:
    pictures = [np.full((8, 8, 4), value, np.uint8) for value in (90, 200)]
    for picture in pictures:
        assert paint(source, tmp_path, effect=EffectSettings("image", image="a.png"), sticker=picture)[1] == list(
            range(1, 31)
        )


def test_a_source_with_other_content_makes_all_pieces_anew(source: Path, tmp_path: Path) -> None:
    paint(source, tmp_path / "pieces")
    other = write_film(tmp_path / "a.mp4", replace(X264, options={**X264.options, "crf": "30"}))
    assert paint(other, tmp_path / "pieces")[1] == list(range(1, 31))


def test_pictures_that_were_not_analysed_are_counted_in_earlier_pieces_too(source: Path, tmp_path: Path) -> None:
    with MovieSource(source) as film:
        document = replace(build_document(film.info), analysed=[(5, 30)])
    with pytest.raises(Stopped):
        paint(source, tmp_path, stop_at=20, document=document)
    film_painted, _ = paint(source, tmp_path, document=document)
    assert (film_painted.pictures, film_painted.whole) == (30, 5)


def test_a_covered_film_of_resumed_pieces_is_delivered(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.mp4"
    copy.write_bytes(source.read_bytes())
    settings = BatchSettings(color=GREEN)
    cover_film(copy, tmp_path, settings=settings)
    covered = cover_film(copy, tmp_path, settings=settings)
    assert covered.fed == [] and covered.painted["pictures"] == 30


def test_a_run_goes_on_where_it_failed_and_clears_its_pieces(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, storage = tmp_path / "a.mp4", tmp_path / "storage"
    copy.write_bytes(source.read_bytes())
    monkeypatch.setattr(stages, "get_unfinished_analyses_folder", lambda: storage)
    painted: list[float] = []
    to_encoder = FilmPainter._to_encoder

    def analyse(source: Path, tracks: Path, *_: Any) -> None:
        write_document(build_document(MovieSource(source).info), tracks)

    def feed(self: FilmPainter, frame: Any) -> Any:
        painted.append(frame.pts)
        if len(painted) == 20:
            raise FaceBlurError("stopped")
        return to_encoder(self, frame)

    def run() -> Outcome:
        def work(request: Any, on_progress: Any, warn: Any) -> None:
            worker.paint(request, lambda _: None)

        jobs = plan_jobs([copy], None, False)
        (outcome,) = run_jobs(jobs, BatchSettings(resume=True), Reporter(), analyse, paint=work)
        return outcome

    monkeypatch.setattr(FilmPainter, "_to_encoder", feed)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert run().status == "failed"
    assert len(list(storage.rglob("*.nut"))) == 1
    assert run().status == "done" and (tmp_path / "a.blurred.mp4").is_file()
    # Twelve pictures were in the piece that was complete.
    assert len(painted) == 20 + 18 and not list(storage.rglob("*.nut"))
    assert run().status == "skipped"


def test_machines_paint_the_pieces_of_a_film_that_the_last_run_joins(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "get_unfinished_analyses_folder", lambda: tmp_path / "storage")
    copy, tracks, pieces = tmp_path / "a.mp4", tmp_path / "tracks.json", tmp_path / "pieces"
    copy.write_bytes(source.read_bytes())
    with MovieSource(copy) as film:
        write_document(build_document(film.info), tracks)
    pieces.mkdir()
    (pieces / "mine.json").write_text("precious")

    def run(**settings: Any) -> int:
        painted: list[int] = []

        def work(request: Any, on_progress: Any, warn: Any) -> None:
            done: list[Any] = []
            worker.paint(request, done.append)
            painted.append(done[-1].frames)

        def search(*_: Any) -> None:
            raise AssertionError("the tracks are given")

        chosen = BatchSettings(color=GREEN, tracks=tracks, pieces=pieces, **settings)
        (outcome,) = run_jobs(plan_jobs([copy], None, False), chosen, Reporter(), search, paint=work)
        assert outcome.status == "done", outcome.reason
        assert (outcome.output is None) == ("segment" in settings)
        return painted[0]

    counts = [run(segment=(2, 2)), run(segment=(1, 2))]
    assert all(counts) and sum(counts) == 30
    assert not (tmp_path / "a.blurred.mp4").exists() and len(list(pieces.rglob("*.nut"))) == 3
    assert run() == 0
    with MovieSource(tmp_path / "a.blurred.mp4") as film:
        assert film.info.frame_count == 30
    assert (pieces / "mine.json").read_text() == "precious"


def test_tracks_of_another_film_are_refused(source: Path, tmp_path: Path) -> None:
    tracks, other = tmp_path / "tracks.json", write_film(tmp_path / "b.mp4", Film())
    with MovieSource(source) as film:
        write_document(build_document(film.info), tracks)
    settings = BatchSettings(tracks=tracks)
    (outcome,) = run_jobs(plan_jobs([other], None, False), settings, Reporter())
    assert outcome.status == "failed" and "another film" in outcome.reason
    assert not (tmp_path / "b.blurred.mp4").exists()


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size"),
    [
        ("h264", "yuv420p", (96, 64)),
        ("h264", "rgb24", (96, 64)),
        ("h265", "yuv420p10le", (96, 64)),
        ("av1", "yuv420p", (96, 64)),
        ("vp9", "yuv420p", (96, 64)),
        ("prores", "yuv422p10le", (96, 64)),
        ("dnxhr", "yuv422p", (256, 128)),
        ("ffv1", "yuv420p", (96, 64)),
    ],
)
def test_the_headers_of_pieces_do_not_depend_on_pictures_and_threads(
    codec: str, pixel_format: str, size: tuple[int, int]
) -> None:
    look = StreamLook(*size, Fraction(1), Fraction(1, 25), Fraction(25), (1, 1, 1, 1))
    choice = choose_encoder("", pixel_format, codec, "high", look)
    assert choice.codec == codec
    headers = set()
    for threads in (1, 2, 5):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=choice.piece_format) as container:
            stream = open_encoder(container, choice, look, threads)
            for number in range(3):
                frame = draw_frame(number + 5 * threads, size, choice.pixel_format)
                frame.pts, frame.time_base = number + 100 * threads, look.time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        buffer.seek(0)
        with av.open(buffer) as container:
            headers.add(bytes(container.streams.video[0].codec_context.extradata or b""))
    assert len(headers) == 1


def test_memory_does_not_grow_with_the_length_of_a_film(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 2000):
        source = write_film(tmp_path / f"{count}.mkv", Film("mpeg4", count=count, context={"gop_size": 50}))
        with MovieSource(source) as film:
            document = build_document(film.info, [number % 20 for number in range(count)])
        tracemalloc.start()
        before = read_resident_bytes()
        film_painted, _ = paint(source, tmp_path / f"pieces{count}", document=document)
        peaks.append((tracemalloc.get_traced_memory()[1], read_resident_bytes() - before))
        tracemalloc.stop()
        assert film_painted.pictures == count
    # The list of times, what a document holds for each frame, and for a moment the bounds of a track's shapes from
    # which its keys are chosen: 2.2 kB a frame. The pictures have 9 kB each, aligned 14 kB.
    assert peaks[1][0] - peaks[0][0] < 1800 * 2400
    assert peaks[1][1] < 16 << 20


def read_resident_bytes() -> int:
    status = Path("/proc/self/statm")
    if not status.is_file():
        pytest.skip("the memory of a process is read from /proc")
    return int(status.read_text(encoding="ascii").split()[1]) * 4096


def test_a_process_that_paints_a_share_of_the_pieces_ends_well(source: Path, tmp_path: Path) -> None:
    with MovieSource(source) as film:
        write_document(build_document(film.info), tmp_path / "tracks.json")
    request = PaintRequest(
        SourceRef.of(source),
        str(tmp_path / "tracks.json"),
        str(tmp_path / "painted.json"),
        EffectSettings("solid", GREEN),
        str(tmp_path / "pieces"),
        share=[1, 1],
    )
    stages.run_painting(request, lambda *_: None, lambda _: None)
    assert list((tmp_path / "pieces").glob("*.nut"))
