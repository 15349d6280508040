# SPDX-License-Identifier: GPL-3.0-or-later
"""The speed in comparison with plain decoding, plain rendering and deface: build.py bench speed CLIP.

Everything is measured --rounds times, in turn; the results are the median, the slowest and the fastest round.
With --make-from FOLDER the clip is made first: 1080p, 300 frames, from three clips in that folder.
The analysis is also measured on the clip repeated --repeat times, because a longer film spreads the cost of the start.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from blender_faceblur.batch.cli import EFFECT_NAMES
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.rendering import check_blender, run_blender_job
from blender_faceblur.batch.run import run_batch
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.batch.stages import run_analysis
from blender_faceblur.core.document.tracks_file import read_document, write_document
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, Track
from blender_faceblur.reporting.progress import Outcome, Reporter
from blender_faceblur.sources import open_source
from tools.environment import build_variables, ensure_tool

ROOT = Path(__file__).resolve().parent.parent

CLIP_PARTS = (("juggle.mp4", 0), ("hamilton.mp4", 0), ("dog.mp4", 100))
"""(clip, first frame) of 100 frames each: one face, several with cuts, one small."""


def make_clip(folder: Path, clip: Path) -> None:
    """Write a 1920 x 1080 clip at 25 fps from the clips of a folder, always the same way."""
    import av

    with av.open(str(clip), "w") as container:
        target: Any = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "medium"})
        target.width, target.height, target.pix_fmt = 1920, 1080, "yuv420p"
        index = 0
        for name, first in CLIP_PARTS:
            with open_source(folder / name) as source:
                for _, picture in source.frames(first, first + 100, (1920, 1080)):
                    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                    frame.pts, frame.time_base = index, Fraction(1, 25)
                    container.mux(target.encode(frame))
                    index += 1
        container.mux(target.encode(None))


def repeat_clip(clip: Path, times: int, longer: Path) -> None:
    """Write the clip's encoded pictures `times` times in a row."""
    import av

    with av.open(str(longer), "w") as target:
        stream: Any = None
        begin = 0
        for _ in range(times):
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += begin
                    packet.dts += begin
                    packet.stream = stream
                    target.mux(packet)
                begin += video.duration


@dataclass(slots=True)
class Timing:
    """One thing to measure; `seconds` holds the finished rounds, `problem` the reason why there are no more."""

    name: str
    work: Callable[[], None]
    rounds: int
    frames: int
    seconds: list[float] = field(default_factory=list)
    problem: str = ""


def measure(rows: list[Timing]) -> None:
    """Run each row's work as often as it requires, all rows in turn so that noise spreads; then print the medians."""
    for number in range(max(row.rounds for row in rows)):
        for row in rows:
            if number >= row.rounds or row.problem:
                continue
            print(f"\r  round {number + 1}: {row.name}".ljust(79), end="", file=sys.stderr, flush=True)
            began = time.perf_counter()
            try:
                row.work()
            except FaceBlurError as error:
                row.problem = str(error)
            else:
                row.seconds.append(time.perf_counter() - began)
    print("\r".ljust(80) + "\r", end="", file=sys.stderr)
    print(f"{'median (slowest to fastest)':52} {'fps':>7} {'ms/frame':>12}")
    for row in rows:
        if row.problem:
            print(f"{row.name:52} not measured: {row.problem}")
            continue
        rates = sorted(row.frames / seconds for seconds in row.seconds)
        middle = statistics.median(rates)
        print(f"{row.name:52} {middle:7.1f} {1000 / middle:12.1f}   ({rates[0]:.1f} to {rates[-1]:.1f})")


