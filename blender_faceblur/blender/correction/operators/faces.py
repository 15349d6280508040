# SPDX-License-Identifier: GPL-3.0-or-later
"""Go to a face or a frame, and switch all faces of the selected strips on or off."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ....core.translation import translate
from ...common.context import get_sequencer_scene
from ...common.footage import find_timeline_frame
from ...common.selection import get_active_footage, list_selected_covered, refuse
from ...cover.strips import get_mask
from ...masks.chosen_face import mark_chosen
from ...masks.faces import list_faces


class FACEBLUR_OT_go_to_face(bpy.types.Operator):
    """Go to the frame in which this face is first seen, or seen best"""

    bl_idname = "faceblur.go_to_face"
    bl_label = "Go to Face"
    bl_options = {"REGISTER", "UNDO"}

    layer: StringProperty(name="Face", description="Name of the mask layer; if empty, the active one")
    clearest: BoolProperty(name="Clearest", description="Go to the frame in which the face is seen best")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_mask(get_active_footage(context)) is not None or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene, strip = get_sequencer_scene(context), get_active_footage(context)
        mask = get_mask(strip)
        active = mask.layers.active
        name = self.layer or (active.name if active is not None else "")
        face = next((face for face in list_faces(mask) if face.name == name), None)
        if face is None or not face.spans:
            self.report(
                {"WARNING"},
                translate("The frames of '{name}' are not known, as it was drawn or changed by hand", name=name),
            )
            return {"CANCELLED"}
        length = mask.frame_end - mask.frame_start
        frame = find_timeline_frame(strip, [(face.clearest, face.clearest + 1)], length) if self.clearest else None
        if frame is None:
            frame = find_timeline_frame(strip, face.spans, length)
        if frame is None:
            self.report({"WARNING"}, translate("'{name}' is only in frames that this strip does not show", name=name))
            return {"CANCELLED"}
        mask.layers.active = mask.layers[name]
        mark_chosen(strip, mask)
        scene.frame_set(frame)
        return {"FINISHED"}


class FACEBLUR_OT_go_to_frame(bpy.types.Operator):
    """Go to this frame of the active strip's source"""

    bl_idname = "faceblur.go_to_frame"
    bl_label = "Go to Frame"
    bl_options = {"REGISTER", "UNDO"}

    source_frame: IntProperty(name="Source Frame", min=0, description="Frame of the source, counted from 0")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return FACEBLUR_OT_go_to_face.poll(context) or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        strip = get_active_footage(context)
        mask = get_mask(strip)
        frame = find_timeline_frame(
            strip, [(self.source_frame, self.source_frame + 1)], mask.frame_end - mask.frame_start
        )
        if frame is None:
            self.report({"WARNING"}, "This strip does not show that frame")
            return {"CANCELLED"}
        get_sequencer_scene(context).frame_set(frame)
        return {"FINISHED"}


class FACEBLUR_OT_switch_faces(bpy.types.Operator):
    """Switch the covers of all faces in the selected strips on or off"""

    bl_idname = "faceblur.switch_faces"
    bl_label = "Switch All Faces"
    bl_options = {"REGISTER", "UNDO"}

    action: EnumProperty(
        name="Action",
        items=[
            ("ON", "All On", "Cover all faces"),
            ("OFF", "All Off", "Cover no face"),
            ("INVERT", "Invert", "Cover the uncovered faces and uncover the others"),
        ],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return FACEBLUR_OT_go_to_face.poll(context) or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        strips = [get_active_footage(context), *list_selected_covered(context)]
        # Strips that were cut from one strip share its mask.
        masks = {mask.name: mask for mask in map(get_mask, strips) if mask is not None}
        off = total = 0
        for mask in masks.values():
            for face in list_faces(mask):
                layer = mask.layers[face.name]
                layer.hide_render = self.action == "OFF" if self.action != "INVERT" else not layer.hide_render
                off, total = off + layer.hide_render, total + 1
            mask.update_tag()
        self.report(
            {"WARNING" if off else "INFO"}, translate("{off} of {total} faces are uncovered", off=off, total=total)
        )
        return {"FINISHED"}
