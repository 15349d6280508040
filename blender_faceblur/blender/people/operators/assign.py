# SPDX-License-Identifier: GPL-3.0-or-later
"""Assign faces to people, go to a person's faces, and remove people."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty

from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.context import get_sequencer_scene
from ...common.footage import find_timeline_frame
from ...common.jobs import redraw
from ...common.selection import is_busy, refuse
from ...cover.active_face import get_target
from ...masks.chosen_face import mark_chosen
from ...masks.record import get_fingerprint, get_layer_name
from ...review.queue import list_covered
from ..cache import list_shown_faces
from ..person_list import MACHINE, NO_PERSON, SPLIT, add_person, assign_faces, assign_track, get_listed, remove_empty
from .choice import get_or_add, list_people


class _OnFaces:
    """An operator on the picked faces of the list, or on the active one if no face is picked."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        scene = get_sequencer_scene(context)
        if is_busy(operator):
            return False
        return (scene is not None and bool(list_picked(scene))) or refuse(operator, "Pick faces of a person first")


def list_picked(scene: bpy.types.Scene) -> list[int]:
    """The indices of the picked faces; if there are none, of the active face if it is the active person's."""
    settings = scene.faceblur.people
    picked = [number for number, face in enumerate(settings.faces) if face.picked]
    at = settings.active_face
    if picked or not 0 <= at < len(settings.faces):
        return picked
    return [at] if settings.faces[at].person == get_listed(settings) else []


class FACEBLUR_OT_this_is(_OnFaces, bpy.types.Operator):
    """Assign the picked faces to a person. An assignment takes precedence over any similarity"""

    bl_idname = "faceblur.this_is"
    bl_label = "This Is"

    person: EnumProperty(name="Person", items=list_people, options={"SKIP_SAVE"}, description="Whose faces they are")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        picked = list_picked(scene)
        person = get_or_add(scene, self.person)
        name, uid = person.name, person.uid
        assign_faces(scene, picked, uid)
        redraw()
        self.report({"INFO"}, f"{count(len(picked), 'face')}: {name}")
        return {"FINISHED"}


class FACEBLUR_OT_not_this_person(_OnFaces, bpy.types.Operator):
    """Separate the picked faces from this person, and make a new person of them"""

    bl_idname = "faceblur.not_this_person"
    bl_label = "Not This Person"

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        settings, picked = scene.faceblur.people, list_picked(scene)
        old = {settings.faces[number].person for number in picked} - {NO_PERSON}
        person = add_person(settings)
        assign_faces(scene, picked, person.uid, SPLIT)
        for uid in old:
            # So that the next recognition does not join them again.
            left = next((face for face in settings.faces if face.person == uid), None)
            if left is not None and left.by == MACHINE:
                left.by = SPLIT
        redraw()
        self.report({"INFO"}, translate("{faces} moved to a new person", faces=count(len(picked), "face")))
        return {"FINISHED"}


class FACEBLUR_OT_say_who(bpy.types.Operator):
    """Assign the active face of the list Faces to a person. An assignment takes precedence over any similarity"""

    bl_idname = "faceblur.say_who"
    bl_label = "Active Face Is"
    bl_options = {"REGISTER", "UNDO"}

    person: EnumProperty(name="Person", items=list_people, options={"SKIP_SAVE"}, description="Whose face it is")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        if is_busy(operator):
            return False
        try:
            get_target(context, settled=False)
        except FaceBlurError as error:
            return refuse(operator, str(error))
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            target = get_target(context)
            person = get_or_add(target.scene, self.person)
            assign_track(target.scene, target.mask, target.track, person.uid, target.source_frame)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        redraw()
        self.report({"INFO"}, translate("'{track}' is {name}", track=target.track, name=person.name))
        return {"FINISHED"}


class FACEBLUR_OT_pick_faces(bpy.types.Operator):
    """Pick all faces of the active person, or none"""

    bl_idname = "faceblur.pick_faces"
    bl_label = "Pick Faces"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None or refuse(cls, "There are no strips")

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = get_sequencer_scene(context).faceblur.people
        uid = get_listed(settings)
        own = [face for face in settings.faces if face.person == uid]
        wanted = not all(face.picked for face in own)
        for face in settings.faces:
            face.picked = wanted and face.person == uid
        redraw()
        return {"FINISHED"}


class FACEBLUR_OT_remove_person(bpy.types.Operator):
    """Remove the active person and their references from the list. Use Apply People to blur them again"""

    bl_idname = "faceblur.remove_person"
    bl_label = "Remove Person"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = get_sequencer_scene(context)
        there = scene is not None and len(scene.faceblur.people.persons) > scene.faceblur.people.active_person
        return there or refuse(cls, "Choose a person in the list")

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = get_sequencer_scene(context).faceblur.people
        person = settings.persons[settings.active_person]
        for number in reversed(range(len(settings.faces))):
            if settings.faces[number].person == person.uid:
                settings.faces.remove(number)
        person.references = ""
        remove_empty(settings)
        redraw()
        return {"FINISHED"}


class FACEBLUR_OT_go_to_person_face(bpy.types.Operator):
    """Go to the frame in which this face is seen best, and make it the active one"""

    bl_idname = "faceblur.go_to_person_face"
    bl_label = "Go to Face"
    bl_options = {"REGISTER", "UNDO"}

    number: IntProperty(name="Face", description="Index of the face in the scene's list")
    source_frame: IntProperty(
        name="Source Frame",
        default=-1,
        options={"SKIP_SAVE"},
        description="Frame of the source to go to; below 0, the frame in which the face is seen best",
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        settings = scene.faceblur.people
        if not 0 <= self.number < len(settings.faces):
            return {"CANCELLED"}
        face, shown = settings.faces[self.number], list_shown_faces(scene)[self.number]
        for strip, mask in list_covered(scene):
            if get_fingerprint(mask) != face.fingerprint:
                continue
            wanted = self.source_frame if self.source_frame >= 0 else face.frame
            frame = find_timeline_frame(strip, [(wanted, wanted + 1)], mask.frame_end - mask.frame_start)
            if frame is not None:
                scene.sequence_editor.active_strip = strip
                scene.frame_set(frame)
                layer = get_layer_name(mask, shown.track) if shown.track else ""
                if layer:
                    mask.layers.active = mask.layers[layer]
                    mark_chosen(strip, mask)
                settings.active_face = self.number
                return {"FINISHED"}
        self.report({"WARNING"}, "No strip of this scene shows that frame")
        return {"CANCELLED"}


CLASSES = (
    FACEBLUR_OT_this_is,
    FACEBLUR_OT_not_this_person,
    FACEBLUR_OT_say_who,
    FACEBLUR_OT_pick_faces,
    FACEBLUR_OT_remove_person,
    FACEBLUR_OT_go_to_person_face,
)
