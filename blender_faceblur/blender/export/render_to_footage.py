# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a strip to footage: scene strips, meta strips, and strips whose picture effects change before the cover.

Faces can only be detected in files. A strip without a file of its own is rendered by another Blender process, on a copy
of the project, and a film replaces it, or a sequence of pictures if it is transparent. The result is footage like any
other: later changes of the original strip neither uncover a face nor go unnoticed.

This file is also the script of that process, which runs it as a module with the bpy wheel, or with --python.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script by the Blender application
    package = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(package.parent))
    __package__ = f"{package.name}.blender.export"

import bpy

from ...batch.rendering import borrow_no_settings
from ...core.translation import translate
from ...core.types import FaceBlurError
from ...files.paths import PACKAGE_FOLDER
from ...files.workplace import Workplace
from ..common.context import borrow_sequencer
from ..common.curves import list_curves
from ..common.jobs import Step
from ..cover.covering import MUST_BE_COVERED
from ..rendering.messages import PREFIX, send
from ..rendering.render import render_animation

FOLDER = "Face Blur rendered"
"""Name of the folder for rendered footage, beside the project."""

ORIGINAL = "faceblur_rendered_from"
"""Custom property of rendered footage: the name of the strip that it replaced."""

_OPAQUE = 0.999
"""The least alpha of an opaque picture."""

_ALPHA_SAMPLES = 12
"""The number of frames in which the alpha is checked."""

_TIMES = ("frame_final_start", "frame_final_end")


@dataclass(frozen=True, slots=True)
class RenderOrder:
    """What to render, by names: the strip's frames `start` to `stop - 1`, to `output`, which has no ending."""

    scene: str
    strip: str
    start: int
    stop: int
    output: Path
    files: tuple[str, ...] = ()
    """The files that the strip shows, if it shows any."""


def make_order(scene: bpy.types.Scene, strip: bpy.types.Strip) -> RenderOrder:
    """The order to render a strip, under a free file name. Raises FaceBlurError if it cannot be rendered alone."""
    if not bpy.data.filepath:
        raise FaceBlurError("Save the project first. The footage is stored beside it.")
    if strip.type in ("SOUND", "MASK"):
        raise FaceBlurError(translate("'{name}' shows no picture.", name=strip.name))
    if strip.parent_meta() is not None:
        raise FaceBlurError(
            translate(
                "'{name}' is in a meta strip. Render the meta strip, or take the strip out of it first.",
                name=strip.name,
            )
        )
    folder = Path(bpy.data.filepath).parent / FOLDER
    stem = bpy.path.clean_name(f"{scene.name} {strip.name}")
    taken = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    names = (stem if number == 1 else f"{stem} {number}" for number in range(1, len(taken) + 2))
    start, stop = (round(getattr(strip, name)) for name in _TIMES)
    output = folder / next(name for name in names if name not in taken)
    return RenderOrder(scene.name, strip.name, start, stop, output, _list_files(strip))


def _list_files(strip: bpy.types.Strip) -> tuple[str, ...]:
    if strip.type == "IMAGE":
        return (strip.directory, *(element.filename for element in strip.elements))
    return (strip.filepath,) if strip.type == "MOVIE" else ()


def render_alone(order: RenderOrder, wait_s: float | None = None) -> Generator[Step | None, None, Path]:
    """Render a strip in another Blender process; returns the film, or the folder of the pictures.

    Yields the progress, and with `wait_s` None whenever nothing has happened for that long. Closing the generator ends
    the process and leaves nothing behind. Raises FaceBlurError if the render fails.
    """
    order.output.parent.mkdir(exist_ok=True)
    with Workplace() as workplace:
        # Beside the project, so that relative paths stay valid.
        copy = workplace.name_part(Path(bpy.data.filepath), ".blend")
        part = workplace.make_part_folder(order.output)
        bpy.ops.wm.save_as_mainfile(filepath=str(copy), copy=True, check_existing=False)
        job = workplace.folder / "job.json"
        job.write_text(
            json.dumps(
                {
                    "project": str(copy),
                    "scene": order.scene,
                    "strip": order.strip,
                    "start": order.start,
                    "stop": order.stop,
                    "folder": str(part),
                }
            ),
            encoding="utf-8",
        )
        process = _start(job)
        try:
            yield from _read_messages(process, order, wait_s)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        film = part / "film.mp4"
        made = film if film.is_file() else part / "pictures"
        output = order.output.with_suffix(".mp4") if film.is_file() else order.output
        if not made.exists():
            raise FaceBlurError("Blender reported no error, but did not write a film.")
        made.rename(output)
    return output


