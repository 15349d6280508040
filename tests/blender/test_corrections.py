# SPDX-License-Identifier: GPL-3.0-or-later
"""An editor's changes of a mask are recognised and stay: layers added, moved, renamed or switched off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.context import borrow_mask_editor
from blender_faceblur.blender.common.curves import list_curves
from blender_faceblur.blender.common.marks import MARK
from blender_faceblur.blender.cover.compositing import compute_mask_unit_px
from blender_faceblur.blender.masks.changes import sync_from_blender
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.masks.faces import describe_origin, list_faces
from blender_faceblur.blender.masks.mask import PICTURE_LAYER
from blender_faceblur.blender.masks.reading import adopt_layers
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.editing import get_sample, get_track, list_locked_frames
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track, TrackDocument, TrackStatus

from . import disks
from .corrected import list_corrected
from .writing import write_mask

SIZE = (disks.WIDTH, disks.HEIGHT)
UNIT_PX = compute_mask_unit_px(SIZE, SIZE)


def make_document(film: Path, bend: float = 0.0) -> TrackDocument:
    """The disk's track, and a second face that stands still, or with `bend` changes its direction and so needs keys."""
    document = disks.build_document(film)
    document.tracks.append(
        Track(
            "Face 02",
            [Sample(f, Ellipse(40 + bend * abs(f - 20), 150, 12, 15), Evidence.DETECTED, 1.0) for f in range(5, 35)],
        )
    )
    return document


@pytest.fixture
def mask(film: Path) -> Any:
    scene = build_project(film, make_document(film, 3.0), EffectSettings("solid", disks.COVER))
    return disks.get_cover(scene)[1].input_mask_strip.mask


def move_key(mask: Any, name: str, frame: int, far: float) -> None:
    """Move a shape at a frame and insert a key, as in the Mask editor."""
    with borrow_mask_editor(mask) as scene:
        points = mask.layers[name].splines[0].points
        for point in points:
            point.select = True
        scene.frame_set(mask.frame_start + frame)
        for point in points:
            point.co = (point.co[0] + far, point.co[1])
            point.handle_left = (point.handle_left[0] + far, point.handle_left[1])
            point.handle_right = (point.handle_right[0] + far, point.handle_right[1])
        bpy.ops.mask.shape_key_insert()
        for point in points:
            point.select = False


def test_a_key_set_at_the_scenes_frame_shows_at_that_frame(film: Path, tmp_path: Path) -> None:
    """The Mask editor sets a key at the frame of the timeline that an editor sees."""
    scene = build_project(film, make_document(film), EffectSettings("solid", disks.COVER))
    mask = disks.get_cover(scene)[1].input_mask_strip.mask
    for frame in (11, 13):
        move_key(mask, "Face 01", frame - mask.frame_start, 0.0)
    move_key(mask, "Face 01", 12 - mask.frame_start, 0.5)
    seen = [disks.see(disks.render_frame(scene, frame, tmp_path / "a.png")).disk > 900 for frame in (11, 12, 13)]
    assert seen == [False, True, False]


def test_an_untouched_mask_has_no_corrections(mask: Any) -> None:
    assert list_corrected(mask) == []


def test_an_untouched_mask_has_no_corrections_after_saving_and_opening(mask: Any, tmp_path: Path) -> None:
    name = mask.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert list_corrected(bpy.data.masks[name]) == []


def test_only_frames_with_keys_are_evaluated(mask: Any) -> None:
    """A film of 20 minutes has 30,000 other frames."""
    seen: list[int] = []
    actions = len(bpy.data.actions)

    def note(scene: Any, _: Any = None) -> None:
        seen.append(scene.frame_current)

    bpy.app.handlers.frame_change_post.append(note)
    bpy.app.handlers.depsgraph_update_post.append(note)
    try:
        assert list_corrected(mask) == []
    finally:
        bpy.app.handlers.frame_change_post.remove(note)
        bpy.app.handlers.depsgraph_update_post.remove(note)
    keys = {
        mask.frame_start + round(frame) for face in mask[MARK]["faces"].values() for frame in list(face["keys"])[::6]
    }
    assert len(set(seen) - keys) < 6 and len(keys) < 15
    assert len(bpy.data.actions) == actions


