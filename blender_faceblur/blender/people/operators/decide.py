# SPDX-License-Identifier: GPL-3.0-or-later
"""The sheet with a picture of each face, on which an editor decides about several at once."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import CollectionProperty, EnumProperty, StringProperty

from ....core.review.face_sheet import FaceDecision, SheetPile, decide
from ....core.review.sheet_selection import SheetGrid
from ....core.translation import count, mark, translate
from ....core.types import Box, FaceBlurError, TrackDocument
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.jobs import redraw
from ...common.selection import is_busy, refuse
from ...masks.changes import change_tracks, check_freehand
from ...masks.record import get_layer_name
from ..contact_sheet import make_thumbnails
from ..sheet import HINTS, SHEET, SheetCell, iterate_regions, list_sheet_masks, make_grid, scroll

_TICK_S = 0.5
"""How often the sheet checks whether the project has changed, as by an undo."""

_DRAG_PX = 6
"""How far the mouse must move with its button down for a drag, at interface scale 1."""

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

_KEYS = {"C": FaceDecision.COVER, "V": FaceDecision.KEEP_VISIBLE, "N": FaceDecision.NOT_A_FACE}
_STEPS = {"LEFT_ARROW": (0, -1), "RIGHT_ARROW": (0, 1), "UP_ARROW": (-1, 0), "DOWN_ARROW": (1, 0)}
"""Rows and columns that each key goes on."""
_WHEEL = {"WHEELUPMOUSE": -1.0, "WHEELDOWNMOUSE": 1.0, "PAGE_UP": -5.0, "PAGE_DOWN": 5.0}


class FACEBLUR_PG_sheet_face(bpy.types.PropertyGroup):
    """A track to decide on."""

    mask: StringProperty()
    track: StringProperty()


class FACEBLUR_OT_decide(bpy.types.Operator):
    """Cover these faces, keep them visible or remove them, in all frames"""

    bl_idname = "faceblur.decide"
    bl_label = "Decide"
    bl_options = {"UNDO", "INTERNAL"}

    faces: CollectionProperty(type=FACEBLUR_PG_sheet_face, options={"SKIP_SAVE", "HIDDEN"})
    decision: EnumProperty(name="Decision", items=DECISIONS, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not is_busy(cls) and get_sequencer_scene(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        if not self.faces:
            self.report({"WARNING"}, "No face was picked: nothing has changed")
            return {"CANCELLED"}
        masks = {mask.name: mask for mask in list_sheet_masks(scene)}
        try:
            for name, mask in masks.items():
                check_freehand(mask, [face.track for face in self.faces if face.mask == name])
            changed = sum(
                _decide(mask, [face.track for face in self.faces if face.mask == name], FaceDecision(self.decision))
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


class FACEBLUR_OT_choose_decision(bpy.types.Operator):
    """Decide on the picked faces"""

    bl_idname = "faceblur.choose_decision"
    bl_label = "Choose Decision"
    bl_options = {"INTERNAL"}

    decision: EnumProperty(name="Decision", items=DECISIONS)

    def execute(self, context: bpy.types.Context) -> set[str]:
        SHEET.wanted = self.decision if SHEET.region else ""
        return {"FINISHED"}


class FACEBLUR_OT_decide_on_faces(bpy.types.Operator):
    """Show a picture of each face of the timeline over the preview, and decide on those that you pick. ESC closes it"""

    bl_idname = "faceblur.decide_on_faces"
    bl_label = "Decide on Faces"

    _timer: Any = None
    _press: tuple[float, float] | None = None
    """Where the mouse button went down."""
    _extend = _through = False
    """Whether Ctrl and Shift were held then."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        if SHEET.region:
            return refuse(cls, "The faces are shown already. ESC over them closes them")
        scene = get_sequencer_scene(context)
        return (scene is not None and any(list_sheet_masks(scene))) or refuse(
            cls, "No strip has covers that can be changed"
        )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene, window = get_sequencer_scene(context), context.window
        found = next(iterate_regions(window), None)
        if found is None:
            return {"CANCELLED"}
        SHEET.open(found[1], scene)
        make_thumbnails(scene)
        self._timer = context.window_manager.event_timer_add(_TICK_S, window=window)
        context.window_manager.modal_handler_add(self)
        context.workspace.status_text_set("   ".join(f"{translate(key)}: {translate(words)}" for key, words in HINTS))
        redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene, region = get_sequencer_scene(context), _get_region(context)
        if scene is None or region is None or scene.name != SHEET.scene:
            return self._end(context)
        if event.type == "TIMER":
            SHEET.refresh(scene)
            if SHEET.wanted:
                self._decide(FaceDecision(SHEET.wanted), scene)
                SHEET.wanted = ""
                region.tag_redraw()
            return {"PASS_THROUGH"}
        place = float(event.mouse_x - region.x), float(event.mouse_y - region.y)
        inside = 0 <= place[0] < region.width and 0 <= place[1] < region.height
        if event.type == "MOUSEMOVE":
            self._move(context, region, place, inside)
        elif event.type == "LEFTMOUSE" and (inside or self._press is not None):
            self._click(context, region, event, place)
        elif not inside or event.value not in ("PRESS", "CLICK_DRAG", "DOUBLE_CLICK"):
            return {"PASS_THROUGH"}
        elif event.type == "ESC":
            if not SHEET.confirming:
                return self._end(context)
            SHEET.confirming = False
        elif not self._press_key(context, region, event, scene):
            return {"PASS_THROUGH"}
        region.tag_redraw()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender calls this when a file is opened or the window is closed meanwhile."""
        self._end(context)

    def _move(
        self, context: bpy.types.Context, region: bpy.types.Region, place: tuple[float, float], inside: bool
    ) -> None:
        cell = _find_cell(context, region, place) if inside else None
        SHEET.hovered = cell.key if cell is not None else ""
        self._drag(context, place)

    def _drag(self, context: bpy.types.Context, place: tuple[float, float]) -> None:
        if self._press is not None:
            box = _span(self._press, place)
            far = max(box[2] - box[0], box[3] - box[1]) > _DRAG_PX * context.preferences.system.ui_scale
            SHEET.drag = box if far or SHEET.drag is not None else None

    def _click(
        self, context: bpy.types.Context, region: bpy.types.Region, event: bpy.types.Event, place: tuple[float, float]
    ) -> None:
        """Select by a click, a double click or a drag, as in Blender's file browser."""
        selection = SHEET.selection
        cell = _find_cell(context, region, place)
        if event.value == "DOUBLE_CLICK" and cell is not None and not SHEET.confirming:
            if cell.pile != SheetPile.NONE:
                SHEET.toggle_pile(get_sequencer_scene(context), cell.pile)
            else:
                SHEET.select_group(cell.key)
            self._press = None
        elif event.value in ("PRESS", "DOUBLE_CLICK"):
            self._press = place
            self._extend, self._through = event.ctrl or event.oskey, event.shift
        elif event.value == "RELEASE" and self._press is not None:
            # On a busy machine the moves before it are lost.
            self._drag(context, place)
            if SHEET.drag is not None:
                grid, order = make_grid(region, context.preferences.system.ui_scale), SHEET.list_order()
                touched = {order[n] for n in grid.list_within(SHEET.drag, len(order), SHEET.scroll)}
                selection.keys = selection.keys | touched if self._extend or self._through else touched
                # Shift goes on from there.
                selection.active = max(touched, key=order.index, default=selection.active)
            elif cell is None:
                if not self._extend and not self._through and not SHEET.confirming:
                    selection.keys = set()
            elif self._through:
                selection.select_through(cell.key, SHEET.list_order(), self._extend)
            else:
                selection.select(cell.key, self._extend)
            self._press = SHEET.drag = None

    def _press_key(
        self, context: bpy.types.Context, region: bpy.types.Region, event: bpy.types.Event, scene: bpy.types.Scene
    ) -> bool:
        """Whether the sheet uses this key."""
        selection = SHEET.selection
        if event.type in _WHEEL:
            scroll(region, context.preferences.system.ui_scale, _WHEEL[event.type])
        elif event.type == "RIGHTMOUSE":
            if selection.keys:
                context.window_manager.popup_menu(lambda menu, _: _draw_menu(menu.layout), title="Decide on Faces")
        elif SHEET.confirming:
            if event.type in ("RET", "NUMPAD_ENTER"):
                self._apply(FaceDecision.KEEP_VISIBLE)
        elif event.type == "A" and not event.ctrl:
            selection.keys = set() if event.alt else set(SHEET.list_order())
        elif event.ctrl or event.alt or event.oskey:
            return False
        elif event.type in _KEYS:
            self._decide(_KEYS[event.type], scene)
        elif event.type in ("L", "TAB"):
            _open_or_link(event.type, scene)
        elif event.type in _STEPS:
            _step(make_grid(region, context.preferences.system.ui_scale), *_STEPS[event.type], event.shift)
        else:
            # Space plays, and so on.
            return False
        return True

    def _decide(self, decision: FaceDecision, scene: bpy.types.Scene) -> None:
        """Decide on what is selected; several faces are shown once more before they are kept visible, and the pile of
        what may be no faces is opened before it is removed."""
        if decision is FaceDecision.NOT_A_FACE and f"pile {SheetPile.DOUBTFUL}" in SHEET.selection.keys:
            SHEET.toggle_pile(scene, SheetPile.DOUBTFUL, keep=True)
            return
        if decision is FaceDecision.KEEP_VISIBLE and len(SHEET.list_selected()) > 1:
            for pile in (SheetPile.DOUBTFUL, SheetPile.SMALL, SheetPile.IGNORED):
                if f"pile {pile}" in SHEET.selection.keys:
                    SHEET.toggle_pile(scene, pile, keep=True)
            SHEET.confirming, SHEET.scroll = True, 0.0
            return
        self._apply(decision)

    def _apply(self, decision: FaceDecision) -> None:
        unseen = SHEET.list_unseen() if decision is FaceDecision.KEEP_VISIBLE else []
        if unseen:
            self.report(
                {"WARNING"}, translate("{faces} without a picture: nothing changed", faces=count(len(unseen), "face"))
            )
            return
        faces = [{"name": "", "mask": member.mask, "track": member.face.track} for member in SHEET.list_selected()]
        SHEET.confirming = False
        try:
            # True makes it an undo step, which an operator called from Python is not by default.
            bpy.ops.faceblur.decide("EXEC_DEFAULT", True, faces=faces, decision=decision.value)
        except RuntimeError as error:
            # It cannot run here, and Blender's message says why.
            self.report({"WARNING"}, str(error).strip().splitlines()[-1])
        else:
            SHEET.selection.keys = set()

    def _end(self, context: bpy.types.Context) -> set[str]:
        SHEET.close()
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        redraw()
        return {"FINISHED"}


