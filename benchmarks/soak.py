# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether long work stays flat in memory and time: build.py bench soak.

An hour of film, ten thousand small pictures in one batch, and a project of two thousand strips. Options make them
smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from tools.film import draw_frame, make_film

from .hostile import ROOT

WARM_UP = 0.2
"""The share of a process's life after which its memory has to stay flat."""

MOST_GROWTH = 0.05

LEAST_SAMPLES = 20
"""Processes with fewer samples are too short to say anything about growth."""

PARTS = ("film", "pictures", "project")
RATE = Fraction(25)
LOOP_S = Fraction(96, 5)
"""A whole number of pictures and of packets of sound."""

DRAWN = 50
STRIPS_OF_ONE_FILM = 100
ROWS = 8
"""How many strips of the project lie above each other."""


@dataclass(slots=True)
class Life:
    """One process in one stage, at equal intervals: bytes that it alone holds (RssAnon), and its open files."""

    number: int
    name: str
    used: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    @property
    def warm(self) -> int:
        """The median of the tenth of its life that follows the warm-up."""
        return self._median(WARM_UP, WARM_UP + 0.1)

    @property
    def end(self) -> int:
        return self._median(0.9, 1.0)

    @property
    def growth(self) -> float:
        """How much larger it is at its end than after its warm-up, as a share."""
        return self.end / max(self.warm, 1) - 1

    @property
    def more_files(self) -> int:
        """How many more files are open at its end than after its warm-up: the usual number in each. A picture that is
        just read makes it higher for a moment, and between two pictures the lock of the unfinished work is missing."""
        first, last = self._cut(self.files, WARM_UP, WARM_UP + 0.1), self._cut(self.files, 0.9, 1.0)
        return statistics.median_low(last) - statistics.median_low(first)

    def _median(self, start: float, stop: float) -> int:
        return round(statistics.median(self._cut(self.used, start, stop)))

    @staticmethod
    def _cut(values: list[int], start: float, stop: float) -> list[int]:
        count = len(values)
        return values[int(count * start) : max(int(count * stop), int(count * start) + 1)]


