# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise the people of a scene, say who they are, and blur whom the editor wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, IntProperty, StringProperty

from ...core.likeness import USABLE
from ...core.types import FaceBlurError
from ...progress import count
from ...recognising import REFERENCE_ENDINGS, list_references
from .. import thumbnails
from ..context import find_sequencer_scene, refresh_shown_sequencers
from ..footage import find_rate, find_timeline_frame
from ..mask_record import fingerprint_of, has_record
from ..masks import find_layer
from ..operators.job import Job, JobOperator
from ..operators.selection import EnumItems, is_busy, list_selected_covered, refuse
from ..operators.tracks import find_target
from ..review import list_covered
from ..running import STATE, redraw
from . import grouping as people
from . import memory as looking
from .memory import Seen

NEW = "NEW"


def _is_ready(operator: Any, context: bpy.types.Context, covered: bool = True) -> bool:
    """Whether there is a scene whose people can be told; says why not."""
    if is_busy(operator):
        return False
    scene = find_sequencer_scene(context)
    if scene is None or (covered and next(list_covered(scene), None) is None):
        return refuse(operator, "No strip is covered: Detect Faces first")
    return True


def _list_people(operator: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    scene = find_sequencer_scene(context or bpy.context)
    persons = scene.faceblur.people.persons if scene is not None else ()
    return _PERSON_ITEMS.offer([(NEW, "New Person", "Somebody who is not in the list yet"),
                                *((str(person.uid), person.name, f"This is {person.name}") for person in persons)])


_PERSON_ITEMS = EnumItems()


def _find_or_add(scene: bpy.types.Scene, choice: str, name: str = "") -> Any:
    settings = scene.faceblur.people
    found = people.find_person(settings, int(choice)) if choice not in (NEW, "") else None
    return found if found is not None else people.add_person(settings, name)


class _PeopleJob(JobOperator):
    """A job whose scene may be gone when it ends."""

    cancelled = "Recognising cancelled; nothing was changed"
    _scene = ""

    def finish(self, context: bpy.types.Context, result: Seen) -> tuple[str, list[str]]:
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            return "", ["The scene is gone: nobody was recognised."]
        return self.take(scene, result), result.warnings

    def take(self, scene: bpy.types.Scene, result: Seen) -> str:
        """Take over what was seen; what to say of it. Raises FaceBlurError."""
        raise NotImplementedError


class FACEBLUR_OT_recognise_faces(_PeopleJob, bpy.types.Operator):
    """Look at the covered faces of all strips of this scene and suggest which of them are the same person. What faces
    look like stays in memory and is never saved. ESC cancels"""

    bl_idname = "faceblur.recognise_faces"
    bl_label = "Recognise Faces"

    selected: BoolProperty(name="Selected Only", options={"SKIP_SAVE"}, description=(
        "Look only at the selected strips; what is known of the others stays"))

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_ready(cls, context)

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> Job:
        scene = find_sequencer_scene(context)
        self._scene = scene.name
        names = [strip.name for strip in list_selected_covered(context)] if self.selected else []
        if self.selected and not names:
            raise FaceBlurError("Select a strip that is covered.")
        return looking.look_at(looking.list_jobs(scene, names), (), find_rate(scene), wait_s)

    def take(self, scene: bpy.types.Scene, result: Seen) -> str:
        looking.take_looks(result)
        found = people.propose(scene)
        if not bpy.app.background:
            people.make_thumbnails(scene)
        unlisted = people.count_unlisted(scene)
        more = f"; {count(unlisted, 'face')} never seen well enough" if unlisted else ""
        return f"{found} people in the list{more}" if found != 1 else f"One person in the list{more}"


class FACEBLUR_OT_add_person_here(_PeopleJob, bpy.types.Operator):
    """Say who the active face of the list Faces is, and know this person by how the face looks in this frame"""

    bl_idname = "faceblur.add_person_here"
    bl_label = "Add Face in This Frame"

    person: EnumProperty(name="Person", items=_list_people, options={"SKIP_SAVE"}, description="Whose face it is")

    _place: tuple[str, str, int] = ("", "", 0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        if not _is_ready(cls, context):
            return False
        try:
            find_target(context, settled=False)
        except FaceBlurError as error:
            return refuse(operator, str(error))
        return True

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> Job:
        target = find_target(context)
        self._scene = target.scene.name
        self._place = target.mask.name, target.track, target.source_frame
        job = looking.make_job_here(target.strip, target.mask, target.track, target.source_frame)
        return looking.look_at([job], (), find_rate(target.scene), wait_s)

    def take(self, scene: bpy.types.Scene, result: Seen) -> str:
        name, track, frame = self._place
        mask = bpy.data.masks.get(name)
        if mask is None or not has_record(mask):
            raise FaceBlurError("The mask is gone: nobody was added.")
        looks = [look for _, found in result.looks for look in found]
        if not looks or looks[0].view.quality < USABLE:
            raise FaceBlurError(f"'{track}' is too small, blurred or turned away in this frame to be known by it.")
        person = _find_or_add(scene, self.person)
        person.chosen = True
        people.add_reference(person, looks[0].view.vector)
        uid = person.uid
        people.say_track(scene, mask, track, uid, frame)
        people.show_person(scene.faceblur.people, uid)
        person = people.find_person(scene.faceblur.people, uid)
        if not bpy.app.background:
            people.make_thumbnails(scene)
        return f"'{track}' is {person.name}"


class FACEBLUR_OT_add_people(_PeopleJob, bpy.types.Operator):
    """Add people from pictures that show one face each: a folder's sub-folders are people, else files are, by name.
    The pictures are only looked at, never copied"""

    bl_idname = "faceblur.add_people"
    bl_label = "Add People from Pictures"

    directory: StringProperty(name="Folder", subtype="DIR_PATH", options={"SKIP_SAVE"},
                              description="Of the pictures, or of the people's folders")
    filename: StringProperty(name="File", subtype="FILE_NAME", options={"SKIP_SAVE", "HIDDEN"},
                             description="A picture; empty: all that are chosen, or lie in the folder")
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE"},
                              description="Pictures; none: all that lie in the folder")
    _pictures: dict[str, list[Path]] | None = None

    filter_folder: BoolProperty(default=True, options={"HIDDEN"}, description="Folders are listed")
    filter_image: BoolProperty(default=True, options={"HIDDEN"}, description="Pictures are listed")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_ready(cls, context, covered=False)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        # Blender would write the project's name there.
        self.filename = ""
        if looking.MEMORY.folder:
            self.directory = looking.MEMORY.folder
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        # The file browser calls this and not `invoke`.
        return super().execute(context) if bpy.app.background else JobOperator.invoke(self, context, None)

    def _list_pictures(self) -> dict[str, list[Path]]:
        """The chosen pictures, or all in the folder, by person. Raises FaceBlurError where there are none."""
        folder = Path(bpy.path.abspath(self.directory))
        found = list_references(folder)
        chosen = {file.name for file in self.files if file.name}
        if chosen:
            unusable = [name for name in sorted(chosen) if Path(name).suffix.lower() not in REFERENCE_ENDINGS]
            if unusable:
                raise FaceBlurError(f"{unusable[0]} is no picture.")
            found = {name: [path for path in paths if path.parent == folder and path.name in chosen]
                     for name, paths in found.items()}
        return {name: paths for name, paths in found.items() if paths}

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> Job:
        looking.check_weights()
        scene = find_sequencer_scene(context)
        self._scene = scene.name
        self._pictures = self._list_pictures()
        return looking.look_at((), [path for paths in self._pictures.values() for path in paths], find_rate(scene),
                              wait_s)

    def take(self, scene: bpy.types.Scene, result: Seen) -> str:
        settings = scene.faceblur.people
        names = []
        assert self._pictures is not None
        for name, paths in self._pictures.items():
            vectors = [result.pictures[str(path.resolve())] for path in paths if str(path.resolve()) in result.pictures]
            if not vectors:
                continue
            names.append(name)
            person = next((p for p in settings.persons if p.name == name), None) or people.add_person(settings, name)
            person.chosen = True
            for vector in vectors:
                people.add_reference(person, vector)
        if not names:
            raise FaceBlurError("Nobody was added: no picture can be used. " + " ".join(result.warnings))
        looking.MEMORY.folder = str(Path(bpy.path.abspath(self.directory)).resolve())
        people.show_person(settings, person.uid)
        if looking.has_looks(scene):
            people.propose(scene)
        return f"Added: {', '.join(names)}"


class _OnFaces:
    """An operator on the picked faces of the list of a person, else on its active one."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        scene = find_sequencer_scene(context)
        if is_busy(operator):
            return False
        return (scene is not None and bool(list_picked(scene))) or refuse(operator, "Pick faces of a person first")


def list_picked(scene: bpy.types.Scene) -> list[int]:
    """The numbers of the picked faces; without any, of the active one if it is the active person's."""
    settings = scene.faceblur.people
    picked = [number for number, face in enumerate(settings.faces) if face.picked]
    at = settings.active_face
    if picked or not 0 <= at < len(settings.faces):
        return picked
    return [at] if settings.faces[at].person == people.find_listed(settings) else []


class FACEBLUR_OT_this_is(_OnFaces, bpy.types.Operator):
    """Say who the picked faces are: that counts more than any likeness"""

    bl_idname = "faceblur.this_is"
    bl_label = "This Is"

    person: EnumProperty(name="Person", items=_list_people, options={"SKIP_SAVE"}, description="Whose faces they are")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = find_sequencer_scene(context)
        picked = list_picked(scene)
        person = _find_or_add(scene, self.person)
        name, uid = person.name, person.uid
        people.say(scene, picked, uid)
        redraw()
        self.report({"INFO"}, f"{count(len(picked), 'face')}: {name}")
        return {"FINISHED"}


class FACEBLUR_OT_not_this_person(_OnFaces, bpy.types.Operator):
    """The picked faces are somebody else: they become a person of their own"""

    bl_idname = "faceblur.not_this_person"
    bl_label = "Not This Person"

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = find_sequencer_scene(context)
        settings, picked = scene.faceblur.people, list_picked(scene)
        old = {settings.faces[number].person for number in picked} - {people.NOBODY}
        person = people.add_person(settings)
        people.say(scene, picked, person.uid, people.SPLIT)
        for uid in old:
            # So that the next look does not join them again.
            left = next((face for face in settings.faces if face.person == uid), None)
            if left is not None and left.by == people.MACHINE:
                left.by = people.SPLIT
        redraw()
        self.report({"INFO"}, f"{count(len(picked), 'face')} apart")
        return {"FINISHED"}


class FACEBLUR_OT_say_who(bpy.types.Operator):
    """Say who the active face of the list Faces is: that counts more than any likeness"""

    bl_idname = "faceblur.say_who"
    bl_label = "Active Face Is"
    bl_options = {"REGISTER", "UNDO"}

    person: EnumProperty(name="Person", items=_list_people, options={"SKIP_SAVE"}, description="Whose face it is")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        if is_busy(operator):
            return False
        try:
            find_target(context, settled=False)
        except FaceBlurError as error:
            return refuse(operator, str(error))
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            target = find_target(context)
            person = _find_or_add(target.scene, self.person)
            people.say_track(target.scene, target.mask, target.track, person.uid, target.source_frame)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        redraw()
        self.report({"INFO"}, f"'{target.track}' is {person.name}")
        return {"FINISHED"}


class FACEBLUR_OT_pick_faces(bpy.types.Operator):
    """Pick all faces of the active person, or none"""

    bl_idname = "faceblur.pick_faces"
    bl_label = "Pick Faces"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find_sequencer_scene(context) is not None or refuse(cls, "There are no strips")

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = find_sequencer_scene(context).faceblur.people
        uid = people.find_listed(settings)
        own = [face for face in settings.faces if face.person == uid]
        wanted = not all(face.picked for face in own)
        for face in settings.faces:
            face.picked = wanted and face.person == uid
        redraw()
        return {"FINISHED"}


class FACEBLUR_OT_remove_person(bpy.types.Operator):
    """Take the active person out of the list, with what is known of how the person looks. Apply to blur them again"""

    bl_idname = "faceblur.remove_person"
    bl_label = "Remove Person"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        scene = find_sequencer_scene(context)
        there = scene is not None and len(scene.faceblur.people.persons) > scene.faceblur.people.active_person
        return there or refuse(cls, "Choose a person in the list")

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = find_sequencer_scene(context).faceblur.people
        person = settings.persons[settings.active_person]
        for number in reversed(range(len(settings.faces))):
            if settings.faces[number].person == person.uid:
                settings.faces.remove(number)
        person.references = ""
        people.remove_empty(settings)
        redraw()
        return {"FINISHED"}


class FACEBLUR_OT_go_to_person_face(bpy.types.Operator):
    """Go to the frame in which this face is seen best, and make it the active one"""

    bl_idname = "faceblur.go_to_person_face"
    bl_label = "Go to Face"
    bl_options = {"REGISTER", "UNDO"}

    number: IntProperty(name="Face", description="Its place in the scene's list")
    source_frame: IntProperty(name="Source Frame", default=-1, options={"SKIP_SAVE"},
                              description="Where in its film to go instead; below 0: where the face is seen best")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = find_sequencer_scene(context)
        settings = scene.faceblur.people
        if not 0 <= self.number < len(settings.faces):
            return {"CANCELLED"}
        face, shown = settings.faces[self.number], people.find_shown_faces(scene)[self.number]
        for strip, mask in list_covered(scene):
            if fingerprint_of(mask) != face.fingerprint:
                continue
            wanted = self.source_frame if self.source_frame >= 0 else face.frame
            frame = find_timeline_frame(strip, [(wanted, wanted + 1)], mask.frame_end - mask.frame_start)
            if frame is not None:
                scene.sequence_editor.active_strip = strip
                scene.frame_set(frame)
                layer = find_layer(mask, shown.track) if shown.track else ""
                if layer:
                    mask.layers.active = mask.layers[layer]
                settings.active_face = self.number
                return {"FINISHED"}
        self.report({"WARNING"}, "No strip of this scene shows that frame")
        return {"CANCELLED"}


class FACEBLUR_OT_apply_people(bpy.types.Operator):
    """Blur everybody but those who surely stay clear. What is not sure stays blurred and is listed under Review"""

    bl_idname = "faceblur.apply_people"
    bl_label = "Apply People"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = find_sequencer_scene(context)
        return (scene is not None and next(list_covered(scene), None) is not None) or refuse(
            cls, "No strip is covered: Detect Faces first")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = find_sequencer_scene(context)
        try:
            applied = people.apply_people(scene)
        except FaceBlurError as error:
            STATE.problems = [str(error)]
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        STATE.problems = []
        if not bpy.app.background:
            refresh_shown_sequencers()
        doubts = f", {count(applied.doubts, 'doubtful place')}" if applied.doubts else ""
        self.report({"INFO"}, f"{applied.clear} of {count(applied.tracks, 'face')} stay clear{doubts}")
        return {"FINISHED"}


class _PeopleFile:
    """A file of who is who and who stays clear, the same as the command's option --people."""

    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"},
                             description="A JSON file of people: names and places, no faces")
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"}, description="Which files are listed")
    check_existing: BoolProperty(default=True, options={"HIDDEN"}, description="Ask before a file is replaced")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_ready(cls, context)

    def find_path(self) -> Path:
        """Raises FaceBlurError where none is named."""
        path = Path(bpy.path.abspath(self.filepath))
        if not self.filepath or path.is_dir():
            raise FaceBlurError("Name a file.")
        return path.with_name(f"{path.name}.json") if path.suffix.lower() != ".json" else path


