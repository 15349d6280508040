# SPDX-License-Identifier: GPL-3.0-or-later
"""The contact sheet on which an editor decides about faces: its cells, what is selected, and how it is drawn.

It is drawn over a preview, or over the timeline where there is none, while `FACEBLUR_OT_decide_on_faces` runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from ...core.geometry import Array
from ...core.people.look import Look, compute_look, group_by_look
from ...core.review.face_sheet import SheetFace, SheetPile, list_sheet_faces
from ...core.review.sheet_selection import SheetGrid, SheetSelection
from ...core.translation import count, mark, translate
from ...core.types import Box, Color, TrackDocument
from ..common.footage import get_frame_rate
from ..common.key_hints import KEY_HINTS
from ..common.marks import BAKED
from ..masks.record import get_layer_name
from ..review.queue import list_covered, read_queue
from ..thumbnails.store import get_pixels
from .cache import list_shown_faces
from .contact_sheet import is_making_thumbnails
from .person_list import get_person

_PICTURE = 128.0
"""Side of a picture at interface scale 1, in pixels: that of the thumbnails."""

_GAP = 12.0
_LINE = 17.0
"""Height of a line of text at interface scale 1."""

_LEAST_COLUMNS = 3
"""Pictures become smaller where fewer would fit side by side."""

_WHEEL = 60.0

HINTS = mark(
    (
        ("C", "Cover"),
        ("V", "Keep Visible"),
        ("N", "Not a Face"),
        ("ESC", "Close"),
        ("Click, Drag", "Pick"),
        ("Shift", "Range"),
        ("Ctrl", "Add"),
        ("L", "Same Person"),
        ("Tab", "Open Pile"),
        ("A", "All"),
    )
)
"""What works on the sheet, in words, the most important first."""

_PILES = mark({SheetPile.DOUBTFUL: "Perhaps No Faces", SheetPile.SMALL: "Small Faces", SheetPile.IGNORED: "Ignored"})

_BACKGROUND: Color = (0.09, 0.09, 0.09, 1.0)
_EMPTY: Color = (0.2, 0.2, 0.2, 1.0)
_SELECTED: Color = (0.35, 0.62, 1.0, 1.0)
_HOVERED: Color = (1.0, 1.0, 1.0, 0.45)
_TEXT: Color = (0.92, 0.92, 0.92, 1.0)
_FAINT: Color = (0.68, 0.68, 0.68, 1.0)
_STATES: dict[str, tuple[Color, Color]] = {
    "Covered": ((0.0, 0.0, 0.0, 0.8), _TEXT),
    "Visible": ((1.0, 0.82, 0.2, 0.95), (0.0, 0.0, 0.0, 1.0)),
    "Ignored": ((0.75, 0.75, 0.75, 0.9), (0.0, 0.0, 0.0, 1.0)),
}
"""The background and the text of each state's word, which stands on the picture: states differ by more than colour."""

mark(tuple(_STATES))


@dataclass(frozen=True, slots=True)
class SheetMember:
    """A track on the sheet. `mask` is the name of its mask, `person` that of its person, if it has one.

    Tracks of one `group` stand together: those of one person, or those that probably are, by time, place and colours.
    """

    mask: str
    face: SheetFace
    person: str
    group: str
    is_covered: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class SheetCell:
    """One picture of the sheet: a face, or a pile that is decided on as a whole."""

    key: str
    members: tuple[SheetMember, ...]
    pile: SheetPile = SheetPile.NONE
    """The pile that this cell stands for."""

    @property
    def state(self) -> str:
        if all(member.face.pile == SheetPile.IGNORED for member in self.members):
            return "Ignored"
        return "Covered" if all(member.is_covered for member in self.members) else "Visible"

    @property
    def group(self) -> str:
        return self.members[0].group if self.pile == SheetPile.NONE else ""

    def describe(self) -> tuple[str, str]:
        """The two lines below the picture."""
        first = self.members[0]
        if self.pile != SheetPile.NONE:
            return translate(_PILES[self.pile]), count(len(self.members), "face")
        size = translate("{seconds} s, {side} px", seconds=f"{first.seconds:.1f}", side=round(first.face.side_px))
        return first.person or first.face.track, size


