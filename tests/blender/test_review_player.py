# SPDX-License-Identifier: GPL-3.0-or-later
"""The review as a player: its loops, its question, and what is see-through during it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.common.footage import describe_frames
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.covering import cover_footage, leave_uncovered
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.overlay import see_through
from blender_faceblur.blender.review import player, question, session
from blender_faceblur.blender.review.queue import list_entries
from blender_faceblur.blender.review.status import describe_strip
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.review.queue import ReviewEntry
from blender_faceblur.core.types import ReviewItem, ReviewReason

from . import disks


@pytest.fixture
def project(film: Path) -> Iterator[tuple[Any, Any, Any]]:
    """Scene, strip and mask: the film at 8 frames a second from frame 11, with an item in source frames 18 to 20."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    registration.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = disks.WIDTH, disks.HEIGHT, 8
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 11)
    scene.sequence_editor.active_strip = strip
    document = disks.build_document(film)
    document.review_items.append(ReviewItem(18, 21, (130, 58, 180, 100), 0.5, ReviewReason.FLOW_ONLY, "Face 01"))
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    yield scene, strip, get_mask(strip)
    registration.unregister()


def get_entry(project: tuple[Any, Any, Any]) -> ReviewEntry:
    _, strip, mask = project
    (entry,) = list_entries(strip, mask)
    return entry


def test_a_loop_shows_a_second_before_and_after_its_item(project: tuple[Any, Any, Any]) -> None:
    loop = session.compute_loop(project[1], get_entry(project), disks.FRAMES, 8.0)
    assert loop == session.Loop(11 + 18 - 8, 11 + 20 + 8, 4.0)


def test_a_loop_stays_within_what_the_strip_shows(project: tuple[Any, Any, Any]) -> None:
    _, strip, _ = project
    entry = get_entry(project)
    strip.frame_final_start, strip.frame_final_end = 11 + 15, 11 + 22
    loop = session.compute_loop(strip, entry, disks.FRAMES, 8.0)
    assert loop is not None and (loop.first, loop.last) == (11 + 15, 11 + 21)
    strip.frame_final_end = 11 + 16
    strip.frame_final_start = 11 + 2
    loop = session.compute_loop(strip, entry, disks.FRAMES, 8.0)
    assert loop is not None and loop.last == 11 + 15


def test_a_loop_shows_the_item_covered_and_uncovered_in_turn_at_its_own_speed() -> None:
    loop = session.Loop(100, 109, 5.0)
    assert [loop.get_frame(seconds) for seconds in (0, 0.2, 1.99, 2.0, 3.99, 4.0)] == [
        (100, False),
        (101, False),
        (109, False),
        (100, True),
        (109, True),
        (100, False),
    ]


def test_covers_are_see_through_during_a_review_and_in_its_bare_rounds(project: tuple[Any, Any, Any]) -> None:
    scene, _, mask = project
    assert not see_through.is_see_through() and question.compose_question(bpy.context, 80) == ([], [])
    bpy.ops.faceblur.review_next()
    session.begin_session()
    assert see_through.is_see_through()
    asked, more = question.compose_question(bpy.context, 80)
    assert " ".join(asked).endswith("?") and "Face 01" in asked[0] and more[0] == "1 item left"
    home = scene.frame_current
    session.start_loop(session.Loop(home - 2, home + 1, 1000.0), home)
    assert not see_through.is_see_through()
    session.SESSION.began -= 0.0045
    session.advance_loop(scene)
    assert home - 2 <= scene.frame_current <= home + 1
    session.SESSION.bare = True
    assert see_through.is_see_through()
    session.stop_loop(scene)
    assert scene.frame_current == home and see_through.is_see_through()
    # Nothing of it is in the mask: a render is covered.
    assert not any(layer.hide_render for layer in mask.layers)
    bpy.ops.wm.read_homefile(use_factory_startup=True, app_template="Video_Editing")
    assert not see_through.is_see_through() and session.SESSION.ended


