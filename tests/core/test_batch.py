# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of files: a failure affects only its own file, gives a one-line error and leaves no unfinished file."""

from __future__ import annotations

import errno
import gc
import itertools
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import pytest

from blender_faceblur.batch import stages
from blender_faceblur.batch.planning import FilmJob, plan_jobs
from blender_faceblur.batch.rendering import OnProgress
from blender_faceblur.batch.run import run_batch, run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.batch.stages import Analyse, get_unfinished_path
from blender_faceblur.core.document.tracks_file import read_document, write_document
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    Track,
    TrackDocument,
    TrackStatus,
    Warn,
)
from blender_faceblur.files import workplace
from blender_faceblur.files.workplace import Workplace, remove_leftovers
from blender_faceblur.reporting.progress import Outcome, Reporter
from blender_faceblur.sources import open_source
from tests.core.test_delivery import render as render_pictures
from tests.core.test_delivery import write_film

RATE = Fraction(25)


@pytest.fixture(autouse=True)
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test its own folder for temporary files, which must be empty at the end."""
    folder = tmp_path / "system temp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def analyse(source: Path, tracks: Path, settings: BatchSettings, on_progress: OnProgress, warn: Warn) -> None:
    with open_source(source) as opened:
        write_document(TrackDocument(opened.info, settings.preset, settings.margin, [], [], [], []), tracks)


def render(
    job: dict[str, Any], folder: Path, blender: Path | None, on_progress: OnProgress, warn: Any
) -> dict[str, Any]:
    """A stand-in for Blender that writes pictures with the right number, rate and size."""
    with open_source(Path(job["source"])) as source:
        info = source.info
    if job["render"]:
        output = Path(job["render"]["output"])
        if info.kind == "image":
            output.write_bytes(Path(job["source"]).read_bytes())
        else:
            render_pictures(output, info.frame_count, info.frame_rate, (info.width, info.height))
    if job["save_blend"]:
        Path(job["save_blend"]).write_bytes(b"BLENDER")
    on_progress("render", info.frame_count, info.frame_count)
    return {"frames": info.frame_count, "width": info.width, "height": info.height}


def run(
    jobs: Sequence[FilmJob], settings: BatchSettings | None = None, analyse: Analyse = analyse, render: Any = render
) -> list[Outcome]:
    # These stand-ins write what Blender would; tests/painting runs the direct renderer itself.
    return list(run_jobs(jobs, replace(settings or BatchSettings(), renderer="blender"), Reporter(), analyse, render))


def write_picture(path: Path) -> None:
    import cv2
    import numpy as np

    path.write_bytes(cv2.imencode(path.suffix, np.full((40, 60, 3), 99, np.uint8))[1].tobytes())


def list_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "system temp" not in str(path))


def test_a_film_and_a_picture_become_outputs(tmp_path: Path) -> None:
    write_film(tmp_path / "a film's “name”.mp4", rate=RATE)
    write_picture(tmp_path / "ü.png")
    outcomes = run(plan_jobs([tmp_path / "a film's “name”.mp4", tmp_path / "ü.png"], None, False))
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("done", "")] * 2
    assert list_names(tmp_path) == ["a film's “name”.blurred.mp4", "a film's “name”.mp4", "ü.blurred.png", "ü.png"]


INPUTS, STEP = 241, 20
MOST_KEPT_BYTES = 400
"""Of each input, after its run: the digest of its output's path, the number of its job, and their place in a table.
That is 110 bytes after some hundred inputs; before, Python's own tables still fill."""

PLANNED = 1000
MOST_PLANNED_BYTES = 500
"""Of each input, before the run: its path (150 bytes here) and its place in tables."""


