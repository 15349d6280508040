# SPDX-License-Identifier: GPL-3.0-or-later
"""Render to Footage: what a strip shows becomes a film, in which faces can be detected."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...common.context import get_sequencer_scene
from ...common.job_operator import JobOperator, JobSteps
from ...common.selection import is_busy, refuse
from ..render_to_footage import RenderOrder, ask, put_in_place, render_alone


class FACEBLUR_OT_render_to_footage(JobOperator, bpy.types.Operator):
    """Make a film of what the active strip shows, and put it in its place, so that faces can be detected in it: for
    scenes, meta strips, and strips under effects. It lies beside the project, uncovered. ESC cancels"""

    bl_idname = "faceblur.render_to_footage"
    bl_label = "Render to Footage"
    cancelled = "Rendering cancelled; nothing was changed"
    level = "WARNING"

    _asked: RenderOrder | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = get_sequencer_scene(context)
        strip = scene.sequence_editor.active_strip if scene is not None else None
        if strip is None or strip.type in ("SOUND", "MASK"):
            return refuse(cls, "Make a strip active that shows a picture")
        return bool(bpy.data.filepath) or refuse(cls, "Save the project first: the film is put beside it")

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        scene = get_sequencer_scene(context)
        self._asked = ask(scene, scene.sequence_editor.active_strip)
        return render_alone(self._asked, wait_s)

    def finish(self, context: bpy.types.Context, result: Path) -> tuple[str, list[str]]:
        assert self._asked is not None
        scene = bpy.data.scenes.get(self._asked.scene)
        if scene is None:
            return "", [f"The scene '{self._asked.scene}' is gone; {result} was made for it."]
        put_in_place(scene, self._asked, result)
        return f"{result.name} shows its faces and is black in renders until they are detected", []
