# SPDX-License-Identifier: GPL-3.0-or-later
"""Check all covers, go to their faults, repair them, and render only if all faces are covered."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.jobs import JOB
from ...common.marks import get_modifier
from ...common.selection import get_named_strip, has_strips, list_selected, refuse
from ...cover.baked import is_baked
from ...cover.covering import MUST_BE_COVERED, is_left_uncovered, leave_uncovered
from ...cover.properties import read_effect_settings
from ..checks import check_animation, check_scene, repair_strip


class FACEBLUR_OT_check(bpy.types.Operator):
    """Look for faults of covers that would make a render of this scene show a face"""

    bl_idname = "faceblur.check"
    bl_label = "Check"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None or refuse(cls, "There are no strips")

    def execute(self, context: bpy.types.Context) -> set[str]:
        JOB.faults = check_animation(get_sequencer_scene(context))
        JOB.blackened = [fault for fault in JOB.blackened if fault in JOB.faults]
        undetected = [fault.strip for fault in JOB.faults if fault.undetected]
        shown = sum(fault.shows for fault in JOB.faults) - len(undetected)
        problems = [translate("{faults} would show faces", faults=count(shown, "fault"))] if shown else []
        if undetected:
            names = ", ".join(f"'{name}'" for name in undetected)
            problems.append(
                translate(
                    "Faces were never detected in {strips}: {names}",
                    strips=count(len(undetected), "strip"),
                    names=names,
                )
            )
        if problems:
            self.report({"WARNING"}, ". ".join(problems))
        else:
            self.report({"INFO"}, "Every strip that must be covered is covered")
        return {"FINISHED"}


class FACEBLUR_OT_go_to_fault(bpy.types.Operator):
    """Make the strip active and go to its first frame"""

    bl_idname = "faceblur.go_to_fault"
    bl_label = "Go to Strip"
    bl_options = {"REGISTER", "UNDO"}

    strip: StringProperty(name="Strip", description="Name of the strip")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        strip = get_named_strip(self, scene, self.strip)
        if strip is None:
            return {"CANCELLED"}
        for other in scene.sequence_editor.strips_all:
            other.select = other == strip
        scene.sequence_editor.active_strip = strip
        if not strip.frame_final_start <= scene.frame_current < strip.frame_final_end:
            scene.frame_set(int(strip.frame_final_start))
        return {"FINISHED"}


class FACEBLUR_OT_repair(bpy.types.Operator):
    """Repair covers: switch them on again, restore lost masks and align Mask strips"""

    bl_idname = "faceblur.repair"
    bl_label = "Repair"
    bl_options = {"REGISTER", "UNDO"}

    strip: StringProperty(name="Strip", description="Name of the strip; if empty, all strips", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_strips(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        faults = [fault for fault in check_scene(scene) if fault.repair and self.strip in ("", fault.strip)]
        problems = []
        for owner, name in dict.fromkeys((fault.scene, fault.strip) for fault in faults):
            own = bpy.data.scenes[owner]
            try:
                repair_strip(own, own.sequence_editor.strips_all[name], read_effect_settings(scene))
            except FaceBlurError as error:
                problems.append(str(error))
        JOB.faults = check_animation(scene)
        for problem in problems:
            self.report({"ERROR"}, problem)
        if not bpy.app.background:
            refresh_shown_sequencers()
        left = sum(fault.shows for fault in JOB.faults)
        self.report(
            {"WARNING" if left else "INFO"},
            translate("{faults} repaired", faults=count(len(faults), "fault"))
            + (translate(", {left} left", left=left) if left else ""),
        )
        return {"FINISHED"}


class FACEBLUR_OT_must_be_covered(bpy.types.Operator):
    """Mark the selected strips as ones that must be covered, or remove the mark. A marked strip without a cover is
    rendered black"""

    bl_idname = "faceblur.must_be_covered"
    bl_label = "Must Be Covered"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(list_selected(context)) or refuse(cls, "Select a movie or image strip")

    def execute(self, context: bpy.types.Context) -> set[str]:
        strips = list_selected(context)
        marked = not all(strip.get(MUST_BE_COVERED) for strip in strips)
        for strip in strips:
            if marked:
                strip[MUST_BE_COVERED] = True
            elif MUST_BE_COVERED in strip:
                del strip[MUST_BE_COVERED]
        self.report(
            {"INFO"},
            translate(
                "{strips} must be covered" if marked else "{strips} no longer must be covered",
                strips=count(len(strips), "strip"),
            ),
        )
        return {"FINISHED"}


class FACEBLUR_OT_leave_uncovered(bpy.types.Operator):
    """Mark the selected strips as ones in which nothing has to be covered, or remove the mark. A marked strip is
    rendered as it is, and Check does not list it"""

    bl_idname = "faceblur.leave_uncovered"
    bl_label = "Leave Uncovered"
    bl_options = {"REGISTER", "UNDO"}

    strip: StringProperty(
        name="Strip", description="Name of the strip to mark; if empty, the selected strips", options={"SKIP_SAVE"}
    )
    scene: StringProperty(
        name="Scene", description="Name of that strip's scene; if empty, the sequencer's", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_strips(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.strip:
            scene = bpy.data.scenes.get(self.scene) or get_sequencer_scene(context)
            strip = get_named_strip(self, scene, self.strip)
            strips = [strip] if strip is not None else []
        else:
            strips = list_selected(context)
            if not strips:
                self.report({"ERROR"}, "Select a movie or image strip")
        for strip in strips:
            if get_modifier(strip) is not None or is_baked(strip):
                self.report({"ERROR"}, translate("'{name}' is covered. Remove its cover first", name=strip.name))
                return {"CANCELLED"}
        if not strips:
            return {"CANCELLED"}
        marked = bool(self.strip) or not all(is_left_uncovered(strip) for strip in strips)
        for strip in strips:
            leave_uncovered(strip, marked)
        names = {strip.name for strip in strips}
        JOB.faults = [fault for fault in JOB.faults if not marked or fault.strip not in names]
        if not bpy.app.background:
            refresh_shown_sequencers()
        self.report(
            {"INFO"},
            translate(
                "{strips} left uncovered" if marked else "{strips} no longer left uncovered",
                strips=count(len(strips), "strip"),
            ),
        )
        return {"FINISHED"}


class FACEBLUR_OT_render(bpy.types.Operator):
    """Check all covers and render the animation. If a face would show, or a strip was never detected and is not left
    uncovered on purpose, report it and do not render"""

    bl_idname = "faceblur.render"
    bl_label = "Render If Covered"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_strips(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        JOB.faults = check_animation(scene)
        shown = [fault for fault in JOB.faults if fault.shows]
        if shown:
            for fault in shown:
                self.report({"ERROR"}, translate("Not rendered: '{strip}'. {text}", strip=fault.strip, text=fault.text))
            return {"CANCELLED"}
        how = "EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT"
        return set(bpy.ops.render.render(how, animation=True, scene=scene.name))


CLASSES = (
    FACEBLUR_OT_check,
    FACEBLUR_OT_go_to_fault,
    FACEBLUR_OT_repair,
    FACEBLUR_OT_must_be_covered,
    FACEBLUR_OT_leave_uncovered,
    FACEBLUR_OT_render,
)