class FACEBLUR_OT_save_people(_PeopleFile, bpy.types.Operator):
    """Write who is who, and who stays clear, to a file for other projects and for the command's --people. It holds
    names and places, and nothing of what faces look like"""

    bl_idname = "faceblur.save_people"
    bl_label = "Save People"
    bl_options = {"REGISTER"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        project = bpy.data.filepath.removesuffix(".blend")
        self.filepath = f"{project}.people.json" if project else "people.json"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            path = self.find_path()
            written = people.write_file(find_sequencer_scene(context), path)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{count(written, 'face')} written to {path.name}")
        return {"FINISHED"}


class FACEBLUR_OT_load_people(_PeopleFile, bpy.types.Operator):
    """Take over names, ticks and whose each face is from such a file, as far as it speaks of films of this scene.
    Nothing changes in the picture until you apply it"""

    bl_idname = "faceblur.load_people"
    bl_label = "Load People"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            taken, missing = people.read_file(find_sequencer_scene(context), self.find_path())
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        redraw()
        more = f"; no face here of {', '.join(missing[:5])}: add pictures of them" if missing else ""
        self.report({"INFO"}, f"{count(taken, 'face')} taken over{more}")
        return {"FINISHED"}


class FACEBLUR_OT_forget_people(bpy.types.Operator):
    """Forget what faces look like, in memory and in your folder, all names, and whose each face is. What was applied
    stays as it is, unless you want everybody covered again"""

    bl_idname = "faceblur.forget_people"
    bl_label = "Forget Everything"
    bl_options = {"REGISTER", "UNDO"}

    cover: BoolProperty(name="Cover Everybody Again", default=True, options={"SKIP_SAVE"}, description=(
        "Blur those who stay clear; else who they are stays written in the tracks"))

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = find_sequencer_scene(context)
        thumbnails.forget()
        try:
            forgotten = people.forget_everything(scene)
            if self.cover and scene is not None and looking.list_masks(scene):
                people.apply_people(scene)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            refresh_shown_sequencers()
        redraw()
        self.report({"INFO"}, f"{count(forgotten, 'look')} at faces forgotten")
        return {"FINISHED"}


CLASSES = (
    FACEBLUR_OT_recognise_faces, FACEBLUR_OT_add_person_here, FACEBLUR_OT_add_people, FACEBLUR_OT_this_is,
    FACEBLUR_OT_not_this_person, FACEBLUR_OT_say_who, FACEBLUR_OT_pick_faces, FACEBLUR_OT_remove_person,
    FACEBLUR_OT_go_to_person_face, FACEBLUR_OT_apply_people, FACEBLUR_OT_save_people, FACEBLUR_OT_load_people,
    FACEBLUR_OT_forget_people,
)
