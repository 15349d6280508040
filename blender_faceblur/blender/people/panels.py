# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel in which an editor assigns faces to people and chooses whom to blur."""

from __future__ import annotations

from typing import Any, ClassVar

import bpy

from ...core.translation import count, translate
from ..common.context import get_sequencer_scene
from ..common.jobs import JOB
from ..common.panels import Tab, draw_picture, draw_tall_list, write_lines
from ..common.selection import get_active_footage
from ..cover.strips import get_mask
from ..masks.faces import read_face
from ..masks.record import MaskRecord
from ..thumbnails.store import get_icon, get_picture
from .cache import ListedFace, count_unlisted, list_shown_faces
from .contact_sheet import get_sheet
from .embedding import explain_missing_weights
from .memory import MEMORY, has_embeddings
from .operators.assign import list_picked
from .person_list import EDITOR, KEEP, NO_PERSON, ONLY, TICKED, get_listed

_COLOR_WIDTH = 0.6
"""The width of a person's colour, in rows."""

_SHEET_SCALE = 3.5
"""The height of the pictures in the sheet, in rows."""

_SHEET_WIDTH_PX = 78
"""The width of one of these pictures with its margins."""


class FACEBLUR_UL_people(bpy.types.UIList):
    """The people of a scene."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: Any,
        item: Any,
        icon: int,
        active_data: object,
        active_property: str,
    ) -> None:
        scene = get_sequencer_scene(context)
        shown = [face for face, of in zip(list_shown_faces(scene), data.faces, strict=True) if of.person == item.uid]
        row = layout.row(align=True)
        tick = row.row(align=True)
        tick.active = data.mode in (ONLY, KEEP)
        tick.prop(item, "chosen", text="", icon=_get_checkbox(item.chosen), emboss=False)
        _put_picture(row, shown[0] if shown else None, "USER")
        color = row.row(align=True)
        color.ui_units_x = _COLOR_WIDTH
        color.prop(item, "color", text="")
        row.prop(item, "name", text="", emboss=False)
        right = row.row(align=True)
        right.alignment = "RIGHT"
        kept = sum(bool(face.kept) for face in shown)
        faces = count(len(shown), "face") if shown else "pictures"
        right.label(
            text=translate("{kept} of {shown} visible", kept=kept, shown=len(shown)) if kept else faces,
            icon="HIDE_OFF" if kept else "HIDE_ON",
        )


class FACEBLUR_UL_person_faces(bpy.types.UIList):
    """The faces of the active person."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: Any,
        item: Any,
        icon: int,
        active_data: object,
        active_property: str,
        index: int,
    ) -> None:
        shown = list_shown_faces(get_sequencer_scene(context))[index]
        row = layout.row(align=True)
        row.prop(item, "picked", text="", icon=_get_checkbox(item.picked), emboss=False)
        _put_picture(row, shown, "QUESTION")
        several = any(face.fingerprint != item.fingerprint for face in data.faces)
        of = f", {shown.mask.removesuffix(' faces')}" if several else ""
        row.label(text=f"{shown.track}{of}" if shown.track else translate("{track} (gone)", track=item.track))
        right = row.row(align=True)
        right.alignment = "RIGHT"
        right.label(
            text="assigned" if item.by in (EDITOR, TICKED) else "suggested",
            icon="HIDE_OFF" if shown.kept else "HIDE_ON",
        )
        right.operator("faceblur.go_to_person_face", text="", icon="VIEWZOOM", emboss=False).number = index

    def filter_items(self, context: bpy.types.Context, data: Any, name: str) -> tuple[list[int], list[int]]:
        uid = get_listed(data)
        return [self.bitflag_filter_item if face.person == uid else 0 for face in data.faces], []


