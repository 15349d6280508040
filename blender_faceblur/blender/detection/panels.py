# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel that chooses what to detect."""

from __future__ import annotations

from typing import ClassVar

import bpy

from ...core.tracking.plates import NOTE, list_weights
from ...core.types import FaceBlurError
from ...files.paths import MODELS_VARIABLE, check_models, list_models
from ..common.context import get_sequencer_scene
from ..common.jobs import JOB
from ..common.panels import Tab, write_lines


class FACEBLUR_PT_classes(Tab, bpy.types.Panel):
    bl_label = "What to Detect"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 8
    bl_options: ClassVar = {"DEFAULT_CLOSED"}
    guide = "people#number-plates"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, get_sequencer_scene(context).faceblur
        column = layout.column()
        column.enabled = not JOB.active
        # Faces are always detected: a strip that was not analysed for faces must not appear to be covered.
        faces = column.row()
        faces.enabled = False
        faces.label(text="Faces", icon="CHECKBOX_HLT")
        problem = explain_missing_plates()
        plates = column.row()
        plates.enabled = not problem or settings.find_plates
        plates.prop(settings, "find_plates")
        if not problem:
            if settings.find_plates:
                write_lines(layout, context, NOTE, "INFO")
            return
        (name,) = list_weights()
        model = list_models()[name]
        write_lines(
            layout,
            context,
            f"Number plates cannot be detected: {problem}",
            "ERROR" if settings.find_plates else "INFO",
        )
        made = f", which `build.py models {name}` makes in a checkout" if model.converted else ""
        write_lines(
            layout,
            context,
            f"Put {model.used.file} ({model.licence}, {model.used.bytes / 1e6:.1f} MB){made}, into the folder that the "
            f"environment variable {MODELS_VARIABLE} names",
        )
        layout.operator("wm.url_open", text="Open Its Source", icon="URL").url = model.url or model.origin


def explain_missing_plates() -> str:
    """Why number plates cannot be detected; empty if they can."""
    try:
        check_models(list_weights())
    except FaceBlurError as error:
        return str(error)
    return ""
