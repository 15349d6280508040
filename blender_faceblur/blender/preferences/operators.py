# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators in the preferences: delete stored analyses, and show which hardware the detectors can use."""

from __future__ import annotations

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from ...files.paths import get_stored_analyses_folder
from ...files.storage import forget_all
from ...worker.client import describe_provider, probe_providers
from ..common.jobs import JOB
from ..common.selection import is_busy, refuse
from .properties import get_preferences


class FACEBLUR_OT_forget_analyses(bpy.types.Operator):
    """Delete the stored analyses of films. Projects keep their faces, but detecting again takes the full time"""

    bl_idname = "faceblur.forget_analyses"
    bl_label = "Forget Analyses"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        return get_stored_analyses_folder() is not None or refuse(cls, "No analyses are stored")

    def execute(self, context: bpy.types.Context) -> set[str]:
        forgotten = forget_all(get_stored_analyses_folder())
        self.report({"INFO"}, translate("Stored files deleted: {forgotten}", forgotten=forgotten))
        return {"FINISHED"}


class FACEBLUR_OT_find_provider(bpy.types.Operator):
    """Ask ONNX Runtime, in a separate process, which hardware the detectors can use"""

    bl_idname = "faceblur.find_provider"
    bl_label = "Check Hardware"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        preferences = get_preferences()
        try:
            provider = describe_provider(probe_providers(), preferences.provider if preferences else "auto")
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        JOB.provider = provider
        return {"FINISHED"}
