# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips that were cut or copied from one another: changing one leaves the cover of the other intact."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from blender_faceblur.blender.cover.covering import put_cover, uncover
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks
from .test_cover_transforms import check_covered

EFFECT = EffectSettings("solid", disks.COVER)


@pytest.mark.parametrize("change", ["update", "remove"])
def test_changing_one_half_of_a_cut_strip_keeps_the_other_covered(change: str, film: Path, tmp_path: Path) -> None:
    """Both halves use one node group. Blender counts one user for it, and would not save it with none."""
    scene = build_project(film, disks.build_document(film), EFFECT)
    footage, modifier = disks.get_cover(scene)
    disks.operate(
        scene, bpy.ops.sequencer.split, footage, modifier.input_mask_strip, frame=20, type="SOFT", side="RIGHT"
    )
    if change == "update":
        put_cover(scene, footage, get_mask(footage), EFFECT, load_document(get_mask(footage)))
    else:
        uncover(scene, footage)
    path = tmp_path / "project.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    check_covered(bpy.context.scene, [21, 30, 40], tmp_path)
    if change == "update":
        check_covered(bpy.context.scene, [1, 19], tmp_path)
    else:
        assert disks.see(disks.render_frame(bpy.context.scene, 10, tmp_path / "bare.png")).disk > 1000


def test_uncovering_both_removes_all_data_blocks(film: Path) -> None:
    scene = build_project(film, disks.build_document(film), EFFECT)
    footage, modifier = disks.get_cover(scene)
    disks.operate(scene, bpy.ops.sequencer.duplicate, footage, modifier.input_mask_strip)
    for strip in [strip for strip in scene.sequence_editor.strips if strip.type == "MOVIE"]:
        uncover(scene, strip)
    assert not [group.name for group in bpy.data.node_groups if group.name.startswith("Face Blur: ")]
    assert not bpy.data.masks


def test_footage_that_shares_a_mask_strip_gets_its_own(film: Path, tmp_path: Path, extension: None) -> None:
    """An editor copied only the footage, and one Mask strip cannot be where both copies are."""
    scene = build_project(film, disks.build_document(film), EFFECT)
    footage, modifier = disks.get_cover(scene)
    disks.operate(scene, bpy.ops.sequencer.disconnect, footage, modifier.input_mask_strip)
    disks.operate(scene, bpy.ops.sequencer.duplicate, footage)
    copy = next(s for s in scene.sequence_editor.strips if s.type == "MOVIE" and s != footage)
    copy.channel = 8
    copy.frame_start += 60
    for frame in (20, 80):
        assert disks.see(disks.render_frame(scene, frame, tmp_path / "seen.png")).disk == 0
    for fault in guard.check_scene(scene):
        guard.repair_strip(scene, scene.sequence_editor.strips_all[fault.strip], EFFECT)
    assert guard.check_scene(scene) == []
    check_covered(scene, [1, 20, 40, 61, 80, 100], tmp_path)
