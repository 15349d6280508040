# SPDX-License-Identifier: GPL-3.0-or-later
"""A sheet with a picture of each face, on which an editor decides about several at once."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ....core.review.face_sheet import FaceDecision, SheetPile, decide, list_sheet_faces
from ....core.translation import count, mark, translate
from ....core.types import FaceBlurError, TrackDocument
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.footage import get_frame_rate
from ...common.jobs import redraw
from ...common.marks import BAKED
from ...common.selection import is_busy, refuse
from ...masks.changes import change_tracks, check_freehand
from ...masks.record import get_layer_name
from ...review.queue import list_covered, read_queue
from ...thumbnails.store import get_icon
from ..cache import list_shown_faces
from ..contact_sheet import make_thumbnails
from ..person_list import get_person

_PICTURE_SCALE = 4.0
"""The height of a picture, in rows."""

_CELL_PX = (104, 150)
"""The width and height of a picture with what is below it, at interface scale 1."""

_FRAME_PX = 300
"""The height that the window needs for everything but the pictures."""

DECISIONS = [
    (FaceDecision.COVER.value, "Cover", "Cover these faces in all frames"),
    (FaceDecision.KEEP_VISIBLE.value, "Keep Visible", "Show these faces in all frames"),
    (FaceDecision.NOT_A_FACE.value, "Not a Face", "Remove these from the list; the panel Ignored brings them back"),
]

_DONE = mark(
    {
        FaceDecision.COVER: "{faces} changed: now covered",
        FaceDecision.KEEP_VISIBLE: "{faces} changed: now visible",
        FaceDecision.NOT_A_FACE: "{faces} changed: no longer covered",
    }
)


class FACEBLUR_PG_sheet_face(bpy.types.PropertyGroup):
    """A track in the sheet."""

    mask: StringProperty()
    track: StringProperty()
    person: StringProperty()
    pile: StringProperty()
    is_covered: BoolProperty()
    seconds: FloatProperty()
    side_px: FloatProperty()
    picked: BoolProperty(name="Pick", description="Pick this face. Drag over several to pick them all")


class FACEBLUR_OT_decide_on_faces(bpy.types.Operator):
    """Show a picture of each face of the timeline, and cover the picked faces, keep them visible or remove them"""

    bl_idname = "faceblur.decide_on_faces"
    bl_label = "Decide on Faces"
    bl_options = {"REGISTER", "UNDO"}

    faces: CollectionProperty(type=FACEBLUR_PG_sheet_face, options={"SKIP_SAVE", "HIDDEN"})
    decision: EnumProperty(name="Decision", items=DECISIONS, options={"SKIP_SAVE"})
    page: IntProperty(name="Page", default=1, min=1, options={"SKIP_SAVE"}, description="Which faces are shown")
    columns: IntProperty(default=6, options={"SKIP_SAVE", "HIDDEN"})
    rows: IntProperty(default=3, options={"SKIP_SAVE", "HIDDEN"})
    small: BoolProperty(name="All Small Faces", options={"SKIP_SAVE"}, description="Pick all faces of this pile")
    ignored: BoolProperty(name="All Ignored", options={"SKIP_SAVE"}, description="Pick everything in this pile")
    open_small: BoolProperty(name="Show Each", options={"SKIP_SAVE"}, description="Show each with its picture")
    open_ignored: BoolProperty(name="Show Each", options={"SKIP_SAVE"}, description="Show each with its picture")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        scene = get_sequencer_scene(context)
        return (scene is not None and any(_list_masks(scene))) or refuse(cls, "No strip has covers that can be changed")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene, window = get_sequencer_scene(context), context.window
        scale = context.preferences.system.ui_scale
        fill_sheet(self.faces, scene)
        self.columns = min(max(int(0.9 * window.width / scale / _CELL_PX[0]), 2), 8)
        self.rows = max(int((window.height / scale - _FRAME_PX) / _CELL_PX[1]), 1)
        make_thumbnails(scene)
        return set(
            context.window_manager.invoke_props_dialog(
                self, width=self.columns * _CELL_PX[0], title="Decide on Faces", confirm_text="Apply to Picked"
            )
        )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.row().prop(self, "decision", expand=True)
        shown = [face for face in self.faces if self._has_picture(face)]
        most = self.columns * self.rows
        pages = max(-(-len(shown) // most), 1)
        page = min(self.page, pages)
        grid = layout.grid_flow(row_major=True, columns=self.columns, even_columns=True, align=False)
        for face in shown[(page - 1) * most : page * most]:
            _draw_face(grid.column(align=True), face)
        if pages > 1:
            row = layout.row()
            row.prop(self, "page", text=translate("Page (of {pages})", pages=pages))
        for pile, name in ((SheetPile.SMALL, "small"), (SheetPile.IGNORED, "ignored")):
            number = sum(face.pile == pile for face in self.faces)
            if number:
                row = layout.row(align=True)
                # Nothing hidden is picked, and what is shown is picked by itself.
                pick = row.row(align=True)
                pick.enabled = not getattr(self, f"open_{name}")
                faces = count(number, "face")
                words = (
                    translate("Small: {faces}", faces=faces)
                    if pile is SheetPile.SMALL
                    else translate("Ignored: {faces}", faces=faces)
                )
                pick.prop(self, name, text=words, toggle=True)
                row.prop(self, f"open_{name}", toggle=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        picked = [face for face in self.faces if self._is_picked(face)]
        if not picked:
            self.report({"WARNING"}, "No face was picked: nothing has changed")
            return {"CANCELLED"}
        masks = {mask.name: mask for mask in _list_masks(scene)}
        try:
            for name, mask in masks.items():
                check_freehand(mask, [face.track for face in picked if face.mask == name])
            changed = sum(
                _decide(mask, [face.track for face in picked if face.mask == name], FaceDecision(self.decision))
                for name, mask in masks.items()
            )
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            refresh_shown_sequencers()
        redraw()
        self.report({"INFO"}, translate(_DONE[FaceDecision(self.decision)], faces=count(changed, "face")))
        return {"FINISHED"}

    def _has_picture(self, face: Any) -> bool:
        return face.pile == SheetPile.NONE or bool(
            self.open_small if face.pile == SheetPile.SMALL else self.open_ignored
        )

    def _is_picked(self, face: Any) -> bool:
        if self._has_picture(face):
            return bool(face.picked)
        return bool(self.small if face.pile == SheetPile.SMALL else self.ignored)


def _list_masks(scene: bpy.types.Scene) -> list[bpy.types.Mask]:
    """The masks of the scene's covered strips that are not baked, each once."""
    masks = {mask.name: mask for strip, mask in list_covered(scene) if BAKED not in strip}
    return [mask for mask in masks.values() if read_queue(mask).document is not None]


