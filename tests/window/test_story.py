# SPDX-License-Identifier: GPL-3.0-or-later
"""An editor's way through the extension in Blender's real window, by mouse and keyboard; see story.py.

$BLENDER_WINDOW names a program: `PROGRAM drive SCRIPT ARGS...` opens Blender with ARGS on a screen, runs SCRIPT beside
it with DISPLAY set and with xdotool and import available, ends Blender when SCRIPT ends, and returns its exit code.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.package.machine import HOST
from tools import package
from tools.film import FaceTruth, make_film
from tools.wheels import PYTHONS

ROOT = Path(__file__).resolve().parents[2]
WATCHER = Path(__file__).with_name("watcher.py")
WIDTH, HEIGHT = 1280, 720
RANGE = [47, 56]
"""Timeline frames, the last one included; the film begins at frame 1."""

COMPLAINT = re.compile(r"Traceback|Error:|\bMISSED\b|WARNING|Segmentation")
EXPECTED_COMPLAINTS = (
    "Could not get a list of mounted file-systems",
    "WARNING Render cancelled after",
    "WARNING Rendered: 10 frames in",
    "WARNING Preview rendered: 10 frames in",
)
"""Blender's on a system without /proc/mounts, and ours where a story cancels a render or has it black."""


@dataclass(frozen=True, slots=True)
class StoryFilm:
    path: Path
    truth: list[list[FaceTruth]]


def film(path: Path, scene: str, seconds: float = 4) -> StoryFilm:
    """Write a film at the rate of a new project: for another rate Blender opens a popup under the mouse."""
    truth = make_film(path, width=WIDTH, height=HEIGHT, frame_rate=Fraction(24), seconds=seconds, scene=scene)
    return StoryFilm(path, truth)


