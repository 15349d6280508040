# SPDX-License-Identifier: GPL-3.0-or-later
"""The review goes through all strips of a timeline, those items first of which a viewer would see most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.review import queue
from blender_faceblur.blender.review.status import describe_left
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
)

from . import disks

pytestmark = pytest.mark.usefixtures("single_items")

FIRST = {"one": 1, "two": 51, "three": 101}
"""The first timeline frame of each strip."""
SIZES = {"one": (8, 26), "two": (14, 20), "three": (11, 23)}
"""The radii of the uncovered faces in each film, in pixels."""


def build_document(film: Path, radii: tuple[int, ...]) -> TrackDocument:
    """The disk, which is covered, and an uncovered track of each radius, in different frames."""
    document = disks.build_document(film)
    for number, radius in enumerate(radii):
        samples = [
            Sample(f, Ellipse(40.0 + 220 * number, 150.0, radius, radius), Evidence.DETECTED, 0.5)
            for f in range(5 + 15 * number, 15 + 15 * number)
        ]
        document.uncovered.append(
            Track(
                f"Ignored {number + 1:02}",
                samples,
                status=TrackStatus.SUPPRESSED,
                suppression=Suppression(SuppressionReason.LOW_CONFIDENCE, 10),
            )
        )
    return document


@pytest.fixture
def scene(extension: None, tmp_path: Path) -> Any:
    """Three covered films in a row, in one channel; the first is active."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    bpy.context.workspace.sequencer_scene = scene
    strips = scene.sequence_editor_create().strips
    for name, start in FIRST.items():
        path = disks.write_film(tmp_path / f"{name}.mp4")
        # Films of the same content would count as one source.
        path.write_bytes(path.read_bytes() + name.encode())
        strip = strips.new_movie(name, str(path), 1, start)
        cover_footage(scene, strip, build_document(path, SIZES[name]), EffectSettings("solid", disks.COVER))
    select(scene, "one")
    return scene


def select(scene: Any, name: str) -> None:
    for strip in scene.sequence_editor.strips_all:
        strip.select = strip.name == name
    scene.sequence_editor.active_strip = scene.sequence_editor.strips[name]
    bpy.context.view_layer.update()


def get_place(scene: Any) -> tuple[str, int]:
    """The active strip and the radius of the current item's face."""
    strip = scene.sequence_editor.active_strip
    entry = queue.get_current(get_mask(strip))
    assert entry is not None
    assert FIRST[strip.name] <= scene.frame_current < FIRST[strip.name] + disks.FRAMES
    return strip.name, round(entry.size_px / 2)


ORDER = [("one", 26), ("three", 23), ("two", 20), ("two", 14), ("three", 11), ("one", 8)]


def test_next_and_previous_go_from_strip_to_strip_by_size(scene: Any) -> None:
    select(scene, "three")
    seen = []
    for _ in ORDER:
        assert bpy.ops.faceblur.review_next() == {"FINISHED"}
        seen.append(get_place(scene))
    assert seen == ORDER
    assert scene.sequence_editor.active_strip.select and not scene.sequence_editor.strips["two"].select
    for place in reversed(ORDER[:-1]):
        assert bpy.ops.faceblur.review_previous() == {"FINISHED"}
        assert get_place(scene) == place
    assert not bpy.ops.faceblur.review_previous.poll()


def test_a_decision_goes_on_in_the_next_strip_and_counts_all(scene: Any) -> None:
    assert (queue.count_left(scene), queue.count_large_left(scene)) == (6, 3)
    assert describe_left(scene, 6) == "6 to review, 3 large"
    bpy.ops.faceblur.review_next()
    for left, place in zip(range(6, 0, -1), ORDER, strict=True):
        assert queue.count_left(scene) == left and get_place(scene) == place
        # Whatever the verdict is.
        assert (bpy.ops.faceblur.review_cover if left % 2 else bpy.ops.faceblur.review_fine)() == {"FINISHED"}
    assert queue.count_left(scene) == queue.count_large_left(scene) == 0
    assert not bpy.ops.faceblur.review_next.poll()


def test_a_skipped_item_comes_again_after_the_last(scene: Any) -> None:
    for _ in range(2):
        bpy.ops.faceblur.review_next()
    seen = []
    for _ in range(5):
        seen.append(get_place(scene))
        bpy.ops.faceblur.review_cover()
    assert [*seen, get_place(scene)] == [*ORDER[1:], ORDER[0]]


