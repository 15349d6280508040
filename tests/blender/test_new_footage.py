# SPDX-License-Identifier: GPL-3.0-or-later
"""New footage is listed, black and detected by itself if the project says so, and only if its editor has allowed it."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.job_operator import JobOperator, JobSteps
from blender_faceblur.blender.common.jobs import JOB, Step, describe_blackened, stop
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.covering import leave_uncovered, uncover
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.detection import detect, new_footage
from blender_faceblur.blender.guard import blackout, checks
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.types import Ellipse, Evidence, Sample, TrackDocument
from blender_faceblur.worker.client import build_request

from . import disks
from .test_extension import analyses

__all__ = ["analyses"]


@pytest.fixture
def scene(extension: None, film: Path) -> Any:
    """A scene with one new strip, whose footage must all be covered. Nothing is allowed yet, as after opening it."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    scene.frame_start, scene.frame_end = 1, disks.FRAMES
    scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    bpy.context.workspace.sequencer_scene = scene
    scene.faceblur.must_be_covered = True
    scene.faceblur.color = (0.0, 0.0, 1.0)
    new_footage.forbid_all()
    yield scene
    stop()


def list_names(strips: list[new_footage.WaitingStrip]) -> list[str]:
    return [strip.name for strip in strips]


def add(scene: Any, path: Path, name: str, start: int = 101) -> Any:
    """A strip of a further film, as an editor adds it."""
    disks.write_film(path)
    strip = scene.sequence_editor.strips.new_movie(name, str(path), 3, start)
    new_footage._note_edit()
    return strip


