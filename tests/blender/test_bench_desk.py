# SPDX-License-Identifier: GPL-3.0-or-later
"""The editor of `bench desk` decides by the truth with the operators of the review, in several strips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import pytest

from benchmarks import desk, effort
from benchmarks.effort import HEIGHT, WIDTH, Appearance, Look
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.review import watched
from blender_faceblur.blender.review.queue import count_left
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewItem,
    ReviewReason,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
)

from . import disks

PLANNED = [
    Appearance(0, Look.CLEAR, 0, disks.FRAMES, 150.0, 150.0, 0.0),
    Appearance(1, Look.DIM, 10, 30, 450.0, 150.0, 1.0),
]


def follow(name: str, one: Appearance, shift: float = 0.0) -> Track:
    samples = []
    for frame in range(one.start, one.stop):
        e = effort.place_face(one, frame).ellipse
        samples.append(Sample(frame, Ellipse(e.cx + shift, e.cy, e.rx, e.ry), Evidence.DETECTED, 0.9))
    return Track(name, samples)


def build_document(film: Path) -> TrackDocument:
    """A cover beside its face, a cover of nothing, a face that is not covered, and what is neither of them."""
    document = disks.build_document(film, (WIDTH, HEIGHT))
    beside = follow("Face 01", PLANNED[0], shift=25.0)
    nothing = Track("Face 02", [Sample(f, Ellipse(320, 320, 20, 25), Evidence.DETECTED, 0.4) for f in range(5, 30)])
    missed = follow("Face 03", PLANNED[1])
    other = Track("Face 04", [Sample(f, Ellipse(560, 40, 20, 25), Evidence.DETECTED, 0.4) for f in range(5, 30)])
    for track in (missed, other):
        track.status, track.suppression = TrackStatus.SUPPRESSED, Suppression(SuppressionReason.UNKNOWN)
    document.tracks, document.uncovered = [beside, nothing], [missed, other]
    document.review_items = [
        ReviewItem(0, 4, (100, 100, 200, 200), 0.9, ReviewReason.JUMP, "Face 01"),
        ReviewItem(5, 30, (300, 295, 340, 345), 0.4, ReviewReason.UNLIKELY_FACE, "Face 02"),
    ]
    return document


@pytest.fixture
def films(extension: None, tmp_path: Path) -> dict[str, desk.PlannedFilm]:
    made = []
    for number in (1, 2):
        path = disks.write_film(tmp_path / f"film {number}.mp4", (WIDTH, HEIGHT))
        # Films of the same content would count as one source.
        path.write_bytes(path.read_bytes() + bytes([number]))
        made.append(desk.PlannedFilm(path, PLANNED, disks.FRAMES))
    named = desk.build_timeline(made)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1
    for name, film in named.items():
        strip = scene.sequence_editor.strips[name]
        cover_footage(scene, strip, build_document(film.path), EffectSettings("solid"))
    bpy.context.view_layer.update()
    return named


@pytest.mark.usefixtures("single_items")
def test_the_editor_ends_with_every_face_covered_and_nothing_else(films: dict[str, Any]) -> None:
    before = desk.measure_all(films)
    assert sorted(before.exposed.values()) == [20, 20, disks.FRAMES, disks.FRAMES] and before.phantoms == 2
    editor = desk.Editor(films)
    editor.review()
    after = desk.measure_all(films)
    assert count_left(bpy.context.scene) == 0 and after.phantoms == 0
    # The cover beside its face was dragged at the frames of its item, and moves towards that around it.
    assert sorted(after.exposed.values())[:2] == [0, 0] and max(after.exposed.values()) < disks.FRAMES
    assert editor.done.wrong == [] and editor.done.jumps >= 1
    used = editor.done.by_operator
    assert used["faceblur.review_cover"] == used["faceblur.review_off"] == 2 and used["faceblur.set_cover"] >= 2


@pytest.mark.usefixtures("single_items")
def test_a_wrong_decision_is_counted(films: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_MOST_TRIES", 0)
    editor = desk.Editor(films)
    editor.review()
    assert sorted(editor.done.wrong) == [
        f"{name}: accepted, but {verdict}" for name in sorted(films) for verdict in ("fixed", "off")
    ]


def test_watching_finds_what_no_item_leads_to_and_ends_when_everything_was_watched(films: dict[str, Any]) -> None:
    scene = bpy.context.scene
    for name in films:
        mask = get_mask(scene.sequence_editor.strips_all[name])

        def forget(document: TrackDocument) -> list[str]:
            """Nothing was ever found of the second face."""
            document.tracks, document.uncovered, document.review_items = [follow("Face 01", PLANNED[0])], [], []
            return ["Face 01", "Face 02"]

        change_tracks(mask, forget)
    assert sorted(desk.measure_all(films).exposed.values()) == [0, 0, 20, 20]
    editor = desk.Editor(films)
    editor.watch()
    length = 2 * disks.FRAMES / 24
    assert editor.done.noticed == editor.done.by_operator["faceblur.add"] >= 2
    assert max(desk.measure_all(films).exposed.values()) < 20
    assert length / 2 <= editor.done.watched_s < 2 * length, "the changed parts are watched again"
    assert not watched.compute_scene_watch(scene).unwatched.any()
