# SPDX-License-Identifier: GPL-3.0-or-later
"""A strip is rendered to footage, which shows the same pictures in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.export.render_to_footage import FOLDER, make_order, put_in_place, render_alone
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.types import FaceBlurError

from . import disks
from .test_cover_issues import _flip as flip


@pytest.fixture
def project(film: Path, tmp_path: Path) -> tuple[Any, Any]:
    """Uncovered footage in a short scene of a saved project."""
    scene = build_project(film, disks.build_document(film), None)
    strip = scene.sequence_editor.strips[0]
    strip.frame_final_duration = 8
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    return scene, strip


def _make_meta(scene: Any, *strips: Any) -> Any:
    with borrow_selection(scene, *strips):
        assert bpy.ops.sequencer.meta_make() == {"FINISHED"}
    return next(strip for strip in scene.sequence_editor.strips if strip.type == "META")


def meta(scene: Any, strip: Any) -> tuple[Any, Any]:
    made = _make_meta(scene, strip)
    made.frame_start += 5
    return scene, made


def transparent_meta(scene: Any, strip: Any) -> tuple[Any, Any]:
    made = _make_meta(scene, strip)
    made.transform.scale_x = made.transform.scale_y = 0.7
    made.transform.rotation = 0.3
    return scene, made


def slow_effect(scene: Any, strip: Any) -> tuple[Any, Any]:
    effect = scene.sequence_editor.strips.new_effect("slow", "SPEED", 6, 1, length=8, input1=strip)
    effect.speed_control, effect.speed_factor = "MULTIPLY", 0.5
    return scene, effect


def flipped(scene: Any, strip: Any) -> tuple[Any, Any]:
    flip(scene, strip)
    return scene, strip


def scene_strip(scene: Any, strip: Any) -> tuple[Any, Any]:
    outer = bpy.data.scenes.new("outer")
    outer.render.resolution_x, outer.render.resolution_y = disks.WIDTH, disks.HEIGHT
    outer.view_settings.view_transform = "Standard"
    scene.frame_end = 8
    shown = outer.sequence_editor_create().strips.new_scene("inner", scene, 1, 1)
    shown.scene_input = "SEQUENCER"
    shown.transform.offset_x = 10
    bpy.context.window.scene = outer
    return outer, shown


def camera_scene(scene: Any, strip: Any) -> tuple[Any, Any]:
    """A glowing disk in front of a camera, rendered by Cycles, which needs no graphics card."""
    three = bpy.data.scenes.new("three")
    three.render.engine = "CYCLES"
    three.cycles.samples, three.cycles.use_denoising = 1, False
    three.view_settings.view_transform = "Standard"
    three.render.resolution_x, three.render.resolution_y = disks.WIDTH, disks.HEIGHT
    angles = [2 * math.pi * step / 32 for step in range(32)]
    mesh = bpy.data.meshes.new("disk")
    mesh.from_pydata([(math.cos(a), math.sin(a), 0.0) for a in angles], [], [list(range(32))])
    glow = bpy.data.materials.new("glow")
    shader = next(node for node in glow.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Emission Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    shader.inputs["Emission Strength"].default_value = 1.0
    mesh.materials.append(glow)
    disk, camera = bpy.data.objects.new("disk", mesh), bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    for thing in (disk, camera):
        three.collection.objects.link(thing)
    camera.location.z, three.camera = 12.0, camera
    for frame, x in ((1, -2.0), (8, 2.0)):
        disk.location.x = x
        disk.keyframe_insert("location", frame=frame)
    shown = scene.sequence_editor.strips.new_scene("three", three, 5, 1)
    shown.scene_input = "CAMERA"
    shown.frame_final_duration = 8
    return scene, shown


def _render(scene: Any, strip: Any) -> Any:
    order = make_order(scene, strip)
    job = render_alone(order)
    shares = []
    while True:
        try:
            step = next(job)
            assert step is not None
            shares.append(step.share)
        except StopIteration as end:
            assert shares[-1] == 1.0
            return put_in_place(scene, order, end.value)


@pytest.mark.parametrize(
    "edit", [meta, transparent_meta, slow_effect, flipped, scene_strip, camera_scene], ids=lambda edit: edit.__name__
)
def test_rendered_footage_shows_the_same_pictures(
    edit: Callable[[Any, Any], tuple[Any, Any]], project: tuple[Any, Any], tmp_path: Path
) -> None:
    scene, strip = edit(*project)
    bpy.ops.wm.save_mainfile()
    start = int(strip.frame_final_start)
    before = [disks.see(disks.render_frame(scene, frame, tmp_path / "seen.png")) for frame in range(start, start + 8)]
    assert len({sight.disk_centre for sight in before}) > 3
    new = _render(scene, strip)
    assert new.type == ("MOVIE" if edit in (meta, slow_effect, flipped, camera_scene) else "IMAGE")
    after = [disks.see(disks.render_frame(scene, frame, tmp_path / "seen.png")) for frame in range(start, start + 8)]
    for one, other in zip(before, after, strict=True):
        assert other.disk == pytest.approx(one.disk, rel=0.03)
        assert other.disk_centre == pytest.approx(one.disk_centre, abs=0.3)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], (
        "a temporary file was left behind"
    )


def test_rendered_footage_is_black_until_it_is_covered(extension: None, film: Path, tmp_path: Path) -> None:
    scene = build_project(film, disks.build_document(film), None)
    strip = scene.sequence_editor.strips[0]
    strip.frame_final_duration = 4
    made = _make_meta(scene, strip)
    scene.sequence_editor.active_strip = made
    bpy.context.workspace.sequencer_scene = scene
    assert not bpy.ops.faceblur.render_to_footage.poll()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    assert bpy.ops.faceblur.render_to_footage() == {"FINISHED"}
    new = scene.sequence_editor.active_strip
    assert new.type == "MOVIE" and [fault.strip for fault in guard.check_scene(scene)] == [new.name]
    assert disks.see(disks.render_frame(scene, 2, tmp_path / "seen.png")).disk == 0


def test_a_second_render_gets_a_name_of_its_own(project: tuple[Any, Any], tmp_path: Path) -> None:
    scene, strip = meta(*project)
    bpy.ops.wm.save_mainfile()
    names = {make_order(scene, strip).output.name}
    (tmp_path / FOLDER).mkdir()
    for _ in range(2):
        (tmp_path / FOLDER / f"{make_order(scene, strip).output.name}.mp4").touch()
        names.add(make_order(scene, strip).output.name)
    assert len(names) == 3


def test_a_strip_that_cannot_be_rendered_alone_is_refused(project: tuple[Any, Any]) -> None:
    scene, strip = project
    made = _make_meta(scene, strip)
    with pytest.raises(FaceBlurError, match="in a meta strip"):
        make_order(scene, strip)
    order = make_order(scene, made)
    made.frame_start += 1
    with pytest.raises(FaceBlurError, match="changed during the render"):
        put_in_place(scene, order, Path("film.mp4"))
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    colour = scene.sequence_editor_create().strips.new_effect("c", "COLOR", 1, 1, length=4)
    with pytest.raises(FaceBlurError, match="Save the project"):
        make_order(scene, colour)


def test_a_cancelled_render_leaves_nothing_behind(project: tuple[Any, Any], tmp_path: Path) -> None:
    scene, strip = meta(*project)
    bpy.ops.wm.save_mainfile()
    before = sorted(path.name for path in tmp_path.iterdir())
    job = render_alone(make_order(scene, strip), wait_s=0.0)
    assert next(job) is None
    job.close()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != FOLDER) == before
    assert list((tmp_path / FOLDER).iterdir()) == []