def _start(job: Path) -> subprocess.Popen[str]:
    if getattr(bpy.app, "module", False) or not bpy.app.binary_path:
        command = [sys.executable, "-m", f"{PACKAGE_FOLDER.name}.blender.export.render_to_footage", str(job)]
    else:
        command = [
            bpy.app.binary_path,
            "-b",
            "--factory-startup",
            "--disable-autoexec",
            "--python-exit-code",
            "1",
            "--python",
            __file__,
            "--",
            str(job),
        ]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=PACKAGE_FOLDER.parent,
            env={**os.environ, **borrow_no_settings(job.parent)},
        )
    except OSError as error:
        raise FaceBlurError(translate("Blender cannot be started: {strerror}.", strerror=error.strerror)) from error


def _read_messages(
    process: subprocess.Popen[str], order: RenderOrder, wait_s: float | None
) -> Generator[Step | None, None, None]:
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    problem, last = "", ""
    while True:
        try:
            line = lines.get(timeout=wait_s)
        except queue.Empty:
            yield None
            continue
        if line is None:
            break
        if not line.startswith(PREFIX):
            last = line.strip() or last
            continue
        message = json.loads(line[len(PREFIX) :])
        if message["type"] == "error":
            problem = message["text"]
        else:
            done, total = message["done"], order.stop - order.start
            yield Step(order.strip, 1, 1, "render", done, total, done / total, None)
    if process.wait() != 0:
        raise FaceBlurError(
            problem or translate("Blender ended without a result. Its last message was: {last}", last=last[:200])
        )


def put_in_place(scene: bpy.types.Scene, order: RenderOrder, made: Path) -> bpy.types.Strip:
    """Show rendered footage instead of the strip, which stays below it, invisible but with its sound.

    The new strip is marked as one that must be covered. Raises FaceBlurError if the strip was deleted or moved, or if
    there is no free channel.
    """
    strips = scene.sequence_editor.strips
    strip = strips.get(order.strip)
    if (
        strip is None
        or tuple(round(getattr(strip, name)) for name in _TIMES) != (order.start, order.stop)
        or _list_files(strip) != order.files
    ):
        raise FaceBlurError(
            translate(
                "The strip '{strip}' was changed during the render, so {name} does not fit it. Render it again.",
                strip=order.strip,
                name=made.name,
            )
        )
    channel = next(
        (
            c
            for c in range(strip.channel + 1, 129)
            if all(
                other.channel != c or other.frame_final_end <= order.start or other.frame_final_start >= order.stop
                for other in strips
            )
        ),
        0,
    )
    if not channel:
        raise FaceBlurError(
            translate("There is no free channel above the strip '{name}'. Move the strips above it.", name=strip.name)
        )
    name = f"{strip.name} rendered"
    if made.is_dir():
        files = sorted(path.name for path in made.iterdir())
        new = strips.new_image(name, _choose_path(made / files[0]), channel, order.start, fit_method="ORIGINAL")
        for file in files[1:]:
            new.elements.append(file)
    else:
        new = strips.new_movie(name, _choose_path(made), channel, order.start, fit_method="ORIGINAL")
    new.channel = channel
    new.blend_type = strip.blend_type
    new[ORIGINAL], new[MUST_BE_COVERED] = strip.name, True
    if list_curves(scene, strip.path_from_id("blend_alpha")):
        strip.mute = True
    else:
        new.blend_alpha, strip.blend_alpha = strip.blend_alpha, 0.0
    for other in strips:
        other.select = other == new
    scene.sequence_editor.active_strip = new
    return new


