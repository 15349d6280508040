# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the project of one source: the footage, its mask and its effect, in a scene with the footage's format."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.cover.effects import EffectSettings
from ...core.types import FaceBlurError, SourceInfo, TrackDocument
from ..cover.covering import cover_footage

FIRST_FRAME = 1
"""The timeline frame that shows source frame 0."""

CACHE_MB = 256


def build_project(path: Path, document: TrackDocument, effect: EffectSettings | None) -> bpy.types.Scene:
    """Replace everything in this Blender with a scene that shows `path` covered, or uncovered if `effect` is None.

    The scene has the source's size, frame rate and length, and the view transform that preserves its colours.
    """
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    # Blender fills this cache with frames, several GB by default, though no frame is shown twice.
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
    # AgX, the default, changes every colour, by 6.6 levels on average, Standard by 1.0 (Blender 5.0.1, 5.2).
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0
    scene.render.dither_intensity = 0.0
    scene.render.use_sequencer = True
    scene.render.use_compositing = False
    # There may be no GPU, and without the OpenGL libraries Blender 5.2 exits at once when asked to use one.
    scene.render.compositor_device = "CPU"


def add_footage(scene: bpy.types.Scene, path: Path, source: SourceInfo) -> bpy.types.Strip:
    """Add the source as a strip in its own size, from `FIRST_FRAME` on, with one timeline frame per source frame.

    Raises FaceBlurError if Blender shows it with another size than was analysed.
    """
    strips = scene.sequence_editor_create().strips
    name = path.stem[:50]
    if source.kind == "image":
        strip = strips.new_image(name, str(path), 1, FIRST_FRAME, fit_method="ORIGINAL")
        strip.frame_final_duration = source.frame_count
    else:
        strip = strips.new_movie(name, str(path), 1, FIRST_FRAME, fit_method="ORIGINAL")
        if strip.frame_final_duration < source.frame_count:  # noqa: PLR1730 - set only where it must be
            # Blender 5.0 counts one frame too few for a Matroska film with AAC sound; its last picture is frozen.
            strip.frame_final_duration = source.frame_count
    element = strip.elements[0]
    shown = (element.orig_width, element.orig_height)
    if 0 in shown and source.kind == "image":
        return strip
    if shown != (source.width, source.height):
        raise FaceBlurError(
            f"Blender shows {path.name} with {shown[0]} x {shown[1]} pixels, but {source.width} x {source.height} were "
            "analysed."
        )
    return strip


def add_sound(scene: bpy.types.Scene, path: Path) -> str | None:
    """Add a film's sound below its picture. Returns a warning for the user if the film has sound that was not added.

    Through Python, Blender starts a sound at the strip's start, even if it begins later in the film. So sound that is
    not as long as the picture is left for the editor to add.
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
    if silent:
        return None
    return f"The sound of {path.name} was not added to the project, because it is not as long as the picture."
