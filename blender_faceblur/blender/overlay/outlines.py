# SPDX-License-Identifier: GPL-3.0-or-later
"""The outline of each face over the preview, with its name and state, and a frame around strips whose faces show.

Outlines are only drawn, like the pictures of `see_through`: they change nothing in the project and show in no render.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...core.geometry import Array
from ...core.review.overview import Code
from ...core.translation import mark, translate
from ...core.types import Color, TrackKind, TrackStatus
from ...reporting.wording import NOT_COVERED, describe_status
from ..common.context import DrawHandlers, get_sequencer_scene
from ..common.footage import KINDS, compute_source_frame
from ..common.marks import BAKED, get_modifier
from ..common.selection import get_active_footage
from ..cover.covering import MUST_BE_COVERED, find_lost_mask, has_foreign_mask, is_left_uncovered, lost_mask_to_speed
from ..cover.fast_playback import is_drawn, is_playing_fast
from ..cover.hiding import hides
from ..cover.projection import (
    Projection,
    RegionProjection,
    compute_outlines,
    get_projection,
    get_region_projection,
)
from ..cover.strips import get_mask
from ..masks.chosen_face import get_chosen_layer
from ..masks.faces import is_face
from ..masks.overlay_cache import CachedMask, compute_code, get_cached, get_unit, list_switched_off
from ..masks.record import LayerRecord, MaskRecord, list_own_masks
from ..people.cache import get_outline_colors
from ..preferences.properties import get_colors
from .fast_covers import draw_fast_covers
from .see_through import BarePicture, draw_bare_pictures, get_bare_picture, is_see_through, make_fans

OUTLINE_POINTS = 48
"""Points of an outline."""

_MANY = 20
"""If there are more faces than this, outlines have half as many points."""

_LEAST_NAMED_PX = 16
"""The least width of an outline that gets a name; the active face always gets one."""

_ABOVE_PX = 5
"""The gap between an outline and its name."""

_BELOW_PX = 28
"""The same for a name below the outline, with its height."""

_DOT = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 12, endpoint=False)), np.sin(np.linspace(0, 2 * np.pi, 12, endpoint=False))],
    axis=1,
)
_WORDS = mark(
    {
        Code.OFF: "off",
        Code.LOCKED: "locked",
        Code.TRACKED: "",
        Code.DETECTED: "",
        Code.INTERPOLATED: "interpolated",
        Code.TO_REVIEW: "to review",
    }
)
_RIM = (0.0, 0.0, 0.0, 0.45)
"""Colour of the rim on each side of a line, which keeps it visible on a bright picture."""

_RIM_PX = 1.25
"""Width of that rim."""

_LEAST_STEP_PX = 1e-6
_MOST_WIDTHS = 1000

_BANDS = np.array(
    [corner for side in range(3) for corner in (side, side + 1, side + 4, side + 1, side + 5, side + 4)], np.int32
)
"""Indices of the triangles between the four points across a line and the next four."""


@dataclass(slots=True)
class Drawing:
    """What is to be drawn, in pixels of the region: lines, dots and words."""

    thin: list[tuple[Array, Color]] = field(default_factory=list)
    thick: list[tuple[Array, Color]] = field(default_factory=list)
    dots: list[tuple[Array, float, Color]] = field(default_factory=list)
    """Middle and radius of each."""
    words: list[tuple[str, tuple[float, float], Color]] = field(default_factory=list)
    """Each with the middle of its lower edge, the most important first."""


_HANDLERS = DrawHandlers("PREVIEW")


@dataclass(slots=True)
class _TextWidths:
    """The widths of drawn words in pixels, by word and unit. `limit` clears it once it is large."""

    known: dict[tuple[str, float], float] = field(default_factory=dict)

    def find(self, text: str, unit: float) -> float:
        import blf

        if (text, unit) not in self.known:
            self.known[text, unit] = blf.dimensions(0, text)[0] + 8 * unit
        return self.known[text, unit]

    def limit(self) -> None:
        """To be called before words are drawn."""
        if len(self.known) > _MOST_WIDTHS:
            self.known.clear()


_WIDTHS = _TextWidths()


def add_overlay() -> None:
    # The pictures behind the covers are drawn below Blender's gizmos.
    for function, stage in ((draw, "POST_PIXEL"), (draw_below_gizmos, "POST_VIEW")):
        _HANDLERS.add(function, stage)


def remove_overlay() -> None:
    _HANDLERS.remove_all()


def draw() -> None:
    """Draw handler, called by Blender for each preview."""
    context = bpy.context
    scene, unit = _get_shown_scene(context), get_unit(context)
    drawing = Drawing()
    if scene is not None:
        drawing = compose(context, scene, context.region, context.space_data.display_channel)
    if is_playing_fast():
        # What is not the real cover is marked, whatever overlays are switched off.
        place = context.region.width / 2, 10 * unit
        drawing.words.insert(0, ("Fast playback: plain shapes stand for the covers", place, get_colors()["detected"]))
    _put_lines(drawing, unit)
    _put_dots(drawing)
    _put_words(drawing, (context.region.width, context.region.height), unit)


def draw_below_gizmos() -> None:
    """Draw handler, called by Blender for each preview before its gizmos."""
    _draw_fast_covers()
    scene = _get_shown_scene(bpy.context) if is_see_through() else None
    if scene is not None:
        draw_bare_pictures(compose_bare_pictures(scene, bpy.context.space_data.display_channel))


def _draw_fast_covers() -> None:
    """Draw what stands for the covers during fast playback, whatever overlays are switched off."""
    scene = get_sequencer_scene(bpy.context) if is_playing_fast() else None
    if scene is not None and not is_see_through():
        strips = list_shown(scene, bpy.context.space_data.display_channel)
        draw_fast_covers(scene, [(strip, _get_frame(scene, strip, get_mask(strip))) for strip in strips])


def _get_shown_scene(context: bpy.types.Context) -> bpy.types.Scene | None:
    """The scene of the preview, if anything is to be drawn over it; else None."""
    scene, space = get_sequencer_scene(context), context.space_data
    if scene is None or not space.show_overlays or space.display_mode != "IMAGE":
        return None
    return scene if scene.faceblur.show_overlay or is_see_through() else None


def compose_bare_pictures(scene: bpy.types.Scene, channel: int) -> list[BarePicture]:
    """The pictures behind the covers in a preview that shows the strips up to a `channel` (0 for all)."""
    pictures = []
    for strip in list_shown(scene, channel):
        mask = get_mask(strip)
        frame = _get_frame(scene, strip, mask)
        if mask is None or frame is None:
            continue
        covers = [cover for cover, code in list_faces_at(mask, get_cached(mask), frame) if code is not Code.OFF]
        if covers:
            ellipses = np.array([cover.shape_at(frame) for cover in covers])
            picture = get_bare_picture(strip, frame, ellipses, get_projection(scene, strip))
            pictures += [picture] if picture is not None else []
    return pictures


def compose(context: bpy.types.Context, scene: bpy.types.Scene, region: bpy.types.Region, channel: int) -> Drawing:
    """What is to be drawn over a preview that shows the strips up to a `channel` (0 for all)."""
    drawing, active = Drawing(), get_active_footage(context)
    region_projection, of_people = get_region_projection(region), get_outline_colors(scene)
    unit, colors = get_unit(context), get_colors()
    is_used = bool(list_own_masks())
    for strip in list_shown(scene, channel):
        projection = get_projection(scene, strip)
        mask, fault = get_mask(strip), explain_fault(strip)
        known = get_cached(mask) if mask is not None else None
        frame = _get_frame(scene, strip, mask)
        if not fault and known is not None and frame is not None and known.is_unanalysed(frame):
            fault = mark("not analysed here, completely covered")
        is_waiting = _is_waiting(scene, strip)
        if is_waiting:
            fault = mark("not detected yet, renders black")
        if fault and (is_used or is_waiting or strip.get(MUST_BE_COVERED)):
            corners = region_projection.project(np.array(projection.compute_picture_outline()))
            drawing.thick.append((_close(corners), colors["uncovered"]))
            place = (float(corners[:, 0].mean()), float(corners[:, 1].max()) - 22 * unit)
            drawing.words.append((f"{strip.name}: {translate(fault)}", place, colors["uncovered"]))
        if known is None or frame is None:
            continue
        chosen = mask.layers.active if strip == active else None
        theirs = of_people.get(mask.name, {})
        faces = list_faces_at(mask, known, frame)
        if faces:
            numbers = np.array([cover.shape_at(frame) for cover, _ in faces])
            points = OUTLINE_POINTS if len(faces) <= _MANY else OUTLINE_POINTS // 2
            outlines = region_projection.project(projection.project(compute_outlines(numbers, points)))
            middles, tops = outlines.mean(axis=1), outlines.max(axis=1)
            labels = np.stack([middles[:, 0], tops[:, 1] + _ABOVE_PX * unit], axis=1).tolist()
            wide = (tops[:, 0] - outlines[:, :, 0].min(axis=1) > _LEAST_NAMED_PX * unit).tolist()
            closed = np.concatenate([outlines, outlines[:, :1]], axis=1)
            for number, (cover, code) in enumerate(faces):
                is_active = chosen is not None and chosen.name == cover.layer
                label = labels[number] if is_active or wide[number] else None
                if is_active and scene.faceblur.show_handles and get_chosen_layer(strip, mask):
                    # The handle that turns the cover is above it, and a name there would hide it.
                    label = float(middles[number, 0]), float(outlines[number, :, 1].min()) - _BELOW_PX * unit
                _add_face(
                    drawing,
                    cover,
                    code,
                    closed[number],
                    theirs.get(cover.track, colors[code.name.lower()]),
                    is_active,
                    label,
                )
                if cover.locked:
                    _add_dots(
                        drawing,
                        cover,
                        frame,
                        middles[number],
                        colors["locked"],
                        unit,
                        is_active and (projection, region_projection),
                    )
        _add_drawn(
            drawing,
            mask,
            known,
            scene.frame_current - mask.frame_start == frame,
            projection,
            region_projection,
            colors["locked"],
            unit,
        )
        _add_suppressed(drawing, known, frame, projection, region_projection, colors, theirs, unit)
    if is_see_through():
        drawing.words.insert(
            0,
            (
                translate("Covers are see-through here, renders stay covered"),
                (region.width / 2, 10 * unit),
                colors["uncovered"],
            ),
        )
    return drawing


def _get_frame(scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask | None) -> int | None:
    """The source frame at the playhead; None if the strip shows none."""
    length = mask.frame_end - mask.frame_start if mask is not None else 1
    return compute_source_frame(strip, scene.frame_current, max(length, 1))


def list_faces_at(mask: bpy.types.Mask, known: CachedMask, frame: int) -> list[tuple[LayerRecord, Code]]:
    """The faces at a source frame, and how they are covered."""
    off = list_switched_off(mask, known)
    in_review = known.overview.list_in_review(frame) if known.overview is not None else set()
    faces = (
        (cover, compute_code(known, cover, frame, cover.track in off, cover.track in in_review))
        for cover in known.covers
    )
    return [(cover, code) for cover, code in faces if code is not Code.NOTHING and not cover.freehand]


def list_shown(scene: bpy.types.Scene, channel: int = 0) -> list[bpy.types.Strip]:
    """The footage that the preview shows at the scene's frame, from the lowest channel up, including meta strips.

    Footage below a film that fills the canvas is hidden and left out.
    """
    editor = scene.sequence_editor
    shown: list[bpy.types.Strip] = []
    for strip in sorted(_list_present(editor.strips, editor.channels, scene.frame_current), key=_get_channels):
        if channel > 0 and _get_channels(strip)[0] > channel:
            continue
        if hides(scene, strip):
            shown.clear()
        shown.append(strip)
    return shown


def _list_present(strips: Any, channels: Any, frame: int) -> Iterator[bpy.types.Strip]:
    """The unmuted footage at a frame. Reads all strips' ranges at once, as films are cut into many strips."""
    starts, ends = np.empty(len(strips), np.int32), np.empty(len(strips), np.int32)
    strips.foreach_get("frame_final_start", starts)
    strips.foreach_get("frame_final_end", ends)
    for number in np.flatnonzero((starts <= frame) & (frame < ends)).tolist():
        strip = strips[number]
        if strip.mute or channels[strip.channel].mute:
            continue
        if strip.type == "META":
            yield from _list_present(strip.strips, strip.channels, frame)
        elif strip.type in KINDS:
            yield strip