def list_begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The windows in which a detection was begun, instead of beginning it."""
    begun: list[Any] = []

    def begin(window: Any) -> bool:
        begun.append(window)
        return True

    monkeypatch.setattr(new_footage, "_begin", begin)
    return begun


def test_new_strips_are_listed_and_black_until_they_are_detected(
    scene: Any, tmp_path: Path, analyses: list[Any]
) -> None:
    strip = scene.sequence_editor.strips["disk"]
    assert list_names(new_footage.list_waiting(scene)) == ["disk"]
    assert [fault.strip for fault in checks.check_animation(scene) if fault.undetected] == ["disk"]
    assert disks.render_frame(scene, 10, tmp_path / "new.png").max() <= 2
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    assert len(analyses) == 1 and get_modifier(strip) is not None
    assert new_footage.list_waiting(scene) == [] and blackout.black_out(scene) == []
    shown = disks.see(disks.render_frame(scene, 10, tmp_path / "covered.png"))
    assert shown.disk == 0 and shown.cover > 900 and not shown.all_covered


def list_messages() -> list[str]:
    """What the tab shows besides notes."""
    return [*JOB.problems, *map(describe_blackened, JOB.blackened), JOB.done]


@pytest.mark.usefixtures("analyses")
def test_what_was_rendered_black_is_no_message_any_more_once_it_is_covered(scene: Any, tmp_path: Path) -> None:
    add(scene, tmp_path / "later.mp4", "later", 1)
    disks.render_frame(scene, 10, tmp_path / "new.png")
    assert [text.partition(". ")[0] for text in list_messages() if text.startswith("Rendered black")] == [
        "Rendered black: 'disk'",
        "Rendered black: 'later'",
    ]
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    (still, done) = list_messages()
    assert still.startswith("Rendered black: 'later'") and done.startswith("1 face covered")
    leave_uncovered(scene.sequence_editor.strips["later"], True)
    disks.render_frame(scene, 10, tmp_path / "left.png")
    assert list_messages() == [done], "the next render was not black"


def test_a_message_counts_all_faces_of_a_strip_of_which_only_a_part_was_new(
    scene: Any, monkeypatch: pytest.MonkeyPatch, analyses: list[Any]
) -> None:
    limit_analyses(monkeypatch)
    monkeypatch.setattr(detect, "_MARGIN_S", 2 / 24)
    strip = scene.sequence_editor.strips["disk"]
    strip.frame_final_duration = 20
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    assert JOB.done.startswith("1 face covered")

    def draw(document: TrackDocument) -> list[str]:
        return [editing.add_track(document, [Sample(5, Ellipse(40, 40, 20, 20), Evidence.LOCKED, 1.0)]).name]

    change_tracks(get_mask(strip), draw)
    for part in (strip, get_modifier(strip).input_mask_strip):
        part.frame_final_duration = 30
    new_footage._note_edit()
    bpy.ops.faceblur.detect_new()
    assert len(analyses) == 2 and JOB.done.startswith("2 faces covered")


def test_a_project_that_asks_for_nothing_stays_as_it_is(scene: Any, tmp_path: Path) -> None:
    scene.faceblur.must_be_covered = False
    new_footage.allow(scene)
    assert new_footage.list_waiting(scene) == [] and new_footage.choose_next(scene) == []
    assert disks.see(disks.render_frame(scene, 10, tmp_path / "new.png")).disk > 900


@pytest.mark.usefixtures("analyses")
def test_what_need_not_be_covered_does_not_wait(scene: Any, film: Path, tmp_path: Path) -> None:
    strips = scene.sequence_editor.strips
    title = strips.new_movie("title", str(film), 2, 1)
    leave_uncovered(title, True)
    muted = strips.new_movie("muted", str(film), 3, 1)
    muted.mute = True
    gone = strips.new_movie("gone", str(film), 4, 1)
    gone.filepath = str(tmp_path / "missing.mp4")
    removed = strips.new_movie("removed", str(film), 5, 1)
    bpy.ops.faceblur.detect_new.poll()
    new_footage.allow(scene)
    assert list_names(new_footage.choose_next(scene)) == ["disk", "removed"], "one file, so one analysis"
    bpy.ops.faceblur.detect_new()
    uncover(scene, removed)
    new_footage._note_edit()
    assert new_footage.list_waiting(scene) == [], "its cover was removed on purpose"


def test_films_are_detected_one_by_one_in_the_order_of_the_timeline(
    scene: Any, tmp_path: Path, analyses: list[Any]
) -> None:
    add(scene, tmp_path / "later.mp4", "later", 301)
    add(scene, tmp_path / "sooner.mp4", "sooner", 201)
    new_footage.allow(scene)
    for name in ("disk", "sooner", "later"):
        assert list_names(new_footage.choose_next(scene)) == [name]
        bpy.ops.faceblur.detect_new()
        new_footage._note_edit()
    assert new_footage.choose_next(scene) == [] and len(analyses) == 3


def test_footage_that_fails_is_not_tried_again(scene: Any, tmp_path: Path, analyses: list[Any]) -> None:
    add(scene, tmp_path / "broken.mp4", "broken")
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    new_footage._note_edit()
    assert list_names(new_footage.choose_next(scene)) == ["broken"]
    bpy.ops.faceblur.detect_new()
    new_footage._note_edit()
    assert new_footage.choose_next(scene) == [] and len(analyses) == 2
    (waiting,) = new_footage.list_waiting(scene)
    assert waiting.name == "broken" and new_footage.was_tried(waiting)
    assert any("broken.mp4" in problem for problem in JOB.problems)
    assert [fault.strip for fault in blackout.black_out(scene)] == ["broken"]
    blackout.restore()


def test_the_tab_searches_nothing_while_strips_are_dragged(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_footage._look()
    assert list_names(new_footage.get_waiting(scene)) == ["disk"]
    add(scene, tmp_path / "later.mp4", "later")
    monkeypatch.setattr(new_footage, "is_tool_running", lambda *_: True)
    new_footage._look()
    assert list_names(new_footage.get_waiting(scene)) == ["disk"]
    monkeypatch.setattr(new_footage, "is_tool_running", lambda *_: False)
    new_footage._look()
    assert list_names(new_footage.get_waiting(scene)) == ["disk", "later"]
    scene.faceblur.must_be_covered = False
    assert new_footage.get_waiting(scene) == []


def test_a_cut_copied_or_moved_strip_of_detected_footage_does_not_wait(scene: Any, analyses: list[Any]) -> None:
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    strip = scene.sequence_editor.strips["disk"]
    disks.operate(scene, bpy.ops.sequencer.split, strip, get_modifier(strip).input_mask_strip, frame=20)
    right = next(s for s in scene.sequence_editor.strips if s.type == "MOVIE" and s != strip)
    right.frame_start += 100
    get_modifier(right).input_mask_strip.frame_start += 100
    new_footage._note_edit()
    assert new_footage.list_waiting(scene) == [] and len(analyses) == 1


def limit_analyses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the documents of the replaced worker say which frames were analysed, as the real one's do."""

    def read_limited(path: Path) -> TrackDocument:
        document = read_document(path)
        start, stop = span = spans[-1] or (0, document.source.frame_count)
        document.analysed = [span] if spans[-1] else []
        for track in document.tracks:
            track.samples = [s for s in track.samples if start <= s.source_frame < stop]
        return document

    spans: list[tuple[int, int] | None] = []

    def build_noted(source: Any, output: Path, options: Any) -> Any:
        spans.append(options.span)
        return build_request(source, output, options)

    monkeypatch.setattr(detect, "read_document", read_limited)
    monkeypatch.setattr(detect, "build_request", build_noted)


