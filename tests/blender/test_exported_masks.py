# SPDX-License-Identifier: GPL-3.0-or-later
"""Export Face Masks: what the masks of other programs cover is what the strip covers, with an editor's corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.bake.baking import apply, bake
from blender_faceblur.blender.common.jobs import run_to_end
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.export.masks import export_masks
from blender_faceblur.blender.export.operators.masks import PROGRAM_ITEMS
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths

from ..core.mask_readers import AfterEffectsFile, FusionFile, MaskFile, NukeFile
from . import disks

SIZE = (disks.WIDTH, disks.HEIGHT)
ENDINGS = [item[0] for item in PROGRAM_ITEMS]


@pytest.fixture
def scene(extension: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A saved project with the film of the moving disk at frame 1, covered."""
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    (tmp_path / "user").mkdir()
    film = disks.write_film(tmp_path / "disk.mp4")
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.0
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 2, 1)
    cover_footage(scene, strip, disks.build_document(film), EffectSettings("solid", disks.COVER))
    scene.sequence_editor.active_strip = strip
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    return scene


def get_strip(scene: Any) -> Any:
    return scene.sequence_editor.strips_all["disk"]


def read_masks(path: Path) -> MaskFile:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsx":
        return AfterEffectsFile(text, SIZE, disks.FRAMES, 24.0)
    return (FusionFile if path.suffix == ".setting" else NukeFile)(text, SIZE)


def list_disk_pixels(frame: int) -> tuple[Any, Any]:
    y, x = np.mgrid[0 : disks.HEIGHT, 0 : disks.WIDTH] + 0.5
    cx, cy = disks.place_disk(frame)
    inside = (x - cx) ** 2 + (y - cy) ** 2 < (1.4 * disks.RADIUS) ** 2
    return x[inside], y[inside]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_face_is_covered_in_every_frame_of_the_film(scene: Any, tmp_path: Path, ending: str) -> None:
    # Frames are those of the film, wherever the strip is and however it is cut.
    strip = get_strip(scene)
    strip.frame_start, strip.frame_offset_start = 100, 7
    path = export_masks(strip, tmp_path / "masks", ending)
    assert path == tmp_path / f"masks{ending}"
    file = read_masks(path)
    assert len(file.names) == 1
    for frame in range(disks.FRAMES):
        assert file.contains(frame, *list_disk_pixels(frame)).all(), frame
    y, x = np.mgrid[0 : disks.HEIGHT, 0 : disks.WIDTH] + 0.5
    assert file.contains(20, x, y).mean() < 0.1


def test_a_correction_with_blenders_own_tools_is_in_the_file(scene: Any, tmp_path: Path) -> None:
    layer = get_mask(get_strip(scene)).layers["Face 01"]
    curve = next(c for c in _list_curves(get_mask(get_strip(scene))) if c.data_path == 'layers["Face 01"].alpha')
    assert layer is not None
    for key in curve.keyframe_points:
        key.co.y = 0.0
    file = read_masks(export_masks(get_strip(scene), tmp_path / "masks", ".setting"))
    assert not any(file.contains(frame, *list_disk_pixels(frame)).any() for frame in range(disks.FRAMES))


def _list_curves(mask: Any) -> Any:
    action = mask.animation_data.action
    return [c for layer in action.layers for strip in layer.strips for bag in strip.channelbags for c in bag.fcurves]


def test_a_cover_that_was_drawn_by_hand_stops_the_export_and_is_named(scene: Any, tmp_path: Path) -> None:
    mask = get_mask(get_strip(scene))
    mask.layers.new(name="by hand").splines.new().points.add(3)
    with pytest.raises(FaceBlurError, match=r"drawn by hand.*'by hand'"):
        export_masks(get_strip(scene), tmp_path / "masks", ".py")
    assert not (tmp_path / "masks.py").exists()


def test_a_baked_strip_still_gives_the_masks_of_its_source(scene: Any, tmp_path: Path) -> None:
    assert apply(run_to_end(bake([get_strip(scene)])))[1] == []
    file = read_masks(export_masks(get_strip(scene), tmp_path / "masks", ".py"))
    assert all(file.contains(frame, *list_disk_pixels(frame)).all() for frame in range(disks.FRAMES))


def test_an_existing_file_is_kept(scene: Any, tmp_path: Path) -> None:
    (tmp_path / "masks.py").write_text("mine", encoding="utf-8")
    with pytest.raises(FaceBlurError, match="already exists"):
        export_masks(get_strip(scene), tmp_path / "masks.py", ".py")
    assert (tmp_path / "masks.py").read_text(encoding="utf-8") == "mine"
    export_masks(get_strip(scene), tmp_path / "masks.py", ".py", overwrite=True)
    assert read_masks(tmp_path / "masks.py").names == ["Face_01"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_operator_writes_the_file(scene: Any, tmp_path: Path, ending: str) -> None:
    assert bpy.ops.faceblur.export_masks(filepath=str(tmp_path / "film"), program=ending) == {"FINISHED"}
    assert len(read_masks(tmp_path / f"film{ending}").names) == 1


def test_the_operator_needs_a_covered_strip(scene: Any) -> None:
    assert bpy.ops.faceblur.export_masks.poll()
    scene.sequence_editor.strips.remove(get_strip(scene))
    assert not bpy.ops.faceblur.export_masks.poll()