class MemoryWatch:
    """The peak memory (proportional set size, bytes) of this process's descendants, watched by a thread; Linux."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.2):
            self.peak = max(self.peak, sum(_read_pss(process) for process in _list_descendants(os.getpid())))


def _list_descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def _read_pss(process: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def decode(clip: Path) -> None:
    import av

    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "SLICE", 1
        for _ in container.decode(stream):
            pass


def cover_every_frame(tracks: Path, everywhere: Path, nowhere: Path) -> None:
    """Write two documents of the same source: one face in all frames, and none."""
    document = read_document(tracks)
    info = document.source
    face = Ellipse(info.width / 2, info.height / 2, info.height / 12, info.height / 10)
    samples = [Sample(frame, face, Evidence.DETECTED, 0.9) for frame in range(info.frame_count)]
    document.review_items = []
    document.tracks = []
    write_document(document, nowhere)
    document.tracks = [Track("Face 01", samples)]
    write_document(document, everywhere)


def describe_machine(blender: Path | None) -> str:
    import av
    import cv2
    import onnxruntime

    words = [
        platform.platform(),
        f"{os.cpu_count()} cores",
        f"Python {platform.python_version()}",
        f"av {av.__version__}",
        f"opencv {cv2.__version__}",
        f"onnxruntime {onnxruntime.__version__}",
    ]
    if blender is None:
        code = "import bpy; print('bpy', bpy.app.version_string)"
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        words.append(asked.stdout.strip().splitlines()[-1] if asked.stdout.strip() else "no bpy")
    else:
        words.append(check_blender(blender))
    return ", ".join(words)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build.py bench speed", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--make-from", type=Path, metavar="FOLDER")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--repeat", type=int, default=6, metavar="TIMES")
    parser.add_argument("--analysis-only", action="store_true", help="skip the renders and deface")
    parser.add_argument("--blender", type=Path)
    parser.add_argument("--no-deface", action="store_true", help="skip deface, which takes minutes at 1080p")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if options.make_from and not options.clip.exists():
        make_clip(options.make_from, options.clip)
    with open_source(options.clip) as source:
        info = source.info
    count = info.frame_count
    print(describe_machine(options.blender))
    print(f"{options.clip.name}: {info.width} x {info.height}, {count} frames, {float(info.frame_rate):.3f} fps")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracks, everywhere, nowhere = (folder / f"{which}.json" for which in ("found", "everywhere", "nowhere"))
        settings = BatchSettings(preset=options.preset, blender=options.blender, overwrite=True)

        longer = folder / f"longer{options.clip.suffix}"
        repeat_clip(options.clip, options.repeat, longer)

        def analyse(film: Path = options.clip, preset: str = options.preset) -> None:
            run_analysis(film, tracks, replace(settings, preset=preset), lambda *_: None, lambda _: None)

        with MemoryWatch() as memory:
            analyse()
        cover_every_frame(tracks, everywhere, nowhere)

        def render(document: Path, kind: str | None, measured: str | None = None) -> Callable[[], None]:
            effect = None if kind is None else {"kind": kind, "color": "000000", "samples_across": 6.0}
            job = {
                "source": str(options.clip.resolve()),
                "tracks": str(document),
                "effect": effect,
                "measure": measured,
                "save_blend": None,
                "render": {"output": str(folder / "out.mkv"), "codec": "h264", "quality": "high"},
            }

            def work() -> None:
                run_blender_job(job, folder, options.blender, lambda *_: None, lambda _: None)

            return work

        def blur() -> None:
            jobs = plan_jobs([options.clip], folder / f"result{options.clip.suffix}", False)
            outcome = run_batch(jobs, settings, Quiet())[0]
            if outcome.status != "done":
                raise FaceBlurError(outcome.reason)

        rounds = options.rounds
        rows = [
            Timing("decode alone, one thread", lambda: decode(options.clip), rounds, count),
            Timing(f"analysis ({options.preset}), decode included", analyse, rounds, count),
            *(
                Timing(
                    f"analysis ({preset}) of the clip repeated {options.repeat} times",
                    partial(analyse, longer, preset),
                    rounds,
                    count * options.repeat,
                )
                for preset in dict.fromkeys(("fast", options.preset))
            ),
        ]
        if not options.analysis_only:
            rows += [
                Timing("Blender's plain render, start included", render(nowhere, None), rounds, count),
                Timing("render, no face in any frame", render(nowhere, "mosaic"), rounds, count),
                Timing(
                    "a modifier that passes the picture through, every frame",
                    render(everywhere, "mosaic", "pass"),
                    rounds,
                    count,
                ),
                *(
                    Timing(f"render, a face in every frame, {kind}", render(everywhere, kind), rounds, count)
                    for kind in EFFECT_NAMES
                ),
                Timing(f"end to end ({options.preset})", blur, rounds, count),
            ]
        if not options.no_deface and not options.analysis_only:
            rows.append(Timing("deface 1.5.0, its defaults, once", lambda: run_deface(options.clip, folder), 1, count))
        measure(rows)
        if sys.platform == "linux":
            print(f"{'peak memory of all analysis processes (PSS)':52} {memory.peak / 1e6:7.0f} MB")
    return 0


class Quiet(Reporter):
    """The table reports failures instead."""

    def finish(self, outcome: Outcome) -> None:
        return None


def run_deface(clip: Path, folder: Path) -> None:
    python = ensure_tool(ROOT, "deface")
    command = [
        str(python),
        "-c",
        "from deface.deface import main; main()",
        str(clip.resolve()),
        "--output",
        str(folder / "deface.mp4"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=folder, env=build_variables(ROOT), check=False
    )
    if done.returncode != 0 or not (folder / "deface.mp4").is_file():
        raise FaceBlurError((done.stderr.strip().splitlines() or ["no reason given"])[-1])


if __name__ == "__main__":
    sys.exit(main())