@dataclass(slots=True)
class SheetState:
    """The sheet that is open. Only this module and the operator that shows the sheet use it.

    `region` is the address of the region that it is drawn in, 0 while it is closed. `drag` is the box that is being
    dragged. With `confirming`, only what is selected is shown, before it is kept visible.
    """

    region: int = 0
    scene: str = ""
    stamp: object = None
    cells: list[SheetCell] = field(default_factory=list)
    selection: SheetSelection = field(default_factory=SheetSelection)
    opened: set[SheetPile] = field(default_factory=set)
    scroll: float = 0.0
    hovered: str = ""
    drag: Box | None = None
    confirming: bool = False
    wanted: str = ""
    """A decision that was chosen from the menu and that the operator has not made yet."""
    is_grouped: bool = False
    """Whether faces that look alike stand together, which is not done before all pictures are made."""
    textures: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    """The picture of each track on the graphics card, with the number of the thumbnail that it shows."""
    looks: dict[tuple[str, str], tuple[int, Look]] = field(default_factory=dict)
    """The look of each track, with the number of the thumbnail that it was computed from."""

    def open(self, region: bpy.types.Region, scene: bpy.types.Scene) -> None:
        self.region, self.scene = region.as_pointer(), scene.name
        KEY_HINTS.hidden = True
        self.refresh(scene)

    def close(self) -> None:
        KEY_HINTS.hidden = False
        self.region, self.scene, self.stamp = 0, "", None
        self.cells, self.selection, self.opened = [], SheetSelection(), set()
        self.scroll, self.hovered, self.drag, self.confirming, self.wanted = 0.0, "", None, False, ""
        self.is_grouped = False
        self.textures.clear()
        self.looks.clear()

    def list_shown(self) -> list[SheetCell]:
        return [cell for cell in self.cells if not self.confirming or cell.key in self.selection.keys]

    def list_order(self) -> list[str]:
        return [cell.key for cell in self.list_shown()]

    def list_selected(self) -> list[SheetMember]:
        return [member for cell in self.cells if cell.key in self.selection.keys for member in cell.members]

    def list_unseen(self) -> list[SheetMember]:
        """What is selected and has no picture yet, so that nobody has seen whose face it is."""
        return [
            member
            for member in self.list_selected()
            for mask in (bpy.data.masks.get(member.mask),)
            if mask is None or get_pixels(mask, member.face.track) is None
        ]

    def refresh(self, scene: bpy.types.Scene) -> None:
        """Build the cells again if the project has changed."""
        # What is being picked stays where it is.
        self.is_grouped = self.is_grouped or not (self.selection.keys or is_making_thumbnails())
        masks = list_sheet_masks(scene)
        stamp = self.is_grouped, [(mask.name, read_queue(mask).stamp, _list_hidden(mask)) for mask in masks]
        if stamp != self.stamp:
            self.stamp = stamp
            self.build(scene)

    def build(self, scene: bpy.types.Scene) -> None:
        members = list_members(scene, self.is_grouped)
        self.cells = [_make_cell(member) for member in members if not self._is_piled(member)]
        for pile in _PILES:
            piled = tuple(member for member in members if member.face.pile == pile and self._is_piled(member))
            if piled:
                self.cells.append(SheetCell(f"pile {pile}", piled, pile))
        self.selection.limit([cell.key for cell in self.cells])
        self.confirming = self.confirming and bool(self.selection.keys)

    def _is_piled(self, member: SheetMember) -> bool:
        return member.face.pile != SheetPile.NONE and member.face.pile not in self.opened

    def toggle_pile(self, scene: bpy.types.Scene, pile: SheetPile, keep: bool = False) -> None:
        """Show each face of a pile, or the pile again. With `keep`, its faces are selected if the pile was."""
        key, was = f"pile {pile}", {cell.key for cell in self.cells}
        selected = keep and key in self.selection.keys
        self.opened ^= {pile}
        self.build(scene)
        if selected:
            self.selection.keys |= {cell.key for cell in self.cells} - was

    def select_group(self, key: str) -> None:
        """Select all faces of the same person, or that look like the same."""
        group = next((cell.group for cell in self.cells if cell.key == key), "")
        self.selection.keys |= {cell.key for cell in self.cells if group and cell.group == group} | {key}
        self.selection.active = key