def move_one_point(mask: Any) -> None:
    with borrow_mask_editor(mask) as scene:
        point = mask.layers["Face 02"].splines[0].points[2]
        point.select = True
        scene.frame_set(mask.frame_start + 17)
        point.co = (point.co[0] - 1 / UNIT_PX, point.co[1])
        bpy.ops.mask.shape_key_insert()
        point.select = False


def bump_one_frame(mask: Any) -> None:
    for frame, far in ((25, 0.0), (27, 0.0), (26, 3 / UNIT_PX)):
        move_key(mask, "Face 02", frame, far)


def clear_key(mask: Any) -> None:
    with borrow_mask_editor(mask) as scene:
        for point in mask.layers["Face 02"].splines[0].points:
            point.select = True
        scene.frame_set(mask.frame_start + 20)
        bpy.ops.mask.shape_key_clear()


def lengthen(mask: Any) -> None:
    path = mask.layers["Face 02"].path_from_id("alpha")
    for _, curve in list_curves(mask, path):
        curve.keyframe_points[-1].co[0] += 3


def thin(mask: Any) -> None:
    path = mask.layers["Face 02"].path_from_id("alpha")
    for _, curve in list_curves(mask, path):
        for key in curve.keyframe_points:
            key.co[1] *= 0.9


def show(mask: Any) -> None:
    mask.layers["Face 02"].invert = False


def add_spline(mask: Any) -> None:
    mask.layers["Face 02"].splines.new().points.add(2)


