# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage that is covered inside a meta strip has its Mask strip there too, and both move together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.covering import cover_footage, uncover
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks
from .test_cover_transforms import check_covered

EFFECT = EffectSettings("solid", disks.COVER)


def _build(film: Path) -> tuple[Any, Any, Any]:
    scene = build_project(film, disks.build_document(film), None)
    strip = scene.sequence_editor.strips[0]
    disks.operate(scene, bpy.ops.sequencer.meta_make, strip)
    return scene, scene.sequence_editor.strips[0], strip


@pytest.mark.parametrize("speed", [100, 200])
def test_the_mask_strip_moves_with_the_meta_strip(speed: int, film: Path, tmp_path: Path) -> None:
    scene, meta, strip = _build(film)
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, strip, speed=speed)
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    assert len(scene.sequence_editor.strips) == 1 and len(scene.sequence_editor.meta_stack) == 0
    assert {other.name for other in meta.strips} == {strip.name, get_modifier(strip).input_mask_strip.name}
    meta.frame_start += 25
    first = int(strip.frame_final_start)
    check_covered(scene, [first, first + 9, first + 15], tmp_path)


def test_an_open_meta_strip_stays_open(film: Path) -> None:
    scene, meta, strip = _build(film)
    scene.sequence_editor.display_stack(meta)
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    assert [opened.name for opened in scene.sequence_editor.meta_stack] == [meta.name]


def test_uncovering_removes_mask_and_mask_strip(film: Path) -> None:
    scene, meta, strip = _build(film)
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    uncover(scene, strip)
    assert [other.name for other in meta.strips] == [strip.name] and not bpy.data.masks


def test_a_lost_mask_strip_is_restored_in_the_meta_strip(film: Path, tmp_path: Path, extension: None) -> None:
    scene, meta, strip = _build(film)
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    meta.strips.remove(get_modifier(strip).input_mask_strip)
    get_modifier(strip).input_mask_strip = None
    assert guard.repair_strip(scene, strip, EFFECT) == []
    assert len(meta.strips) == 2
    check_covered(scene, [1, 20, 40], tmp_path)
