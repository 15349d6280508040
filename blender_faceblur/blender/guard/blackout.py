# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the strips black whose covers would show faces.

A handler cannot stop a render, as Blender only prints its exceptions. But what it sets on a strip applies to every
frame that follows, whether the frame was previewed before or not: a strip multiplied by zero is black (measured in
Blender 5.0.1 and 5.2.2).
"""

from __future__ import annotations

import bpy

from ..common.context import drop_pictures_of_scenes
from .checks import CoverFault, check_scene, list_animation

BLACKED_OUT = "faceblur_held"
"""Custom property of a strip that is blacked out during a render: its former brightness, and the muted curves."""


_BRIGHTEST = 20.0
"""The largest value that Blender's interface allows for a strip's brightness."""


def black_out(scene: bpy.types.Scene, with_review: bool = False, of_preview: bool = False) -> list[CoverFault]:
    """Make every strip that would show faces black, until `restore` is called; returns the faults that caused it.

    `of_preview` is for a render of the preview. Strips in which faces were never detected are among them if the scene
    asks for that, or their own scene, which the scene shows in a strip. The function adds no data, so the thread of a
    render may call it.
    """
    asking = {own.name for own in bpy.data.scenes if _blacks_out_undetected(own)}
    found = check_scene(scene, with_review, with_undetected=bool(asking))
    faults = [
        fault
        for fault in found
        if (fault.shows or (of_preview and fault.in_preview))
        and (not fault.undetected or not asking.isdisjoint((scene.name, fault.scene)))
    ]
    for name, owner in {(fault.strip, fault.scene) for fault in faults}:
        own = bpy.data.scenes[owner]
        _blacken(own, own.sequence_editor.strips_all[name])
    if faults:
        drop_pictures_of_scenes()
    return faults


def _blacks_out_undetected(scene: bpy.types.Scene) -> bool:
    """Whether strips are to be rendered black in which faces were never detected."""
    settings = getattr(scene, "faceblur", None)
    return settings is not None and bool(settings.black_out_undetected or settings.must_be_covered)


def restore() -> None:
    """Restore the brightness of the strips that were blacked out."""
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor is not None else ():
            if BLACKED_OUT in strip:
                brightness, *muted = _read_blacked_out(strip)
                strip.color_multiply = brightness
                for curve, was_muted in zip(_list_curves(scene, strip), muted, strict=False):
                    curve.mute = bool(was_muted)
                del strip[BLACKED_OUT]


def _read_blacked_out(strip: bpy.types.Strip) -> list[float]:
    """What `_blacken` stored, or the strip's present brightness where a stranger's file holds something else."""
    stored = strip[BLACKED_OUT]
    numbers = list(stored) if getattr(stored, "typecode", "") in ("f", "d") else []
    return numbers if numbers and 0 <= numbers[0] <= _BRIGHTEST else [strip.color_multiply]


def _blacken(scene: bpy.types.Scene, strip: bpy.types.Strip) -> None:
    curves = _list_curves(scene, strip)
    if BLACKED_OUT not in strip:
        strip[BLACKED_OUT] = [strip.color_multiply, *(float(curve.mute) for curve in curves)]
    for curve in curves:
        curve.mute = True
    strip.color_multiply = 0.0


def _list_curves(scene: bpy.types.Scene, strip: bpy.types.Strip) -> list[bpy.types.FCurve]:
    """The curves and drivers that animate a strip's brightness."""
    return list_animation(scene, strip.path_from_id("color_multiply"))
