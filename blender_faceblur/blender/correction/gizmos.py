# SPDX-License-Identifier: GPL-3.0-or-later
"""The gizmos of the preview: one chooses and moves any cover, one resizes and turns that of the active face.

Each drag sets a locked key.
"""

from __future__ import annotations

import math
from typing import Any

import bpy
from bpy.props import FloatProperty, FloatVectorProperty, StringProperty
from mathutils import Matrix

from ...core.translation import translate
from ...core.types import Ellipse, FaceBlurError
from ..common.context import get_sequencer_scene
from ..common.footage import compute_source_frame
from ..common.jobs import JOB
from ..common.selection import get_active_footage
from ..cover.active_face import get_target, has_target
from ..cover.projection import Projection, RegionProjection, get_projection, get_region_projection
from ..cover.strips import get_mask
from ..masks.chosen_face import get_chosen_layer
from ..masks.faces import is_face
from ..masks.record import MaskRecord
from .operators.correct import set_cover
from .operators.pick import draw_ghost, transform_cover
from .picking import PickedFace, find_face

_SAME_PX = 0.3
"""In source pixels: a drag that moves the cover by less is ignored."""


class FACEBLUR_OT_set_cover(bpy.types.Operator):
    """Set the cover of the active face at the playhead, as a locked key that no later detection moves"""

    bl_idname = "faceblur.set_cover"
    bl_label = "Move Cover"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  (Blender's way)

    center: FloatVectorProperty(
        name="Center", size=2, description="Middle of the cover, in source pixels from the upper left corner"
    )
    radii: FloatVectorProperty(
        name="Radii", size=2, default=(50.0, 50.0), min=1.0, description="Radii of the cover, in source pixels"
    )
    angle: FloatProperty(name="Angle", subtype="ANGLE", description="Rotation of the cover, clockwise")
    track: StringProperty(
        name="Face", options={"HIDDEN", "SKIP_SAVE"}, description="Name of the face; if empty, the active one"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_target(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            target = get_target(context)
            (x, y), (rx, ry) = self.center, self.radii
            set_cover(target, Ellipse(x, y, rx, ry, self.angle), self.track)
        except FaceBlurError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report(
            {"INFO"},
            translate(
                "'{track}' is locked here. Use Track to continue from this key", track=self.track or target.track
            ),
        )
        return {"FINISHED"}


class FACEBLUR_GT_faces(bpy.types.Gizmo):
    """The covers of all faces in a preview: a click makes one active, a drag moves it at once."""

    bl_idname = "FACEBLUR_GT_faces"

    hovered: PickedFace | None
    moved: Ellipse | None
    press: tuple[float, float]

    def setup(self) -> None:
        self.hovered, self.moved, self.press = None, None, (0.0, 0.0)

    def draw(self, context: bpy.types.Context) -> None:
        if self.hovered is not None and (self.moved is not None or self.is_highlight):
            draw_ghost(self.hovered, self.moved or self.hovered.cover)

    def test_select(self, context: bpy.types.Context, location: tuple[int, int]) -> int:
        """0 over a cover, else -1."""
        region = context.region
        self.hovered = find_face(context, region, *location) if region is not None else None
        return -1 if self.hovered is None else 0

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.hovered is None:
            return {"PASS_THROUGH"}
        self.press, self.moved = (float(event.mouse_region_x), float(event.mouse_region_y)), None
        # True makes it an undo step, which an operator called from Python is not by default.
        bpy.ops.faceblur.choose_face("EXEC_DEFAULT", True, strip=self.hovered.strip, layer=self.hovered.layer)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event, tweak: set[str]) -> set[str]:
        picked, (x, y) = self.hovered, (float(event.mouse_region_x), float(event.mouse_region_y))
        least = context.preferences.inputs.drag_threshold_mouse * context.preferences.system.ui_scale
        if picked is not None and (self.moved is not None or math.dist(self.press, (x, y)) >= least):
            start, mouse = picked.to_source(*self.press), picked.to_source(x, y)
            self.moved = transform_cover(picked.cover, "MOVE", start, mouse)
            context.area.tag_redraw()
        return {"RUNNING_MODAL"}

    def exit(self, context: bpy.types.Context, cancel: bool) -> None:
        moved, self.moved = self.moved, None
        if moved is not None and self.hovered is not None and not cancel:
            _set_later(moved, self.hovered.source_frame, self.hovered.track)


class FACEBLUR_GGT_cover(bpy.types.GizmoGroup):
    bl_label = "Face Blur Cover"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "PREVIEW"
    bl_options = {"PERSISTENT", "SHOW_MODAL_ALL"}  # noqa: RUF012  (Blender's way)

    cage: Any
    shown: Matrix
    moved: Matrix | None
    track: str
    frame: int
    projection: Projection
    region_projection: RegionProjection

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not JOB.active and get_mask(get_active_footage(context)) is not None

    @classmethod
    def setup_keymap(cls, keyconfig: bpy.types.KeyConfig) -> bpy.types.KeyMap:
        # Blender's own keymap for gizmos that react to a press. By default they react to a drag, which has often left a
        # small face before Blender checks what lies under the mouse.
        return keyconfig.keymaps.new(name="Generic Gizmo", space_type="EMPTY", region_type="WINDOW")

    def setup(self, context: bpy.types.Context) -> None:
        self.shown, self.moved = Matrix.Identity(4), None
        cage = self.gizmos.new("GIZMO_GT_cage_2d")
        cage.draw_style = "BOX_TRANSFORM"
        cage.transform = {"TRANSLATE", "SCALE", "ROTATE"}
        cage.color, cage.color_highlight = (1.0, 0.85, 0.2), (1.0, 1.0, 1.0)
        cage.alpha = 0.8
        cage.use_draw_modal = True
        cage.target_set_handler("matrix", get=self._read, set=self._write)
        self.cage = cage
        # The cage comes first, so it gets the clicks where a cover lies below its handles.
        self.gizmos.new(FACEBLUR_GT_faces.bl_idname)

    def draw_prepare(self, context: bpy.types.Context) -> None:
        if self.cage.is_modal:
            return
        if self.moved is not None:
            # The drag has ended and becomes one undo step.
            moved, self.moved = self.moved, None
            _keep_later(moved, self.frame, self.track, self.projection, self.region_projection)
        found = _get_cover(context) if _is_chosen(context) else None
        self.cage.hide = found is None
        if found is None:
            return
        self.track, self.frame, cover, self.projection = found
        self.region_projection = get_region_projection(context.region)
        self.shown = _to_matrix(cover, self.projection, self.region_projection)
        self.cage.dimensions = (1.0, 1.0)

    def _read(self) -> list[float]:
        matrix = self.moved if self.moved is not None else self.shown
        return [value for column in matrix.transposed() for value in column]

    def _write(self, values: Any) -> None:
        self.moved = Matrix([list(values)[4 * i : 4 * i + 4] for i in range(4)]).transposed()


def _is_chosen(context: bpy.types.Context) -> bool:
    strip = get_active_footage(context)
    return bool(get_chosen_layer(strip, get_mask(strip)))


def _get_cover(context: bpy.types.Context) -> tuple[str, int, Ellipse, Projection] | None:
    """The active face's track, the source frame, the cover there, and the strip's projection; None without a cover."""
    scene, strip = get_sequencer_scene(context), get_active_footage(context)
    mask = get_mask(strip)
    if mask is None or mask.layers.active is None or not scene.faceblur.show_handles:
        return None
    layer = mask.layers.active.name
    record = MaskRecord.load(mask)
    known = record.layers.get(layer)
    if known is None or not is_face(record, layer) or known.freehand:
        return None
    frame = compute_source_frame(strip, scene.frame_current, mask.frame_end - mask.frame_start)
    cover = known.compute_ellipse(frame) if frame is not None else None
    if frame is None or cover is None:
        return None
    return known.track, frame, cover, get_projection(scene, strip)


def _to_matrix(cover: Ellipse, projection: Projection, shown: RegionProjection) -> Matrix:
    """The matrix that turns a unit square into the cage around a cover, in region pixels."""

    def place(x: float, y: float) -> tuple[float, float]:
        return shown.to_region(*projection.to_canvas(x, y))

    c, s = math.cos(cover.angle), math.sin(cover.angle)
    middle = place(cover.cx, cover.cy)
    ends = (
        place(cover.cx + cover.rx * c, cover.cy + cover.rx * s),
        place(cover.cx + cover.ry * s, cover.cy - cover.ry * c),
    )
    (ux, uy), (vx, vy) = ((end[0] - middle[0], end[1] - middle[1]) for end in ends)
    return Matrix(((2 * ux, 2 * vx, 0, middle[0]), (2 * uy, 2 * vy, 0, middle[1]), (0, 0, 1, 0), (0, 0, 0, 1)))


def _to_cover(matrix: Matrix, projection: Projection, shown: RegionProjection) -> Ellipse:
    """The cover, in source pixels, whose cage has this matrix."""

    def place(x: float, y: float) -> tuple[float, float]:
        return projection.to_source(*shown.to_view(x, y))

    mx, my = matrix[0][3], matrix[1][3]
    middle = place(mx, my)
    u = place(mx + matrix[0][0] / 2, my + matrix[1][0] / 2)
    v = place(mx + matrix[0][1] / 2, my + matrix[1][1] / 2)
    (ux, uy), (vx, vy) = ((end[0] - middle[0], end[1] - middle[1]) for end in (u, v))
    return Ellipse(middle[0], middle[1], math.hypot(ux, uy), math.hypot(vx, vy), math.atan2(uy, ux))


def _keep_later(matrix: Matrix, frame: int, track: str, projection: Projection, shown: RegionProjection) -> None:
    """Set the cover from a timer, as operators must not run while the window is being drawn."""
    _set_later(_to_cover(matrix, projection, shown), frame, track)


def _set_later(cover: Ellipse, frame: int, track: str) -> None:
    def settle() -> None:
        context = bpy.context
        found = _get_cover(context) if context.window is not None else None
        if found is None or found[:2] != (track, frame):
            return
        before = found[2]
        far = max(
            abs(a - b)
            for a, b in (
                (before.cx, cover.cx),
                (before.cy, cover.cy),
                (before.rx, cover.rx),
                (before.ry, cover.ry),
                (before.rx * before.angle, before.rx * cover.angle),
            )
        )
        if far > _SAME_PX:
            # True makes it an undo step, which an operator called from Python is not by default.
            bpy.ops.faceblur.set_cover(
                "EXEC_DEFAULT",
                True,
                center=(cover.cx, cover.cy),
                radii=(cover.rx, cover.ry),
                angle=cover.angle,
                track=track,
            )

    bpy.app.timers.register(settle, first_interval=0.0)


CLASSES = (FACEBLUR_OT_set_cover, FACEBLUR_GT_faces, FACEBLUR_GGT_cover)
