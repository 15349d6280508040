# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of cuts of one film, with other speeds among them, and in scenes and meta strips inside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from blender_faceblur.blender.common.context import refresh_sequencer
from blender_faceblur.blender.common.footage import get_footage
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.covering import apply_analysis
from blender_faceblur.blender.cover.strips import get_mask, sync_mask_strips
from blender_faceblur.blender.guard.checks import check_scene
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks
from .test_cover_transforms import check_covered

EFFECT = EffectSettings("solid", disks.COVER)
CUTS, LENGTH = 500, 4
"""Number of cuts, and the frames that each shows."""

_SHOWN_FROM = 3
"""The first frame of the film that the first cut shows."""


def _add_cuts(scene: Any, film: Path) -> list[str]:
    """Cuts of the film, each a frame further into it, on three channels in turn; every fiftieth at double speed."""
    names = []
    for number in range(CUTS):
        strip = scene.sequence_editor.strips.new_movie(f"Cut {number}", str(film), 20 + 2 * (number % 3), 1)
        offset, length = _SHOWN_FROM + number % 30, disks.FRAMES
        if number % 50 == 0:
            disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, strip, speed=200)
            offset, length = _SHOWN_FROM, disks.FRAMES // 2
        strip.frame_offset_start, strip.frame_offset_end = offset, length - offset - LENGTH
        strip.frame_start = 101 + number * LENGTH - offset
        strip.channel = 1 + 2 * (number % 3)
        names.append(str(strip.name))
    return names


def test_cuts_of_one_film_on_channels_in_turn(film: Path, tmp_path: Path, extension: None) -> None:
    scene = build_project(film, disks.build_document(film), None)
    scene.sequence_editor.strips.remove(scene.sequence_editor.strips[0])
    scene.frame_end = 100 + CUTS * LENGTH
    names = _add_cuts(scene, film)
    strips = scene.sequence_editor.strips
    document = disks.build_document(film)
    assert apply_analysis(scene, names, get_footage(strips[names[0]]), document, EFFECT) == []
    assert sync_mask_strips(scene) == []
    covers = [get_modifier(strips[name]) for name in names]
    assert len({cover.node_group for cover in covers}) == len({get_mask(strips[name]) for name in names}) == 1
    for name, cover in zip(names, covers, strict=True):
        footage, mask_strip = strips[name], cover.input_mask_strip
        assert (mask_strip.frame_final_start, mask_strip.frame_final_end) == (
            footage.frame_final_start,
            footage.frame_final_end,
        )
        assert mask_strip.channel > footage.channel
    assert check_scene(scene) == []
    frames = [101 + number * LENGTH + at for number in (0, 1, 250, 251, CUTS - 1) for at in (0, LENGTH - 1)]
    check_covered(scene, frames, tmp_path)


def test_a_scene_in_a_scene_and_a_meta_strip_in_a_meta_strip(film: Path, tmp_path: Path, extension: None) -> None:
    inner = build_project(film, disks.build_document(film), None)
    strip = inner.sequence_editor.strips[0]
    for _ in range(2):
        disks.operate(inner, bpy.ops.sequencer.meta_make, *inner.sequence_editor.strips)
    outer = inner
    for name in ("middle", "outer"):
        around = bpy.data.scenes.new(name)
        around.render.resolution_x, around.render.resolution_y = disks.WIDTH, disks.HEIGHT
        around.render.fps, around.view_settings.view_transform = 24, "Standard"
        around.sequence_editor_create()
        bpy.context.workspace.sequencer_scene = around
        around.sequence_editor.strips.new_scene(name, outer, 1, 1).scene_input = "SEQUENCER"
        outer = around
    assert disks.see(disks.render_frame(outer, 1, tmp_path / "bare.png")).disk > 150
    # Now Blender has the picture without a cover in the cache of each scene.
    assert apply_analysis(inner, [strip.name], get_footage(strip), disks.build_document(film), EFFECT) == []
    assert get_modifier(strip).input_mask_strip.parent_meta() == strip.parent_meta()
    assert strip.parent_meta().parent_meta() is not None
    assert check_scene(outer) == []
    covered = disks.see(disks.render_frame(outer, 1, tmp_path / "covered.png"))
    assert covered.disk == 0 and covered.cover > 150
    get_modifier(strip).mute = True
    assert [fault.scene for fault in check_scene(outer)] == [inner.name]
    with disks.without_guard():
        refresh_sequencer(outer.sequence_editor.strips[0].scene)
        refresh_sequencer(inner)
        assert disks.see(disks.render_frame(outer, 1, tmp_path / "shown.png")).disk > 150
    black = disks.see(disks.render_frame(outer, 1, tmp_path / "black.png"))
    assert black.disk == black.cover == 0, "the guard makes it black"
