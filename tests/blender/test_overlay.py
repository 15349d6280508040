# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn over the preview and the timeline, as far as it can be tested without a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

import blender_faceblur
from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.covering import cover_footage, leave_uncovered, uncover
from blender_faceblur.blender.cover.projection import get_region_projection
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks import overlay_cache
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.chosen_face import mark_chosen
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.overlay import coverage, outlines, see_through
from blender_faceblur.blender.preferences.properties import get_colors
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document import editing
from blender_faceblur.core.review.overview import Code
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewItem,
    ReviewReason,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
)

from . import disks

EFFECT = EffectSettings("solid", disks.COVER)


def make_region(width: int, left: float, bottom: float, right: float, top: float, height: int = 300) -> Any:
    """A region that shows this part of its view."""
    wide, high = (right - left) / width, (top - bottom) / height
    view = SimpleNamespace(region_to_view=lambda x, y: (left + x * wide, bottom + y * high))
    return SimpleNamespace(width=width, height=height, view2d=view)


PREVIEW = make_region(320, -160, -90, 160, 90, 180)


@pytest.fixture
def scene(film: Path) -> Iterator[Any]:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps, scene.render.fps_base = 24, 1.0
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    cover_footage(scene, strip, make_document(film), EFFECT)
    scene.sequence_editor.active_strip = strip
    scene.frame_set(11)
    yield scene
    blender_faceblur.unregister()


def make_document(film: Path) -> TrackDocument:
    document = disks.build_document(film)
    samples = [
        Sample(f, Ellipse(250, 120, 20, 25), evidence, 0.8)
        for f, evidence in [
            *((f, Evidence.FLOW) for f in range(5, 20)),
            *((f, Evidence.INTERPOLATED) for f in range(20, 30)),
        ]
    ]
    document.tracks.append(Track("Face 02", samples))
    document.uncovered.append(
        Track(
            "Ignored 01",
            samples[:10],
            status=TrackStatus.SUPPRESSED,
            suppression=Suppression(SuppressionReason.LOW_CONFIDENCE, 10),
        )
    )
    document.review_items.append(
        ReviewItem(25, 28, (0.0, 0.0, 50.0, 50.0), 0.5, ReviewReason.LOW_CONFIDENCE, "Face 02")
    )
    return document


def get_strip(scene: Any, name: str = "disk") -> Any:
    return scene.sequence_editor.strips_all[name]


def draw(scene: Any, channel: int = 0) -> Any:
    for mask in bpy.data.masks:
        overlay_cache.refresh_overview(mask)
    return outlines.compose(bpy.context, scene, PREVIEW, channel)


def list_words(drawing: Any) -> set[str]:
    return {text for text, _, _ in drawing.words}


def get_color(drawing: Any, name: str) -> str:
    color = next(color for text, _, color in drawing.words if text.startswith(name))
    return next(key for key, value in get_colors().items() if value == color)


def test_each_face_has_its_outline(scene: Any) -> None:
    drawing = draw(scene)
    assert list_words(drawing) == {"Face 01", "Face 02", "Ignored 01: not covered"}
    assert [get_color(drawing, name) for name in ("Face 01", "Face 02", "Ignored")] == [
        "detected",
        "tracked",
        "to_review",
    ]
    ((active, _),) = drawing.thick
    # The region shows the canvas in its middle, at a scale of 1.
    ellipse = MaskRecord.load(get_mask(get_strip(scene))).compute_ellipse("Face 01", 10)
    assert ellipse is not None
    assert active.mean(axis=0) == pytest.approx((ellipse.cx, disks.HEIGHT - ellipse.cy), rel=0.02)
    assert np.ptp(active[:, 0]) == pytest.approx(2 * ellipse.rx, rel=0.02)


