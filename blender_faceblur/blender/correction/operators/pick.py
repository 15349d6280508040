# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the face under the mouse, transform its cover, and open its menus."""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np
from bpy.props import EnumProperty, StringProperty

from ....core.translation import translate
from ....core.types import Ellipse, FaceBlurError
from ...common.context import get_sequencer_scene
from ...common.jobs import redraw
from ...common.selection import get_active_footage, is_busy
from ...cover.active_face import get_target
from ...cover.projection import compute_outlines
from ...cover.strips import get_mask
from ...masks.chosen_face import forget_chosen
from ...masks.record import MaskRecord
from ..menus import draw_face_menu, draw_off_menu, draw_pie
from ..picking import PickedFace, choose_face, find_chosen_face, find_covered_strip, find_face
from .correct import set_cover

_LEAST_SCALE = 0.05
"""The smallest share to which one transform shrinks a cover."""

_PRECISE = 0.1
"""With Shift the mouse counts only this share, as in Blender's own transforms."""

GHOST_COLOR = (1.0, 0.85, 0.2, 1.0)


class FACEBLUR_OT_choose_face(bpy.types.Operator):
    """Make this face the active one"""

    bl_idname = "faceblur.choose_face"
    bl_label = "Choose Face"
    bl_options = {"UNDO", "INTERNAL"}

    strip: StringProperty(name="Strip", description="Name of the face's strip")
    layer: StringProperty(name="Face", description="Name of the face's mask layer")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        before = _get_choice(context)
        if scene is None or not choose_face(scene, self.strip, self.layer):
            return {"CANCELLED"}
        redraw()
        # A step that changes nothing would have to be undone before the correction that comes before it.
        return {"FINISHED"} if _get_choice(context) != before else {"CANCELLED"}


def _get_choice(context: bpy.types.Context) -> tuple[str, str, str]:
    """The active footage, its active layer and the review item at hand, by name; empty where there is none."""
    strip = get_active_footage(context)
    mask = get_mask(strip)
    if mask is None or mask.layers.active is None:
        return "", "", ""
    return strip.name, mask.layers.active.name, MaskRecord.load(mask).reviewing


def _pick(context: bpy.types.Context, event: bpy.types.Event) -> PickedFace | None:
    region = context.region
    if region is None or region.type != "PREVIEW":
        return None
    return find_face(context, region, event.mouse_region_x, event.mouse_region_y)