SHEET = SheetState()


def _make_cell(member: SheetMember) -> SheetCell:
    return SheetCell(f"{member.mask}/{member.face.track}", (member,))


def _list_hidden(mask: bpy.types.Mask) -> tuple[str, ...]:
    """The layers that the checkbox in the list of faces has switched off."""
    return tuple(layer.name for layer in mask.layers if layer.hide_render)


def list_sheet_masks(scene: bpy.types.Scene) -> list[bpy.types.Mask]:
    """The masks of the scene's covered strips that are not baked, each once."""
    masks = {mask.name: mask for strip, mask in list_covered(scene) if BAKED not in strip}
    return [mask for mask in masks.values() if read_queue(mask).document is not None]


def list_members(scene: bpy.types.Scene, by_look: bool = False) -> list[SheetMember]:
    """All faces of a scene: those of one person together, largest and longest first.

    With `by_look`, faces without a person stand together if they look alike. Each is decided on by itself, because a
    suggestion alone never leaves a face visible.
    """
    people, rate = scene.faceblur.people, get_frame_rate(scene)
    persons = {
        (shown.mask, shown.track): get_person(people, face.person)
        for face, shown in zip(people.faces, list_shown_faces(scene), strict=True)
        if shown.track
    }
    members = []
    for mask in list_sheet_masks(scene):
        document = read_queue(mask).document
        if document is None:
            continue
        faces = list_sheet_faces(document)
        unknown = [face.track for face in faces if persons.get((mask.name, face.track)) is None]
        groups = _group_by_look(mask, document, unknown) if by_look else {}
        for face in faces:
            person, layer = persons.get((mask.name, face.track)), get_layer_name(mask, face.track)
            covered = face.is_covered and bool(layer) and not mask.layers[layer].hide_render
            name = person.name if person is not None else ""
            group = name or f"{mask.name}/{groups.get(face.track, face.track)}"
            members.append(SheetMember(mask.name, face, name, group, covered, face.frames / rate))
    totals: dict[str, float] = {}
    for member in members:
        totals[member.group] = totals.get(member.group, 0.0) + _compute_weight(member)
    members.sort(key=_compute_weight, reverse=True)
    return sorted(members, key=lambda member: (-totals[member.group], member.group))


def _compute_weight(member: SheetMember) -> float:
    return member.face.side_px * member.face.frames


def _group_by_look(mask: bpy.types.Mask, document: TrackDocument, names: list[str]) -> dict[str, str]:
    """For each of these tracks that looks like another, the name that stands for its group."""
    looks = {name: look for name in names if (look := _get_look(mask, name)) is not None}
    groups = group_by_look([*document.tracks, *document.uncovered], looks, float(document.source.frame_rate))
    return {name: group[0] for group in groups for name in group}


def _get_look(mask: bpy.types.Mask, track: str) -> Look | None:
    """The look of a track's thumbnail, computed once; None if it has none."""
    found, key = get_pixels(mask, track), (mask.name, track)
    if found is None:
        return None
    known = SHEET.looks.get(key)
    if known is None or known[0] != found[0]:
        known = SHEET.looks[key] = found[0], compute_look(found[1])
    return known[1]