def test_a_name_does_not_hide_the_handle_that_turns_the_cover(scene: Any) -> None:
    def is_name_above() -> bool:
        drawing = draw(scene)
        ((outline, _),) = drawing.thick
        y = next(place[1] for text, place, _ in drawing.words if text.startswith("Face 01"))
        assert y > outline[:, 1].max() or y < outline[:, 1].min() - 20
        return bool(y > outline[:, 1].max())

    assert is_name_above(), "no face is chosen, so there is no handle"
    mark_chosen(get_strip(scene), get_mask(get_strip(scene)))
    assert not is_name_above()
    scene.faceblur.show_handles = False
    assert is_name_above()


@pytest.mark.parametrize("frame", [0, 7, 13, 24, 29, 39])
def test_an_outline_lies_on_its_layer(scene: Any, frame: int) -> None:
    mask = get_mask(get_strip(scene))
    for cover in overlay_cache.get_cached(mask).covers:
        expected = MaskRecord.load(mask).compute_ellipse(cover.layer, frame)
        assert cover.is_opaque(frame) == (expected is not None)
        if expected is not None:
            assert cover.shape_at(frame) == pytest.approx(
                (expected.cx, expected.cy, expected.rx, expected.ry, expected.angle)
            )


@pytest.mark.parametrize(
    ("frame", "word", "color"),
    [
        (3, None, None),
        (12, "", "tracked"),
        (23, ": interpolated", "interpolated"),
        (26, ": to review", "to_review"),
    ],
)
def test_a_face_shows_its_state_in_words_and_colour(
    scene: Any, frame: int, word: str | None, color: str | None
) -> None:
    scene.frame_set(frame + 1)
    drawing = draw(scene)
    assert ("Face 02" + word in list_words(drawing)) if word is not None else "Face 02" not in str(drawing.words)
    if color is not None:
        assert get_color(drawing, "Face 02") == color


def test_a_face_that_is_switched_off_is_dashed(scene: Any) -> None:
    get_mask(get_strip(scene)).layers["Face 02"].hide_render = True
    drawing = draw(scene)
    assert "Face 02: off" in list_words(drawing) and get_color(drawing, "Face 02") == "off"
    assert len(drawing.thin) > 10


def test_outlines_show_a_change_of_the_tracks(scene: Any) -> None:
    mask = get_mask(get_strip(scene))
    before = draw(scene).thick[0][0].mean(axis=0)

    def move(document: TrackDocument) -> list[str]:
        editing.set_key(editing.get_track(document, "Face 01"), 10, Ellipse(200, 100, 30, 30), 12)
        editing.switch(editing.get_track(document, "Face 02"), 8, 15, on=False)
        return ["Face 01", "Face 02"]

    change_tracks(mask, move)
    drawing = draw(scene)
    assert {"Face 01: locked", "Face 02: off"} <= list_words(drawing)
    assert np.abs(drawing.thick[0][0].mean(axis=0) - before).max() > 20
    ((dot, radius, _),) = drawing.dots
    assert dot == pytest.approx((200, disks.HEIGHT - 100), abs=2) and radius < 10
    scene.frame_set(12)
    ((other, smaller, _),) = draw(scene).dots
    assert other == pytest.approx(dot) and smaller < radius


def test_an_uncovered_strip_is_framed_where_others_are_covered(scene: Any, film: Path) -> None:
    other = scene.sequence_editor.strips.new_movie("other", str(film), 5, 1)
    other.transform.scale_x = other.transform.scale_y = 0.5
    drawing = draw(scene)
    assert "other: not analysed, faces would show" in list_words(drawing)
    (frame,) = (line for line, color in drawing.thick if color == get_colors()["uncovered"])
    assert frame.min(axis=0) == pytest.approx((80, 45)) and frame.max(axis=0) == pytest.approx((240, 135))
    scene.faceblur.must_be_covered = True
    assert "other: not detected yet, renders black" in list_words(draw(scene))
    leave_uncovered(other, True)
    assert "renders black" not in str(draw(scene).words)
    other.mute = True
    assert "other" not in str(draw(scene).words)


def test_nothing_is_framed_in_a_project_without_covers(scene: Any) -> None:
    uncover(scene, get_strip(scene))
    drawing = draw(scene)
    assert not drawing.thin and not drawing.thick and not drawing.words