def test_each_key_of_the_player_is_an_operator(project: tuple[Any, Any, Any]) -> None:
    for name in player.KEYS.values():
        assert getattr(bpy.ops.faceblur, name).idname_py() == f"faceblur.{name}"
        assert f"FACEBLUR_OT_{name}" in dir(bpy.types)


def test_a_range_of_source_frames_is_named_in_frames_of_the_timeline(project: tuple[Any, Any, Any]) -> None:
    _, strip, _ = project
    assert describe_frames(strip, 0, disks.FRAMES, disks.FRAMES) == f"Frames 11 to {10 + disks.FRAMES}"
    assert describe_frames(strip, 5, 10, disks.FRAMES) == "Frames 16 to 20"
    assert describe_frames(strip, 5, 6, disks.FRAMES) == "Frame 16"
    strip.frame_final_start, strip.frame_final_end = 11 + 7, 11 + 9
    assert describe_frames(strip, 5, 10, disks.FRAMES) == "Frames 18 to 19"
    assert describe_frames(strip, 20, 30, disks.FRAMES) == "In none of the strip's frames"
    strip.frame_final_start, strip.frame_final_end = 11, 11 + disks.FRAMES
    strip.use_reverse_frames = True
    assert describe_frames(strip, 0, 5, disks.FRAMES) == f"Frames {6 + disks.FRAMES} to {10 + disks.FRAMES}"
    assert describe_frames(strip, disks.FRAMES - 5, disks.FRAMES, disks.FRAMES) == "Frames 11 to 15"


def test_one_line_says_where_a_strip_stands(project: tuple[Any, Any, Any], film: Path) -> None:
    scene, strip, mask = project

    def read() -> tuple[str, str]:
        state = describe_strip(scene, strip)
        return state.words, state.operator

    scene.faceblur.effect, scene.faceblur.color = "solid", (0.0, 0.0, 1.0)
    assert read() == ("1 to review, 1 large", "faceblur.review")
    bpy.ops.faceblur.review_next()
    bpy.ops.faceblur.review_fine()
    assert read() == ("Covered", "faceblur.bake")
    mask.layers["Face 01"].hide_render = True
    assert read() == ("Covered, 1 face off", "faceblur.bake")
    mask.layers["Face 01"].hide_render = False
    bare = scene.sequence_editor.strips.new_movie("bare", str(film), 5, 11)
    for other in scene.sequence_editor.strips_all:
        other.select = other == bare
    scene.faceblur.effect = "mosaic"
    assert read() == ("Settings changed since", "faceblur.apply"), "another strip was selected"
    get_modifier(strip).enable = False
    assert read() == ("Cover off: faces show", "faceblur.repair")
    assert describe_strip(scene, bare).words == "Not detected"
    leave_uncovered(bare, True)
    assert describe_strip(scene, bare).words == "Left uncovered"
    assert describe_strip(scene, None).words == "No movie strip is selected"
    assert describe_strip(scene, None).operator == ""
    for one in list(scene.sequence_editor.strips):
        scene.sequence_editor.strips.remove(one)
    state = describe_strip(scene, None)
    assert state.operator == "sequencer.movie_strip_add"
    properties = bpy.ops.sequencer.movie_strip_add.get_rna_type().properties
    assert {"frame_start", "move_strips"} <= set(properties.keys()), "the button sets them"


def test_a_low_preview_shows_less_of_the_question_and_leaves_the_item_free() -> None:
    asked, more = ["one", "two", "three"], ["2 items left", "keys", "more keys"]
    assert question.shorten_question(asked, more, 6) == (asked, more)
    assert question.shorten_question(asked, more, 4) == (asked, ["2 items left"])
    assert question.shorten_question(asked, more, 3) == (["one", "two ..."], ["2 items left"])
    assert question.shorten_question(asked, more, 0) == (["one ..."], ["2 items left"])
    assert asked == ["one", "two", "three"]
