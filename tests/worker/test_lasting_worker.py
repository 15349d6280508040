# SPDX-License-Identifier: GPL-3.0-or-later
"""One process works for many pictures, gives what a process of its own would give, and fails for one picture alone."""

from __future__ import annotations

import io
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.detection.settings import get_preset
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors.base import FaceDetector
from blender_faceblur.reporting.progress import Outcome, Reporter
from blender_faceblur.worker import client, ensemble, memory, work
from blender_faceblur.worker.client import (
    AnalysisOptions,
    LastingWorker,
    VerifyOptions,
    build_request,
    build_verify_request,
    run_job,
)
from blender_faceblur.worker.process import WorkerProcess
from blender_faceblur.worker.protocol import (
    AnalysisRequest,
    ErrorMessage,
    Message,
    PaintDone,
    PaintRequest,
    Ready,
    Result,
    SourceRef,
    Started,
    VerificationDone,
    Waiting,
    to_line,
)
from tools.film import FaceTruth, write_film

ROOT = Path(__file__).resolve().parents[2]

has_signals = pytest.mark.skipif(os.name != "posix", reason="stops processes with signals")


@pytest.fixture(autouse=True)
def weights() -> None:
    try:
        ensemble.choose_usable(get_preset("balanced"))
    except FaceBlurError as error:
        pytest.skip(str(error))


