# SPDX-License-Identifier: GPL-3.0-or-later
"""The effect chosen in the tab shows at once on covered strips, and none of them is ever without a cover."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.blender.common.marks import BAKED, get_modifier
from blender_faceblur.blender.cover import covering
from blender_faceblur.blender.cover.compositing import build_strip_group
from blender_faceblur.blender.cover.covering import put_cover, read_effect
from blender_faceblur.blender.cover.nodes import hash_structure
from blender_faceblur.blender.cover.strips import CoverBatch, cover_together, get_mask
from blender_faceblur.blender.guard.checks import check_scene
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import TrackDocument

from . import disks

EFFECT = EffectSettings("solid", disks.COVER)


@pytest.fixture
def scene(extension: None, film: Path) -> Any:
    """A covered strip, whose scene has the same settings."""
    scene = build_project(film, disks.build_document(film), EFFECT)
    scene.faceblur.effect, scene.faceblur.color = "solid", (0.0, 0.0, 1.0)
    bpy.context.workspace.sequencer_scene = scene
    return scene


def add_covered(scene: Any, film: Path, count: int) -> list[Any]:
    """Further strips of the film, each with a cover of its own."""
    mask = get_mask(scene.sequence_editor.strips["disk"])
    document = load_document(mask)
    added = []
    with cover_together(scene) as batch:
        for number in range(count):
            start = 1 + (number + 1) * (disks.FRAMES + 1)
            strip = scene.sequence_editor.strips.new_movie(f"more {number}", str(film), 1, start)
            put_cover(scene, strip, mask, EFFECT, document, batch)
            added.append(strip.name)
    return [scene.sequence_editor.strips[name] for name in added]


def select(scene: Any, *strips: Any) -> None:
    for strip in scene.sequence_editor.strips_all:
        strip.select = strip in strips


def render(scene: Any, frame: int, path: Path) -> NDArray[np.uint8]:
    """A still render that may use whatever the sequencer has cached."""
    import cv2

    scene.frame_set(frame)
    scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True, scene=scene.name)
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def differ(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """The number of pixels in which two pictures differ. One may be the last of the buffer: see `Sight.all_covered`."""
    return int((one != other).any(axis=2).sum())


def list_numbers(tree: Any) -> list[Any]:
    """The structure of a strip's group, and the values and groups of the groups inside it."""
    inside = sorted(
        (
            node.node_tree.name,
            [
                (socket.name, np.round(np.array(socket.default_value), 6).tolist())
                for socket in node.inputs
                if hasattr(socket, "default_value") and not socket.is_linked
            ],
        )
        for node in tree.nodes
        if node.bl_idname == "CompositorNodeGroup"
    )
    return [hash_structure(tree), inside]


@pytest.mark.parametrize("kind", ["mosaic", "blur", "gaussian", "erase", "image", "solid"])
@pytest.mark.parametrize("inverse", [False, True])
def test_a_strip_has_the_group_that_update_would_build(scene: Any, kind: str, inverse: bool) -> None:
    strip = scene.sequence_editor.strips["disk"]
    scene.faceblur.color, scene.faceblur.inverse = (1.0, 0.0, 0.0), inverse
    scene.faceblur.samples_across = 3.0
    scene.faceblur.effect = kind
    live = list_numbers(get_modifier(strip).node_group)
    groups = len(bpy.data.node_groups)
    bpy.ops.faceblur.apply()
    assert list_numbers(get_modifier(strip).node_group) == live
    assert len(bpy.data.node_groups) == groups, "groups that no strip uses are removed"
    assert read_effect(strip) == EffectSettings(kind, "FF0000", 3.0, "", inverse)
    assert check_scene(scene) == []


def test_a_picture_that_was_shown_before_has_the_new_effect(scene: Any, tmp_path: Path) -> None:
    before = render(scene, 10, tmp_path / "before.png")
    assert disks.see(before).cover > 900 and disks.see(before).disk == 0
    scene.faceblur.color = (0.0, 1.0, 0.0)
    after = render(scene, 10, tmp_path / "after.png")
    assert disks.see(after).cover == 0 and disks.see(after).disk == 0
    fresh = disks.render_frame(scene, 10, tmp_path / "fresh.png")
    assert differ(after, fresh) <= 1
    scene.faceblur.effect = "mosaic"
    mosaic = render(scene, 10, tmp_path / "mosaic.png")
    assert differ(mosaic, disks.render_frame(scene, 10, tmp_path / "fresh mosaic.png")) <= 1
    assert differ(mosaic, after) > 100


