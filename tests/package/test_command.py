# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b --command faceblur` of an installed zip: films, and the strips of a project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Build
from .machine import HOST, Machine, list_complaints


@pytest.fixture
def installed(machine: Machine, blender: str, blenders_python: str, build: Build) -> Machine:
    done = machine.run(
        [
            blender,
            "-b",
            "--command",
            "extension",
            "install-file",
            "-r",
            "user_default",
            "-e",
            str(build(HOST, blenders_python)),
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return machine


def count_frames(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def find_faces(path: Path) -> int:
    """In how many frames of a film the detector still detects a face."""
    import av

    from blender_faceblur.detectors.centerface import CenterFace
    from blender_faceblur.files import paths

    detector = CenterFace(paths.get_model_path("centerface"), 0.5)
    with av.open(str(path)) as container:
        return sum(bool(detector.detect(frame.to_ndarray(format="bgr24"))) for frame in container.decode(video=0))


def test_film_is_blurred(installed: Machine, blender: str, film: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(film, tmp_path / "film.mp4"))
    output = tmp_path / "blurred.mp4"
    done = installed.run([blender, "-b", "--command", "faceblur", str(source), "-o", str(output), "--preset", "fast"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_complaints(done) == []
    assert count_frames(output) == count_frames(source)
    assert find_faces(source) == count_frames(source)
    assert find_faces(output) == 0
    assert installed.list_outside() == []


def test_starting_blender_keeps_the_packages_of_the_extension(
    installed: Machine, blender: str, film: Path, tmp_path: Path
) -> None:
    """Later steps of the same command still need them."""
    source = Path(shutil.copy(film, tmp_path / "film.mp4"))
    done = installed.run([blender, "-b", "--command", "faceblur", str(source), "--preset", "fast", "--verify"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified: nothing leaked" in done.stdout + done.stderr


def test_exit_codes(installed: Machine, blender: str, tmp_path: Path) -> None:
    command = [blender, "-b", "--command", "faceblur"]
    assert installed.run([*command, "--no-such-option"]).returncode == 2
    assert installed.run([*command, str(tmp_path / "missing.mp4")]).returncode in (1, 2)
    done = installed.run([*command, "--help"])
    assert done.returncode == 0 and "--preset" in done.stdout


def test_strips_of_a_project(installed: Machine, blender: str, film: Path, tmp_path: Path) -> None:
    """The command covers a project's strip, saves the project and renders it."""
    project, pictures = tmp_path / "cut.blend", tmp_path / "pictures"
    made = (
        "import bpy; scene = bpy.context.scene; scene.frame_end = 5;"
        f"scene.render.filepath = {str(pictures)!r} + '/';"
        "scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 640, 360, 100;"
        "scene.render.image_settings.file_format = 'PNG'; bpy.context.workspace.sequencer_scene = scene;"
        f"scene.sequence_editor_create().strips.new_movie('clip', {str(film)!r}, 1, 1);"
        f"bpy.ops.wm.save_as_mainfile(filepath={str(project)!r})"
    )
    done = installed.run([blender, "-b", "--python-exit-code", "1", "--python-expr", made])
    assert done.returncode == 0, done.stdout + done.stderr
    done = installed.run(
        [blender, "-b", str(project), "--command", "faceblur", "--strips", "--render", "--preset", "fast", "--json"]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            json.loads(line)
    asked = (
        "import bpy; strip = bpy.context.scene.sequence_editor.strips['clip']; "
        "print('COVER', [modifier.type for modifier in strip.modifiers], len(bpy.data.masks[0].layers))"
    )
    done = installed.run([blender, "-b", str(project), "--python-exit-code", "1", "--python-expr", asked])
    assert "COVER ['COMPOSITOR'] " in done.stdout, done.stdout + done.stderr
    rendered = sorted(pictures.iterdir())
    assert [path.suffix for path in rendered] == [".png"] * 5
    assert [find_faces(path) for path in rendered] == [0] * 5
