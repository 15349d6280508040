# SPDX-License-Identifier: GPL-3.0-or-later
"""The question marks in panels, which open the bundled guide."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ...core.types import FaceBlurError
from ...files.paths import get_page_path


class FACEBLUR_OT_guide(bpy.types.Operator):
    """Open the guide in the browser. It is bundled with Face Blur and needs no network"""

    bl_idname = "faceblur.guide"
    bl_label = "Guide"
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
