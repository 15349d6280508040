# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one Blender job that a JSON file describes: build the project, save it, render it.

It runs as a module under the bpy wheel or as a script inside the Blender application, always in its own process.
Messages are lines on standard output that begin with `@faceblur ` and hold one JSON object; all other lines come from
Blender itself. With a second argument, "end-with-parent", the process ends as soon as its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script by the Blender application
    package = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(package.parent))
    __package__ = f"{package.name}.blender"

# Imported here, because `__package__` must be set first.
from .rendering.messages import send


def main(job_path: Path) -> int:
    """Run the job. Returns 0 on success; otherwise it has sent an error message and returns 1."""
    from ..core.types import FaceBlurError

    try:
        run(json.loads(job_path.read_text(encoding="utf-8")))
    except FaceBlurError as error:
        send(type="error", text=str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - the process ends here, and its parent gets the error
        traceback.print_exc()
        send(type="error", text=f"Blender failed: {error}")
        return 1
    return 0


def run(job: dict[str, Any]) -> None:
    """Run the job (keys: source, tracks, effect, render, save_blend); sends progress messages and the result.

    With the key `replace` it makes a project without covers, see `covered_footage.finish_copy`. With `evaluate` it
    writes the outlines of masks, see `bake.outlines.evaluate_masks`.

    For measurements, `effect` may be None (footage without a cover).
    """
    import bpy

    from ..core.cover.effects import EffectSettings
    from ..core.document.tracks_file import read_document
    from ..core.types import FaceBlurError
    from .rendering.project import add_sound, build_project
    from .rendering.render import RenderSettings, render_film, render_still

    if "replace" in job:
        finish_project(job)
        return
    if "evaluate" in job:
        evaluate(job)
        return
    document = read_document(Path(job["tracks"]))
    effect = EffectSettings(**job["effect"]) if job["effect"] is not None else None
    scene = build_project(Path(job["source"]), document, effect)
    if job.get("save_blend"):
        warning = add_sound(scene, Path(job["source"])) if document.source.kind == "movie" else None
        if warning:
            send(type="warning", text=warning)
        save_project(Path(job["save_blend"]))
    asked = job.get("render")
    if asked:
        settings = RenderSettings(Path(asked["output"]), asked["codec"], asked["quality"])
        total = scene.frame_end - scene.frame_start + 1

        def report_progress(done: int) -> None:
            send(type="progress", stage="render", done=done, total=total)

        if document.source.kind != "movie":
            strip = next(strip for strip in scene.sequence_editor.strips if strip.type == "IMAGE")
            picture = bpy.data.images.load(strip.directory + strip.elements[0].filename)
            channels, depth = choose_channels(picture)
            render_still(scene, settings, channels, depth)
        else:
            spans = [span for track in document.tracks if track.samples for span in track.list_covered_spans()]
            spans += document.list_unanalysed_spans()
            if effect is not None and effect.inverse:
                # An inverse effect covers something in every frame.
                spans = [(0, total)]
            render_film(scene, settings, spans, report_progress)
        if not settings.output.exists():
            raise FaceBlurError(f"Blender reported no error, but it did not write {settings.output}.")
    source = document.source
    send(
        type="result",
        output=asked["output"] if asked else None,
        frames=source.frame_count,
        width=source.width,
        height=source.height,
        frame_rate=[source.frame_rate.numerator, source.frame_rate.denominator],
    )


def finish_project(job: dict[str, Any]) -> None:
    """Make the project without covers that a job with `replace` asks for; sends its warnings and the result."""
    from .export.covered_footage import finish_copy

    scene, notes = finish_copy(job)
    for note in notes:
        send(type="warning", text=note)
    render = scene.render
    send(
        type="result",
        output=job["save"],
        frames=scene.frame_end - scene.frame_start + 1,
        width=render.resolution_x,
        height=render.resolution_y,
        frame_rate=[render.fps, render.fps_base],
    )


def evaluate(job: dict[str, Any]) -> None:
    """Write the outlines of masks, for a job with `evaluate`; sends its progress and the result."""
    from .bake.outlines import evaluate_masks

    def report_progress(done: int, total: int) -> None:
        send(type="progress", stage="evaluate", done=done, total=total)

    frames = evaluate_masks(job, report_progress)
    send(type="result", frames=frames, width=0, height=0, frame_rate=[1, 1])


def choose_channels(picture: Any) -> tuple[str, int]:
    """The channels (BW, RGB or RGBA) and bits per channel (8 or 16) that preserve a picture's own."""
    per_channel = picture.depth // max(picture.channels, 1)
    name = "RGBA" if picture.depth in (32, 64, 128) else "BW" if picture.depth in (8, 16) else "RGB"
    return name, 16 if per_channel > 8 or picture.is_float else 8


def save_project(path: Path) -> None:
    """Save the open file at `path`, with a relative path to the footage where possible."""
    import bpy

    part = path.with_name(path.name + ".part.blend")
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(part), check_existing=False, compress=True, relative_remap=True)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def end_with_parent() -> None:
    """Wait until standard input ends, which happens when the parent closes it or dies, and end this process."""
    # Not sys.stdin: a thread that waits in its buffer aborts Python 3.11 at exit.
    while os.read(0, 4096):
        pass
    os._exit(3)


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    if arguments[1:] == ["end-with-parent"]:
        threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(Path(arguments[0])))
