# SPDX-License-Identifier: GPL-3.0-or-later
"""Covers as the panel makes them: shared by strips of one source, retimed, changed, repaired and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.common.footage import check_document, find_timeline_frame, get_footage
from blender_faceblur.blender.common.marks import (
    MARK,
    get_modifier,
)
from blender_faceblur.blender.cover import strips
from blender_faceblur.blender.cover.compositing import EFFECT_MARK
from blender_faceblur.blender.cover.covering import (
    apply_analysis,
    cover_footage,
    find_lost_mask,
    find_mask_of_footage,
    put_cover,
    read_effect,
    uncover,
)
from blender_faceblur.blender.cover.strips import get_mask, remove_strip, sync_mask_strips
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.editing import add_track
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, TrackDocument

from . import disks

EFFECT = EffectSettings("solid", disks.COVER)


@pytest.fixture
def scene(film: Path) -> Any:
    """An editor's project with the film in two strips: one at the start, and a trimmed one 60 frames later."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.view_settings.view_transform = "Standard"
    strips = scene.sequence_editor_create().strips
    strips.new_movie("first", str(film), 1, 1)
    later = strips.new_movie("second", str(film), 1, 61)
    later.frame_offset_start, later.frame_offset_end = 10, 5
    scene.frame_start, scene.frame_end = 1, 110
    return scene


def find(scene: Any, name: str) -> Any:
    return scene.sequence_editor.strips[name]


def assert_covered(scene: Any, frames: range | list[int], folder: Path) -> None:
    for frame in frames:
        sight = disks.see(disks.render_frame(scene, frame, folder / "frame.png"))
        assert sight.disk == 0 and 1200 < sight.cover < 4500, (frame, sight)


def test_strips_of_one_source_share_a_mask(scene: Any, film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    mask = cover_footage(scene, find(scene, "first"), document, EFFECT)
    assert cover_footage(scene, find(scene, "second"), document, EFFECT) == mask
    assert len(bpy.data.masks) == 1 and get_mask(find(scene, "second")) == mask
    assert_covered(scene, [1, 20, 40, 71, 80, 94], tmp_path)


def test_strips_of_one_source_get_the_same_effect_after_an_editor_added_a_large_face(scene: Any, film: Path) -> None:
    """How coarse a mosaic is depends on the widest face, which the new analysis does not know."""
    mask = cover_footage(scene, find(scene, "first"), disks.build_document(film), EFFECT)

    def add(document: TrackDocument) -> list[str]:
        samples = [Sample(frame, Ellipse(160, 90, 70, 80), Evidence.LOCKED, 1.0) for frame in range(disks.FRAMES)]
        return [add_track(document, samples, name="Large").name]

    change_tracks(mask, add)
    strips, footage = ["first", "second"], get_footage(find(scene, "first"))
    effect = EffectSettings("mosaic")
    assert apply_analysis(scene, strips, footage, disks.build_document(film), effect) == []
    columns = [
        node.inputs["Columns"].default_value
        for name in strips
        for node in get_modifier(find(scene, name)).node_group.nodes
        if "Columns" in node.inputs
    ]
    assert len(columns) == 2 and columns[0] == columns[1] < 320 / 40 * effect.samples_across


def test_uncovering_one_strip_leaves_the_other_covered(scene: Any, film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    for name in ("first", "second"):
        cover_footage(scene, find(scene, name), document, EFFECT)
    uncover(scene, find(scene, "first"))
    assert [strip.name for strip in scene.sequence_editor.strips] == ["first", "second", "second faces"]
    assert disks.see(disks.render_frame(scene, 5, tmp_path / "shown.png")).disk > 900
    assert_covered(scene, [71, 90], tmp_path)


def test_uncovering_removes_all_data_blocks(scene: Any, film: Path) -> None:
    before = [(s.name, s.channel, s.frame_final_start, s.frame_final_end) for s in scene.sequence_editor.strips]
    for name in ("first", "second"):
        cover_footage(scene, find(scene, name), disks.build_document(film), EFFECT)
    for name in ("first", "second"):
        uncover(scene, find(scene, name))
    assert before == [(s.name, s.channel, s.frame_final_start, s.frame_final_end) for s in scene.sequence_editor.strips]
    assert not bpy.data.masks and not bpy.data.texts
    assert not [group for group in bpy.data.node_groups if group.get(MARK) == "strip"]
    assert not [strip for strip in scene.sequence_editor.strips if len(strip.modifiers)]


def test_a_film_stays_connected_to_its_sound(scene: Any, film: Path, tmp_path: Path) -> None:
    from .. import films

    talkie = films.write_film(tmp_path / "talkie.mp4", range(40), rate=24, size=(disks.WIDTH, disks.HEIGHT), sound=True)
    strips = scene.sequence_editor.strips
    picture, sound = strips.new_movie("talkie", str(talkie), 5, 1), strips.new_sound("sound", str(talkie), 4, 1)
    with borrow_selection(scene, picture, sound):
        bpy.ops.sequencer.connect()
    cover_footage(scene, picture, disks.build_document(talkie), EFFECT)
    mask_strip = get_modifier(picture).input_mask_strip
    if hasattr(picture, "connections"):
        assert set(sound.connections) == {picture, mask_strip} and set(mask_strip.connections) == {picture, sound}
    uncover(scene, picture)
    if hasattr(picture, "connections"):
        assert list(sound.connections) == [picture]
    assert strips.get("sound") == sound and strips.get("talkie") == picture


def test_a_retimed_and_reversed_strip_can_be_covered(scene: Any, film: Path, tmp_path: Path) -> None:
    strip = find(scene, "second")
    strip.frame_offset_start = strip.frame_offset_end = 0
    with borrow_selection(scene, strip):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=80.0)
    strip.use_reverse_frames = True
    assert strip.frame_duration == 50
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    assert_covered(scene, list(range(61, 111, 7)), tmp_path)


def test_a_strip_with_several_speeds_is_covered_completely(scene: Any, film: Path, tmp_path: Path) -> None:
    strip = find(scene, "first")
    with borrow_selection(scene, strip):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=100)
        bpy.ops.sequencer.retiming_key_add(timeline_frame=20)
    strip.retiming_keys[1].timeline_frame = 30
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    assert "covered completely" in sync_mask_strips(scene)[0]
    sight = disks.see(disks.render_frame(scene, 10, tmp_path / "whole.png"))
    assert sight.all_covered


