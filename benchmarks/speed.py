# SPDX-License-Identifier: GPL-3.0-or-later
"""The speed beside decoding and encoding alone, Blender's plain render and deface: build.py bench speed CLIP.

Everything is measured --rounds times, in turn; the results are the median, the slowest and the fastest round, and the
ratios that matter. Each --height is measured with one face and with 50; Blender and deface only at the clip's own size.
With --make-from FOLDER the clip is made first: 1080p, 300 frames, from three clips in that folder.
The analysis is also measured on the clip repeated --repeat times, because a longer film spreads the cost of the start.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from blender_faceblur.batch.options import EFFECT_NAMES
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.rendering import check_blender, run_blender_job
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.batch.stages import run_analysis, run_painting
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.detection.settings import DEFAULT_MARGIN
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, SourceInfo, Track, TrackDocument
from blender_faceblur.files.paths import get_version
from blender_faceblur.painting.encoders import choose_encoder, open_encoder
from blender_faceblur.painting.film import read_stream
from blender_faceblur.reporting.progress import Outcome, Reporter
from blender_faceblur.sources import MovieSource, open_source
from blender_faceblur.worker.protocol import PaintRequest, SourceRef
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
                for _, picture in source.read_frames(first, first + 100, (1920, 1080)):
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

    @property
    def seconds_per_frame(self) -> float:
        return statistics.median(self.seconds) / self.frames


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


def encode_again(clip: Path, output: Path) -> None:
    """Decode and encode a clip as the direct renderer does, without covers: what any program must spend."""
    import av

    with open_source(clip) as source:
        assert isinstance(source, MovieSource)
        stream = read_stream(clip, source)
    choice = choose_encoder(stream.codec, stream.pixel_format, "auto", "high", stream.look)
    with av.open(str(clip)) as container, av.open(str(output), "w", format="nut") as result:
        target = open_encoder(result, choice, stream.look)
        video = container.streams.video[0]
        video.thread_type, video.thread_count = "SLICE", 1
        for frame in container.decode(video):
            frame.pict_type = 0
            result.mux(target.encode(frame))
        result.mux(target.encode(None))


def scale_clip(clip: Path, height: int, scaled: Path) -> None:
    """Write the clip at another height, with its width in proportion."""
    import av

    with open_source(clip) as source, av.open(str(scaled), "w") as container:
        info = source.info
        width = round(info.width * height / info.height / 2) * 2
        target: Any = container.add_stream("libx264", rate=info.frame_rate, options={"crf": "18", "preset": "veryfast"})
        target.width, target.height, target.pix_fmt = width, height, "yuv420p"
        for index, picture in source.read_frames(0, info.frame_count, (width, height)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = index, 1 / info.frame_rate
            container.mux(target.encode(frame))
        container.mux(target.encode(None))


def write_faces(clip: Path, faces: int, path: Path) -> None:
    """Write a document of the clip with that many faces in every frame, in rows, each an eleventh of a row high."""
    with open_source(clip) as source:
        info = source.info
    columns = max(1, round((faces * info.width / info.height) ** 0.5))
    rows = -(-faces // columns)
    side = min(info.width / columns, info.height / rows) / 4 if faces > 1 else info.height / 12
    tracks = []
    for number in range(faces):
        x, y = (number % columns + 0.5) / columns * info.width, (number // columns + 0.5) / rows * info.height
        samples = [Sample(f, Ellipse(x, y, side, 1.2 * side), Evidence.DETECTED, 0.9) for f in range(info.frame_count)]
        tracks.append(Track(f"Face {number + 1:02}", samples))
    write_document(TrackDocument(info, "balanced", DEFAULT_MARGIN, [], [], tracks, []), path)


def paint(clip: Path, tracks: Path, kind: str, folder: Path) -> None:
    """The direct renderer, start of its process included, without analysis and joining."""
    shutil.rmtree(folder / "pieces", ignore_errors=True)
    request = PaintRequest(
        SourceRef.of(clip), str(tracks), str(folder / "painted.json"), EffectSettings(kind), str(folder / "pieces")
    )
    run_painting(request, lambda *_: None, lambda _: None)


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
    parser.add_argument("--height", type=int, nargs="*", metavar="LINES", help="also measure the clip scaled")
    parser.add_argument("--no-blender", action="store_true", help="skip what Blender renders")
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
        plan = Plan(options, Path(name), count)
        with MemoryWatch() as memory:
            plan.analyse(options.clip, options.preset)
        rows = plan.list_rows()
        measure([*rows.values()])
        if sys.platform == "linux":
            print(f"{'peak memory of all analysis processes (PSS)':52} {memory.peak / 1e6:7.0f} MB")
        print_ratios(rows)
        print_line_for_issues(describe_machine(options.blender), info, rows)
    return 0


class Plan:
    """What is measured, by a short name."""

    def __init__(self, options: argparse.Namespace, folder: Path, count: int) -> None:
        self._options, self._folder, self._count = options, folder, count
        self._clip: Path = options.clip
        self._longer = folder / f"longer{self._clip.suffix}"
        repeat_clip(self._clip, options.repeat, self._longer)

    def analyse(self, film: Path, preset: str) -> None:
        settings = BatchSettings(preset=preset)
        # As in a batch, which has opened the film before.
        frames = self._count * (self._options.repeat if film == self._longer else 1)
        run_analysis(
            film, self._folder / "found.json", settings, lambda *_: None, lambda _: None, expected_frames=frames
        )

    def list_rows(self) -> dict[str, Timing]:
        options, clip, count = self._options, self._clip, self._count
        times = f"of the clip repeated {options.repeat} times"
        rows = {
            "decode": self._time("decode alone, one thread", lambda: decode(clip), count),
            "analysis": self._time(
                f"analysis ({options.preset}), decode included", partial(self.analyse, clip, options.preset), count
            ),
            **{
                f"analysis {preset}": self._time(
                    f"analysis ({preset}) {times}", partial(self.analyse, self._longer, preset), count * options.repeat
                )
                for preset in dict.fromkeys(("fast", options.preset))
            },
        }
        if options.analysis_only:
            return rows
        for height in options.height or [0]:
            rows |= self._list_direct(height)
        rows |= self._list_long_direct((options.height or [0])[0])
        rows["job"] = self._time(f"whole job ({options.preset})", partial(self._blur, clip, "direct"), count)
        rows["long job"] = self._time(
            f"whole job {times}", partial(self._blur, self._longer, "direct"), count * options.repeat
        )
        if not options.no_blender:
            rows |= self._list_blender()
        if not options.no_deface:
            rows["deface"] = Timing(
                "deface 1.5.0, its defaults, once", partial(run_deface, clip, self._folder), 1, count
            )
            rows["deface scaled"] = Timing(
                f"deface 1.5.0 --scale 640x360 {times}, once",
                partial(run_deface, self._longer, self._folder, "--scale", "640x360"),
                1,
                count * options.repeat,
            )
        return rows

    def _time(self, name: str, work: Callable[[], None], frames: int) -> Timing:
        return Timing(name, work, self._options.rounds, frames)

    def _get_clip(self, height: int) -> Path:
        """The clip at a height, scaled at the first call; 0 is its own height."""
        scaled = self._folder / f"{height} lines{self._clip.suffix}"
        if height and not scaled.exists():
            scale_clip(self._clip, height, scaled)
        return scaled if height else self._clip

    def _list_direct(self, height: int) -> dict[str, Timing]:
        """The direct renderer at a height; 0 is the clip's own."""
        clip, folder = self._get_clip(height), self._folder / f"direct {height}"
        folder.mkdir()
        words = f" at {height} lines" if height else ""
        rows = {
            f"encode {height}": self._time(
                f"decode and encode alone{words}", partial(encode_again, clip, folder / "again.nut"), self._count
            )
        }
        for faces in (1, 50):
            tracks = folder / f"{faces}.json"
            write_faces(clip, faces, tracks)
            for kind in EFFECT_NAMES if faces == 1 else ("solid", "mosaic"):
                if kind != "image":
                    rows[f"{kind} {faces} {height}"] = self._time(
                        f"direct render{words}, {faces} face{'s' * (faces > 1)}, {kind}",
                        partial(paint, clip, tracks, kind, folder),
                        self._count,
                    )
        return rows

    def _list_long_direct(self, height: int) -> dict[str, Timing]:
        """The direct renderer on the repeated clip at a height, so that the start of its process hardly counts."""
        folder = self._folder / "direct long"
        folder.mkdir()
        clip = self._get_clip(height)
        longer, tracks = folder / f"longer{clip.suffix}", folder / "1.json"
        repeat_clip(clip, self._options.repeat, longer)
        write_faces(longer, 1, tracks)
        words = f"{f' at {height} lines' if height else ''} of the clip repeated {self._options.repeat} times"
        frames = self._count * self._options.repeat
        encode = self._time(f"decode and encode alone{words}", partial(encode_again, longer, folder / "a.nut"), frames)
        return {"long encode": encode} | {
            f"long {kind}": self._time(
                f"direct render{words}, 1 face, {kind}", partial(paint, longer, tracks, kind, folder), frames
            )
            for kind in ("solid", "mosaic")
        }

    def _list_blender(self) -> dict[str, Timing]:
        nowhere, everywhere = self._folder / "nowhere.json", self._folder / "everywhere.json"
        write_faces(self._clip, 0, nowhere)
        write_faces(self._clip, 1, everywhere)
        plain = self._time("Blender's plain render, start included", partial(self._render, nowhere, None), self._count)
        covers = {
            f"blender {kind}": self._time(
                f"Blender's compositor, a face in every frame, {kind}",
                partial(self._render, everywhere, kind),
                self._count,
            )
            for kind in ("solid", "mosaic")
        }
        whole = f"whole job ({self._options.preset}), --renderer blender"
        job = self._time(whole, partial(self._blur, self._clip, "blender"), self._count)
        long_job = Timing(
            f"{whole}, of the clip repeated {self._options.repeat} times, once",
            partial(self._blur, self._longer, "blender"),
            1,
            self._count * self._options.repeat,
        )
        return {"plain": plain, **covers, "blender job": job, "long blender job": long_job}

    def _render(self, document: Path, kind: str | None) -> None:
        effect = None if kind is None else {"kind": kind, "color": "000000", "samples_across": 6.0}
        job = {
            "source": str(self._clip.resolve()),
            "tracks": str(document),
            "effect": effect,
            "save_blend": None,
            "render": {"output": str(self._folder / "out.mkv"), "codec": "h264", "quality": "high"},
        }
        run_blender_job(job, self._folder, self._options.blender, lambda *_: None, lambda _: None)

    def _blur(self, film: Path, renderer: str) -> None:
        settings = BatchSettings(
            preset=self._options.preset, blender=self._options.blender, overwrite=True, renderer=renderer
        )
        jobs = plan_jobs([film], self._folder / f"result{film.suffix}", False)
        (outcome,) = run_jobs(jobs, settings, Quiet())
        if outcome.status != "done":
            raise FaceBlurError(outcome.reason)