def test_a_lost_cover_is_reported_over_the_preview(scene: Any) -> None:
    strip = get_strip(scene)
    get_modifier(strip).mute = True
    assert "disk: its cover is switched off, faces show" in list_words(draw(scene))
    strip.modifiers.remove(get_modifier(strip))
    assert "disk: its cover is gone, faces show" in list_words(draw(scene))


def test_frames_that_were_not_analysed_are_completely_covered(scene: Any, film: Path) -> None:
    strip, document = get_strip(scene), make_document(film)
    uncover(scene, strip)
    document.analysed = [(5, 30)]
    cover_footage(scene, strip, document, EFFECT)
    assert "disk: not analysed here" not in str(draw(scene).words)
    scene.frame_set(33)
    assert "disk: not analysed here, completely covered" in list_words(draw(scene))
    assert show(strip, 40, 1, 41) == "#" * 5 + "F" * 15 + "G" * 5 + "???" + "GG" + "#" * 10


@pytest.mark.parametrize("frame", [4, 15, 31])
def test_drawn_lines_lie_where_blender_has_the_layer(scene: Any, frame: int) -> None:
    mask = get_mask(get_strip(scene))
    scene.frame_set(1 + frame)
    (line,) = outlines.compute_drawn_lines(mask, mask.layers["Face 01"])
    ellipse = MaskRecord.load(mask).compute_ellipse("Face 01", frame)
    assert ellipse is not None
    assert line[:-1].mean(axis=0) == pytest.approx((ellipse.cx, ellipse.cy), abs=0.1)
    assert np.ptp(line, axis=0) == pytest.approx((2 * ellipse.rx, 2 * ellipse.ry), abs=0.3)


def test_a_layer_drawn_by_hand_has_its_outline(scene: Any) -> None:
    mask = get_mask(get_strip(scene))
    layer = mask.layers.new(name="Sign")
    spline = layer.splines.new()
    spline.use_cyclic = True
    spline.points.add(3)
    for point, place in zip(spline.points, ((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)), strict=True):
        point.handle_left_type = point.handle_right_type = "VECTOR"
        point.co = place
    mask.update_tag()
    bpy.context.view_layer.update()
    drawing = draw(scene)
    assert "Sign: drawn by hand" in list_words(drawing)
    line = next(line for line, color in drawing.thin if color == get_colors()["locked"])
    assert line.min(axis=0) == pytest.approx((128, 58), abs=1) and line.max(axis=0) == pytest.approx((192, 122), abs=1)
    # At other frames Blender does not know where the layer is.
    get_strip(scene).frame_start = 3
    drawing = draw(scene)
    assert "Sign: drawn by hand" in list_words(drawing)
    assert get_colors()["locked"] not in [color for _, color in drawing.thin]


def test_strips_below_a_film_are_not_drawn(scene: Any, film: Path) -> None:
    above = scene.sequence_editor.strips.new_movie("above", str(film), 5, 1)
    assert [strip.name for strip in outlines.list_shown(scene)] == ["above"]
    assert [strip.name for strip in outlines.list_shown(scene, 3)] == ["disk"]
    above.transform.offset_x = 3
    assert [strip.name for strip in outlines.list_shown(scene)] == ["disk", "above"]
    above.transform.offset_x = 0
    above.blend_alpha = 0.5
    assert [strip.name for strip in outlines.list_shown(scene)] == ["disk", "above"]
    scene.sequence_editor.channels[5].mute = True
    assert [strip.name for strip in outlines.list_shown(scene)] == ["disk"]


def test_outlines_follow_a_meta_strip(scene: Any) -> None:
    with borrow_selection(scene, get_strip(scene), *(s for s in scene.sequence_editor.strips if s.type == "MASK")):
        bpy.ops.sequencer.meta_make()
    meta = next(strip for strip in scene.sequence_editor.strips if strip.type == "META")
    before = draw(scene).thin[0][0]
    meta.transform.offset_x = 20
    after = draw(scene).thin[0][0]
    assert (after - before)[:, 0] == pytest.approx(20) and (after - before)[:, 1] == pytest.approx(0)