def _is_over_covered(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    region = context.region
    if region is None or region.type != "PREVIEW":
        return False
    return find_covered_strip(context, region, event.mouse_region_x, event.mouse_region_y) is not None


class FACEBLUR_OT_release_face(bpy.types.Operator):
    """Choose no face, so that the keys of transforms act on the strip again"""

    bl_idname = "faceblur.release_face"
    bl_label = "Choose No Face"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if _pick(context, event) is None:
            forget_chosen()
            redraw()
        # Blender's own click selects the strip.
        return {"PASS_THROUGH"}


class FACEBLUR_OT_transform_cover(bpy.types.Operator):
    """Move, resize or rotate the cover under the mouse, else that of the chosen face, as a locked key that no later
    detection moves"""

    bl_idname = "faceblur.transform_cover"
    bl_label = "Transform Cover"
    bl_options = {"REGISTER", "UNDO", "BLOCKING"}

    mode: EnumProperty(
        name="Mode",
        items=[
            ("MOVE", "Move", "Move the cover"),
            ("RESIZE", "Resize", "Resize the cover"),
            ("ROTATE", "Rotate", "Rotate the cover"),
        ],
    )

    _picked: PickedFace | None = None
    _mouse = (0.0, 0.0)
    """Position that counts; with Shift it moves more slowly than the mouse."""
    _last = (0.0, 0.0)
    _start = (0.0, 0.0)
    _axis = ""
    _handle: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls) and get_sequencer_scene(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        picked = _pick(context, event)
        if picked is None and context.region is not None and context.region.type == "PREVIEW":
            chosen, picked = find_chosen_face(context, context.region)
            if chosen and picked is None:
                # Blender's own key transforms the strip, which is not meant by somebody who has chosen a face.
                self.report(
                    {"INFO"},
                    translate(
                        "'{name}' has no cover in this frame. To transform the strip, click beside the faces first",
                        name=chosen,
                    ),
                )
                return {"CANCELLED"}
        if picked is None or not choose_face(get_sequencer_scene(context), picked.strip, picked.layer):
            # Blender's own key transforms the strip.
            return {"PASS_THROUGH"}
        self._picked, self._axis = picked, ""
        self._start = self._mouse = self._last = (float(event.mouse_region_x), float(event.mouse_region_y))
        self._handle = bpy.types.SpaceSequenceEditor.draw_handler_add(self._draw, (), "PREVIEW", "POST_PIXEL")
        context.window_manager.modal_handler_add(self)
        self._show_keys(context)
        context.area.tag_redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        assert self._picked is not None
        if event.type == "MOUSEMOVE":
            share = _PRECISE if event.shift else 1.0
            here = float(event.mouse_region_x), float(event.mouse_region_y)
            self._mouse = (
                self._mouse[0] + share * (here[0] - self._last[0]),
                self._mouse[1] + share * (here[1] - self._last[1]),
            )
            self._last = here
        elif event.type in ("X", "Y") and event.value == "PRESS" and self.mode != "ROTATE":
            self._axis = "" if self._axis == event.type else event.type
        elif event.type in ("LEFTMOUSE", "RET", "NUMPAD_ENTER") and event.value == "PRESS":
            return self._confirm(context)
        elif event.type in ("RIGHTMOUSE", "ESC") and event.value == "PRESS":
            self.cancel(context)
            return {"CANCELLED"}
        if context.area is not None:
            context.area.tag_redraw()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        if self._handle is not None:
            bpy.types.SpaceSequenceEditor.draw_handler_remove(self._handle, "PREVIEW")
            self._handle = None
        context.workspace.status_text_set(None)
        if context.area is not None:
            context.area.tag_redraw()

    def _confirm(self, context: bpy.types.Context) -> set[str]:
        picked = self._picked
        self.cancel(context)
        assert picked is not None
        cover = self._compute_cover()
        if cover == picked.cover:
            return {"CANCELLED"}
        try:
            target = get_target(context)
            if target.source_frame != picked.source_frame:
                raise FaceBlurError("The playhead has moved, so nothing was changed.")
            set_cover(target, cover, picked.track)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(
            {"INFO"}, translate("'{track}' is locked here. Use Track to continue from this key", track=picked.track)
        )
        return {"FINISHED"}

    def _compute_cover(self) -> Ellipse:
        assert self._picked is not None
        return transform_cover(
            self._picked.cover,
            self.mode,
            self._picked.to_source(*self._start),
            self._picked.to_source(*self._mouse),
            self._axis,
        )

    def _show_keys(self, context: bpy.types.Context) -> None:
        name = self._picked.layer if self._picked is not None else ""

        def draw(header: Any, _: bpy.types.Context) -> None:
            layout = header.layout
            layout.label(text=name, translate=False)
            layout.label(text="Confirm", icon="MOUSE_LMB")
            layout.label(text="Cancel", icon="MOUSE_RMB")
            layout.label(text="Precise", icon="EVENT_SHIFT")
            if self.mode != "ROTATE":
                layout.label(text="", icon="EVENT_X")
                layout.label(text="Axis", icon="EVENT_Y")

        context.workspace.status_text_set(draw)

    def _draw(self) -> None:
        if self._picked is not None:
            draw_ghost(self._picked, self._compute_cover())


def transform_cover(
    cover: Ellipse, mode: str, start: tuple[float, float], mouse: tuple[float, float], axis: str = ""
) -> Ellipse:
    """The cover after the mouse went from `start` to `mouse`, in source pixels. `axis` limits it to "X" or "Y".

    For RESIZE, X is the cover's own width and Y its height.
    """
    if mode == "MOVE":
        dx = 0.0 if axis == "Y" else mouse[0] - start[0]
        dy = 0.0 if axis == "X" else mouse[1] - start[1]
        return Ellipse(cover.cx + dx, cover.cy + dy, cover.rx, cover.ry, cover.angle)
    before, after = ((x - cover.cx, y - cover.cy) for x, y in (start, mouse))
    if mode == "ROTATE":
        turn = math.atan2(after[1], after[0]) - math.atan2(before[1], before[0])
        return Ellipse(cover.cx, cover.cy, cover.rx, cover.ry, cover.angle + math.remainder(turn, 2 * math.pi))
    # Near the middle a pixel would otherwise be a large share.
    least = 0.2 * min(cover.rx, cover.ry)
    share = max(math.hypot(*after) / max(math.hypot(*before), least), _LEAST_SCALE)
    rx = cover.rx if axis == "Y" else max(cover.rx * share, 1.0)
    ry = cover.ry if axis == "X" else max(cover.ry * share, 1.0)
    return Ellipse(cover.cx, cover.cy, rx, ry, cover.angle)


def draw_ghost(picked: PickedFace, cover: Ellipse, width: float = 2.5) -> None:
    """Draw the outline of a cover that is being dragged or hovered over. To be called while a preview is drawn."""
    import gpu
    from gpu_extras.batch import batch_for_shader

    numbers = np.array([[cover.cx, cover.cy, cover.rx, cover.ry, cover.angle]])
    (outline,) = picked.shown.project(picked.projection.project(compute_outlines(numbers, 64)))
    line = np.concatenate([outline, outline[:1]]).astype(np.float32)
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    gpu.state.blend_set("ALPHA")
    for color, more in (((0.0, 0.0, 0.0, 0.5), 2.0), (GHOST_COLOR, 0.0)):
        shader.uniform_float("lineWidth", width + more)
        shader.uniform_float("color", color)
        batch_for_shader(shader, "LINE_STRIP", {"pos": line}).draw(shader)
    gpu.state.blend_set("NONE")


class FACEBLUR_OT_face_menu(bpy.types.Operator):
    """Open a menu for the face under the mouse"""

    bl_idname = "faceblur.face_menu"
    bl_label = "Open Face Menu"
    bl_options = {"INTERNAL"}

    menu: EnumProperty(
        name="Menu",
        items=[
            ("PIE", "Pie", "The most frequent corrections, or additions where there is no face"),
            ("FACE", "Face", "All corrections of the face"),
            ("OFF", "Switch Off", "Where to switch the face off"),
        ],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls) and get_sequencer_scene(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.menu == "FACE" and _selects_with_right(context):
            return {"PASS_THROUGH"}
        picked = _pick(context, event)
        if picked is not None:
            bpy.ops.faceblur.choose_face("EXEC_DEFAULT", True, strip=picked.strip, layer=picked.layer)
        elif self.menu == "OFF" and _is_over_covered(context, event):
            # Blender's own key deletes the whole strip, which is not meant by somebody who has missed a face.
            self.report({"INFO"}, "No face is under the mouse. The Delete key removes the strip")
            return {"CANCELLED"}
        elif self.menu != "PIE":
            # Blender's own menu, or its own key.
            return {"PASS_THROUGH"}
        name = picked.layer if picked is not None else ""
        if self.menu == "PIE":
            context.window_manager.popup_menu_pie(
                event, lambda menu, _: draw_pie(menu.layout, context, name), title=name or "Face Blur"
            )
        else:
            draw = draw_face_menu if self.menu == "FACE" else draw_off_menu
            title = name if self.menu == "FACE" else translate("Switch Off {name}", name=name)
            context.window_manager.popup_menu(lambda menu, _: draw(menu.layout), title=title)
        return {"FINISHED"}


def _selects_with_right(context: bpy.types.Context) -> bool:
    keyconfig = context.window_manager.keyconfigs.active
    preferences = getattr(keyconfig, "preferences", None)
    return getattr(preferences, "select_mouse", "LEFT") == "RIGHT"


CLASSES = (FACEBLUR_OT_choose_face, FACEBLUR_OT_release_face, FACEBLUR_OT_transform_cover, FACEBLUR_OT_face_menu)
