# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension as Blender sees it: its registration, operators, panel and keys."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.common.job_operator import JobOperator
from blender_faceblur.blender.common.jobs import JOB
from blender_faceblur.blender.common.selection import list_selected
from blender_faceblur.blender.cover.covering import read_effect
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.detection import detect as detection
from blender_faceblur.blender.keymaps import KEYS
from blender_faceblur.blender.masks.faces import list_faces
from blender_faceblur.blender.preferences.properties import FACEBLUR_AP_preferences
from blender_faceblur.blender.settings import FACEBLUR_PG_settings
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.types import Evidence, Sample, Track
from blender_faceblur.worker import client
from blender_faceblur.worker.protocol import (
    AnalysisRequest,
    ErrorMessage,
    Message,
    Progress,
    Result,
    Running,
    Stage,
    Waiting,
)

from . import disks


@pytest.fixture
def extension() -> Iterator[None]:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    yield
    blender_faceblur.unregister()
    JOB.problems, JOB.notes = [], []


@pytest.fixture
def scene(extension: None, film: Path) -> Any:
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    scene.sequence_editor.active_strip = strip
    scene.faceblur.effect, scene.faceblur.color = "solid", (0.0, 0.0, 1.0)
    return scene


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> list[AnalysisRequest]:
    """Replaces the worker by one that finds the disk at once. Gives the requests."""
    requests: list[AnalysisRequest] = []

    def answer(request: AnalysisRequest, wait_s: float | None = None, worker: object = None) -> Iterator[Message]:
        requests.append(request)
        yield Waiting() if wait_s is not None else Progress(Stage.DETECT, 0, disks.FRAMES, 0.0)
        yield Running("CPU")
        yield Progress(Stage.DETECT, 20, disks.FRAMES, 10.0)
        name = Path(request.source.path).name
        if name.startswith("broken"):
            yield ErrorMessage(f"{name}: is no film that can be read")
            return
        write_document(disks.build_document(Path(request.source.path, *request.source.files[:1])), Path(request.output))
        yield Result(request.output, disks.FRAMES, 1, 0, 1.0)

    monkeypatch.setattr(client, "run_job", answer)
    return requests


def list_everything() -> dict[str, list[str]]:
    """Everything that an add-on can leave behind in Blender."""
    handlers = {
        name: [f.__module__ for f in getattr(bpy.app.handlers, name)]
        for name in dir(bpy.app.handlers)
        if isinstance(getattr(bpy.app.handlers, name), list)
    }
    return {
        "types": [name for name in dir(bpy.types) if "faceblur" in name.lower()],
        "operators": [name for name in dir(bpy.ops) if "faceblur" in name],
        "scene": [name for name in dir(bpy.types.Scene) if "faceblur" in name],
        "menu": [f.__module__ for f in bpy.types.SEQUENCER_MT_strip._dyn_ui_initialize() if "faceblur" in f.__module__],
        "keys": [
            item.idname
            for keymap in bpy.context.window_manager.keyconfigs.addon.keymaps
            for item in keymap.keymap_items
        ],
        **{f"handlers {name}": modules for name, modules in handlers.items()},
    }


def test_the_extension_registers_and_unregisters_without_a_trace() -> None:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    before = list_everything()
    for _ in range(2):
        blender_faceblur.register()
        there = list_everything()
        assert "FACEBLUR_PT_main" in there["types"] and there["scene"] == ["faceblur"] and there["menu"]
        blender_faceblur.unregister()
        assert list_everything() == before


def test_no_job_can_be_run_again_by_adjusting_the_last_operation(scene: Any) -> None:
    """Blender would run it at once, and the window would stand still."""
    jobs = [kind for kind in bpy.types.Operator.__subclasses__() if issubclass(kind, JobOperator)]
    assert {"FACEBLUR_OT_detect", "FACEBLUR_OT_bake", "FACEBLUR_OT_export_covered", "FACEBLUR_OT_follow"} <= {
        kind.__name__ for kind in jobs
    }
    assert [kind.__name__ for kind in jobs if "REGISTER" in kind.bl_options] == []