class MemoryRecorder:
    """Records the memory of a process and its descendants with a thread; Linux.

    `lives` holds each by its id and by the `stage` that is going on, since the command holds the tracks from one stage
    on.
    """

    def __init__(self, root: int, every_s: float = 0.5) -> None:
        self.lives: dict[tuple[int, str], Life] = {}
        self.stage = ""
        self._root, self._every_s = root, every_s
        self._numbers: dict[int, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryRecorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def list_long(self) -> list[Life]:
        """The processes that lived long enough to compare their end with their warm-up, after the first stage had
        begun."""
        return [life for (_, stage), life in self.lives.items() if len(life.used) >= LEAST_SAMPLES and stage]

    def _watch(self) -> None:
        while not self._end.wait(self._every_s):
            for depth, process in list_tree(self._root):
                used = read_own_memory(process)
                if used:
                    name = ("the command", "leads or paints", "analyses")[min(depth, 2)]
                    number = self._numbers.setdefault(process, len(self._numbers) + 1)
                    key = process, self.stage
                    if key not in self.lives:
                        self.lives[key] = Life(number, name + (f", {self.stage}" if self.stage else ""))
                    self.lives[key].used.append(used)
                    self.lives[key].files.append(count_open_files(process))


def list_tree(root: int) -> list[tuple[int, int]]:
    """A process and its descendants, each after its depth below the first."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [(0, root)]
    for depth, parent in found:
        found += [(depth + 1, child) for child, its in parents.items() if its == parent]
    return found


def read_own_memory(process: int) -> int:
    """The bytes that a process shares with no file or other process; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def count_open_files(process: int) -> int:
    """How many files, pipes and sockets a process has open; 0 if it has ended."""
    with suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return 0


@dataclass(slots=True)
class RunResult:
    """What a run of the command printed and how it ended."""

    code: int
    messages: list[tuple[float, dict[str, Any]]]
    """Each message after the seconds since the start."""
    errors: str
    left: list[str]
    """Files left in its folder for temporary and stored files."""
    lives: list[Life]


def run_command(arguments: list[str | Path], place: Path, by_stage: bool) -> RunResult:
    """Run the real command and record the memory of its processes: with `by_stage`, for one input, in each stage of
    it, and otherwise after the first input."""
    temporary = place / "temporary"
    temporary.mkdir()
    names = ("TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(names, str(temporary))}
    command = [sys.executable, "-P", "-m", "blender_faceblur.batch.cli", *map(str, arguments), "--json"]
    messages: list[tuple[float, dict[str, Any]]] = []
    began = time.monotonic()
    with (
        (place / "errors").open("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=variables, text=True) as process,
        MemoryRecorder(process.pid) as recorder,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if by_stage:
                recorder.stage = message.get("stage", recorder.stage)
                if recorder.stage == "render" and message.get("done") == message.get("total"):
                    # The command itself puts the pieces together, with libraries that it has not used before.
                    recorder.stage = "join"
            elif message["type"] == "finish":
                recorder.stage = "after the first input"
            if message["type"] == "finish" or not messages or messages[-1][1].get("stage") != message.get("stage"):
                messages.append((time.monotonic() - began, message))
        process.wait()
        errors.seek(0)
        text = errors.read()
    left = [str(path.relative_to(temporary)) for path in temporary.rglob("*") if path.is_file()]
    return RunResult(process.returncode, messages, text, left, recorder.list_long())


def make_long_film(path: Path, minutes: float) -> None:
    """A small film in which a face enters and leaves every 19 seconds: the packets of one loop, repeated."""
    import av

    loop = path.with_name("loop.mp4")
    make_film(loop, width=320, height=180, frame_rate=RATE, seconds=float(LOOP_S), scene="passing")
    with av.open(str(path), "w") as target:
        streams: list[Any] = []
        for number in range(max(round(minutes * 60 / LOOP_S), 1)):
            with av.open(str(loop)) as source:
                kept = [source.streams.video[0], source.streams.audio[0]]
                streams = streams or [target.add_stream_from_template(stream) for stream in kept]
                for packet in source.demux(kept):
                    # The first packet of sound only primes the decoder.
                    if (
                        packet.pts is None
                        or packet.dts is None
                        or (number and packet.stream.type == "audio" and packet.pts < 0)
                    ):
                        continue
                    shift = round(number * LOOP_S / Fraction(packet.time_base))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[kept.index(packet.stream)]
                    target.mux(packet)


def soak_film(minutes: float, folder: Path) -> list[str]:
    """Cover a long film. Returns what is wrong."""
    film, output = folder / "film.mp4", folder / "out.mp4"
    make_long_film(film, minutes)
    done = run_command([film, "-o", output, "--preset", "fast"], folder, by_stage=True)
    stages = [
        (seconds, str(message["stage"]))
        for seconds, message in done.messages
        if message["type"] == "progress" and "stage" in message
    ]
    end = done.messages[-1][0] if done.messages else 0.0
    for (begin, stage), (stop, _) in zip(stages, [*stages[1:], (end, "")], strict=True):
        print(f"  {stage}: {stop - begin:.0f} s")
    print_lives(done.lives)
    problems = check_run(done, 1)
    return problems + check_lives(done.lives)


def soak_pictures(number: int, folder: Path) -> list[str]:
    """Cover many pictures of 50 sizes in one batch. Returns what is wrong."""
    inputs, output = folder / "in", folder / "out"
    inputs.mkdir()
    drawn = [
        cv2.imencode(".jpg", draw_frame(at / DRAWN, 160 + 2 * at, 120 + 40 * (at % 3), "steady")[0])[1].tobytes()
        for at in range(DRAWN)
    ]
    for at in range(number):
        (inputs / f"{at:06}.jpg").write_bytes(drawn[at % DRAWN])
    done = run_command([inputs, "-o", output, "--preset", "fast"], folder, by_stage=False)
    ends = [seconds for seconds, message in done.messages if message["type"] == "finish"]
    tenth = max(len(ends) // 10, 1)
    for at in range(tenth, len(ends) + 1, tenth):
        began = ends[at - tenth - 1] if at > tenth else 0.0
        print(f"  up to picture {at}: {(ends[at - 1] - began) / tenth:.2f} s each")
    print_lives(done.lives)
    for life in done.lives:
        if life.number == 1:
            kept = (life.end - life.warm) / (number * (1 - WARM_UP))
            print(f"  the command: {kept:.0f} bytes more with each picture")
    problems = check_run(done, number)
    outputs = sum(path.is_file() for path in output.rglob("*"))
    if outputs != number:
        problems.append(f"{outputs} outputs instead of {number}")
    return problems + check_lives(done.lives)


def print_lives(lives: list[Life]) -> None:
    for life in lives:
        print(
            f"  process {life.number} ({life.name}): {life.warm / 1e6:.1f} MB after its warm-up, {life.end / 1e6:.1f} "
            f"MB at its end ({life.growth:+.1%}), {life.more_files:+} open files"
        )


def check_lives(lives: list[Life]) -> list[str]:
    """The processes that grow."""
    return [
        f"process {life.number} ({life.name}) grows by {life.growth:.1%} and {life.more_files} open files"
        for life in lives
        if life.more_files > 0 or life.growth > MOST_GROWTH
    ]


def check_run(done: RunResult, number: int) -> list[str]:
    """What is wrong with a run that must have finished this many inputs."""
    problems = [f"left behind: {name}" for name in done.left]
    statuses = [message["status"] for _, message in done.messages if message["type"] == "finish"]
    if done.code != 0 or statuses != ["done"] * number:
        problems.append(f"exit code {done.code}, {statuses.count('done')} of {number} done")
    if done.errors.strip():
        problems.append(f"on the error output: {done.errors.strip().splitlines()[-1]}")
    return problems


def soak_project(number: int, folder: Path) -> list[str]:
    """Work on a project with many covered strips. Prints the processor time of each step; returns what is wrong."""
    import bpy

    import blender_faceblur
    from blender_faceblur.blender.common.marks import MARK
    from blender_faceblur.blender.guard.checks import check_animation

    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_faceblur.register()
    try:
        problems = build_long_project(number, folder) + work_on_project(bpy.context.scene)
        path = folder / "project.blend"
        with measure_step("save"):
            bpy.ops.wm.save_as_mainfile(filepath=str(path))
        with measure_step("open"):
            bpy.ops.wm.open_mainfile(filepath=str(path))
        scene = bpy.context.scene
        with measure_step("Check after opening"):
            faults = check_animation(scene)
        problems += [f"after opening, {fault.strip}: {fault.text}" for fault in faults]
        covered = sum(len(strip.modifiers) for strip in scene.sequence_editor.strips_all if strip.type == "MOVIE")
        if covered != number:
            problems.append(f"{covered} of {number} strips have a cover")
        for strip in scene.sequence_editor.strips_all:
            strip.select = strip.type == "MOVIE"
        with measure_step("Remove from all strips"):
            bpy.ops.faceblur.remove()
        left = [strip.name for strip in scene.sequence_editor.strips_all if strip.type == "MASK"]
        if left or any(tree.get(MARK) == "strip" for tree in bpy.data.node_groups):
            problems.append(f"Remove leaves {len(left)} Mask strips or their node groups")
    finally:
        blender_faceblur.unregister()
        bpy.ops.wm.read_factory_settings(use_empty=True)
    return problems


def build_long_project(number: int, folder: Path) -> list[str]:
    """Make a project of many strips in the open file, and cover them."""
    import bpy

    from blender_faceblur.blender.common.footage import get_footage
    from blender_faceblur.blender.cover.covering import apply_analysis
    from blender_faceblur.core.cover.effects import EffectSettings
    from tests.blender import disks

    scene = bpy.context.scene
    scene.sequence_editor_create()
    bpy.context.workspace.sequencer_scene = scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.frame_end = 1 + (number // ROWS + 1) * disks.FRAMES
    names: dict[Path, list[str]] = {}
    project = folder / "strips.blend"
    with measure_step("add the strips"):
        for at in range(number):
            film = folder / f"film {at // STRIPS_OF_ONE_FILM}.mp4"
            if film not in names:
                disks.write_film(film)
            begin = 1 + (at // ROWS) * disks.FRAMES
            channel = 1 + 2 * (at % ROWS)
            strip = scene.sequence_editor.strips.new_movie(f"Strip {at}", str(film), channel, begin)
            names.setdefault(film, []).append(strip.name)
            if (at + 1) % STRIPS_OF_ONE_FILM == 0 or at + 1 == number:
                # Blender opens each film that is added, with 3 threads and 5 MB, and keeps it open. Films of a project
                # that was opened are open only while they are shown.
                bpy.ops.wm.save_as_mainfile(filepath=str(project))
                bpy.ops.wm.open_mainfile(filepath=str(project))
                scene = bpy.context.scene
    problems = []
    effect = EffectSettings("solid", disks.COVER)
    with measure_step(COVER_STEP):
        for film, covered in names.items():
            footage = get_footage(scene.sequence_editor.strips_all[covered[0]])
            problems += apply_analysis(scene, covered, footage, disks.build_document(film), effect)
    return problems


def work_on_project(scene: Any) -> list[str]:
    """Do what an editor and a render do with a project."""
    import bpy

    from blender_faceblur.blender.cover.strips import sync_mask_strips
    from blender_faceblur.blender.guard.blackout import black_out, restore
    from blender_faceblur.blender.guard.checks import check_animation

    with measure_step("Check"):
        faults = check_animation(scene)
    problems = [f"{fault.strip}: {fault.text}" for fault in faults]
    with measure_step("the guard before a render"):
        black_out(scene)
        restore()
    with measure_step("after each edit"):
        sync_mask_strips(scene, with_speed=False)
    first = scene.sequence_editor.strips_all["Strip 0"]
    with measure_step("move one strip"):
        first.frame_start += 1
        bpy.context.view_layer.update()
    first.frame_start -= 1
    bpy.context.view_layer.update()
    with measure_step("change the frame"):
        for frame in range(2, 12):
            scene.frame_set(frame)
    scene.frame_set(1)
    for strip in scene.sequence_editor.strips_all:
        strip.select = strip.type == "MOVIE"
    with measure_step("Update of all strips"):
        if bpy.ops.faceblur.apply() != {"FINISHED"}:
            problems.append("Update was cancelled")
    return problems


def soak_projects(numbers: list[int], folder: Path) -> list[str]:
    """Work on projects of these sizes, smallest first. Also wrong is a step of ours that takes more than twice as long
    for each strip in the largest as in the smallest."""
    problems: list[str] = []
    measured: dict[int, dict[str, float]] = {}
    for number in sorted(numbers):
        print(f" {number} strips", flush=True)
        place = folder / str(number)
        place.mkdir()
        problems += soak_project(number, place)
        measured[number] = dict(STEPS)
    least, most = min(numbers), max(numbers)
    for step in OWN_STEPS if most > least else ():
        small, large = (measured[number][step] / number for number in (least, most))
        print(f"  {step}: {1000 * small:.2f} ms a strip with {least} strips, {1000 * large:.2f} ms with {most}")
        if large > MOST_SLOWER * small:
            problems.append(f"{step}: {large / small:.1f} times as long a strip with {most} strips as with {least}")
    return problems


STEPS: dict[str, float] = {}
"""The seconds of processor time of each step of the last `soak_project`."""


COVER_STEP = "cover them, as Detect Faces does after its analysis"

OWN_STEPS = (COVER_STEP, "Check", "the guard before a render", "Update of all strips", "Remove from all strips")
"""The steps that must take a time in proportion to the number of strips."""

MOST_SLOWER = 2.0


@contextmanager
def measure_step(name: str) -> Iterator[None]:
    began = time.process_time()
    yield
    STEPS[name] = time.process_time() - began
    print(f"  {name}: {STEPS[name]:.3f} s, {read_own_memory(os.getpid()) / 1e6:.0f} MB", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build.py bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="length of the film (default 60)")
    parser.add_argument("--pictures", type=int, default=10_000, help="number of pictures (default 10000)")
    parser.add_argument(
        "--strips", type=int, nargs="+", default=[2000], help="number of strips of each project (default 2000)"
    )
    parser.add_argument("--only", choices=PARTS, help="one part only")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[Path], list[str]]] = {
        "film": lambda folder: soak_film(options.minutes, folder),
        "pictures": lambda folder: soak_pictures(options.pictures, folder),
        "project": lambda folder: soak_projects(options.strips, folder),
    }
    titles = {
        "film": f"A film of {options.minutes:g} minutes",
        "pictures": f"{options.pictures} pictures in one batch",
        "project": f"Projects of {', '.join(map(str, sorted(options.strips)))} strips",
    }
    wrong = 0
    for part, work in parts.items():
        if options.only not in (None, part):
            continue
        print(titles[part], flush=True)
        with tempfile.TemporaryDirectory(prefix="soak") as folder:
            for problem in work(Path(folder)):
                wrong += 1
                print(f"  WRONG: {problem}", flush=True)
    print(f"{wrong} faults, {os.cpu_count()} cores, {sys.platform}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