def make_grid(region: bpy.types.Region, unit: float) -> SheetGrid:
    """The grid of a region's sheet. `unit` is the scale of the user interface."""
    side = min(_PICTURE * unit, region.width / _LEAST_COLUMNS - _GAP * unit, 0.7 * region.height)
    height = region.height - compute_heading(unit)
    return SheetGrid(region.width, height, side + _GAP * unit, side + _GAP * unit + 2 * _LINE * unit)


def compute_heading(unit: float) -> float:
    """The height of the two lines above the cells."""
    return 2.6 * _LINE * unit


def scroll(region: bpy.types.Region, unit: float, steps: float) -> None:
    grid = make_grid(region, unit)
    SHEET.scroll = grid.limit_scroll(SHEET.scroll + steps * _WHEEL * unit, len(SHEET.list_shown()))


def draw_sheet(context: bpy.types.Context) -> None:
    """Draw handler: draw the sheet if it is open in this region."""
    import blf
    import gpu

    region = context.region
    if not SHEET.region or region.as_pointer() != SHEET.region:
        return
    unit = context.preferences.system.ui_scale or 1.0
    grid, cells = make_grid(region, unit), SHEET.list_shown()
    SHEET.scroll = grid.limit_scroll(SHEET.scroll, len(cells))
    gpu.state.blend_set("ALPHA")
    _fill((0.0, 0.0, region.width, region.height), _BACKGROUND)
    blf.size(0, 12 * unit)
    touched = grid.list_within(SHEET.drag, len(cells), SHEET.scroll) if SHEET.drag is not None else []
    for number in grid.list_visible(len(cells), SHEET.scroll):
        box = grid.get_box(number, SHEET.scroll)
        _draw_cell(cells[number], box, unit, number in touched)
        after = cells[number + 1] if number + 1 < len(cells) else None
        if after is not None and after.group and after.group == cells[number].group:
            _draw_link(box, unit)
    _fill((0.0, grid.height, region.width, region.height), _BACKGROUND)
    _draw_heading(region, unit)
    if SHEET.drag is not None:
        _frame(SHEET.drag, _SELECTED, unit)
    gpu.state.blend_set("NONE")


def _draw_cell(cell: SheetCell, box: Box, unit: float, touched: bool) -> None:
    left, _, right, top = box
    gap = _GAP * unit / 2
    side = right - left - 2 * gap
    picture = (left + gap, top - gap - side, right - gap, top - gap)
    texture = _get_texture(cell.members[0])
    if texture is None:
        _fill(picture, _EMPTY)
    else:
        _put_picture(texture, picture)
    ground, words = _STATES[cell.state]
    _fill((picture[0], picture[1], picture[2], picture[1] + _LINE * unit), ground)
    _write(translate(cell.state), picture[0] + 4 * unit, picture[1] + 4.5 * unit, side, words)
    if cell.pile != SheetPile.NONE:
        # Two edges behind the picture: a pile.
        for step in (1, 2):
            shift = 2.5 * step * unit
            _frame((picture[0] + shift, picture[1] + shift, picture[2] + shift, picture[3] + shift), _FAINT, unit / 2)
    for number, line in enumerate(cell.describe(), 1):
        _write(line, picture[0], picture[1] - (number * _LINE - 3) * unit, side, _TEXT if number == 1 else _FAINT)
    if touched or cell.key in SHEET.selection.keys:
        _frame(picture, _SELECTED, 3 * unit)
    elif cell.key == SHEET.hovered:
        _frame(picture, _HOVERED, 1.5 * unit)


def _draw_link(box: Box, unit: float) -> None:
    """Join a picture to the next one: both belong to one group."""
    _, _, right, top = box
    middle, gap = top - (right - box[0]) / 2, _GAP * unit / 2
    _fill((right - gap, middle - 3 * unit, right + gap, middle + 3 * unit), _FAINT)


