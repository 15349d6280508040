# SPDX-License-Identifier: GPL-3.0-or-later
"""A job ends with a result or one clear error, whatever its child process does, and leaves no process behind."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors.base import FaceDetector
from blender_faceblur.files.paths import get_model_path, get_models_folder, set_user_folder
from blender_faceblur.sources import MovieSource
from blender_faceblur.worker import child, client, ensemble, process, work
from blender_faceblur.worker.client import AnalysisOptions, build_request, describe_provider, probe_providers, run_job
from blender_faceblur.worker.opening import open_requested
from blender_faceblur.worker.process import WorkerProcess, WorkerThread, listen
from blender_faceblur.worker.protocol import (
    AnalysisRequest,
    EmbeddingsDone,
    ErrorMessage,
    Finished,
    Frame,
    Message,
    ProbeRequest,
    Progress,
    ProtocolError,
    Providers,
    Result,
    Running,
    SegmentRequest,
    SourceRef,
    Stage,
    Started,
    Waiting,
    Warned,
    parse_line,
    to_line,
)

STARTED = 'print(\'{"type":"started","frames":3,"protocol":2}\', flush=True)'


def run_fake(tmp_path: Path, body: str, **options: Any) -> list[Message]:
    """Run a job whose child is a small script that has read its request."""
    script = tmp_path / "fake.py"
    script.write_text("import sys, time, os\nsys.stdin.buffer.readline()\n" + body)
    request = AnalysisRequest(SourceRef("in.mp4"), str(tmp_path / "out.json"), "balanced", 1.4)
    return list(run_job(request, script=script, **options))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit(0)", "ended without a result"),
        (STARTED + "\nsys.exit('the disk is on fire')", "the disk is on fire"),
        (STARTED + "\nos.abort()", "ended without a result"),
        ("print('hello')", "invalid message"),
        (STARTED + '\nprint(\'{"type":"progress"}\')', "missing"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\n')", "invalid message"),
        ("import not_a_module", "not_a_module"),
        (STARTED + '\nprint(\'{"type":"running","provider":"CPU"}\')\nsys.exit("gone")', "gone"),
        (STARTED + '\nprint(\'{"type":"error","text":"no such file"}\')\nsys.exit(1)', "no such file"),
        (
            STARTED
            + '\nprint(\'{"type":"result","output":"elsewhere","frames":1,"tracks":1,"doubts":0,"seconds":1}\')',
            "failed after it had sent its result",
        ),
        ('print(\'{"type":"frame","frame":1,"cut":false,"mixed":false,"rows":[],"joins":[]}\')', "unexpected"),
    ],
)
def test_a_failing_child_is_one_clear_error(tmp_path: Path, body: str, words: str) -> None:
    *_, last = run_fake(tmp_path, body)
    assert isinstance(last, ErrorMessage)
    assert words in last.text and "\n" not in last.text


def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    messages = run_fake(tmp_path, "time.sleep(60)", start_timeout_s=0.5)
    assert isinstance(messages[-1], ErrorMessage) and "has not responded" in messages[-1].text
    messages = run_fake(tmp_path, STARTED + "\ntime.sleep(60)", silence_timeout_s=0.5)
    assert isinstance(messages[0], Started) and isinstance(messages[-1], ErrorMessage)
    assert time.monotonic() - began < 10


def test_a_result_without_its_file_is_an_error(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    result = to_line(Result(str(output), 1, 1, 0, 1.0))
    assert isinstance(run_fake(tmp_path, f"sys.stdout.write({result!r})")[-1], ErrorMessage)
    output.write_text("{}")
    assert isinstance(run_fake(tmp_path, f"sys.stdout.write({result!r})")[-1], Result)
    assert isinstance(run_fake(tmp_path, f"sys.stdout.write({result!r})\nsys.exit(1)")[-1], ErrorMessage)


def test_a_missing_interpreter_is_an_error(tmp_path: Path) -> None:
    request = AnalysisRequest(SourceRef("in.mp4"), str(tmp_path / "out.json"), "balanced", 1.4)
    (message,) = run_job(request, python=str(tmp_path / "no python"))
    assert isinstance(message, ErrorMessage) and "cannot be started" in message.text


def test_a_timer_never_blocks(tmp_path: Path) -> None:
    messages = run_fake(tmp_path, "time.sleep(2.0)\nsys.exit('done')", wait_s=0.05)
    assert sum(isinstance(m, Waiting) for m in messages) >= 3
    assert isinstance(messages[-1], ErrorMessage)


def test_closing_the_job_ends_the_child(tmp_path: Path) -> None:
    script = tmp_path / "fake.py"
    beat = tmp_path / "beat"
    loop = f"while True:\n    open({str(beat)!r}, 'a').write('x')\n    time.sleep(.02)\n"
    script.write_text(f"{STARTED}\nimport time\n{loop}")
    job = run_job(AnalysisRequest(SourceRef("in.mp4"), "out.json", "balanced", 1.4), script=script)
    assert isinstance(next(job), Started)
    time.sleep(0.1)
    job.close()
    size = beat.stat().st_size
    time.sleep(0.2)
    assert beat.stat().st_size == size


def test_one_loop_reads_the_messages_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress comes from the generator, other messages by callback; a job must end with its result."""
    messages: list[Message] = []
    closed: list[bool] = []

    def answer(request: AnalysisRequest, wait_s: float | None = None, worker: object = None) -> Iterator[Message]:
        try:
            yield from messages
        finally:
            closed.append(True)

    monkeypatch.setattr(client, "run_job", answer)
    request = AnalysisRequest(SourceRef("in.mp4"), "out.json", "balanced", 1.4)
    half, result = Progress(Stage.DETECT, 1, 2, 0.0), Result("out.json", 2, 1, 0, 1.0)
    messages[:] = [Started(2), Waiting(), half, Warned("dark"), result]
    received: list[Message] = []
    assert list(client.watch_job(request, 0.1, received.append)) == [None, half]
    assert received == [Started(2), Warned("dark"), result]
    reported: list[tuple[str, int, int]] = []
    client.finish_job(request, lambda *step: reported.append(step))
    assert reported == [("detect", 1, 2)] and len(closed) == 2
    for end, words in (
        ([ErrorMessage("no such file")], "no such file"),
        ([], "without a result"),
        ([EmbeddingsDone("dlib_resnet", 0, 0.0)], "without a result"),
    ):
        messages[:] = [Started(2), half, *end]
        with pytest.raises(FaceBlurError, match=words):
            client.finish_job(request, lambda *step: None)
    assert len(closed) == 5