def test_a_strip_is_never_without_its_cover(scene: Any, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a modifier gets is complete at that moment, and no modifier is off in between."""
    add_covered(scene, film, 2)
    select(scene)
    seen = []
    set_group = CoverBatch.set_group

    def watch(self: CoverBatch, modifier: Any, group: Any) -> None:
        seen.append(list_numbers(group))
        assert check_scene(scene) == []
        set_group(self, modifier, group)
        assert check_scene(scene) == []

    monkeypatch.setattr(CoverBatch, "set_group", watch)
    scene.faceblur.effect = "mosaic"
    assert len(seen) == 3
    assert all(
        list_numbers(get_modifier(s).node_group) == seen[0] for s in scene.sequence_editor.strips if s.type == "MOVIE"
    )


def test_the_selected_strips_change_and_all_if_no_footage_is_selected(scene: Any, film: Path) -> None:
    first = scene.sequence_editor.strips["disk"]
    second, third = add_covered(scene, film, 2)
    bare = scene.sequence_editor.strips.new_movie("bare", str(film), 9, 1)

    def read() -> list[str]:
        return [effect.kind for effect in map(read_effect, (first, second, third)) if effect is not None]

    select(scene, second)
    scene.faceblur.effect = "mosaic"
    assert read() == ["solid", "mosaic", "solid"]
    select(scene, bare)
    scene.faceblur.effect = "blur"
    assert read() == ["solid", "mosaic", "solid"], "a strip without a cover is selected, and not what has one"
    select(scene)
    scene.faceblur.effect = "erase"
    assert read() == ["erase"] * 3
    assert get_modifier(bare) is None


def test_halves_of_a_cut_strip_can_have_different_effects(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    disks.operate(scene, bpy.ops.sequencer.split, strip, frame=20)
    left, right = sorted(
        (s for s in scene.sequence_editor.strips if s.type == "MOVIE"), key=lambda s: s.frame_final_start
    )
    assert get_modifier(left).node_group == get_modifier(right).node_group
    select(scene, right)
    scene.faceblur.effect = "mosaic"
    assert [read_effect(s).kind for s in (left, right)] == ["solid", "mosaic"]  # type: ignore[union-attr]
    select(scene)
    scene.faceblur.effect = "blur"
    assert get_modifier(left).node_group == get_modifier(right).node_group
    assert [read_effect(s).kind for s in (left, right)] == ["blur", "blur"]  # type: ignore[union-attr]
    assert check_scene(scene) == []


def test_a_group_that_unbake_needs_stays(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    disks.operate(scene, bpy.ops.sequencer.split, strip, frame=20)
    left, right = sorted(
        (s for s in scene.sequence_editor.strips if s.type == "MOVIE"), key=lambda s: s.frame_final_start
    )
    group = get_modifier(left).node_group
    modifier = get_modifier(left)
    # Removing a modifier does not decrease its group's user count.
    modifier.node_group = None
    left.modifiers.remove(modifier)
    left[BAKED] = {"group": group}
    select(scene)
    scene.faceblur.effect = "mosaic"
    assert left[BAKED]["group"] == group and get_modifier(right).node_group != group
    assert get_modifier(left) is None


def test_a_strip_whose_mask_is_lost_keeps_its_cover(scene: Any) -> None:
    strip = scene.sequence_editor.strips["disk"]
    modifier = get_modifier(strip)
    group, modifier.input_mask_strip = modifier.node_group, None
    scene.faceblur.effect = "mosaic"
    assert modifier.node_group == group


def test_the_width_of_the_largest_face_follows_every_change(scene: Any) -> None:
    """It is never read from an outdated document, and a record of an earlier version has the document read."""
    mask = get_mask(scene.sequence_editor.strips["disk"])
    assert MaskRecord.load(mask).widest_px == 2 * disks.RADIUS

    def widen(document: TrackDocument) -> set[str]:
        track = document.tracks[0]
        track.samples[:] = [replace(s, ellipse=replace(s.ellipse, rx=50.0)) for s in track.samples]
        return {track.name}

    from blender_faceblur.blender.masks.changes import change_tracks

    change_tracks(mask, widen)
    assert MaskRecord.load(mask).widest_px == 100.0
    assert covering.get_picture_numbers(mask)[2] == covering.compute_largest_face_px(load_document(mask)) == 100.0
    del mask["faceblur"]["widest_px"]
    assert MaskRecord.load(mask).widest_px == 0.0
    assert covering.get_picture_numbers(mask)[2] == 100.0


def test_an_undo_step_takes_back_setting_and_effect_together(scene: Any) -> None:
    bpy.ops.ed.undo_push(message="before")
    # As while a slider is dragged: many values, and one step when it is let go.
    for samples in (5.0, 4.0, 3.0):
        scene.faceblur.effect, scene.faceblur.samples_across = "mosaic", samples
    bpy.ops.ed.undo_push(message="Samples per Face")
    bpy.ops.ed.undo()
    scene = bpy.context.workspace.sequencer_scene
    strip = scene.sequence_editor.strips["disk"]
    assert scene.faceblur.effect == "solid" and read_effect(strip) == EFFECT
    assert check_scene(scene) == []
    bpy.ops.ed.redo()
    scene = bpy.context.workspace.sequencer_scene
    strip = scene.sequence_editor.strips["disk"]
    assert scene.faceblur.effect == "mosaic"
    assert read_effect(strip) == EffectSettings("mosaic", disks.COVER, 3.0)
    assert check_scene(scene) == []


def test_fifty_strips_change_without_reading_their_documents(
    scene: Any, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_covered(scene, film, 49)
    select(scene)

    def refuse(mask: Any) -> None:
        raise AssertionError("a document was read")

    monkeypatch.setattr(covering, "load_document", refuse)
    spent = []
    for kind in ("mosaic", "blur", "solid"):
        began = time.process_time()
        scene.faceblur.effect = kind
        spent.append(time.process_time() - began)
    print(f"seconds for 50 strips: {spent}")
    assert all(read_effect(s).kind == "solid" for s in scene.sequence_editor.strips if s.type == "MOVIE")  # type: ignore[union-attr]
    began = time.process_time()
    for number in range(50):
        build_strip_group(f"{number}", (disks.WIDTH, disks.HEIGHT), 320.0, 40.0, replace(EFFECT, kind="mosaic"))
    built = time.process_time() - began
    assert min(spent) < built, "copies are cheaper than groups built anew"
