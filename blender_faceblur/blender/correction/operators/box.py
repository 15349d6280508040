# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw a box over several faces in the preview, and switch them off or on, or remove them, at once."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy.props import CollectionProperty, EnumProperty, IntProperty, StringProperty

from ....core.document import editing
from ....core.translation import count, mark, translate
from ....core.types import Box, FaceBlurError, TrackDocument
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.footage import compute_shown, get_preview_range
from ...common.jobs import redraw
from ...common.selection import is_busy
from ...cover.strips import get_mask
from ...masks.changes import change_tracks, check_freehand
from ...masks.record import get_layer_name
from ..menus import WHERE
from ..picking import PickedFace, list_faces_in_box
from .pick import GHOST_COLOR, draw_ghost

_DONE = mark({"OFF": "{faces} switched off", "ON": "{faces} switched on", "DELETE": "{faces} deleted"})


class FACEBLUR_PG_boxed_face(bpy.types.PropertyGroup):
    """A face at the playhead."""

    strip: StringProperty()
    track: StringProperty()
    source_frame: IntProperty()


class FACEBLUR_OT_change_boxed(bpy.types.Operator):
    """Change all faces in the box"""

    bl_idname = "faceblur.change_boxed"
    bl_label = "Change Faces"
    bl_options = {"UNDO", "INTERNAL"}

    faces: CollectionProperty(type=FACEBLUR_PG_boxed_face, options={"SKIP_SAVE", "HIDDEN"})
    action: EnumProperty(
        name="Action",
        items=[("OFF", "Off", "Uncover"), ("ON", "On", "Cover"), ("DELETE", "Delete", "Remove from the list")],
    )
    where: EnumProperty(
        name="Where",
        items=[("FRAME", "This Frame", ""), ("RANGE", "Preview Range", ""), ("FILM", "Whole Film", "")],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls) and get_sequencer_scene(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        of_strip: dict[str, list[Any]] = {}
        for face in self.faces:
            of_strip.setdefault(face.strip, []).append(face)
        try:
            strips = {name: scene.sequence_editor.strips_all.get(name) for name in of_strip}
            if not strips or any(get_mask(strip) is None for strip in strips.values()):
                raise FaceBlurError("These faces no longer exist.")
            ranges = {name: self._list_ranges(scene, strips[name], faces) for name, faces in of_strip.items()}
            for name, faces in of_strip.items():
                check_freehand(get_mask(strips[name]), [face.track for face in faces])
            for name in of_strip:
                self._change(get_mask(strips[name]), ranges[name])
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if not bpy.app.background:
            refresh_shown_sequencers()
        redraw()
        self.report({"INFO"}, translate(_DONE[self.action], faces=count(len(self.faces), "face")))
        return {"FINISHED"}

    def _list_ranges(
        self, scene: bpy.types.Scene, strip: bpy.types.Strip, faces: list[Any]
    ) -> dict[str, tuple[int, int]]:
        """The half-open range of source frames of each track. Raises FaceBlurError."""
        mask = get_mask(strip)
        length = max(mask.frame_end - mask.frame_start, 1)
        if self.where == "FRAME":
            return {face.track: (face.source_frame, face.source_frame + 1) for face in faces}
        if self.where == "FILM":
            return {face.track: (0, length) for face in faces}
        shown = compute_shown(strip, *get_preview_range(scene), length)
        if shown is None:
            raise FaceBlurError(translate("The preview range does not overlap the strip '{name}'.", name=strip.name))
        return {face.track: shown for face in faces}

    def _change(self, mask: bpy.types.Mask, ranges: dict[str, tuple[int, int]]) -> None:
        def change(document: TrackDocument) -> list[str]:
            for name, (start, stop) in ranges.items():
                if self.action == "DELETE":
                    editing.delete(document, name)
                else:
                    editing.switch(editing.get_track(document, name), start, stop, self.action == "ON")
            return list(ranges)

        change_tracks(mask, change)
        for name in ranges if self.action == "ON" else ():
            layer = get_layer_name(mask, name)
            if layer:
                # The checkbox in the list of faces.
                mask.layers[layer].hide_render = False
        mask.update_tag()


class FACEBLUR_OT_box_faces(bpy.types.Operator):
    """Draw a box over several faces in the preview, then switch them off or on, or remove them"""

    bl_idname = "faceblur.box_faces"
    bl_label = "Box Faces"
    bl_options = {"BLOCKING"}

    _press: tuple[float, float] | None = None
    _mouse = (0.0, 0.0)
    _handle: Any = None
    _region = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls) and get_sequencer_scene(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        region = context.region
        if region is None or region.type != "PREVIEW" or not self._list_inside(context, everything=True):
            # Blender's own key selects strips.
            return {"PASS_THROUGH"}
        self._press, self._region = None, region.as_pointer()
        self._handle = bpy.types.SpaceSequenceEditor.draw_handler_add(self._draw, (), "PREVIEW", "POST_PIXEL")
        context.window_manager.modal_handler_add(self)
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set("Drag a box over faces. ESC cancels")
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._mouse = float(event.mouse_region_x), float(event.mouse_region_y)
        if event.type in ("ESC", "RIGHTMOUSE") and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            self._press = self._mouse
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE" and self._press is not None:
            picked = self._list_inside(context)
            self.cancel(context)
            if not picked:
                self.report({"INFO"}, "No face is in the box")
                return {"CANCELLED"}
            context.window_manager.popup_menu(
                lambda menu, _: draw_box_menu(menu.layout, picked), title=count(len(picked), "face")
            )
            return {"FINISHED"}
        if context.area is not None:
            context.area.tag_redraw()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        if self._handle is not None:
            bpy.types.SpaceSequenceEditor.draw_handler_remove(self._handle, "PREVIEW")
            self._handle = None
            context.window.cursor_modal_restore()
        context.workspace.status_text_set(None)
        redraw()

    def _get_box(self) -> Box:
        (x1, y1), (x2, y2) = self._press or self._mouse, self._mouse
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)

    def _list_inside(self, context: bpy.types.Context, everything: bool = False) -> list[PickedFace]:
        region = context.region
        if region is None or region.type != "PREVIEW":
            return []
        whole = (0.0, 0.0, float(region.width), float(region.height))
        return list_faces_in_box(context, region, whole if everything else self._get_box())

    def _draw(self) -> None:
        if self._press is None or bpy.context.region.as_pointer() != self._region:
            return
        import gpu
        from gpu_extras.batch import batch_for_shader

        for picked in self._list_inside(bpy.context):
            draw_ghost(picked, picked.cover)
        left, low, right, high = self._get_box()
        corners = np.array([(left, low), (right, low), (right, high), (left, high), (left, low)], np.float32)
        shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
        shader.bind()
        shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
        shader.uniform_float("lineWidth", 2.0)
        shader.uniform_float("color", GHOST_COLOR)
        batch_for_shader(shader, "LINE_STRIP", {"pos": corners}).draw(shader)


def draw_box_menu(layout: bpy.types.UILayout, picked: list[PickedFace]) -> None:
    """What can be done with several faces."""
    for action, template in _ENTRIES:
        for where, text in WHERE:
            _add_entry(layout, picked, action, where, translate(template, text=translate(text)))
        layout.separator()
    _add_entry(layout, picked, "DELETE", "FILM", translate("Delete"), "TRASH")


_ENTRIES = mark((("OFF", "Switch Off in {text}"), ("ON", "Switch On in {text}")))


def _add_entry(
    layout: bpy.types.UILayout, picked: list[PickedFace], action: str, where: str, text: str, icon: str = "NONE"
) -> None:
    entry = layout.operator("faceblur.change_boxed", text=text, icon=icon)
    entry.action, entry.where = action, where
    for face in picked:
        added = entry.faces.add()
        added.strip, added.track, added.source_frame = face.strip, face.track, face.source_frame


CLASSES = (FACEBLUR_PG_boxed_face, FACEBLUR_OT_change_boxed, FACEBLUR_OT_box_faces)
