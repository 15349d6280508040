# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel that chooses what to detect, and the lines about new footage at the end of the tab."""

from __future__ import annotations

from typing import ClassVar

import bpy

from ...core.tracking.objects import OBJECT_CLASSES, ObjectClass
from ...core.translation import CONTEXT, translate
from ...core.types import FaceBlurError
from ...files.paths import MODELS_VARIABLE, check_models, list_models
from ..common.context import get_sequencer_scene
from ..common.jobs import JOB, describe_step
from ..common.panels import Tab, write_lines
from .new_footage import get_waiting, is_allowed, was_tried

_MOST_NAMED = 3


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
        layout.prop(settings, "must_be_covered")
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
    if not is_wanted:
        words = translate(
            "Needs {file} ({bytes:.1f} MB), see the guide", file=model.used.file, bytes=model.used.bytes / 1e6
        )
        write_lines(layout, context, words, "INFO")
        return
    words = settings.bl_rna.properties[wanted].name
    write_lines(
        layout,
        context,
        translate("{words} cannot be detected: {problem}", words=words, problem=problem),
        "ERROR",
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


def draw_new_footage(panel: bpy.types.Panel, context: bpy.types.Context) -> None:
    """Say which footage is not detected yet, and what is done about it."""
    scene, layout = get_sequencer_scene(context), panel.layout
    if scene is None:
        return
    if JOB.in_background:
        step = JOB.step
        row = layout.row(align=True)
        row.progress(factor=step.share if step is not None else 0.0, text=translate("Detecting new footage"))
        row.operator("faceblur.cancel", text="", icon="X")
        write_lines(layout, context, describe_step(step))
    waiting = get_waiting(scene)
    failed = [strip.name for strip in waiting if was_tried(strip)] if not JOB.in_background else []
    if failed:
        words = translate("Not detected: {strips}. Use Detect Faces", strips=_list_names(failed))
        write_lines(layout, context, words, "ERROR")
    left = [strip.name for strip in waiting if not was_tried(strip)]
    if not left:
        return
    words = translate("Waiting for detection: {strips}", strips=_list_names(left))
    write_lines(layout, context, words, "TIME")
    if not is_allowed(scene):
        layout.operator("faceblur.allow_detection", icon="PLAY")


def _list_names(names: list[str]) -> str:
    shown, left = ", ".join(names[:_MOST_NAMED]), len(names) - _MOST_NAMED
    return translate("{names} and {count} more", names=shown, count=left) if left > 0 else shown


def add_new_footage() -> None:
    bpy.types.FACEBLUR_PT_main.append(draw_new_footage)


def remove_new_footage() -> None:
    bpy.types.FACEBLUR_PT_main.remove(draw_new_footage)