def _draw_heading(region: bpy.types.Region, unit: float) -> None:
    picked, everything = len(SHEET.list_selected()), sum(len(cell.members) for cell in SHEET.cells)
    if SHEET.confirming:
        first = translate("Keep visible: {faces}?", faces=count(picked, "face"))
        second = f"{translate('Enter')}: {translate('Keep Visible')}    {translate('ESC')}: {translate('Cancel')}"
    else:
        first = translate("{picked} of {faces} picked", picked=picked, faces=count(everything, "face"))
        second = _describe_keys(region.width - 16 * unit)
    for number, (line, color) in enumerate(((first, _TEXT), (second, _FAINT)), 1):
        _write(line, 8 * unit, region.height - (number * 1.15 * _LINE) * unit, region.width - 16 * unit, color)


def _describe_keys(width: float) -> str:
    """As many of the hints as fit into a line."""
    import blf

    line = ""
    for key, words in HINTS:
        longer = f"{line}    {translate(key)}: {translate(words)}".strip()
        if blf.dimensions(0, longer)[0] > width:
            break
        line = longer
    return line


def _write(text: str, x: float, y: float, width: float, color: Color) -> None:
    """Write one line, and three dots at its end if it is too wide."""
    import blf

    if blf.dimensions(0, text)[0] > width:
        while text and blf.dimensions(0, f"{text}…")[0] > width:
            text = text[:-1]
        text = f"{text}…"
    blf.color(0, *color)
    blf.position(0, x, y, 0)
    blf.draw(0, text)


def _list_corners(box: Box) -> Array:
    left, low, right, high = box
    return np.array([(left, low), (right, low), (right, high), (left, high)], np.float32)


def _fill(box: Box, color: Color) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("color", color)
    batch_for_shader(shader, "TRIS", {"pos": _list_corners(box)[[0, 1, 2, 0, 2, 3]]}).draw(shader)


def _frame(box: Box, color: Color, width: float) -> None:
    left, low, right, high = box
    for side in (
        (left, low, right, low + width),
        (left, high - width, right, high),
        (left, low, left + width, high),
        (right - width, low, right, high),
    ):
        _fill(side, color)


def _put_picture(texture: Any, box: Box) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("IMAGE")
    shader.bind()
    shader.uniform_sampler("image", texture)
    parts = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    order = [0, 1, 2, 0, 2, 3]
    batch_for_shader(shader, "TRIS", {"pos": _list_corners(box)[order], "texCoord": parts[order]}).draw(shader)


def _get_texture(member: SheetMember) -> Any:
    """The picture of a face on the graphics card; None if there is none yet. To be called while drawing."""
    import gpu

    mask = bpy.data.masks.get(member.mask)
    found = get_pixels(mask, member.face.track) if mask is not None else None
    if found is None:
        return None
    number, pixels = found
    key = member.mask, member.face.track
    known = SHEET.textures.get(key)
    if known is None or known[0] != number:
        values = pixels.astype(np.float32).ravel() / 255.0
        buffer = gpu.types.Buffer("FLOAT", values.size, values)
        size = pixels.shape[1], pixels.shape[0]
        known = SHEET.textures[key] = number, gpu.types.GPUTexture(size, format="RGBA8", data=buffer)
    return known[1]


def iterate_regions(window: bpy.types.Window) -> Iterator[tuple[bpy.types.Area, bpy.types.Region]]:
    """The regions in which the sheet can be drawn, those of previews first, each kind from the largest on."""
    found = [
        (region.type == "PREVIEW", region.width * region.height, area, region)
        for area in window.screen.areas
        if area.type == "SEQUENCE_EDITOR"
        for region in area.regions
        if region.type in ("PREVIEW", "WINDOW") and region.width > 1 and region.height > 1
    ]
    for _, _, area, region in sorted(found, key=lambda one: (one[0], one[1]), reverse=True):
        yield area, region
