# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard renders a strip black if its cover would miss, and the handlers repair what they can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.rendering.project import build_project

from . import disks
from .test_cover_issues import EFFECT, _flip, slow_effect, slow_effect_on_a_meta, slow_meta, slow_scene
from .test_cover_transforms import check_covered


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.write_film(tmp_path_factory.mktemp("film") / "disk.mp4")


@pytest.fixture(autouse=True)
def extension() -> Iterator[None]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_faceblur.register()
    yield
    blender_faceblur.unregister()


def _build(film: Path, frames: range = range(disks.FRAMES)) -> tuple[Any, Any, Any]:
    scene = build_project(film, disks.build_document(film, frames=frames), EFFECT)
    footage, modifier = disks.get_cover(scene)
    return scene, footage, modifier.input_mask_strip


@pytest.mark.parametrize(
    "edit", [slow_meta, slow_effect, slow_effect_on_a_meta, slow_scene], ids=lambda edit: edit.__name__
)
def test_speeds_that_read_between_frames_are_black(
    edit: Callable[[Any, Any, Any], Any], film: Path, tmp_path: Path
) -> None:
    outer = edit(*_build(film, range(10, disks.FRAMES)))
    assert disks.see(disks.render_frame(outer, 20, tmp_path / "seen.png")).disk == 0


def test_a_moving_modifier_before_the_cover_is_black_until_repaired(film: Path, tmp_path: Path) -> None:
    scene, footage, _ = _build(film)
    _flip(scene, footage)
    disks.operate(scene, bpy.ops.sequencer.strip_modifier_move, footage, name="Flip", direction="UP")
    assert disks.see(disks.render_frame(scene, 5, tmp_path / "seen.png")).disk == 0
    assert [fault.repair for fault in guard.check_scene(scene)] == [True]
    assert guard.repair_strip(scene, footage, EFFECT) == []
    seen = disks.see(disks.render_frame(scene, 5, tmp_path / "seen.png"))
    assert seen.disk == 0 and 1000 < seen.cover < 4000


def test_the_mask_strip_gets_the_footages_strobe(film: Path, tmp_path: Path) -> None:
    scene, footage, _ = _build(film)
    footage.strobe = 6
    check_covered(scene, [1, 4, 6, 12, 17, 30], tmp_path)
    assert guard.check_scene(scene) == []


@pytest.mark.parametrize("name", ["animation_offset_start", "animation_offset_end"])
def test_footage_that_skips_frames_for_good_is_covered(name: str, film: Path, tmp_path: Path) -> None:
    scene, footage, _ = _build(film)
    setattr(footage, name, 8)
    for frame in (10, 20, 28):
        assert disks.see(disks.render_frame(scene, frame, tmp_path / "seen.png")).disk == 0


@pytest.mark.parametrize("name", ["animation_offset_start", "animation_offset_end"])
def test_a_mask_strip_that_skips_frames_for_good_is_repaired(name: str, film: Path, tmp_path: Path) -> None:
    scene, _, mask_strip = _build(film)
    setattr(mask_strip, name, 8)
    check_covered(scene, [1, 20, 38], tmp_path)
    assert guard.check_scene(scene) == []