class FACEBLUR_PT_people(Tab, bpy.types.Panel):
    bl_label = "People"
    guide = "people"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 5
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_sequencer_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, get_sequencer_scene(context)
        people = scene.faceblur.people
        problem = explain_missing_weights()
        if problem:
            write_lines(
                layout,
                context,
                translate("No person can be recognised, so all faces stay blurred. {problem}", problem=problem),
                "ERROR",
            )
        layout.operator("faceblur.recognise_faces", icon="COMMUNITY")
        layout.prop(people, "mode", text="")
        if people.mode == KEEP:
            column = layout.column(align=True)
            column.label(text="Strangers Kept Visible by Mistake:")
            column.prop(people, "stranger_rate", text="")
        row = layout.row()
        draw_tall_list(row, "FACEBLUR_UL_people", people, "persons", "active_person", rows=3)
        side = row.column(align=True)
        side.operator("faceblur.add_people", text="", icon="FILE_IMAGE")
        side.operator_menu_enum("faceblur.add_person_here", "person", text="", icon="EYEDROPPER")
        side.operator("faceblur.remove_person", text="", icon="REMOVE")
        side.menu("FACEBLUR_MT_people", text="", icon="DOWNARROW_HLT")
        row = layout.row()
        row.scale_y = 1.4
        row.operator("faceblur.apply_people", icon="CHECKMARK")
        uid = get_listed(people)
        if any(face.person == uid for face in people.faces):
            self._draw_faces(context, scene, people)
        self._draw_active(context, people)
        unlisted = count_unlisted(scene) if len(people.faces) else 0
        if unlisted:
            write_lines(
                layout,
                context,
                translate("{faces} not seen well enough to recognise: blurred", faces=count(unlisted, "more face")),
                "INFO",
            )
        if unlisted or people.show_unlisted:
            layout.prop(people, "show_unlisted", toggle=True)
        if len(people.persons) and not has_embeddings(scene) and not JOB.active:
            write_lines(
                layout, context, "Face embeddings are not saved: use Recognise Faces before Apply People", "INFO"
            )

    def _draw_faces(self, context: bpy.types.Context, scene: bpy.types.Scene, people: Any) -> None:
        box = self.layout.box()
        picked = len(list_picked(scene))
        row = box.row()
        uid = get_listed(people)
        row.label(
            text="Faces Without a Person"
            if uid == NO_PERSON
            else translate("Faces of {name}", name=people.persons[people.active_person].name)
        )
        row.prop(people, "show_sheet", text="", icon="IMAGE_DATA")
        row.operator("faceblur.pick_faces", text="", icon="CHECKBOX_HLT")
        if people.show_sheet:
            _draw_sheet(box, context, scene, uid)
        draw_tall_list(box, "FACEBLUR_UL_person_faces", people, "faces", "active_face", rows=2)
        row = box.row(align=True)
        row.operator_menu_enum(
            "faceblur.this_is",
            "person",
            text=translate("{Faces}: This Is", Faces=count(picked, "Face")) if picked else "This Is",
        )
        row.operator("faceblur.not_this_person")
        if 0 <= people.active_face < len(people.faces):
            face = people.faces[people.active_face]
            why = MEMORY.reasons.get((face.fingerprint, face.track), "")
            if why and face.person == uid:
                write_lines(box, context, f"{face.track}: {why}")

    def _draw_active(self, context: bpy.types.Context, people: Any) -> None:
        """Draw the person of the face that is active in the list Faces."""
        mask = get_mask(get_active_footage(context))
        layer = mask.layers.active if mask is not None else None
        track = read_face(MaskRecord.load(mask), layer.name).track if layer is not None else ""
        if not track:
            return
        scene = get_sequencer_scene(context)
        uid = next(
            (
                face.person
                for face, shown in zip(people.faces, list_shown_faces(scene), strict=True)
                if shown.mask == mask.name and shown.track == track
            ),
            0,
        )
        name = next((person.name for person in people.persons if person.uid == uid), "")
        row = self.layout.row()
        row.label(
            text=translate("{track} is {name}", track=track, name=name)
            if name
            else translate("{track} has no person", track=track)
        )
        row.operator_menu_enum("faceblur.say_who", "person", text="This Is")


def _draw_sheet(layout: bpy.types.UILayout, context: bpy.types.Context, scene: bpy.types.Scene, uid: int) -> None:
    """Draw a person's clearest faces in as many columns as fit, each above a button that goes to its frame."""
    width = (context.region.width if context.region is not None else 300) / context.preferences.system.ui_scale
    grid = layout.grid_flow(row_major=True, columns=max(2, int((width - 40) / _SHEET_WIDTH_PX)), align=True)
    for pictured in get_sheet(scene, uid):
        column = grid.column(align=True)
        picture = get_picture(pictured.fingerprint, pictured.frame, pictured.ellipse)
        if picture is not None:
            column.template_icon(icon_value=picture.icon, scale=_SHEET_SCALE)
        else:
            waiting = column.row()
            waiting.alignment, waiting.scale_y = "CENTER", _SHEET_SCALE
            waiting.label(text="", icon="USER")
        go = column.operator("faceblur.go_to_person_face", text=f"{pictured.frame}")
        go.number, go.source_frame = pictured.face, pictured.frame


def _get_checkbox(on: bool) -> str:
    """The icon of a checkbox; Blender's own would fill a tall row."""
    return "CHECKBOX_HLT" if on else "CHECKBOX_DEHLT"


def _put_picture(row: bpy.types.UILayout, shown: ListedFace | None, otherwise: str) -> None:
    mask = bpy.data.masks.get(shown.mask) if shown is not None and shown.mask else None
    draw_picture(row, get_icon(mask, shown.track) if mask is not None and shown is not None else 0, otherwise)


class FACEBLUR_MT_people(bpy.types.Menu):
    bl_label = "People"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.prop(get_sequencer_scene(context).faceblur.people, "color_by_person")
        layout.separator()
        layout.operator("faceblur.load_people", icon="IMPORT")
        layout.operator("faceblur.save_people", icon="EXPORT")
        layout.separator()
        layout.operator("faceblur.forget_people", icon="TRASH")


CLASSES = (FACEBLUR_UL_people, FACEBLUR_UL_person_faces, FACEBLUR_PT_people, FACEBLUR_MT_people)