class Recorded(WorkerProcess):
    """A process that counts its requests. It is killed at a request of which `kills_at` is true."""

    started: list[Recorded]
    kills_at: Callable[[str], bool]

    def __init__(self, request_line: str, *arguments: Any, **options: Any) -> None:
        super().__init__(request_line, *arguments, **options)
        self.requests = 1
        Recorded.started.append(self)

    def ask(self, request_line: str) -> bool:
        kills = Recorded.kills_at(request_line)
        if kills:
            # Or it could be finished before it dies.
            self._process.send_signal(signal.SIGSTOP)
        accepted = super().ask(request_line)
        if kills:
            self._process.kill()
        self.requests += accepted
        return accepted

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._process


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """The processes that were started, in order."""
    monkeypatch.setattr(client, "WorkerProcess", Recorded)
    monkeypatch.setattr(Recorded, "started", [], raising=False)
    monkeypatch.setattr(Recorded, "kills_at", lambda line: False, raising=False)
    return Recorded.started


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write RGB pixels, without imwrite's troubles with names."""
    import cv2

    path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes())
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The astronaut in several sizes and formats, lying, twice in one picture, and nobody at all."""
    from skimage import data

    folder, whole = tmp_path_factory.mktemp("pictures"), data.astronaut()
    return [
        write_picture(folder / "a.jpg", whole),
        write_picture(folder / "b.png", whole[:300, 60:400]),
        write_picture(folder / "c.jpg", np.rot90(whole)),
        write_picture(folder / "d.jpg", whole[300:, 300:]),
        write_picture(folder / "e.jpg", np.hstack([whole, whole[:, ::-1]])),
        write_picture(folder / "f.jpg", whole[:256, 100:356]),
    ]


def run(pictures: list[Path], output: Path, **settings: Any) -> list[Outcome]:
    """Cover pictures and save their tracks."""
    jobs = plan_jobs(pictures, output, False, save_tracks=output.with_name(f"{output.name}.tracks"))
    return list(run_jobs(jobs, BatchSettings(**settings), Reporter()))


def read_all(folder: Path) -> dict[str, bytes]:
    """All results of `run`."""
    tracks = folder.with_name(f"{folder.name}.tracks")
    return {f"{place.name}/{path.name}": path.read_bytes() for place in (folder, tracks) for path in place.iterdir()}


def test_the_pictures_of_a_batch_have_one_process_and_the_results_of_one_each(
    pictures: list[Path], tmp_path: Path, started: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, alone = tmp_path / "1" / "out", tmp_path / "2" / "out"
    outcomes = run(pictures, together, verify_every=1)
    assert [outcome.status for outcome in outcomes] == ["done"] * 6 and all(outcome.verified for outcome in outcomes)
    # Analysis, painting and verification of each.
    assert [process.requests for process in started] == [18]
    assert started[0].process.poll() is not None
    monkeypatch.setattr(LastingWorker, "keep", lambda self, process: process.kill())
    run(pictures, alone, verify_every=1)
    assert len(started) == 1 + 18
    assert read_all(together) == read_all(alone) and len(read_all(alone)) == 12


def analyse(
    picture: Path, tracks: Path, worker: LastingWorker | None, preset: str = "fast", margin: float = 1.4
) -> list[Message]:
    return list(run_job(build_request(picture, tracks, AnalysisOptions(preset, margin)), worker=worker))


def test_options_and_kinds_of_jobs_may_alternate(pictures: list[Path], tmp_path: Path, started: list[Recorded]) -> None:
    """Nothing of a preset, a margin, a job or a picture is left for the next one."""
    jobs: list[tuple[Path, str, float]] = [
        (pictures[0], "fast", 1.4),
        (pictures[2], "balanced", 2.0),
        (pictures[3], "thorough", 1.4),
        (pictures[0], "fast", 1.4),
        (pictures[4], "balanced", 1.2),
    ]

    def do_all(folder: Path, worker: LastingWorker | None) -> dict[str, bytes]:
        folder.mkdir()
        for number, (picture, preset, margin) in enumerate(jobs):
            tracks, covered = folder / f"{number}.json", folder / f"{number}{picture.suffix}"
            *_, last = analyse(picture, tracks, worker, preset, margin)
            assert isinstance(last, Result), last
            effect = EffectSettings(("solid", "blur", "mosaic")[number % 3], "000000", 6.0, "", False)
            paint = PaintRequest(SourceRef.of(picture), str(tracks), str(covered), effect)
            *_, last = run_job(paint, worker=worker)
            assert isinstance(last, PaintDone), last
            verify = build_verify_request(
                picture, covered, tracks, folder / f"{number}.checked", VerifyOptions(every=1, samples_per_face=3.0)
            )
            *_, last = run_job(verify, worker=worker)
            assert isinstance(last, VerificationDone), last
            Path(verify.output).unlink()  # It has times.
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    with LastingWorker() as worker:
        together = do_all(tmp_path / "together", worker)
    assert [process.requests for process in started] == [15]
    assert together == do_all(tmp_path / "alone", None) and len(together) == 10


@has_signals
@pytest.mark.parametrize("job", ['"analyse"', '"paint"'])
def test_a_picture_that_kills_the_process_fails_alone(
    job: str, pictures: list[Path], tmp_path: Path, started: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorded, "kills_at", lambda line: "b.png" in line and job in line)
    outcomes = run(pictures[:4], tmp_path / "out", preset="fast")
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done", "done"]
    assert "killed by signal 9" in outcomes[1].reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.blurred.jpg" for name in "acd"]
    assert len(started) == 2 and started[1].requests == 4
    assert all(process.process.poll() is not None for process in started)


@has_signals
def test_a_process_that_hangs_is_replaced(pictures: list[Path], tmp_path: Path, started: list[Recorded]) -> None:
    with LastingWorker() as worker:
        assert isinstance(analyse(pictures[0], tmp_path / "0.json", worker)[-1], Result)
        started[0].process.send_signal(signal.SIGSTOP)
        request = build_request(pictures[1], tmp_path / "1.json", AnalysisOptions("fast"))
        *_, last = run_job(request, worker=worker, start_timeout_s=0.5)
        assert isinstance(last, ErrorMessage) and "has not responded" in last.text
        assert started[0].process.poll() is not None
        assert isinstance(analyse(pictures[2], tmp_path / "2.json", worker)[-1], Result)
    assert len(started) == 2 and not (tmp_path / "1.json").exists()


def test_a_process_that_died_between_two_pictures_is_replaced(
    pictures: list[Path], tmp_path: Path, started: list[Recorded]
) -> None:
    with LastingWorker() as worker:
        assert isinstance(analyse(pictures[0], tmp_path / "0.json", worker)[-1], Result)
        started[0].process.kill()
        started[0].process.wait()
        assert isinstance(analyse(pictures[1], tmp_path / "1.json", worker)[-1], Result)
    assert [process.requests for process in started] == [1, 1]


def test_a_job_that_fails_or_is_stopped_ends_its_process(
    pictures: list[Path], tmp_path: Path, started: list[Recorded]
) -> None:
    with LastingWorker() as worker:
        assert isinstance(analyse(pictures[0], tmp_path / "0.json", worker)[-1], Result)
        assert isinstance(analyse(tmp_path / "absent.jpg", tmp_path / "1.json", worker)[-1], ErrorMessage)
        assert started[0].process.poll() is not None
        assert isinstance(analyse(pictures[1], tmp_path / "1.json", worker)[-1], Result)
        job = run_job(build_request(pictures[2], tmp_path / "2.json", AnalysisOptions("fast")), worker=worker)
        assert isinstance(next(job), Started)
        job.close()
        assert started[1].process.poll() is not None
        assert isinstance(analyse(pictures[3], tmp_path / "3.json", worker)[-1], Result)
        assert started[2].process.poll() is None
    assert [process.requests for process in started] == [1 + 1, 1 + 1, 1]
    assert started[2].process.poll() is not None


def test_an_interruption_while_the_next_job_starts_ends_the_process(
    pictures: list[Path], tmp_path: Path, started: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with LastingWorker() as worker:
        analyse(pictures[0], tmp_path / "0.json", worker)
        assert started[0].process.poll() is None
        monkeypatch.setattr(Recorded, "ask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            analyse(pictures[0], tmp_path / "1.json", worker)
    assert started[0].process.poll() is not None


def test_a_film_ends_the_process(pictures: list[Path], tmp_path: Path, started: list[Recorded]) -> None:
    """A process that works for hours need not stay."""
    film = tmp_path / "film.mp4"
    nobody: list[FaceTruth] = []
    drawn = [(np.zeros((64, 64, 3), np.uint8), nobody)] * 4
    write_film(film, drawn, width=64, height=64, frame_rate=Fraction(25), frame_count=4)
    with LastingWorker() as worker:
        analyse(pictures[0], tmp_path / "0.json", worker)
        assert isinstance(analyse(film, tmp_path / "1.json", worker)[-1], Result)
        assert started[0].process.poll() is not None
        assert isinstance(analyse(pictures[0], tmp_path / "2.json", worker)[-1], Result)
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert [process.requests for process in started] == [2, 1]


STARTED, READY = to_line(Started(1)), to_line(Ready())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([STARTED, READY], "without a result"),
        ([STARTED, "result"], "ended without a result"),
        ([STARTED, "result", STARTED], "after its result"),
        ([STARTED, "elsewhere", READY], "its output is missing"),
    ],
)
def test_a_job_is_only_over_when_the_process_says_so(tmp_path: Path, lines: list[str], words: str) -> None:
    output = tmp_path / "out.json"
    output.write_text("{}")
    results = {"result": str(output), "elsewhere": str(tmp_path / "elsewhere.json")}
    text = "".join(to_line(Result(results[line], 1, 1, 0, 1.0)) if line in results else line for line in lines)
    script = tmp_path / "fake.py"
    script.write_text(f"import sys\nsys.stdin.buffer.readline()\nsys.stdout.write({text!r})\n")
    with LastingWorker() as worker:
        request = AnalysisRequest(SourceRef("in.jpg"), str(output), "balanced", 1.4)
        *_, last = run_job(request, worker=worker, script=script)
    assert isinstance(last, ErrorMessage) and words in last.text


def test_a_timer_does_not_wait_for_the_end_of_a_job(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    output.write_text("{}")
    script = tmp_path / "fake.py"
    text = STARTED + to_line(Result(str(output), 1, 1, 0, 1.0))
    script.write_text(
        "import sys, time\nsys.stdin.buffer.readline()\n"
        f"print({text!r}, end='', flush=True)\ntime.sleep(1)\nprint({READY!r}, flush=True)\ntime.sleep(60)\n"
    )
    with LastingWorker() as worker:
        request = AnalysisRequest(SourceRef("in.jpg"), str(output), "balanced", 1.4)
        messages = list(run_job(request, 0.05, worker=worker, script=script))
    assert isinstance(messages[-1], Result) and isinstance(messages[-2], Waiting)


def test_networks_stay_open_until_one_has_failed() -> None:
    class Fake(FaceDetector):
        notes: Any = None
        closed = False

        def __init__(self, *given: Any) -> None:
            self.notes = list[str]()

        def detect(self, image_bgr: NDArray[np.uint8]) -> list[Any]:
            return []

        def close(self) -> None:
            self.closed = True

        def was_closed(self) -> bool:
            return self.closed

    with ensemble.Networks() as networks:
        first = networks.open(Fake, Path("a"), 0.5, "cpu")
        assert networks.open(Fake, Path("a"), 0.5, "cpu") is first
        assert networks.open(Fake, Path("a"), 0.4, "cpu") is not first
        networks.close_failed()
        assert networks.open(Fake, Path("a"), 0.5, "cpu") is first and not first.was_closed()
        first.notes.append("CUDA is gone")
        networks.close_failed()
        assert first.was_closed()
        second = networks.open(Fake, Path("a"), 0.5, "cpu")
        assert second is not first and not second.notes
    assert second.was_closed()


def test_a_lasting_process_gives_free_memory_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(work, "_run_job", lambda line, send, networks: 0)
    monkeypatch.setattr(memory, "release_memory", lambda: calls.append(1))
    many = 3 * memory.MEMORY.jobs + 1
    assert work.serve(iter(["{}"] * many), io.StringIO(), lasting=True) == 0 and len(calls) == 3


@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc keeps free memory in pieces"
)
def test_memory_that_is_free_in_pieces_is_given_back() -> None:
    code = (
        "import os\nimport numpy as np\nfrom benchmarks.soak import read_own_memory\n"
        "from blender_faceblur.worker.memory import release_memory\n"
        "pieces = [np.ones(100_000, np.uint8) for _ in range(600)]\n"
        "pieces = pieces[::10]\n"
        "before = read_own_memory(os.getpid())\nrelease_memory()\n"
        "print(before - read_own_memory(os.getpid()))"
    )
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=variables, text=True)
    assert int(done.stdout) > 30e6


def list_processes(root: int) -> Iterator[int]:
    """A process and its descendants, from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    yield root
    for process, parent in parents.items():
        if parent == root:
            yield from list_processes(process)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="finds the command's processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(how: signal.Signals, pictures: list[Path], tmp_path: Path) -> None:
    many = tmp_path / "in"
    many.mkdir()
    for number in range(200):
        (many / f"{number}.jpg").write_bytes(pictures[5].read_bytes())
    command = [sys.executable, "-P", "-m", "blender_faceblur.batch.cli", str(many), "-o", str(tmp_path / "out")]
    with subprocess.Popen(
        [*command, "--preset", "fast", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if '"finish"' in line:
                break
        processes = list(list_processes(process.pid))
        process.send_signal(how)
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == (-9 if how is signal.SIGKILL else 130) and "Traceback" not in errors
    assert len(processes) == 2
    deadline = time.monotonic() + 20
    while any(is_alive(one) for one in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(one) for one in processes)
    if how is not signal.SIGKILL:
        assert not [path for path in tmp_path.rglob("*") if "part" in path.name or path.suffix == ".json"]
