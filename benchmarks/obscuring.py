# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces under the effects: rendered by Blender's own node groups, and computed for the many frames of a moving shot."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.cover.effects import BLUR, MOSAIC
from blender_faceblur.core.detection.settings import DEFAULT_MARGIN
from blender_faceblur.core.types import Ellipse, Evidence, Picture, Sample, SourceInfo, Track, TrackDocument

from .portraits import FACE_HEIGHT, FACE_PX, TILE_PX, compute_middle

Linear = NDArray[np.float32]

COLUMNS = 8
"""Tiles of a sheet, in one row: an effect assumes at least an eighth of the picture's height as a face's size."""
_ROOM = FACE_PX, 2 * FACE_PX, FACE_PX, FACE_PX
"""Pixels by which a tile's border is extended above, below, left and right, so that no cover shows another tile.

Whole faces, and an even number in total, so that every grid fits.
"""
_PITCH = TILE_PX + _ROOM[2] + _ROOM[3]
SPREAD = MOSAIC.spread
"""Of a mosaic: standard deviation, in blocks, of the bell before the blocks are taken."""
_FOLLOWED = int(BLUR.points_per_sample)
"""Smooth points for each sample of a blur; straight lines between them."""


def render_tiles(tiles: list[Picture], kind: str, samples: float, folder: Path) -> list[Picture]:
    """Every tile as Blender renders it with the effect over its face; `folder` is for temporary files."""
    import bpy

    from blender_faceblur.blender.common.context import refresh_sequencer
    from blender_faceblur.blender.rendering.project import build_project
    from blender_faceblur.core.cover.effects import EffectSettings

    size = COLUMNS * _PITCH, TILE_PX + _ROOM[0] + _ROOM[1]
    done: list[Picture] = []
    scene = None
    for start in range(0, len(tiles), COLUMNS):
        part = tiles[start : start + COLUMNS]
        sheet = np.zeros((size[1], size[0], 3), np.uint8)
        for i, tile in enumerate(part):
            sheet[:, i * _PITCH : (i + 1) * _PITCH] = cv2.copyMakeBorder(tile, *_ROOM, cv2.BORDER_REPLICATE)
        path = folder / f"sheet {start}.png"
        cv2.imwrite(str(path), sheet)
        if scene is None:
            scene = build_project(path, _build_document(size), EffectSettings(kind, samples_across=samples))
            scene.render.image_settings.media_type = "IMAGE"
            scene.render.image_settings.file_format = "PNG"
            scene.render.image_settings.color_mode = "RGB"
            scene.render.image_settings.compression = 0
            scene.render.filepath = str(folder / "rendered.png")
        strip = next(strip for strip in scene.sequence_editor.strips if strip.type == "IMAGE")
        strip.elements[0].filename = path.name
        refresh_sequencer(scene)
        bpy.ops.render.render(write_still=True, scene=scene.name)
        rendered = cv2.imread(scene.render.filepath)
        done += [np.ascontiguousarray(rendered[_place(i)], np.uint8) for i in range(len(part))]
    return done


def _place(number: int) -> tuple[slice, slice]:
    y, x = _ROOM[0], number * _PITCH + _ROOM[2]
    return slice(y, y + TILE_PX), slice(x, x + TILE_PX)


def _build_document(size: tuple[int, int]) -> TrackDocument:
    """A face in the same place of every tile."""
    tracks = []
    for i in range(COLUMNS):
        y, x = _place(i)
        ellipse = Ellipse(
            x.start + compute_middle()[0], y.start + compute_middle()[1], FACE_PX / 2, FACE_HEIGHT * FACE_PX / 2
        )
        tracks.append(Track(f"Face {i + 1:02}", [Sample(0, ellipse, Evidence.DETECTED, 1.0)]))
    source = SourceInfo("sheet 0.png", "image", *size, 1, Fraction(24), "0" * 64)
    return TrackDocument(source, "balanced", DEFAULT_MARGIN, [], [], tracks, [])


def draw_cover() -> NDArray[np.bool_]:
    """The covered pixels of a tile, safety margin included."""
    x, y = np.meshgrid(np.arange(TILE_PX) + 0.5, np.arange(TILE_PX) + 0.5)
    half = DEFAULT_MARGIN * FACE_PX / 2
    distance = np.hypot((x - compute_middle()[0]) / half, (y - compute_middle()[1]) / (half * FACE_HEIGHT))
    return np.asarray(distance < 1)


def imitate(tile: Linear, kind: str, samples: int) -> Linear:
    """Mosaic or blur over a whole tile in linear light, as Blender computes it (the bench measures the difference)."""
    count = TILE_PX // FACE_PX * samples
    if kind == "mosaic":
        tile = np.asarray(cv2.GaussianBlur(tile, (0, 0), SPREAD * FACE_PX / samples, borderType=cv2.BORDER_REPLICATE))
    grid = cv2.resize(tile, (count, count), interpolation=cv2.INTER_AREA)
    size = TILE_PX, TILE_PX
    if kind == "mosaic":
        return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_NEAREST_EXACT))
    smooth = _spread_to_tile(count)
    return np.asarray(np.tensordot(smooth, np.tensordot(smooth, grid, (1, 0)), (1, 1)).transpose(1, 0, 2))


def spread_splines(count: int, times: int) -> NDArray[np.float32]:
    """The matrix from `count` samples to `times` as many points: cubic B-splines, Blender's bicubic."""
    at = (np.arange(count * times) + 0.5) / times - 0.5
    base = np.floor(at).astype(int)
    t = at - base
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    matrix = np.zeros((len(at), count), np.float32)
    for step, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (np.arange(len(at)), np.clip(base + step, 0, count - 1)), weight / 6)
    return matrix


@cache
def _spread_to_tile(count: int) -> NDArray[np.float32]:
    """The matrix from samples to a tile's pixels: curves between the samples first, then straight lines."""
    points = spread_splines(count, _FOLLOWED)
    return np.asarray(cv2.resize(points, (count, TILE_PX), interpolation=cv2.INTER_LINEAR), np.float32)


def to_linear(picture: Picture) -> Linear:
    return np.asarray(_LINEAR[picture], np.float32)


def to_levels(linear: Linear) -> Picture:
    return np.asarray(_LEVELS[(np.clip(linear, 0, 1) * 65535 + 0.5).astype(np.uint16)], np.uint8)


_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
_STEPS = np.arange(65536) / 65535
_LEVELS = (
    255 * np.where(_STEPS <= 0.0031308, _STEPS * 12.92, 1.055 * np.maximum(_STEPS, 1e-9) ** (1 / 2.4) - 0.055) + 0.5
).astype(np.uint8)
