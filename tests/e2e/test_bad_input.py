# SPDX-License-Identifier: GPL-3.0-or-later
"""The complete command with real analysis and real Blender: bad files, full disks, killed processes, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from blender_faceblur.reporting.progress import Reporter
from tests.core.test_delivery import write_film
from tools.film import make_film

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "a face.mp4"
    make_film(path, width=320, height=180, frame_rate=Fraction(25), seconds=1, scene="steady")
    return path


@pytest.fixture(autouse=True)
def weights_and_bpy() -> None:
    try:
        paths.get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))


def variables(temp: Path) -> dict[str, str]:
    temp.mkdir(exist_ok=True)
    names = {"PYTHONPATH": str(ROOT), "TMPDIR": str(temp), "TEMP": str(temp), "TMP": str(temp)}
    return {**os.environ, **names}


def blur(temp: Path, *arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "blender_faceblur.batch.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120, env=variables(temp)
    )


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_bad_files_fail_and_good_ones_are_blurred(tmp_path: Path, film: Path) -> None:
    inputs = tmp_path / "in put"
    inputs.mkdir()
    good = inputs / "gut & schön 'x'.mp4"
    shutil.copy(film, good)
    (inputs / "text.mp4").write_text("this is no film\n" * 100)
    (inputs / "empty.mov").write_bytes(b"")
    (inputs / "truncated.mp4").write_bytes(film.read_bytes()[:2000])
    (inputs / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    write_sound_only(inputs / "sound.m4v")
    done = blur(tmp_path / "temp", inputs, "-o", tmp_path / "out", "--json")
    assert done.returncode == 1, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    finished = {Path(line["source"]).name: line for line in outcomes if line["type"] == "finish"}
    assert {name for name, line in finished.items() if line["status"] == "done"} == {good.name}
    for name in ("text.mp4", "empty.mov", "truncated.mp4", "picture.png", "sound.m4v"):
        assert finished[name]["reason"] and "\n" not in finished[name]["reason"], name
    assert finished[good.name]["faces"] == 1
    assert list_files(tmp_path / "out") == ["gut & schön 'x'.blurred.mp4"]
    assert list_files(tmp_path / "temp") == []
    assert "Traceback" not in done.stderr


def write_sound_only(path: Path) -> None:
    import av

    from tests.core.test_delivery import encode_tone

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        for packet in encode_tone(stream, Fraction(1)):
            container.mux(packet)


def test_an_earlier_output_is_kept_without_overwrite(tmp_path: Path, film: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"earlier")
    done = blur(tmp_path / "temp", film, "-o", output, "--quiet")
    assert done.returncode == 1 and "--overwrite" in done.stderr and output.read_bytes() == b"earlier"


@pytest.mark.skipif(sys.platform != "linux", reason="makes a small disk with a Linux mount namespace")
def test_a_full_disk_is_reported_and_leaves_no_output(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    small = (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=6m none "$0" && "$@"; code=$?; echo "left: $(ls -A "$0")" >&2; exit $code',
        str(disk),
    )
    if (
        shutil.which("unshare") is None
        or subprocess.run([*small, "true"], check=False, capture_output=True).returncode != 0
    ):
        pytest.skip("mount namespaces are not allowed here")
    film = tmp_path / "big.mp4"
    make_film(film, width=640, height=360, frame_rate=Fraction(25), seconds=6, scene="cut")
    done = blur(
        tmp_path / "temp",
        film,
        "-o",
        disk / "out.mkv",
        "--codec",
        "ffv1",
        "--quality",
        "lossless",
        "--preset",
        "fast",
        before=small,
    )
    assert done.returncode == 1
    assert f"The disk of {disk} is full. Nothing was written." in done.stderr
    assert done.stderr.splitlines()[-1] == "left: "
    assert list_files(tmp_path / "temp") == []


def list_children(pid: int) -> list[int]:
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(state[1]) == pid:
                children.append(int(entry.name))
    return children


def kill_child(process: subprocess.Popen[str]) -> None:
    for child in list_children(process.pid):
        if sys.platform != "win32":
            os.kill(child, signal.SIGKILL)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
@pytest.mark.parametrize(
    ("stage", "act", "code"),
    [("detect", kill_child, 1), ("render", kill_child, 1), ("detect", interrupt, 130), ("render", interrupt, 130)],
)
def test_a_killed_or_interrupted_run_keeps_the_earlier_output(
    tmp_path: Path, stage: str, act: Callable[[subprocess.Popen[str]], None], code: int
) -> None:
    film, output = tmp_path / "long.mp4", tmp_path / "out.mp4"
    write_film(film, rate=Fraction(25), frames=600)
    output.write_bytes(b"earlier")
    command = [
        sys.executable,
        "-m",
        "blender_faceblur.batch.cli",
        str(film),
        "-o",
        str(output),
        "--overwrite",
        "--json",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables(tmp_path / "temp")
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        acted = False
        for line in process.stdout:
            message = json.loads(line)
            if not acted and message["type"] == "progress" and message["stage"] == stage:
                assert message["done"] < message["total"]
                act(process)
                acted = True
        errors = process.stderr.read()
    assert acted
    assert process.returncode == code, errors
    assert output.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4", "out.mp4", "temp"]
    assert list_left(tmp_path / "temp") == []
    assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_blender_ends_when_the_command_is_killed_outright(tmp_path: Path) -> None:
    """Nothing can react to SIGKILL, so Blender must notice by itself. The next run removes what is left."""
    film, output = tmp_path / "long.mp4", tmp_path / "out.mp4"
    write_film(film, rate=Fraction(25), frames=1500)
    command = [sys.executable, "-m", "blender_faceblur.batch.cli", str(film), "-o", str(output), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=variables(tmp_path / "temp")
    ) as process:
        assert process.stdout is not None
        assert any(json.loads(line).get("stage") == "render" for line in process.stdout)
        children = list_children(process.pid)
        process.kill()
    assert children
    end = time.monotonic() + 5
    while (alive := [child for child in children if is_alive(child)]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive
    assert not output.exists()
    assert blur(tmp_path / "temp", tmp_path / "missing.mp4").returncode == 1
    assert list_left(tmp_path / "temp") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4", "temp"]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def list_left(temp: Path) -> list[str]:
    """What lies in a folder for temporary files, except the folder that all runs of a user share."""
    return sorted(str(path.relative_to(temp)) for path in temp.rglob("*") if not path.name.startswith("faceblur-"))


def test_an_interrupted_analysis_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run resumes where the first was stopped; a finished film leaves no stored work behind."""
    from blender_faceblur.batch import planning, stages
    from blender_faceblur.batch import settings as batch_settings
    from blender_faceblur.batch.run import run_jobs

    monkeypatch.setattr(stages, "get_unfinished_analyses_folder", lambda: tmp_path / "unfinished")
    source = tmp_path / "long.mp4"
    make_film(source, width=320, height=180, frame_rate=Fraction(25), seconds=36)
    jobs = planning.plan_jobs([source], tmp_path / "out.mp4", False)
    settings = batch_settings.BatchSettings(preset="fast", render=False)
    seen: list[tuple[str, int]] = []

    class Stopping(Reporter):
        def show_progress(self, stage: str, done: int, total: int) -> None:
            seen.append((stage, done))
            if done > 400:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(jobs, settings, Stopping()))
    stopped_at = seen[-1][1]
    assert len(list((tmp_path / "unfinished").rglob("*.checkpoint"))) == 1

    class Noting(Reporter):
        def show_progress(self, stage: str, done: int, total: int) -> None:
            seen.append((stage, done))

    seen.clear()
    assert [outcome.status for outcome in run_jobs(jobs, settings, Noting())] == ["done"]
    assert seen[0][0] == "detect" and seen[0][1] > 0.5 * stopped_at
    assert not list((tmp_path / "unfinished").rglob("*"))
