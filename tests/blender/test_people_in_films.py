# SPDX-License-Identifier: GPL-3.0-or-later
"""The same people in three films of one timeline, with the real detector and recogniser: one row each, one decision."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.people import person_list
from blender_faceblur.core.people.similarity import RECOGNIZER
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files.paths import get_model_path, set_user_folder
from tools.film import FaceTruth, make_film

from . import disks

SIZE = 640, 360
SECONDS = (1.5, 1.75, 2.0)
"""Of each film; films of the same content would count as one source."""


@pytest.fixture
def films(extension: None, tmp_path: Path) -> list[tuple[Any, list[list[FaceTruth]]]]:
    """The strips, detected, and the faces of each frame of their films. The faces of a film move a little."""
    # A Blender application has it only inside of the installed extension, which tests/window uses.
    pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    try:
        get_model_path(RECOGNIZER)
    except FaceBlurError as error:
        pytest.skip(str(error))
    set_user_folder(tmp_path)
    scene, made, start = bpy.context.scene, [], 1
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.fps = 24
    bpy.context.workspace.sequencer_scene = scene
    scene.faceblur.preset, scene.faceblur.effect, scene.faceblur.color = "fast", "solid", (0.0, 0.0, 0.0)
    strips = scene.sequence_editor_create().strips
    for number, seconds in enumerate(SECONDS, 1):
        path = tmp_path / f"film {number}.mp4"
        truth = make_film(
            path, width=SIZE[0], height=SIZE[1], frame_rate=Fraction(24), seconds=seconds, scene="people", sound=False
        )
        strip = strips.new_movie(f"film {number}", str(path), 1, start)
        strip.select, start = True, start + strip.frame_final_duration
        made.append((strip, truth))
    scene.sequence_editor.active_strip = made[0][0]
    assert bpy.ops.faceblur.detect() == {"FINISHED"}
    return made


def see_shown(strip: Any, truth: list[list[FaceTruth]], path: Path) -> list[float]:
    """The share of each face that is not black in the middle of a strip, from left to right."""
    number = len(truth) // 2
    picture = disks.render_frame(bpy.context.scene, int(strip.frame_final_start) + number, path)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] + 0.5
    shares = []
    for face in sorted(truth[number], key=lambda face: face.ellipse.cx):
        e = face.ellipse
        inside = ((x - e.cx) / e.rx) ** 2 + ((y - e.cy) / e.ry) ** 2 <= 0.8
        shares.append(float((picture[inside].max(axis=1) > 40).mean()))
    return shares


def test_one_decision_shows_a_person_in_three_films(
    films: list[tuple[Any, list[list[FaceTruth]]]], tmp_path: Path
) -> None:
    scene = bpy.context.scene
    people = scene.faceblur.people
    assert bpy.ops.faceblur.recognise_faces() == {"FINISHED"}
    assert [person.name for person in people.persons] == ["Person 01", "Person 02", "Person 03"]
    masks = [get_mask(strip).name for strip, _ in films]
    for person in people.persons:
        own = [face for face in people.faces if face.person == person.uid]
        assert len(own) == 3, "a face in each film"
    for number, (strip, truth) in enumerate(films):
        assert max(see_shown(strip, truth, tmp_path / f"covered {number}.png")) < 0.05
    # The first film's middle frame, where the active face is taken as the person's reference.
    strip, truth = films[0]
    scene.frame_set(int(strip.frame_final_start) + len(truth) // 2)
    mask = get_mask(strip)
    tracks = sorted(load_document(mask).tracks, key=lambda track: track.samples[0].ellipse.cx)
    mask.layers.active = mask.layers[tracks[0].name]
    assert bpy.ops.faceblur.add_person_here(person=str(people.persons[0].uid)) == {"FINISHED"}
    people.mode = person_list.KEEP
    bpy.ops.ed.undo_push(message="chosen")
    assert bpy.ops.faceblur.apply_people("EXEC_DEFAULT", True) == {"FINISHED"}
    for number, (strip, truth) in enumerate(films):
        left, *others = see_shown(strip, truth, tmp_path / f"kept {number}.png")
        assert left > 0.9 and max(others) < 0.05, strip.name
    assert bpy.ops.ed.undo() == {"FINISHED"}
    assert [len(load_document(bpy.data.masks[name]).tracks) for name in masks] == [3, 3, 3], "one undo covers all again"
