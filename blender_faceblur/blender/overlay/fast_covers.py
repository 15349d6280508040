# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain shapes over the faces during fast playback; see `cover/fast_playback.py`.

What they cannot be drawn for is covered as a whole: a strip that changed since the playback began, a frame that was
not analysed. If drawing fails, Blender computes the covers again.
"""

from __future__ import annotations

import bpy
import numpy as np

from ...core.geometry import Array
from ..cover import fast_playback
from ..cover.projection import compute_outlines, get_projection
from ..cover.strips import get_mask
from ..masks.overlay_cache import get_cached, list_switched_off
from .see_through import FAN_POINTS, add_soft_edge, make_fans

_COLOR = (0.02, 0.02, 0.02, 1.0)


def draw_fast_covers(scene: bpy.types.Scene, strips: list[tuple[bpy.types.Strip, int | None]]) -> None:
    """Draw the covers of those among these strips whose covers Blender does not compute now.

    Each comes with the source frame that it shows, None if that is not known.
    """
    import gpu
    from gpu_extras.batch import batch_for_shader

    try:
        moved = fast_playback.MovedStrips.find(scene)
        shapes = [
            shape
            for strip, frame in strips
            if fast_playback.is_drawn(strip)
            for shape in compute_shapes(scene, strip, frame, moved)
        ]
        if not shapes:
            return
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        shader.bind()
        shader.uniform_float("color", _COLOR)
        corners = np.concatenate([make_fans(shape[None]) for shape in shapes])
        batch_for_shader(shader, "TRIS", {"pos": corners}).draw(shader)
    except Exception:
        # Whatever went wrong, faces must not show.
        bpy.app.timers.register(fast_playback.end, first_interval=0.0)
        raise


def compute_shapes(
    scene: bpy.types.Scene, strip: bpy.types.Strip, frame: int | None, moved: fast_playback.MovedStrips
) -> list[Array]:
    """The outlines (each K x 2, on the canvas) of what hides a strip's faces at a source frame."""
    projection = get_projection(scene, strip)
    whole = [np.array(projection.compute_picture_outline())]
    mask = get_mask(strip)
    if mask is None or frame is None or not fast_playback.is_drawable(strip, moved):
        return whole
    known = get_cached(mask)
    if known.is_unanalysed(frame):
        return whole
    off = list_switched_off(mask, known)
    ellipses = [cover.shape_at(frame) for cover in known.covers if cover.is_opaque(frame) and cover.track not in off]
    if not ellipses:
        return []
    return list(projection.project(compute_outlines(add_soft_edge(np.array(ellipses)), FAN_POINTS)))
