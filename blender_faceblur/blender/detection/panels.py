# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel that chooses what to detect."""

from __future__ import annotations

from typing import ClassVar

import bpy

from ...core.tracking.objects import OBJECT_CLASSES, ObjectClass
from ...core.translation import CONTEXT, translate
from ...core.types import FaceBlurError
from ...files.paths import MODELS_VARIABLE, check_models, list_models
from ..common.context import get_sequencer_scene
from ..common.jobs import JOB
from ..common.panels import Tab, write_lines


class FACEBLUR_PT_classes(Tab, bpy.types.Panel):
    bl_label = "Detection Settings"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 8
    bl_options: ClassVar = {"DEFAULT_CLOSED"}
    guide = "people#number-plates"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = get_sequencer_scene(context).faceblur
        column = layout.column()
        column.enabled = not JOB.active
        row = column.row(align=True)
        row.prop(settings, "expansion")
        row.prop(settings, "whole_head", text="", icon="USER")
        # Faces are always detected: a strip that was not analysed for faces must not appear to be covered.
        faces = column.row()
        faces.enabled = False
        faces.label(text="Faces", text_ctxt=CONTEXT, icon="CHECKBOX_HLT")
        for one in OBJECT_CLASSES:
            _draw_class(layout, context, one)
        if JOB.provider:
            layout.label(text=translate("Detectors ran on: {provider}", provider=JOB.provider))


def _draw_class(layout: bpy.types.UILayout, context: bpy.types.Context, one: ObjectClass) -> None:
    """The property of a class of objects, and what to know about its detector."""
    settings, wanted = get_sequencer_scene(context).faceblur, f"find_{one.name}"
    problem, is_wanted = explain_missing_weights(one), getattr(settings, wanted)
    row = layout.row()
    row.enabled = not JOB.active and (not problem or is_wanted)
    row.prop(settings, wanted)
    if not problem:
        if is_wanted:
            write_lines(layout, context, one.note, "INFO")
        return
    (name,) = one.list_weights()
    model = list_models()[name]
    words = settings.bl_rna.properties[wanted].name
    write_lines(
        layout,
        context,
        translate("{words} cannot be detected: {problem}", words=words, problem=problem),
        "ERROR" if is_wanted else "INFO",
    )
    write_lines(
        layout,
        context,
        translate(
            "Put {file} ({licence}, {bytes:.1f} MB) into the folder that the environment variable {models_variable} "
            "names. The guide (question mark) says how to get it",
            file=model.used.file,
            licence=model.licence,
            bytes=model.used.bytes / 1000000.0,
            models_variable=MODELS_VARIABLE,
        ),
    )
    layout.operator("wm.url_open", text="Open Its Source", icon="URL").url = model.url or model.origin


def explain_missing_weights(one: ObjectClass) -> str:
    """Why a class of objects cannot be detected; empty if it can."""
    try:
        check_models(one.list_weights())
    except FaceBlurError as error:
        return str(error)
    return ""