def test_a_batch_keeps_little_of_each_input(tmp_path: Path) -> None:
    """Ten thousand pictures are one batch."""
    (tmp_path / "in").mkdir()
    for number in range(INPUTS):
        write_picture(tmp_path / "in" / f"{number:06}.png")
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out", False)
    used: list[int] = []

    class Measuring(Reporter):
        def start(self, source: Path, number: int, count: int) -> None:
            if number % STEP == 0:
                gc.collect()
                used.append(tracemalloc.get_traced_memory()[0])

    def analyse_and_warn(
        source: Path, tracks: Path, settings: BatchSettings, on_progress: OnProgress, warn: Warn
    ) -> None:
        analyse(source, tracks, settings, on_progress, warn)
        warn(f"A sentence that comes with each picture, about the preset {settings.preset}")

    tracemalloc.start()
    try:
        totals = run_batch(jobs, BatchSettings(renderer="blender"), Measuring(), analyse_and_warn, render)
    finally:
        tracemalloc.stop()
    assert totals.statuses == {"done": INPUTS} and totals.bad == []
    # Python's table of all names grows by megabytes at once, now and then.
    grown = [after - before for before, after in itertools.pairwise(used)]
    kept = statistics.median(grown[len(grown) // 2 :]) / STEP
    assert 0 < kept < MOST_KEPT_BYTES


def test_the_plan_of_a_large_batch_is_small(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(PLANNED):
        (folder / f"{number:06}.png").touch()
    plans, used = [], []
    tracemalloc.start()
    try:
        for _ in range(4):
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
            plans.append(plan_jobs([folder], tmp_path / "out", False, save_tracks=tmp_path / "tracks"))
    finally:
        tracemalloc.stop()
    jobs = plans[0]
    assert len(jobs) == PLANNED and jobs[-1].output == tmp_path / "out" / f"{PLANNED - 1:06}.blurred.png"
    # The least, since Python's table of all names grows by megabytes at once, now and then.
    assert 0 < min(after - before for before, after in itertools.pairwise(used)) / PLANNED < MOST_PLANNED_BYTES


def test_a_number_sign_in_a_folder_name_is_kept(tmp_path: Path) -> None:
    """Blender replaces '#' in a path with the frame number, so Blender must never write to such a path."""

    def render_and_note(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        assert "#" not in job["render"]["output"]
        return render(job, *rest)

    folder = tmp_path / "take #2"
    folder.mkdir()
    write_film(folder / "#1.mp4", rate=RATE)
    write_picture(folder / "#1.png")
    outcomes = run(plan_jobs([folder / "#1.mp4", folder / "#1.png"], None, False), render=render_and_note)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("done", "")] * 2
    assert list_names(folder) == ["#1.blurred.mp4", "#1.blurred.png", "#1.mp4", "#1.png"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    import os

    path = tmp_path / os.fsdecode(b"bad\xff.mp4")
    write_film(tmp_path / "a.mp4", rate=RATE)
    (tmp_path / "a.mp4").rename(path)
    assert "Rename it" in run(plan_jobs([path], None, False))[0].reason


def test_an_inverse_cover_shows_only_the_people_who_stay_visible(tmp_path: Path) -> None:
    """The mask of the cover holds only their faces, while the saved document holds the tracks of the decisions."""

    def find(source: Path, tracks: Path, settings: BatchSettings, on_progress: OnProgress, warn: Any) -> None:
        with open_source(source) as opened:
            # In frame 0 the faces are apart. In frame 1 a part of Face 01 would show beside Ann.
            one, other = (
                Track(
                    name,
                    [Sample(frame, Ellipse(x, 20, 5, 5), Evidence.DETECTED, 1.0) for frame, x in enumerate(places)],
                )
                for name, places in (("Face 01", (80, 42)), ("Face 02", (30, 30)))
            )
            other.status, other.allowed_person = TrackStatus.ALLOWED, "Ann"
            write_document(
                TrackDocument(opened.info, settings.preset, 1.4, [], [], [one], [], uncovered=[other]), tracks
            )

    class NoRecognition:
        digest = "ab"

        def begin(self) -> None: ...

        def decide(self, *_: Any) -> None: ...

    jobs: list[dict[str, Any]] = []

    def render_and_note(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        jobs.append(
            job | {"faces": {track.name: len(track.samples) for track in read_document(Path(job["tracks"])).tracks}}
        )
        return render(job, *rest)

    write_film(tmp_path / "a.mp4", rate=RATE)
    people: Any = NoRecognition()
    for settings in (
        BatchSettings(inverse=True),
        BatchSettings(inverse=True, people=people),
        BatchSettings(people=people),
    ):
        (outcome,) = run(
            plan_jobs([tmp_path / "a.mp4"], None, False, None, tmp_path / "saved.json"),
            replace(settings, overwrite=True),
            find,
            render_and_note,
        )
        assert outcome.status == "done"
        assert any("Everything is" in text for text in outcome.warnings) == settings.inverse
        assert [track.name for track in read_document(tmp_path / "saved.json").tracks] == ["Face 01"]
    assert [(job["faces"], job["effect"]["inverse"]) for job in jobs] == [
        ({"Face 01": 2}, True),
        ({"Face 02": 1}, True),
        ({"Face 01": 2}, False),
    ]


def test_one_failure_does_not_affect_the_other_inputs(tmp_path: Path) -> None:
    write_film(tmp_path / "good.mp4", rate=RATE)
    (tmp_path / "text.mp4").write_text("not a film")
    (tmp_path / "empty.mp4").write_bytes(b"")
    inputs = [tmp_path / name for name in ("text.mp4", "empty.mp4", "missing.mp4", "good.mp4")]
    outcomes = run(plan_jobs(inputs, None, False))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "failed", "done"]
    assert all(outcome.reason and "\n" not in outcome.reason for outcome in outcomes[:3])
    assert list_names(tmp_path) == ["empty.mp4", "good.blurred.mp4", "good.mp4", "text.mp4"]


def test_an_exception_of_a_library_that_reads_files_fails_one_input_but_a_bug_ends_the_batch(tmp_path: Path) -> None:
    import av
    import cv2

    def raise_first(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        if problems:
            raise problems.pop()
        return render(job, *rest)

    for name in "abc":
        write_film(tmp_path / f"{name}.mp4", rate=RATE)
    jobs = plan_jobs([tmp_path / f"{name}.mp4" for name in "abc"], None, False)
    problems: list[Exception] = [cv2.error("assertion\nfailed"), av.error.InvalidDataError(1, "invalid data", "a.mp4")]
    outcomes = run(jobs, render=raise_first)
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "done"]
    assert "invalid data" in outcomes[0].reason and outcomes[1].reason.endswith("assertion failed")
    problems.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(jobs, BatchSettings(overwrite=True), render=raise_first)


def test_an_existing_output_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    (tmp_path / "a.blurred.mp4").write_bytes(b"earlier")
    jobs = plan_jobs([tmp_path / "a.mp4"], None, False)
    assert "--overwrite" in run(jobs)[0].reason
    assert (tmp_path / "a.blurred.mp4").read_bytes() == b"earlier"
    assert run(jobs, BatchSettings(overwrite=True))[0].status == "done"
    assert (tmp_path / "a.blurred.mp4").read_bytes() != b"earlier"


def test_a_failed_render_keeps_the_earlier_output(tmp_path: Path) -> None:
    def fail(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        Path(job["render"]["output"]).write_bytes(b"half")
        Path(job["save_blend"]).write_bytes(b"BLENDER")
        raise FaceBlurError("Blender ended without a result")

    write_film(tmp_path / "a.mp4", rate=RATE)
    for name in ("a.blurred.mp4", "a.blend"):
        (tmp_path / name).write_bytes(b"earlier")
    jobs = plan_jobs([tmp_path / "a.mp4"], None, False, tmp_path / "a.blend")
    outcome = run(jobs, BatchSettings(overwrite=True), render=fail)[0]
    assert (outcome.status, outcome.reason) == ("failed", "Blender ended without a result")
    for name in ("a.blurred.mp4", "a.blend"):
        assert (tmp_path / name).read_bytes() == b"earlier"
    assert list_names(tmp_path) == ["a.blend", "a.blurred.mp4", "a.mp4"]


@pytest.mark.parametrize("lack", [{"frames": 11}, {"width": 66}])
def test_an_incomplete_render_is_not_delivered(tmp_path: Path, lack: dict[str, int]) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    outcome = run(plan_jobs([tmp_path / "a.mp4"], None, False), render=lambda *call: {**render(*call), **lack})[0]
    assert outcome.status == "failed" and "instead of" in outcome.reason
    assert list_names(tmp_path) == ["a.mp4"]


def test_missing_pictures_fail_the_job(tmp_path: Path) -> None:
    def lose(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        render_pictures(Path(job["render"]["output"]), 11, RATE)
        return {"frames": 12, "width": 64, "height": 48}

    write_film(tmp_path / "a.mp4", rate=RATE)
    outcome = run(plan_jobs([tmp_path / "a.mp4"], None, False), render=lose)[0]
    assert "11 pictures instead of 12" in outcome.reason
    assert list_names(tmp_path) == ["a.mp4"]


def test_resume_skips_only_complete_outputs_with_the_same_settings(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    write_picture(tmp_path / "b.jpg")
    jobs = plan_jobs([tmp_path / "a.mp4", tmp_path / "b.jpg"], None, False)
    run(jobs)
    again = BatchSettings(resume=True)
    assert [outcome.status for outcome in run(jobs, again)] == ["skipped", "skipped"]
    assert "exists" in run(jobs, BatchSettings(resume=True, effect="mosaic"))[0].reason
    output = tmp_path / "a.blurred.mp4"
    whole = output.read_bytes()
    output.write_bytes(whole[:-300])
    assert run(jobs, again)[0].status == "failed"
    assert run(jobs, BatchSettings(resume=True, overwrite=True))[0].status == "done"
    write_film(tmp_path / "a.mp4", rate=RATE, frames=13)
    assert run(jobs, again)[0].status == "failed"


def test_resume_repeats_outputs_that_were_made_with_fewer_detectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> Path:
        if name not in there:
            raise FaceBlurError("missing")
        return tmp_path / name

    there = {"centerface"}
    monkeypatch.setattr("blender_faceblur.batch.settings.get_model_path", find)
    write_picture(tmp_path / "b.jpg")
    jobs = plan_jobs([tmp_path / "b.jpg"], None, False)
    assert run(jobs)[0].status == "done"
    again = BatchSettings(resume=True, overwrite=True)
    assert run(jobs, again)[0].status == "skipped"
    there.add("yunet_2023mar")
    assert run(jobs, again)[0].status == "done"
    assert run(jobs, again)[0].status == "skipped"


def test_a_film_and_a_picture_with_one_name_get_separate_results(tmp_path: Path) -> None:
    """A phone writes IMG_1.mov and IMG_1.jpg for one live photo. Their saved files must not collide."""
    write_film(tmp_path / "IMG_1.mov", rate=RATE)
    write_picture(tmp_path / "IMG_1.jpg")
    saved = tmp_path / "tracks"
    outcomes = run(plan_jobs([tmp_path], None, False, None, saved))
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert list_names(saved) == ["IMG_1.jpg.tracks.json", "IMG_1.mov.tracks.json"]


def test_an_output_cannot_be_its_input(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    write_film(film, rate=RATE)
    before = film.read_bytes()
    assert "input itself" in run(plan_jobs([film], film, False), BatchSettings(overwrite=True))[0].reason
    (tmp_path / "link.mp4").hardlink_to(film)
    assert (
        "input itself" in run(plan_jobs([film], tmp_path / "link.mp4", False), BatchSettings(overwrite=True))[0].reason
    )
    assert film.read_bytes() == before


def test_a_library_that_cannot_be_loaded_fails_each_input_alone(tmp_path: Path) -> None:
    """With 250 MB of memory (ulimit -v) the batch ended with a traceback of cv2's import."""

    def load(*_: object) -> None:
        raise ImportError("libopenblas.so: failed to map segment from shared object")

    for name in "ab":
        write_picture(tmp_path / f"{name}.png")
    outcomes = run(plan_jobs([tmp_path / "a.png", tmp_path / "b.png"], None, False), analyse=load)
    assert [outcome.status for outcome in outcomes] == ["failed"] * 2
    assert all("too little memory to load a library: libopenblas.so" in outcome.reason for outcome in outcomes)

    def forget(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'missing'")

    # A package that is not there is a fault of the installation or of the program.
    with pytest.raises(ModuleNotFoundError):
        run(plan_jobs([tmp_path / "a.png"], None, False), analyse=forget)


def test_two_inputs_never_share_an_output(tmp_path: Path) -> None:
    for name in ("a.webm", "a.avi"):
        write_film(tmp_path / name, rate=RATE, video="libvpx" if name == "a.webm" else "mpeg4", sound=())
    outcomes = run(plan_jobs([tmp_path / "a.webm", tmp_path / "a.avi"], None, False), BatchSettings(overwrite=True))
    assert [outcome.status for outcome in outcomes] == ["done", "failed"]
    assert f"already the output of {tmp_path / 'a.webm'}" in outcomes[1].reason


def test_folders_keep_their_structure_and_skip_earlier_outputs(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "day 1").mkdir(parents=True)
    for name in ("a.mp4", "a.blurred.mp4", "note.txt", ".hidden.mp4", "day 1/b.mp4"):
        (source / name).write_bytes(b"")
    names = [
        (job.source.relative_to(source).as_posix(), job.output.relative_to(tmp_path).as_posix())
        for job in plan_jobs([source], tmp_path / "out", True)
    ]
    assert names == [("a.mp4", "out/a.blurred.mp4"), ("day 1/b.mp4", "out/day 1/b.blurred.mp4")]
    assert [job.source.name for job in plan_jobs([source], None, False)] == ["a.mp4"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FaceBlurError, match="Name a folder"):
        plan_jobs([source], tmp_path / "file", False)
    with pytest.raises(FaceBlurError, match="Name a folder"):
        plan_jobs([source], tmp_path / "new.mp4", False)


def test_without_rendering_only_the_saved_files_are_written(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    jobs = plan_jobs([tmp_path / "a.mp4"], None, False, tmp_path / "a.blend", tmp_path / "new" / "a.json")
    assert run(jobs, BatchSettings(render=False))[0].status == "done"
    assert list_names(tmp_path) == ["a.blend", "a.mp4", "new", "new/a.json"]


def test_a_source_that_changes_during_the_analysis_fails(tmp_path: Path) -> None:
    def change(source: Path, tracks: Path, settings: BatchSettings, on_progress: OnProgress, warn: Warn) -> None:
        write_film(source, rate=RATE, frames=9)
        analyse(source, tracks, settings, on_progress, warn)

    write_film(tmp_path / "a.mp4", rate=RATE)
    assert "changed during the analysis" in run(plan_jobs([tmp_path / "a.mp4"], None, False), analyse=change)[0].reason


def test_an_output_path_that_cannot_be_written_fails(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    (tmp_path / "file").write_bytes(b"")
    outcome = run(plan_jobs([tmp_path / "a.mp4"], tmp_path / "file" / "b.mp4", False))[0]
    assert outcome.status == "failed" and "cannot be written to" in outcome.reason


@pytest.mark.parametrize("kind", ["output", "save_blend", "save_tracks", "report", "save_mattes"])
def test_a_folder_that_cannot_be_written_to_fails_before_the_analysis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def open_file(**options: Path) -> IO[bytes]:
        if options["dir"] == tmp_path / kind:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file_there(dir=options["dir"])

    def never(*call: Any) -> None:
        pytest.fail("the analysis began")

    open_file_there = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)
    write_film(tmp_path / "a.mp4", rate=RATE)
    names = ("output", "save_blend", "save_tracks", "report", "save_mattes")
    places: dict[str, Any] = {name: tmp_path / name for name in names}
    outcome = run(plan_jobs([tmp_path / "a.mp4"], recursive=False, **places), analyse=never)[0]
    assert outcome.reason == f"The folder {tmp_path / kind} cannot be written to: Permission denied."


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*call: Any) -> dict[str, Any]:
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0}))
        raise OSError(errno.ENOSPC, "No space left on device")

    write_film(tmp_path / "a.mp4", rate=RATE)
    outcome = run(plan_jobs([tmp_path / "a.mp4"], None, False), render=fill)[0]
    assert "is full. Nothing was written" in outcome.reason
    assert list_names(tmp_path) == ["a.mp4"]


def test_an_interrupt_removes_unfinished_files(tmp_path: Path) -> None:
    def interrupt(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        Path(job["render"]["output"]).write_bytes(b"half")
        raise KeyboardInterrupt

    write_film(tmp_path / "a.mp4", rate=RATE)
    with pytest.raises(KeyboardInterrupt):
        run(plan_jobs([tmp_path / "a.mp4"], None, False), render=interrupt)
    assert list_names(tmp_path) == ["a.mp4"]


def test_an_input_that_fails_twice_leaves_no_analysis_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def analyse_and_store(source: Path, *rest: Any) -> None:
        get_unfinished_path(source).mkdir(parents=True, exist_ok=True)
        (get_unfinished_path(source) / "stored.json").write_text("{}")
        analyse(source, *rest)

    def fail(*call: Any) -> dict[str, Any]:
        raise FaceBlurError("Blender failed")

    def interrupt(*call: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    unfinished = tmp_path / "system temp" / "unfinished"
    monkeypatch.setattr(stages, "get_unfinished_analyses_folder", lambda: unfinished)
    write_film(tmp_path / "a.mp4", rate=RATE)
    jobs = plan_jobs([tmp_path / "a.mp4"], None, False)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(jobs, analyse=analyse_and_store, render=interrupt)
    run(jobs, analyse=analyse_and_store, render=fail)
    assert list(unfinished.rglob("stored.json"))
    run(jobs, analyse=analyse_and_store, render=fail)
    assert list(unfinished.iterdir()) == []


@pytest.mark.parametrize("taken", [None, FileNotFoundError()])
def test_a_folder_that_another_process_takes_for_a_leftover_is_replaced(
    taken: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that removes leftovers can lock a new folder, or remove it, before its own process locks it."""
    locked: list[Path] = []

    def lock(path: Path) -> IO[bytes] | None:
        locked.append(path.parent)
        if len(locked) > 1:
            return take_lock(path)
        if taken is not None:
            raise taken
        return None

    take_lock = workplace._take_lock
    monkeypatch.setattr(workplace, "remove_leftovers", lambda root: 0)
    monkeypatch.setattr(workplace, "_take_lock", lock)
    with Workplace() as made:
        assert made.folder == locked[1] != locked[0] and made.folder.is_dir()
    assert not made.folder.exists()
    locked[0].joinpath("lock").unlink(missing_ok=True)
    locked[0].rmdir()


def test_leftovers_of_crashed_processes_are_removed_but_not_those_of_running_ones(
    tmp_path: Path, private_temp: Path
) -> None:
    code = (
        "import os, sys, tempfile\nfrom pathlib import Path\nfrom blender_faceblur.files.workplace import "
        "Workplace\n"
        "tempfile.tempdir = sys.argv[1]\nplace = Workplace().__enter__()\n"
        "part = place.make_part_folder(Path(sys.argv[2]) / 'a.mp4')\n(part / 'half.mkv').write_bytes(b'half')\n"
        "print(place.folder, flush=True)\nos._exit(1)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(private_temp), str(tmp_path)], check=False, cwd=Path(__file__).parents[2]
    )
    assert any(name.startswith(".faceblur-") for name in list_names(tmp_path))
    with Workplace() as alive:
        assert not any(name.startswith(".faceblur-") for name in list_names(tmp_path))
        assert remove_leftovers(alive.folder.parent) == 0
        assert alive.folder.is_dir()
    assert not alive.folder.exists()
