# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of bench soak that works on a project, with few strips."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks import soak
from blender_faceblur.blender.cover.issues import SpeedSources
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.guard import node_groups


def test_a_project_of_many_strips_is_covered_and_checked(tmp_path: Path) -> None:
    assert soak.soak_project(24, tmp_path) == []
    assert {"Check", "Update of all strips", "the guard before a render"} <= soak.STEPS.keys()


def test_a_check_compares_no_strip_with_all_others(
    tmp_path: Path, extension: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two thousand strips, that would take minutes."""
    import bpy

    assert soak.build_long_project(9, tmp_path) == []
    calls = {"groups": 0, "sources": 0}
    find, explain = SpeedSources.find, node_groups.explain_broken_nodes

    def count_sources(scene: bpy.types.Scene) -> SpeedSources:
        calls["sources"] += 1
        return find(scene)

    def count_groups(group: bpy.types.NodeTree) -> str:
        calls["groups"] += 1
        return explain(group)

    monkeypatch.setattr(SpeedSources, "find", count_sources)
    monkeypatch.setattr(node_groups, "explain_broken_nodes", count_groups)
    assert guard.check_scene(bpy.context.scene) == []
    # The strips of one film share a group, and the two inside it.
    assert calls == {"groups": 1 + 2, "sources": 1}


FEW, MANY = 10, 40


def count_lines(work: Callable[[], object]) -> int:
    """How many lines of Python `work` runs; a measure of its length that does not depend on the machine."""
    lines = 0

    def trace(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def count_work_a_strip(number: int, folder: Path) -> dict[str, float]:
    """The lines that each step on a project of many strips runs for each of them."""
    import bpy

    from blender_faceblur.blender.cover import covering

    folder.mkdir()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    applied: list[tuple[Any, ...]] = []
    apply_analysis = covering.apply_analysis

    def put_off(*args: Any) -> list[str]:
        applied.append(args)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covering, "apply_analysis", put_off)
        soak.build_long_project(number, folder)
    scene = bpy.context.scene
    steps: dict[str, Callable[[], object]] = {
        "cover": lambda: [apply_analysis(*args) for args in applied],
        "Check": lambda: guard.check_animation(scene),
        "Update": bpy.ops.faceblur.apply,
        "Remove": bpy.ops.faceblur.remove,
    }
    counts = {}
    for name, work in steps.items():
        for strip in scene.sequence_editor.strips_all:
            strip.select = strip.type == "MOVIE"
        counts[name] = count_lines(work) / number
    assert not [strip for strip in scene.sequence_editor.strips_all if strip.type == "MASK"]
    return counts


def test_no_strip_takes_longer_because_there_are_many(tmp_path: Path, extension: None) -> None:
    """One line of Python for each pair of strips would be 30 more a strip."""
    few, many = (count_work_a_strip(number, tmp_path / str(number)) for number in (FEW, MANY))
    assert min(few.values()) > 50, "nothing was done"
    assert {name: many[name] - few[name] for name in few if many[name] - few[name] >= (MANY - FEW) / 2} == {}


def test_blender_evaluates_the_scene_equally_often_however_many_strips_are_covered(
    tmp_path: Path, extension: None
) -> None:
    """Before and after each operator it does so, which takes tens of milliseconds with two thousand strips."""
    import bpy

    counts = []
    for number in (FEW, MANY):
        folder = tmp_path / str(number)
        folder.mkdir()
        bpy.ops.wm.read_factory_settings(use_empty=True)
        evaluated: list[str] = []
        scene_name = bpy.context.scene.name

        def note(scene: Any, _: Any, evaluated: list[str] = evaluated) -> None:
            evaluated.append(scene.name)

        # Opening a file removes all other handlers.
        bpy.app.handlers.persistent(note)
        bpy.app.handlers.depsgraph_update_post.append(note)
        try:
            assert soak.build_long_project(number, folder) == []
        finally:
            bpy.app.handlers.depsgraph_update_post.remove(note)
        counts.append(evaluated.count(scene_name))
    assert counts[0] == counts[1] > 0


def test_strips_of_one_film_share_a_group_that_keeps_its_name(tmp_path: Path, extension: None) -> None:
    """Blender takes the longer for each group, and for each change of a strip after it, the more groups there are."""
    import bpy

    assert soak.build_long_project(FEW, tmp_path) == []
    strips = bpy.context.scene.sequence_editor.strips_all
    for strip in strips:
        strip.select = strip.type == "MOVIE"
    for _ in range(2):
        (before,) = {strip.modifiers[0].node_group for strip in strips if strip.type == "MOVIE"}
        assert before.name == "Face Blur: Strip 0"
        uid = before.session_uid
        assert bpy.ops.faceblur.apply() == {"FINISHED"}
        assert uid not in {group.session_uid for group in bpy.data.node_groups}
    bpy.context.scene.faceblur.effect = "mosaic"
    (after,) = {strip.modifiers[0].node_group for strip in strips if strip.type == "MOVIE"}
    assert after.name == "Face Blur: Strip 0"


def test_groups_of_strips_with_one_effect_are_built_once_and_copied(
    extension: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blender takes the longer for each node that is added, the more groups there are."""
    import bpy

    from blender_faceblur.blender.cover import compositing
    from blender_faceblur.core.cover.effects import EffectSettings

    built: list[str] = []
    build = compositing.build_strip_group

    def note(name: str, *args: Any) -> bpy.types.NodeTree:
        built.append(name)
        return build(name, *args)

    monkeypatch.setattr(compositing, "build_strip_group", note)
    groups = compositing.StripGroups(EffectSettings("blur"))
    masks = [bpy.data.masks.new(name) for name in "ab"]
    first, second, third = (
        groups.ensure(name, mask, (320, 180), unit_px, 40.0, has_alpha=False)
        for name, mask, unit_px in (("a", masks[0], 320.0), ("b", masks[1], 160.0), ("c", masks[1], 160.0))
    )
    assert built == ["a"] and second == third != first
    assert [group[compositing.MASK_MARK] for group in (first, second)] == masks
    units = [
        node.inputs["Unit"].default_value for group in (first, second) for node in group.nodes if "Unit" in node.inputs
    ]
    assert units == [1.0, 0.5]
