# SPDX-License-Identifier: GPL-3.0-or-later
"""A film whose only bright thing is a moving disk, covered as if it were a face, and what a render shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Ellipse, Evidence, Sample, SourceInfo, Track, TrackDocument
from blender_faceblur.sources import compute_fingerprint

WIDTH, HEIGHT, FRAMES, RADIUS = 320, 180, 40, 20
COVER = "0000FF"


def place_disk(frame: int) -> tuple[float, float]:
    return 60.0 + 5 * frame, 60.0 + frame


def write_film(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """The film, grey with one white disk, sharp enough that a threshold finds the disk to half a pixel."""
    import av

    y, x = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"crf": "6", "bf": "2"}
        for number in range(FRAMES):
            cx, cy = place_disk(number)
            grey = np.where((x - cx) ** 2 + (y - cy) ** 2 < RADIUS**2, 235, 90).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, 2), format="rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    return path


def build_document(film: Path, size: tuple[int, int] = (WIDTH, HEIGHT), frames: range = range(FRAMES)) -> TrackDocument:
    source = SourceInfo(film.name, "movie", *size, FRAMES, Fraction(24), compute_fingerprint(film))
    samples = [Sample(f, Ellipse(*place_disk(f), RADIUS, RADIUS), Evidence.DETECTED, 1.0) for f in frames]
    return TrackDocument(source, "balanced", 1.4, [], [], [Track("Face 01", samples)], [])


@dataclass(frozen=True, slots=True)
class Sight:
    """Pixels of the disk and of the cover in a picture, and the centre of each."""

    disk: int
    cover: int
    disk_centre: tuple[float, float]
    cover_centre: tuple[float, float]

    @property
    def all_covered(self) -> bool:
        """Whether the whole picture has the cover's colour, except for one pixel at most.

        The last pixel of Blender's buffer had another colour once in some ten thousand renders (5.0.1): its samples
        reach beyond the end of the mask there.
        """
        return self.disk == 0 and self.cover >= WIDTH * HEIGHT - 1


def render_frame(scene: Any, frame: int, path: Path) -> NDArray[np.uint8]:
    """H x W x 3 RGB of a still render, whatever was cached."""
    import bpy
    import cv2

    from blender_faceblur.blender.common.context import refresh_sequencer

    refresh_sequencer(scene)
    scene.frame_set(frame)
    scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.compositor_device = "CPU"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True, scene=scene.name)
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@contextmanager
def without_guard() -> Iterator[None]:
    """Lets a render show what the guard would have made black."""
    import bpy

    handlers = bpy.app.handlers.render_init
    guards = [handler for handler in handlers if handler.__module__.endswith(".guard.handlers")]
    for handler in guards:
        handlers.remove(handler)
    # The guard would hide everything that these tests compare.
    assert guards or not any(handler.__module__.startswith("blender_faceblur") for handler in handlers)
    try:
        yield
    finally:
        handlers.extend(guards)


def operate(scene: Any, operator: Any, *strips: Any, **options: Any) -> None:
    """Run an operator of the sequencer on these strips."""
    from blender_faceblur.blender.common.context import borrow_selection

    with borrow_selection(scene, *strips):
        assert operator(**options) == {"FINISHED"}


def see(picture: NDArray[np.uint8]) -> Sight:
    rgb = picture.astype(int)
    disk, cover = _is_disk(rgb), _is_cover(rgb)
    return Sight(int(disk.sum()), int(cover.sum()), _centre(disk), _centre(cover))


def get_cover(scene: Any) -> tuple[Any, Any]:
    """The film's strip and our modifier on it."""
    from blender_faceblur.blender.common.marks import get_modifier

    footage = next(strip for strip in scene.sequence_editor.strips if strip.type == "MOVIE")
    modifier = get_modifier(footage)
    assert modifier is not None
    return footage, modifier


def _is_disk(rgb: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(rgb.min(axis=2) > 165)


def _is_cover(rgb: NDArray[Any]) -> NDArray[np.bool_]:
    return (rgb[..., 2] > 150) & (rgb[..., 0] < 90)


def _centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    if not mask.any():
        return float("nan"), float("nan")
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())
