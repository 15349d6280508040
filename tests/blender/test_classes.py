# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces are always detected, number plates only on request and with their weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

import blender_faceblur
from blender_faceblur.blender.common.jobs import JOB
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.detection import detect as detection
from blender_faceblur.blender.detection import panels as classes
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.tracking.objects import PLATE_CLASS, mark_objects
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, Track
from blender_faceblur.worker import client
from blender_faceblur.worker.protocol import AnalysisRequest, ErrorMessage, Message, Progress, Result, Stage

from . import disks


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the worker: a disk is a face, and beside it is a plate. Gives the requested presets."""
    presets: list[str] = []

    def answer(request: AnalysisRequest, wait_s: float | None = None, worker: object = None) -> Iterator[Message]:
        presets.append(request.preset)
        yield Progress(Stage.DETECT, 1, 2, 1.0)
        document = disks.build_document(Path(request.source.path))
        if request.preset == PLATE_CLASS.preset.name:
            if "broken" in presets:
                yield ErrorMessage("out of memory")
                return
            document.tracks = [
                Track("Face 01", [Sample(f, Ellipse(250, 120, 30, 10), Evidence.DETECTED, 0.9) for f in range(5, 20)])
            ]
            mark_objects(document, PLATE_CLASS.kind)
        write_document(document, Path(request.output))
        yield Result(request.output, disks.FRAMES, 1, 0, 1.0)

    monkeypatch.setattr(client, "run_job", answer)
    monkeypatch.setattr(detection, "check_models", lambda names: None)
    return presets


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Any]:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    path = disks.write_film(tmp_path / "disk.mp4")
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(path), 1, 1)
    scene.sequence_editor.active_strip = strip
    yield scene
    blender_faceblur.unregister()
    JOB.problems, JOB.notes = [], []


def list_tracks(scene: Any) -> list[tuple[str, str]]:
    document = load_document(get_mask(scene.sequence_editor.strips["disk"]))
    return [(track.name, track.kind) for track in document.tracks]


def test_plates_are_detected_only_on_request(scene: Any, asked: list[str]) -> None:
    assert bpy.ops.faceblur.detect() == {"FINISHED"}
    assert asked == ["balanced"] and list_tracks(scene) == [("Face 01", "face")]
    scene.faceblur.find_plates = True
    assert bpy.ops.faceblur.detect() == {"FINISHED"}
    assert asked == ["balanced", "balanced", PLATE_CLASS.preset.name]
    assert list_tracks(scene) == [("Face 01", "face"), ("Region 01", "plate")]
    notes = get_mask(scene.sequence_editor.strips["disk"])["faceblur"]["notes"]
    assert any("Chinese plates" in note for note in notes)
    # A second detection does not duplicate them.
    bpy.ops.faceblur.detect()
    assert list_tracks(scene) == [("Face 01", "face"), ("Region 01", "plate")]


def test_a_strip_stays_uncovered_if_the_detection_of_plates_fails(scene: Any, asked: list[str]) -> None:
    scene.faceblur.find_plates = True
    asked.append("broken")
    with pytest.raises(RuntimeError, match="out of memory"):
        bpy.ops.faceblur.detect()
    assert get_mask(scene.sequence_editor.strips["disk"]) is None


def test_without_weights_plates_are_refused_and_faces_are_not(
    scene: Any,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(names: list[str]) -> None:
        raise FaceBlurError(f"{names[0]} is missing")

    monkeypatch.setattr(classes, "check_models", missing)
    monkeypatch.setattr(detection, "check_models", missing)
    assert classes.explain_missing_weights(PLATE_CLASS) == "lpd_yunet is missing"
    scene.faceblur.find_plates = True
    with pytest.raises(RuntimeError, match="lpd_yunet is missing"):
        bpy.ops.faceblur.detect()
    assert asked == []
    scene.faceblur.find_plates = False
    assert bpy.ops.faceblur.detect() == {"FINISHED"}
