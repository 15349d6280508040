# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences offer: forget what is stored, and see where detectors can run."""

from __future__ import annotations

import bpy

from ...core.types import FaceBlurError
from ...files.paths import stored_analyses
from ...files.storage import forget_all
from ...worker.client import describe_provider, probe_providers
from ..common.jobs import JOB
from ..common.selection import is_busy, refuse
from .properties import get_preferences


class FACEBLUR_OT_forget_analyses(bpy.types.Operator):
    """Delete the stored analyses of films. Projects keep what they hold; detecting again takes its full time"""

    bl_idname = "faceblur.forget_analyses"
    bl_label = "Forget Analyses"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        return stored_analyses() is not None or refuse(cls, "Nothing is stored")

    def execute(self, context: bpy.types.Context) -> set[str]:
        forgotten = forget_all(stored_analyses())
        self.report({"INFO"}, f"{forgotten} stored files forgotten")
        return {"FINISHED"}


class FACEBLUR_OT_find_provider(bpy.types.Operator):
    """Ask ONNX Runtime, in a process of its own, where the detectors can run"""

    bl_idname = "faceblur.find_provider"
    bl_label = "Find Out"
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
