# SPDX-License-Identifier: GPL-3.0-or-later
"""Add a face or region by drawing a box in the preview, or mark an area in which nothing is covered."""

from __future__ import annotations

import math
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty

from ....core.document import editing
from ....core.document.naming import name_track
from ....core.document.size_guess import guess_face
from ....core.translation import CONTEXT, translate
from ....core.types import Ellipse, Evidence, FaceBlurError, Sample, TrackDocument, TrackKind, TrackStatus
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.job_operator import JobOperator, JobSteps
from ...cover.active_face import FaceTarget, get_target, has_target
from ...cover.projection import get_projection, get_region_projection
from ...masks.chosen_face import mark_chosen
from ...masks.document import load_document
from ..picking import choose_strip, find_covered_strip, find_face
from ..properties import EXTENT_ITEMS
from ..tracking import TrackingStart, describe_tracked, get_shot, run_tracking, start_region
from .correct import apply_change

_LEAST_PX = 4.0
_HINT = "Drag a box over it in the preview   ESC: cancel"


class FACEBLUR_OT_add(JobOperator, bpy.types.Operator):
    """Draw a box in the preview around something in the active strip that must be covered, or must never be. ESC
    cancels"""

    bl_idname = "faceblur.add"
    bl_label = "Add"
    cancelled = "Cancelled; nothing was added"

    kind: EnumProperty(
        name="Kind",
        translation_context=CONTEXT,
        items=[
            ("FACE", "Face", "A face that was missed"),
            ("REGION", "Region", "A number plate, a sign or a screen. All of the box is covered"),
            ("NEVER", "Never", "A poster, for example. Faces that stay within the box are not covered"),
        ],
    )
    extent: EnumProperty(
        name="Extent",
        items=EXTENT_ITEMS,
    )
    box: FloatVectorProperty(
        name="Box",
        size=4,
        options={"SKIP_SAVE"},
        description=("Left, top, right and bottom, in source pixels; if empty, the box is drawn with the mouse"),
    )

    at_mouse: BoolProperty(
        name="At Mouse",
        options={"SKIP_SAVE", "HIDDEN"},
        description="Add it where the mouse is, with the size of the faces around it",
    )

    _place: TrackingStart | None = None
    _target: tuple[str, str, str, int] | None = None
    _press: tuple[float, float] | None = None
    _mouse = (0.0, 0.0)
    _handle: Any = None
    _drawn = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_target(cls, context, with_face=False)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.at_mouse and not self._guess_box(context, event):
            # Blender's own click.
            return {"PASS_THROUGH"}
        if any(self.box):
            done = self._go(context, event)
            if "RUNNING_MODAL" in done:
                context.window_manager.modal_handler_add(self)
            return done
        if _get_preview(context) is None:
            self.report({"ERROR"}, "Open a sequencer with a preview to draw the box in")
            return {"CANCELLED"}
        self._press, self._drawn = None, False
        self._handle = bpy.types.SpaceSequenceEditor.draw_handler_add(self._draw, (), "PREVIEW", "POST_PIXEL")
        context.window_manager.modal_handler_add(self)
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set(_HINT)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self._drawn:
            return super().modal(context, event)
        area_region = _get_preview(context)
        if area_region is None or (event.type in ("ESC", "RIGHTMOUSE") and event.value == "PRESS"):
            self.cancel(context)
            self.report({"INFO"}, self.cancelled)
            return {"CANCELLED"}
        area, region = area_region
        inside = (
            region.x <= event.mouse_x < region.x + region.width and region.y <= event.mouse_y < region.y + region.height
        )
        self._mouse = float(event.mouse_x - region.x), float(event.mouse_y - region.y)
        if event.type == "LEFTMOUSE" and event.value == "PRESS" and inside:
            self._press = self._mouse
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE" and self._press is not None:
            self._compute_box(context, region)
            self._stop_drawing(context)
            if min(self.box[2] - self.box[0], self.box[3] - self.box[1]) < _LEAST_PX:
                self.report({"WARNING"}, "The box is too small. Nothing was added")
                return {"CANCELLED"}
            return self._go(context, event)
        elif not inside and self._press is None:
            # An editor may still move the playhead and zoom.
            return {"PASS_THROUGH"}
        elif event.type in ("WHEELUPMOUSE", "WHEELDOWNMOUSE", "MIDDLEMOUSE", "LEFT_ARROW", "RIGHT_ARROW"):
            return {"PASS_THROUGH"}
        area.tag_redraw()
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if min(self.box[2] - self.box[0], self.box[3] - self.box[1]) <= 0:
            self.report({"ERROR"}, "Enter a box: left, top, right and bottom")
            return {"CANCELLED"}
        return self._go(context, None)

    def cancel(self, context: bpy.types.Context) -> None:
        self._stop_drawing(context)
        super().cancel(context)

    def _go(self, context: bpy.types.Context, event: bpy.types.Event | None) -> set[str]:
        if self.extent == "FOLLOW" and self.kind != "NEVER":
            self._drawn = True
            return JobOperator.execute(self, context) if event is None else self.go_on(context)
        try:
            target = get_target(context, with_face=False)
            message = _add_still(target, self._get_face(target), self.kind, self.extent)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, message)
        return {"FINISHED"}

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        target = get_target(context, with_face=False)
        self._target = target.scene.name, target.strip.name, target.mask.name, target.source_frame
        self._place = start_region(target.scene, target.strip, target.mask, target.source_frame, self._get_face(target))
        return run_tracking(self._place, wait_s)

    def finish(self, context: bpy.types.Context, result: list[Sample]) -> tuple[str, list[str]]:
        assert self._place is not None and self._target is not None
        name, strip, mask, frame = self._target
        scene = bpy.data.scenes.get(name)
        editor = scene.sequence_editor if scene is not None else None
        if mask not in bpy.data.masks or editor is None or strip not in editor.strips_all:
            raise FaceBlurError("The strip or its mask was deleted, so nothing was added.")
        keys = [Sample(f, face, Evidence.LOCKED, 1.0) for f, face in self._place.keys.items()]
        target = FaceTarget(scene, editor.strips_all[strip], bpy.data.masks[mask], "", frame)
        name = _add(target, [*result, *keys], self.kind)
        if not result:
            return translate("'{name}' could not be tracked: it is covered in this frame only", name=name), []
        return describe_tracked(name, len(result) + len(keys)), []

    def _get_face(self, target: FaceTarget) -> Ellipse:
        x1, y1, x2, y2 = self.box
        margin = load_document(target.mask).margin
        # The cover of a face is larger than the face by the margin; that of a region must contain the box's corners.
        share = math.sqrt(2) / margin if self.kind == "REGION" else 1.0
        return Ellipse.inscribed((x1, y1, x2, y2)).scaled(share)

    def _guess_box(self, context: bpy.types.Context, event: bpy.types.Event) -> bool:
        """Compute the box around the mouse. False if no covered picture, or already a cover, is there."""
        region = context.region
        if region is None or region.type != "PREVIEW":
            return False
        place = float(event.mouse_region_x), float(event.mouse_region_y)
        strip = find_covered_strip(context, region, *place)
        if strip is None or find_face(context, region, *place) is not None:
            return False
        choose_strip(get_sequencer_scene(context), strip)
        target = get_target(context, with_face=False)
        shown = get_region_projection(region)
        x, y = get_projection(target.scene, target.strip).to_source(*shown.to_view(*place))
        face = guess_face(load_document(target.mask), target.source_frame, x, y)
        self.box = face.cx - face.rx, face.cy - face.ry, face.cx + face.rx, face.cy + face.ry
        return True

    def _compute_box(self, context: bpy.types.Context, region: bpy.types.Region) -> None:
        assert self._press is not None
        target = get_target(context, with_face=False, settled=False)
        projection, shown = get_projection(target.scene, target.strip), get_region_projection(region)
        (x1, y1), (x2, y2) = self._press, self._mouse
        corners = [projection.to_source(*shown.to_view(x, y)) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        self.box = min(xs), min(ys), max(xs), max(ys)

    def _stop_drawing(self, context: bpy.types.Context) -> None:
        if self._handle is not None:
            bpy.types.SpaceSequenceEditor.draw_handler_remove(self._handle, "PREVIEW")
            self._handle = None
            context.window.cursor_modal_restore()
            context.workspace.status_text_set(None)

    def _draw(self) -> None:
        if self._press is None:
            return
        import gpu
        from gpu_extras.batch import batch_for_shader

        (x1, y1), (x2, y2) = self._press, self._mouse
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        gpu.state.line_width_set(2.0)
        shader.uniform_float("color", (1.0, 0.85, 0.2, 1.0))
        batch_for_shader(shader, "LINE_LOOP", {"pos": [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]}).draw(shader)
        gpu.state.line_width_set(1.0)


def _add_still(target: FaceTarget, face: Ellipse, kind: str, extent: str) -> str:
    """Add a cover that does not move, and return the message to show."""
    length = target.mask.frame_end - target.mask.frame_start
    if kind == "NEVER":
        return _add_never(target, face)
    stop = length if extent == "HOLD" else target.source_frame + 1
    samples = [Sample(f, face, Evidence.EXTRAPOLATED, 1.0) for f in range(target.source_frame + 1, stop)]
    name = _add(target, [Sample(target.source_frame, face, Evidence.LOCKED, 1.0), *samples], kind)
    return (
        translate("'{name}' is covered in this frame only", name=name)
        if extent == "FRAME"
        else translate("'{name}' is covered from here on", name=name)
    )


def _add_never(target: FaceTarget, face: Ellipse) -> str:
    exempt: list[str] = []

    def change(document: TrackDocument) -> list[str]:
        start, stop = get_shot(document, target.source_frame)
        number = 1 + sum(track.kind is TrackKind.NEVER for track in document.uncovered)
        name = name_track(TrackKind.NEVER, TrackStatus.EXEMPT, number)
        exempt[:] = editing.never_blur(document, face, start, stop, name)
        return exempt

    apply_change(target, change)
    return (
        translate("No longer covered: {exempt}", exempt=", ".join(exempt))
        if exempt
        else "No track stays within the box"
    )


def _add(target: FaceTarget, samples: list[Sample], kind: str) -> str:
    names: list[str] = []

    def change(document: TrackDocument) -> list[str]:
        names[:] = [editing.add_track(document, samples, TrackKind(kind.lower())).name]
        return names

    apply_change(target, change)
    if names[0] in target.mask.layers:
        target.mask.layers.active = target.mask.layers[names[0]]
        mark_chosen(target.strip, target.mask)
    if not bpy.app.background:
        refresh_shown_sequencers()
    return names[0]


def _get_preview(context: bpy.types.Context) -> tuple[bpy.types.Area, bpy.types.Region] | None:
    """The largest preview of the sequencer in the window."""
    found = [
        (area, region)
        for area in context.window.screen.areas
        if area.type == "SEQUENCE_EDITOR"
        for region in area.regions
        if region.type == "PREVIEW"
        and region.width > 1
        and region.height > 1
        and area.spaces.active.view_type in ("PREVIEW", "SEQUENCER_PREVIEW")
    ]
    return max(found, key=lambda pair: pair[1].width * pair[1].height, default=None)


CLASSES = (FACEBLUR_OT_add,)
