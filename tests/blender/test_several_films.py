# SPDX-License-Identifier: GPL-3.0-or-later
"""Three films in one timeline: one detection, one queue of review items, and one list of faces to decide on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common.jobs import Step
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.detection.detect import DetectionSettings, detect
from blender_faceblur.blender.people.sheet import list_members
from blender_faceblur.blender.review import queue
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks
from .test_extension import analyses
from .test_review import build_document

__all__ = ["analyses"]

NAMES = ("one", "two", "three")


@pytest.fixture
def scene(extension: None, tmp_path: Path) -> Any:
    """Three films one after the other, none of them covered."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    strips = scene.sequence_editor_create().strips
    for number, name in enumerate(NAMES):
        # Films of the same content would count as one source.
        path = disks.write_film(tmp_path / f"{name}.mp4", (disks.WIDTH, disks.HEIGHT - 2 * number))
        strips.new_movie(name, str(path), 1, 1 + 50 * number)
    bpy.context.workspace.sequencer_scene = scene
    return scene


def test_progress_is_that_of_all_films(scene: Any, analyses: list[Any]) -> None:
    steps = [step for step in detect(scene, NAMES, DetectionSettings("fast")) if isinstance(step, Step)]
    assert [step.number for step in steps] == [1, 1, 2, 2, 3, 3] and {step.count for step in steps} == {3}
    assert [step.share for step in steps] == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6])
    assert len(analyses) == 3


@pytest.mark.usefixtures("single_items")
def test_one_queue_goes_through_the_films_and_one_list_has_all_faces(scene: Any) -> None:
    for name in NAMES:
        strip = scene.sequence_editor.strips[name]
        film = Path(bpy.path.abspath(strip.filepath))
        document = build_document(film)
        element = strip.elements[0]
        size = element.orig_width, element.orig_height
        document.source = type(document.source)(
            film.name, "movie", *size, disks.FRAMES, document.source.frame_rate, document.source.fingerprint
        )
        cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    masks = [get_mask(scene.sequence_editor.strips[name]) for name in NAMES]
    assert {(one.mask, one.face.track) for one in list_members(scene)} == {
        (mask.name, track) for mask in masks for track in ("Face 01", "Face 02", "Ignored 01")
    }
    scene.sequence_editor.active_strip = scene.sequence_editor.strips["one"]
    total = queue.count_left(scene)
    assert total == 3 * 4
    bpy.ops.faceblur.review_next()
    seen, kinds = [], []
    for left in range(total, 0, -1):
        strip = scene.sequence_editor.active_strip
        assert queue.count_left(scene) == left
        assert strip.frame_final_start <= scene.frame_current < strip.frame_final_end
        seen.append(strip.name)
        entry = queue.get_current(get_mask(strip))
        assert entry is not None
        kinds.append(entry.key.split()[0])
        bpy.ops.faceblur.review_fine()
    # The films have the same faces, so each kind of item comes three times.
    assert [set(seen[at : at + 3]) for at in range(0, total, 3)] == [set(NAMES)] * 4
    assert [len(set(kinds[at : at + 3])) for at in range(0, total, 3)] == [1] * 4
    assert queue.count_left(scene) == 0
