# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a covered project so that everything but the faces stays unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy

from ...core.types import FaceBlurError
from ..common.context import borrow_sequencer
from ..common.curves import remove_curves
from ..common.marks import get_modifier
from .project import FIRST_FRAME

QUALITIES = {"lossless": "LOSSLESS", "high": "PERC_LOSSLESS", "medium": "HIGH", "low": "MEDIUM"}
"""Quality -> Blender's constant rate factor. "high" is visually lossless (CRF 17 in H.264)."""

CODECS = {"h264": "H264", "h265": "H265", "av1": "AV1", "ffv1": "FFV1"}

STILL_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
_JPEG_QUALITY = {"lossless": 100, "high": 97, "medium": 92, "low": 85}


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """The output path and its format: Matroska without sound for a film, the path's suffix for a picture."""

    output: Path
    codec: str = "h264"
    quality: str = "high"


def render_film(
    scene: bpy.types.Scene,
    settings: RenderSettings,
    faces: Sequence[tuple[int, int]],
    progress: Callable[[int], None],
) -> None:
    """Render the scene's whole range. `faces` are the half-open source frame ranges that have covers.

    In all other frames the modifier is muted during this render, which saves its whole cost; afterwards the scene is
    unchanged. `progress` gets the number of frames done. Raises FaceBlurError unless every frame was written.
    """
    if settings.codec not in CODECS or settings.quality not in QUALITIES:
        raise FaceBlurError(f"Blender cannot render the codec '{settings.codec}' at the quality '{settings.quality}'.")
    render = scene.render
    image = render.image_settings
    image.media_type = "VIDEO"
    image.file_format = "FFMPEG"
    image.color_mode = "RGB"
    image.color_depth = "8"
    film = render.ffmpeg
    film.format = "MKV"
    film.codec = CODECS[settings.codec]
    film.constant_rate_factor = QUALITIES[settings.quality]
    film.ffmpeg_preset = "GOOD"
    film.audio_codec = "NONE"
    film.use_autosplit = False
    _set_output(scene, settings.output)
    muted = _mute_without_faces(scene, faces)
    try:
        render_animation(scene, progress)
    finally:
        for modifier, path in muted:
            remove_curves(scene, path)
            modifier.mute = False


def render_animation(scene: bpy.types.Scene, progress: Callable[[int], None]) -> None:
    """Render the scene's range with its own settings; `progress` gets the number of frames written.

    Raises FaceBlurError unless every frame was written.
    """
    total = len(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    written = 0

    def count_frame(*_: object) -> None:
        nonlocal written
        written += 1
        progress(written)

    bpy.app.handlers.render_write.append(count_frame)
    try:
        with borrow_sequencer(scene):
            bpy.ops.sequencer.refresh_all()
            outcome = bpy.ops.render.render(animation=True, scene=scene.name)
    finally:
        bpy.app.handlers.render_write.remove(count_frame)
    if outcome != {"FINISHED"} or written != total:
        raise FaceBlurError(f"Blender stopped rendering after {written} of {total} frames.")


def render_still(scene: bpy.types.Scene, settings: RenderSettings, channels: str, depth: int) -> None:
    """Render the first frame of the scene. `channels` is BW, RGB or RGBA; `depth` is in bits, 8 or 16."""
    suffix = settings.output.suffix.lower()
    if suffix not in STILL_FORMATS:
        raise FaceBlurError(f"Pictures cannot be written as '{suffix}'. Choose from {', '.join(STILL_FORMATS)}.")
    image = scene.render.image_settings
    image.media_type = "IMAGE"
    image.file_format = STILL_FORMATS[suffix]
    # A JPEG with four channels is CMYK, which Blender shows and writes as RGB.
    image.color_mode = "RGB" if channels == "RGBA" and suffix in (".jpg", ".jpeg") else channels
    if suffix in (".png", ".tif", ".tiff"):
        image.color_depth = str(depth)
    image.quality = _JPEG_QUALITY[settings.quality]
    image.compression = 15
    scene.render.film_transparent = True
    _set_output(scene, settings.output)
    scene.frame_set(FIRST_FRAME)
    with borrow_sequencer(scene):
        bpy.ops.sequencer.refresh_all()
        bpy.ops.render.render(write_still=True, scene=scene.name)


def _set_output(scene: bpy.types.Scene, output: Path) -> None:
    render = scene.render
    render.compositor_device = "CPU"
    render.use_file_extension = False
    render.use_overwrite = True
    render.use_placeholder = False
    render.use_stamp = False
    render.use_border = False
    for stamp in render.bl_rna.properties:
        if stamp.identifier.startswith("use_stamp_"):
            setattr(render, stamp.identifier, False)
    render.metadata_input = "SCENE"
    # Blender reads '#' in a path as digits of the frame number, and '//' as the folder of the .blend file.
    if "#" in str(output):
        raise FaceBlurError(f"Blender cannot write to a path that contains '#': {output}")
    render.filepath = str(output)


def _mute_without_faces(
    scene: bpy.types.Scene, faces: Sequence[tuple[int, int]]
) -> list[tuple[bpy.types.StripModifier, str]]:
    """Key our modifiers to be muted outside of the ranges, which are widened by a frame; returns what was keyed."""
    keyed = []
    for strip in scene.sequence_editor.strips:
        modifier = get_modifier(strip)
        if modifier is None or modifier.mute:
            continue
        path = modifier.path_from_id("mute")
        changes = {scene.frame_start - 1: True}
        for start, stop in _widen(faces, 1):
            changes[FIRST_FRAME + start] = False
            changes[FIRST_FRAME + stop] = True
        for frame, mute in changes.items():
            modifier.mute = mute
            scene.keyframe_insert(path, frame=frame)
        modifier.mute = False
        keyed.append((modifier, path))
    return keyed


def _widen(ranges: Sequence[tuple[int, int]], by: int) -> list[tuple[int, int]]:
    """The ranges, sorted, each widened by `by` at both ends; ranges that meet are joined."""
    wide: list[tuple[int, int]] = []
    for start, stop in sorted((start - by, stop + by) for start, stop in ranges):
        if wide and start <= wide[-1][1]:
            wide[-1] = (wide[-1][0], max(wide[-1][1], stop))
        else:
            wide.append((start, stop))
    return wide
