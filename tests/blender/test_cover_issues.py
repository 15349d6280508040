# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that makes a cover miss its face is found, and harmless edits are not reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.context import borrow_sequencer
from blender_faceblur.blender.cover import nodes
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.issues import list_cover_issues
from blender_faceblur.blender.cover.strips import list_moving_modifiers, put_cover_first
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks

EFFECT = EffectSettings("solid", disks.COVER)


@pytest.fixture
def project(film: Path) -> tuple[Any, Any, Any]:
    """A project with a face that appears in source frame 10."""
    scene = build_project(film, disks.build_document(film, frames=range(10, disks.FRAMES)), EFFECT)
    footage, modifier = disks.get_cover(scene)
    return scene, footage, modifier.input_mask_strip


def _flip(scene: Any, strip: Any) -> Any:
    """Add a modifier that flips the picture, after all others."""
    tree = nodes.new_group("flip")
    for name in ("Image", "Mask"):
        nodes.add_input(tree, name, "Color")
    nodes.add_output(tree, "Image", "Color")
    source = nodes.add_node(tree, "NodeGroupInput", 0)
    flip = nodes.add_node(tree, "CompositorNodeFlip", 1, Image=source.outputs["Image"])
    flip.inputs[1].default_value = True
    nodes.put(tree, nodes.add_node(tree, "NodeGroupOutput", 2).inputs["Image"], flip.outputs[0])
    with borrow_sequencer(scene):
        modifier = strip.modifiers.new("Flip", "COMPOSITOR")
    modifier.node_group = tree
    return modifier


def test_the_cover_is_put_before_a_modifier_that_moves_the_picture(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    scene = build_project(film, document, None)
    strip = scene.sequence_editor.strips[0]
    _flip(scene, strip)
    cover_footage(scene, strip, document, EFFECT)
    put_cover_first(scene, strip)
    assert [modifier.name for modifier in strip.modifiers] == ["Face Blur", "Flip"]
    assert list_cover_issues(scene, strip) == []
    for frame in (5, 20):
        seen = disks.see(disks.render_frame(scene, frame, tmp_path / "seen.png"))
        assert seen.disk == 0 and seen.cover > 1000


def test_a_moving_modifier_before_the_cover_is_found_and_repaired(
    project: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    scene, strip, _ = project
    _flip(scene, strip)
    assert list_cover_issues(scene, strip) == []
    disks.operate(scene, bpy.ops.sequencer.strip_modifier_move, strip, name="Flip", direction="UP")
    assert disks.see(disks.render_frame(scene, 12, tmp_path / "seen.png")).disk > 1000
    assert [helps for _, helps in list_cover_issues(scene, strip)] == [True]
    put_cover_first(scene, strip)
    assert list_moving_modifiers(strip) == []
    assert disks.see(disks.render_frame(scene, 12, tmp_path / "seen.png")).disk == 0


def test_a_colour_modifier_before_the_cover_is_not_reported(project: tuple[Any, Any, Any]) -> None:
    scene, strip, _ = project
    with borrow_sequencer(scene):
        strip.modifiers.new("Bright", "BRIGHT_CONTRAST")
    disks.operate(scene, bpy.ops.sequencer.strip_modifier_move, strip, name="Bright", direction="UP")
    assert list_cover_issues(scene, strip) == []


def _make_meta(scene: Any, *strips: Any) -> Any:
    disks.operate(scene, bpy.ops.sequencer.meta_make, *strips)
    return next(strip for strip in scene.sequence_editor.strips if strip.type == "META")


def slow_meta(scene: Any, footage: Any, mask: Any) -> Any:
    meta = _make_meta(scene, footage, mask)
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, meta, speed=50)
    return scene


def slow_effect(scene: Any, footage: Any, mask: Any) -> Any:
    effect = scene.sequence_editor.strips.new_effect("slow", "SPEED", 6, 1, length=40, input1=footage)
    effect.speed_control, effect.speed_factor = "MULTIPLY", 0.5
    return scene


def slow_effect_on_a_meta(scene: Any, footage: Any, mask: Any) -> Any:
    return slow_effect(scene, _make_meta(scene, footage, mask), mask)


def slow_scene(scene: Any, footage: Any, mask: Any) -> Any:
    outer = bpy.data.scenes.new("outer")
    outer.render.resolution_x, outer.render.resolution_y = disks.WIDTH, disks.HEIGHT
    outer.view_settings.view_transform = "Standard"
    shown = outer.sequence_editor_create().strips.new_scene("inner", scene, 1, 1)
    shown.scene_input = "SEQUENCER"
    bpy.context.window.scene = outer
    disks.operate(outer, bpy.ops.sequencer.retiming_segment_speed_set, shown, speed=50)
    return outer


@pytest.mark.parametrize(
    "edit", [slow_meta, slow_effect, slow_effect_on_a_meta, slow_scene], ids=lambda edit: edit.__name__
)
def test_speeds_that_read_between_frames_are_found(
    edit: Callable[[Any, Any, Any], Any], project: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    scene, footage, mask = project
    outer = edit(scene, footage, mask)
    # The face first appears in source frame 10, which Blender rounds up to and shows in frame 20 already.
    assert disks.see(disks.render_frame(outer, 20, tmp_path / "seen.png")).disk > 1000, (
        "this version of Blender keeps film and mask in sync"
    )
    assert [helps for _, helps in list_cover_issues(scene, footage)] == [False]


def twice_as_fast(scene: Any, footage: Any, mask: Any) -> Any:
    effect = scene.sequence_editor.strips.new_effect("fast", "SPEED", 6, 1, length=20, input1=footage)
    effect.speed_control, effect.speed_factor = "MULTIPLY", 2.0


def trimmed_meta(scene: Any, footage: Any, mask: Any) -> Any:
    meta = _make_meta(scene, footage, mask)
    meta.frame_offset_start, meta.frame_offset_end = 3, 4
    meta.frame_start += 20


def soft_effect(scene: Any, footage: Any, mask: Any) -> Any:
    scene.sequence_editor.strips.new_effect("soft", "GAUSSIAN_BLUR", 6, 1, length=40, input1=footage)


@pytest.mark.parametrize("edit", [twice_as_fast, trimmed_meta, soft_effect], ids=lambda edit: edit.__name__)
def test_edits_that_read_whole_frames_are_not_reported(
    edit: Callable[[Any, Any, Any], Any], project: tuple[Any, Any, Any]
) -> None:
    scene, footage, mask = project
    edit(scene, footage, mask)
    assert list_cover_issues(scene, footage) == []
