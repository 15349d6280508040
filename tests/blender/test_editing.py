# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators that correct a face: what they cover in renders, and what they report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.common.jobs import JOB
from blender_faceblur.blender.correction.operators import add
from blender_faceblur.blender.correction.operators.correct import set_cover
from blender_faceblur.blender.cover.active_face import get_target
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.editing import get_track, list_locked_frames
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track

from . import disks
from .corrected import list_corrected


@pytest.fixture
def scene(film: Path) -> Iterator[Any]:
    """The covered film from frame 1: the disk is Face 01; Face 02 stands still in frames 5 to 34."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    scene.sequence_editor.active_strip = strip
    document = disks.build_document(film)
    document.tracks.append(
        Track("Face 02", [Sample(f, Ellipse(40, 150, 12, 15), Evidence.DETECTED, 1.0) for f in range(5, 35)])
    )
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    yield scene
    blender_faceblur.unregister()


def choose(scene: Any, name: str, source_frame: int) -> Any:
    mask = get_mask(scene.sequence_editor.active_strip)
    mask.layers.active = mask.layers[name]
    scene.frame_set(1 + source_frame)
    return mask


def see(scene: Any, source_frame: int, folder: Path) -> disks.Sight:
    return disks.see(disks.render_frame(scene, 1 + source_frame, folder / "seen.png"))


def spans(mask: Any, name: str) -> list[tuple[int, int]]:
    return get_track(load_document(mask), name).list_covered_spans()


def test_a_cover_moves_to_where_an_editor_puts_it(scene: Any, tmp_path: Path) -> None:
    mask = choose(scene, "Face 01", 20)
    before = MaskRecord.load(mask).compute_ellipse("Face 01", 20)
    assert before is not None
    set_cover(get_target(bpy.context), Ellipse(before.cx + 100, before.cy, before.rx, before.ry))
    assert list_locked_frames(get_track(load_document(mask), "Face 01")) == [20]
    moved = MaskRecord.load(mask).compute_ellipse("Face 01", 20)
    assert moved is not None and moved.cx == pytest.approx(before.cx + 100, abs=0.6)
    assert see(scene, 20, tmp_path).disk > 900
    # The cover is unchanged half a second away.
    assert see(scene, 5, tmp_path).disk == 0 and see(scene, 35, tmp_path).disk == 0
    assert list_corrected(mask) == []


def test_only_the_changed_layer_is_written(scene: Any) -> None:
    mask = choose(scene, "Face 01", 20)
    other = mask.layers["Face 02"].as_pointer()
    set_cover(get_target(bpy.context), Ellipse(100, 100, 30, 30))
    assert mask.layers["Face 02"].as_pointer() == other and mask.layers.active.name == "Face 01"


def test_a_face_that_is_off_stays_off_when_it_is_corrected(scene: Any) -> None:
    mask = choose(scene, "Face 01", 20)
    mask.layers["Face 01"].hide_render = True
    set_cover(get_target(bpy.context), Ellipse(100, 100, 30, 30))
    assert mask.layers["Face 01"].hide_render


def test_all_faces_of_the_selected_strips_are_switched(scene: Any, tmp_path: Path) -> None:
    small = disks.write_film(tmp_path / "small.mp4", (240, 140))
    other = scene.sequence_editor.strips.new_movie("small", str(small), 5, 1)
    cover_footage(scene, other, disks.build_document(small, (240, 140)), EffectSettings("solid", disks.COVER))
    one, two = get_mask(scene.sequence_editor.strips["disk"]), get_mask(other)

    def list_off() -> list[str]:
        return [f"{mask.name} {layer.name}" for mask in (one, two) for layer in mask.layers if layer.hide_render]

    for strip in scene.sequence_editor.strips:
        strip.select = strip.type == "MOVIE"
    bpy.ops.faceblur.switch_faces(action="OFF")
    assert list_off() == [f"{one.name} Face 01", f"{one.name} Face 02", f"{two.name} Face 01"]
    other.select = False
    bpy.ops.faceblur.switch_faces(action="ON")
    assert list_off() == [f"{two.name} Face 01"]


def test_a_track_begins_and_ends_at_the_playhead(scene: Any, tmp_path: Path) -> None:
    mask = choose(scene, "Face 01", 10)
    assert bpy.ops.faceblur.begin_here() == {"FINISHED"}
    scene.frame_set(1 + 30)
    assert bpy.ops.faceblur.end_here() == {"FINISHED"}
    assert spans(mask, "Face 01") == [(10, 31)]
    assert [see(scene, frame, tmp_path).disk > 900 for frame in (9, 10, 30, 31)] == [True, False, False, True]
    choose(scene, "Face 02", 38)
    bpy.ops.faceblur.end_here()
    assert spans(mask, "Face 02") == [(5, 39)]


def test_faces_are_split_merged_deleted_and_brought_back(scene: Any, tmp_path: Path) -> None:
    mask = choose(scene, "Face 01", 20)
    bpy.ops.faceblur.split_face()
    assert spans(mask, "Face 01") == [(0, 20)] and spans(mask, "Face 03") == [(20, 40)]
    choose(scene, "Face 03", 25)
    bpy.ops.faceblur.delete_face()
    assert see(scene, 25, tmp_path).disk > 900 and see(scene, 15, tmp_path).disk == 0
    bpy.ops.faceblur.bring_back(name="Face 03")
    choose(scene, "Face 01", 10)
    bpy.ops.faceblur.merge_faces(other="Face 03")
    assert spans(mask, "Face 01") == [(0, 40)] and see(scene, 25, tmp_path).disk == 0
    with pytest.raises(RuntimeError, match=r"In frame 5 .* different places"):
        bpy.ops.faceblur.merge_faces(other="Face 02")
    with pytest.raises(RuntimeError, match="no uncovered track 'Nobody'"):
        bpy.ops.faceblur.bring_back(name="Nobody")


def test_a_face_is_switched_off_in_some_frames(scene: Any, tmp_path: Path) -> None:
    mask = choose(scene, "Face 01", 20)
    bpy.ops.faceblur.switch_face(action="OFF", where="FRAME")
    assert spans(mask, "Face 01") == [(0, 20), (21, 40)]
    assert [see(scene, frame, tmp_path).disk > 900 for frame in (19, 20, 21)] == [False, True, False]
    with pytest.raises(RuntimeError, match="preview range"):
        bpy.ops.faceblur.switch_face(action="OFF", where="RANGE")
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 5, 9
    bpy.ops.faceblur.switch_face(action="OFF", where="RANGE")
    assert spans(mask, "Face 01") == [(0, 4), (9, 20), (21, 40)]
    bpy.ops.faceblur.switch_face(action="ON", where="FILM")
    assert spans(mask, "Face 01") == [(0, 40)]


def test_keys_are_unlocked_and_faces_locked(scene: Any) -> None:
    mask = choose(scene, "Face 01", 20)
    set_cover(get_target(bpy.context), Ellipse(100, 100, 30, 30))
    bpy.ops.faceblur.clear_key()
    assert list_locked_frames(get_track(load_document(mask), "Face 01")) == []
    with pytest.raises(RuntimeError, match="no locked key"):
        bpy.ops.faceblur.clear_key()
    bpy.ops.faceblur.lock_face()
    assert get_track(load_document(mask), "Face 01").locked
    bpy.ops.faceblur.lock_face()
    assert not get_track(load_document(mask), "Face 01").locked


def test_edits_with_blenders_tools_are_applied_before_an_operator(scene: Any) -> None:
    mask = choose(scene, "Face 01", 20)
    mask.layers["Face 02"].name = "Anna"
    bpy.context.view_layer.update()
    mask.layers.remove(mask.layers["Face 01"])
    mask.update_tag()
    choose(scene, "Anna", 20)
    bpy.ops.faceblur.end_here()
    document = load_document(mask)
    assert [track.name for track in document.tracks] == ["Anna"] and spans(mask, "Anna") == [(5, 21)]
    assert [track.name for track in document.uncovered] == ["Face 01"]


def test_operators_refuse_a_layer_drawn_by_hand(scene: Any) -> None:
    mask = choose(scene, "Face 02", 20)
    mask.layers["Face 02"].splines.new().points.add(2)
    with pytest.raises(RuntimeError, match="drawn by hand"):
        bpy.ops.faceblur.end_here()
    choose(scene, "Face 02", 20)
    with pytest.raises(RuntimeError, match="drawn by hand"):
        bpy.ops.faceblur.begin_here()
    assert len(mask.layers["Face 02"].splines) == 2


def test_operators_need_a_face_at_the_playhead(scene: Any) -> None:
    choose(scene, "Face 01", 20)
    scene.frame_set(500)
    with pytest.raises(RuntimeError, match="poll"):
        bpy.ops.faceblur.split_face()
    choose(scene, "Picture", 20)
    with pytest.raises(RuntimeError, match="poll"):
        bpy.ops.faceblur.split_face()


def test_a_failed_change_leaves_the_document_as_it_was(scene: Any) -> None:
    mask = choose(scene, "Face 01", 20)
    before = load_document(mask)

    def fail(document: Any) -> list[str]:
        document.tracks.clear()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_tracks(mask, fail)
    assert load_document(mask) == before


def test_a_face_is_tracked_from_its_key(scene: Any, tmp_path: Path) -> None:
    """A track that stands still is placed on the moving disk in one frame and tracked to both ends of the film."""
    mask = choose(scene, "Face 02", 20)
    set_cover(get_target(bpy.context), Ellipse(*disks.place_disk(20), 28, 28))
    choose(scene, "Face 01", 20)
    bpy.ops.faceblur.delete_face()
    assert see(scene, 33, tmp_path).disk > 300
    choose(scene, "Face 02", 20)
    assert bpy.ops.faceblur.follow() == {"FINISHED"}
    ((start, stop),) = spans(mask, "Face 02")
    assert start <= 2 and stop >= 38
    for frame in (5, 20, 33):
        assert see(scene, frame, tmp_path).disk == 0


def test_a_drawn_region_is_tracked(scene: Any, tmp_path: Path) -> None:
    mask = choose(scene, "Face 01", 12)
    bpy.ops.faceblur.delete_face()
    x, y = disks.place_disk(12)
    scene.frame_set(13)
    assert bpy.ops.faceblur.add(kind="REGION", box=(x - 24, y - 24, x + 24, y + 24)) == {"FINISHED"}
    track = get_track(load_document(mask), "Region 01")
    assert track.kind == "region" and list_locked_frames(track) == [12] and mask.layers.active.name == "Region 01"
    for frame in (3, 12, 30):
        assert see(scene, frame, tmp_path).disk == 0


@pytest.mark.parametrize("lost", ["timeline", "strip", "mask"])
def test_what_is_lost_while_a_region_is_tracked_is_reported_in_one_line(
    lost: str, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An undo can remove the whole timeline."""
    mask = choose(scene, "Face 01", 12)

    def track(place: object, wait_s: float | None) -> Iterator[None]:
        if lost == "timeline":
            scene.sequence_editor_clear()
        elif lost == "strip":
            scene.sequence_editor.strips.remove(scene.sequence_editor.active_strip)
        else:
            bpy.data.masks.remove(mask)
        yield None

    monkeypatch.setattr(add, "run_tracking", track)
    with pytest.raises(RuntimeError) as error:
        bpy.ops.faceblur.add(kind="REGION", box=(10, 10, 50, 50))
    assert str(error.value).strip() == "Error: The strip or its mask was deleted, so nothing was added."
    assert JOB.problems == ["The strip or its mask was deleted, so nothing was added."] and not JOB.running


