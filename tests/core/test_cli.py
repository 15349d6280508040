# SPDX-License-Identifier: GPL-3.0-or-later
"""The output and the exit codes of the command line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import build
from blender_faceblur.batch import cli
from blender_faceblur.batch.options import build_parser
from blender_faceblur.batch.rendering import END_WITH_PARENT, check_blender, run_blender_job
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.reporting.progress import (
    JsonReporter,
    LineReporter,
    Outcome,
    Reporter,
    TerminalReporter,
    Totals,
    choose_reporter,
    describe_progress,
    describe_time,
)
from tests.core.test_delivery import write_film
from tools import environment


@pytest.mark.parametrize("arguments", [[], ["--effect", "magic", "a"], ["--color", "red", "a"]])
def test_wrong_usage_exits_with_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.USAGE


def test_a_failed_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--quiet", str(tmp_path / "no such.mp4")]) == cli.SOME_FAILED
    assert "no such.mp4" in capsys.readouterr().err
    assert cli.main([str(tmp_path)]) == cli.USAGE
    assert "no films or pictures" in capsys.readouterr().err


def test_a_people_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_film(tmp_path / "a.mp4", rate=Fraction(25))
    (tmp_path / "file").write_bytes(b"")
    people = tmp_path / "file" / "people.json"
    code = cli.main([str(tmp_path / "a.mp4"), "--keep", str(tmp_path), "--people", str(people)])
    assert code == cli.USAGE
    assert f"The folder {people.parent} cannot be written to" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stream that shows what a terminal would: a carriage return goes back to the start of the line."""

    encoding = "utf-8"

    def read_screen(self) -> list[str]:
        """The lines at the end. A bar is erased with spaces before a line is written in its place."""
        return [line.rstrip("\r").split("\r")[-1].rstrip() for line in self.getvalue().split("\n")]


def test_a_terminal_shows_a_bar_for_each_stage_and_lines_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    reporter = TerminalReporter(stream)
    reporter.start(Path("a.mp4"), 1, 1)
    for done in (0, 10):
        reporter.show_progress("detect", done, 40)
    reporter.warn("look here")
    assert stream.read_screen()[:2] == ["[1/1] a.mp4", "  note: look here"]
    assert "detect" in stream.read_screen()[-1] and "10/40" in stream.read_screen()[-1]
    reporter.show_progress("detect", 40, 40)
    reporter.show_progress("link", 0, 1)
    # Resumed: the 30 frames of an earlier run do not count for the speed.
    reporter.show_progress("render", 30, 40)
    reporter.show_progress("render", 40, 40)
    reporter.show_progress("verify", 1, 40)
    reporter.finish(Outcome(Path("a.mp4"), "failed", reason="no space"))
    screen = stream.read_screen()
    detected, rendered = screen[2], screen[3]
    assert "100 %" in detected and "40/40" in detected and "frames/s" in detected and "00:00 left" in detected
    assert "render" in rendered and "40/40" in rendered
    assert screen[4] == "  FAILED: no space" and all(len(line) < 100 for line in screen)


def test_the_work_goes_on_where_a_terminal_is_closed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        reporter = TerminalReporter(stream)
        for done in range(5):
            reporter.show_progress("detect", done, 4)
        reporter.warn("nobody reads this")


def test_bars_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert type(choose_reporter(False, False)) is LineReporter
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert type(choose_reporter(False, False)) is TerminalReporter
    assert type(choose_reporter(True, False)) is Reporter and type(choose_reporter(False, True)) is JsonReporter
    reporter = choose_reporter(False, True)
    reporter.show_progress("detect", 1, 2)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["stage"] == "detect"


def test_json_output_has_one_object_per_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--json", str(tmp_path / "no such.mp4")]) == cli.SOME_FAILED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["start", "finish", "summary"]
    assert lines[1]["status"] == "failed" and lines[2]["failed"] == 1


def test_each_reporter_writes_its_own_form() -> None:
    outcomes = [
        Outcome(Path("a.mp4"), "done", Path("b.mp4"), faces=2, regions=1, review_items=1),
        Outcome(Path("c.mp4"), "failed", reason="no film"),
    ]
    text = io.StringIO()
    reporter = LineReporter(text)
    reporter.start(Path("a.mp4"), 1, 2)
    reporter.show_progress("detect", 10, 10)
    for outcome in outcomes:
        reporter.finish(outcome)
    totals = Totals()
    for outcome in outcomes:
        totals.add(outcome)
    reporter.summarize(totals)
    assert "2 faces and 1 region covered, 1 place to review -> b.mp4" in text.getvalue()
    assert "FAILED c.mp4: no film" in text.getvalue()
    quiet = io.StringIO()
    Reporter(quiet).finish(outcomes[0])
    Reporter(quiet).finish(outcomes[1])
    assert quiet.getvalue() == "c.mp4: no film\n"
    lines = io.StringIO()
    JsonReporter(lines).show_progress("render", 5, 5)
    assert json.loads(lines.getvalue())["done"] == 5


def test_times_are_written_in_words() -> None:
    assert [describe_time(seconds) for seconds in (4.4, 65, 3700)] == ["4 s", "1 min 05 s", "1 h 01 min"]
    assert describe_progress("render", 50, 200, 10.0, 15.0) == "render: 50/200 (25 %), 10.0 fps, 15 s left"


def write_program(path: Path, code: str) -> Path:
    """A program as a stand-in for the Blender application."""
    script = path.with_suffix(".py")
    script.write_text(code, encoding="utf-8")
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


