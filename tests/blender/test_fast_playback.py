# SPDX-License-Identifier: GPL-3.0-or-later
"""During fast playback a drawn shape lies where each cover is, or the cover stays; everything else has the covers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover import fast_playback
from blender_faceblur.blender.cover import handlers as cover_handlers
from blender_faceblur.blender.cover.strips import remove_strip
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.masks.mask import extend_frame_range
from blender_faceblur.blender.overlay.fast_covers import compute_shapes
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks

EFFECT = EffectSettings("solid", disks.COVER)

pytestmark = pytest.mark.skipif(not fast_playback.is_available(), reason="from Blender 5.2 on")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.write_film(tmp_path_factory.mktemp("film") / "disk.mp4")


@pytest.fixture
def project(film: Path) -> Iterator[tuple[Any, Any]]:
    scene = build_project(film, disks.build_document(film), EFFECT)
    cover_handlers.register_handlers()
    fast_playback.register_handlers()
    fast_playback.set_fast_playback(True)
    yield scene, disks.get_cover(scene)[0]
    fast_playback.set_fast_playback(False)
    fast_playback.unregister_handlers()
    cover_handlers.unregister_handlers()


def play() -> None:
    for handler in bpy.app.handlers.animation_playback_pre:
        handler(bpy.context.scene, None)


def stop() -> None:
    for handler in bpy.app.handlers.animation_playback_post:
        handler(bpy.context.scene, None)


def compute(scene: Any, strip: Any, frame: int | None) -> list[Any]:
    return compute_shapes(scene, strip, frame, fast_playback.MovedStrips.find(scene))


def test_the_shape_lies_on_the_face_in_every_frame(project: tuple[Any, Any]) -> None:
    scene, strip = project
    play()
    assert fast_playback.is_drawn(strip) and not get_modifier(strip).show_preview
    # The guard has nothing to say: the preview shows no face.
    assert guard.check_scene(scene) == []
    for frame in range(disks.FRAMES):
        (shape,) = compute(scene, strip, frame)
        x, y = disks.place_disk(frame)
        middle = x - disks.WIDTH / 2, disks.HEIGHT / 2 - y
        reach = np.hypot(*(shape - middle).T)
        assert reach.min() > disks.RADIUS, frame
    stop()
    assert get_modifier(strip).show_preview and fast_playback.DRAWN not in strip


def test_what_cannot_be_placed_is_covered_as_a_whole(project: tuple[Any, Any]) -> None:
    scene, strip = project
    play()
    assert fast_playback.is_drawn(strip)
    remove_strip(scene, get_modifier(strip).input_mask_strip)
    for shapes in (compute(scene, strip, 3), compute(scene, strip, None)):
        (shape,) = shapes
        assert np.ptp(shape, axis=0) == pytest.approx((disks.WIDTH, disks.HEIGHT))


def _nest(scene: Any, strip: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.meta_make, strip, get_modifier(strip).input_mask_strip)


def _adjust(scene: Any, strip: Any) -> None:
    scene.sequence_editor.strips.new_effect("over", "ADJUSTMENT", 20, strip.left_handle + 5, length=10)


def _use(scene: Any, strip: Any) -> None:
    scene.sequence_editor.strips.new_effect("glow", "GLOW", 20, strip.left_handle, length=10, input1=strip)


def _show_in_another_scene(scene: Any, strip: Any) -> None:
    other = bpy.data.scenes.new("other")
    other.sequence_editor_create()
    other.sequence_editor.strips.new_scene("inner", scene, 1, 1)


def _draw_by_hand(scene: Any, strip: Any) -> None:
    mask = get_modifier(strip).input_mask_strip.mask
    mask.layers.new(name="by hand")
    extend_frame_range(mask)


def _add_modifier(scene: Any, strip: Any) -> None:
    strip.modifiers.new("other", "BRIGHT_CONTRAST")


def _compare_frames(scene: Any, strip: Any) -> None:
    scene.sequence_editor.show_overlay_frame = True


@pytest.mark.parametrize(
    "change", [_nest, _adjust, _use, _show_in_another_scene, _draw_by_hand, _add_modifier, _compare_frames]
)
def test_a_cover_stays_where_a_shape_could_lie_wrong(
    change: Callable[[Any, Any], None], project: tuple[Any, Any]
) -> None:
    scene, strip = project
    change(scene, strip)
    play()
    assert get_modifier(strip).show_preview and not fast_playback.is_drawn(strip)


@pytest.mark.parametrize("change", [_adjust, _use, _draw_by_hand, _add_modifier, _compare_frames])
def test_a_change_while_it_plays_covers_the_whole_strip(
    change: Callable[[Any, Any], None], project: tuple[Any, Any]
) -> None:
    scene, strip = project
    play()
    assert fast_playback.is_drawn(strip)
    change(scene, strip)
    (shape,) = compute(scene, strip, 3)
    assert np.ptp(shape, axis=0) == pytest.approx((disks.WIDTH, disks.HEIGHT))


def test_saving_and_rendering_end_it(project: tuple[Any, Any], tmp_path: Path) -> None:
    scene, strip = project
    play()
    assert fast_playback.is_drawn(strip)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    assert get_modifier(strip).show_preview and not fast_playback.is_drawn(strip)
    play()
    assert fast_playback.is_drawn(strip)
    disks.render_frame(scene, 3, tmp_path / "picture.png")
    assert get_modifier(strip).show_preview and not fast_playback.is_drawn(strip)


def test_a_file_that_was_written_while_it_played_opens_with_its_covers(
    project: tuple[Any, Any], tmp_path: Path
) -> None:
    """As an automatic save calls no handler."""
    play()
    assert fast_playback.is_drawn(disks.get_cover(bpy.context.scene)[0])
    handlers = list(bpy.app.handlers.save_pre)
    bpy.app.handlers.save_pre.clear()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    bpy.app.handlers.save_pre.extend(handlers)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "project.blend"))
    strip = disks.get_cover(bpy.context.scene)[0]
    assert get_modifier(strip).show_preview and fast_playback.DRAWN not in strip


def test_nothing_happens_unless_an_editor_asked_for_it(project: tuple[Any, Any]) -> None:
    _, strip = project
    fast_playback.set_fast_playback(False)
    play()
    assert get_modifier(strip).show_preview and not fast_playback.is_drawn(strip)