def test_changed_settings_do_not_change_the_mask(scene: Any, film: Path, tmp_path: Path) -> None:
    strip = find(scene, "first")
    mask = cover_footage(scene, strip, disks.build_document(film), EFFECT)
    own = mask.layers.new(name="By hand")
    # Adding from Python does not notify Blender of the change, and the next render crashes (5.0.1).
    mask.update_tag()
    other = EffectSettings("solid", "FF0000")
    put_cover(scene, strip, mask, other, load_document(mask))
    assert read_effect(strip) == other and own.name in mask.layers and len(strip.modifiers) == 1
    assert len([group for group in bpy.data.node_groups if group.get(MARK) == "strip"]) == 1
    picture = disks.render_frame(scene, 9, tmp_path / "red.png").astype(int)
    x, y = disks.place_disk(8)
    assert picture[int(y), int(x), 0] > 200 and picture[int(y), int(x), 2] < 60


def test_a_lost_mask_strip_is_restored(scene: Any, film: Path, tmp_path: Path) -> None:
    strip = find(scene, "first")
    mask = cover_footage(scene, strip, disks.build_document(film), EFFECT)
    remove_strip(scene, get_modifier(strip).input_mask_strip)
    assert get_mask(strip) is None and find_lost_mask(strip) == mask
    put_cover(scene, strip, mask, EFFECT, load_document(mask))
    assert get_mask(strip) == mask
    assert_covered(scene, [1, 20, 40], tmp_path)


def test_a_disabled_modifier_is_enabled(scene: Any, film: Path, tmp_path: Path) -> None:
    strip = find(scene, "first")
    mask = cover_footage(scene, strip, disks.build_document(film), EFFECT)
    get_modifier(strip).mute = True
    get_modifier(strip).enable = False
    put_cover(scene, strip, mask, EFFECT, load_document(mask))
    assert_covered(scene, [1, 40], tmp_path)