CHANGES: dict[str, Callable[[Any], None]] = {
    "one point by one pixel": move_one_point,
    "one frame only": bump_one_frame,
    "a key cleared": clear_key,
    "opacity three frames longer": lengthen,
    "opacity 90 %": thin,
    "polarity": show,
    "another spline": add_spline,
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_edit_of_a_layer_is_recognised(change: str, mask: Any) -> None:
    CHANGES[change](mask)
    assert list_corrected(mask) == ["Face 02"]


def analyse_again(mask: Any, film: Path) -> None:
    document = make_document(film, 3.0)
    write_mask(document, UNIT_PX, mask)


def test_a_moved_key_becomes_locked_keys_that_stay(mask: Any, film: Path) -> None:
    before = get_sample(load_document(mask).tracks[1], 26)
    bump_one_frame(mask)
    document = sync_from_blender(mask)
    track = get_track(document, "Face 02")
    assert before is not None and list_locked_frames(track) == [26]
    moved = get_sample(track, 26)
    assert moved is not None and moved.ellipse.cx - before.ellipse.cx == pytest.approx(3 / 1.0, abs=1.5)
    for _ in range(2):
        # After the mask was written again the key is known, and a new analysis does not move it.
        assert list_corrected(mask) == []
        analyse_again(mask, film)
        again = get_sample(get_track(load_document(mask), "Face 02"), 26)
        assert again is not None and again.evidence is Evidence.LOCKED
        assert again.ellipse.cx == pytest.approx(moved.ellipse.cx, abs=0.02)
        assert again.ellipse.rx == pytest.approx(moved.ellipse.rx, abs=0.02)
    assert [layer.name for layer in mask.layers] == [PICTURE_LAYER, "Face 01", "Face 02"]


def test_opacity_keys_set_by_hand_change_the_track(mask: Any) -> None:
    lengthen(mask)
    assert get_track(sync_from_blender(mask), "Face 02").list_covered_spans() == [(5, 38)]
    path = mask.layers["Face 02"].path_from_id("alpha")
    for _, curve in list_curves(mask, path):
        curve.keyframe_points[1].co[0] += 4
    assert get_track(sync_from_blender(mask), "Face 02").list_covered_spans() == [(9, 38)]


def test_a_shape_that_is_no_ellipse_is_left_to_the_editor(mask: Any, film: Path) -> None:
    add_spline(mask)
    assert get_track(sync_from_blender(mask), "Face 02").locked
    assert list_corrected(mask) == [] and describe_origin(list_faces(mask)[1]) == "drawn by hand"
    analyse_again(mask, film)
    assert len(mask.layers["Face 02"].splines) == 2
    assert [layer.name for layer in mask.layers][1:] == ["Face 02", "Face 01"]


def test_a_deleted_layer_stays_deleted(mask: Any, film: Path) -> None:
    mask.layers.remove(mask.layers["Face 02"])
    mask.update_tag()
    analyse_again(mask, film)
    assert [layer.name for layer in mask.layers] == [PICTURE_LAYER, "Face 01"]
    assert [track.status for track in load_document(mask).uncovered] == [TrackStatus.DELETED]


def test_a_layer_added_by_hand_covers_once_it_is_adopted(mask: Any, film: Path, tmp_path: Path) -> None:
    scene = bpy.context.scene
    layer = mask.layers.new(name="Plate")
    spline = layer.splines.new()
    spline.points.add(3)
    spline.use_cyclic = True
    for point, place in zip(spline.points, ((0.8, 0.3), (0.9, 0.3), (0.9, 0.4), (0.8, 0.4)), strict=True):
        point.co = point.handle_left = point.handle_right = place
    before = disks.see(disks.render_frame(scene, 3, tmp_path / "before.png"))
    assert adopt_layers(mask) == ["Plate"] and (layer.invert, layer.blend) == (True, "MUL")
    after = disks.see(disks.render_frame(scene, 3, tmp_path / "after.png"))
    assert after.cover - before.cover == pytest.approx(32 * 32, rel=0.1)
    assert [describe_origin(face) for face in list_faces(mask)][-1] == "added by hand"


def test_an_adopted_layer_keeps_later_settings(mask: Any) -> None:
    mask.layers.new(name="Never blur here")
    adopt_layers(mask)
    layer = mask.layers["Never blur here"]
    layer.invert, layer.blend = False, "MERGE_ADD"
    assert adopt_layers(mask) == [] and not layer.invert


def test_a_renamed_layer_keeps_its_track(mask: Any, film: Path) -> None:
    mask.layers["Face 02"].name = "Anna"
    assert adopt_layers(mask) == []
    assert [(face.name, face.frames) for face in list_faces(mask)] == [("Face 01", 40), ("Anna", 30)]
    assert list_corrected(mask) == []
    analyse_again(mask, film)
    assert [layer.name for layer in mask.layers] == [PICTURE_LAYER, "Face 01", "Anna"]
    assert [track.name for track in load_document(mask).tracks] == ["Face 01", "Anna"]


def test_deleting_one_layer_and_adding_another_is_no_renaming(mask: Any) -> None:
    mask.layers.remove(mask.layers["Face 01"])
    mask.update_tag()
    mask.layers.new(name="New")
    assert adopt_layers(mask) == ["New"] and mask.layers["New"].invert
    assert [face.name for face in list_faces(mask) if face.spans] == ["Face 02"]


def test_a_face_stays_off_only_where_its_track_is_the_same(mask: Any, film: Path) -> None:
    mask.layers["Face 02"].hide_render = True
    write_mask(make_document(film, 3.0), UNIT_PX, mask)
    assert [layer.hide_render for layer in mask.layers] == [False, False, True]
    longer = make_document(film, 3.0)
    last = longer.tracks[1].samples[-1]
    longer.tracks[1].samples.append(Sample(35, last.ellipse, Evidence.EXTRAPOLATED, 1.0))
    write_mask(longer, UNIT_PX, mask)
    assert [layer.hide_render for layer in mask.layers] == [False, False, False]


def test_an_edit_of_a_mask_reaches_the_next_render(mask: Any, tmp_path: Path) -> None:
    """The extension's handlers adopt a new layer and show it in the next render."""
    from blender_faceblur.blender.cover import handlers as cover_handlers

    scene = bpy.context.scene
    cover_handlers.register_handlers()
    try:
        assert disks.see(disks.render_frame(scene, 3, tmp_path / "before.png")).disk == 0
        layer = mask.layers.new(name="By hand")
        for name in ("Face 01", "Face 02"):
            mask.layers[name].hide_render = True
        scene.render.filepath = str(tmp_path / "after.png")
        bpy.ops.render.render(write_still=True, scene=scene.name)
        assert layer.invert and "By hand" in mask[MARK]["order"]
        import cv2

        assert disks.see(cv2.imread(str(tmp_path / "after.png"))[..., ::-1]).disk > 900
    finally:
        cover_handlers.unregister_handlers()
