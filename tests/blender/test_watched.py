# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playing preview makes watched, what makes it unwatched again, and where that is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.common.footage import compute_source_frame
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover import fast_playback
from blender_faceblur.blender.cover.covering import cover_footage, uncover
from blender_faceblur.blender.cover.projection import get_region_projection
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks import overlay_cache
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.overlay import coverage, see_through, watch_next, watching
from blender_faceblur.blender.review import watched
from blender_faceblur.blender.review.status import describe_strip
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document import editing
from blender_faceblur.core.review.watched import list_spans
from blender_faceblur.core.types import Ellipse, TrackDocument

from . import disks
from .test_overlay import make_region

EFFECT = EffectSettings("solid", disks.COVER)
RATE = 24
PREVIEW = make_region(320, -160, -90, 160, 90, 180)
SPACE = SimpleNamespace(show_overlays=True, display_mode="IMAGE", display_channel=0)


@pytest.fixture(scope="module")
def copy(film: Path) -> Path:
    """Another source with the same pictures: strips of one source share their mask."""
    path = film.with_name("copy.mp4")
    path.write_bytes(film.read_bytes() + b"\0\0\0\x10free12345678")
    return path


@pytest.fixture
def scene(film: Path, copy: Path) -> Iterator[Any]:
    """Two films at frames 11 and 101, in a timeline of 200 frames."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    registration.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps, scene.render.fps_base = RATE, 1.0
    scene.frame_start, scene.frame_end = 1, 200
    for name, path, start in (("disk", film, 11), ("other", copy, 101)):
        strip = scene.sequence_editor_create().strips.new_movie(name, str(path), 1, start)
        cover_footage(scene, strip, disks.build_document(path), EFFECT)
    scene.sequence_editor.active_strip = scene.sequence_editor.strips["disk"]
    refresh()
    yield scene
    registration.unregister()


def refresh() -> None:
    for mask in bpy.data.masks:
        overlay_cache.refresh_overview(mask)


def get(scene: Any, name: str = "disk") -> Any:
    return scene.sequence_editor.strips_all[name]


def play(scene: Any, first: int, last: int, speed: float = 1.0, step: int = 1, began: float = 100.0) -> None:
    """Show timeline frames as a playing preview does, then stop."""
    now = began
    for frame in range(first, last + 1, step):
        scene.frame_set(frame)
        now = began + (frame - first) / (RATE * speed)
        watched.note_shown(frame, RATE, watching.list_watchable(scene), now)
    watched.end_playback(now + step / (RATE * speed))


def list_watched(strip: Any) -> list[tuple[int, int]]:
    frames = watched.get_watched(get_mask(strip))
    assert frames is not None and len(frames) == disks.FRAMES
    return list_spans(frames)


def list_unwatched(scene: Any) -> list[tuple[int, int]]:
    """In timeline frames, half-open."""
    watch = watched.compute_scene_watch(scene)
    return [(start + watch.first, stop + watch.first) for start, stop in list_spans(watch.unwatched)]


def test_played_frames_are_watched_and_what_remains_is_known(scene: Any) -> None:
    assert list_unwatched(scene) == [(11, 51), (101, 141)]
    play(scene, 15, 30)
    assert list_watched(get(scene)) == [(4, 20)] and list_watched(get(scene, "other")) == []
    assert list_unwatched(scene) == [(11, 15), (31, 51), (101, 141)]
    assert watched.compute_scene_watch(scene).describe_share() == "20 %"
    play(scene, 1, 200)
    assert list_unwatched(scene) == [] and watched.compute_scene_watch(scene).describe_share() == "100 %"


@pytest.mark.parametrize(("speed", "counts"), [(0.25, True), (1.0, True), (2.0, True), (2.1, False), (20.0, False)])
def test_at_most_twice_the_speed_counts(scene: Any, speed: float, counts: bool) -> None:
    play(scene, 11, 50, speed)
    assert list_watched(get(scene)) == ([(0, 40)] if counts else [])


def test_a_fast_passage_does_not_count_but_what_is_around_it_does(scene: Any) -> None:
    now = 100.0
    for frame in range(11, 51):
        scene.frame_set(frame)
        watched.note_shown(frame, RATE, watching.list_watchable(scene), now)
        # Half a second at the right speed, then twelve frames at once, then the right speed again.
        now += 0.001 if 23 <= frame < 35 else 1 / RATE
    watched.end_playback(now)
    assert list_watched(get(scene)) == [(0, 12), (24, 40)]


def test_frames_that_the_playback_leaves_out_are_not_watched(scene: Any) -> None:
    play(scene, 11, 50, step=3)
    assert list_watched(get(scene)) == [(frame, frame + 1) for frame in range(0, 40, 3)]


def test_a_frame_that_is_drawn_again_does_not_make_the_playback_slower(scene: Any) -> None:
    """Two previews show each frame, one after the other."""
    for number, frame in enumerate(range(11, 51)):
        scene.frame_set(frame)
        for shift in (0.0, 0.001):
            now = 100 + number / (5 * RATE) + shift
            watched.note_shown(frame, RATE, watching.list_watchable(scene), now)
    watched.end_playback(now)
    assert list_watched(get(scene)) == []


def explain(scene: Any, region: Any = PREVIEW, **space: object) -> str:
    shown: Any = SimpleNamespace(**(vars(SPACE) | space))
    return watching.explain_unwatchable(bpy.context, scene, region, shown)


def test_only_a_preview_that_shows_the_whole_covered_picture_with_outlines_counts(scene: Any) -> None:
    assert explain(scene) == ""
    assert "outlines" in explain(scene, show_overlays=False)
    assert "outlines" in explain(scene, display_mode="WAVEFORM")
    assert "all channels" in explain(scene, display_channel=2)
    scene.faceblur.show_overlay = False
    assert "outlines" in explain(scene)
    scene.faceblur.show_overlay = True
    see_through.SEE_THROUGH.on = True
    assert "See Through" in explain(scene)
    see_through.SEE_THROUGH.on = False
    assert "whole picture" in explain(scene, make_region(320, -140, -90, 140, 90, 180))
    assert "whole picture" in explain(scene, make_region(320, -160, -70, 160, 70, 180))
    assert "larger" in explain(scene, make_region(200, -160, -90, 160, 90, 113))
    scene.sequence_editor.show_overlay_frame = True
    assert "no other frame" in explain(scene)


def test_a_standing_or_scrubbed_preview_does_not_count(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[int] = []
    monkeypatch.setattr(watching, "note_shown", lambda frame, *_: noted.append(frame))

    def draw(is_playing: bool, is_scrubbing: bool) -> None:
        screen = SimpleNamespace(is_animation_playing=is_playing, is_scrubbing=is_scrubbing)
        context = SimpleNamespace(
            screen=screen,
            workspace=bpy.context.workspace,
            scene=scene,
            region=PREVIEW,
            space_data=SPACE,
            preferences=bpy.context.preferences,
        )
        with monkeypatch.context() as patch:
            patch.setattr(bpy, "context", context)
            watching._notice()

    scene.frame_set(20)
    draw(False, False)
    draw(True, True)
    assert noted == []
    draw(True, False)
    assert noted == [20]


def test_what_the_preview_does_not_show_is_not_watched(scene: Any, film: Path) -> None:
    strip = get(scene)

    def count() -> int:
        scene.frame_set(20)
        return len(watching.list_watchable(scene))

    assert count() == 1
    get_modifier(strip).mute = True
    assert count() == 0
    get_modifier(strip).mute = False
    strip.blend_alpha = 0.0
    assert count() == 0
    strip.blend_alpha = 1.0
    strip.mute = True
    assert count() == 0
    strip.mute = False
    over = scene.sequence_editor.strips.new_movie("over", str(film), 20, 15)
    assert count() == 0
    over.transform.scale_x = over.transform.scale_y = 0.3
    assert count() == 1
    scene.sequence_editor.strips.remove(over)
    plate = scene.sequence_editor.strips.new_effect("plate", "COLOR", 20, frame_start=15, length=20)
    assert count() == 0
    plate.mute = True
    assert count() == 1
    plate.mute = False
    # The bar of a letterbox.
    plate.transform.scale_y, plate.transform.offset_y = 0.12, 80
    assert count() == 1
    title = scene.sequence_editor.strips.new_effect("title", "TEXT", 21, frame_start=15, length=20)
    assert count() == 1 and title.type == "TEXT"


def test_the_plain_shapes_of_fast_playback_are_not_watched(scene: Any) -> None:
    if not fast_playback.is_available():
        pytest.skip("this Blender has no fast playback")
    scene.frame_set(20)
    fast_playback.begin()
    try:
        assert watching.list_watchable(scene) == []
    finally:
        fast_playback.end()
    assert len(watching.list_watchable(scene)) == 1


def test_footage_that_other_footage_hides_need_not_be_watched(scene: Any, film: Path) -> None:
    over = scene.sequence_editor.strips.new_movie("over", str(film), 20, 21)
    assert list_unwatched(scene) == [(11, 21), (101, 141)]
    over.keyframe_insert("blend_alpha", frame=1)
    # It may show what is below it in other frames.
    assert list_unwatched(scene) == [(11, 51), (101, 141)]


def correct(mask: Any, frame: int) -> None:
    def move(document: TrackDocument) -> list[str]:
        editing.set_key(editing.get_track(document, "Face 01"), frame, Ellipse(200, 100, 30, 30), 3)
        return ["Face 01"]

    change_tracks(mask, move)
    refresh()


def test_a_correction_makes_its_stretch_unwatched_and_undo_watched_again(scene: Any) -> None:
    play(scene, 1, 200)
    bpy.ops.ed.undo_push(message="Watched")
    mask = get_mask(get(scene))
    correct(mask, 25)
    assert list_watched(get(scene)) == [(0, 20), (30, 40)]
    assert list_unwatched(scene) == [(31, 41)]
    bpy.ops.ed.undo_push(message="Correct")
    bpy.ops.ed.undo()
    scene = bpy.context.workspace.sequencer_scene
    refresh()
    assert list_unwatched(scene) == []
    bpy.ops.ed.redo()
    scene = bpy.context.workspace.sequencer_scene
    refresh()
    assert list_unwatched(scene) == [(31, 41)]


def test_undoing_a_correction_does_not_forget_what_was_watched_before_it(scene: Any) -> None:
    """Playing is no undo step, so undo returns to a project in which nothing was watched."""
    bpy.ops.ed.undo_push(message="Covered")
    play(scene, 11, 30)
    correct(get_mask(get(scene)), 35)
    bpy.ops.ed.undo_push(message="Correct")
    play(scene, 101, 110)
    bpy.ops.ed.undo()
    scene = bpy.context.workspace.sequencer_scene
    refresh()
    assert list_watched(get(scene)) == [(0, 20)] and list_watched(get(scene, "other")) == [(0, 10)]
    assert get_mask(get(scene))[watched.WATCHED] and get_mask(get(scene, "other"))[watched.WATCHED]


def test_switching_a_face_off_makes_its_frames_unwatched(scene: Any) -> None:
    play(scene, 1, 200)
    layer = get_mask(get(scene)).layers["Face 01"]
    layer.hide_render = True
    assert list_unwatched(scene) == [(11, 51)]
    layer.hide_render = False
    assert list_unwatched(scene) == []


def test_changing_a_layer_that_was_drawn_by_hand_makes_all_of_its_strip_unwatched(scene: Any) -> None:
    mask = get_mask(get(scene))
    play(scene, 1, 200)
    layer = mask.layers.new(name="Drawn")
    spline = layer.splines.new()
    spline.points.add(3)
    for point, place in zip(spline.points, [(0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2)], strict=False):
        point.co = place
    bpy.context.view_layer.update()
    mask.update_tag()
    bpy.context.view_layer.update()
    assert list_unwatched(scene) == [(11, 51)]
    play(scene, 1, 200)
    assert list_unwatched(scene) == []
    spline.points[0].co = (0.15, 0.12)
    mask.update_tag()
    bpy.context.view_layer.update()
    assert list_unwatched(scene) == [(11, 51)]


def test_it_is_saved_with_who_watched(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "get_reviewer", lambda: "Ann")
    play(scene, 11, 30)
    monkeypatch.setattr(watched, "get_reviewer", lambda: "")
    play(scene, 26, 40)
    project = tmp_path / "project.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(project))
    bpy.ops.wm.read_homefile(use_factory_startup=True, app_template="Video_Editing")
    assert not watched._STATE.known
    bpy.ops.wm.open_mainfile(filepath=str(project))
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    refresh()
    assert list_watched(get(scene)) == [(0, 30)]
    watchers = [(name, list_spans(frames)) for name, frames in watched.list_watchers(get_mask(get(scene)))]
    assert watchers == [("", [(15, 30)]), ("Ann", [(0, 20)])]


def test_what_is_still_playing_is_saved_too(scene: Any, tmp_path: Path) -> None:
    now = 100.0
    for frame in range(11, 51):
        scene.frame_set(frame)
        watched.note_shown(frame, RATE, watching.list_watchable(scene), now)
        now += 1 / RATE
    assert watched.WATCHED not in get_mask(get(scene))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "playing.blend"))
    assert watched.WATCHED in get_mask(get(scene))
    ((start, stop),) = list_watched(get(scene))
    assert start == 0 and stop >= 24


def test_it_follows_cuts_moves_and_copies(scene: Any) -> None:
    play(scene, 21, 30)
    strip = get(scene)
    with borrow_selection(scene, strip, get_modifier(strip).input_mask_strip):
        bpy.ops.sequencer.split(frame=26, side="BOTH", type="SOFT")
    left, right = sorted(
        (s for s in scene.sequence_editor.strips if s.type == "MOVIE" and s.frame_final_start < 100),
        key=lambda s: s.frame_final_start,
    )
    refresh()
    assert list_unwatched(scene) == [(11, 21), (31, 51), (101, 141)]
    for moved in (right, get_modifier(right).input_mask_strip):
        moved.frame_start += 10
    assert list_unwatched(scene) == [(11, 21), (41, 61), (101, 141)]
    assert left.frame_final_end == 26
    with borrow_selection(scene, right, get_modifier(right).input_mask_strip):
        bpy.ops.sequencer.duplicate()
        for copied in bpy.context.selected_strips:
            copied.frame_start += 100 + 50
    refresh()
    assert (191, 201) in list_unwatched(scene) and not any(186 <= start < 191 for start, _ in list_unwatched(scene))


@pytest.mark.parametrize("change", ["none", "trimmed", "reverse", "slow"])
def test_the_source_frames_of_a_whole_strip_are_those_of_its_single_frames(scene: Any, change: str) -> None:
    strip = get(scene)
    if change == "trimmed":
        strip.frame_final_start, strip.frame_final_end = 15, 40
    elif change == "reverse":
        strip.use_reverse_frames = True
    elif change == "slow":
        with borrow_selection(scene, strip):
            bpy.ops.sequencer.retiming_segment_speed_set(speed=50)
        assert strip.frame_final_end > 60
    start, stop = int(strip.frame_final_start), int(strip.frame_final_end)
    frames = watched.compute_source_frames(strip, start, stop, disks.FRAMES).tolist()
    assert frames == [compute_source_frame(strip, frame, disks.FRAMES) for frame in range(start, stop)]
    assert len(set(frames)) == (25 if change == "trimmed" else disks.FRAMES)


@pytest.mark.parametrize("stored", ["{", 5, [1, 2], '{"schema": "faceblur-watched"}', {"a": 1}])
def test_a_strangers_record_raises_nothing(scene: Any, stored: object) -> None:
    mask = get_mask(get(scene))
    mask[watched.WATCHED] = stored
    assert list_watched(get(scene)) == []
    play(scene, 11, 20)
    assert list_watched(get(scene)) == [(0, 10)] and isinstance(mask[watched.WATCHED], str)


def test_a_damaged_mask_record_raises_nothing(scene: Any) -> None:
    play(scene, 11, 20)
    mask = get_mask(get(scene))
    mask["faceblur"]["faces"] = 5
    bpy.context.view_layer.update()
    assert watched.get_watched(mask) is None or list_unwatched(scene)


def test_frames_that_were_not_analysed_need_not_be_watched(scene: Any, film: Path) -> None:
    strip = get(scene)
    document = disks.build_document(film, frames=range(10))
    document.analysed = [(0, 10)]
    uncover(scene, strip)
    cover_footage(scene, strip, document, EFFECT)
    refresh()
    assert list_unwatched(scene) == [(11, 21), (101, 141)]
    play(scene, 11, 50)
    assert list_watched(strip) == [(0, 10)]


@pytest.mark.parametrize("reverse", [False, True])
def test_the_line_along_a_strip_shows_what_was_watched(scene: Any, reverse: bool) -> None:
    strip = get(scene)
    strip.use_reverse_frames = reverse
    get_modifier(strip).input_mask_strip.use_reverse_frames = reverse
    play(scene, 21, 30)
    region = get_region_projection(make_region(120, 1, 0, 61, 5))
    found = coverage.compute_watched_columns(strip, region, 120, {})
    assert found is not None
    first, codes = found
    # Two pixels for each frame.
    assert first == 20 and len(codes) == 80
    assert list_spans(codes == 0) == [(20, 40)]
    # A pixel that stands for several frames is watched only if all of them are.
    found = coverage.compute_watched_columns(strip, get_region_projection(make_region(20, 2, 0, 62, 5)), 20, {})
    assert found is not None
    assert (found[1] == 0).sum() == 2


def test_the_line_is_drawn_over_the_bands(scene: Any) -> None:
    play(scene, 21, 30)
    region = make_region(400, 1, 0, 201, 5)
    rectangles = coverage.compose(bpy.context, scene, region)
    white = [box for box, color in rectangles if color == coverage._WATCHED]
    assert [(left, right) for left, _, right, _ in white] == [(40, 60)]
    bands = [box for box, color in rectangles if color not in (coverage._WATCHED, coverage._UNWATCHED)]
    ours = [box for box in bands if box[0] < 120]
    assert max(top for _, _, _, top in ours) <= white[0][1] < white[0][3] <= white[0][1] + 4


def test_the_state_line_says_how_much_was_watched(scene: Any) -> None:
    scene.faceblur.effect, scene.faceblur.color = "solid", (0.0, 0.0, 1.0)
    strip = get(scene)

    def read() -> tuple[str, str]:
        watched._STATE.summaries.clear()
        state = describe_strip(scene, strip)
        return state.words, state.operator

    assert read() == ("Covered, watched 0 %", "faceblur.watch_next")
    assert watched.describe_watch(scene) == "Watched: 0 %, 3 s left"
    play(scene, 1, 60)
    assert read() == ("Covered, watched 50 %", "faceblur.watch_next")
    play(scene, 60, 200)
    assert read() == ("Covered", "faceblur.bake") and watched.describe_watch(scene) == "Everything was watched"


def test_next_unwatched_goes_through_what_remains(scene: Any) -> None:
    play(scene, 11, 30)
    scene.frame_set(1)
    assert bpy.ops.faceblur.watch_next() == {"FINISHED"}
    assert scene.frame_current == 31 - RATE // 2
    scene.frame_set(60)
    bpy.ops.faceblur.watch_next()
    assert scene.frame_current == 101 - RATE // 2
    scene.frame_set(180)
    bpy.ops.faceblur.watch_next()
    assert scene.frame_current == 31 - RATE // 2
    play(scene, 101, 200)
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 100, 200
    watched._STATE.summaries.clear()
    assert bpy.ops.faceblur.watch_next() == {"CANCELLED"}
    scene.use_preview_range = False
    play(scene, 31, 50)
    watched._STATE.summaries.clear()
    assert not bpy.ops.faceblur.watch_next.poll()


def test_every_frame_is_played_and_the_scene_plays_as_before_afterwards(scene: Any) -> None:
    scene.sync_mode = "AUDIO_SYNC"
    window: Any = SimpleNamespace(screen=SimpleNamespace(is_animation_playing=True))
    watch_next.begin(window, scene, 30)
    assert scene.sync_mode == "NONE"
    watch_next.begin(window, scene, 40)
    watch_next.end()
    assert scene.sync_mode == "AUDIO_SYNC"
    watch_next.begin(window, scene, 30)
    bpy.ops.wm.read_homefile(use_factory_startup=True, app_template="Video_Editing")
    assert not watch_next._PLAYER.scene


def test_the_report_has_what_the_timeline_shows_and_who_watched_it(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "get_reviewer", lambda: "Ann")
    play(scene, 11, 30)
    strip = get(scene)
    for trimmed in (strip, get_modifier(strip).input_mask_strip):
        trimmed.frame_final_start = 21
    monkeypatch.setattr(watched, "get_reviewer", lambda: "")
    play(scene, 26, 35)

    def write() -> Any:
        bpy.ops.faceblur.report(filepath=str(tmp_path / "report.json"))
        return json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["watched"]

    assert write() == {
        "frames": 30,
        "watched_frames": 15,
        "unwatched": [[25, 40]],
        "by": [
            {"reviewer": "", "frames": 10, "spans": [[15, 25]]},
            {"reviewer": "Ann", "frames": 10, "spans": [[10, 20]]},
        ],
    }
    # An editor's change of the mask that nothing has read yet.
    mask = get_mask(strip)
    layer = mask.layers["Face 01"]
    layer.hide_render = True
    assert write()["watched_frames"] == 0


def test_panels_get_a_summary_that_is_a_moment_old(scene: Any) -> None:
    play(scene, 11, 30)
    kept = watched.get_scene_watch(scene)
    assert kept.shown.sum() == 80 and kept.unwatched.sum() == 60
    play(scene, 31, 50)
    assert watched.get_scene_watch(scene) is kept