def test_undo_takes_back_decisions_in_several_strips_one_by_one(scene: Any) -> None:
    bpy.ops.ed.undo_push(message="covered")
    bpy.ops.faceblur.review_next("EXEC_DEFAULT", True)
    seen = []
    for _ in range(3):
        seen.append(get_place(scene))
        bpy.ops.faceblur.review_cover("EXEC_DEFAULT", True)
    assert seen == ORDER[:3]
    for left, place in zip((4, 5, 6), reversed(ORDER[:3]), strict=True):
        assert bpy.ops.ed.undo() == {"FINISHED"}
        scene = bpy.context.scene
        assert queue.count_left(scene) == left and get_place(scene) == place
    for left in (5, 4):
        assert bpy.ops.ed.redo() == {"FINISHED"}
        scene = bpy.context.scene
        assert queue.count_left(scene) == left
    assert get_place(scene) == ORDER[2]
    bpy.ops.faceblur.review_fine()
    assert get_place(scene) == ORDER[3]


def test_a_strip_below_another_comes_last_and_a_muted_one_not_at_all(scene: Any, tmp_path: Path) -> None:
    above = scene.sequence_editor.strips.new_movie("above", str(tmp_path / "one.mp4"), 5, FIRST["one"])
    bpy.context.view_layer.update()
    assert [item.strips[0] for item in queue.list_queue(scene)] == ["three", "two", "two", "three", "one", "one"]
    assert queue.count_left(scene) == 6, "it may be moved, and then it shows"
    # It now hides the frames of the first face only, and so only that is last.
    above.frame_final_end = FIRST["one"] + 15
    bpy.context.view_layer.update()
    order = [(item.strips[0], round(item.entry.size_px / 2)) for item in queue.list_queue(scene)]
    assert order == ORDER
    above.frame_final_end = FIRST["one"] + disks.FRAMES
    above.blend_alpha = 0.5
    bpy.context.view_layer.update()
    assert queue.list_queue(scene)[0].strips == ("one",), "it shows through"
    scene.sequence_editor.strips["one"].mute = True
    bpy.context.view_layer.update()
    assert {item.strips for item in queue.list_queue(scene)} == {("two",), ("three",)}
    assert queue.count_left(scene) == 4
    scene.sequence_editor.channels[1].mute = True
    bpy.context.view_layer.update()
    assert queue.count_left(scene) == 0 and not bpy.ops.faceblur.review_next.poll()


def test_a_film_that_is_shown_small_is_reviewed_later(scene: Any) -> None:
    transform = scene.sequence_editor.strips["one"].transform
    transform.scale_x = transform.scale_y = 0.5
    bpy.context.view_layer.update()
    order = [(item.strips[0], round(item.entry.size_px / 2)) for item in queue.list_queue(scene)]
    assert order == [("three", 23), ("two", 20), ("two", 14), ("one", 26), ("three", 11), ("one", 8)]
    assert queue.count_large_left(scene) == 2


def test_an_item_that_two_strips_show_is_one_and_is_reviewed_in_the_active_one(scene: Any) -> None:
    with_cut = scene.sequence_editor.strips["one"]
    disks.operate(scene, bpy.ops.sequencer.split, with_cut, frame=FIRST["one"] + 25, side="RIGHT")
    bpy.context.view_layer.update()
    items = queue.list_queue(scene)
    assert len(items) == 6 and queue.count_left(scene) == 6
    halves = {item.strips for item in items if item.mask == get_mask(with_cut).name}
    assert len(halves) == 1 and len(next(iter(halves))) == 2
    second = next(name for name in next(iter(halves)) if name != "one")
    select(scene, "one")
    bpy.ops.faceblur.review_next()
    assert scene.sequence_editor.active_strip.name in ("one", second)
    assert scene.frame_current < FIRST["two"]


def test_the_review_begins_whatever_strip_is_active(scene: Any, tmp_path: Path) -> None:
    scene.sequence_editor.strips.new_movie("bare", str(tmp_path / "one.mp4"), 5, 200)
    select(scene, "bare")
    assert bpy.ops.faceblur.review_next.poll() and bpy.ops.faceblur.review.poll()
    bpy.ops.faceblur.review_next()
    assert get_place(scene) == ORDER[0]