def test_a_deleted_mask_raises_nothing(scene: Any) -> None:
    draw(scene)
    bpy.data.masks.remove(get_mask(get_strip(scene)))
    assert "faces show" in str(draw(scene).words)
    bpy.data.texts.remove(bpy.data.texts[0])
    draw(scene)


def test_outlines_need_no_document(scene: Any) -> None:
    bpy.data.texts.remove(bpy.data.texts[0])
    drawing = draw(scene)
    assert {"Face 01", "Face 02"} <= list_words(drawing)


def show(strip: Any, width: int, left: float, right: float, alone: bool = False) -> str:
    overlay_cache.refresh_overview(get_mask(strip))
    found = coverage.compute_columns(
        strip, get_region_projection(make_region(width, left, 0, right, 5)), width, alone, True
    )
    assert found is not None
    first, codes, reviews = found
    return " " * first + "".join("?" if item else ".oLDFG?#"[code] for code, item in zip(codes, reviews, strict=True))


FACE_02 = "." * 5 + "F" * 15 + "G" * 5 + "???" + "GG" + "." * 10


def choose_second(strip: Any) -> None:
    mask = get_mask(strip)
    mask.layers.active = mask.layers["Face 02"]


def test_a_band_shows_how_each_frame_is_covered(scene: Any) -> None:
    strip = get_strip(scene)
    assert show(strip, 44, -1, 43) == "  " + "D" * 5 + "F" * 15 + "G" * 5 + "???" + "GG" + "D" * 10
    choose_second(strip)
    assert show(strip, 44, -1, 43, alone=True) == "  " + FACE_02


def test_a_pixel_shows_the_worst_of_its_frames(scene: Any) -> None:
    strip = get_strip(scene)
    choose_second(strip)
    assert show(strip, 10, 1, 41, alone=True) == ".FFFFG?G.."
    # Three pixels per frame, scrolled.
    assert show(strip, 24, 23, 31, alone=True) == "".join(3 * code for code in FACE_02[22:30])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_band_follows_trims_and_reverse(scene: Any, reverse: bool) -> None:
    strip = get_strip(scene)
    choose_second(strip)
    strip.use_reverse_frames = reverse
    strip.frame_offset_start, strip.frame_offset_end = 8, 3
    expected = (FACE_02[::-1] if reverse else FACE_02)[8:-3]
    assert show(strip, 40, 1, 41, alone=True) == " " * 8 + expected


def test_a_band_follows_speed(scene: Any) -> None:
    strip = get_strip(scene)
    choose_second(strip)
    with borrow_selection(scene, strip):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=50.0)
    assert strip.frame_duration == 80
    assert show(strip, 80, 1, 81, alone=True) == "".join(2 * code for code in FACE_02)


def test_the_band_of_an_uncovered_strip_is_hatched(scene: Any, film: Path) -> None:
    scene.sequence_editor.strips.new_movie("other", str(film), 5, 1)
    overlay_cache.refresh_overview(get_mask(get_strip(scene)))
    region = make_region(400, 1, 0, 41, 6)
    rectangles = coverage.compose(bpy.context, scene, region)
    colors = get_colors()
    hatched = [box for box, color in rectangles if color == colors["uncovered"]]
    assert len(hatched) == 34 and all(250 < box[1] < box[3] < 300 for box in hatched)
    assert {colors["detected"], colors["tracked"], colors["interpolated"], colors["to_review"]} <= {
        c for _, c in rectangles
    }
    uncover(scene, get_strip(scene))
    assert coverage.compose(bpy.context, scene, region) == []


