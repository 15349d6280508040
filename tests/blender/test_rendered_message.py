# SPDX-License-Identifier: GPL-3.0-or-later
"""What the window says when a render has ended, and what stays in the tab after a job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.common.jobs import JOB
from blender_faceblur.blender.common.marks import get_modifier
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.panels import FACEBLUR_PT_messages
from blender_faceblur.blender.guard import handlers, rendered
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks


@pytest.fixture
def scene(film: Path, tmp_path: Path) -> Iterator[Any]:
    """Frames 5 to 14 of a timeline in which the film begins at frame 9, rendered to PNG files."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    registration.register()
    # Without a window the extension does not listen to renders.
    for when, handler in rendered._list_handlers():
        when.append(handler)
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = disks.WIDTH, disks.HEIGHT, 24
    scene.render.image_settings.media_type, scene.render.image_settings.file_format = "IMAGE", "PNG"
    scene.render.compositor_device = "CPU"
    scene.render.filepath = str(tmp_path / "out-")
    scene.frame_start, scene.frame_end = 5, 14
    scene.sequence_editor_create()
    yield scene
    handlers._GUARD.unreported = []
    JOB.problems, JOB.done = [], ""
    registration.unregister()
    assert rendered._begin not in bpy.app.handlers.render_init


def cover(scene: Any, film: Path) -> Any:
    strip = scene.sequence_editor.strips.new_movie("disk", str(film), 1, 9)
    cover_footage(scene, strip, disks.build_document(film), EffectSettings("solid", disks.COVER))
    return strip


def render(scene: Any) -> tuple[str, str]:
    bpy.ops.render.render(animation=True, scene=scene.name)
    (ended,) = rendered._STATE.waiting
    ended.ended = ended.began + 75.2
    return rendered.describe_render(ended)


def test_the_end_of_a_render_is_announced_with_its_frames(scene: Any, film: Path) -> None:
    cover(scene, film)
    message = "Rendered: 10 frames in 1 min 15 s, 6 with covered strips: out-0014.png"
    assert render(scene) == (message, "INFO")
    assert rendered.announce_ended() > 0
    assert JOB.done == message and not rendered._STATE.waiting
    assert FACEBLUR_PT_messages.poll(bpy.context)


def test_frames_with_strips_in_black_are_counted_and_warned_of(scene: Any, film: Path) -> None:
    strip = cover(scene, film)
    get_modifier(strip).mute = True
    assert render(scene) == (
        "Rendered: 10 frames in 1 min 15 s, 0 with covered strips, 6 with strips in black: out-0014.png",
        "WARNING",
    )


def test_a_cancelled_render_says_so(scene: Any, film: Path) -> None:
    cover(scene, film)
    rendered._begin(scene)
    scene.frame_set(9)
    rendered._count(scene)
    rendered._cancel(scene)
    (ended,) = rendered._STATE.waiting
    ended.ended = ended.began + 3
    assert rendered.describe_render(ended) == (
        "Render cancelled after 1 frame in 3 s, 1 with covered strips",
        "WARNING",
    )
    rendered._STATE.waiting.clear()


def render_preview(
    scene: Any, monkeypatch: pytest.MonkeyPatch, frames: range, is_animation: bool = True
) -> tuple[str, str]:
    """What Blender's own preview render does, which needs a window: it calls only the handlers of frame changes."""
    running = handlers._PreviewRender(scene.name, is_animation)
    with monkeypatch.context() as patch:
        patch.setattr(handlers, "_get_preview_render", lambda: running)
        handlers._guard_preview()
        for frame in frames:
            scene.frame_set(frame)
            handlers._guard_preview(scene, None)
        handlers._guard_preview()
    # Blender goes back to the playhead when the job has ended.
    scene.frame_set(5)
    handlers._guard_preview(scene, None)
    (ended,) = rendered._STATE.waiting
    ended.ended = ended.began + 3
    rendered._STATE.waiting.clear()
    return rendered.describe_render(ended)


def test_the_end_of_a_preview_render_is_announced(scene: Any, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strip = cover(scene, film)
    message = "Preview rendered: 10 frames in 3 s, 6 with covered strips: out-0014.png"
    assert render_preview(scene, monkeypatch, range(5, 15)) == (message, "INFO")
    scene.frame_step = 3
    message = "Preview rendered: 4 frames in 3 s, 2 with covered strips: out-0014.png"
    assert render_preview(scene, monkeypatch, range(5, 15)) == (message, "INFO")
    scene.frame_step = 1
    message = "Preview render cancelled after 6 frames in 3 s, 2 with covered strips"
    assert render_preview(scene, monkeypatch, range(5, 11)) == (message, "WARNING")
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 7, 10
    message = "Preview rendered: 4 frames in 3 s, 2 with covered strips: out-0010.png"
    assert render_preview(scene, monkeypatch, range(7, 11)) == (message, "INFO")
    scene.frame_set(9)
    message = "Preview rendered: 1 frame in 3 s, 1 with covered strips"
    assert render_preview(scene, monkeypatch, range(0), is_animation=False) == (message, "INFO")
    get_modifier(strip).mute = True
    message = "Preview rendered: 4 frames in 3 s, 0 with covered strips, 2 with strips in black: out-0010.png"
    assert render_preview(scene, monkeypatch, range(7, 11)) == (message, "WARNING")


def test_a_project_in_which_nothing_is_covered_gets_no_message(scene: Any, film: Path) -> None:
    scene.sequence_editor.strips.new_movie("bare", str(film), 1, 9)
    bpy.ops.render.render(animation=True, scene=scene.name)
    assert rendered._STATE.waiting == [] and rendered._STATE.render is None


def test_a_report_leaves_its_message_in_the_tab(scene: Any, film: Path, tmp_path: Path) -> None:
    scene.sequence_editor.active_strip = cover(scene, film)
    assert bpy.ops.faceblur.report(filepath=str(tmp_path / "report.html")) == {"FINISHED"}
    assert JOB.done == f"Report written to {tmp_path / 'report.html'}"


def test_another_project_shows_no_messages_of_the_one_before(scene: Any) -> None:
    def tell(*_: object) -> None:
        JOB.done = "1 strip baked"

    JOB.done, JOB.problems, JOB.notes = "1 strip baked", ["film.mp4 is gone"], ["The clock of film.mp4 is odd"]
    assert FACEBLUR_PT_messages.poll(bpy.context)
    # Blender removes it with the project, because it is not persistent.
    bpy.app.handlers.load_pre.append(tell)
    bpy.ops.wm.read_homefile(use_factory_startup=True, app_template="Video_Editing")
    assert not (JOB.done or JOB.problems or JOB.notes) and not FACEBLUR_PT_messages.poll(bpy.context)
