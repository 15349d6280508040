# SPDX-License-Identifier: GPL-3.0-or-later
"""An editor goes through the review items of a project, and thumbnails show the right faces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.common.jobs import JOB
from blender_faceblur.blender.common.marks import MARK
from blender_faceblur.blender.cover.compositing import compute_mask_unit_px
from blender_faceblur.blender.cover.covering import put_cover
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document, store_document
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.preferences import properties as preferences
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.blender.review import operators as review_operators
from blender_faceblur.blender.review import queue as review
from blender_faceblur.blender.review.panels import get_mark
from blender_faceblur.blender.thumbnails import store as thumbnails
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document import editing
from blender_faceblur.core.review import groups
from blender_faceblur.core.review.groups import count_left
from blender_faceblur.core.review.queue import list_review_entries
from blender_faceblur.core.tracking import review_items
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewReason,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
)

from . import disks
from .writing import write_mask

EFFECT = EffectSettings("solid", disks.COVER)

pytestmark = pytest.mark.usefixtures("single_items")


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    registration.register()
    yield
    registration.unregister()


def build_document(film: Path) -> TrackDocument:
    """The disk's track, a second track, a suppressed one, and four review items about them."""
    document = disks.build_document(film)
    disk = document.tracks[0]
    still = Track(
        "Face 02", [Sample(f, Ellipse(40.0, 150.0, 12.0, 15.0), Evidence.DETECTED, 0.9) for f in range(5, 30)]
    )
    weak = Track(
        "Ignored 01",
        [Sample(f, Ellipse(280.0, 20.0, 10.0, 10.0), Evidence.DETECTED, 0.3) for f in range(12, 16)],
        status=TrackStatus.SUPPRESSED,
        suppression=Suppression(SuppressionReason.LOW_CONFIDENCE, 4),
    )
    document.tracks.append(still)
    document.uncovered.append(weak)
    document.review_items = [
        review_items.make_review_item("Face 01", disk.samples[20:30], ReviewReason.FAST_MOTION),
        review_items.make_review_item("Face 02", still.samples[-5:], ReviewReason.ENDS),
        review_items.make_review_item("Face 02", still.samples, ReviewReason.SINGLE_DETECTOR),
        replace(
            review_items.make_review_item("Ignored 01", weak.samples, ReviewReason.LOW_CONFIDENCE), detected_frames=4
        ),
    ]
    return document


