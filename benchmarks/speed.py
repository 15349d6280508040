# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast it is, beside what it is built on and beside deface, in one run: build.py bench speed CLIP.

With --make-from FOLDER the clip is made first: 1080p, 300 frames, out of three clips in that folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from blender_faceblur.batch import Settings, plan_jobs, run_analysis, run_batch
from blender_faceblur.core.document import read_document, write_document
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, Track
from blender_faceblur.progress import Reporter
from blender_faceblur.rendering import check_blender, run_blender_job
from blender_faceblur.sources import open_source
from tools.environment import build_variables, ensure_tool

ROOT = Path(__file__).resolve().parent.parent

CLIP_PARTS = (("juggle.mp4", 0), ("hamilton.mp4", 0), ("dog.mp4", 100))
"""(clip, first frame) of 100 frames each: one face, several with cuts, one small."""


def make_clip(folder: Path, clip: Path) -> None:
    """Write a 1920 x 1080 clip at 25 fps out of the clips of a folder, always the same way."""
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


def measure(name: str, frames: int, work: Callable[[], None]) -> float:
    """Run the work and print its frames per second."""
    began = time.perf_counter()
    try:
        work()
    except FaceBlurError as error:
        print(f"{name:52} not measured: {error}", flush=True)
        return 0.0
    rate = frames / (time.perf_counter() - began)
    print(f"{name:52} {rate:8.1f} fps {1000 / rate:8.1f} ms", flush=True)
    return rate


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
    document.doubts = []
    document.tracks = []
    write_document(document, nowhere)
    document.tracks = [Track("Face 01", samples)]
    write_document(document, everywhere)


def describe_machine(blender: Path | None) -> str:
    import av
    import cv2
    import onnxruntime

    words = [platform.platform(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}",
             f"av {av.__version__}", f"opencv {cv2.__version__}", f"onnxruntime {onnxruntime.__version__}"]
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
    parser.add_argument("--blender", type=Path)
    parser.add_argument("--no-deface", action="store_true", help="deface takes minutes at 1080p")
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
        settings = Settings(preset=options.preset, blender=options.blender, overwrite=True)
        measure("decode alone, one thread", count, lambda: decode(options.clip))
        measure(f"analysis ({options.preset}), decode included", count,
                lambda: run_analysis(options.clip, tracks, settings, lambda *_: None, print))
        cover_every_frame(tracks, everywhere, nowhere)

        def render(document: Path, effect: dict[str, Any] | None) -> None:
            job = {"source": str(options.clip.resolve()), "tracks": str(document), "effect": effect,
                   "render": {"output": str(folder / "out.mkv"), "codec": "h264", "quality": "high"},
                   "save_blend": None}
            run_blender_job(job, folder, options.blender, lambda *_: None, print)

        mosaic = {"kind": "mosaic", "color": "000000", "samples_across": 6}
        measure("Blender's plain render, start included", count, lambda: render(nowhere, None))
        measure("render, no face in any frame", count, lambda: render(nowhere, mosaic))
        measure("a modifier that only passes the picture", count, lambda: render(everywhere, {"kind": "pass"}))
        for kind in ("mosaic", "blur", "solid"):
            measure(f"render, a face in every frame, {kind}", count,
                    lambda kind=kind: render(everywhere, {**mosaic, "kind": kind}))  # type: ignore[misc]
        jobs = plan_jobs([options.clip], folder / f"result{options.clip.suffix}", False)

        def blur() -> None:
            outcome = run_batch(jobs, settings, Reporter())[0]
            if outcome.status != "done":
                raise FaceBlurError(outcome.reason)

        measure("end to end", count, blur)
        if not options.no_deface:
            python = ensure_tool(ROOT, "deface")
            command = [str(python), "-c", "from deface.deface import main; main()", str(options.clip.resolve()),
                       "--output", str(folder / "deface.mp4")]

            def deface() -> None:
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder,
                                      env=build_variables(ROOT), check=False)
                if done.returncode != 0 or not (folder / "deface.mp4").is_file():
                    raise FaceBlurError((done.stderr.strip().splitlines() or ["no reason given"])[-1])

            measure("deface 1.5.0, its defaults", count, deface)
    return 0


if __name__ == "__main__":
    sys.exit(main())