def _get_channels(strip: bpy.types.Strip) -> tuple[int, ...]:
    """The channels of the meta strips around a strip, and its own."""
    parent = strip.parent_meta()
    return (*_get_channels(parent), strip.channel) if parent is not None else (strip.channel,)


def explain_fault(strip: bpy.types.Strip) -> str:
    """Why a strip shows faces or is completely covered, as far as a quick check can tell; empty if all is well."""
    if BAKED in strip:
        return ""
    modifier = get_modifier(strip)
    if modifier is None:
        return "its cover is gone, faces show" if strip.get(MUST_BE_COVERED) else "not analysed, faces would show"
    if modifier.mute or not modifier.enable:
        return "its cover is switched off, faces show"
    if not getattr(modifier, "show_preview", True) and not is_drawn(strip):
        return "its cover is switched off in the preview"
    if has_foreign_mask(strip):
        return "its mask is gone, faces show"
    if get_mask(strip) is None:
        if lost_mask_to_speed(strip):
            return "its mask cannot have its speed, completely covered"
        return "its mask is lost, completely covered" if find_lost_mask(strip) else "completely covered"
    return ""


def _is_waiting(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    """Whether a strip was never detected in a scene in which all footage must be covered: the guard blackens it."""
    is_detected = BAKED in strip or get_modifier(strip) is not None
    return scene.faceblur.must_be_covered and not is_detected and not is_left_uncovered(strip)


def _add_drawn(
    drawing: Drawing,
    mask: bpy.types.Mask,
    known: CachedMask,
    is_there: bool,
    projection: Projection,
    region_projection: RegionProjection,
    color: Color,
    unit: float,
) -> None:
    """Add the layers that an editor drew by hand.

    Blender knows their shape only at the scene's frame. `is_there` says whether that is the frame that the strip shows;
    otherwise only the layers' names are drawn, in a corner.
    """
    own = {cover.layer for cover in known.covers if not cover.freehand}
    record = MaskRecord.load(mask)
    drawn = [
        layer
        for layer in mask.layers
        if layer.name not in own
        and layer.splines
        and not layer.hide_render
        and is_face(record, layer.name)
        and layer.alpha > 0
    ]
    for number, layer in enumerate(drawn):
        lines = compute_drawn_lines(mask, layer) if is_there else []
        outlines = [region_projection.project(projection.project(line)) for line in lines]
        drawing.thin.extend((outline, color) for outline in outlines)
        place = _compute_label(np.concatenate(outlines), unit) if outlines else (0.0, (40 + 18 * number) * unit)
        drawing.words.append((translate("{name}: drawn by hand", name=layer.name), place, color))


def compute_drawn_lines(mask: bpy.types.Mask, layer: bpy.types.MaskLayer) -> list[Array]:
    """The current curves of a layer as closed lines, each N x 2, in source pixels."""
    record, parts = MaskRecord.load(mask), np.linspace(0, 1, 9)[:-1]
    width, height = record.size
    weights = np.stack([(1 - parts) ** 3, 3 * parts * (1 - parts) ** 2, 3 * parts**2 * (1 - parts), parts**3])
    lines = []
    for spline in layer.splines:
        knots = np.array([[point.co, point.handle_right, point.handle_left] for point in spline.points], np.float64)
        after = np.roll(knots, -1, axis=0)
        pieces = np.stack([knots[:, 0], knots[:, 1], after[:, 2], after[:, 0]])
        line = np.einsum("kp,knc->npc", weights, pieces).reshape(-1, 2)
        lines.append(_close((line - 0.5) * (record.unit_px, -record.unit_px) + (width / 2, height / 2)))
    return lines


def _add_face(
    drawing: Drawing,
    cover: LayerRecord,
    code: Code,
    outline: Array,
    color: Color,
    is_active: bool,
    label: tuple[float, float] | None,
) -> None:
    """Add a face. `outline` is a closed line; `label` is the place of its name, None if there is no room for one."""
    lines = drawing.thick if is_active else drawing.thin
    if code is Code.OFF:
        lines.extend((part, color) for part in _cut(outline[:-1]))
    else:
        lines.append((outline, color))
    if label is not None:
        word = translate(_WORDS[code]) if _WORDS[code] else ""
        words = f"{cover.layer}: {word}" if word else cover.layer, label, color
        drawing.words.insert(0 if is_active else len(drawing.words), words)


def _add_dots(
    drawing: Drawing, cover: LayerRecord, frame: int, middle: Array, color: Color, unit: float, around: Any
) -> None:
    """Add a dot in the middle of a face at a locked key, and small ones at the active face's keys before and after."""
    if frame in cover.locked:
        drawing.dots.append((middle, 4.0 * unit, color))
    if around:
        projection, region_projection = around
        near = [
            max((key for key in cover.locked if key < frame), default=None),
            min((key for key in cover.locked if key > frame), default=None),
        ]
        for key in near:
            if key is not None:
                place = np.array(projection.to_canvas(*cover.shape_at(key)[:2]))
                drawing.dots.append((region_projection.project(place), 2.5 * unit, color))


def _add_suppressed(
    drawing: Drawing,
    known: CachedMask,
    frame: int,
    projection: Projection,
    region_projection: RegionProjection,
    colors: dict[str, Color],
    of_people: dict[str, Color],
    unit: float,
) -> None:
    """Add the tracks that are not covered: suppressed and allowed ones, and regions that are never blurred.

    `of_people` has the colours of people's tracks.
    """
    for track in known.overview.uncovered if known.overview is not None else ():
        at = track.get_index(frame)
        if at is None or track.ellipses is None or track.status is TrackStatus.DELETED:
            continue
        points = compute_outlines(track.ellipses[at : at + 1], OUTLINE_POINTS)
        outline = region_projection.project(projection.project(points))[0]
        chosen = track.kind is TrackKind.NEVER or track.status is TrackStatus.ALLOWED
        color = of_people.get(track.name, colors["off" if chosen else "to_review"])
        drawing.thin.extend((part, color) for part in _cut(outline))
        word = describe_status(track) if chosen else translate(NOT_COVERED)
        drawing.words.append((f"{track.name}: {word}", _compute_label(outline, unit), color))


def _compute_label(outline: Array, unit: float) -> tuple[float, float]:
    """The place of a label: above the outline, in the middle."""
    return float(outline[:, 0].mean()), float(outline[:, 1].max()) + _ABOVE_PX * unit


def _close(points: Array) -> Array:
    return np.concatenate([points, points[:1]])


def _cut(points: Array) -> list[Array]:
    """Cut a line into dashes."""
    return [points[start : start + 3] for start in range(0, len(points), 4)]


def _put_lines(drawing: Drawing, unit: float) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    lines = [
        (line, color, width * unit)
        for lines, width in ((drawing.thin, 1.5), (drawing.thick, 3.0))
        for line, color in lines
    ]
    if not lines:
        return
    points, colors, corners = compute_ribbons(lines)
    shader = gpu.shader.from_builtin("SMOOTH_COLOR")
    gpu.state.blend_set("ALPHA")
    batch_for_shader(shader, "TRIS", {"pos": points, "color": colors}, indices=corners).draw(shader)
    gpu.state.blend_set("NONE")


def compute_ribbons(
    lines: list[tuple[Array, Color, float]],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Triangles for lines (points, colour, width), with a dark rim that keeps them visible on any picture.

    Returns the points (N x 2), their colours (N x 4) and the indices of the triangles (M x 3). Blender's own shader for
    wide lines needs four times as many points, as it draws each segment on its own.
    """
    counts = [len(line) for line, _, _ in lines]
    # Points are complex numbers, so that multiplying by i turns a direction by a right angle.
    places = np.concatenate([line for line, _, _ in lines]).astype(np.float32).view(np.complex64).ravel()
    ends = np.cumsum(counts) - 1
    steps = np.diff(places)
    steps /= np.maximum(np.abs(steps), _LEAST_STEP_PX)
    steps[ends[:-1]] = 0
    across = np.zeros_like(places)
    across[:-1] += steps
    across[1:] += steps
    across *= 1j / np.maximum(np.abs(across), _LEAST_STEP_PX)
    reach = np.array(
        [(-width / 2 - _RIM_PX, -width / 2, width / 2, width / 2 + _RIM_PX) for _, _, width in lines], np.float32
    )
    points = places[:, None] + across[:, None] * reach.repeat(counts, axis=0)
    colors = np.empty((len(lines), 4, 4), np.float32)
    colors[:, 1:3] = np.array([color for _, color, _ in lines], np.float32)[:, None]
    colors[:, ::3] = _RIM
    begins = np.delete(np.arange(len(places), dtype=np.int32), ends)
    corners = (4 * begins[:, None] + _BANDS).reshape(-1, 3)
    return points.view(np.float32).reshape(-1, 2), colors.repeat(counts, axis=0).reshape(-1, 4), corners


def _put_dots(drawing: Drawing) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    if not drawing.dots:
        return
    # Each dot is drawn on a dark one that is a little larger.
    rings = [place + (radius + more) * _DOT for place, radius, _ in drawing.dots for more in (1.5, 0.0)]
    colors = [tone for _, _, color in drawing.dots for tone in ((0.0, 0.0, 0.0, 0.6), color)]
    shader = gpu.shader.from_builtin("FLAT_COLOR")
    gpu.state.blend_set("ALPHA")
    batch_for_shader(
        shader,
        "TRIS",
        {
            "pos": make_fans(np.array(rings)),
            "color": np.repeat(np.array(colors, np.float32), 3 * len(_DOT), axis=0),
        },
    ).draw(shader)
    gpu.state.blend_set("NONE")


_Label = tuple[str, tuple[float, float, float, float], Color]


def _put_words(drawing: Drawing, size: tuple[int, int], unit: float) -> None:
    """Draw the words within a region of this size. Words that would overlap others move up, or are left out."""
    import blf
    import gpu
    from gpu_extras.batch import batch_for_shader

    font = 0
    blf.size(font, 12 * unit)
    _WIDTHS.limit()
    placed: list[_Label] = []
    for text, (x, y), color in drawing.words:
        width, height = _WIDTHS.find(text, unit), 17 * unit
        left = min(max(x - width / 2, 0), max(size[0] - width, 0))
        for lines in range(3):
            low = min(max(y + lines * height, 0), size[1] - height)
            box = left, low, left + width, low + height
            if _is_free(box, placed):
                placed.append((text, box, color))
                break
    if not placed:
        return
    boxes = np.array([box for _, box, _ in placed], np.float32)
    points = np.ascontiguousarray(boxes[:, [0, 1, 2, 1, 2, 3, 0, 1, 2, 3, 0, 3]].reshape(-1, 2))
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("color", (0.0, 0.0, 0.0, 0.6))
    gpu.state.blend_set("ALPHA")
    batch_for_shader(shader, "TRIS", {"pos": points}).draw(shader)
    shown: Color | None = None
    for text, box, color in placed:
        if color != shown:
            shown = color
            blf.color(font, *color)
        blf.position(font, box[0] + 4 * unit, box[1] + 4.5 * unit, 0)
        blf.draw(font, text)
    gpu.state.blend_set("NONE")


def _is_free(box: tuple[float, float, float, float], placed: list[_Label]) -> bool:
    left, low, right, high = box
    for _, other, _ in placed:
        if left < other[2] and other[0] < right and low < other[3] and other[1] < high:
            return False
    return True