def test_the_handles_of_a_trimmed_strip_wait_only_when_they_are_shown(
    scene: Any, monkeypatch: pytest.MonkeyPatch, analyses: list[Any]
) -> None:
    limit_analyses(monkeypatch)
    # Two seconds are more than the film has.
    monkeypatch.setattr(detect, "_MARGIN_S", 3 / 24)
    strip = scene.sequence_editor.strips["disk"]
    strip.frame_final_duration = 20
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    assert analyses[0].span == [0, 23]
    assert MaskRecord.load(get_mask(strip)).analysed == [(0, 23)]

    def lengthen(frames: int) -> list[str]:
        for part in (strip, get_modifier(strip).input_mask_strip):
            part.frame_final_duration = frames
        new_footage._note_edit()
        return list_names(new_footage.choose_next(scene))

    assert lengthen(22) == [], "that much was analysed"
    assert lengthen(30) == ["disk"]
    assert not any(fault.shows for fault in checks.check_scene(scene)), "what was not analysed is covered"
    bpy.ops.faceblur.detect_new()
    assert analyses[1].span == [0, 33] and lengthen(30) == [] and lengthen(25) == []
    assert MaskRecord.load(get_mask(strip)).analysed == [(0, 33)]


def test_only_the_new_part_of_a_lengthened_strip_is_analysed_and_corrections_stay(
    scene: Any, monkeypatch: pytest.MonkeyPatch, analyses: list[Any], tmp_path: Path
) -> None:
    limit_analyses(monkeypatch)
    monkeypatch.setattr(detect, "_MARGIN_S", 2 / 24)
    monkeypatch.setattr(detect, "_CONTEXT_S", 4 / 24)
    strip = scene.sequence_editor.strips["disk"]

    def set_ends(first: int, stop: int) -> None:
        """Show the source frames first..stop-1."""
        for part in (strip, get_modifier(strip).input_mask_strip if get_modifier(strip) is not None else None):
            if part is not None:
                part.frame_final_start, part.frame_final_end = 1 + first, 1 + stop
        new_footage._note_edit()
        bpy.context.view_layer.update()

    def see(source_frame: int) -> disks.Sight:
        return disks.see(disks.render_frame(scene, 1 + source_frame, tmp_path / f"{source_frame}.png"))

    set_ends(10, 20)
    new_footage.allow(scene)
    bpy.ops.faceblur.detect_new()
    mask = get_mask(strip)
    assert analyses[0].span == [8, 22] and MaskRecord.load(mask).analysed == [(8, 22)]

    def correct(document: TrackDocument) -> list[str]:
        track = editing.get_track(document, "Face 01")
        editing.set_key(track, 15, Ellipse(160.0, 90.0, 30.0, 40.0), 2)
        # Next to the new part.
        editing.set_key(track, 21, Ellipse(*disks.place_disk(21), 28.0, 28.0), 1)
        editing.switch(track, 12, 13, False)
        return ["Face 01"]

    change_tracks(mask, correct)
    before = editing.get_track(load_document(mask), "Face 01")
    set_ends(5, 30)
    assert see(6).all_covered and see(25).all_covered, "black until they are analysed"
    assert see(12).disk > 900 and not see(18).all_covered
    # A new project would take the manual way.
    scene.sequence_editor.active_strip, strip.select = strip, True
    assert bpy.ops.faceblur.detect() == {"FINISHED"}
    assert [request.span for request in analyses[1:]] == [[3, 12], [18, 32]], "the new frames, and some beside them"
    document = load_document(mask)
    (track,) = document.tracks
    assert document.analysed == [(3, 32)] and new_footage.list_waiting(scene) == []
    samples = {s.source_frame: s for s in track.samples}
    assert list(samples) == list(range(3, 32))
    assert all(samples[s.source_frame] == s for s in before.samples) and track.off == before.off
    for source_frame in (6, 9, 18, 21, 25, 29):
        shown = see(source_frame)
        assert shown.disk == 0 and shown.cover > 900 and not shown.all_covered, source_frame
    assert see(12).disk > 900, "still off"
    bpy.ops.faceblur.detect()
    assert analyses[3].span == [3, 32] and len(analyses) == 4, "nothing is new, so the editor wants all of it again"
    set_ends(5, 36)
    scene.faceblur.preset = "fast"
    bpy.ops.faceblur.detect()
    assert analyses[4].span == [3, 38], "other settings, so all that is shown"