def test_a_child_ends_when_its_parent_closes_stdin() -> None:
    """Segment processes end this way when their leading process is killed."""
    process = subprocess.Popen(
        [sys.executable, "-I", child.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(b"no request\n", timeout=20)
    assert process.returncode == 2 and out == b"" and b"not a valid request" in err


class RecordedProcess:
    """Replaces a WorkerProcess that has sent these lines."""

    def __init__(self, lines: list[str | None]) -> None:
        import queue

        self.lines: queue.Queue[str | None] = queue.Queue()
        for line in lines:
            self.lines.put(line)

    def describe_end(self) -> str:
        return "exit code 9"

    def last_errors(self) -> str:
        return "Out of memory."


def collect(lines: list[str | None], count: int) -> ObservationTable:
    table = ObservationTable([Segment(0, count)])
    work._Collector(table, lambda message: None).collect({0: RecordedProcess(lines)})  # type: ignore[dict-item]
    return table


def test_an_incomplete_segment_is_an_error() -> None:
    frames = [to_line(Frame(i, False, False, [], [], True)) for i in range(5)]
    assert collect([*frames, to_line(Finished(5, []))], 5).count_missing() == 0
    with pytest.raises(FaceBlurError, match="2 of 5 frames"):
        collect([*frames[:3], to_line(Finished(3, []))], 5)
    with pytest.raises(FaceBlurError, match="was due"):
        collect([frames[0], frames[2], to_line(Finished(2, []))], 5)


def listen_to(*lines: list[str | None]) -> list[tuple[int, Any]]:
    """The messages that arrive from processes with these lines."""
    processes: Any = {number: RecordedProcess(own) for number, own in enumerate(lines)}
    return list(listen(processes, "Verification process", (Progress,)))


def test_messages_are_read_until_every_process_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    half, end, cpu, cuda = Progress(Stage.VERIFY, 1, 2, 0.0), Finished(2, []), Running("CPU"), Running("CUDA")
    reported = listen_to([to_line(cuda), to_line(half), to_line(end)], [to_line(cpu), to_line(end)])
    assert sorted(i for i, message in reported if message == end) == [0, 1] and (0, half) in reported
    assert [m for _, m in reported if isinstance(m, Running)] == [Running("CPU and CUDA")]
    with pytest.raises(FaceBlurError, match=r"Verification process 2 crashed \(exit code 9\)"):
        listen_to([to_line(end)], [to_line(half), None])
    with pytest.raises(FaceBlurError, match=r"^no such file$"):
        listen_to([to_line(ErrorMessage("no such file"))])
    with pytest.raises(ProtocolError, match="unexpected"):
        listen_to([to_line(Warned("of another work"))])
    monkeypatch.setattr(process, "PROCESS", replace(process.PROCESS, silence_s=0.02))
    with pytest.raises(FaceBlurError, match=r"Verification process 1 has stopped responding. Out of memory\."):
        listen_to([to_line(half)])


def test_a_job_in_a_thread_is_heard_like_a_process() -> None:
    done = Finished(1, [])

    def fail(send: Any) -> None:
        send(Progress(Stage.VERIFY, 1, 2, 0.0))
        raise FaceBlurError("the film is gone")

    def crash(send: Any) -> None:
        return None

    half = Progress(Stage.VERIFY, 1, 2, 0.0)
    heard: Any = {0: RecordedProcess([to_line(half), to_line(done)]), 1: WorkerThread(lambda send: send(done))}
    assert len(list(listen(heard, "Analysis process", (Progress,)))) == 3
    with pytest.raises(FaceBlurError, match="the film is gone"):
        list(listen({0: WorkerThread(fail)}, "Analysis process", (Progress,)))
    with pytest.raises(FaceBlurError, match="process 1 crashed"):
        list(listen({0: WorkerThread(crash)}, "Analysis process", (Progress,)))


def test_a_job_in_a_thread_ends_when_it_is_no_longer_wanted() -> None:
    sent = []

    def go_on(send: Any) -> None:
        while True:
            send(Progress(Stage.VERIFY, 1, 2, 0.0))
            sent.append(1)

    job = WorkerThread(go_on)
    assert job.lines.get(timeout=5) is not None
    job.kill()
    assert not job._thread.is_alive() and sent


def test_warnings_and_providers_of_segments_are_reported_once() -> None:
    def record(provider: str, warning: str) -> RecordedProcess:
        frame, end = Frame(0, False, False, [], [], True), Finished(1, [])
        return RecordedProcess([to_line(part) for part in (Started(1), Warned(warning), Running(provider), frame, end)])

    reported: list[Any] = []
    parts = [Segment(0, 1), Segment(1, 2)]
    second = record("CPU", "no memory left")
    second.lines.queue[3] = to_line(Frame(1, False, False, [], [], True))
    messages = {0: record("CUDA", "no memory left"), 1: second}
    work._Collector(ObservationTable(parts), reported.append).collect(messages)  # type: ignore[arg-type]
    assert [m for m in reported if isinstance(m, Warned)] == [Warned("no memory left")]
    assert [m for m in reported if isinstance(m, Running)] == [Running("CPU and CUDA")]


class Idle(FaceDetector):
    """Replaces a detector whose GPU fails at the second picture."""

    provider = "CUDA"
    notes: Any = None

    def __init__(self, *given: Any) -> None:
        self.notes, self.pictures = list[str](), 0

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Any]:
        self.pictures += 1
        if self.pictures == 2:
            self.notes.append("CUDA is gone")
        return []


def test_a_gpu_failure_during_the_analysis_is_reported(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_models()
    monkeypatch.setattr(ensemble, "get_detector", lambda name: Idle)
    from blender_faceblur.sources import open_source

    reported: list[Any] = []
    request = SegmentRequest(SourceRef.of(film, fingerprint=open_source(film).info.fingerprint), "fast", 0, 60, "cpu")
    with ensemble.Networks() as networks:
        work._detect_segment(request, reported.append, networks)
    assert reported[1] == Running("CUDA")
    assert [m for m in reported if isinstance(m, Warned)] == [Warned("CUDA is gone")]
    assert sum(isinstance(m, Frame) for m in reported) == 60


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half the astronaut's picture, panned: 200 frames, 256 x 256."""
    import av
    from skimage import data

    path = tmp_path_factory.mktemp("film") / "gläser 'n' \"more\".mp4"
    picture = data.astronaut()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for i in range(200):
            part = np.ascontiguousarray(picture[20:276, 60 + i // 4 : 316 + i // 4])
            frame = av.VideoFrame.from_ndarray(part, format="rgb24")
            frame.pts = i
            frame.time_base = Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_film_whose_facts_another_process_sent_is_the_same(film: Path, tmp_path: Path) -> None:
    copy = tmp_path / "film.mp4"
    copy.write_bytes(film.read_bytes())
    opened = MovieSource(copy)
    request = SegmentRequest(SourceRef.of(copy), "fast", 0, 9, facts=opened.list_facts())
    sent = parse_line(to_line(request), (SegmentRequest,))
    with open_requested(sent.source, facts=sent.facts) as again:
        assert vars(again) == vars(opened)
        pairs = list(zip(again.read_frames(90, 110), opened.read_frames(90, 110), strict=True))
        assert len(pairs) == 20 and all(np.array_equal(one[1], other[1]) for one, other in pairs)
    timed = MovieSource(copy, (Fraction(30), 50))
    assert vars(MovieSource(copy, facts=timed.list_facts())) == vars(timed) and timed.info.frame_count == 50
    untimed = MovieSource(copy)
    untimed._first_time = -(1 << 63)
    assert untimed.list_facts() is None
    copy.write_bytes(film.read_bytes()[:-1] + b"!")
    with pytest.raises(FaceBlurError, match=r"film\.mp4 has changed since it was opened"):
        open_requested(sent.source, facts=sent.facts)


def test_a_process_loads_only_what_its_job_needs() -> None:
    """Each process of an analysis waits for that."""
    code = "import sys; from blender_faceblur.worker import work; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "blender_faceblur.worker.work" in loaded
    heavy = {"blender_faceblur.worker.verify", "importlib.metadata", "cv2", "av", "onnxruntime"}
    assert not heavy & loaded


def need_models() -> None:
    try:
        get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("processes", [1, 2])
def test_every_frame_of_a_film_is_analysed(film: Path, tmp_path: Path, processes: int) -> None:
    need_models()
    messages = list(
        run_job(build_request(film, tmp_path / "tracks.json", AnalysisOptions("fast", processes=processes)))
    )
    assert isinstance(messages[0], Started) and messages[0].frames == 200
    assert isinstance(messages[-1], Result), messages[-1]
    assert any(isinstance(m, Progress) and m.done == m.total == 200 for m in messages)
    assert sum(isinstance(m, Running) for m in messages) == 1
    document = read_document(tmp_path / "tracks.json")
    (track,) = document.tracks
    assert track.list_spans() == [(0, 200)]
    for sample in track.samples[::10]:
        assert abs(sample.ellipse.cx - (222 - 60 - sample.source_frame / 4)) < 12
        # The face is the lower part of its box.
        assert abs(sample.ellipse.cy - (118 - 20 + 6)) < 10


def write_oriented(path: Path, upright: NDArray[np.uint8], orientation: int) -> None:
    """A JPEG whose EXIF tag says how to rotate its pixels to get `upright` (RGB)."""
    import cv2

    turns = {3: 2, 6: 1, 8: 3}
    stored = np.ascontiguousarray(np.rot90(upright, turns[orientation])[..., ::-1])
    good, data = cv2.imencode(".jpg", stored)
    assert good
    tiff = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    jpeg = data.tobytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:])


@pytest.mark.parametrize(
    ("orientation", "place", "lies"),
    [(3, (512 - 222, 480 - 118), False), (6, (118, 512 - 222), True), (8, (480 - 118, 222), True)],
)
def test_a_picture_with_an_orientation_tag_is_analysed_upright(
    tmp_path: Path, orientation: int, place: tuple[float, float], lies: bool
) -> None:
    need_models()
    import cv2
    from skimage import data

    picture = data.astronaut()[:480]
    write_oriented(tmp_path / "astronaut.jpg", picture, orientation)
    # A viewer that obeys the tag shows the upright picture.
    obeyed = np.asarray(cv2.imread(str(tmp_path / "astronaut.jpg")))[..., ::-1]
    assert obeyed.shape == picture.shape and np.abs(obeyed.astype(int) - picture).mean() < 5
    *_, last = run_job(build_request(tmp_path / "astronaut.jpg", tmp_path / "tracks.json"))
    assert isinstance(last, Result), last
    sample = read_document(tmp_path / "tracks.json").tracks[0].samples[0]
    assert abs(sample.ellipse.cx - place[0]) < 12 and abs(sample.ellipse.cy - place[1]) < 12
    # The face is higher than wide, and lies on its side in the stored pixels.
    assert sample.ellipse.ry > 1.1 * sample.ellipse.rx
    assert (abs(np.sin(sample.ellipse.angle)) > 0.9) == lies
    assert sample.confidence > 0.7


def test_a_file_that_is_not_a_film_is_one_clear_error(tmp_path: Path) -> None:
    need_models()
    (tmp_path / "text.mp4").write_text("not a film at all")
    for name in ("absent.mp4", "text.mp4"):
        *_, last = run_job(build_request(tmp_path / name, tmp_path / "tracks.json"))
        assert isinstance(last, ErrorMessage) and name in last.text and "\n" not in last.text
    assert not (tmp_path / "tracks.json").exists()


def test_a_killed_segment_fails_the_job(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_models()
    started: list[WorkerProcess] = []

    class Dying(WorkerProcess):
        def __init__(self, line: str) -> None:
            super().__init__(line)
            started.append(self)
            self._process.kill()

    monkeypatch.setattr(process, "WorkerProcess", Dying)
    request = build_request(film, tmp_path / "tracks.json", AnalysisOptions("fast", processes=2))
    with pytest.raises(FaceBlurError, match=r"process 2 crashed|process 2 has stopped"):
        work._lead(request, lambda message: None, ensemble.Networks())
    assert not (tmp_path / "tracks.json").exists()
    assert len(started) == 1 and started[0]._process.poll() is not None


def analyse_prepared(
    film: Path, tracks: Path, monkeypatch: pytest.MonkeyPatch, *, expected_frames: int, dies: bool = False
) -> list[int]:
    """Analyse a film in this process and another one; returns how many further requests each that was started took."""
    started: list[Counted] = []

    class Counted(WorkerProcess):
        def __init__(self, line: str) -> None:
            super().__init__(line)
            started.append(self)
            self.asked = 0
            if dies and len(started) == 1:
                self._process.kill()
                self._process.wait()

        def ask(self, request_line: str) -> bool:
            took = super().ask(request_line)
            self.asked += took
            return took

    monkeypatch.setattr(process, "WorkerProcess", Counted)
    options = AnalysisOptions("fast", processes=2, expected_frames=expected_frames)
    work._lead(build_request(film, tracks, options), lambda message: None, ensemble.Networks())
    assert all(one._process.poll() is not None for one in started)
    return [one.asked for one in started]


def test_a_process_that_prepared_itself_gets_a_part(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_models()
    assert analyse_prepared(film, tmp_path / "plain.json", monkeypatch, expected_frames=0) == [0]
    assert analyse_prepared(film, tmp_path / "prepared.json", monkeypatch, expected_frames=200) == [1]
    # One that has ended gets no part.
    assert analyse_prepared(film, tmp_path / "again.json", monkeypatch, expected_frames=200, dies=True) == [0, 0]
    first = (tmp_path / "plain.json").read_bytes()
    assert (tmp_path / "prepared.json").read_bytes() == first and (tmp_path / "again.json").read_bytes() == first


def test_a_film_that_the_caller_has_opened_is_not_examined_again(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_models()
    copy = tmp_path / "film.mp4"
    copy.write_bytes(film.read_bytes())
    options = AnalysisOptions("fast", processes=1, span=(0, 9), facts=MovieSource(copy).list_facts())
    request = build_request(copy, tmp_path / "tracks.json", options)
    monkeypatch.setattr(MovieSource, "_survey", lambda *_: pytest.fail("It was examined."))
    work._lead(request, lambda message: None, ensemble.Networks())
    assert read_document(tmp_path / "tracks.json").source.frame_count == 200
    copy.write_bytes(film.read_bytes()[:-1] + b"!")
    with pytest.raises(FaceBlurError, match=r"film\.mp4 has changed since it was opened"):
        work._lead(request, lambda message: None, ensemble.Networks())


def test_a_process_that_prepared_itself_in_vain_ends() -> None:
    with process.PreparedProcesses(2) as prepared:
        processes = list(prepared._idle)
        assert len(processes) == 2
    assert all(one._process.poll() is not None for one in processes)


def test_a_process_takes_its_job_before_it_is_prepared(film: Path) -> None:
    """Both requests may arrive at once."""
    with process.PreparedProcesses(1) as prepared:
        one = prepared.start(to_line(ProbeRequest()))
        line = one.lines.get(timeout=120)
        assert line is not None and isinstance(parse_line(line, (Providers,)), Providers)
        assert one.lines.get(timeout=60) is None
        one.kill()


def write_glide(folder: Path, count: int) -> list[str]:
    """Write the film's pictures as separate files."""
    import cv2
    from skimage import data

    folder.mkdir(parents=True)
    names = [f"Bild ü {number}.jpg" for number in range(count)]
    for i, name in enumerate(names):
        part = np.ascontiguousarray(data.astronaut()[20:276, 60 + i // 4 : 316 + i // 4, ::-1])
        (folder / name).write_bytes(cv2.imencode(".jpg", part)[1].tobytes())
    return names


def test_every_picture_of_a_sequence_is_analysed(tmp_path: Path) -> None:
    need_models()
    names = write_glide(tmp_path / "pictures", 200)
    request = build_request(
        SourceRef.of(tmp_path / "pictures", names, Fraction(24)),
        tmp_path / "tracks.json",
        AnalysisOptions("fast", processes=2, provider="cpu"),
    )
    messages = list(run_job(request))
    assert isinstance(messages[-1], Result), messages[-1]
    assert [m for m in messages if isinstance(m, Running)] == [Running("CPU")]
    document = read_document(tmp_path / "tracks.json")
    source = document.source
    assert (source.kind, source.frame_count, source.frame_rate, source.file_name) == (
        "sequence",
        200,
        Fraction(24),
        names[0],
    )
    (track,) = document.tracks
    assert track.list_spans() == [(0, 200)]
    for sample in track.samples[::10]:
        assert abs(sample.ellipse.cx - (222 - 60 - sample.source_frame / 4)) < 12
        # The face is the lower part of its box.
        assert abs(sample.ellipse.cy - (118 - 20 + 6)) < 10


def test_a_gap_in_a_sequence_is_one_clear_error(tmp_path: Path) -> None:
    need_models()
    names = write_glide(tmp_path / "pictures", 60)
    (tmp_path / "pictures" / names[40]).write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    request = build_request(
        SourceRef.of(tmp_path / "pictures", names), tmp_path / "tracks.json", AnalysisOptions("fast")
    )
    *_, last = run_job(request)
    assert isinstance(last, ErrorMessage) and names[40] in last.text and not (tmp_path / "tracks.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"provider": "quantum"}, "quantum"),
        ({"frame_rate": [24]}, "frame rate"),
        ({"frame_rate": [24, 0]}, "frame rate"),
        ({"files": ["../a.png", "b.png"]}, "name of a picture"),
    ],
)
def test_an_invalid_request_is_rejected(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    need_models()
    source, rest = {key: change[key] for key in change if key != "provider"}, change.get("provider", "auto")
    request = AnalysisRequest(
        SourceRef(str(tmp_path), **source),
        str(tmp_path / "out.json"),
        "fast",
        1.4,
        provider=rest,
        sys_path=sys.path[1:],
    )
    *_, last = run_job(request)
    assert isinstance(last, ErrorMessage) and words in last.text


def test_twenty_thousand_names_arrive(tmp_path: Path) -> None:
    """The caller does not wait, even if the child begins to read late."""
    names = [f"{number:06} {'ü' * 100}.png" for number in range(20_000)]
    script = tmp_path / "fake.py"
    script.write_text(
        "import sys, time, json\ntime.sleep(1)\nfiles = json.loads(sys.stdin.buffer.readline())['source']['files']\n"
        "print(json.dumps({'type': 'error', 'text': f\"{len(files)} {files[-1]}\"}))\n"
    )
    request = AnalysisRequest(SourceRef("in", names), str(tmp_path / "out.json"), "fast", 1.4)
    began = time.monotonic()
    job = run_job(request, 0.05, script=script)
    assert isinstance(next(job), Waiting) and time.monotonic() - began < 0.8
    *_, last = job
    assert last == ErrorMessage(f"20000 {names[-1]}")
    need_models()
    (tmp_path / "pictures").mkdir()
    *_, last = run_job(
        AnalysisRequest(SourceRef(str(tmp_path / "pictures"), names), str(tmp_path / "out.json"), "fast", 1.4)
    )
    assert isinstance(last, ErrorMessage) and names[0] in last.text


def test_a_child_that_never_reads_can_be_ended(tmp_path: Path) -> None:
    script = tmp_path / "fake.py"
    script.write_text("import time\ntime.sleep(60)\n")
    request = AnalysisRequest(SourceRef("in", ["x" * 200] * 20_000), str(tmp_path / "out.json"), "fast", 1.4)
    began = time.monotonic()
    *_, last = run_job(request, script=script, start_timeout_s=0.5)
    assert isinstance(last, ErrorMessage) and time.monotonic() - began < 5


def test_a_separate_process_lists_the_providers() -> None:
    names = probe_providers()
    assert "CPUExecutionProvider" in names
    assert describe_provider(names, "cpu") == "CPU"


def test_the_provider_that_would_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    names = ["DmlExecutionProvider", "CPUExecutionProvider"]
    assert (describe_provider(names), describe_provider(names, "cpu")) == ("DirectML", "CPU")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('no onnxruntime here')", "no onnxruntime here"),
        ("print('hello')", "no valid answer"),
        ("time.sleep(60)", "has not answered"),
        ('print(\'{"type":"error","text":"it broke"}\')', "it broke"),
    ],
)
def test_a_failing_probe_is_one_clear_error(tmp_path: Path, body: str, words: str) -> None:
    script = tmp_path / "fake.py"
    script.write_text("import sys, time\nsys.stdin.buffer.readline()\n" + body)
    with pytest.raises(FaceBlurError, match=words):
        probe_providers(1.0, script=script)


RUN_ELSEWHERE = """
import importlib, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
client = importlib.import_module("ext.user_default.faceblur.worker.client")
source, output = Path(sys.argv[2]), Path(sys.argv[3])
*_, last = client.run_job(client.build_request(source, output, client.AnalysisOptions("fast", processes=1)))
print(type(last).__name__, getattr(last, "text", ""))
print(client.probe_providers())
"""


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_bytecode_is_kept_in_the_folder_of_an_installed_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_user_folder(tmp_path)
    try:
        probe_providers()
        names = {path.name.partition(".")[0] for path in (tmp_path / "bytecode").rglob("*.pyc")}
        assert {"work", "protocol"} <= names
    finally:
        set_user_folder(None)
    # A process that was started like that starts others in the same way.
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "bytecode"))
    assert process._choose_bytecode() == ["-X", f"pycache_prefix={tmp_path / 'bytecode'}"]
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert process._choose_bytecode() == ["-B"]


def test_it_works_installed_under_another_name(film: Path, tmp_path: Path) -> None:
    """As in a user's extensions folder: another package name, and another package with the original name."""
    need_models()
    user = tmp_path / "extensions of 'Zoë'"
    installed = user / "ext" / "user_default" / "faceblur"
    package = Path(child.__file__).parents[1]
    shutil.copytree(package, installed, ignore=shutil.ignore_patterns("__pycache__"))
    (installed / "models").mkdir()
    for path in (get_models_folder() / "models.toml", get_model_path("centerface"), get_model_path("yunet_2023mar")):
        shutil.copy(path, installed / "models")
    for name in ("faceblur", "blender_faceblur"):
        (user / name).mkdir()
        (user / name / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    before = list_files(user)
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    done = subprocess.run(
        [sys.executable, "-B", "-c", RUN_ELSEWHERE, str(user), str(film), str(outputs / "tracks.json")],
        capture_output=True,
        text=True,
        cwd=outputs,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[:1] == ["Result "], done.stdout + done.stderr
    assert "CPUExecutionProvider" in done.stdout
    assert list_files(user) == before and list_files(outputs) == ["tracks.json"]
    assert read_document(outputs / "tracks.json").source.frame_count == 200
