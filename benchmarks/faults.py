# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens when something breaks while the command runs: build.py bench hostile --faults.

Each case lets one thing go wrong in one stage of a run: the source changes, the output's folder or the disk's space is
gone, a process is killed or stopped, or another run does the same. An independent reader then checks what is left, and
what a second run with --resume makes of it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.batch.stages import get_unfinished_path
from tools.film import make_film

from .hostile import ROOT, read_pictures, read_sound
from .portraits import open_yunet
from .soak import list_tree

SECONDS = 12
RATE = Fraction(25)
PATIENCE_S = 600.0
POLL_S = 0.002
STOPPED_S = 2.0
SMALL_BYTES = 2048
"""The size of the largest file that may be written after the disk is full."""

DISK_SIZES = ("64k", "256k", "640k", "1m", "2m")
SURE = 0.85
CLOSE = 3.0
"""The mean difference of grey levels up to which two results have the same pictures. Pieces may begin elsewhere."""

LATE = "the fault came too late"
ATTEMPTS = 5
"""How often a fault is tried that comes too late, because the stage is short."""

DETECT, PAINT, JOIN = "detect", "render", "join"
STAGES = (DETECT, PAINT, JOIN)
EARLIER = b"an earlier result"


@dataclass(slots=True)
class Place:
    """The folders of one case. `film` is the source, `other` another film of the same size."""

    folder: Path
    film: Path
    other: Path
    output: Path
    temporary: Path

    @classmethod
    def prepare(cls, folder: Path, film: Path, other: Path) -> Place:
        place = cls(folder, folder / "film.mp4", other, folder / "out" / "result.mp4", folder / "temporary")
        place.output.parent.mkdir(parents=True)
        place.temporary.mkdir()
        shutil.copy(film, place.film)
        return place


@dataclass(slots=True)
class Ended:
    """How a run of the command ended."""

    code: int
    outcomes: list[dict[str, Any]]
    errors: str
    acted: bool = False
    """Whether the fault happened before the end."""


@dataclass(frozen=True, slots=True)
class Case:
    """`act` gets the running command's process id and the place. `codes` are the exit codes that are right."""

    name: str
    stage: str
    act: Callable[[int, Place], None]
    codes: tuple[int, ...] = (1,)
    restore: Callable[[Place, Path], None] = field(default=lambda place, film: None)
    """What an editor would do before the second run; gets the place and the intact film."""
    keeps_earlier: bool = True
    """Whether an earlier result must still be there after the fault."""
    leaves: bool = False
    """Whether the command could not clean up, and the second run has to."""


def build_command(place: Place, *options: str) -> list[str]:
    command = [sys.executable, "-P", "-m", "blender_faceblur.batch.cli", str(place.film), "-o", str(place.output)]
    return [*command, "--preset", "fast", "--json", *options]