def test_a_canvas_with_another_aspect_ratio_gets_its_own_mask(scene: Any, film: Path) -> None:
    document = disks.build_document(film)
    mask = cover_footage(scene, find(scene, "first"), document, EFFECT)
    scene.render.resolution_x, scene.render.resolution_y = 180, 320
    again = cover_footage(scene, find(scene, "first"), document, EFFECT)
    assert again != mask and get_mask(find(scene, "first")) == again
    assert len([strip for strip in scene.sequence_editor.strips if strip.type == "MASK"]) == 1


def test_the_mask_is_found_for_another_strip_of_the_same_file(scene: Any, film: Path) -> None:
    mask = cover_footage(scene, find(scene, "first"), disks.build_document(film), EFFECT)
    assert find_mask_of_footage(get_footage(find(scene, "second"))) == mask


def test_a_document_for_another_size_or_length_is_refused(scene: Any, film: Path) -> None:
    strip = find(scene, "first")
    check_document(scene, strip, disks.build_document(film))
    with pytest.raises(FaceBlurError, match="320 x 180 pixels, but 640 x 360"):
        check_document(scene, strip, disks.build_document(film, (640, 360)))
    wrong = disks.build_document(film)
    object.__setattr__(wrong.source, "frame_count", 55)
    with pytest.raises(FaceBlurError, match="counts 40 frames, but 55"):
        check_document(scene, strip, wrong)


def test_a_missing_file_is_named(scene: Any) -> None:
    strip = find(scene, "first")
    strip.filepath = "//nowhere.mp4"
    with pytest.raises(FaceBlurError, match=r"'first': .*nowhere\.mp4 does not exist"):
        get_footage(strip)


@pytest.mark.parametrize(
    ("name", "spans", "expected"),
    [
        ("first", [(0, 5)], 1),
        ("first", [(7, 9)], 8),
        ("second", [(12, 20)], 73),
        ("second", [(3, 20)], 71),
        ("second", [(0, 10)], None),
        ("second", [(35, 40)], None),
        ("second", [(0, 4), (30, 33)], 91),
    ],
)
def test_the_first_timeline_frame_that_shows_a_span(
    scene: Any, name: str, spans: list[tuple[int, int]], expected: int | None
) -> None:
    assert find_timeline_frame(find(scene, name), spans, disks.FRAMES) == expected


def test_the_first_timeline_frame_in_a_reversed_strip(scene: Any) -> None:
    strip = find(scene, "first")
    strip.use_reverse_frames = True
    assert find_timeline_frame(strip, [(7, 9)], disks.FRAMES) == 1 + 40 - 9


def test_frames_that_were_not_analysed_are_covered_completely(scene: Any, film: Path, tmp_path: Path) -> None:
    strip = find(scene, "first")
    document = disks.build_document(film, frames=range(10, 20))
    document.analysed = [(10, 20)]
    assert apply_analysis(scene, [strip.name], get_footage(strip), document, EFFECT, (10, 20)) == []
    first = int(strip.frame_start)
    for frame, whole in ((9, True), (10, False), (19, False), (20, True)):
        sight = disks.see(disks.render_frame(scene, first + frame, tmp_path / "seen.png"))
        assert sight.disk == 0 and sight.all_covered == whole, frame
    document = disks.build_document(film, frames=range(20, 40))
    assert apply_analysis(scene, [strip.name], get_footage(strip), document, EFFECT, (20, 40)) == []
    assert_covered(scene, [first + 15, first + 20, first + 39], tmp_path)
    assert disks.see(disks.render_frame(scene, first + 5, tmp_path / "seen.png")).all_covered
    cover_footage(scene, strip, disks.build_document(film), EFFECT)
    assert_covered(scene, [first + 5, first + 39], tmp_path)


def test_effect_settings_are_read_back_and_damaged_ones_are_ignored(scene: Any, film: Path) -> None:
    strip = find(scene, "first")
    effect = EffectSettings("mosaic", "102030", 5.0, "sticker.png", True)
    cover_footage(scene, strip, disks.build_document(film), effect)
    assert read_effect(strip) == effect
    group = get_modifier(strip).node_group
    group[EFFECT_MARK] = {"kind": "blur", "samples_across": "many", "sudden": 1}
    assert read_effect(strip) == EffectSettings("blur")
    group[EFFECT_MARK] = {"kind": "__import__"}
    assert read_effect(strip) is None