def _choose_path(path: Path) -> str:
    """The path relative to the project."""
    return str(bpy.path.relpath(str(path)))


def _render(job: dict[str, Any]) -> None:
    """Render the strip; runs in the other Blender process."""
    bpy.ops.wm.open_mainfile(filepath=job["project"], use_scripts=False)
    scene = bpy.data.scenes[job["scene"]]
    for window in bpy.context.window_manager.windows:
        # Blender renders any other scene black (5.0.1, 5.2.3).
        window.scene = scene
    strip = scene.sequence_editor.strips[job["strip"]]
    for other in scene.sequence_editor.strips:
        other.mute = other != strip
    for channel in scene.sequence_editor.channels:
        channel.mute = False
    strip.blend_type = "REPLACE"
    if not list_curves(scene, strip.path_from_id("blend_alpha")):
        strip.blend_alpha = 1.0
    _set_format(scene)
    folder = Path(job["folder"])
    length = job["stop"] - job["start"]
    frames = {job["start"] + number * (length - 1) // (_ALPHA_SAMPLES - 1) for number in range(_ALPHA_SAMPLES)}
    opaque = all(_is_opaque(scene, frame, folder / "alpha.png") for frame in sorted(frames))
    (folder / "alpha.png").unlink()
    render = scene.render
    if opaque and render.resolution_x % 2 == render.resolution_y % 2 == 0:
        render.image_settings.media_type = "VIDEO"
        render.image_settings.file_format = "FFMPEG"
        render.image_settings.color_mode = "RGB"
        film = render.ffmpeg
        film.format, film.codec, film.constant_rate_factor = "MPEG4", "H264", "PERC_LOSSLESS"
        film.ffmpeg_preset, film.audio_codec, film.use_autosplit = "GOOD", "NONE", False
        render.filepath = str(folder / "film.mp4")
    else:
        (folder / "pictures").mkdir()
        render.filepath = str(folder / "pictures" / "######.png")
    scene.frame_start, scene.frame_end, scene.frame_step = job["start"], job["stop"] - 1, 1
    render_animation(scene, lambda done: send(type="progress", stage="render", done=done, total=length))


def _set_format(scene: bpy.types.Scene) -> None:
    """Render the sequencer's picture without the scene's view transform, which is applied when the footage is shown."""
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0
    scene.view_settings.use_curve_mapping = False
    render = scene.render
    render.use_sequencer, render.use_compositing = True, False
    render.dither_intensity = 0.0
    render.resolution_percentage = 100
    render.film_transparent = True
    render.use_border = render.use_stamp = False
    render.use_file_extension = False
    render.use_overwrite, render.use_placeholder = True, False
    render.compositor_device = "CPU"
    render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "8"


def _is_opaque(scene: bpy.types.Scene, frame: int, path: Path) -> bool:
    scene.frame_set(frame)
    scene.render.filepath = str(path)
    with borrow_sequencer(scene):
        bpy.ops.render.render(write_still=True, scene=scene.name)
    picture = bpy.data.images.load(str(path), check_existing=False)
    pixels = [0.0] * len(picture.pixels)
    picture.pixels.foreach_get(pixels)
    bpy.data.images.remove(picture)
    return min(pixels[3::4]) >= _OPAQUE


def main(path: Path) -> int:
    try:
        _render(json.loads(path.read_text(encoding="utf-8")))
    except FaceBlurError as error:
        send(type="error", text=str(error))
        return 1
    except (RuntimeError, KeyError) as error:
        send(type="error", text=f"Blender could not render the strip: {' '.join(str(error).split())}")
        return 1
    return 0


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    sys.exit(main(Path(arguments[0])))