def test_see_through_shows_the_source_where_faces_are_covered(scene: Any) -> None:
    assert "renders stay covered" not in str(draw(scene).words)
    bpy.ops.faceblur.see_behind()
    drawing = draw(scene)
    (picture,) = outlines.compose_bare_pictures(scene, 0)
    assert Path(picture.path).name == "disk.mp4"
    assert (picture.number, picture.size) == (10, (disks.WIDTH, disks.HEIGHT))
    assert len(picture.places) == 2
    # The film fills the canvas, whose middle is the origin.
    middle = np.array((disks.WIDTH, disks.HEIGHT)) / 2
    assert picture.places + middle == pytest.approx(picture.parts * middle * 2)
    outline = drawing.thick[0][0]
    assert (picture.places[0].max(axis=0) + middle >= outline.max(axis=0)).all()
    assert (picture.places[0].min(axis=0) + middle <= outline.min(axis=0)).all()
    get_mask(get_strip(scene)).layers["Face 02"].hide_render = True
    assert len(outlines.compose_bare_pictures(scene, 0)[0].places) == 1
    assert "renders stay covered" in str(drawing.words)
    bpy.ops.faceblur.see_behind()
    assert not see_through.SEE_THROUGH.on


def test_see_through_stays_within_the_cropped_picture(scene: Any) -> None:
    get_strip(scene).crop.min_x = 105
    (picture,) = outlines.compose_bare_pictures(scene, 0)
    assert picture.places[..., 0].min() == pytest.approx(105 - disks.WIDTH / 2)


def test_see_through_changes_neither_the_project_nor_its_renders(scene: Any, tmp_path: Path) -> None:
    before = [(m.name, m.mute, m.enable, m.input_mask_strip) for m in get_strip(scene).modifiers]
    bpy.ops.faceblur.see_behind()
    see_through.want(outlines.compose_bare_pictures(scene, 0)[0].path)
    see_through.load_wanted()
    assert [image.name for image in bpy.data.images if image.source == "MOVIE"] == ["Behind covers: disk.mp4"]
    assert before == [(m.name, m.mute, m.enable, m.input_mask_strip) for m in get_strip(scene).modifiers]
    assert disks.see(disks.render_frame(scene, 11, tmp_path / "frame.png")).disk == 0
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"), copy=True)
    with bpy.data.libraries.load(str(tmp_path / "project.blend")) as (there, _):
        assert not [name for name in there.images if "disk" in name]
    bpy.ops.faceblur.see_behind()
    assert not [image for image in bpy.data.images if image.source == "MOVIE"]


def test_drawing_can_be_added_and_removed_repeatedly() -> None:
    for _ in range(2):
        outlines.add_overlay()
        coverage.add_coverage()
        coverage.remove_coverage()
        outlines.remove_overlay()
    assert not outlines._HANDLERS and not coverage._HANDLERS


def test_every_code_has_a_colour() -> None:
    assert {code.name.lower() for code in Code} - {"nothing", "not_analysed"} < set(get_colors())


def test_lines_become_ribbons_with_a_rim() -> None:
    line, loop = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]), np.array([[50.0, 50.0], [60.0, 50.0]])
    points, colors, corners = outlines.compute_ribbons([(line, (1, 0, 0, 1), 4.0), (loop, (0, 1, 0, 1), 2.0)])
    assert points[:4].tolist() == [[0, -3.25], [0, -2], [0, 2], [0, 3.25]]
    assert points[-4:, 1].tolist() == [50 - 2.25, 49, 51, 50 + 2.25]
    assert colors[1].tolist() == [1, 0, 0, 1] and colors[-2].tolist() == [0, 1, 0, 1] and colors[0, 3] < 0.5
    # One line has two segments and the other has one, and no triangle connects the lines.
    assert len(corners) == 3 * 6 and all(len({int(corner) // 12 for corner in three}) == 1 for three in corners)
    one, two = points[corners[:, 1]] - points[corners[:, 0]], points[corners[:, 2]] - points[corners[:, 0]]
    areas = np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / 2
    assert areas.sum() == pytest.approx(20 * 6.5 + 10 * 4.5)


def test_a_band_is_low_where_faces_are_off(scene: Any) -> None:
    codes = np.array([Code.DETECTED, Code.OFF, Code.NOTHING], np.uint8)
    nothing = np.zeros(3, np.uint8)
    drawn = coverage._list_rectangles(100, codes, nothing, 10.0, 16.0, get_colors())
    assert [(left, low, high) for (left, low, _, high), _ in drawn[1:]] == [(100, 10, 16), (101, 10, 12)]
