# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise the people of a scene, and add people from a frame or from pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, StringProperty

from ....batch.people import REFERENCE_ENDINGS, list_references
from ....core.people.similarity import USABLE
from ....core.translation import count, translate
from ....core.types import FaceBlurError
from ...common.context import get_sequencer_scene
from ...common.footage import get_frame_rate
from ...common.job_operator import JobOperator, JobSteps
from ...common.selection import list_selected_covered, refuse
from ...cover.active_face import get_target
from ...masks.record import has_record
from ..cache import count_unlisted
from ..contact_sheet import make_thumbnails
from ..embedding import EmbeddingResults, check_weights, embed_faces, list_jobs, make_job_here, store_crops
from ..grouping import propose_people
from ..memory import MEMORY, add_reference, has_embeddings
from ..person_list import add_person, assign_track, get_person, show_person
from .choice import get_or_add, is_ready, list_people


class _PeopleJob(JobOperator):
    """A job whose scene may be deleted before it ends."""

    cancelled = "Recognition cancelled; nothing was changed"
    _scene = ""

    def finish(self, context: bpy.types.Context, result: EmbeddingResults) -> tuple[str, list[str]]:
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            return "", ["The scene was deleted, so no person was recognised."]
        return self.take(scene, result), result.warnings

    def take(self, scene: bpy.types.Scene, result: EmbeddingResults) -> str:
        """Use the results and return the message to show. Raises FaceBlurError."""
        raise NotImplementedError


