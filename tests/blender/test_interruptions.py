# SPDX-License-Identifier: GPL-3.0-or-later
"""The project changes while a job runs: the file is closed, the strip deleted or relinked, or an edit is undone.

The job goes on as the window's timer drives it: a step, then whatever the editor does, then the next step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.bake.baking import FOLDER, apply, bake
from blender_faceblur.blender.common.footage import get_footage
from blender_faceblur.blender.common.jobs import JOB, stop
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.correction.tracking import apply_tracked, start_track
from blender_faceblur.blender.cover.baked import is_baked
from blender_faceblur.blender.cover.covering import apply_analysis, is_left_uncovered, leave_uncovered
from blender_faceblur.blender.cover.strips import get_mask, remove_strip
from blender_faceblur.blender.detection.detect import DetectionSettings, cover_found, detect
from blender_faceblur.blender.export import render_to_footage as rendering
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.editing import get_track, set_key
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, TrackDocument
from blender_faceblur.files import paths
from blender_faceblur.worker.client import probe_providers

from . import disks
from .test_extension import analyses
from .test_faults import FACE, tell

__all__ = ["analyses"]

EFFECT = EffectSettings("solid", disks.COVER)
WAIT_S = 0.02


@pytest.fixture
def scene(extension: None, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A saved project with a covered strip. All that jobs store lies in the test's folder."""
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    (tmp_path / "user").mkdir()
    for name in ("disk.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(film.read_bytes())
    source = tmp_path / "disk.mp4"
    scene = build_project(source, disks.build_document(source), EFFECT)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    bpy.ops.ed.undo_push(message="covered")
    yield scene
    stop()


def list_own_children() -> set[int]:
    """The processes that this one has started. (Linux)"""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(entry.name))
    return found


def list_left(folder: Path) -> list[str]:
    """Unfinished files beside the project, and folders of jobs that have not been removed."""
    left = [*folder.rglob(".faceblur-*"), *(folder / "user" / "jobs").glob("job-*")]
    return [str(path.relative_to(folder)) for path in left]


def delete(scene: Any, folder: Path) -> None:
    remove_strip(scene, scene.sequence_editor.strips["disk"])


def relink(scene: Any, folder: Path) -> None:
    scene.sequence_editor.strips["disk"].filepath = str(folder / "other.mp4")


def relink_to_nothing(scene: Any, folder: Path) -> None:
    scene.sequence_editor.strips["disk"].filepath = str(folder / "missing.mp4")


def remove_cover(scene: Any, folder: Path) -> None:
    strip = scene.sequence_editor.strips["disk"]
    modifier = get_modifier(strip)
    modifier.node_group = None
    strip.modifiers.remove(modifier)


def undo(scene: Any, folder: Path) -> None:
    scene.sequence_editor.strips["disk"].name = "renamed"
    bpy.ops.ed.undo_push(message="renamed")
    assert bpy.ops.ed.undo() == {"FINISHED"}


