# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper scene for editing a mask: it shows the right footage, loses no edit and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.correction.edit_masks import close_masks, get_helper, open_masks
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.editing import list_locked_frames
from blender_faceblur.core.types import FaceBlurError

from . import disks
from .test_corrections import move_key

CANVASES = [(disks.WIDTH, disks.HEIGHT), (180, 320), (400, 200)]


def _build(film: Path, canvas: tuple[int, int] = CANVASES[0]) -> tuple[Any, Any, Any]:
    """A covered strip that does not lie in the mask's own time."""
    scene = build_project(film, disks.build_document(film), None)
    scene.render.resolution_x, scene.render.resolution_y = canvas
    strip = scene.sequence_editor.strips[0]
    cover_footage(scene, strip, disks.build_document(film), EffectSettings("solid", disks.COVER))
    strip.frame_start += 20
    get_modifier(strip).input_mask_strip.frame_start += 20
    strip.frame_offset_start = get_modifier(strip).input_mask_strip.frame_offset_start = 4
    return scene, strip, get_modifier(strip).input_mask_strip.mask


def _list_data() -> dict[str, list[str]]:
    return {
        kind: sorted(block.name for block in getattr(bpy.data, kind))
        for kind in ("scenes", "masks", "movieclips", "images", "workspaces", "texts", "node_groups")
    }


@pytest.mark.parametrize("canvas", CANVASES, ids=["its own", "tall", "wide"])
def test_the_picture_lies_under_the_mask(canvas: tuple[int, int], film: Path, tmp_path: Path) -> None:
    scene, strip, mask = _build(film, canvas)
    scene.frame_set(33)
    helper = open_masks(scene, strip, bpy.context.window)
    source_frame = 33 - 21
    assert helper.frame_current == mask.frame_start + source_frame
    assert bpy.context.window.scene == helper
    # Mask coordinates run along the longer side of the Mask editor's picture, from the middle.
    width, height = helper.render.resolution_x, helper.render.resolution_y
    points = np.array([point.co for point in mask.layers["Face 01"].splines[0].points])
    x, y = (points.mean(axis=0) - 0.5) * max(width, height) + (width / 2, height / 2)
    helper.render.use_sequencer = True
    seen = disks.see(disks.render_frame(helper, helper.frame_current, tmp_path / "seen.png"))
    assert seen.disk > 1000
    assert seen.disk_centre == pytest.approx((x - 0.5, height - y - 0.5), abs=1.5)
    close_masks()


def test_edits_of_the_mask_become_locked_keys(film: Path) -> None:
    scene, strip, mask = _build(film)
    scene.frame_set(40)
    before = _list_data()
    open_masks(scene, strip, bpy.context.window)
    assert close_masks() == 0 and _list_data() == before
    open_masks(scene, strip, bpy.context.window)
    move_key(mask, "Face 01", 22, 0.05)
    assert close_masks() == 1
    assert _list_data() == before
    assert (scene.frame_current, bpy.context.window.scene) == (40, scene)
    assert 22 in list_locked_frames(load_document(mask).tracks[0])


def test_a_new_layer_counts_as_a_change(film: Path) -> None:
    scene, strip, mask = _build(film)
    open_masks(scene, strip, bpy.context.window)
    mask.layers.new(name="by hand").splines.new().points.add(3)
    mask.update_tag()
    assert close_masks() == 1
    assert mask.layers["by hand"].invert, "the layer shows what it surrounds"


def test_the_uncovered_footage_cannot_be_rendered(film: Path, tmp_path: Path) -> None:
    scene, strip, _ = _build(film)
    helper = open_masks(scene, strip, bpy.context.window)
    helper.render.filepath = str(tmp_path / "leak.png")
    with pytest.raises(RuntimeError, match="amera"):
        bpy.ops.render.render(write_still=True, scene=helper.name)
    assert not (tmp_path / "leak.png").exists()
    close_masks()


def test_only_one_covered_strip_can_be_edited_at_a_time(film: Path) -> None:
    scene, strip, _ = _build(film)
    with pytest.raises(FaceBlurError, match="No mask"):
        close_masks()
    open_masks(scene, strip, bpy.context.window)
    with pytest.raises(FaceBlurError, match="already"):
        open_masks(scene, strip, bpy.context.window)
    close_masks()
    bare = scene.sequence_editor.strips.new_movie("bare", str(film), 9, 1)
    with pytest.raises(FaceBlurError, match="no mask"):
        open_masks(scene, bare, bpy.context.window)
    assert get_helper() is None


def test_a_picture_sequence_in_any_order_is_shown(film: Path, tmp_path: Path) -> None:
    """Blender's movie clips and images cannot show such a sequence."""
    import cv2

    names = []
    for number, name in enumerate(("b.png", "x7.png", "a.png")):
        cv2.imwrite(str(tmp_path / name), np.full((disks.HEIGHT, disks.WIDTH, 3), 60 + 70 * number, np.uint8))
        names.append(name)
    scene, _, mask = _build(film)
    pictures = scene.sequence_editor.strips.new_image("pictures", str(tmp_path / names[0]), 8, 1)
    for name in names[1:]:
        pictures.elements.append(name)
    cover_footage(scene, pictures, load_document(mask), EffectSettings("solid", disks.COVER))
    helper = open_masks(scene, pictures, bpy.context.window)
    helper.render.use_sequencer = True
    start = get_modifier(pictures).input_mask_strip.mask.frame_start
    greys = [int(disks.render_frame(helper, start + n, tmp_path / "seen.png")[90, 160, 0]) for n in range(3)]
    assert greys == pytest.approx([60, 130, 200], abs=2)
    close_masks()


def test_the_operators_open_and_close_the_helper_scene(extension: None, film: Path) -> None:
    scene, strip, mask = _build(film)
    scene.sequence_editor.active_strip = strip
    bpy.context.workspace.sequencer_scene = scene
    assert bpy.ops.faceblur.edit_masks() == {"FINISHED"}
    assert not bpy.ops.faceblur.edit_masks.poll()
    move_key(mask, "Face 01", 9, 0.05)
    assert bpy.ops.faceblur.back_from_masks() == {"FINISHED"}
    assert get_helper() is None and 9 in list_locked_frames(load_document(mask).tracks[0])
    assert not bpy.ops.faceblur.back_from_masks.poll()


def test_a_project_saved_while_a_mask_is_edited_can_be_closed_later(
    extension: None, film: Path, tmp_path: Path
) -> None:
    scene, strip, mask = _build(film)
    name = mask.name
    open_masks(scene, strip, bpy.context.window)
    move_key(mask, "Face 01", 22, 0.05)
    path = tmp_path / "middle.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert close_masks() == 1
    assert get_helper() is None and 22 in list_locked_frames(load_document(bpy.data.masks[name]).tracks[0])


def test_undo_and_redo_leave_and_enter_the_helper_scene(extension: None, film: Path) -> None:
    scene, strip, mask = _build(film)
    name = mask.name
    bpy.ops.ed.undo_push(message="begin")
    open_masks(scene, strip, bpy.context.window)
    bpy.ops.ed.undo_push(message="Edit Masks")
    bpy.ops.ed.undo()
    assert get_helper() is None
    bpy.ops.ed.redo()
    assert get_helper() is not None
    move_key(bpy.data.masks[name], "Face 01", 22, 0.05)
    assert close_masks() == 1
    bpy.ops.ed.undo_push(message="Back")
    bpy.ops.ed.undo()
    assert list_locked_frames(load_document(bpy.data.masks[name]).tracks[0]) == []
