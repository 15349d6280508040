# SPDX-License-Identifier: GPL-3.0-or-later
"""Which face lies under the mouse in the preview, and what its transforms do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.correction.operators.pick import (
    FACEBLUR_OT_face_menu,
    FACEBLUR_OT_release_face,
    FACEBLUR_OT_transform_cover,
    transform_cover,
)
from blender_faceblur.blender.correction.picking import choose_face, find_covered_strip, find_face, list_faces_in_box
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.keymaps import MOUSE_KEYS
from blender_faceblur.blender.masks.chosen_face import get_chosen_layer
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.review.queue import get_current, list_entries
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import Ellipse, Evidence, ReviewItem, ReviewReason, Sample, Track

from . import disks

REGION: Any = SimpleNamespace(
    width=disks.WIDTH,
    height=disks.HEIGHT,
    type="PREVIEW",
    view2d=SimpleNamespace(region_to_view=lambda x, y: (x - disks.WIDTH / 2, y - disks.HEIGHT / 2)),
)
"""A preview that shows the canvas at a scale of 1; y counts up."""


@pytest.fixture
def scene(film: Path) -> Iterator[Any]:
    """The covered film from frame 1: the disk is Face 01; Face 02 stands still in frames 5 to 34, Face 03 over it."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    scene.sequence_editor.active_strip = strip
    document = disks.build_document(film)
    for name, x in (("Face 02", 40), ("Face 03", 52)):
        samples = [Sample(f, Ellipse(x, 150, 12, 15), Evidence.DETECTED, 1.0) for f in range(5, 35)]
        document.tracks.append(Track(name, samples))
    document.review_items.append(ReviewItem(15, 25, (28, 135, 52, 165), 0.5, ReviewReason.FLOW_ONLY, "Face 02"))
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    scene.frame_set(1 + 20)
    yield scene
    blender_faceblur.unregister()


def pick(x: float, y_down: float) -> str:
    found = find_face(bpy.context, REGION, x, disks.HEIGHT - y_down)
    return found.layer if found is not None else ""


def test_the_face_under_a_point_is_found(scene: Any) -> None:
    assert pick(*disks.place_disk(20)) == "Face 01"
    assert pick(200, 20) == "" and pick(40, 150) == "Face 02"
    scene.frame_set(1 + 38)
    assert pick(40, 150) == ""


def test_of_overlapping_covers_the_active_one_is_found_else_the_nearest(scene: Any) -> None:
    mask = get_mask(scene.sequence_editor.strips["disk"])
    mask.layers.active = mask.layers["Face 01"]
    assert pick(44, 150) == "Face 02" and pick(49, 150) == "Face 03"
    mask.layers.active = mask.layers["Face 03"]
    assert pick(44, 150) == "Face 03"


def test_a_face_that_is_off_can_be_chosen(scene: Any) -> None:
    mask = get_mask(scene.sequence_editor.strips["disk"])
    mask.layers["Face 02"].hide_render = True
    assert pick(36, 150) == "Face 02"