@dataclass(frozen=True, slots=True)
class Desk:
    """Blender with the extension installed."""

    program: str
    resources: Path

    def play(self, story: str, film: StoryFilm, folder: Path, seconds: float) -> dict[str, Any]:
        """Run a story for at most `seconds`; returns its input."""
        pictures = Path(os.environ.get("FACEBLUR_PICTURES", folder / "pictures"))
        pictures.mkdir(parents=True, exist_ok=True)
        given: dict[str, Any] = {
            "story": story,
            "state": str(folder / "state.json"),
            "pictures": str(pictures),
            "folder": str(folder),
            "film": str(film.path),
            "size": [WIDTH, HEIGHT],
            "range": RANGE,
            "output": str(folder / "rendered.mp4"),
            "faces": [
                [
                    {
                        "x": face.ellipse.cx,
                        "y": face.ellipse.cy,
                        "rx": face.ellipse.rx,
                        "ry": face.ellipse.ry,
                        "visible": face.visible,
                    }
                    for face in faces
                ]
                for faces in film.truth
            ],
        }
        (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
        script = folder / "script"
        story_command = f"python3 -B -m tests.window.story '{folder / 'given.json'}'"
        script.write_text(f"#!/bin/sh\ncd '{ROOT}' && exec {story_command}\n", encoding="utf-8")
        script.chmod(0o755)
        command = [
            self.program,
            "drive",
            str(script),
            "--python-exit-code",
            "1",
            "--python",
            str(WATCHER),
            "--",
            given["state"],
            given["output"],
        ]
        variables = {name: value for name, value in os.environ.items() if name != "FACEBLUR_MODELS"}
        variables["BLENDER_USER_RESOURCES"] = str(self.resources)
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                # This ends all its children: Blender and its screen too.
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
        text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        assert code == 0, f"{text}\nPictures are in {pictures}"
        print(text)
        assert list_complaints(text) == []
        return given


MAKE_PROJECT = """
import sys
import bpy

output, *films = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False, app_template="Video_Editing")
bpy.ops.preferences.addon_enable(module="bl_ext.user_default.faceblur")
scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
bpy.context.workspace.sequencer_scene = scene
scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = WIDTH, HEIGHT, 24
scene.faceblur.effect, scene.faceblur.color = "solid", (0.0, 0.0, 0.0)
strips, start = scene.sequence_editor_create().strips, 1
for number, film in enumerate(films, 1):
    strip = strips.new_movie(f"film {number}", film, 1, start)
    strip.select, start = True, strip.right_handle
scene.frame_end = start - 1
scene.sequence_editor.active_strip = strips["film 1"]
assert bpy.ops.faceblur.detect() == {"FINISHED"}
bpy.ops.wm.save_as_mainfile(filepath=output)
"""
"""Blender's script that makes a project of several detected films in a row."""


def make_project(desk: Desk, output: Path, films: list[StoryFilm]) -> None:
    script = output.with_suffix(".py")
    script.write_text(MAKE_PROJECT.replace("WIDTH, HEIGHT", f"{WIDTH}, {HEIGHT}"), encoding="utf-8")
    arguments = ["--python-exit-code", "1", "--python", str(script), "--", str(output)]
    done = subprocess.run(
        [desk.program, "run", "-b", *arguments, *(str(one.path) for one in films)],
        capture_output=True,
        text=True,
        timeout=400,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BLENDER_USER_RESOURCES": str(desk.resources)},
        check=False,
    )
    assert done.returncode == 0 and output.is_file(), done.stdout + done.stderr


def list_complaints(text: str) -> list[str]:
    return [
        line
        for line in text.splitlines()
        if COMPLAINT.search(line) and not any(known in line for known in EXPECTED_COMPLAINTS)
    ]


@pytest.fixture(scope="module")
def program() -> str:
    program = os.environ.get("BLENDER_WINDOW")
    if not program:
        pytest.skip("BLENDER_WINDOW does not name a program that shows Blender's window")
    return program


@pytest.fixture(scope="module")
def desk(program: str, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    resources = folder / "resources"
    resources.mkdir()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, "run", "-b", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "BLENDER_USER_RESOURCES": str(resources)},
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    version = re.search(
        r"PYTHON\.(\d+\.\d+)",
        run("--factory-startup", "--python-expr", "import sys; print('PYTHON', *sys.version_info[:2], sep='.')"),
    )
    assert version
    if version[1] not in PYTHONS:
        pytest.skip(f"there is no package for Python {version[1]}")
    path = package.build_package(
        package.ZipTarget.of(HOST, version[1]), folder, lambda text: print(text, file=sys.stderr)
    )
    run("--command", "extension", "install-file", "-r", "user_default", "-e", str(path))
    return Desk(program, resources)


def read_film(path: Path) -> list[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def find_uncovered(
    film: StoryFilm, output: Path, first: int = RANGE[0], last: int = RANGE[1]
) -> dict[int, list[float]]:
    """The share that is not black of each visible face in the frames `first` to `last`, by its number in the film."""
    pictures = read_film(output)
    assert len(pictures) == last - first + 1
    uncovered: dict[int, list[float]] = {}
    for frame, picture in zip(range(first, last + 1), pictures, strict=True):
        height, width = picture.shape[:2]
        y, x = (np.mgrid[0:height, 0:width] + 0.5) * WIDTH / width
        for face in film.truth[frame - 1]:
            ellipse = face.ellipse
            cos, sin, right, down = np.cos(ellipse.angle), np.sin(ellipse.angle), x - ellipse.cx, y - ellipse.cy
            along, across = right * cos + down * sin, down * cos - right * sin
            inside = (along / ellipse.rx) ** 2 + (across / ellipse.ry) ** 2 <= 1
            if face.visible > 0.5:
                uncovered.setdefault(face.face, []).append(1 - float((picture[inside].max(axis=1) < 40).mean()))
    return uncovered


def test_first_film(desk: Desk, tmp_path: Path) -> None:
    astronaut = film(tmp_path / "astronaut.mp4", "demo")
    given = desk.play("first film", astronaut, tmp_path, 300)
    uncovered = [share for shares in find_uncovered(astronaut, Path(given["output"])).values() for share in shares]
    assert len(uncovered) > 10
    assert max(uncovered) < 0.1, f"up to {max(uncovered):.0%} of a face is visible in the rendered film"


def test_what_goes_wrong(desk: Desk, tmp_path: Path) -> None:
    desk.play("what goes wrong", film(tmp_path / "turning.mp4", "turning"), tmp_path, 300)


def test_interruptions(desk: Desk, tmp_path: Path) -> None:
    desk.play("interruptions", film(tmp_path / "astronaut.mp4", "demo", 10), tmp_path, 900)
    assert (tmp_path / "interrupted.blend").is_file()


def test_deleted(desk: Desk, tmp_path: Path) -> None:
    # No other story has this film: the analysis of one that has been detected before is over at once.
    desk.play("deleted", film(tmp_path / "astronaut.mp4", "demo", 11), tmp_path, 900)


def test_cover_all(desk: Desk, tmp_path: Path) -> None:
    # So long that it is rendered before it is covered, and none that was detected before.
    people = film(tmp_path / "people.mp4", "people", 24)
    given = desk.play("cover all", people, tmp_path, 500)
    assert max(int(picture.max()) for picture in read_film(tmp_path / "black.mp4")) <= 2
    uncovered = [share for shares in find_uncovered(people, Path(given["output"])).values() for share in shares]
    assert len(uncovered) > 10 and max(uncovered) < 0.1


def test_quit(desk: Desk, tmp_path: Path) -> None:
    desk.play("quit", film(tmp_path / "astronaut.mp4", "demo"), tmp_path, 300)
    processes = (entry / "cmdline" for entry in Path("/proc").iterdir() if entry.name.isdigit())
    left = [path for path in processes if path.exists() and str(desk.resources).encode() in path.read_bytes()]
    assert not left, "no process of the extension outlives Blender"


def test_corrections(desk: Desk, tmp_path: Path) -> None:
    turning = film(tmp_path / "turning.mp4", "turning")
    desk.play("corrections", turning, tmp_path, 300)
    import cv2

    frames = [cv2.imread(str(path)) for path in sorted(tmp_path.glob("frames/*.png"))]
    # The render was cancelled, so the file that was being written is incomplete.
    whole = [frame for frame in frames if frame is not None]
    assert 3 < len(whole) < len(turning.truth) and max(int(frame.max()) for frame in whole) <= 2
    previewed = [cv2.imread(str(path)) for path in sorted(tmp_path.glob("previewed/*.png"))]
    assert len(previewed) == 10 and max(int(frame.max()) for frame in previewed) <= 2


def test_desk(desk: Desk, tmp_path: Path) -> None:
    desk.play("desk", film(tmp_path / "astronaut.mp4", "demo"), tmp_path, 300)


def test_workspace(desk: Desk, tmp_path: Path) -> None:
    desk.play("workspace", film(tmp_path / "astronaut.mp4", "demo"), tmp_path, 120)


def test_decide(desk: Desk, tmp_path: Path) -> None:
    desk.play("decide", film(tmp_path / "people.mp4", "people"), tmp_path, 200)


def test_effort(desk: Desk, tmp_path: Path) -> None:
    """Prints the actions and the time that a film of ten seconds takes, or the film that FACEBLUR_EFFORT names."""
    chosen = os.environ.get("FACEBLUR_EFFORT")
    if chosen:
        desk.play("effort", StoryFilm(Path(chosen), []), tmp_path, 1500)
        return
    astronaut = film(tmp_path / "astronaut.mp4", "demo", 10)
    given = desk.play("effort", astronaut, tmp_path, 600)
    uncovered = [share for shares in find_uncovered(astronaut, Path(given["output"])).values() for share in shares]
    assert len(uncovered) >= 10 and max(uncovered) < 0.1


def test_review(desk: Desk, tmp_path: Path) -> None:
    desk.play("review", film(tmp_path / "astronaut.mp4", "demo"), tmp_path, 500)


def test_timeline(desk: Desk, tmp_path: Path) -> None:
    films = [film(tmp_path / "astronaut.mp4", "demo"), film(tmp_path / "longer.mp4", "demo", 5)]
    make_project(desk, tmp_path / "timeline.blend", films)
    desk.play("timeline", films[0], tmp_path, 300)


def test_three_films(desk: Desk, tmp_path: Path) -> None:
    films = [film(tmp_path / f"people {number}.mp4", "people", 2 + number / 2) for number in (1, 2, 3)]
    make_project(desk, tmp_path / "three films.blend", films)
    desk.play("three films", films[0], tmp_path, 300)


def test_watch(desk: Desk, tmp_path: Path) -> None:
    desk.play("watch", film(tmp_path / "astronaut.mp4", "demo"), tmp_path, 600)


def test_people(desk: Desk, tmp_path: Path) -> None:
    three = film(tmp_path / "people.mp4", "people")
    given = desk.play("people", three, tmp_path, 300)
    kept, *others = find_uncovered(three, Path(given["output"])).values()
    assert min(kept) > 0.6 and len(kept) == RANGE[1] - RANGE[0] + 1
    assert len(others) == 2 and max(map(max, others)) < 0.1


def test_tour(desk: Desk, tmp_path: Path) -> None:
    """Not a test of anything else: it makes the pictures of docs/pictures/tour.webp, see pictures.py."""
    chosen = os.environ.get("FACEBLUR_TOUR")
    if not chosen:
        pytest.skip("FACEBLUR_TOUR names no film to show")
    desk.play("tour", StoryFilm(Path(chosen), []), tmp_path, 900)


def test_bake(desk: Desk, tmp_path: Path) -> None:
    astronaut = film(tmp_path / "astronaut.mp4", "demo")
    given = desk.play("bake", astronaut, tmp_path, 500)
    uncovered = [share for shares in find_uncovered(astronaut, Path(given["output"])).values() for share in shares]
    assert len(uncovered) > 10 and max(uncovered) < 0.1
    exported = Path(given["output"]).parent / "bake covered" / "astronaut.covered.mp4"
    shown = [
        share for shares in find_uncovered(astronaut, exported, 1, len(astronaut.truth)).values() for share in shares
    ]
    assert len(shown) > len(uncovered) and max(shown) < 0.1
