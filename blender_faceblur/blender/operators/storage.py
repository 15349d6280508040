# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences offer: forget what is stored, and see where detectors can run."""

from __future__ import annotations

import bpy

from ...core.types import FaceBlurError
from ...paths import user_folder
from ...storage import forget_analyses
from ...worker.client import probe_providers
from ..preferences import show_providers
from .selection import is_busy, refuse


class FACEBLUR_OT_forget_analyses(bpy.types.Operator):
    """Delete the stored analyses of films. Projects keep what they hold; detecting again takes its full time"""

    bl_idname = "faceblur.forget_analyses"
    bl_label = "Forget Analyses"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        return user_folder() is not None or refuse(cls, "Nothing is stored")

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = user_folder()
        count = forget_analyses(folder) if folder is not None else 0
        self.report({"INFO"}, f"{count} analyses forgotten")
        return {"FINISHED"}


class FACEBLUR_OT_list_providers(bpy.types.Operator):
    """Ask ONNX Runtime, in a process of its own, where the detectors can run"""

    bl_idname = "faceblur.list_providers"
    bl_label = "Find"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            names = probe_providers()
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        show_providers([name.removesuffix("ExecutionProvider") for name in names])
        return {"FINISHED"}
