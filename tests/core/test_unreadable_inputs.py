# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs that cannot be read, and streams that close: one line for the user, never a traceback or a silent gap."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.batch import cli
from blender_faceblur.batch.people import list_references
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.core.document.tracks_file import from_json, to_json
from blender_faceblur.core.types import FaceBlurError, SourceInfo, Track, TrackDocument
from blender_faceblur.reporting.progress import Outcome, Reporter
from blender_faceblur.sources import MovieSource, compute_fingerprint, open_source
from tests.core.test_batch import RATE, list_names, private_temp, run, write_picture
from tests.core.test_delivery import write_film

__all__ = ["private_temp"]

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-m", "blender_faceblur.batch.cli"]
VARIABLES = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that cannot be listed, and whose files cannot be examined. (Permissions do not bind every user.)"""
    folder = tmp_path / "in" / "closed"
    folder.mkdir(parents=True)
    write_film(folder / "a.mp4", rate=RATE)

    def refuse(function: Callable[..., Any], allowed: tuple[Path, ...]) -> Callable[..., Any]:
        def act(path: Any = ".", *rest: Any, **options: Any) -> Any:
            inside = not isinstance(path, int) and folder in (Path(path), *Path(path).parents)
            if inside and Path(path) not in allowed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *rest, **options)

        return act

    monkeypatch.setattr(os, "scandir", refuse(os.scandir, ()))
    monkeypatch.setattr(os, "listdir", refuse(os.listdir, ()))
    monkeypatch.setattr(os, "stat", refuse(os.stat, (folder,)))
    monkeypatch.setattr("io.open", refuse(open, ()))
    return folder


@pytest.mark.parametrize("recursive", [False, True])
def test_a_folder_that_cannot_be_read_fails_and_the_others_are_covered(
    tmp_path: Path, closed: Path, recursive: bool
) -> None:
    write_film(tmp_path / "in" / "good.mp4", rate=RATE)
    inputs = [tmp_path / "in"] if recursive else [tmp_path / "in", closed, closed / "a.mp4"]
    outcomes = run(plan_jobs(inputs, None, recursive))
    failed = {outcome.source: outcome.reason for outcome in outcomes if outcome.status == "failed"}
    assert failed.pop(closed) == "The folder cannot be read: Permission denied. Its contents are skipped."
    assert all("Permission denied" in reason for reason in failed.values())
    assert len(failed) == (0 if recursive else 1)
    assert [outcome.output for outcome in outcomes if outcome.status == "done"] == [tmp_path / "in/good.blurred.mp4"]


def test_a_skipped_folder_is_an_error_for_the_caller(
    tmp_path: Path, closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--quiet", "-r", str(tmp_path / "in")]) == cli.SOME_FAILED
    assert f"{closed}: The folder cannot be read" in capsys.readouterr().err


LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        [f"{LONG}.mp4"],
        ["a.mp4", "-o", f"{LONG}.mp4"],
        ["a.mp4", "-o", LONG],
        ["a.mp4", "b.mp4", "--report", f"{LONG}.html"],
        ["a.mp4", "--save-tracks", f"{LONG}.json"],
        ["a.mp4", "--save-blend", LONG],
        ["a.mp4", "--people", f"{LONG}.json"],
        ["a.mp4", "--keep", LONG],
        ["a.mp4", "--effect", "image", "--image", f"{LONG}.png"],
        ["a.mp4", "--blender", LONG],
        ["verify", f"{LONG}.mp4", "a.mp4", "--tracks", LONG],
    ],
)
def test_a_name_that_is_too_long_gives_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "a.mp4", rate=RATE)
    monkeypatch.setattr("blender_faceblur.batch.run.run_analysis", lambda *_, **__: pytest.fail("analysed"))
    assert cli.main([*arguments, "--quiet"] if arguments[0] != "verify" else arguments) in (cli.SOME_FAILED, cli.USAGE)
    errors = capsys.readouterr().err
    assert LONG in errors
    assert "too long" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="no name has a colon there")
def test_a_name_with_a_colon_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg opened talk.mp4 in place of file:talk.mp4, and looked for a protocol named 12."""
    monkeypatch.chdir(tmp_path)
    lengths = {"talk.mp4": 12, "file:talk.mp4": 20, "12:30 talk.mp4": 8}
    for name, frames in lengths.items():
        write_film(tmp_path / "made.mp4", rate=RATE, frames=frames)
        (tmp_path / "made.mp4").rename(tmp_path / name)
    for name, frames in lengths.items():
        with MovieSource(Path(name)) as film:
            assert film.info.frame_count == frames
    outcomes = run(plan_jobs([Path(name) for name in lengths], Path("a:b"), False))
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("done", "")] * 3
    assert [outcome.frames for outcome in outcomes] == list(lengths.values())
    assert all(job.source.is_absolute() == (":" in job.source.name) for job in plan_jobs([Path()], None, False))
    assert list_names(tmp_path / "a:b") == sorted(name.replace(".mp4", ".blurred.mp4") for name in lengths)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_a_pipe_is_refused_without_being_read(tmp_path: Path, name: str) -> None:
    if sys.platform != "win32":
        os.mkfifo(tmp_path / name)
    for act in (open_source, compute_fingerprint):
        with pytest.raises(FaceBlurError, match="a pipe or a device, not a file"):
            act(tmp_path / name)


