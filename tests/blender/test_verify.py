# SPDX-License-Identifier: GPL-3.0-or-later
"""A film rendered from the sequencer is compared with its source, wherever the strip lies and however it is scaled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.bake.baking import apply, bake
from blender_faceblur.blender.common.jobs import JOB, run_to_end
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.baked import is_baked
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.guard.checks import check_scene
from blender_faceblur.blender.guard.verification import list_parts, list_unverified
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from blender_faceblur.worker.client import probe_providers

from . import disks

LENGTH = 24


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.write_film(tmp_path_factory.mktemp("film") / "disk.mp4")


@pytest.fixture(scope="module", autouse=True)
def detectors() -> None:
    """Skip if this checkout has no packages for the application's Python, as a verification runs detectors."""
    try:
        probe_providers()
    except FaceBlurError as error:
        pytest.skip(str(error))


@pytest.fixture
def scene(film: Path, tmp_path: Path) -> Iterator[Any]:
    """The film from frame 11, without its first frames, at 150 % and moved. 24 frames are rendered."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = disks.WIDTH, disks.HEIGHT, 24
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 6, fit_method="ORIGINAL")
    strip.frame_offset_start = 5
    strip.transform.scale_x = strip.transform.scale_y = 1.5
    strip.transform.offset_x, strip.transform.offset_y = 20, -10
    scene.sequence_editor.active_strip = strip
    scene.frame_start, scene.frame_end = 11, 10 + LENGTH
    scene.render.compositor_device = "CPU"
    scene.render.filepath = str(tmp_path / "out-")
    cover_footage(scene, strip, disks.build_document(film), EffectSettings("solid", disks.COVER))
    yield scene
    JOB.verified, JOB.problems = None, []
    blender_faceblur.unregister()


def test_a_covered_film_passes(scene: Any) -> None:
    bpy.ops.render.render(animation=True, scene=scene.name)
    assert bpy.ops.faceblur.verify() == {"FINISHED"}
    assert JOB.verified.leaks == 0 and JOB.verified.problems == []
    ((_, verification),) = JOB.verified.parts
    assert verification.compared == LENGTH


def test_an_inverse_cover_cannot_be_verified(scene: Any, film: Path) -> None:
    cover_footage(
        scene,
        scene.sequence_editor.strips["disk"],
        disks.build_document(film),
        EffectSettings("solid", disks.COVER, inverse=True),
    )
    with pytest.raises(RuntimeError, match="'disk' cannot be verified, as its inverse cover"):
        bpy.ops.faceblur.verify(film=str(film))


def test_covered_footage_of_other_scenes_is_reported(scene: Any, film: Path) -> None:
    assert list_unverified(scene) == []
    outer = bpy.data.scenes.new("outer")
    outer.sequence_editor_create().strips.new_scene("inner", scene, 1, 1)
    assert [scene.name in text for text in list_unverified(outer)] == [True]


def test_an_uncovered_frame_is_found_and_can_be_gone_to(scene: Any, tmp_path: Path) -> None:
    strip = scene.sequence_editor.strips["disk"]
    modifier = get_modifier(strip)
    scene.render.filepath = str(tmp_path / "bare-")
    with disks.without_guard():
        modifier.mute = True
        bpy.ops.render.render(animation=True, scene=scene.name)
    modifier.mute = False
    with pytest.raises(RuntimeError, match="uncovered in bare-"):
        bpy.ops.faceblur.verify()
    frame, name, leak, finding = next(JOB.verified.list_findings())
    assert leak and name == "disk" and finding.frames >= 0.8 * LENGTH and 11 <= frame < 11 + LENGTH
    scene.frame_set(1)
    bpy.ops.faceblur.go_to_finding(frame=frame, strip=name)
    assert scene.frame_current == frame


@pytest.fixture
def baked(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scene, with its strip baked."""
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    apply(run_to_end(bake([scene.sequence_editor.strips["disk"]])))
    assert is_baked(scene.sequence_editor.strips["disk"])
    return scene


def test_a_baked_strip_is_compared_with_its_source(baked: Any, tmp_path: Path) -> None:
    bpy.ops.render.render(animation=True, scene=baked.name)
    assert bpy.ops.faceblur.verify() == {"FINISHED"}
    assert JOB.verified.leaks == 0 and JOB.verified.problems == []
    ((part, verification),) = JOB.verified.parts
    assert (part.strip, verification.compared) == ("disk", LENGTH)
    assert check_scene(baked) == []
    assert bpy.ops.faceblur.report(filepath=str(tmp_path / "report.json")) == {"FINISHED"}
    assert json.loads((tmp_path / "report.json").read_text())["verification"]["leaks"] == []


def test_a_leak_in_a_baked_film_is_found(baked: Any, film: Path, tmp_path: Path) -> None:
    """The baked film is replaced by the source, as if nothing had been painted."""
    strip = baked.sequence_editor.strips["disk"]
    shutil.copy(film, bpy.path.abspath(strip.filepath))
    strip.filepath = strip.filepath
    baked.render.filepath = str(tmp_path / "bare-")
    with disks.without_guard():
        bpy.ops.render.render(animation=True, scene=baked.name)
    with pytest.raises(RuntimeError, match="uncovered in bare-"):
        bpy.ops.faceblur.verify()
    frame, name, leak, finding = next(JOB.verified.list_findings())
    assert leak and name == "disk" and finding.frames >= 0.8 * LENGTH and 11 <= frame < 11 + LENGTH


def test_a_baked_strip_without_its_source_is_reported_and_not_left_out(baked: Any, film: Path, tmp_path: Path) -> None:
    bpy.ops.render.render(animation=True, scene=baked.name)
    for place in (tmp_path / "user").rglob("baked.json"):
        place.unlink()
    with pytest.raises(RuntimeError, match="'disk' was not verified, because its source"):
        bpy.ops.faceblur.verify()
    other = baked.sequence_editor.strips.new_movie("other", str(film), 5, 11, fit_method="ORIGINAL")
    cover_footage(baked, other, disks.build_document(film), EffectSettings("solid", disks.COVER))
    assert [part.strip for part in list_parts(baked)] == ["other"]
    assert len(list_unverified(baked)) == 1 and "'disk'" in list_unverified(baked)[0]


def test_a_face_that_was_switched_off_is_no_leak(scene: Any) -> None:
    get_mask(scene.sequence_editor.strips["disk"]).layers["Face 01"].hide_render = True
    bpy.ops.render.render(animation=True, scene=scene.name)
    assert bpy.ops.faceblur.verify() == {"FINISHED"} and JOB.verified.leaks == 0


def test_a_missing_film_is_reported(scene: Any) -> None:
    with pytest.raises(RuntimeError, match="Render the film first"):
        bpy.ops.faceblur.verify()


def test_a_report_is_written(scene: Any, tmp_path: Path) -> None:
    bpy.ops.render.render(animation=True, scene=scene.name)
    bpy.ops.faceblur.verify()
    for name in ("report.html", "report.json"):
        assert bpy.ops.faceblur.report(filepath=str(tmp_path / name)) == {"FINISHED"}
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["faces"][0]["name"] == "Face 01" and content["verification"]["leaks"] == []
    assert "Face 01" in (tmp_path / "report.html").read_text()
