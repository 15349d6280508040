# SPDX-License-Identifier: GPL-3.0-or-later
"""Notice which frames an editor watches: those that a preview shows while it plays.

It must show what a render would show, whole and with outlines: all channels, with Blender's own covers and not those of
fast playback, and nothing see-through. Scrubbing and standing pictures do not count. See `review/watched.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from ...core.translation import mark
from ..common.context import DrawHandlers, get_sequencer_scene
from ..common.footage import KINDS, get_frame_rate
from ..cover.baked import get_baked_mask
from ..cover.fast_playback import is_drawn, is_fast_playback_wanted
from ..cover.hiding import may_hide
from ..cover.projection import get_region_projection
from ..cover.strips import get_mask
from ..masks.overlay_cache import get_unit
from ..review.watched import get_source_frame, note_shown
from .outlines import explain_fault, list_shown
from .see_through import is_see_through

LEAST_WIDTH_PX = 240
"""The least width of the picture in the preview, in units of the interface. On a smaller one, faces can be missed."""

_CUT_PX = 2
"""How much of the canvas may be outside of the preview, for rounding."""

_HANDLERS = DrawHandlers("PREVIEW")


def add_watching() -> None:
    _HANDLERS.add(_notice)


def remove_watching() -> None:
    _HANDLERS.remove_all()


def _notice() -> None:
    """Draw handler, called by Blender for each preview."""
    context = bpy.context
    screen = context.screen
    if screen is None or not screen.is_animation_playing or screen.is_scrubbing:
        return
    scene = get_sequencer_scene(context)
    if scene is not None and not explain_unwatchable(context, scene, context.region, context.space_data):
        note_shown(scene.frame_current, get_frame_rate(scene), list_watchable(scene))


def explain_unwatchable(
    context: bpy.types.Context, scene: bpy.types.Scene, region: bpy.types.Region, space: bpy.types.Space
) -> str:
    """Why what a preview plays does not count as watched; empty if it does."""
    if not (space.show_overlays and scene.faceblur.show_overlay and space.display_mode == "IMAGE"):
        return mark("Show the outlines of the faces in the preview: only then does it count as watched")
    if space.display_channel != 0 or scene.sequence_editor.show_overlay_frame:
        return mark("Show all channels in the preview, and no other frame over it")
    if is_see_through():
        return mark("Switch See Through Covers off to watch the covers")
    render, view = scene.render, get_region_projection(region)
    half = render.resolution_x * render.pixel_aspect_x / render.pixel_aspect_y / 2, render.resolution_y / 2
    (left, bottom), (right, top) = view.to_region(-half[0], -half[1]), view.to_region(*half)
    if min(left, bottom) < -_CUT_PX or right > region.width + _CUT_PX or top > region.height + _CUT_PX:
        return mark("Show the whole picture in the preview (Home)")
    if right - left < LEAST_WIDTH_PX * get_unit(context):
        return mark("Make the preview larger: in such a small picture, faces can be missed")
    return ""


def explain_unwatchable_window(context: bpy.types.Context, scene: bpy.types.Scene) -> str:
    """Why nothing that a window plays would count as watched; empty if one of its previews is as it must be."""
    if is_fast_playback_wanted():
        return mark("Switch Fast Playback off: it does not show the covers themselves")
    reasons = [
        explain_unwatchable(context, scene, region, area.spaces.active)
        for area in context.screen.areas
        if area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type != "SEQUENCER"
        for region in area.regions
        if region.type == "PREVIEW"
    ]
    if not reasons:
        return mark("Show a preview in this window")
    return "" if "" in reasons else reasons[0]


def list_watchable(scene: bpy.types.Scene) -> list[tuple[bpy.types.Mask, int]]:
    """The masks whose covers the preview shows at the playhead, with the source frame that is covered."""
    found = []
    highest = max((strip.channel for strip in _list_hiding(scene)), default=0)
    for strip in list_shown(scene):
        mask = get_mask(strip) or get_baked_mask(strip)
        if mask is None or explain_fault(strip) or is_drawn(strip) or strip.blend_alpha <= 0:
            continue
        frame = get_source_frame(scene, strip, mask)
        if frame is not None and (strip.parent_meta() or strip).channel >= highest:
            found.append((mask, frame))
    return found


def _list_hiding(scene: bpy.types.Scene) -> Iterator[bpy.types.Strip]:
    """The strips at the playhead that may hide what is below them, apart from footage, which `list_shown` knows."""
    frame, editor = scene.frame_current, scene.sequence_editor
    for strip in editor.strips:
        if strip.type in KINDS or strip.mute or not strip.frame_final_start <= frame < strip.frame_final_end:
            continue
        if not editor.channels[strip.channel].mute and may_hide(scene, strip):
            yield strip