def go_on(job: Generator[Any, None, Any]) -> Any:
    """Drive a job to its end, as the timer does; returns its result."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def begin(job: Generator[Any, None, Any]) -> None:
    """Drive a job until it reports its first frames."""
    while (step := next(job)) is None or not step.done:
        pass


CHANGES = [delete, relink, relink_to_nothing, remove_cover, undo]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
def test_a_project_that_changes_during_a_bake_shows_no_face(
    change: Callable[[Any, Path], None], scene: Any, tmp_path: Path
) -> None:
    job = bake([scene.sequence_editor.strips["disk"]], WAIT_S)
    begin(job)
    change(scene, tmp_path)
    made = go_on(job)
    try:
        done, problems = apply(made)
    except FaceBlurError as error:
        done, problems = [], [str(error)]
    scene = bpy.context.scene
    strip = scene.sequence_editor.strips_all.get("disk")
    assert done == [] if change is not undo else done in ([], ["disk"])
    assert all("\n" not in problem for problem in problems) and (problems or done)
    if strip is not None:
        assert is_baked(strip) == bool(done)
        assert tell(disks.render_frame(scene, 20, tmp_path / "after.png")) != FACE
    assert list_left(tmp_path) == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
def test_a_project_that_changes_during_a_detection_shows_no_face(
    change: Callable[[Any, Path], None], scene: Any, tmp_path: Path, analyses: list[Any]
) -> None:
    """Only a strip that still shows what was analysed is covered; any other is reported."""
    job = detect(scene, ["disk"], DetectionSettings("fast"), WAIT_S)
    begin(job)
    change(scene, tmp_path)
    found = go_on(job)
    scene = bpy.context.scene
    problems = cover_found(scene, found, EFFECT)
    assert len(analyses) == 1 and all("\n" not in problem for problem in problems)
    strip = scene.sequence_editor.strips_all.get("disk")
    assert bool(problems) == (change in (delete, relink, relink_to_nothing))
    # The message at the end counts only faces that were covered.
    assert [bool(one.covered) for one in found] == [not problems]
    if strip is None:
        assert change is delete
        return
    shows = [fault.shows for fault in guard.check_scene(scene)]
    assert any(shows) == (change is relink_to_nothing)
    assert tell(disks.render_frame(scene, 20, tmp_path / "after.png")) != FACE
    assert list_left(tmp_path) == []


def cut(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.split, scene.sequence_editor.strips["disk"], frame=20)


def cut_and_move(scene: Any) -> None:
    cut(scene)
    right = next(s for s in scene.sequence_editor.strips if s.name != "disk")
    right.frame_start += 60


def move(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    strip.frame_start, strip.channel = 30, 4


def trim(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    strip.frame_final_start, strip.frame_final_end = 8, 30


def copy(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.duplicate, scene.sequence_editor.strips["disk"])
    made = next(s for s in scene.sequence_editor.strips if s.name != "disk")
    made.channel, made.frame_start = 5, 100


def copy_and_delete(scene: Any) -> None:
    copy(scene)
    remove_strip(scene, scene.sequence_editor.strips["disk"])


def rename(scene: Any) -> None:
    scene.sequence_editor.strips["disk"].name = "other"


def group(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.meta_make, scene.sequence_editor.strips["disk"])


def cut_and_leave(scene: Any) -> None:
    cut(scene)
    leave_uncovered(next(s for s in scene.sequence_editor.strips if s.name != "disk"), True)


@pytest.mark.parametrize(
    "edit",
    [cut, cut_and_move, move, trim, copy, copy_and_delete, rename, group, cut_and_leave],
    ids=lambda edit: str(edit.__name__),
)
def test_an_editor_can_go_on_cutting_during_a_detection(
    edit: Callable[[Any], None], extension: None, film: Path, tmp_path: Path, analyses: list[Any]
) -> None:
    """Every strip of the footage is covered, wherever it is by then, and each of its frames shows the cover."""
    scene = build_project(film, disks.build_document(film), None)
    job = detect(scene, ["disk"], DetectionSettings("fast"), WAIT_S)
    begin(job)
    edit(scene)
    problems = cover_found(scene, go_on(job), EFFECT)
    assert len(analyses) == 1 and problems == []
    strips = [s for s in scene.sequence_editor.strips_all if s.type == "MOVIE"]
    left = [s for s in strips if is_left_uncovered(s)]
    assert strips and len(left) == (edit is cut_and_leave)
    assert all((get_modifier(s) is not None) == (s not in left) for s in strips)
    assert guard.check_scene(scene) == []
    scene.frame_end = 200
    for strip in strips:
        for frame in {int(strip.frame_final_start), int(strip.frame_final_end) - 1}:
            seen = disks.see(disks.render_frame(scene, frame, tmp_path / "after.png"))
            assert (seen.disk > 900) if strip in left else (seen.disk == 0 and seen.cover > 500), (strip.name, frame)


@pytest.mark.parametrize("kind", ["bake", "render", "detect"])
def test_a_file_that_is_closed_ends_its_job_and_all_processes(kind: str, scene: Any, tmp_path: Path) -> None:
    if kind == "detect":
        try:
            probe_providers()
        except FaceBlurError as error:
            # This checkout has no packages for the application's Python.
            pytest.skip(str(error))
    strip = scene.sequence_editor.strips["disk"]
    covers = scene.sequence_editor.strips["disk"].modifiers.keys()
    before = list_own_children() if sys.platform == "linux" else set()
    if kind == "bake":
        JOB.job = bake([strip], WAIT_S)
    elif kind == "detect":
        JOB.job = detect(scene, ["disk"], DetectionSettings("fast"), WAIT_S)
    else:
        JOB.job = rendering.render_alone(rendering.make_order(scene, strip), WAIT_S)
    begin(JOB.job)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not JOB.active
    assert list_left(tmp_path) == []
    if sys.platform == "linux":
        assert list_own_children() <= before, "a process works on for a project that is closed"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "project.blend"))
    assert guard.check_scene(bpy.context.scene) == []
    assert bpy.context.scene.sequence_editor.strips["disk"].modifiers.keys() == covers
    assert list((tmp_path / FOLDER).glob("*.mp4")) == []


@pytest.mark.parametrize("change", [delete, relink], ids=lambda change: str(change.__name__))
def test_a_strip_that_changes_while_it_is_rendered_to_footage_is_left_as_it_is(
    change: Callable[[Any, Path], None], scene: Any, tmp_path: Path
) -> None:
    order = rendering.make_order(scene, scene.sequence_editor.strips["disk"])
    job = rendering.render_alone(order, WAIT_S)
    begin(job)
    change(scene, tmp_path)
    made = go_on(job)
    count = len(scene.sequence_editor.strips)
    with pytest.raises(FaceBlurError, match="changed during the render"):
        rendering.put_in_place(scene, order, made)
    assert len(scene.sequence_editor.strips) == count and list_left(tmp_path) == []


@dataclass
class History:
    """Undo steps: an empty sequencer, a strip "disk", and its cover. `steps` is how many of them are undone now."""

    source: Path
    steps: int = 0

    @classmethod
    def make(cls, source: Path) -> History:
        scene = bpy.context.scene
        for strip in list(scene.sequence_editor.strips):
            scene.sequence_editor.strips.remove(strip)
        for mask in list(bpy.data.masks):
            bpy.data.masks.remove(mask)
        bpy.ops.ed.undo_push(message="removed")
        scene = bpy.context.scene
        strip = scene.sequence_editor.strips.new_movie("disk", str(source), 1, 1)
        footage = get_footage(strip)
        bpy.ops.ed.undo_push(message="added")
        document = disks.build_document(source)
        assert apply_analysis(bpy.context.scene, ["disk"], footage, document, EFFECT) == []
        bpy.ops.ed.undo_push(message="covered")
        return cls(source)

    def undo(self, steps: int) -> Any:
        """Undo so many steps, and return the scene, which is another object then."""
        for _ in range(steps):
            assert bpy.ops.ed.undo() == {"FINISHED"}
        self.steps += steps
        return bpy.context.scene

    def redo(self) -> Any:
        while self.steps:
            assert bpy.ops.ed.redo() == {"FINISHED"}
            self.steps -= 1
        return bpy.context.scene


def check_covered(scene: Any, folder: Path) -> None:
    """The strip has one whole cover, the guard finds nothing, and no face is rendered."""
    strip = scene.sequence_editor.strips["disk"]
    assert len(strip.modifiers) == 1 and get_mask(strip) is not None
    assert [other.type for other in scene.sequence_editor.strips_all].count("MASK") == 1
    assert guard.check_scene(scene) == []
    assert tell(disks.render_frame(scene, 20, folder / "after.png")) != FACE


@pytest.mark.parametrize("steps", [1, 2])
def test_undoing_the_cover_or_the_strip_during_a_detection_leaves_no_half_cover(
    steps: int, scene: Any, tmp_path: Path, analyses: list[Any]
) -> None:
    history = History.make(tmp_path / "disk.mp4")
    job = detect(bpy.context.scene, ["disk"], DetectionSettings("fast"), WAIT_S)
    begin(job)
    scene = history.undo(steps)
    problems = cover_found(scene, go_on(job), EFFECT)
    if steps == 1:
        assert problems == []
        check_covered(scene, tmp_path)
    else:
        assert len(problems) == 1 and "disk" in problems[0] and not scene.sequence_editor.strips_all
        assert not [mask for mask in bpy.data.masks if mask.users]
    assert list_left(tmp_path) == []


def test_undo_and_redo_during_a_detection_change_nothing(scene: Any, tmp_path: Path, analyses: list[Any]) -> None:
    history = History.make(tmp_path / "disk.mp4")
    job = detect(bpy.context.scene, ["disk"], DetectionSettings("fast"), WAIT_S)
    begin(job)
    history.undo(2)
    scene = history.redo()
    check_covered(scene, tmp_path)
    assert cover_found(scene, go_on(job), EFFECT) == []
    check_covered(scene, tmp_path)


def test_a_detection_is_undone_as_a_whole_and_done_again(scene: Any, tmp_path: Path, analyses: list[Any]) -> None:
    """No mask, Mask strip or modifier is left over alone, and the guard sees the bare strip."""
    history = History.make(tmp_path / "disk.mp4")
    scene = history.undo(1)
    strip = scene.sequence_editor.strips["disk"]
    assert not strip.modifiers and get_mask(strip) is None
    assert [other.type for other in scene.sequence_editor.strips_all] == ["MOVIE"]
    scene = history.redo()
    check_covered(scene, tmp_path)
    # The tracks are whole too: a correction and a new detection work on.
    found = go_on(detect(scene, ["disk"], DetectionSettings("fast"), WAIT_S))
    assert cover_found(scene, found, EFFECT) == []
    check_covered(scene, tmp_path)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_undo_during_tracking_leaves_no_hole(
    steps: int, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key from which a face was tracked, its cover or its strip is undone meanwhile."""
    history = History.make(tmp_path / "disk.mp4")
    mask = get_mask(bpy.context.scene.sequence_editor.strips["disk"])

    def cut_short(document: TrackDocument) -> list[str]:
        track = get_track(document, "Face 01")
        track.samples = [sample for sample in track.samples if sample.source_frame < 20]
        return ["Face 01"]

    change_tracks(mask, cut_short)
    bpy.ops.ed.undo_push(message="cut short")

    def add_key(document: TrackDocument) -> list[str]:
        set_key(get_track(document, "Face 01"), 25, Ellipse(*disks.place_disk(25), disks.RADIUS, disks.RADIUS), 0)
        return ["Face 01"]

    change_tracks(mask, add_key)
    bpy.ops.ed.undo_push(message="key")
    scene = bpy.context.scene
    strip = scene.sequence_editor.strips["disk"]
    place = start_track(scene, strip, mask, "Face 01", 25, "FORWARD")
    tracked = [
        Sample(frame, Ellipse(*disks.place_disk(frame), disks.RADIUS, disks.RADIUS), Evidence.FLOW, 1.0)
        for frame in range(26, disks.FRAMES)
    ]
    scene = history.undo(steps)
    if steps == 2:
        apply_tracked(place, tracked)
        document = load_document(bpy.data.masks[place.mask])
        frames = {sample.source_frame for sample in get_track(document, "Face 01").samples}
        assert frames >= set(range(25, disks.FRAMES)), "a frame between the key and what was tracked from it"
        check_covered(scene, tmp_path)
        return
    with pytest.raises(FaceBlurError, match="changed while it was tracked" if steps == 1 else "deleted"):
        apply_tracked(place, tracked)
    mask = get_mask(scene.sequence_editor.strips["disk"])
    assert (mask is None) == (steps == 3)
    if mask is not None:
        kept = [sample.source_frame for sample in get_track(load_document(mask), "Face 01").samples]
        assert kept == list(range(20))


@pytest.mark.parametrize("steps", [1, 2])
def test_undo_during_a_bake_keeps_the_cover_or_nothing(steps: int, scene: Any, tmp_path: Path) -> None:
    history = History.make(tmp_path / "disk.mp4")
    job = bake([bpy.context.scene.sequence_editor.strips["disk"]], WAIT_S)
    begin(job)
    scene = history.undo(steps)
    done, problems = apply(go_on(job))
    assert done == [] and len(problems) == 1
    scene = history.redo()
    check_covered(scene, tmp_path)
    assert not is_baked(scene.sequence_editor.strips["disk"]) and list_left(tmp_path) == []