@pytest.fixture
def project(film: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Scene, strip and mask. The strip is active."""
    scene = build_project(film, build_document(film), EFFECT)
    bpy.context.workspace.sequencer_scene = scene
    strip, modifier = disks.get_cover(scene)
    scene.sequence_editor.active_strip = strip
    yield scene, strip, modifier.input_mask_strip.mask
    thumbnails.forget()


def kinds(mask: Any) -> list[str]:
    return [entry.key.split()[0] for entry in review.read_queue(mask).entries]


def current(mask: Any) -> str:
    entry = review.get_current(mask)
    return entry.key.split()[0] if entry is not None else ""


def verdicts(mask: Any) -> dict[str, str]:
    return {entry.key.split()[0]: entry.verdict or "" for entry in list_review_entries(load_document(mask))}


def test_next_goes_through_the_items_that_show_most_first(project: tuple[Any, Any, Any]) -> None:
    scene, strip, mask = project
    order = kinds(mask)
    assert order[0] == "ends" and order[-1] == "lone"
    seen = []
    for _ in range(5):
        assert bpy.ops.faceblur.review_next() == {"FINISHED"}
        seen.append(current(mask))
    assert seen == [*order, order[0]]
    assert scene.frame_current == strip.frame_final_start + 30, "the frame after the face's last"
    assert mask.layers.active.name == "Face 02"
    bpy.ops.faceblur.review_next()
    assert bpy.ops.faceblur.review_previous() == {"FINISHED"} and current(mask) == "ends"
    assert not bpy.ops.faceblur.review_previous.poll()


def test_each_verdict_is_kept_and_leads_to_the_next_item(project: tuple[Any, Any, Any]) -> None:
    scene, _, mask = project
    assert not bpy.ops.faceblur.review_fine.poll(), "there is no current item yet"
    bpy.ops.faceblur.review_next()
    layers = [layer.name for layer in mask.layers]
    assert bpy.ops.faceblur.review_fine() == {"FINISHED"}
    assert verdicts(mask)["ends"] == "fine" and current(mask) == kinds(mask)[1]
    assert mask[MARK]["doubts"] == 3 == review.count_left(scene) == count_left(load_document(mask))
    for _ in range(3):
        bpy.ops.faceblur.review_fine()
    assert set(verdicts(mask).values()) == {"fine"} and review.count_left(scene) == 0
    assert not bpy.ops.faceblur.review_next.poll()
    assert [layer.name for layer in mask.layers] == layers
    assert bpy.ops.faceblur.review_previous() == {"FINISHED"}, "an editor can change a verdict"


def go_to(mask: Any, kind: str) -> None:
    for _ in range(6):
        bpy.ops.faceblur.review_next()
        if current(mask) == kind:
            return
    raise AssertionError(kind)


def test_switch_off_uncovers_the_frames_of_an_item(project: tuple[Any, Any, Any]) -> None:
    _, _, mask = project
    go_to(mask, "fast")
    assert bpy.ops.faceblur.review_off() == {"FINISHED"}
    assert editing.get_track(load_document(mask), "Face 01").off == [(20, 30)]
    assert list(mask[MARK]["faces"]["Face 01"]["spans"]) == [0, 20, 30, 40]
    assert verdicts(mask)["fast"] == "off"


def test_switch_off_uncovers_a_whole_track_if_the_track_itself_is_questionable(project: tuple[Any, Any, Any]) -> None:
    scene, _, mask = project
    go_to(mask, "lone")
    bpy.ops.faceblur.review_off()
    assert editing.get_track(load_document(mask), "Face 02").off == [(5, 30)]
    assert verdicts(mask)["ends"] == "off", "the track's other item gets the verdict too"
    assert review.count_left(scene) == 2


def test_cover_covers_a_suppressed_track(project: tuple[Any, Any, Any]) -> None:
    _, _, mask = project
    go_to(mask, "weak")
    assert not bpy.ops.faceblur.review_off.poll() and not bpy.ops.faceblur.review_fix.poll()
    assert bpy.ops.faceblur.review_cover() == {"FINISHED"}
    assert "Face 03" in mask.layers and load_document(mask).uncovered == []
    assert current(mask) != "weak", "the next item"
    assert verdicts(mask)["weak"] == "covered"
    assert not bpy.ops.faceblur.review_cover.poll() and bpy.ops.faceblur.review_off.poll()


def test_a_place_that_another_cover_hides_is_an_item_only_while_that_is_on(film: Path) -> None:
    document = build_document(film)
    below = [
        Sample(s.source_frame, Ellipse(s.ellipse.cx, s.ellipse.cy, 8.0, 8.0), Evidence.DETECTED, 0.3)
        for s in (document.tracks[0].samples[12:16])
    ]
    document.uncovered[0].samples[:] = below
    document.review_items[-1] = review_items.make_review_item("Ignored 01", below, ReviewReason.LOW_CONFIDENCE)
    scene = build_project(film, document, EFFECT)
    mask = disks.get_cover(scene)[1].input_mask_strip.mask
    assert "weak" not in kinds(mask) and review.count_left(scene) == 3
    mask.layers["Face 01"].hide_render = True
    mask.update_tag()
    bpy.context.view_layer.update()
    assert "weak" in kinds(mask) and review.count_left(scene) == 4


def test_a_corrected_item_gets_the_verdict_fixed(project: tuple[Any, Any, Any]) -> None:
    scene, strip, mask = project
    go_to(mask, "fast")
    scene.faceblur.show_handles = False
    scene.frame_set(1)
    assert bpy.ops.faceblur.review_fix() == {"FINISHED"}
    assert scene.frame_current == strip.frame_final_start + 24 and scene.faceblur.show_handles

    def correct(document: TrackDocument) -> list[str]:
        editing.set_key(editing.get_track(document, "Face 01"), 24, Ellipse(180, 84, 22, 22), 5)
        return ["Face 01"]

    change_tracks(mask, correct)
    assert current(mask) == "fast"
    bpy.ops.faceblur.review_fine()
    assert verdicts(mask)["fast"] == "fixed"
    assert editing.list_locked_frames(editing.get_track(load_document(mask), "Face 01")) == [24]


def test_verdicts_have_the_reviewer_of_the_preferences(
    project: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an enabled add-on there are no preferences, so the test replaces their reviewer."""
    assert preferences.get_reviewer() == ""
    for module in (review, review_operators):
        monkeypatch.setattr(module, "get_reviewer", lambda: "Ann")
    _, _, mask = project
    for kind, operator in (
        ("ends", bpy.ops.faceblur.review_fine),
        ("fast", bpy.ops.faceblur.review_off),
        ("weak", bpy.ops.faceblur.review_cover),
    ):
        go_to(mask, kind)
        assert operator() == {"FINISHED"}
    reported = {entry.key.split()[0]: entry.reviewer for entry in list_review_entries(load_document(mask))}
    assert reported == {"ends": "Ann", "fast": "Ann", "weak": "Ann", "lone": ""}


def test_an_item_is_found_after_its_face_was_renamed(project: tuple[Any, Any, Any]) -> None:
    _, _, mask = project
    go_to(mask, "fast")
    mask.layers["Face 01"].name = "Mother"
    assert bpy.ops.faceblur.review_off() == {"FINISHED"}
    assert editing.get_track(load_document(mask), "Mother").off == [(20, 30)]


def test_a_verdict_never_undoes_another_change_of_the_document(project: tuple[Any, Any, Any]) -> None:
    """The cached document may be out of date, as Blender does not report changes of texts."""
    _, _, mask = project
    go_to(mask, "fast")
    document = load_document(mask)
    editing.get_track(document, "Face 02").locked = True
    store_document(mask, MaskRecord.load(mask), document)
    bpy.ops.faceblur.review_fine()
    assert editing.get_track(load_document(mask), "Face 02").locked and verdicts(mask)["fast"] == "fine"


def test_the_items_of_another_strip_are_reviewed_between_those_of_this_one(
    project: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    scene, strip, _ = project
    other = disks.write_film(tmp_path / "other.mp4", (disks.WIDTH, disks.HEIGHT + 2))
    second = scene.sequence_editor.strips.new_movie("second", str(other), 5, 200)
    document = build_document(other)
    document.review_items, document.uncovered = document.review_items[:1], []
    size = (disks.WIDTH, disks.HEIGHT + 2)
    own = write_mask(document, compute_mask_unit_px(size, (disks.WIDTH, disks.HEIGHT)), first_frame=200)
    put_cover(scene, second, own, EFFECT, document)
    scene.sequence_editor.active_strip = strip
    assert review.count_left(scene) == 5
    bpy.ops.faceblur.review_next()
    names = []
    for _ in range(5):
        names.append(scene.sequence_editor.active_strip.name)
        if names[-1] == "second":
            assert second.select and not strip.select
            assert current(own) == "fast" and 200 <= scene.frame_current < 240
        bpy.ops.faceblur.review_fine()
    assert sorted(names) == ["disk"] * 4 + ["second"] and names[-1] == "disk"
    assert review.count_left(scene) == 0 and not bpy.ops.faceblur.review_next.poll()


def test_items_in_trimmed_frames_are_not_listed(project: tuple[Any, Any, Any]) -> None:
    scene, strip, mask = project
    strip.frame_final_duration = 18
    assert [entry.key.split()[0] for entry in review.list_entries(strip, mask)] == ["weak", "lone"]
    assert review.count_left(scene) == 2


def test_a_damaged_document_has_no_items_and_raises_nothing(project: tuple[Any, Any, Any]) -> None:
    scene, _, mask = project
    mask[MARK + "_tracks"].from_string("{}")
    bpy.context.view_layer.update()
    review._CACHE.fresh.clear()
    assert review.read_queue(mask).entries == [] and review.count_left(scene) == 0
    assert not bpy.ops.faceblur.review_next.poll()
    assert thumbnails.get_icon(mask, "Face 01") == 0


def test_verdicts_are_saved(project: tuple[Any, Any, Any], tmp_path: Path) -> None:
    _, _, mask = project
    name = mask.name
    go_to(mask, "fast")
    bpy.ops.faceblur.review_fine()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert verdicts(bpy.data.masks[name])["fast"] == "fine"


def test_drawing_the_queue_is_fast(project: tuple[Any, Any, Any]) -> None:
    """With 500 items, everything that the panel asks for takes less than 10 ms."""
    scene, strip, mask = project
    document = load_document(mask)
    document.uncovered = []
    disk = document.tracks[0]
    document.review_items = [
        review_items.make_review_item("Face 01", disk.samples[n % 30 : n % 30 + 3], ReviewReason.FAST_MOTION)
        for n in range(500)
    ]
    store_document(mask, MaskRecord.load(mask), document)
    review._CACHE.fresh.clear()
    assert len(review.list_entries(strip, mask)) == 500
    began = time.process_time()
    for _ in range(10):
        review.count_left(scene)
        review.list_entries(strip, mask)
        review.get_current(mask)
        review.find_next(scene, strip)
    assert (time.process_time() - began) / 10 < 0.01


def list_open(mask: Any) -> list[int]:
    return [1 + len(entry.members) for entry in review.read_queue(mask).entries if not entry.verdict]


def test_one_verdict_is_enough_for_a_pile_and_it_can_be_opened(
    project: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The film is so short that, with room for one item only, all of its items are one pile."""
    scene, _, mask = project
    monkeypatch.setattr(groups, "REVIEW_GROUPS", groups.ReviewGroupSettings(least_items=1))
    review._CACHE.clear()
    assert list_open(mask) == [4] and review.count_left(scene) == 1
    bpy.ops.faceblur.review_next()
    assert bpy.ops.faceblur.review_open() == {"FINISHED"}
    assert sorted(list_open(mask)) == [1, 1, 2], "the items about one face stay together"
    assert not bpy.ops.faceblur.review_open.poll() and current(mask) == "ends"
    assert bpy.ops.faceblur.review_fine() == {"FINISHED"}
    assert {kind for kind, verdict in verdicts(mask).items() if verdict} == {"ends", "lone"}
    review._CACHE.clear()
    assert list_open(mask) == [4], "the pile again, with two items that are open"
    go_to(mask, review.read_queue(mask).entries[0].key.split()[0])
    assert bpy.ops.faceblur.review_cover() == {"FINISHED"}
    assert load_document(mask).uncovered == [] and verdicts(mask)["weak"] == "covered"
    bpy.ops.faceblur.review_next()
    assert bpy.ops.faceblur.review_fine() == {"FINISHED"}
    assert all(verdicts(mask).values()) and review.count_left(scene) == 0


def test_each_track_has_a_thumbnail_which_follows_a_renamed_track(project: tuple[Any, Any, Any]) -> None:
    _, _, mask = project
    assert thumbnails.list_missing(mask) == ["Face 01", "Face 02", "Ignored 01"]
    assert bpy.ops.faceblur.make_thumbnails() == {"FINISHED"}
    assert thumbnails.list_missing(mask) == []
    portraits = thumbnails._STORE.portraits[mask[MARK]["fingerprint"]]
    assert len(portraits) == 3
    preview = thumbnails._STORE.previews[next(name for name in thumbnails._STORE.previews if _is_of_disk(name))]
    middle = 4 * (64 * 128 + 64)
    assert min(preview.image_pixels_float[middle : middle + 3]) > 0.85, "the disk is white"
    assert max(preview.image_pixels_float[:3]) < 0.5, "the background is grey"

    def swap(document: TrackDocument) -> list[str]:
        editing.rename(document, "Face 01", "Anna")
        editing.rename(document, "Face 02", "Face 01")
        return ["Face 01", "Face 02", "Anna"]

    before = thumbnails._match(mask)
    change_tracks(mask, swap)
    after = thumbnails._match(mask)
    assert after["Anna"] is before["Face 01"] and after["Face 01"] is before["Face 02"]
    assert bpy.ops.faceblur.make_thumbnails() == {"FINISHED"} and len(portraits) == 3


def _is_of_disk(name: str) -> bool:
    _, frame, x, y = name.split()
    return all(abs(a - b) < 2 for a, b in zip(disks.place_disk(int(frame)), (float(x), float(y)), strict=True))


def test_a_track_at_a_different_place_does_not_keep_the_thumbnail(project: tuple[Any, Any, Any]) -> None:
    _, _, mask = project
    bpy.ops.faceblur.make_thumbnails()

    def move(document: TrackDocument) -> list[str]:
        track = editing.get_track(document, "Face 02")
        track.samples = [Sample(s.source_frame, Ellipse(200, 20, 12, 15), s.evidence, 0.9) for s in track.samples]
        return ["Face 02"]

    change_tracks(mask, move)
    assert thumbnails.list_missing(mask) == ["Face 02"]


def test_a_moved_face_gets_a_new_thumbnail_by_itself(project: tuple[Any, Any, Any]) -> None:
    _, _, mask = project

    def move(document: TrackDocument) -> list[str]:
        track = editing.get_track(document, "Face 02")
        track.samples = [Sample(s.source_frame, Ellipse(200, 20, 12, 15), s.evidence, 0.9) for s in track.samples]
        return ["Face 02"]

    assert thumbnails.get_icon(mask, "Face 02") == 0
    assert not bpy.app.timers.is_registered(thumbnails._make_lost), "none were made, so none is missed"
    bpy.ops.faceblur.make_thumbnails()
    thumbnails.get_icon(mask, "Face 02")
    assert not bpy.app.timers.is_registered(thumbnails._make_lost), "none is missing"
    change_tracks(mask, move)
    thumbnails.get_icon(mask, "Face 02")
    assert bpy.app.timers.is_registered(thumbnails._make_lost)
    assert thumbnails._make_lost() is None
    assert thumbnails.list_missing(mask) == []
    shown = thumbnails._match(mask)["Face 02"]
    assert shown is not None and (shown.ellipse.cx, shown.ellipse.cy) == (200, 20)
    thumbnails.forget()
    assert not thumbnails._STORE.lost and thumbnails._make_lost() is None and not thumbnails._STORE.portraits


def test_thumbnails_are_forgotten_and_never_saved(project: tuple[Any, Any, Any], tmp_path: Path) -> None:
    _, _, mask = project
    bpy.ops.faceblur.make_thumbnails()
    images = set(bpy.data.images.keys())
    size = save(tmp_path / "with.blend")
    assert bpy.ops.faceblur.forget_thumbnails() == {"FINISHED"}
    assert thumbnails._STORE.previews is None and len(thumbnails.list_missing(mask)) == 3
    assert set(bpy.data.images.keys()) == images and abs(size - save(tmp_path / "without.blend")) < 3000
    bpy.ops.faceblur.make_thumbnails()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "with.blend"))
    assert thumbnails._STORE.previews is None and not thumbnails._STORE.portraits


def save(path: Path) -> int:
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=False)
    return path.stat().st_size


def test_a_replaced_film_gives_no_thumbnails(project: tuple[Any, Any, Any], tmp_path: Path) -> None:
    """The thumbnails would show other people."""
    _, strip, mask = project
    strip.filepath = str(disks.write_film(tmp_path / "b.mp4", (disks.WIDTH, disks.HEIGHT + 2)))
    with pytest.raises(RuntimeError, match="has changed"):
        bpy.ops.faceblur.make_thumbnails()
    assert len(thumbnails.list_missing(mask)) == 3


def test_an_item_without_a_cover_is_marked_in_the_preview(project: tuple[Any, Any, Any]) -> None:
    scene, strip, mask = project
    go_to(mask, "ends")
    assert get_mark(scene, strip) == (28.0, 135.0, 52.0, 165.0)
    scene.frame_set(scene.frame_current - 1)
    assert get_mark(scene, strip) is None, "the face has a cover there"
    go_to(mask, "fast")
    assert get_mark(scene, strip) is None
    go_to(mask, "weak")
    assert get_mark(scene, strip) == (270.0, 10.0, 290.0, 30.0), "the track is suppressed"
    scene.frame_set(scene.frame_current + 10)
    assert get_mark(scene, strip) is None


def begin_thumbnails(scene: Any, strip: Any, mask: Any) -> None:
    """Start as `thumbnails.start` does in a window."""
    faces = thumbnails._list_faces(mask, thumbnails.list_missing(mask))
    thumbnails._STORE.job = thumbnails._make(scene, strip, mask, faces, 0.0)


def run_ticks() -> None:
    """Call the timer as Blender does in a window."""
    until = time.monotonic() + 60
    while thumbnails._tick() is not None:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_timer_makes_the_thumbnails_in_a_window(project: tuple[Any, Any, Any]) -> None:
    scene, strip, mask = project
    begin_thumbnails(scene, strip, mask)
    assert not bpy.ops.faceblur.make_thumbnails.poll()
    run_ticks()
    assert thumbnails.list_missing(mask) == [] and not thumbnails.is_running()


def test_an_error_while_thumbnails_are_made_is_reported(project: tuple[Any, Any, Any], tmp_path: Path) -> None:
    scene, strip, mask = project
    strip.filepath = str(disks.write_film(tmp_path / "b.mp4", (disks.WIDTH, disks.HEIGHT + 2)))
    begin_thumbnails(scene, strip, mask)
    run_ticks()
    assert "has changed" in JOB.problems[0] and not thumbnails.is_running()
    JOB.problems = []


def test_forgetting_stops_the_thumbnails_in_progress(project: tuple[Any, Any, Any]) -> None:
    scene, strip, mask = project
    begin_thumbnails(scene, strip, mask)
    thumbnails._tick()
    thumbnails.forget()
    assert thumbnails._tick() is None and thumbnails._STORE.portraits == {}
