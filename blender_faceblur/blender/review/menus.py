# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu of the review."""

from __future__ import annotations

import bpy


class FACEBLUR_MT_review(bpy.types.Menu):
    bl_label = "Review"

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.operator("faceblur.review")
        for name in ("next", "previous", "fine", "fix", "off", "cover"):
            self.layout.operator(f"faceblur.review_{name}")
        self.layout.operator("faceblur.watch_next")
