# SPDX-License-Identifier: GPL-3.0-or-later
"""After everything that an editor does to a film, the face stays covered, or the strip has a fault and renders black.

Changes of one strip's transform and timing are in test_cover_transforms.py, broken covers in test_guard.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks
from .test_cover_transforms import check_covered

EFFECT = EffectSettings("solid", disks.COVER)
Frames = list[int]
ROOT = Path(__file__).resolve().parents[2]


def _build(film: Path) -> tuple[Any, Any, Any]:
    scene = build_project(film, disks.build_document(film), EFFECT)
    footage, modifier = disks.get_cover(scene)
    return scene, footage, modifier.input_mask_strip


def _make_meta(scene: Any, *strips: Any) -> Any:
    before = {strip.name for strip in scene.sequence_editor.strips}
    disks.operate(scene, bpy.ops.sequencer.meta_make, *strips)
    return next(s for s in scene.sequence_editor.strips if s.type == "META" and s.name not in before)


def close_a_gap(scene: Any, footage: Any, mask: Any) -> Frames:
    for strip in (mask, footage):
        strip.frame_start += 30
    scene.frame_set(1)
    disks.operate(scene, bpy.ops.sequencer.gap_remove, footage, all=True)
    return [1, 20, 40]


def open_a_gap(scene: Any, footage: Any, mask: Any) -> Frames:
    scene.frame_set(1)
    disks.operate(scene, bpy.ops.sequencer.gap_insert, footage, frames=12)
    return [13, 30, 50]


def slip(scene: Any, footage: Any, mask: Any) -> Frames:
    for strip in (mask, footage):
        strip.frame_offset_start = strip.frame_offset_end = 6
    disks.operate(scene, bpy.ops.sequencer.slip, footage, mask, offset=4)
    return [7, 20, 34]


def put_in_a_meta_strip(scene: Any, footage: Any, mask: Any) -> Frames:
    _make_meta(scene, footage, mask).frame_start += 25
    return [26, 40, 65]


def put_in_a_meta_strip_that_is_changed(scene: Any, footage: Any, mask: Any) -> Frames:
    meta = _make_meta(scene, footage, mask)
    meta.frame_start += 25
    meta.frame_offset_start = 5
    meta.transform.scale_x = meta.transform.scale_y = 0.7
    meta.transform.rotation = 0.3
    return [31, 40, 65]


def take_out_of_a_meta_strip(scene: Any, footage: Any, mask: Any) -> Frames:
    meta = _make_meta(scene, footage, mask)
    meta.frame_start += 25
    disks.operate(scene, bpy.ops.sequencer.meta_separate, meta)
    return [26, 40, 65]


def put_in_two_meta_strips(scene: Any, footage: Any, mask: Any) -> Frames:
    inner = _make_meta(scene, footage, mask)
    inner.frame_start += 10
    _make_meta(scene, inner).frame_start += 10
    return [21, 40, 60]


def cut_a_meta_strip(scene: Any, footage: Any, mask: Any) -> Frames:
    meta = _make_meta(scene, footage, mask)
    disks.operate(scene, bpy.ops.sequencer.split, meta, frame=20, type="SOFT", side="RIGHT")
    for strip in list(scene.sequence_editor.strips):
        if strip.frame_final_start >= 20:
            strip.frame_start += 30
    return [3, 19, 50, 69]


def copy_a_meta_strip(scene: Any, footage: Any, mask: Any) -> Frames:
    meta = _make_meta(scene, footage, mask)
    disks.operate(scene, bpy.ops.sequencer.duplicate, meta)
    copy = next(strip for strip in scene.sequence_editor.strips if strip != meta)
    copy.frame_start += 60
    scene.sequence_editor.strips.remove(meta)
    return [61, 80, 100]


def change_the_frame_rate(scene: Any, footage: Any, mask: Any) -> Frames:
    scene.render.fps = 30
    return [1, 20, 40]


def change_the_frame_rate_and_reload(scene: Any, footage: Any, mask: Any) -> Frames:
    scene.render.fps = 30
    disks.operate(scene, bpy.ops.sequencer.reload, footage, mask, adjust_length=True)
    return [1, 20, 40]


ALONE: list[Callable[[Any, Any, Any], Frames]] = [
    close_a_gap, open_a_gap, slip, put_in_a_meta_strip, put_in_a_meta_strip_that_is_changed, take_out_of_a_meta_strip,
    put_in_two_meta_strips, cut_a_meta_strip, copy_a_meta_strip, change_the_frame_rate,
    change_the_frame_rate_and_reload,
]  # fmt: skip


@pytest.mark.parametrize("edit", ALONE, ids=lambda edit: edit.__name__)
def test_the_face_stays_covered_without_the_extension(
    edit: Callable[[Any, Any, Any], Frames], film: Path, tmp_path: Path
) -> None:
    scene, footage, mask = _build(film)
    check_covered(scene, edit(scene, footage, mask), tmp_path)


def slip_footage_alone(scene: Any, footage: Any, mask: Any) -> Frames:
    footage.frame_offset_start = footage.frame_offset_end = 6
    disks.operate(scene, bpy.ops.sequencer.slip, footage, offset=4)
    return [7, 20, 34]


def disconnect_and_move(scene: Any, footage: Any, mask: Any) -> Frames:
    disks.operate(scene, bpy.ops.sequencer.disconnect, footage, mask)
    footage.frame_start += 20
    return [21, 40, 60]


def move_inside_a_meta_strip(scene: Any, footage: Any, mask: Any) -> Frames:
    _make_meta(scene, footage, mask)
    footage.frame_start += 15
    return [21, 35]


@pytest.mark.parametrize(
    "edit", [*ALONE, slip_footage_alone, disconnect_and_move, move_inside_a_meta_strip], ids=lambda edit: edit.__name__
)
def test_the_face_stays_covered_with_the_extension(
    edit: Callable[[Any, Any, Any], Frames], film: Path, tmp_path: Path, extension: None
) -> None:
    scene, footage, mask = _build(film)
    frames = edit(scene, footage, mask)
    check_covered(scene, frames, tmp_path)
    assert guard.check_scene(scene) == []


def _check_covered_or_black(scene: Any, frames: Frames, folder: Path) -> None:
    """With the guard no frame shows a pixel of the disk; faults can be repaired, and then the disk is covered."""
    faults = guard.check_scene(scene)
    for frame in frames:
        seen = disks.see(disks.render_frame(scene, frame, folder / "seen.png"))
        assert seen.disk == 0, f"frame {frame}: {seen}, {faults}"
    for name in {fault.strip for fault in faults}:
        assert guard.repair_strip(scene, scene.sequence_editor.strips_all[name], EFFECT) == []
    check_covered(scene, frames, folder)


@pytest.mark.parametrize("with_mask", [True, False], ids=["with its mask", "alone"])
@pytest.mark.parametrize("size", [(disks.WIDTH, disks.HEIGHT), (640, 360)], ids=["same canvas", "larger canvas"])
def test_a_strip_pasted_into_another_scene_is_covered_or_black(
    with_mask: bool, size: tuple[int, int], film: Path, tmp_path: Path, extension: None
) -> None:
    """Blender 5.0.1 loses the modifier's node group, but the strip itself is marked as one that must be covered."""
    scene, footage, mask = _build(film)
    disks.operate(scene, bpy.ops.sequencer.copy, *((footage, mask) if with_mask else (footage,)))
    other = bpy.data.scenes.new("other")
    other.sequence_editor_create()
    other.render.resolution_x, other.render.resolution_y = size
    other.view_settings.view_transform = "Standard"
    other.render.fps = 24
    bpy.context.window.scene = other
    other.frame_set(31)
    with borrow_selection(scene, footage):
        bpy.context.workspace.sequencer_scene = other
        assert bpy.ops.sequencer.paste() == {"FINISHED"}
    _check_covered_or_black(other, [31, 50, 70], tmp_path)