class FACEBLUR_OT_recognise_faces(_PeopleJob, bpy.types.Operator):
    """Compare the covered faces of all strips of this scene and suggest which of them are the same person. Face
    embeddings stay in memory and are never saved with the project. ESC cancels"""

    bl_idname = "faceblur.recognise_faces"
    bl_label = "Recognise Faces"

    selected: BoolProperty(
        name="Selected Only",
        options={"SKIP_SAVE"},
        description=("Process only the selected strips; the results of the others are kept"),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_ready(cls, context)

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        scene = get_sequencer_scene(context)
        self._scene = scene.name
        names = [strip.name for strip in list_selected_covered(context)] if self.selected else []
        if self.selected and not names:
            raise FaceBlurError("Select a strip that is covered.")
        return embed_faces(list_jobs(scene, names), (), get_frame_rate(scene), wait_s)

    def take(self, scene: bpy.types.Scene, result: EmbeddingResults) -> str:
        store_crops(result)
        found = propose_people(scene)
        if not bpy.app.background:
            make_thumbnails(scene)
        unlisted = count_unlisted(scene)
        more = translate(", {faces} not seen well enough", faces=count(unlisted, "face")) if unlisted else ""
        return (
            translate("{found} people in the list{more}", found=found, more=more)
            if found != 1
            else translate("1 person in the list{more}", more=more)
        )


class FACEBLUR_OT_add_person_here(_PeopleJob, bpy.types.Operator):
    """Assign the active face of the list Faces to a person, and recognise the person by the face in this frame"""

    bl_idname = "faceblur.add_person_here"
    bl_label = "Add Face in This Frame"

    person: EnumProperty(name="Person", items=list_people, options={"SKIP_SAVE"}, description="Whose face it is")

    _place: tuple[str, str, int] = ("", "", 0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        operator: Any = cls
        if not is_ready(cls, context):
            return False
        try:
            get_target(context, settled=False)
        except FaceBlurError as error:
            return refuse(operator, str(error))
        return True

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        target = get_target(context)
        self._scene = target.scene.name
        self._place = target.mask.name, target.track, target.source_frame
        job = make_job_here(target.strip, target.mask, target.track, target.source_frame)
        return embed_faces([job], (), get_frame_rate(target.scene), wait_s)

    def take(self, scene: bpy.types.Scene, result: EmbeddingResults) -> str:
        name, track, frame = self._place
        mask = bpy.data.masks.get(name)
        if mask is None or not has_record(mask):
            raise FaceBlurError("The mask was deleted, so no person was added.")
        crops = [crop for _, found in result.crops for crop in found]
        if not crops or crops[0].embedding.quality < USABLE:
            raise FaceBlurError(
                translate(
                    "'{track}' is too small, blurred or turned away in this frame to recognise a person by it. Go to "
                    "a clearer frame.",
                    track=track,
                )
            )
        person = get_or_add(scene, self.person)
        person.chosen = True
        add_reference(person, crops[0].embedding.vector)
        uid = person.uid
        assign_track(scene, mask, track, uid, frame)
        show_person(scene.faceblur.people, uid)
        person = get_person(scene.faceblur.people, uid)
        if not bpy.app.background:
            make_thumbnails(scene)
        return translate("'{track}' is {name}", track=track, name=person.name)


class FACEBLUR_OT_add_people(_PeopleJob, bpy.types.Operator):
    """Add people from pictures that show one face each. Each subfolder is a person, and so is each file beside them,
    named after it. The pictures are read but never copied"""

    bl_idname = "faceblur.add_people"
    bl_label = "Add People from Pictures"

    directory: StringProperty(
        name="Folder",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
        description="Folder of the pictures, or of the people's folders",
    )
    filename: StringProperty(
        name="File",
        subtype="FILE_NAME",
        options={"SKIP_SAVE", "HIDDEN"},
        description="A picture; if empty, all chosen pictures or all in the folder",
    )
    files: CollectionProperty(
        type=bpy.types.OperatorFileListElement,
        options={"SKIP_SAVE"},
        description="The chosen pictures; if there are none, all in the folder",
    )
    _pictures: dict[str, list[Path]] | None = None

    filter_folder: BoolProperty(default=True, options={"HIDDEN"}, description="List folders")
    filter_image: BoolProperty(default=True, options={"HIDDEN"}, description="List pictures")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_ready(cls, context, covered=False)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        # Blender would fill in the project's name.
        self.filename = ""
        if MEMORY.folder:
            self.directory = MEMORY.folder
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        # The file browser calls this method, not `invoke`.
        return super().execute(context) if bpy.app.background else JobOperator.invoke(self, context, None)

    def _list_pictures(self) -> dict[str, list[Path]]:
        """The chosen pictures, or all in the folder, by person. Raises FaceBlurError if there are none."""
        folder = Path(bpy.path.abspath(self.directory))
        found = list_references(folder)
        chosen = {file.name for file in self.files if file.name}
        if chosen:
            unusable = [name for name in sorted(chosen) if Path(name).suffix.lower() not in REFERENCE_ENDINGS]
            if unusable:
                raise FaceBlurError(translate("{name} is not a picture.", name=unusable[0]))
            found = {
                name: [path for path in paths if path.parent == folder and path.name in chosen]
                for name, paths in found.items()
            }
        return {name: paths for name, paths in found.items() if paths}

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        check_weights()
        scene = get_sequencer_scene(context)
        self._scene = scene.name
        self._pictures = self._list_pictures()
        return embed_faces(
            (), [path for paths in self._pictures.values() for path in paths], get_frame_rate(scene), wait_s
        )

    def take(self, scene: bpy.types.Scene, result: EmbeddingResults) -> str:
        settings = scene.faceblur.people
        names = []
        assert self._pictures is not None
        for name, paths in self._pictures.items():
            vectors = [result.pictures[str(path.resolve())] for path in paths if str(path.resolve()) in result.pictures]
            if not vectors:
                continue
            names.append(name)
            person = next((p for p in settings.persons if p.name == name), None) or add_person(settings, name)
            person.chosen = True
            for vector in vectors:
                add_reference(person, vector)
        if not names:
            raise FaceBlurError("No person was added, as no picture can be used. " + " ".join(result.warnings))
        MEMORY.folder = str(Path(bpy.path.abspath(self.directory)).resolve())
        show_person(settings, person.uid)
        if has_embeddings(scene):
            propose_people(scene)
        return translate("Added: {names}", names=", ".join(names))


CLASSES = (
    FACEBLUR_OT_recognise_faces,
    FACEBLUR_OT_add_person_here,
    FACEBLUR_OT_add_people,
)