def start(place: Place, *options: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    names = ("TMPDIR", "TEMP", "TMP")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(names, str(place.temporary))}
    return subprocess.Popen(
        [*before, *build_command(place, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables,
        text=True,
        encoding="utf-8",
    )


def follow(process: subprocess.Popen[str], place: Place, case: Case | None = None) -> Ended:
    """Read a run's messages to its end, and let the case's fault happen when its stage has begun."""
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    assert process.stdout is not None and process.stderr is not None
    out, wrong = process.stdout, process.stderr

    def read() -> None:
        for line in out:
            lines.put(line)
        lines.put(None)

    readers = [threading.Thread(target=read, daemon=True), threading.Thread(target=lambda: errors.append(wrong.read()))]
    for reader in readers:
        reader.start()
    ended, end, stage = Ended(0, [], ""), time.monotonic() + PATIENCE_S, ""
    while (line := take_line(lines)) is not None:
        if time.monotonic() > end:
            process.kill()
            raise TimeoutError(f"the command took longer than {PATIENCE_S:.0f} s")
        message: dict[str, Any] = json.loads(line) if line else {"type": ""}
        if message["type"] == "finish":
            ended.outcomes.append(message)
        elif message["type"] == "progress" and message["done"] > 0:
            stage = message["stage"]
        if case is not None and not ended.acted and case.stage in (stage, JOIN if is_joining(place) else stage):
            ended.acted = True
            case.act(process.pid, place)
    process.wait()
    for reader in readers:
        reader.join()
    out.close()
    wrong.close()
    ended.code, ended.errors = process.returncode, "".join(errors)
    return ended


def take_line(lines: queue.Queue[str | None]) -> str | None:
    """The next line; empty if there is none yet, and None after the last."""
    try:
        return lines.get(timeout=POLL_S)
    except queue.Empty:
        return ""


def is_joining(place: Place) -> bool:
    with suppress(OSError):
        return any(place.output.parent.glob(".faceblur-*/result*"))
    return False


def list_processes(root: int) -> list[int]:
    """The processes of a run, from the command to those that it started."""
    return [process for _, process in list_tree(root)]


def replace_source(_: int, place: Place) -> None:
    copy = place.folder / "copy.mp4"
    shutil.copy(place.other, copy)
    copy.replace(place.film)


def truncate_source(_: int, place: Place) -> None:
    os.truncate(place.film, place.film.stat().st_size // 2)


def grow_source(_: int, place: Place) -> None:
    with place.film.open("ab") as file:
        file.write(bytes(100_000))


def unlink_source(_: int, place: Place) -> None:
    place.film.unlink()


def bring_back_source(place: Place, film: Path) -> None:
    shutil.copy(film, place.film)


def remove_output_folder(_: int, place: Place) -> None:
    # The command may be writing into it.
    while place.output.parent.exists():
        shutil.rmtree(place.output.parent, ignore_errors=True)


def make_output_folder(place: Place, _: Path) -> None:
    place.output.parent.mkdir(exist_ok=True)


def fill_disk(root: int, _: Place) -> None:
    """From now on, no process of the run can write a larger file. (Linux)"""
    import resource

    for process in list_processes(root):
        with suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (SMALL_BYTES, SMALL_BYTES))


def kill_command(root: int, _: Place) -> None:
    os.kill(root, signal.SIGKILL)


def kill_child(root: int, _: Place) -> None:
    os.kill(list_processes(root)[1], signal.SIGKILL)


def kill_grandchild(root: int, _: Place) -> None:
    os.kill(list_processes(root)[-1], signal.SIGKILL)


def stop_for_a_while(root: int, _: Place) -> None:
    """All processes of the run, as when a laptop sleeps."""
    processes = list_processes(root)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    for process in reversed(processes):
        os.kill(process, signal.SIGCONT)


def interrupt_with_stopped_children(root: int, _: Place) -> None:
    for process in list_processes(root)[1:]:
        os.kill(process, signal.SIGSTOP)
    os.kill(root, signal.SIGTERM)


def list_cases() -> list[Case]:
    cases = []
    for stage in STAGES:
        for name, act in (
            ("source replaced", replace_source),
            ("source truncated", truncate_source),
            ("source grown", grow_source),
            ("source unlinked", unlink_source),
        ):
            cases.append(Case(name, stage, act, restore=bring_back_source))
        cases += [
            Case("output folder removed", stage, remove_output_folder, (1,), make_output_folder, keeps_earlier=False),
            Case("disk full", stage, fill_disk),
            Case("command killed", stage, kill_command, (-signal.SIGKILL,), leaves=True),
            Case("all stopped for a while", stage, stop_for_a_while, (0,), keeps_earlier=False),
            Case("interrupted with stopped children", stage, interrupt_with_stopped_children, (130,)),
        ]
    cases += [
        Case("leading process killed", DETECT, kill_child),
        Case("analysis process killed", DETECT, kill_grandchild),
    ]
    return [*cases, Case("painting process killed", PAINT, kill_child)]


@dataclass(slots=True)
class Result:
    """The content of a covered film: its pictures and its packets of sound."""

    pictures: list[NDArray[np.uint8]]
    times: list[Fraction]
    sound: list[list[bytes]]

    @classmethod
    def read(cls, path: Path) -> Result:
        made = read_pictures(path)
        return cls([picture for _, picture in made], [when for when, _ in made], read_sound(path))

    def explain_difference(self, other: Result) -> str:
        """In what another result differs; empty if it is the same."""
        if self.times != other.times:
            return f"it has {len(other.times)} pictures at other times ({len(self.times)})"
        if self.sound != other.sound:
            return "its sound differs"
        for number, (one, two) in enumerate(zip(self.pictures, other.pictures, strict=True)):
            apart = float(np.abs(one.astype(int) - two).mean())
            if apart > CLOSE:
                return f"its picture {number} differs by {apart:.1f}"
        return ""


def check_visible(result: Result) -> list[str]:
    yunet = open_yunet()
    worst = max((face.confidence for picture in result.pictures[::5] for face in yunet.detect(picture)), default=0.0)
    return [f"a face is visible ({worst:.2f})"] if worst >= SURE else []


def list_left(place: Place) -> list[str]:
    """What a run has left: unfinished files beside the output, and files for temporary use."""
    left = [path for path in place.temporary.rglob("*") if not path.name.startswith("faceblur-")]
    if place.output.parent.exists():
        left += [path for path in place.output.parent.iterdir() if path != place.output]
    return [str(path.relative_to(place.folder)) for path in left]


def check_words(ended: Ended) -> list[str]:
    """Whether a run that failed says so in one line, and no run in a traceback."""
    problems = []
    if "Traceback" in ended.errors:
        problems.append(f"a traceback: {ended.errors.strip().splitlines()[-1]}")
    elif len(ended.errors.strip().splitlines()) > 1:
        problems.append(f"several lines on the error output: {ended.errors.strip()!r}")
    reasons = [outcome["reason"] for outcome in ended.outcomes if outcome["status"] == "failed"]
    problems += [f"not one line: {reason!r}" for reason in reasons if not reason or "\n" in reason]
    if ended.code == 1 and [outcome["status"] for outcome in ended.outcomes] != ["failed"]:
        problems.append("no outcome")
    return problems


def run_case(case: Case, place: Place, film: Path, wanted: Result) -> list[str]:
    """Run the command, let the fault happen, and run it again with --resume. Returns what is wrong."""
    place.output.write_bytes(EARLIER)
    ended = follow(start(place, "--overwrite"), place, case)
    problems = check_words(ended)
    if not ended.acted:
        return [*problems, LATE]
    # A fault just before the end may come too late to matter. Then the result must be whole.
    finished = ended.code == 0 and place.output.exists() and place.output.read_bytes() != EARLIER
    if ended.code not in case.codes and not (case.stage == JOIN and finished):
        problems.append(f"the exit code is {ended.code}")
    if finished:
        problems += compare(place, wanted, "the result")
    elif case.keeps_earlier and (not place.output.exists() or place.output.read_bytes() != EARLIER):
        problems.append("the earlier result is lost")
    if not case.leaves:
        problems += [f"left behind: {name}" for name in list_left(place)]
    case.restore(place, film)
    again = follow(start(place, "--overwrite", "--resume"), place)
    problems += [f"resumed: {text}" for text in check_words(again)]
    if again.code != 0:
        reason = [outcome["reason"] for outcome in again.outcomes]
        return [*problems, f"resumed: the exit code is {again.code}: {reason}"]
    problems += compare(place, wanted, "the resumed result")
    problems += [f"left behind after resuming: {name}" for name in list_left(place)]
    if get_unfinished_path(place.film).exists():
        problems.append("the unfinished analysis is left behind")
    return problems


def compare(place: Place, wanted: Result, what: str) -> list[str]:
    if not place.output.exists():
        return [f"{what} is missing"]
    made = Result.read(place.output)
    difference = wanted.explain_difference(made)
    return [f"{what} is not that of an undisturbed run: {difference}"] * bool(difference) + check_visible(made)


def run_two(place: Place, wanted: Result) -> list[str]:
    """Two runs with one output, at the same time: one makes it, and the other fails."""
    processes = [start(place) for _ in range(2)]
    ended: list[Ended] = []
    threads = [threading.Thread(target=lambda one=one: ended.append(follow(one, place))) for one in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = [text for one in ended for text in check_words(one)]
    if sorted(one.code for one in ended) != [0, 1]:
        reasons = [outcome["reason"] for one in ended for outcome in one.outcomes]
        problems.append(f"the exit codes are {sorted(one.code for one in ended)}: {reasons}")
    problems += compare(place, wanted, "the result")
    return problems + [f"left behind: {name}" for name in list_left(place)]


def run_small_disk(size: str, place: Place) -> list[str]:
    """With the output on a disk of that size. (Linux, where mounts are allowed in a namespace of one's own.)"""
    mount = 'mount -t tmpfs -o size="$1" none "$0" || exit 99; d="$0"; shift; "$@"; c=$?; ls -A "$d" >&2; exit $c'
    before = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(place.output.parent), size)
    ended = follow(start(place, before=before), place)
    if ended.code == 99:
        return ["mounts are not allowed here"]
    problems = []
    left = ended.errors.strip().splitlines()
    if ended.code == 0 and left != [place.output.name]:
        problems.append(f"left on the disk: {left}")
    if ended.code == 1 and left:
        problems.append(f"left on the disk: {left}")
    if ended.code not in (0, 1):
        problems.append(f"the exit code is {ended.code}")
    reasons = [outcome["reason"] for outcome in ended.outcomes if outcome["status"] == "failed"]
    problems += [f"the reason does not name the disk: {reason}" for reason in reasons if "full" not in reason]
    return problems + [f"left behind: {name}" for name in list_left(place)]


@dataclass(slots=True)
class Films:
    """The film of all cases, another of the same size, and what an undisturbed run makes of the first."""

    film: Path
    other: Path
    wanted: Result

    @classmethod
    def make(cls, folder: Path, seconds: float = SECONDS) -> Films:
        film, other = folder / "film.mp4", folder / "other.mp4"
        for path, scene in ((film, "passing"), (other, "steady")):
            make_film(path, width=320, height=180, frame_rate=RATE, seconds=seconds, scene=scene)
        place = Place.prepare(folder / "undisturbed", film, other)
        ended = follow(start(place), place)
        if ended.code != 0:
            raise RuntimeError(f"an undisturbed run fails: {ended.outcomes} {ended.errors}")
        return cls(film, other, Result.read(place.output))


def run(cases: list[Case], films: Films, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Run cases, each in a folder of its own. Yields their names and what is wrong."""
    for number, case in enumerate(cases):
        for attempt in range(ATTEMPTS):
            place = Place.prepare(folder / f"case {number}-{attempt}", films.film, films.other)
            problems = run_case(case, place, films.film, films.wanted)
            shutil.rmtree(place.folder)
            if problems != [LATE]:
                break
        yield f"{case.name}, {case.stage}", problems


def run_others(films: Films, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The cases that are no faults of one run."""
    yield "two runs with one output", run_two(Place.prepare(folder / "two", films.film, films.other), films.wanted)
    for size in DISK_SIZES if shutil.which("unshare") else ():
        place = Place.prepare(folder / size, films.film, films.other)
        yield f"a disk of {size}", run_small_disk(size, place)


def main(seed: int, minutes: float) -> int:
    """Run all cases in an order that the seed decides, until the time is over."""
    if sys.platform != "linux":
        print("The faults need Linux.", file=sys.stderr)
        return 2
    wrong = count = 0
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        folder = Path(name)
        films = Films.make(folder)
        cases = list_cases()
        np.random.default_rng(seed).shuffle(cases)  # type: ignore[arg-type]
        for results in (run_others(films, folder), run(cases, films, folder)):
            for case, problems in results:
                count += 1
                wrong += bool(problems)
                print(f"{case}: {'; '.join(problems) or 'right'}", flush=True)
                if time.monotonic() > end:
                    break
    print(f"{count} cases, {wrong} wrong, {os.cpu_count()} cores, {sys.platform}")
    return 1 if wrong else 0