def print_ratios(rows: dict[str, Timing]) -> None:
    """How the medians of two rows compare: seconds per frame of the first divided by those of the second."""
    pairs = [(name, "encode " + name.rpartition(" ")[2]) for name in rows if name.startswith(("solid ", "mosaic "))]
    pairs += [
        ("long solid", "long encode"),
        ("long mosaic", "long encode"),
        ("blender job", "job"),
        ("long blender job", "long job"),
        ("deface scaled", "long job"),
        ("deface", "job"),
        ("blender mosaic", "mosaic 1 0"),
    ]
    for name, other in pairs:
        if name in rows and other in rows and rows[name].seconds and rows[other].seconds:
            ratio = rows[name].seconds_per_frame / rows[other].seconds_per_frame
            print(f"{rows[name].name} takes {ratio:.2f} times as long as: {rows[other].name}")


def print_line_for_issues(machine: str, info: SourceInfo, rows: dict[str, Timing]) -> None:
    """One line with the medians in frames per second, to paste into an issue."""
    words_of = {
        "decode": "decoding",
        "analysis": "analysis",
        "encode 0": "decoding and encoding",
        "solid 1 0": "painting solid",
        "mosaic 1 0": "painting a mosaic",
        "job": "the whole job",
        "long job": "the whole job on a longer clip",
        "blender job": "the whole job in Blender",
        "deface": "deface",
    }
    rates = [
        f"{word} {1 / rows[name].seconds_per_frame:.1f}"
        for name, word in words_of.items()
        if name in rows and rows[name].seconds
    ]
    words = f"{info.width} x {info.height}, {info.frame_count} frames: {', '.join(rates)}"
    print(f"To paste into an issue: Face Blur {get_version()}, {machine}; fps for {words}")


class Quiet(Reporter):
    """The table reports failures instead."""

    def finish(self, outcome: Outcome) -> None:
        return None


def run_deface(clip: Path, folder: Path, *more: str) -> None:
    python = ensure_tool(ROOT, "deface")
    command = [
        str(python),
        "-c",
        "from deface.deface import main; main()",
        str(clip.resolve()),
        "--output",
        str(folder / "deface.mp4"),
        *more,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=folder, env=build_variables(ROOT), check=False
    )
    if done.returncode != 0 or not (folder / "deface.mp4").is_file():
        raise FaceBlurError((done.stderr.strip().splitlines() or ["no reason given"])[-1])


if __name__ == "__main__":
    sys.exit(main())