def test_a_project_from_a_stranger_starts_no_analysis(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analyses: list[Any]
) -> None:
    new_footage.allow(scene)
    path = str(tmp_path / "stranger.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    begun = list_begun(monkeypatch)
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    assert scene.faceblur.must_be_covered and list_names(new_footage.list_waiting(scene)) == ["disk"]
    new_footage._STATE.busy_at = time.monotonic() - 60
    new_footage._look()
    assert begun == [] and not new_footage.is_allowed(scene)
    assert not bpy.ops.faceblur.detect_new.poll() and analyses == []
    bpy.ops.faceblur.allow_detection()
    new_footage._look()
    assert len(begun) == 1
    bpy.ops.wm.open_mainfile(filepath=path)
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    assert not new_footage.is_allowed(scene), "what was allowed ends with the project"


def test_whoever_sets_the_property_allows_it(scene: Any) -> None:
    assert not new_footage.is_allowed(scene)
    scene.faceblur.must_be_covered = False
    scene.faceblur.must_be_covered = True
    assert new_footage.is_allowed(scene)
    scene.faceblur.must_be_covered = False
    assert not new_footage.is_allowed(scene)
    with pytest.raises(TypeError):
        scene.faceblur.keyframe_insert("must_be_covered")


def test_nothing_begins_in_a_blender_without_a_window(scene: Any) -> None:
    assert not bpy.app.timers.is_registered(new_footage._look)


def test_it_begins_only_when_nothing_else_goes_on(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list_begun(monkeypatch)
    new_footage.allow(scene)
    busy = {"tool": False, "played": False}
    monkeypatch.setattr(new_footage, "is_tool_running", lambda *_: busy["tool"])
    monkeypatch.setattr(new_footage, "is_shown_or_rendered", lambda *_: busy["played"])

    def look(seconds_idle: float) -> int:
        new_footage._STATE.busy_at = time.monotonic() - seconds_idle
        new_footage._look()
        return len(begun)

    assert look(0.5) == 0
    for name in busy:
        busy[name] = True
        assert look(60) == 0
        busy[name] = False
        new_footage._look()
        assert len(begun) == 0, "it has just ended"
    JOB.job = iter_forever()
    assert look(60) == 0
    stop()
    assert look(60) == 1


def iter_forever() -> JobSteps:
    while True:
        yield None


def is_active() -> bool:
    return JOB.active


class Operator(JobOperator):
    """A job operator as Blender runs it, without Blender."""

    bl_idname = "FACEBLUR_OT_test"

    def __init__(self, in_background: bool) -> None:
        self.in_background = in_background
        self.reports: list[str] = []
        self.finished, self.closed, self.go = 0, False, True

    def report(self, kind: set[str], text: str) -> None:
        self.reports.append(text)

    def begin(self, context: Any, wait_s: float | None) -> JobSteps:
        def work() -> JobSteps:
            try:
                while self.go:
                    yield None
                yield Step("disk", 1, 1, "detect", 1, 1, 1.0, 0.0)
                return "result"
            finally:
                self.closed = True

        return work()

    def finish(self, context: Any, result: Any) -> tuple[str, list[str]]:
        self.finished += result == "result"
        return "done", []


@pytest.fixture
def context(extension: None) -> Any:
    manager = SimpleNamespace(
        event_timer_add=lambda *_, **__: object(),
        event_timer_remove=lambda *_: None,
        windows=[SimpleNamespace(modal_operators=[], screen=SimpleNamespace(is_animation_playing=False))],
    )
    yield SimpleNamespace(window_manager=manager, window=None, workspace=None)
    stop()


TIMER, ESC = SimpleNamespace(type="TIMER", value="NOTHING"), SimpleNamespace(type="ESC", value="PRESS")


def test_a_job_in_the_background_prevents_nothing_and_makes_way(context: Any) -> None:
    quiet, asked = Operator(True), Operator(False)
    assert quiet.go_on(context) == {"RUNNING_MODAL"}
    assert JOB.running and not is_active() and bpy.ops.faceblur.cancel.poll()
    assert quiet.modal(context, TIMER) == quiet.modal(context, ESC) == {"PASS_THROUGH"} and JOB.running
    assert asked.go_on(context) == {"RUNNING_MODAL"}
    assert is_active() and quiet.closed
    assert asked.modal(context, TIMER) == {"PASS_THROUGH"}
    assert quiet.modal(context, TIMER) == {"CANCELLED"} and quiet.reports == []
    assert is_active() and [quiet.closed, asked.closed] == [True, False], "the end of one does not end the other"
    assert asked.modal(context, ESC) == {"CANCELLED"} and asked.closed and JOB.job is None
    assert asked.reports == [JobOperator.cancelled]


def test_a_job_in_the_background_ends_when_something_is_played(context: Any) -> None:
    quiet, asked = Operator(True), Operator(False)
    for operator, ends in ((asked, False), (quiet, True)):
        context.window_manager.windows[0].screen.is_animation_playing = False
        operator.go_on(context)
        assert operator.modal(context, TIMER) == {"PASS_THROUGH"}
        context.window_manager.windows[0].screen.is_animation_playing = True
        assert operator.modal(context, TIMER) == ({"CANCELLED"} if ends else {"PASS_THROUGH"})
        assert operator.closed == ends
        stop()


@pytest.mark.parametrize("in_background", [False, True])
def test_a_result_waits_until_a_tool_that_drags_strips_has_ended(in_background: bool, context: Any) -> None:
    operator = Operator(in_background)
    tools = context.window_manager.windows[0].modal_operators
    tools += [SimpleNamespace(bl_idname=name) for name in ("FACEBLUR_OT_test", "TRANSFORM_OT_seq_slide")]
    operator.go_on(context)
    operator.go = False
    for _ in range(3):
        assert operator.modal(context, TIMER) == {"PASS_THROUGH"}
    assert operator.finished == 0 and JOB.running
    del tools[1]
    # An operator of another extension, which may never end.
    tools.append(SimpleNamespace(bl_idname="WM_OT_url_open"))
    assert operator.modal(context, TIMER) == {"FINISHED"}
    assert operator.finished == 1 and operator.closed and JOB.job is None
    assert operator.modal(context, TIMER) == {"CANCELLED"} and operator.finished == 1


def test_cancelling_waits_for_the_editor_to_allow_it_again(
    scene: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_footage.allow(scene)
    waiting = new_footage.choose_next(scene)
    new_footage.begin_attempt(waiting)
    assert new_footage.choose_next(scene) == []
    quiet = Operator(True)
    quiet.go_on(context)
    quiet.modal(context, TIMER)
    bpy.ops.faceblur.cancel()
    assert quiet.closed and not new_footage.is_allowed(scene)
    new_footage.take_back_attempt(waiting)
    bpy.ops.faceblur.allow_detection()
    assert new_footage.choose_next(scene) == waiting