def test_a_moved_and_scaled_strip_is_picked_where_it_is_shown(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    strip.transform.scale_x = strip.transform.scale_y = 0.5
    strip.transform.offset_x = 30
    x, y = disks.place_disk(20)
    shown = disks.WIDTH / 2 + 30 + (x - disks.WIDTH / 2) / 2, disks.HEIGHT / 2 + (y - disks.HEIGHT / 2) / 2
    assert pick(*shown) == "Face 01"
    assert find_covered_strip(bpy.context, REGION, *shown) == strip
    assert find_covered_strip(bpy.context, REGION, 5, 5) is None


def test_x_beside_a_face_does_not_delete_the_covered_strip(scene: Any) -> None:
    """Blender's own X deletes the strip in the preview, and with it the film, for a click beside a face."""
    reports: list[str] = []
    operator = SimpleNamespace(menu="OFF", report=lambda level, text: reports.append(text))
    context = SimpleNamespace(
        region=REGION, space_data=None, workspace=bpy.context.workspace, scene=scene, window=bpy.context.window
    )

    def press(x: float, y: float) -> Any:
        event = SimpleNamespace(mouse_region_x=x, mouse_region_y=disks.HEIGHT - y)
        return FACEBLUR_OT_face_menu.invoke(operator, context, event)  # type: ignore[arg-type]

    assert pick(300, 20) == "" and press(300, 20) == {"CANCELLED"}
    assert reports == ["No face is under the mouse. The Delete key removes the strip"]
    scene.sequence_editor.strips["disk"].transform.scale_x = 0.5
    assert press(300, 20) == {"PASS_THROUGH"}, "beside the picture, it is Blender's key"


def box_faces(left: float, top: float, right: float, bottom: float) -> list[dict[str, Any]]:
    """The faces in a box whose y counts down, as `change_boxed` takes them."""
    box = left, disks.HEIGHT - bottom, right, disks.HEIGHT - top
    return [
        {"name": "", "strip": face.strip, "track": face.track, "source_frame": face.source_frame}
        for face in list_faces_in_box(bpy.context, REGION, box)
    ]


def list_off(scene: Any, frame: int) -> list[str]:
    document = load_document(get_mask(scene.sequence_editor.strips["disk"]))
    return [
        track.name
        for track in document.tracks
        if track.samples[0].source_frame <= frame <= track.samples[-1].source_frame
        and not any(start <= frame < stop for start, stop in track.list_covered_spans())
    ]


def test_faces_with_their_middle_in_a_box_are_changed_at_once(scene: Any) -> None:
    assert [face["track"] for face in box_faces(0, 0, disks.WIDTH, disks.HEIGHT)] == ["Face 01", "Face 02", "Face 03"]
    both = box_faces(35, 140, 56, 160)
    assert [face["track"] for face in both] == ["Face 02", "Face 03"]
    assert box_faces(41, 140, 48, 160) == []
    assert bpy.ops.faceblur.change_boxed(faces=both, action="OFF", where="FRAME") == {"FINISHED"}
    assert list_off(scene, 20) == ["Face 02", "Face 03"] and list_off(scene, 21) == []
    assert bpy.ops.faceblur.change_boxed(faces=both, action="OFF", where="FILM") == {"FINISHED"}
    assert list_off(scene, 6) == ["Face 02", "Face 03"]
    get_mask(scene.sequence_editor.strips["disk"]).layers["Face 02"].hide_render = True
    assert bpy.ops.faceblur.change_boxed(faces=both, action="ON", where="FILM") == {"FINISHED"}
    assert list_off(scene, 20) == []
    assert not get_mask(scene.sequence_editor.strips["disk"]).layers["Face 02"].hide_render, "the list's checkbox"
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 11, 12
    assert bpy.ops.faceblur.change_boxed(faces=both, action="OFF", where="RANGE") == {"FINISHED"}
    assert [bool(list_off(scene, frame)) for frame in (9, 10, 11, 12)] == [False, True, True, False]
    assert bpy.ops.faceblur.change_boxed(faces=both, action="DELETE", where="FILM") == {"FINISHED"}
    assert [face["track"] for face in box_faces(0, 0, disks.WIDTH, disks.HEIGHT)] == ["Face 01"]
    with pytest.raises(RuntimeError, match="no longer exist"):
        bpy.ops.faceblur.change_boxed(faces=[both[0] | {"strip": "gone"}], action="OFF", where="FILM")


def test_choosing_a_face_activates_strip_layer_and_its_review_item(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    mask = get_mask(strip)
    entry = next(entry for entry in list_entries(strip, mask) if entry.track == "Face 02")
    assert get_current(mask) is None
    scene.sequence_editor.active_strip = None
    assert choose_face(scene, "disk", "Face 02")
    assert scene.sequence_editor.active_strip == strip and mask.layers.active.name == "Face 02"
    current = get_current(mask)
    assert current is not None and current.track == "Face 02"
    assert not choose_face(scene, "disk", "Face 99") and not choose_face(scene, "gone", "Face 02")
    assert bpy.ops.faceblur.choose_face(strip="disk", layer="Face 03") == {"FINISHED"}
    assert mask.layers.active.name == "Face 03" and MaskRecord.load(mask).reviewing == entry.key
    assert bpy.ops.faceblur.choose_face(strip="disk", layer="Face 03") == {"CANCELLED"}, "no second undo step"


def test_transforms_follow_the_mouse() -> None:
    cover = Ellipse(100, 100, 20, 30, 0.3)
    assert transform_cover(cover, "MOVE", (90, 90), (95, 110)) == Ellipse(105, 120, 20, 30, 0.3)
    assert transform_cover(cover, "MOVE", (90, 90), (95, 110), "X") == Ellipse(105, 100, 20, 30, 0.3)
    twice = transform_cover(cover, "RESIZE", (110, 100), (120, 100))
    assert (twice.rx, twice.ry) == pytest.approx((40, 60)) and (twice.cx, twice.cy) == (100, 100)
    assert transform_cover(cover, "RESIZE", (110, 100), (120, 100), "Y").rx == 20
    assert transform_cover(cover, "RESIZE", (110, 100), (100, 100)).rx == pytest.approx(1.0)
    turned = transform_cover(cover, "ROTATE", (110, 100), (100, 110))
    assert turned.angle == pytest.approx(0.3 + math.pi / 2)
    # Across the negative x axis the angle does not jump.
    assert transform_cover(cover, "ROTATE", (90, 101), (90, 99)).angle - 0.3 == pytest.approx(2 * math.atan(0.1))


def test_the_keys_of_the_mouse_are_those_of_existing_operators(scene: Any) -> None:
    for operator, _, _, options in MOUSE_KEYS:
        room, name = operator.split(".")
        properties = getattr(getattr(bpy.ops, room), name).get_rna_type().properties
        assert set(options) <= set(properties.keys())


def press_move(mouse: tuple[float, float]) -> tuple[Any, str, list[str]]:
    """What G does at a point of the preview (y counts down): its result, the layer it moves, and its reports."""
    reports: list[str] = []
    operator = SimpleNamespace(
        mode="MOVE",
        report=lambda level, text: reports.append(text),
        _picked=None,
        _draw=lambda: None,
        _show_keys=lambda context: None,
    )
    context: Any = SimpleNamespace(
        region=REGION,
        space_data=None,
        workspace=bpy.context.workspace,
        scene=bpy.context.scene,
        window=bpy.context.window,
        window_manager=SimpleNamespace(modal_handler_add=lambda operator: True),
        area=SimpleNamespace(tag_redraw=lambda: None),
    )
    event: Any = SimpleNamespace(mouse_region_x=mouse[0], mouse_region_y=disks.HEIGHT - mouse[1])
    done = FACEBLUR_OT_transform_cover.invoke(operator, context, event)  # type: ignore[arg-type]
    if getattr(operator, "_handle", None) is not None:
        bpy.types.SpaceSequenceEditor.draw_handler_remove(operator._handle, "PREVIEW")
    return done, operator._picked.layer if operator._picked is not None else "", reports


def test_a_transform_beside_the_faces_acts_on_the_face_that_was_chosen_and_else_on_the_strip(scene: Any) -> None:
    beside, over = (200.0, 20.0), (40.0, 150.0)
    strip = scene.sequence_editor.strips["disk"]
    mask = get_mask(strip)
    assert pick(*beside) == "" and pick(*over) == "Face 02"
    assert mask.layers.active is not None, "a mask always has an active layer"
    assert press_move(beside) == ({"PASS_THROUGH"}, "", []), "detection chooses no face"
    assert bpy.ops.faceblur.choose_face(strip="disk", layer="Face 01") == {"CANCELLED"}, "it is active: no undo step"
    assert press_move(beside) == ({"RUNNING_MODAL"}, "Face 01", [])
    assert press_move(over) == ({"RUNNING_MODAL"}, "Face 02", []), "the face under the mouse comes first"
    scene.frame_set(1 + 38)
    done, moved, reports = press_move(beside)
    assert (done, moved) == ({"CANCELLED"}, "") and "'Face 02' has no cover in this frame" in reports[0]


def test_a_click_beside_the_faces_another_strip_and_a_detection_release_the_chosen_face(scene: Any, film: Path) -> None:
    beside = (200.0, 20.0)
    event: Any = SimpleNamespace(mouse_region_x=beside[0], mouse_region_y=disks.HEIGHT - beside[1])
    strips = scene.sequence_editor.strips
    context: Any = SimpleNamespace(
        region=REGION, space_data=None, workspace=bpy.context.workspace, scene=scene, window=bpy.context.window
    )

    def choose() -> None:
        bpy.ops.faceblur.choose_face(strip="disk", layer="Face 02")
        assert press_move(beside)[1] == "Face 02"

    choose()
    release: Any = FACEBLUR_OT_release_face.invoke
    assert release(SimpleNamespace(), context, event) == {"PASS_THROUGH"}, "Blender's click goes on"
    assert press_move(beside)[0] == {"PASS_THROUGH"}
    choose()
    other = strips.new_movie("other", str(film), 3, 1)
    other.mute, scene.sequence_editor.active_strip = True, other
    assert press_move(beside)[0] == {"PASS_THROUGH"}
    choose()
    cover_footage(scene, strips["disk"], disks.build_document(film), EffectSettings("solid", disks.COVER))
    assert press_move(beside)[0] == {"PASS_THROUGH"}
    # A row of the list, also the active one.
    mask = get_mask(strips["disk"])
    scene.faceblur.active_row = mask.active_layer_index
    assert get_chosen_layer(strips["disk"], mask) == mask.layers.active.name
    mask.layers.active.name = "Witness"
    assert get_chosen_layer(strips["disk"], mask) == "Witness", "a renamed face stays chosen"
    mask.layers.remove(mask.layers["Witness"])
    assert get_chosen_layer(strips["disk"], mask) == "", "another face does not take its place"


def test_a_project_that_was_opened_has_no_chosen_face(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.choose_face(strip="disk", layer="Face 02")
    strip = scene.sequence_editor.strips["disk"]
    assert get_chosen_layer(strip, get_mask(strip)) == "Face 02"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "project.blend"))
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    strip = scene.sequence_editor.strips["disk"]
    assert get_mask(strip).layers.active.name == "Face 02" and get_chosen_layer(strip, get_mask(strip)) == ""
