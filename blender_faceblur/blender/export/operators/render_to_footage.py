# SPDX-License-Identifier: GPL-3.0-or-later
"""Render to Footage: turn a strip into a film in which faces can be detected."""

from __future__ import annotations

from pathlib import Path

import bpy

from ....core.translation import translate
from ...common.context import get_sequencer_scene
from ...common.job_operator import JobOperator, JobSteps
from ...common.selection import is_busy, refuse
from ..render_to_footage import RenderOrder, make_order, put_in_place, render_alone


class FACEBLUR_OT_render_to_footage(JobOperator, bpy.types.Operator):
    """Render the active scene, meta strip or strip with effects to a film and put that in its place, so that faces can
    be detected in it. The uncovered film is stored beside the project. ESC cancels"""

    bl_idname = "faceblur.render_to_footage"
    bl_label = "Render to Footage"
    cancelled = "Rendering cancelled; nothing was changed"
    level = "WARNING"

    _order: RenderOrder | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = get_sequencer_scene(context)
        strip = scene.sequence_editor.active_strip if scene is not None else None
        if strip is None or strip.type in ("SOUND", "MASK"):
            return refuse(cls, "Select a strip that shows a picture")
        return bool(bpy.data.filepath) or refuse(cls, "Save the project first. The film is stored beside it")

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        scene = get_sequencer_scene(context)
        self._order = make_order(scene, scene.sequence_editor.active_strip)
        return render_alone(self._order, wait_s)

    def finish(self, context: bpy.types.Context, result: Path) -> tuple[str, list[str]]:
        assert self._order is not None
        scene = bpy.data.scenes.get(self._order.scene)
        if scene is None:
            return "", [
                translate(
                    "The scene '{scene}' was deleted. Its footage is in {result}.",
                    scene=self._order.scene,
                    result=result,
                )
            ]
        put_in_place(scene, self._order, result)
        return translate(
            "{name} is not covered, and black in renders until its faces are detected", name=result.name
        ), []
