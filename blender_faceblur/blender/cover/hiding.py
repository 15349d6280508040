# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips hide what lies below them in the sequencer."""

from __future__ import annotations

import bpy
import numpy as np

from ..common.footage import KINDS
from .projection import get_projection

_OPAQUE = (".mp4", ".m4v", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".jpg", ".jpeg")
"""Endings of file formats without an alpha channel."""

_MOST_FILLED = 0.5
"""The share of the canvas from which a generated picture may hide what matters. The bars of a letterbox have less."""

_SHOWING_NOTHING = ("SOUND", "TEXT", "MASK", "ADJUSTMENT", "META", *KINDS)


def hides(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    """Whether a strip of footage certainly hides everything below it at the scene's frame."""
    name = strip.filepath if strip.type == "MOVIE" else strip.elements[0].filename if len(strip.elements) else ""
    if (
        not name.lower().endswith(_OPAQUE)
        or strip.blend_type not in ("REPLACE", "ALPHA_OVER")
        or strip.blend_alpha < 1
        or strip.parent_meta() is not None
    ):
        return False
    projection = get_projection(scene, strip)
    half = scene.render.resolution_x / 2, scene.render.resolution_y / 2
    aspect = scene.render.pixel_aspect_x / scene.render.pixel_aspect_y
    left, top, right, bottom = projection.shown
    corners = [projection.to_source(x * half[0] * aspect, y * half[1]) for x in (-1, 1) for y in (-1, 1)]
    return all(left - 0.5 <= x <= right + 0.5 and top - 0.5 <= y <= bottom + 0.5 for x, y in corners)


def may_hide(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    """Whether a strip may hide most of what is below it although `hides` does not say so: generated and other scenes'
    pictures, and meta strips with such pictures or footage in them."""
    if strip.type == "META":
        inner = [other for other in strip.strips if not other.mute]
        return any(other.type in KINDS or may_hide(scene, other) for other in inner)
    return strip.type not in _SHOWING_NOTHING and _compute_filled(scene, strip) >= _MOST_FILLED


def _compute_filled(scene: bpy.types.Scene, strip: bpy.types.Strip) -> float:
    """At most how much of the canvas a strip's picture fills at the scene's frame (0..1)."""
    outline = np.array(get_projection(scene, strip).compute_picture_outline())
    aspect = scene.render.pixel_aspect_x / scene.render.pixel_aspect_y
    half = np.array([scene.render.resolution_x * aspect, scene.render.resolution_y]) / 2
    sides = np.clip(outline.max(axis=0), -half, half) - np.clip(outline.min(axis=0), -half, half)
    return float(np.prod(sides / (2 * half)))


def is_animated(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    """Whether something about a strip is animated in its scene: then `hides` may differ from frame to frame."""
    animation = scene.animation_data
    if animation is None:
        return False
    path = strip.path_from_id()
    curves = list(animation.drivers)
    if animation.action is not None:
        bags = [part.channelbag(animation.action_slot) for layer in animation.action.layers for part in layer.strips]
        curves += [curve for bag in bags if bag is not None for curve in bag.fcurves]
    return any(curve.data_path.startswith(path) for curve in curves)
