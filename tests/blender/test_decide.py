# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about several faces at once. How the sheet looks, the story "decide" sees in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.people.operators import decide as decide_operator
from blender_faceblur.blender.people.operators.decide import FACEBLUR_OT_decide_on_faces
from blender_faceblur.blender.people.person_list import add_person, assign_track
from blender_faceblur.blender.people.sheet import SHEET, SheetState
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.review.face_sheet import FaceDecision, SheetPile
from blender_faceblur.core.tracking.review_items import make_review_item
from blender_faceblur.core.types import Ellipse, Evidence, ReviewReason, Sample, Track, TrackDocument

from . import disks


@pytest.fixture
def mask(film: Path) -> Iterator[Any]:
    """The mask of a strip with two faces."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    registration.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = disks.WIDTH, disks.HEIGHT, 24
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    scene.sequence_editor.active_strip = strip
    document = disks.build_document(film)
    other = [Sample(f, Ellipse(250, 120, 30, 30), Evidence.DETECTED, 0.9) for f in range(5, 20)]
    document.tracks.append(Track("Face 02", other))
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    yield get_mask(strip)
    registration.unregister()


@pytest.fixture
def sheet(mask: Any) -> Iterator[SheetState]:
    SHEET.refresh(get_scene())
    yield SHEET
    SHEET.close()


def get_scene() -> Any:
    return bpy.context.workspace.sequencer_scene or bpy.context.scene


def pick(mask: Any, track: str) -> dict[str, Any]:
    """A face to decide on; Blender wants all of its fields."""
    return {"name": "", "mask": mask.name, "track": track}


def decide(mask: Any, decision: str, *names: str) -> None:
    faces = [pick(mask, name) for name in names]
    assert bpy.ops.faceblur.decide(faces=faces, decision=decision) == {"FINISHED"}


def list_covered(mask: Any) -> list[str]:
    return [track.name for track in load_document(mask).tracks if track.list_covered_spans()]


def test_several_faces_are_kept_visible_and_covered_again_at_once(mask: Any) -> None:
    decide(mask, "keep_visible", "Face 01", "Face 02")
    assert list_covered(mask) == []
    decide(mask, "cover", "Face 01", "Face 02")
    assert list_covered(mask) == ["Face 01", "Face 02"]


def test_cover_also_covers_what_the_checkbox_of_the_list_had_uncovered(mask: Any) -> None:
    mask.layers["Face 02"].hide_render = True
    decide(mask, "cover", "Face 02")
    assert not mask.layers["Face 02"].hide_render


def test_what_is_no_face_is_removed_and_other_faces_stay(mask: Any) -> None:
    decide(mask, "not_a_face", "Face 02")
    assert list_covered(mask) == ["Face 01"] and "Face 02" not in mask.layers


def test_without_a_face_nothing_changes(mask: Any) -> None:
    assert bpy.ops.faceblur.decide(faces=[], decision="keep_visible") == {"CANCELLED"}
    assert list_covered(mask) == ["Face 01", "Face 02"]


def test_the_sheet_has_a_cell_for_each_face_with_what_is_decided_about_it(mask: Any, sheet: SheetState) -> None:
    assert {cell.members[0].face.track: cell.state for cell in sheet.cells} == {
        "Face 01": "Covered",
        "Face 02": "Covered",
    }
    decide(mask, "keep_visible", "Face 01")
    mask.layers["Face 02"].hide_render = True
    sheet.refresh(get_scene())
    assert {cell.state for cell in sheet.cells} == {"Visible"}


def test_a_pile_is_one_cell_until_it_is_opened_and_then_its_faces_stay_selected(mask: Any, sheet: SheetState) -> None:
    decide(mask, "not_a_face", "Face 02")
    sheet.refresh(get_scene())
    (pile,) = [cell for cell in sheet.cells if cell.pile == SheetPile.IGNORED]
    assert pile.state == "Ignored" and len(sheet.cells) == 2
    sheet.selection.select(pile.key)
    assert [member.face.track for member in sheet.list_selected()] == ["Face 02"]
    sheet.toggle_pile(get_scene(), SheetPile.IGNORED, keep=True)
    assert all(cell.pile == SheetPile.NONE for cell in sheet.cells)
    assert [member.face.track for member in sheet.list_selected()] == ["Face 02"]


def test_what_may_be_no_face_is_a_pile(mask: Any, sheet: SheetState) -> None:
    def doubt(document: TrackDocument) -> list[str]:
        track = document.tracks[0]
        document.review_items.append(make_review_item(track.name, track.samples, ReviewReason.UNLIKELY_FACE))
        return [track.name]

    change_tracks(mask, doubt)
    sheet.refresh(get_scene())
    (pile,) = [cell for cell in sheet.cells if cell.pile == SheetPile.DOUBTFUL]
    assert pile.state == "Covered" and pile.describe() == ("Perhaps No Faces", "1 face")


def test_what_is_to_be_kept_visible_is_shown_alone_before(mask: Any, sheet: SheetState) -> None:
    sheet.selection.select(sheet.cells[1].key)
    sheet.confirming = True
    assert sheet.list_shown() == [sheet.cells[1]]
    # After an undo that removes the face nothing is left to confirm.
    sheet.selection.select("gone")
    sheet.build(get_scene())
    assert not sheet.confirming and len(sheet.list_shown()) == 2


def test_a_face_without_a_picture_is_not_kept_visible(mask: Any, sheet: SheetState) -> None:
    sheet.selection.select(sheet.cells[0].key)
    assert sheet.list_unseen() == list(sheet.cells[0].members)
    with_window = SimpleNamespace(report=lambda kinds, text: reports.append((kinds, text)))
    reports: list[tuple[set[str], str]] = []
    FACEBLUR_OT_decide_on_faces._apply(with_window, FaceDecision.KEEP_VISIBLE)  # type: ignore[arg-type]
    assert reports == [({"WARNING"}, "1 face without a picture: nothing changed")]
    assert list_covered(mask) == ["Face 01", "Face 02"] and sheet.selection.keys
    FACEBLUR_OT_decide_on_faces._apply(with_window, FaceDecision.NOT_A_FACE)  # type: ignore[arg-type]
    assert len(list_covered(mask)) == 1


def test_all_faces_of_a_person_are_selected_together(mask: Any, sheet: SheetState) -> None:
    first = sheet.cells[0]
    sheet.select_group(first.key)
    assert sheet.selection.keys == {first.key}
    scene = get_scene()
    for name in ("Face 01", "Face 02"):
        assign_track(scene, mask, name, 0)
    person = add_person(scene.faceblur.people, "Ada")
    for face in scene.faceblur.people.faces:
        face.person = person.uid
    sheet.build(scene)
    sheet.selection.keys = set()
    sheet.select_group(sheet.cells[0].key)
    assert sheet.selection.keys == {cell.key for cell in sheet.cells} and len(sheet.cells) == 2
    assert sheet.cells[0].describe()[0] == "Ada"


def test_a_face_drawn_by_hand_is_refused_and_nothing_changes(mask: Any) -> None:
    mask.layers.new(name="Mine")
    faces = [pick(mask, name) for name in ("Face 01", "Mine")]
    with pytest.raises(RuntimeError, match="Mine"):
        bpy.ops.faceblur.decide(faces=faces, decision="keep_visible")
    assert list_covered(mask) == ["Face 01", "Face 02"]


def test_shift_picks_all_faces_up_to_the_one_that_is_clicked(
    mask: Any, sheet: SheetState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(document: TrackDocument) -> list[str]:
        for number in (3, 4, 5):
            place = Ellipse(60.0 * number - 100, 40, 12, 12)
            document.tracks.append(
                Track(f"Face 0{number}", [Sample(f, place, Evidence.DETECTED, 0.9) for f in range(20)])
            )
        return ["Face 03", "Face 04", "Face 05"]

    change_tracks(mask, add)
    sheet.refresh(get_scene())
    order = sheet.list_order()
    assert len(order) == 5
    operator: Any = SimpleNamespace(_press=None, _extend=False, _through=False, _drag=lambda context, place: None)
    monkeypatch.setattr(decide_operator, "_find_cell", lambda context, region, place: sheet.cells[int(place[0])])

    def click(number: int, **keys: bool) -> list[int]:
        """Click a picture with these keys held; returns the pictures that are picked then."""
        for value in ("PRESS", "RELEASE"):
            event: Any = SimpleNamespace(value=value, **{"ctrl": False, "oskey": False, "shift": False} | keys)
            FACEBLUR_OT_decide_on_faces._click(operator, bpy.context, None, event, (float(number), 0.0))
        return [order.index(key) for key in order if key in sheet.selection.keys]

    assert click(1) == [1] and click(3, shift=True) == [1, 2, 3]
    assert click(0) == [0] and click(4, ctrl=True) == [0, 4]
    assert click(2, ctrl=True, shift=True) == [0, 2, 3, 4]
    assert click(3) == [3]