@pytest.mark.parametrize("target", ["/etc/hostname", "http://127.0.0.1/a.mp4"])
def test_a_playlist_is_called_a_playlist(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.mp4").write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    with pytest.raises(FaceBlurError, match="this is a text or playlist, not a film"):
        open_source(tmp_path / "a.mp4")


def test_text_that_cannot_be_written_is_refused_when_it_is_read() -> None:
    info = SourceInfo("a.mp4", "movie", 64, 48, 12, Fraction(25), "ab")
    text = to_json(TrackDocument(info, "fast", 1.4, [], [], [Track("Face 01", [])], []))
    assert from_json(text).tracks[0].name == "Face 01"
    with pytest.raises(FaceBlurError, match="character that does not exist"):
        from_json(text.replace("Face 01", "Face \\udc80"))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_person_whose_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"Ann\xff")).mkdir()
    write_picture(tmp_path / os.fsdecode(b"Ann\xff") / "1.png")
    with pytest.raises(FaceBlurError, match="valid UTF-8"):
        list_references(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are reported in another way there")
@pytest.mark.parametrize("json_lines", [True, False])
def test_a_reader_that_goes_away_ends_nothing(tmp_path: Path, json_lines: bool) -> None:
    """The exit code still says how the work ended, and no traceback follows."""
    inputs = [str(tmp_path / f"{number}.mp4") for number in range(2000)]
    with subprocess.Popen(
        [*CLI, *inputs, *["--json"] * json_lines], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=VARIABLES
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        closing, other = (process.stdout, process.stderr) if json_lines else (process.stderr, process.stdout)
        closing.readline()
        closing.close()
        assert other.read() == b""
        assert process.wait(timeout=60) == cli.SOME_FAILED


@pytest.mark.skipif(sys.platform == "win32", reason="uses a shell")
@pytest.mark.parametrize("redirect", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]])
def test_closed_streams_do_not_end_the_work(tmp_path: Path, redirect: str, options: list[str]) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    code = (
        "import sys\nfrom pathlib import Path\nfrom blender_faceblur.batch import cli, run\n"
        "from tests.core.test_batch import analyse, render\n"
        "cli.run_batch = lambda jobs, settings, reporter: "
        "run.run_batch(jobs, settings, reporter, analyse, render)\n"
        "sys.exit(cli.main([*sys.argv[1:], '--renderer', 'blender']))"
    )
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirect}', "sh", sys.executable, "-c", code, str(tmp_path / "a.mp4"), *options],
        capture_output=True,
        check=False,
        env={**VARIABLES, "TMPDIR": str(tmp_path / "system temp")},
    )
    assert done.returncode == 0
    assert list_names(tmp_path) == ["a.blurred.mp4", "a.mp4"]
    if options == ["--json"] and redirect == "2>&-":
        assert json.loads(done.stdout.splitlines()[-1])["done"] == 1


def test_a_log_on_a_full_disk_ends_nothing() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("the system has no device that is always full")
    with open("/dev/full", "w", encoding="utf-8") as stream:
        reporter = Reporter(stream)
        for _ in range(3):
            reporter.finish(Outcome(Path("a.mp4"), "failed", reason="no film"))
