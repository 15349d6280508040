# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of bench soak that works on a project, with few strips."""

from __future__ import annotations

from pathlib import Path

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
    # Each strip has a group of its own; the two inside are shared.
    assert calls == {"groups": 9 + 2, "sources": 1}