RESULT = 'print(\'\\n@faceblur \' + \'{"type":"result","frames":3,"width":4,"height":5,\'\'"frame_rate":[25,1]}\')\n'


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('out of memory')\nraise SystemExit(3)", "exit code 3.*last line: out of memory"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("print('fine')", "without a result"),
        ('print(\'@faceblur {"type": "error", "text": "no strip"}\')\nraise SystemExit(1)', "no strip"),
        ("print('@faceblur nonsense')\nprint('@faceblur {\"type\": \"result\"}')", "without a result"),
        (RESULT + "raise SystemExit(1)", "exit code 1"),
    ],
)
def test_a_blender_that_fails_is_reported(tmp_path: Path, code: str, words: str) -> None:
    program = write_program(tmp_path / "blender", code)
    with pytest.raises(FaceBlurError, match=words):
        run_blender_job({}, tmp_path, program, lambda *progress: None, lambda text: None)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_messages_of_blender_are_passed_on(tmp_path: Path) -> None:
    code = (
        "import sys\nassert sys.argv[1:3] == ['-b', '--factory-startup'], sys.argv\nprint('Fra:1 Mem:2M')\n"
        'print(\'@faceblur \' + \'{"type":"progress","stage":"render","done":1,"total":3}\')\n'
        'print(\'@faceblur \' + \'{"type":"warning","text":"look"}\')\n'
    )
    program = write_program(tmp_path / "blender", code + RESULT)
    messages: list[object] = []
    result = run_blender_job({}, tmp_path, program, lambda *progress: messages.append(progress), messages.append)
    assert (result["frames"], messages) == (3, [("render", 1, 3), "look"])


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_only_blender_5_is_accepted(tmp_path: Path) -> None:
    assert check_blender(write_program(tmp_path / "new", "print('Blender 5.2.2 LTS')")) == "Blender 5.2.2 LTS"
    for name, code, words in (
        ("old", "print('Blender 4.5.1')", "too old"),
        ("other", "print('hi')", "is not a Blender application"),
    ):
        with pytest.raises(FaceBlurError, match=words):
            check_blender(write_program(tmp_path / name, code))
    with pytest.raises(FaceBlurError, match="cannot be started"):
        check_blender(tmp_path / "nowhere")


@pytest.mark.parametrize("arguments", [["--blender", "{}"], ["--blender={}"], ["--blender"]])
def test_build_py_looks_for_blender_before_it_installs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    def install(*_: object, with_bpy: bool, **__: object) -> Path:
        assert not with_bpy
        raise environment.EnvironmentProblem("installed")

    monkeypatch.setattr(environment, "ensure_environment", install)
    program = tmp_path / "blender"
    monkeypatch.setattr(sys, "argv", ["build.py", "blur", "a.mp4", *(text.format(program) for text in arguments)])
    assert build.main() == cli.USAGE
    assert "there is no such program" in capsys.readouterr().err
    if len(arguments) == 1 and "{}" not in arguments[0]:
        return
    write_program(program, "")
    assert build.main() == 1
    assert capsys.readouterr().err == "installed\n"


def test_build_py_without_a_command_lists_the_commands() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, str(root / "build.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in ("blur", "test", "lint", "models", "demo", "bench"))


@pytest.mark.parametrize("arguments", [["--save-blend", "a.blend"], ["--renderer", "blender"]])
def test_options_that_need_blender_are_refused_before_the_work_where_there_is_none(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(tmp_path / "a.mp4", rate=Fraction(25))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert cli.main(["a.mp4", *arguments]) == cli.USAGE
    assert "need Blender" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--effect", "image"], "--effect image and --image FILE need each other"),
        (["--image", "{film}"], "--effect image and --image FILE need each other"),
        (["--effect", "image", "--image", "no such.png"], "no such.png"),
        (["--effect", "image", "--image", "{film}"], "is not a picture"),
        (["--inverse", "--verify"], "cannot be combined with --inverse"),
        (["--segment", "1/2"], "--segment needs --tracks and --pieces"),
        (["--segment", "1/2", "--tracks", "t.json"], "--segment needs --tracks and --pieces"),
        (["--pieces", "p", "--renderer", "blender"], "--pieces is not possible with --renderer blender"),
        (["--segment", "1/2", "--tracks", "t", "--pieces", "p", "--verify"], "--segment writes pieces only"),
        (["--tracks", "t.json", "--plates"], "Leave out --keep"),
        (["--tracks", "missing.json"], "there is no such file"),
        (["--inverse", "--plates"], "cannot be combined with --blur-only, --plates or"),
        (["--inverse", "--blur-only", "people"], "cannot be combined with --blur-only, --plates or"),
    ],
)
def test_contradictory_effect_options_are_refused(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "a.mp4"
    write_film(film, rate=Fraction(25))
    assert cli.main([str(film), *(argument.format(film=film) for argument in arguments)]) == cli.USAGE
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [film]


@pytest.mark.parametrize(
    ("arguments", "margin"), [([], 1.4), (["--head"], 1.8), (["--head", "--margin", "2"], 2), (["--expansion", "2"], 2)]
)
def test_the_head_option_sets_a_larger_margin(arguments: list[str], margin: float) -> None:
    assert build_parser().parse_args(["a.mp4", *arguments]).margin == margin


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_blender_ends_with_its_parent(tmp_path: Path) -> None:
    """The process waits for its job, as it would wait for a render, while the pipe from its parent closes."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "job.json")
    command = [sys.executable, "-m", "blender_faceblur.blender.child", str(tmp_path / "job.json"), END_WITH_PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=20) == 3