def _decide(mask: bpy.types.Mask, names: list[str], decision: FaceDecision) -> int:
    """Apply a decision to tracks of a mask; returns how many it changed. Raises FaceBlurError."""
    if not names:
        return 0
    changed: list[str] = []

    def change(document: TrackDocument) -> list[str]:
        changed[:] = decide(document, names, decision)
        return changed

    change_tracks(mask, change)
    if decision is FaceDecision.COVER:
        for name in {*names, *changed}:
            layer = get_layer_name(mask, name)
            if layer and mask.layers[layer].hide_render:
                # The checkbox in the list of faces.
                mask.layers[layer].hide_render = False
        mask.update_tag()
    return len(changed)


def fill_sheet(faces: Any, scene: bpy.types.Scene) -> None:
    """Put all faces of a scene into an operator's collection: those of one person together, largest and longest first.

    Each is decided on by itself, because a suggested person alone never leaves a face visible.
    """
    faces.clear()
    people = scene.faceblur.people
    persons = {
        (shown.mask, shown.track): get_person(people, face.person)
        for face, shown in zip(people.faces, list_shown_faces(scene), strict=True)
        if shown.track
    }
    listed = []
    for mask in _list_masks(scene):
        document = read_queue(mask).document
        for face in list_sheet_faces(document) if document is not None else ():
            person = persons.get((mask.name, face.track))
            name = person.name if person is not None else ""
            listed.append((mask, face, name))
    totals: dict[str, float] = {}
    for mask, face, name in listed:
        key = name or f"{mask.name}/{face.track}"
        totals[key] = totals.get(key, 0.0) + face.side_px * face.frames
    listed.sort(key=lambda one: -one[1].side_px * one[1].frames)
    listed.sort(key=lambda one: -totals[one[2] or f"{one[0].name}/{one[1].track}"])
    for mask, face, name in listed:
        item = faces.add()
        item.mask, item.track, item.person, item.pile = mask.name, face.track, name, face.pile.value
        layer = get_layer_name(mask, face.track)
        item.is_covered = face.is_covered and bool(layer) and not mask.layers[layer].hide_render
        item.seconds, item.side_px = face.frames / get_frame_rate(scene), face.side_px


def _draw_face(column: bpy.types.UILayout, face: Any) -> None:
    mask = bpy.data.masks.get(face.mask)
    picture = get_icon(mask, face.track) if mask is not None else 0
    if picture:
        column.template_icon(icon_value=picture, scale=_PICTURE_SCALE)
    else:
        waiting = column.row()
        waiting.scale_y = _PICTURE_SCALE
        waiting.label(text="", icon="USER")
    # Shapes, not only colours: a closed eye is covered, an open one visible.
    icon = "X" if face.pile == SheetPile.IGNORED else ("HIDE_ON" if face.is_covered else "HIDE_OFF")
    column.prop(face, "picked", text=face.person or face.track, toggle=True, icon=icon)
    size = column.row()
    size.alignment = "CENTER"
    size.label(text=translate("{seconds} s, {side} px", seconds=f"{face.seconds:.1f}", side=round(face.side_px)))


CLASSES = (FACEBLUR_PG_sheet_face, FACEBLUR_OT_decide_on_faces)