def test_a_copied_scene_is_covered(film: Path, tmp_path: Path, extension: None) -> None:
    scene, _, _ = _build(film)
    bpy.context.window.scene = scene
    assert bpy.ops.scene.new(type="FULL_COPY") == {"FINISHED"}
    other = next(copy for copy in bpy.data.scenes if copy != scene)
    bpy.context.window.scene = other
    bpy.data.scenes.remove(scene)
    assert guard.check_scene(other) == []
    check_covered(other, [1, 20, 40], tmp_path)


def test_a_modifier_copied_to_another_film_is_a_fault(
    film: Path, tmp_path: Path, extension: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, footage, _ = _build(film)
    monkeypatch.setattr(disks, "place_disk", lambda frame: (260.0 - 5 * frame, 120.0))
    other = scene.sequence_editor.strips.new_movie("other", str(disks.write_film(tmp_path / "other.mp4")), 5, 1)
    disks.operate(scene, bpy.ops.sequencer.strip_modifier_copy, footage, other)
    assert [fault.strip for fault in guard.check_scene(scene)] == ["other"]
    footage.mute = True
    assert disks.see(disks.render_frame(scene, 20, tmp_path / "seen.png")).disk == 0


def test_the_face_stays_covered_through_undo_and_redo(film: Path, tmp_path: Path, extension: None) -> None:
    scene, footage, mask = _build(film)
    name = scene.name
    bpy.ops.ed.undo_push(message="as built")
    footage.frame_start += 30
    bpy.context.view_layer.update()
    bpy.ops.ed.undo_push(message="moved")
    footage.transform.scale_x = 0.5
    _make_meta(scene, footage, mask)
    bpy.ops.ed.undo_push(message="in a meta strip")
    for operator, frames in (
        (bpy.ops.ed.undo, [31, 50, 70]),
        (bpy.ops.ed.undo, [1, 20, 40]),
        (bpy.ops.ed.redo, [31, 50, 70]),
        (bpy.ops.ed.redo, [31, 50, 70]),
    ):
        assert operator() == {"FINISHED"}
        assert guard.check_scene(bpy.data.scenes[name]) == []
        check_covered(bpy.data.scenes[name], frames, tmp_path)


def test_a_missing_file_is_a_fault_until_it_is_back(film: Path, tmp_path: Path, extension: None) -> None:
    own = tmp_path / "own.mp4"
    own.write_bytes(film.read_bytes())
    scene, _, _ = _build(own)
    own.rename(tmp_path / "away.mp4")
    assert [fault.shows for fault in guard.check_scene(scene)] == [True]
    (tmp_path / "away.mp4").rename(own)
    assert guard.check_scene(scene) == []
    check_covered(scene, [1, 20], tmp_path)


def test_a_strip_relinked_to_a_copy_of_its_film_is_covered(film: Path, tmp_path: Path, extension: None) -> None:
    scene, footage, _ = _build(film)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(film.read_bytes())
    footage.filepath = str(copy)
    assert guard.check_scene(scene) == []
    check_covered(scene, [1, 20, 40], tmp_path)


WRITE = """
import sys
sys.path.insert(0, sys.argv[-3])
from pathlib import Path
import bpy
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from tests.blender import disks
film = Path(sys.argv[-2])
scene = build_project(film, disks.build_document(film), EffectSettings("solid", disks.COVER))
footage, modifier = disks.get_cover(scene)
for strip in (modifier.input_mask_strip, footage):
    strip.frame_start += 10
footage.transform.scale_x = footage.transform.scale_y = 0.7
footage.transform.rotation = 0.3
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
print("WRITTEN BY", bpy.app.version_string)
"""


def _find_other_python() -> str:
    """$FACEBLUR_OTHER_BPY, or else the Python of the environment whose packages the tests use, with bpy 5.0."""
    named = os.environ.get("FACEBLUR_OTHER_BPY")
    found = (Path(entry).parents[2] / "bin" / "python" for entry in sys.path if entry.endswith("site-packages"))
    return named or next((str(python) for python in found if python.exists()), "")


def test_a_project_saved_by_another_blender_is_covered(film: Path, tmp_path: Path) -> None:
    other = _find_other_python()
    if not other:
        pytest.skip("there is no other Blender: FACEBLUR_OTHER_BPY does not name a Python with the bpy module")
    path = tmp_path / "written.blend"
    done = subprocess.run(
        [other, "-c", WRITE, str(ROOT), str(film), str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    if "No module named 'bpy'" in done.stderr:
        pytest.skip(f"{other} does not have the bpy module")
    assert "WRITTEN BY" in done.stdout, done.stderr
    version = done.stdout.split("WRITTEN BY")[1].split()[0]
    if version == bpy.app.version_string.split()[0]:
        pytest.skip(f"there is no Blender other than {version}")
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert guard.check_scene(bpy.context.scene) == []
    check_covered(bpy.context.scene, [11, 30, 50], tmp_path)
