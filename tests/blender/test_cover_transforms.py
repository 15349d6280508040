# SPDX-License-Identifier: GPL-3.0-or-later
"""The cover stays on the face through every edit of the strip, measured against a render without the cover."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.context import borrow_sequencer
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks

Edit = Callable[[Any, Any, Any], None]


def _build(film: Path) -> tuple[Any, Any, Any]:
    scene = build_project(film, disks.build_document(film), EffectSettings("solid", disks.COVER))
    footage, modifier = disks.get_cover(scene)
    return scene, footage, modifier.input_mask_strip


def _select(scene: Any, *strips: Any) -> None:
    for strip in scene.sequence_editor.strips_all:
        strip.select = strip in strips
    scene.sequence_editor.active_strip = strips[0]


def _operate(scene: Any, operator: Any, **options: Any) -> None:
    with borrow_sequencer(scene):
        assert operator(**options) == {"FINISHED"}


def check_covered(scene: Any, frames: list[int], folder: Path, scale: float = 1.0) -> None:
    """In each frame the disk is visible without the cover and hidden with it, and the cover is centred on the disk.

    The mask is 1.4 times the size of the disk, at most 3 pixels larger, and has a soft edge of 2 pixels.
    """
    modifiers = [m for s in scene.sequence_editor.strips_all for m in s.modifiers if m.type == "COMPOSITOR"]
    for frame in frames:
        for modifier in modifiers:
            modifier.mute = True
        with disks.without_guard():
            bare = disks.see(disks.render_frame(scene, frame, folder / "bare.png"))
        for modifier in modifiers:
            modifier.mute = False
        covered = disks.see(disks.render_frame(scene, frame, folder / "covered.png"))
        assert bare.disk > 150 and bare.cover == 0, f"frame {frame}: no disk is visible without the cover: {bare}"
        assert covered.disk == 0, f"frame {frame}: {covered.disk} of {bare.disk} pixels uncovered"
        assert 1.8 < covered.cover / bare.disk < 2.9, f"frame {frame}: {covered} over {bare}"
        assert math.dist(covered.cover_centre, bare.disk_centre) < 2.5 * scale, f"frame {frame}: {covered} over {bare}"


def move(scene: Any, footage: Any, mask: Any) -> None:
    _select(scene, footage, mask)
    for strip in (mask, footage):
        strip.frame_start += 30


def cut_and_move_right_half(scene: Any, footage: Any, mask: Any) -> None:
    _select(scene, footage, mask)
    _operate(scene, bpy.ops.sequencer.split, frame=20, type="SOFT", side="RIGHT")
    for strip in [s for s in scene.sequence_editor.strips if s.frame_final_start >= 20]:
        strip.frame_start += 30


def trim(scene: Any, footage: Any, mask: Any) -> None:
    for strip in (mask, footage):
        strip.frame_offset_start = 8
        strip.frame_offset_end = 6


def copy_and_delete_original(scene: Any, footage: Any, mask: Any) -> None:
    _select(scene, footage, mask)
    _operate(scene, bpy.ops.sequencer.duplicate)
    copies = [strip for strip in scene.sequence_editor.strips if strip not in (footage, mask)]
    assert len(copies) == 2
    for strip in sorted(copies, key=lambda s: -s.channel):
        strip.channel += 4
        strip.frame_start += 60
    for strip in (footage, mask):
        scene.sequence_editor.strips.remove(strip)


def scale(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.scale_x = footage.transform.scale_y = 0.6


def enlarge(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.scale_x = footage.transform.scale_y = 1.5
    footage.transform.offset_x = 40


def stretch(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.scale_x, footage.transform.scale_y = 0.9, 0.5


def offset(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.offset_x, footage.transform.offset_y = 31, -22


def rotate(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.rotation = 0.4


def turn_upside_down(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.rotation = math.pi


def turn_by_90_and_stretch(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.rotation = math.pi / 2
    footage.transform.scale_x, footage.transform.scale_y = 0.5, 0.7


def stretch_turn_and_offset(scene: Any, footage: Any, mask: Any) -> None:
    footage.transform.rotation = -0.9
    footage.transform.scale_x, footage.transform.scale_y = 0.7, 0.45
    footage.transform.offset_x, footage.transform.offset_y = 15, 10


def flip_horizontally(scene: Any, footage: Any, mask: Any) -> None:
    footage.use_flip_x = True


def flip_and_turn(scene: Any, footage: Any, mask: Any) -> None:
    footage.use_flip_x = footage.use_flip_y = True
    footage.transform.rotation = 0.3


def crop(scene: Any, footage: Any, mask: Any) -> None:
    footage.crop.min_x, footage.crop.max_y, footage.crop.max_x = 20, 15, 10


def animate(scene: Any, footage: Any, mask: Any) -> None:
    for frame, size, angle in ((1, 1.0, 0.0), (40, 0.5, 0.8)):
        footage.transform.scale_x = footage.transform.scale_y = size
        footage.transform.rotation = angle
        for name in ("scale_x", "scale_y", "rotation"):
            footage.transform.keyframe_insert(name, frame=frame)


def shrink_the_canvas(scene: Any, footage: Any, mask: Any) -> None:
    scene.render.resolution_x, scene.render.resolution_y = 240, 135
    footage.transform.scale_x = footage.transform.scale_y = 0.75


def enlarge_the_canvas(scene: Any, footage: Any, mask: Any) -> None:
    scene.render.resolution_x, scene.render.resolution_y = 640, 360


SPACE: list[Edit] = [
    scale, enlarge, stretch, offset, rotate, turn_upside_down, turn_by_90_and_stretch, stretch_turn_and_offset,
    flip_horizontally, flip_and_turn, crop, animate, shrink_the_canvas, enlarge_the_canvas,
]  # fmt: skip


def test_a_new_project_is_covered(film: Path, tmp_path: Path) -> None:
    scene, _, _ = _build(film)
    check_covered(scene, [1, 2, 14, 40], tmp_path)


@pytest.mark.parametrize("edit", SPACE, ids=lambda edit: edit.__name__)
def test_the_cover_has_the_footages_transform(edit: Edit, film: Path, tmp_path: Path) -> None:
    scene, footage, mask = _build(film)
    edit(scene, footage, mask)
    check_covered(scene, [9, 20, 27], tmp_path)


@pytest.mark.parametrize(
    ("edit", "frames"),
    [
        (move, [31, 45, 70]),
        (cut_and_move_right_half, [3, 19, 50, 69]),
        (trim, [9, 20, 34]),
        (copy_and_delete_original, [61, 75, 100]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_cover_stays_in_sync_when_strips_are_moved_and_cut(
    edit: Edit, frames: list[int], film: Path, tmp_path: Path
) -> None:
    scene, footage, mask = _build(film)
    edit(scene, footage, mask)
    check_covered(scene, frames, tmp_path)


@pytest.mark.parametrize(("speed", "length"), [(50, 80), (200, 20)])
def test_the_cover_stays_in_sync_at_another_speed(speed: int, length: int, film: Path, tmp_path: Path) -> None:
    scene, footage, mask = _build(film)
    _select(scene, footage, mask)
    _operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, speed=speed)
    assert footage.frame_final_duration == mask.frame_final_duration == length
    # At half speed each picture is shown twice while the mask moves on. Half a frame is half of 5 pixels.
    check_covered(scene, [1, 2, 11, length - 4], tmp_path, scale=1.5)


def test_the_cover_stays_in_sync_in_reverse(film: Path, tmp_path: Path) -> None:
    scene, footage, mask = _build(film)
    for strip in (footage, mask):
        strip.use_reverse_frames = True
    check_covered(scene, [1, 15, 40], tmp_path)


def reverse_footage_alone(scene: Any, footage: Any, mask: Any) -> None:
    footage.use_reverse_frames = True


def move_footage_alone(scene: Any, footage: Any, mask: Any) -> None:
    footage.frame_start += 17


def trim_footage_alone(scene: Any, footage: Any, mask: Any) -> None:
    footage.frame_offset_start = 5


def retime_footage_alone(scene: Any, footage: Any, mask: Any) -> None:
    _select(scene, footage)
    _operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, speed=200)


def retime_move_and_trim_footage_alone(scene: Any, footage: Any, mask: Any) -> None:
    _select(scene, footage)
    _operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, speed=50)
    footage.frame_start += 9
    footage.frame_offset_start = 10


@pytest.mark.parametrize(
    ("edit", "frames"),
    [
        (reverse_footage_alone, [1, 15, 40]),
        (move_footage_alone, [18, 30, 57]),
        (trim_footage_alone, [6, 30, 40]),
        (retime_footage_alone, [1, 9, 17]),
        (retime_move_and_trim_footage_alone, [21, 40, 85]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_extension_syncs_the_mask_when_only_the_footage_was_edited(
    edit: Edit, frames: list[int], film: Path, tmp_path: Path, extension: None
) -> None:
    scene, footage, mask = _build(film)
    edit(scene, footage, mask)
    check_covered(scene, frames, tmp_path, scale=1.5)


def test_the_extension_covers_a_strip_with_several_speeds_completely(
    film: Path, tmp_path: Path, extension: None
) -> None:
    scene, footage, _ = _build(film)
    _select(scene, footage)
    _operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, speed=100)
    _operate(scene, bpy.ops.sequencer.retiming_key_add, timeline_frame=20)
    footage.retiming_keys[1].timeline_frame = 30
    assert len(footage.retiming_keys) > 2
    sight = disks.see(disks.render_frame(scene, 10, tmp_path / "whole.png"))
    assert sight.all_covered


def test_the_halves_of_a_cut_strip_can_have_different_transforms(film: Path, tmp_path: Path) -> None:
    scene, footage, mask = _build(film)
    cut_and_move_right_half(scene, footage, mask)
    halves = sorted((s for s in scene.sequence_editor.strips if s.type == "MOVIE"), key=lambda s: s.frame_final_start)
    halves[0].transform.scale_x = halves[0].transform.scale_y = 0.5
    halves[1].transform.rotation = 0.5
    check_covered(scene, [3, 19, 52, 69], tmp_path)


def test_footage_may_have_another_aspect_ratio_than_the_canvas(tmp_path: Path) -> None:
    film = disks.write_film(tmp_path / "tall.mp4", (200, 300))
    document = disks.build_document(film, (200, 300), range(26))
    scene = build_project(film, document, EffectSettings("solid", disks.COVER))
    check_covered(scene, [1, 12, 20], tmp_path)
    scene.render.resolution_x, scene.render.resolution_y = 400, 600
    check_covered(scene, [2, 13], tmp_path)


def test_everything_is_covered_if_the_canvas_gets_another_aspect_ratio(film: Path, tmp_path: Path) -> None:
    scene, _, _ = _build(film)
    scene.render.resolution_x, scene.render.resolution_y = 240, 400
    sight = disks.see(disks.render_frame(scene, 10, tmp_path / "narrow.png"))
    assert sight.disk == 0 and sight.cover == 240 * disks.HEIGHT


def test_a_saved_project_is_covered_when_opened_again(film: Path, tmp_path: Path) -> None:
    _build(film)
    path = tmp_path / "project.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    check_covered(bpy.context.scene, [1, 17, 40], tmp_path)