def _get_region(context: bpy.types.Context) -> bpy.types.Region | None:
    """The region that the sheet is drawn in; None if it is gone."""
    regions = iterate_regions(context.window) if context.window is not None else ()
    return next((region for _, region in regions if region.as_pointer() == SHEET.region), None)


def _find_cell(context: bpy.types.Context, region: bpy.types.Region, place: tuple[float, float]) -> SheetCell | None:
    cells, grid = SHEET.list_shown(), make_grid(region, context.preferences.system.ui_scale)
    number = grid.find_cell(*place, len(cells), SHEET.scroll) if place[1] < grid.height else None
    return cells[number] if number is not None else None


def _open_or_link(key: str, scene: bpy.types.Scene) -> None:
    """L selects the group of the face under the mouse, Tab opens or closes the pile there."""
    there = SHEET.hovered or SHEET.selection.active
    cell = next((one for one in SHEET.cells if one.key == there), None)
    if cell is None:
        return
    pile = cell.members[0].face.pile
    if key == "L":
        SHEET.select_group(cell.key)
    elif pile != SheetPile.NONE:
        SHEET.toggle_pile(scene, pile)


def _step(grid: SheetGrid, rows: int, columns: int, extend: bool) -> None:
    selection, order = SHEET.selection, SHEET.list_order()
    selection.step(rows * grid.columns + columns, order, extend)
    if selection.active in order:
        SHEET.scroll = grid.scroll_to(order.index(selection.active), SHEET.scroll)


def _span(one: tuple[float, float], other: tuple[float, float]) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _draw_menu(layout: bpy.types.UILayout) -> None:
    for decision, words, _ in DECISIONS:
        layout.operator("faceblur.choose_decision", text=words).decision = decision


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


CLASSES = (FACEBLUR_PG_sheet_face, FACEBLUR_OT_decide, FACEBLUR_OT_choose_decision, FACEBLUR_OT_decide_on_faces)