def test_no_strip_is_checked_in_a_file_without_our_masks(
    scene: Any, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers search for covered strips after every edit."""
    checked: list[str] = []

    def check(strip: Any) -> Any:
        checked.append(strip.name)
        return get_modifier(strip)

    monkeypatch.setattr(strips, "get_modifier", check)
    bpy.data.masks.new("an editor's mask")
    assert sync_mask_strips(scene) == [] and not checked
    cover_footage(scene, find(scene, "first"), disks.build_document(film), EFFECT)
    assert sync_mask_strips(scene) == [] and {"first", "second"} <= set(checked)


def test_update_says_once_that_a_mask_cannot_have_a_speed_and_leaves_no_mask_strip(
    scene: Any, film: Path, tmp_path: Path
) -> None:
    """Slow motion in the right half of a cut clip leaves a part with another speed, which is then made visible."""
    import blender_faceblur
    from blender_faceblur.blender.common.jobs import JOB
    from blender_faceblur.blender.guard.checks import check_strip
    from blender_faceblur.blender.overlay.outlines import explain_fault

    cover_footage(scene, find(scene, "first"), disks.build_document(film), EFFECT)
    pair = find(scene, "first"), get_modifier(find(scene, "first")).input_mask_strip
    before = {strip.name for strip in scene.sequence_editor.strips_all}
    disks.operate(scene, bpy.ops.sequencer.split, *pair, frame=20, type="SOFT", side="RIGHT")
    name = next(s.name for s in scene.sequence_editor.strips_all if s.type == "MOVIE" and s.name not in before)
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, find(scene, name), speed=50)
    assert len(find(scene, name).retiming_keys) > 2
    find(scene, name).frame_offset_start -= 9
    sync_mask_strips(scene)
    masks = {strip.name for strip in scene.sequence_editor.strips_all if strip.type == "MASK"}
    assert len(masks) == 1, "the right half has none"
    assert explain_fault(find(scene, name)) == "its mask cannot have its speed, completely covered"
    assert [fault.text[:30] for fault in check_strip(scene, find(scene, name))] == ["Its mask cannot have its speed"]
    blender_faceblur.register()
    try:
        for strip in scene.sequence_editor.strips_all:
            strip.select = strip.name == name
        scene.sequence_editor.active_strip = find(scene, name)
        with pytest.raises(RuntimeError, match="cannot have its speed"):
            bpy.ops.faceblur.apply()
        assert len(JOB.problems) == 1
    finally:
        blender_faceblur.unregister()
    assert {strip.name for strip in scene.sequence_editor.strips_all if strip.type == "MASK"} == masks
    with borrow_selection(scene, find(scene, name)):
        bpy.ops.sequencer.retiming_reset()
    mask = find_lost_mask(find(scene, name))
    assert mask is not None
    put_cover(scene, find(scene, name), mask, EFFECT, load_document(mask))
    assert sync_mask_strips(scene) == [] and check_strip(scene, find(scene, name)) == []


def test_update_covers_slow_motion_in_a_cut_clip(scene: Any, film: Path) -> None:
    import blender_faceblur
    from blender_faceblur.blender.common.jobs import JOB
    from blender_faceblur.blender.guard.checks import check_strip
    from blender_faceblur.blender.overlay.outlines import explain_fault

    cover_footage(scene, find(scene, "first"), disks.build_document(film), EFFECT)
    pair = find(scene, "first"), get_modifier(find(scene, "first")).input_mask_strip
    before = {strip.name for strip in scene.sequence_editor.strips_all}
    disks.operate(scene, bpy.ops.sequencer.split, *pair, frame=20, type="SOFT", side="RIGHT")
    name = next(s.name for s in scene.sequence_editor.strips_all if s.type == "MOVIE" and s.name not in before)
    blender_faceblur.register()
    try:
        disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, find(scene, name), speed=50)
        for _ in range(2):
            for strip in scene.sequence_editor.strips_all:
                strip.select = strip.name == name
            scene.sequence_editor.active_strip = find(scene, name)
            assert bpy.ops.faceblur.apply() == {"FINISHED"} and not JOB.problems
            assert explain_fault(find(scene, name)) == "" and check_strip(scene, find(scene, name)) == []
            assert sum(strip.type == "MASK" for strip in scene.sequence_editor.strips_all) == 2
    finally:
        blender_faceblur.unregister()
