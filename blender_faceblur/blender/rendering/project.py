# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the project of one source: the footage, its mask and its effect, in a scene of the footage's own format."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.types import FaceBlurError, SourceInfo, TrackDocument
from ..cover.compositing import EffectSettings
from ..cover.covering import cover_footage

FIRST_FRAME = 1
"""The timeline frame that shows source frame 0."""

CACHE_MB = 256


def build_project(path: Path, document: TrackDocument, effect: EffectSettings | None) -> bpy.types.Scene:
    """Replace everything in this Blender by a scene that shows `path`, covered; uncovered where `effect` is None.

    The scene has the source's size, rate and length, and the view transform that keeps its colours.
    """
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    # Blender keeps frames in memory until this is full, several GB by default, though none is shown twice.
    bpy.context.preferences.system.memory_cache_limit = CACHE_MB
    scene = bpy.context.scene
    source = document.source
    scene.name = path.stem[:63]
    set_format(scene, source)
    strip = add_footage(scene, path, source)
    if effect is not None:
        cover_footage(scene, strip, document, effect)
    return scene


def set_format(scene: bpy.types.Scene, source: SourceInfo) -> None:
    render = scene.render
    render.resolution_x, render.resolution_y = source.width, source.height
    render.resolution_percentage = 100
    render.fps = max(round(source.frame_rate), 1)
    render.fps_base = float(render.fps / source.frame_rate)
    scene.frame_start = FIRST_FRAME
    scene.frame_end = FIRST_FRAME + source.frame_count - 1
    # AgX, the default, changes every colour: 6.6 levels on average against 1.0 with Standard (Blender 5.0.1, 5.2).
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0
    scene.render.dither_intensity = 0.0
    scene.render.use_sequencer = True
    scene.render.use_compositing = False
    # A GPU is not always there, and without OpenGL's libraries Blender ends at once when asked for one (5.2).
    scene.render.compositor_device = "CPU"


def add_footage(scene: bpy.types.Scene, path: Path, source: SourceInfo) -> bpy.types.Strip:
    """The source as a strip in its own size, one timeline frame a source frame, from `FIRST_FRAME` on."""
    strips = scene.sequence_editor_create().strips
    name = path.stem[:50]
    if source.kind == "image":
        strip = strips.new_image(name, str(path), 1, FIRST_FRAME, fit_method="ORIGINAL")
        strip.frame_final_duration = source.frame_count
    else:
        strip = strips.new_movie(name, str(path), 1, FIRST_FRAME, fit_method="ORIGINAL")
        if strip.frame_final_duration < source.frame_count:  # noqa: PLR1730 - set only where it must be
            # Blender 5.0 counts a Matroska film with AAC sound one frame short: its last picture is held.
            strip.frame_final_duration = source.frame_count
    element = strip.elements[0]
    shown = (element.orig_width, element.orig_height)
    if 0 in shown and source.kind == "image":
        return strip
    if shown != (source.width, source.height):
        raise FaceBlurError(
            f"Blender shows {path.name} as {shown[0]}x{shown[1]}, but {source.width}x{source.height} was analysed."
        )
    return strip


def add_sound(scene: bpy.types.Scene, path: Path) -> str | None:
    """Lay a film's sound below its picture; a sentence for the user when there is sound that was left out.

    Blender's Python starts a sound at its own beginning, whenever that was in the film, so sound that does not run as
    long as the picture is left to the editor.
    """
    strips = scene.sequence_editor.strips
    footage = next(strip for strip in strips if strip.type == "MOVIE")
    sound = strips.new_sound(f"{footage.name} sound", str(path), 1 + max(s.channel for s in strips), FIRST_FRAME)
    silent, data = sound.sound.channels == "INVALID", sound.sound
    if not silent and abs(sound.frame_final_duration - footage.frame_final_duration) <= 2:
        for strip in sorted(strips, key=lambda s: -s.channel):
            strip.channel += 1
        sound.channel = 1
        return None
    strips.remove(sound)
    bpy.data.sounds.remove(data)
    return None if silent else f"The sound of {path.name} is not in the project: it does not start with the picture."