def test_a_box_is_covered_in_one_frame_or_until_end_here(scene: Any, tmp_path: Path) -> None:
    mask = choose(scene, "Face 01", 12)
    bpy.ops.faceblur.delete_face()
    x, y = disks.place_disk(12)
    scene.frame_set(13)
    box = (x - 24, y - 24, x + 24, y + 24)
    bpy.ops.faceblur.add(kind="FACE", extent="FRAME", box=box)
    assert [see(scene, frame, tmp_path).disk == 0 for frame in (11, 12, 13)] == [False, True, False]
    scene.frame_set(13)
    bpy.ops.faceblur.add(kind="REGION", extent="HOLD", box=box)
    assert spans(mask, "Region 01") == [(12, 40)]
    scene.frame_set(26)
    bpy.ops.faceblur.end_here()
    assert spans(mask, "Region 01") == [(12, 26)]


def test_a_face_that_stays_in_a_never_region_is_not_covered(scene: Any) -> None:
    mask = choose(scene, "Face 01", 12)
    bpy.ops.faceblur.add(kind="NEVER", box=(10, 120, 70, 179))
    assert [track.name for track in load_document(mask).tracks] == ["Face 01"] and "Face 02" not in mask.layers


def test_track_one_frame_goes_to_that_frame(scene: Any) -> None:
    mask = choose(scene, "Face 01", 20)
    bpy.ops.faceblur.end_here()
    bpy.ops.faceblur.follow_step(direction="FORWARD")
    assert scene.frame_current == 22 and spans(mask, "Face 01") == [(0, 22)]
    bpy.ops.faceblur.follow_step(direction="BACKWARD")
    assert scene.frame_current == 21
