# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line says and how it ends."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from blender_faceblur.batch import cli
from blender_faceblur.batch.rendering import check_blender, run_blender_job
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.reporting.progress import (
    JsonReporter,
    LineReporter,
    Outcome,
    Reporter,
    describe_progress,
    describe_time,
)
from tests.core.test_delivery import write_film


@pytest.mark.parametrize("arguments", [[], ["--effect", "magic", "a"], ["--color", "red", "a"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.USAGE


def test_failed_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--quiet", str(tmp_path / "no such.mp4")]) == cli.SOME_FAILED
    assert "no such.mp4" in capsys.readouterr().err
    assert cli.main([str(tmp_path)]) == cli.USAGE
    assert "no films or pictures" in capsys.readouterr().err


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--json", str(tmp_path / "no such.mp4")]) == cli.SOME_FAILED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["start", "finish", "summary"]
    assert lines[1]["status"] == "failed" and lines[2]["failed"] == 1


def test_reporters() -> None:
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
    reporter.summarize(outcomes)
    assert "2 faces and 1 region covered, 1 doubt to look at -> b.mp4" in text.getvalue()
    assert "FAILED c.mp4: no film" in text.getvalue()
    quiet = io.StringIO()
    Reporter(quiet).finish(outcomes[0])
    Reporter(quiet).finish(outcomes[1])
    assert quiet.getvalue() == "c.mp4: no film\n"
    lines = io.StringIO()
    JsonReporter(lines).show_progress("render", 5, 5)
    assert json.loads(lines.getvalue())["done"] == 5


def test_words_for_time() -> None:
    assert [describe_time(seconds) for seconds in (4.4, 65, 3700)] == ["4 s", "1 min 05 s", "1 h 01 min"]
    assert describe_progress("render", 50, 200, 10.0, 15.0) == "render: 50/200 (25 %), 10.0 fps, 15 s left"


def write_program(path: Path, code: str) -> Path:
    """A program that stands in for the Blender application."""
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
        ("print('out of memory')\nraise SystemExit(3)", "exit code 3.*last said: out of memory"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("print('fine')", "without a result"),
        ('print(\'@faceblur {"type": "error", "text": "no strip"}\')\nraise SystemExit(1)', "no strip"),
        ("print('@faceblur nonsense')\nprint('@faceblur {\"type\": \"result\"}')", "without a result"),
        (RESULT + "raise SystemExit(1)", "exit code 1"),
    ],
)
def test_blender_that_fails(tmp_path: Path, code: str, words: str) -> None:
    program = write_program(tmp_path / "blender", code)
    with pytest.raises(FaceBlurError, match=words):
        run_blender_job({}, tmp_path, program, lambda *progress: None, lambda text: None)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_blender_that_works(tmp_path: Path) -> None:
    code = (
        "import sys\nassert sys.argv[1:3] == ['-b', '--factory-startup'], sys.argv\nprint('Fra:1 Mem:2M')\n"
        'print(\'@faceblur \' + \'{"type":"progress","stage":"render","done":1,"total":3}\')\n'
        'print(\'@faceblur \' + \'{"type":"warning","text":"look"}\')\n'
    )
    program = write_program(tmp_path / "blender", code + RESULT)
    said: list[object] = []
    result = run_blender_job({}, tmp_path, program, lambda *progress: said.append(progress), said.append)
    assert (result["frames"], said) == (3, [("render", 1, 3), "look"])


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_blender_version(tmp_path: Path) -> None:
    assert check_blender(write_program(tmp_path / "new", "print('Blender 5.2.2 LTS')")) == "Blender 5.2.2 LTS"
    for name, code, words in (("old", "print('Blender 4.5.1')", "too old"), ("other", "print('hi')", "does not say")):
        with pytest.raises(FaceBlurError, match=words):
            check_blender(write_program(tmp_path / name, code))
    with pytest.raises(FaceBlurError, match="cannot be started"):
        check_blender(tmp_path / "nowhere")


def test_front_door_without_a_command() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, str(root / "build.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in ("blur", "test", "lint", "models", "demo", "bench"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--effect", "image"], "needs --image FILE"),
        (["--image", "{film}"], "needs --effect image"),
        (["--effect", "image", "--image", "no such.png"], "no such.png"),
        (["--effect", "image", "--image", "{film}"], "is no picture"),
        (["--inverse", "--verify"], "meant to"),
        (["--inverse", "--plates"], "name what is"),
        (["--inverse", "--blur-only", "people"], "name what is"),
    ],
)
def test_looks_that_do_not_fit_are_refused(
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
def test_the_whole_head_is_a_larger_cover(arguments: list[str], margin: float) -> None:
    assert cli.build_parser().parse_args(["a.mp4", *arguments]).margin == margin
