# SPDX-License-Identifier: GPL-3.0-or-later
"""The question marks in panels, which open the bundled guide, and messages of work that ended without an operator."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import StringProperty

from ...core.types import FaceBlurError
from ...files.paths import get_page_path


class FACEBLUR_OT_guide(bpy.types.Operator):
    """Open the guide in the browser. It is bundled with Face Blur and needs no network"""

    bl_idname = "faceblur.guide"
    bl_label = "Open Guide"
    bl_options = {"INTERNAL"}

    page: StringProperty(name="Page", default="editing", description="Name of the page, and after # the heading")

    def execute(self, context: bpy.types.Context) -> set[str]:
        name, _, heading = self.page.partition("#")
        try:
            page = get_page_path(name)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if page.suffix == ".html":
            return set(bpy.ops.wm.url_open(url=page.as_uri() + (f"#{heading}" if heading else "")))
        return set(bpy.ops.wm.path_open(filepath=str(page)))


class FACEBLUR_OT_announce(bpy.types.Operator):
    """Show a message in the status bar"""

    bl_idname = "faceblur.announce"
    bl_label = "Announce"
    bl_options = {"INTERNAL"}

    message: StringProperty(name="Message", options={"SKIP_SAVE"}, description="The message to show")
    level: StringProperty(name="Level", default="INFO", options={"SKIP_SAVE"}, description="INFO or WARNING")

    _timer: Any = None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        self.cancel(context)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        self.report({self.level}, self.message)
        return {"FINISHED"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender also calls this when a file is opened or the window is closed meanwhile."""
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
