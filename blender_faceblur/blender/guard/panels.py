# SPDX-License-Identifier: GPL-3.0-or-later
"""The panels of the checks before a render and of the verification after it."""

from __future__ import annotations

import bpy

from ...core.translation import count, translate
from ...reporting.wording import describe_finding_reason
from ..common.context import get_sequencer_scene
from ..common.jobs import JOB
from ..common.panels import Tab, write_lines

_MOST_LISTED = 20


class FACEBLUR_PT_guard(Tab, bpy.types.Panel):
    bl_label = "Before Rendering"
    guide = "editing#before-and-after-rendering"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 6
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        row = layout.row(align=True)
        row.operator("faceblur.check", icon="VIEWZOOM")
        row.operator("faceblur.repair", icon="TOOL_SETTINGS")
        for fault in JOB.faults:
            box = layout.box()
            row = box.row(align=True)
            row.label(text=fault.strip, icon="ERROR" if fault.shows else "INFO")
            if fault.undetected:
                leave = row.operator("faceblur.leave_uncovered", text="", icon="HIDE_OFF")
                leave.strip, leave.scene = fault.strip, fault.scene
            if fault.repair:
                row.operator("faceblur.repair", text="", icon="TOOL_SETTINGS").strip = fault.strip
            row.operator("faceblur.go_to_fault", text="", icon="VIEWZOOM").strip = fault.strip
            write_lines(box, context, fault.text)
        layout.operator("faceblur.must_be_covered", icon="LOCKED")
        layout.operator("faceblur.leave_uncovered", icon="HIDE_OFF")
        settings, row = get_sequencer_scene(context).faceblur, layout.row()
        row.active = not settings.must_be_covered
        row.prop(settings, "black_out_undetected")
        layout.operator("faceblur.render", icon="RENDER_ANIMATION")
        layout.operator("faceblur.export_covered", icon="EXPORT")


class FACEBLUR_PT_verify(Tab, bpy.types.Panel):
    bl_label = "After Rendering"
    guide = "verifying"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  (Blender's way)
    bl_order = 7

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("faceblur.verify", icon="CHECKMARK")
        verified = JOB.verified
        if verified is not None:
            found = list(verified.list_findings())
            write_lines(
                layout,
                context,
                translate(
                    "{name}: {faces} uncovered, {items} to review",
                    name=verified.film.name,
                    faces=count(verified.leaks, "face"),
                    items=count(len(found) - verified.leaks, "item"),
                ),
                "ERROR" if verified.leaks or verified.problems else "CHECKMARK",
            )
            for text in verified.problems:
                write_lines(layout, context, text, "ERROR")
            for frame, strip, leaks, finding in found[:_MOST_LISTED]:
                row = layout.row(align=True)
                what = (
                    translate("{share:.0f} % visible", share=100 * finding.share)
                    if finding.share
                    else describe_finding_reason(finding)
                )
                row.label(
                    text=translate(
                        "{track}, frame {frame}: {what}",
                        track=finding.track or translate("Face"),
                        frame=frame,
                        what=what,
                    ),
                    icon="ERROR" if leaks else "QUESTION",
                )
                go = row.operator("faceblur.go_to_finding", text="", icon="VIEWZOOM")
                go.frame, go.strip = frame, strip
        layout.operator("faceblur.report", icon="TEXT")


CLASSES = (FACEBLUR_PT_guard, FACEBLUR_PT_verify)