def test_the_shortcuts_are_free_in_blenders_keymap() -> None:
    """Reads the tables from which Blender builds its own keymaps."""
    path = Path(bpy.utils.system_resource("SCRIPTS")) / "presets" / "keyconfig" / "keymap_data" / "blender_default.py"
    if not path.is_file():
        found = list(Path(bpy.__file__).parent.rglob("blender_default.py"))
        assert found, "Blender's default keymap was not found"
        path = found[0]
    spec = importlib.util.spec_from_file_location("blender_default", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    used = set()
    for _, _, content in module.generate_keymaps(module.Params(select_mouse="LEFT")):
        for item in content["items"]:
            event = item[1]
            if all(event.get(name) for name in ("shift", "ctrl", "alt")):
                used.add(event["type"])
    assert used, "no key with all three modifiers was found"
    assert not used & {key for _, key, _ in KEYS}


@pytest.mark.usefixtures("analyses")
def test_detecting_covers_the_selected_strips(scene: Any, tmp_path: Path) -> None:
    assert bpy.ops.faceblur.detect() == {"FINISHED"}
    strip = scene.sequence_editor.strips["disk"]
    assert [(face.name, face.frames) for face in list_faces(get_mask(strip))] == [("Face 01", disks.FRAMES)]
    assert JOB.provider == "CPU" and not JOB.active
    assert disks.see(disks.render_frame(scene, 9, tmp_path / "a.png")).disk == 0


def test_one_source_is_analysed_once(scene: Any, analyses: list[AnalysisRequest], film: Path) -> None:
    scene.sequence_editor.strips.new_movie("again", str(film), 2, 20)
    assert len(list_selected(bpy.context)) == 2
    bpy.ops.faceblur.detect()
    assert len(analyses) == 1
    strips = scene.sequence_editor.strips
    assert get_mask(strips["disk"]) == get_mask(strips["again"]) is not None


@pytest.mark.usefixtures("analyses")
def test_a_failed_strip_is_reported_and_the_others_are_covered(scene: Any, film: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes())
    scene.sequence_editor.strips.new_movie("broken", str(broken), 2, 1)
    with pytest.raises(RuntimeError, match=r"broken\.mp4: is no film"):
        bpy.ops.faceblur.detect()
    assert JOB.problems == ["broken.mp4: is no film that can be read"]
    assert get_mask(scene.sequence_editor.strips["disk"]) is not None
    assert get_mask(scene.sequence_editor.strips["broken"]) is None


def test_a_cancelled_detection_changes_nothing(scene: Any, analyses: list[AnalysisRequest]) -> None:
    job = detection.detect(scene, ["disk"], detection.DetectionSettings(), 0.0)
    next(job)
    job.close()
    assert len(analyses) == 1 and not bpy.data.masks
    assert len(scene.sequence_editor.strips) == 1


@pytest.mark.usefixtures("analyses")
@pytest.mark.parametrize("change", ["deleted", "renamed", "relinked", "scene emptied"])
def test_strips_that_changed_during_detection_are_reported(change: str, scene: Any, film: Path, tmp_path: Path) -> None:
    job = detection.detect(scene, ["disk"], detection.DetectionSettings(), 0.0)
    next(job)
    strip = scene.sequence_editor.strips["disk"]
    if change == "deleted":
        scene.sequence_editor.strips.remove(strip)
    elif change == "renamed":
        strip.name = "other"
    elif change == "relinked":
        other = tmp_path / "other.mp4"
        other.write_bytes(film.read_bytes())
        strip.filepath = str(other)
    else:
        scene.sequence_editor_clear()
    while True:
        try:
            next(job)
        except StopIteration as stop:
            found = stop.value
            break
    problems = detection.cover_found(scene, found, EffectSettings())
    if change == "renamed":
        assert problems == [] and get_mask(strip) is not None
        return
    assert len(problems) == 1 and "not covered" in problems[0]
    assert not bpy.data.masks


@pytest.mark.usefixtures("analyses")
def test_update_applies_the_settings(scene: Any) -> None:
    bpy.ops.faceblur.detect()
    strip = scene.sequence_editor.strips["disk"]
    scene.faceblur.color = (1.0, 0.5, 0.0)
    assert bpy.ops.faceblur.apply() == {"FINISHED"}
    effect = read_effect(strip)
    assert effect is not None and (effect.kind, effect.color) == ("solid", "FF8000")


def test_applying_needs_a_detection(scene: Any) -> None:
    with pytest.raises(RuntimeError, match="have not been detected"):
        bpy.ops.faceblur.apply()
    assert not len(scene.sequence_editor.strips["disk"].modifiers)


@pytest.mark.usefixtures("analyses")
def test_faces_are_switched_and_found(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.detect()
    mask = get_mask(scene.sequence_editor.strips["disk"])
    bpy.ops.faceblur.switch_faces(action="OFF")
    assert disks.see(disks.render_frame(scene, 9, tmp_path / "off.png")).disk > 900
    bpy.ops.faceblur.switch_faces(action="INVERT")
    assert not mask.layers["Face 01"].hide_render
    assert disks.see(disks.render_frame(scene, 9, tmp_path / "on.png")).disk == 0
    scene.frame_set(30)
    bpy.ops.faceblur.go_to_face(layer="Face 01")
    assert scene.frame_current == 1


@pytest.mark.usefixtures("analyses")
def test_remove_restores_the_strip(scene: Any) -> None:
    bpy.ops.faceblur.detect()
    bpy.ops.faceblur.remove()
    assert len(scene.sequence_editor.strips) == 1 and not bpy.data.masks
    assert not bpy.ops.faceblur.remove.poll()


def test_disabled_buttons_say_why(scene: Any) -> None:
    scene.sequence_editor.strips["disk"].select = False
    for operator in (bpy.ops.faceblur.detect, bpy.ops.faceblur.apply, bpy.ops.faceblur.remove):
        assert not operator.poll()
        with pytest.raises(RuntimeError, match=r"[Ss]elect a"):
            operator()


def test_every_button_has_a_tooltip_and_every_field_a_description(extension: None) -> None:
    for name in dir(bpy.ops.faceblur):
        properties = getattr(bpy.ops.faceblur, name).get_rna_type()
        assert len(properties.description) > 15, name
    for group in (FACEBLUR_PG_settings, FACEBLUR_AP_preferences):
        for field in group.bl_rna.properties:
            if field.identifier not in ("rna_type", "name", "bl_idname"):
                assert len(field.description) > 10, field.identifier


@pytest.mark.usefixtures("analyses")
def test_settings_and_covers_are_saved_with_the_project(scene: Any, tmp_path: Path) -> None:
    scene.faceblur.preset = "thorough"
    bpy.ops.faceblur.detect()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    assert scene.faceblur.preset == "thorough" and scene.faceblur.effect == "solid"
    mask = get_mask(scene.sequence_editor.strips["disk"])
    assert mask is not None and len(list_faces(mask)) == 1
    assert disks.see(disks.render_frame(scene, 9, tmp_path / "a.png")).disk == 0


def test_an_image_sequence_is_analysed_with_its_names_and_rate(
    scene: Any,
    analyses: list[AnalysisRequest],
    tmp_path: Path,
) -> None:
    import cv2
    import numpy as np

    for number in range(3):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((disks.HEIGHT, disks.WIDTH, 3), 60 * number, np.uint8))
    strips = scene.sequence_editor.strips
    pictures = strips.new_image("pictures", str(tmp_path / "p0.png"), 3, 1)
    for number in (1, 2):
        pictures.elements.append(f"p{number}.png")
    scene.sequence_editor.active_strip = pictures
    strips["disk"].select = False
    with pytest.raises(RuntimeError, match="Blender counts 3 frames, but 40"):
        # The stand-in for the worker always answers with the disk's document.
        bpy.ops.faceblur.detect()
    source = analyses[0].source
    assert source.files == ["p0.png", "p1.png", "p2.png"] and source.frame_rate == [24, 1]
    assert Path(source.path) == tmp_path


def test_a_still_is_covered_for_as_long_as_it_is_shown(scene: Any, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    picture = np.full((disks.HEIGHT, disks.WIDTH, 3), 90, np.uint8)
    cv2.circle(picture, (60, 60), disks.RADIUS, (235, 235, 235), -1)
    cv2.imwrite(str(tmp_path / "still.png"), picture)
    strips = scene.sequence_editor.strips
    strips.remove(strips["disk"])
    still = strips.new_image("still", str(tmp_path / "still.png"), 1, 1)
    still.frame_final_duration = 50
    document = disks.build_document(tmp_path / "still.png")
    object.__setattr__(document.source, "kind", "image")
    object.__setattr__(document.source, "frame_count", 1)
    first = document.tracks[0].samples[0]
    document.tracks = [Track("Face 01", [Sample(0, first.ellipse, Evidence.DETECTED, 1.0)])]
    found = detection.list_sources(scene, ["still"])
    found[0].document = document
    assert detection.cover_found(scene, found, EffectSettings("solid", disks.COVER)) == []
    for frame in (1, 25, 50):
        sight = disks.see(disks.render_frame(scene, frame, tmp_path / "a.png"))
        assert sight.disk == 0 and sight.cover > 1200


@pytest.mark.usefixtures("analyses")
def test_only_the_frames_that_a_strip_shows_are_analysed(scene: Any, analyses: list[AnalysisRequest]) -> None:
    strip = scene.sequence_editor.strips["disk"]
    strip.frame_start -= 500
    scene.render.fps = 1
    strip.frame_offset_start, strip.frame_offset_end = 10, 20
    bpy.ops.faceblur.detect()
    assert analyses[-1].span == [8, 22]
    strip.frame_offset_start = strip.frame_offset_end = 0
    bpy.ops.faceblur.detect()
    assert analyses[-1].span == []
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = int(strip.frame_start) + 5, int(strip.frame_start) + 9
    bpy.ops.faceblur.detect(in_range=True)
    assert analyses[-1].span == [5, 10]
    scene.frame_preview_start = scene.frame_preview_end = 5000
    with pytest.raises(RuntimeError, match="shows nothing in the preview range"):
        bpy.ops.faceblur.detect(in_range=True)
