# SPDX-License-Identifier: GPL-3.0-or-later
"""The "Face Blur" tab in the sidebar of sequencer and preview."""

from __future__ import annotations

import bpy

from ...core.cover.strength import rate_effect
from ...core.translation import translate
from ...core.types import FaceBlurError
from ..common.context import get_sequencer_scene
from ..common.jobs import JOB, describe_blackened, describe_step
from ..common.marks import BAKED
from ..common.panels import Tab, write_lines
from ..common.selection import get_active_footage
from ..masks.record import MaskRecord
from .covering import read_effect
from .strips import get_mask


class FACEBLUR_PT_main(Tab, bpy.types.Panel):
    bl_label = "Face Blur"
    guide = "editing"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        if bpy.ops.faceblur.open_workspace.poll():
            self.layout.operator("faceblur.open_workspace", text="", icon="WORKSPACE", emboss=False)
        super().draw_header_preset(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene = get_sequencer_scene(context)
        if scene is None:
            layout.label(text="Add a film to the sequencer", icon="INFO")
            layout.operator("faceblur.open_workspace", icon="WORKSPACE")
            return
        settings = scene.faceblur
        row = layout.row(align=True)
        row.scale_y = 1.2
        if JOB.active:
            # It takes the button's place, so that a double click on the button does nothing.
            step = JOB.step
            row.progress(
                factor=step.share if step is not None else 0.0,
                text=f"{100 * step.share:.0f} %" if step is not None else translate("Starting"),
            )
            write_lines(layout, context, describe_step(step))
            layout.operator("faceblur.cancel", icon="X")
            return
        row.operator("faceblur.detect", icon="VIEWZOOM")
        row.prop(settings, "preset", text="")
        row.operator("faceblur.remove", text="", icon="TRASH")
        column = layout.column()
        row = column.row(align=True)
        row.prop(settings, "effect", text="")
        if settings.effect in ("solid", "image"):
            row.prop(settings, "color", text="")
        elif settings.effect != "erase":
            row.prop(settings, "samples_across", text="")
        row.prop(settings, "inverse", text="", icon="ARROW_LEFTRIGHT")
        row.operator("faceblur.apply", text="", icon="FILE_REFRESH")
        if settings.effect == "image":
            column.template_ID(settings, "image", open="image.open")
        strip = get_active_footage(context)
        _explain_effect(layout, context, strip)


class FACEBLUR_PT_messages(Tab, bpy.types.Panel):
    """What the last job has done, its problems and notes, and the notes about the active strip's source."""

    bl_label = "Messages"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 9

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_list_notes(context) or JOB.problems or JOB.blackened or JOB.done)

    def draw(self, context: bpy.types.Context) -> None:
        if JOB.done:
            write_lines(self.layout, context, JOB.done, "CHECKMARK")
        for problem in [*JOB.problems, *map(describe_blackened, JOB.blackened)]:
            write_lines(self.layout, context, problem, "ERROR")
        for note in _list_notes(context):
            write_lines(self.layout, context, note, "INFO")


def _explain_effect(layout: bpy.types.UILayout, context: bpy.types.Context, strip: bpy.types.Strip | None) -> None:
    """Say why the active strip's effect is weak, according to measurements."""
    if strip is None or BAKED in strip:
        # The list of faces says that the strip is baked.
        return
    applied = read_effect(strip)
    if applied is None:
        return
    try:
        verdict = rate_effect(applied.kind, applied.samples_across)
    except FaceBlurError:
        # The cover was made by another version of the extension.
        return
    if not verdict.is_strong:
        write_lines(layout, context, f"The cover is weak. {verdict.reason}", "ERROR")


def _list_notes(context: bpy.types.Context) -> list[str]:
    mask = get_mask(get_active_footage(context))
    notes = MaskRecord.load(mask).notes if mask is not None else []
    return list(dict.fromkeys([*notes, *JOB.notes]))
