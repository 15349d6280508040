# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about several faces at once. How the sheet looks, the story "decide" sees in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender import registration
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track

from . import disks


@pytest.fixture
def mask(film: Path) -> Iterator[Any]:
    """The mask of a strip with two faces."""
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    registration.register()
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = disks.WIDTH, disks.HEIGHT, 24
    strip = scene.sequence_editor_create().strips.new_movie("disk", str(film), 1, 1)
    scene.sequence_editor.active_strip = strip
    document = disks.build_document(film)
    other = [Sample(f, Ellipse(250, 120, 30, 30), Evidence.DETECTED, 0.9) for f in range(5, 20)]
    document.tracks.append(Track("Face 02", other))
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    yield get_mask(strip)
    registration.unregister()


def pick(mask: Any, track: str, pile: str = "none", picked: bool = True) -> dict[str, Any]:
    """A face of the sheet; Blender wants all of its fields."""
    own = {"name": "", "mask": mask.name, "track": track, "pile": pile, "picked": picked}
    return own | {"person": "", "is_covered": True, "seconds": 1.0, "side_px": 40.0}


def decide(mask: Any, decision: str, *names: str, **options: Any) -> None:
    faces = [pick(mask, name) for name in names]
    assert bpy.ops.faceblur.decide_on_faces(faces=faces, decision=decision, **options) == {"FINISHED"}


def list_covered(mask: Any) -> list[str]:
    return [track.name for track in load_document(mask).tracks if track.list_covered_spans()]


def test_several_faces_are_kept_visible_and_covered_again_at_once(mask: Any) -> None:
    decide(mask, "keep_visible", "Face 01", "Face 02")
    assert list_covered(mask) == []
    decide(mask, "cover", "Face 01", "Face 02")
    assert list_covered(mask) == ["Face 01", "Face 02"]


def test_cover_also_covers_what_the_checkbox_of_the_list_had_uncovered(mask: Any) -> None:
    mask.layers["Face 02"].hide_render = True
    decide(mask, "cover", "Face 02")
    assert not mask.layers["Face 02"].hide_render


def test_what_is_no_face_is_removed_and_other_faces_stay(mask: Any) -> None:
    decide(mask, "not_a_face", "Face 02")
    assert list_covered(mask) == ["Face 01"] and "Face 02" not in mask.layers


def test_a_pile_is_one_decision_and_an_unpicked_face_is_left_alone(mask: Any) -> None:
    faces = [pick(mask, "Face 01", picked=False), pick(mask, "Face 02", "small", picked=False)]
    assert bpy.ops.faceblur.decide_on_faces(faces=faces, decision="keep_visible") == {"CANCELLED"}
    assert bpy.ops.faceblur.decide_on_faces(faces=faces, decision="keep_visible", small=True) == {"FINISHED"}
    assert list_covered(mask) == ["Face 01"]
    # Once it is open, its faces are picked one by one.
    decide(mask, "cover", "Face 02")
    options = {"small": True, "open_small": True}
    assert bpy.ops.faceblur.decide_on_faces(faces=faces, decision="keep_visible", **options) == {"CANCELLED"}


def test_a_face_drawn_by_hand_is_refused_and_nothing_changes(mask: Any) -> None:
    mask.layers.new(name="Mine")
    faces = [pick(mask, name) for name in ("Face 01", "Mine")]
    with pytest.raises(RuntimeError, match="Mine"):
        bpy.ops.faceblur.decide_on_faces(faces=faces, decision="keep_visible")
    assert list_covered(mask) == ["Face 01", "Face 02"]
