# SPDX-License-Identifier: GPL-3.0-or-later
"""The projection of a strip's pixels to the canvas, compared with where a render shows a disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.cover.projection import (
    RegionProjection,
    compute_outlines,
    get_projection,
    get_region_projection,
)
from blender_faceblur.core.types import Ellipse

from . import disks

CANVAS = (400, 300)
FRAME = 17
"""The timeline frame, in which the disk is near the centre of the picture."""


@pytest.fixture
def scene(film: Path) -> Any:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = CANVAS
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.view_settings.view_transform = "Standard"
    scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1, fit_method="ORIGINAL")
    return scene


def move(strip: Any) -> None:
    strip.transform.offset_x, strip.transform.offset_y = 31, -17


def scale(strip: Any) -> None:
    strip.transform.scale_x, strip.transform.scale_y = 0.6, 1.3
    move(strip)


def turn(strip: Any) -> None:
    scale(strip)
    strip.transform.rotation = math.radians(37)


def turn_about_a_corner(strip: Any) -> None:
    strip.transform.origin = (0.1, 0.85)
    strip.transform.scale_x = strip.transform.scale_y = 0.8
    strip.transform.rotation = math.radians(-20)


def mirror(strip: Any) -> None:
    turn_about_a_corner(strip)
    move(strip)
    strip.use_flip_x = True


def mirror_both(strip: Any) -> None:
    turn(strip)
    strip.use_flip_x = strip.use_flip_y = True


def crop(strip: Any) -> None:
    turn(strip)
    strip.crop.min_x, strip.crop.max_x, strip.crop.min_y, strip.crop.max_y = 60, 25, 10, 20


def shrink_the_render(strip: Any) -> None:
    turn(strip)
    strip.id_data.render.resolution_percentage = 50


def shrink_and_crop(strip: Any) -> None:
    crop(strip)
    strip.id_data.render.resolution_percentage = 50


def put_in_meta(strip: Any) -> None:
    turn(strip)
    scene = strip.id_data
    with borrow_selection(scene, strip):
        bpy.ops.sequencer.meta_make()
    meta = next(other for other in scene.sequence_editor.strips if other.type == "META")
    meta.transform.offset_x, meta.transform.offset_y = -40, 21
    meta.transform.scale_x, meta.transform.scale_y = 0.7, 0.9
    meta.transform.rotation = math.radians(-15)
    meta.use_flip_y = True


@pytest.mark.parametrize(
    "change",
    [
        move,
        scale,
        turn,
        turn_about_a_corner,
        mirror,
        mirror_both,
        crop,
        shrink_the_render,
        shrink_and_crop,
        put_in_meta,
    ],
)
def test_a_disk_is_rendered_where_it_is_projected(scene: Any, tmp_path: Path, change: Callable[[Any], None]) -> None:
    change(scene.sequence_editor.strips["disk"])
    sight = disks.see(disks.render_frame(scene, FRAME, tmp_path / "frame.png"))
    projection = get_projection(scene, scene.sequence_editor.strips_all["disk"])
    place = disks.place_disk(FRAME - 1)
    x, y = projection.to_canvas(*place)
    share = scene.render.resolution_percentage / 100
    assert sight.disk > 0.6 * share**2 * math.pi * disks.RADIUS**2 * projection.scale**2
    # The centre of a pixel is half a pixel from its index.
    seen = (sight.disk_centre[0] + 0.5) / share - CANVAS[0] / 2, CANVAS[1] / 2 - (sight.disk_centre[1] + 0.5) / share
    assert (x, y) == pytest.approx(seen, abs=0.75 / share)
    assert projection.to_source(x, y) == pytest.approx(place)


def test_the_outline_of_a_cropped_strip_matches_the_render(scene: Any, tmp_path: Path) -> None:
    strip = scene.sequence_editor.strips["disk"]
    crop(strip)
    strip.transform.rotation = 0.0
    # The film is grey, and the rest of the canvas is black.
    grey = disks.render_frame(scene, FRAME, tmp_path / "frame.png").min(axis=2) > 40
    rows, columns = np.nonzero(grey)
    corners = np.array(get_projection(scene, strip).compute_picture_outline())
    assert corners[:, 0].min() == pytest.approx(columns.min() - CANVAS[0] / 2, abs=1.01)
    assert corners[:, 0].max() == pytest.approx(columns.max() + 1 - CANVAS[0] / 2, abs=1.01)
    assert corners[:, 1].max() == pytest.approx(CANVAS[1] / 2 - rows.min(), abs=1.01)
    assert corners[:, 1].min() == pytest.approx(CANVAS[1] / 2 - rows.max() - 1, abs=1.01)


def test_the_pixel_aspect_widens_the_view(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    move(strip)
    before = get_projection(scene, strip).to_canvas(10, 20)
    scene.render.pixel_aspect_x = 1.5
    assert get_projection(scene, strip).to_canvas(10, 20) == pytest.approx((1.5 * before[0], before[1]))


def test_an_outline_is_the_projected_ellipse(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    turn(strip)
    projection = get_projection(scene, strip)
    ellipse = Ellipse(100, 80, 30, 15, 0.4)
    numbers = np.array([[ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry, ellipse.angle]])
    for x, y in projection.project(compute_outlines(numbers, 16))[0].tolist():
        right, down = np.array(projection.to_source(x, y)) - (ellipse.cx, ellipse.cy)
        along = right * math.cos(0.4) + down * math.sin(0.4)
        across = down * math.cos(0.4) - right * math.sin(0.4)
        assert (along / 30) ** 2 + (across / 15) ** 2 == pytest.approx(1)


def test_region_coordinates_convert_both_ways() -> None:
    region = RegionProjection((2.0, 3.0), (10.0, 20.0))
    assert region.to_region(5, 6) == (20.0, 38.0)
    assert region.to_view(*region.to_region(5, 6)) == (5, 6)
    assert region.project(np.array([[[5.0, 6.0]]])).tolist() == [[[20.0, 38.0]]]


def test_region_coordinates_match_blenders_own(scene: Any) -> None:
    area = max(bpy.context.window_manager.windows[0].screen.areas, key=lambda area: area.width * area.height)
    area.type = "SEQUENCE_EDITOR"
    region = next(region for region in area.regions if region.type == "WINDOW")
    projection = get_region_projection(region)
    for place in ((12.5, 3.25), (-40.0, 8.0)):
        assert projection.to_region(*place) == pytest.approx(region.view2d.view_to_region(*place, clip=False), abs=1.0)
