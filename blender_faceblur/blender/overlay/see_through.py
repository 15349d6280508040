# SPDX-License-Identifier: GPL-3.0-or-later
"""See-through covers: the source's own picture, drawn over the preview where a face is covered.

The project does not change: no modifier is switched off that a render would then lack. The pictures come from image
data-blocks without users, which Blender does not save. A timer loads them, as no data may be added while Blender draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ...core.cover.layers import FEATHER_SHARE
from ...core.geometry import Array
from ...core.types import FaceBlurError
from ..common.footage import Footage, get_footage
from ..common.jobs import redraw
from ..cover.projection import Projection, compute_outlines
from ..review.session import SESSION

FAN_POINTS = 48
_MOST_IMAGES = 6


@dataclass(frozen=True, slots=True)
class BarePicture:
    """The uncovered faces of one source at one frame.

    `places` and `parts` are N rings of points (N x `FAN_POINTS` x 2): on the canvas, and in the picture as shares of
    its width and height from the lower left corner.
    """

    path: str
    number: int
    """Index of the picture within a film, from 0."""
    size: tuple[int, int]
    places: Array
    parts: Array


@dataclass(slots=True)
class SeeThroughState:
    """The state of see-through covers. This module owns it. `forget` resets it, which also happens before another
    project is opened and when the extension is disabled."""

    on: bool = False
    images: dict[str, str] = field(default_factory=dict)
    """The names of the image data-blocks by path, empty for files that cannot be shown; the latest last."""
    loaded: dict[str, int] = field(default_factory=dict)
    """By path, the index of the picture that is on the graphics card."""
    wanted: set[str] = field(default_factory=set)
    """Paths that the timer is to load."""


SEE_THROUGH = SeeThroughState()


def is_see_through() -> bool:
    """Whether covers are see-through now: an editor asked for it, or is reviewing."""
    return SEE_THROUGH.on or SESSION.is_see_through


def get_bare_picture(
    strip: bpy.types.Strip, source_frame: int, ellipses: Array, projection: Projection
) -> BarePicture | None:
    """The picture behind covers (N x 5: cx, cy, rx, ry, angle, in source pixels); None if there is no file for it."""
    try:
        path, number = _get_picture(get_footage(strip), source_frame)
    except FaceBlurError:
        return None
    left, top, right, bottom = projection.shown
    points = np.clip(compute_outlines(add_soft_edge(ellipses), FAN_POINTS), (left, top), (right, bottom))
    width, height = projection.size
    parts = points * (1 / width, -1 / height) + (0.0, 1.0)
    return BarePicture(path, number, projection.size, projection.project(points), parts)


def add_soft_edge(ellipses: Array) -> Array:
    """Ellipses (N x 5: cx, cy, rx, ry, angle) that include the soft edge of covers of these shapes."""
    wide = ellipses.copy()
    wide[:, 2:4] += FEATHER_SHARE * wide[:, 2:4].min(axis=1, keepdims=True)
    return wide


def draw_bare_pictures(pictures: list[BarePicture]) -> None:
    """Draw the pictures that are loaded, and have the others loaded."""
    import gpu
    from gpu_extras.batch import batch_for_shader

    for picture in pictures:
        image = _get_image(picture)
        if image is None:
            continue
        if SEE_THROUGH.loaded.get(picture.path) != picture.number:
            # Without this call Blender keeps showing the picture that it has loaded.
            image.gl_free()
            if image.gl_load(frame=picture.number + 1):
                continue
            SEE_THROUGH.loaded[picture.path] = picture.number
        shader = gpu.shader.from_builtin("IMAGE_SCENE_LINEAR_TO_REC709_SRGB")
        shader.bind()
        shader.uniform_sampler("image", gpu.texture.from_image(image))
        points = {"pos": make_fans(picture.places), "texCoord": make_fans(picture.parts)}
        batch_for_shader(shader, "TRIS", points).draw(shader)


def forget(*_: object) -> None:
    """Show the covers again and free the pictures."""
    SEE_THROUGH.on = False
    if bpy.app.timers.is_registered(load_wanted):
        bpy.app.timers.unregister(load_wanted)
    for name in SEE_THROUGH.images.values():
        _remove(name)
    for kept in (SEE_THROUGH.images, SEE_THROUGH.loaded, SEE_THROUGH.wanted):
        kept.clear()


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_forget_before)


def unregister_handlers() -> None:
    bpy.app.handlers.load_pre.remove(_forget_before)
    forget()


@persistent
def _forget_before(*_: object) -> None:
    forget()


def _get_picture(footage: Footage, source_frame: int) -> tuple[str, int]:
    if footage.files:
        return str(footage.path / footage.files[min(source_frame, len(footage.files) - 1)]), 0
    return str(footage.path), source_frame


def _get_image(picture: BarePicture) -> bpy.types.Image | None:
    name = SEE_THROUGH.images.get(picture.path)
    image = bpy.data.images.get(name) if name else None
    if image is None and name != "":
        want(picture.path)
    # A film that only the sequencer rotates has another size as an image, and would be drawn wrongly.
    return image if image is not None and tuple(image.size) == picture.size else None


def want(path: str) -> None:
    """Have a picture loaded as soon as Blender is not drawing."""
    SEE_THROUGH.loaded.pop(path, None)
    SEE_THROUGH.wanted.add(path)
    if not bpy.app.timers.is_registered(load_wanted):
        bpy.app.timers.register(load_wanted, first_interval=0.0)


def load_wanted() -> None:
    for path in sorted(SEE_THROUGH.wanted):
        SEE_THROUGH.images[path] = _load_image(path)
    SEE_THROUGH.wanted.clear()
    while len(SEE_THROUGH.images) > _MOST_IMAGES:
        oldest = next(iter(SEE_THROUGH.images))
        _remove(SEE_THROUGH.images.pop(oldest))
        SEE_THROUGH.loaded.pop(oldest, None)
    redraw()


def _load_image(path: str) -> str:
    try:
        image = bpy.data.images.load(path, check_existing=False)
    except RuntimeError:
        return ""
    image.name = f"Behind covers: {Path(path).name}"
    return str(image.name)


def _remove(name: str) -> None:
    image = bpy.data.images.get(name) if name else None
    if image is not None and not image.users:
        bpy.data.images.remove(image)


def make_fans(points: Array) -> Array:
    """The corners (M x 2) of the triangles that fill N rings of points (N x K x 2) from their middles."""
    middle = np.broadcast_to(points.mean(axis=1, keepdims=True), points.shape)
    corners = np.stack([middle, points, np.roll(points, -1, axis=1)], axis=2)
    return np.ascontiguousarray(corners.reshape(-1, 2), np.float32)
