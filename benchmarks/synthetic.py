# SPDX-License-Identifier: GPL-3.0-or-later
"""Short films of one known face with an exact position in every frame, under difficult conditions.

The face is scikit-image's astronaut (see tools/film.py). The films cover size, roll, motion, light, noise, compression,
edges and cuts. They do not cover yaw, other people, or the look of small real faces: the face is one upright frontal
picture, enlarged or reduced (it is 102 px high, so larger ones are soft).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.film import SCENES, DrawnPicture, FaceTruth, Placement, Scene, draw_picture, write_film

from .annotations import CLEAR, HARD, IGNORE, TrueFace, Truth
from .degraded import darken_much

FRAME_RATE = Fraction(25)
SIZES_PX = (12, 16, 24, 32, 64, 128, 256, 480)
LARGEST_PX = 700
ROLLS_DEG = (30, 60, 90, 135, 180)
_CLEAR_FROM, _HARD_FROM = 0.5, 0.1
_SHUTTER_STEPS = 24

Drawn = tuple[NDArray[np.uint8], list[FaceTruth]]


@dataclass(frozen=True, slots=True)
class SyntheticFilm:
    """A scene and its changes; `shutter` is the exposure as a share of the time to the next frame."""

    scene: Scene
    seconds: float = 2.0
    width: int = 1280
    height: int = 720
    shutter: float = 0.0
    change: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]] | None = None
    fade: tuple[float, float] | None = None
    """The range (shares of the film) over which the picture fades into the same scene one film later (t + 1)."""
    crf: int = 12


def _walk(height: float, roll: float = 0.0) -> Scene:
    """A face of a given height that moves from left to right, up and down."""

    def show(t: float, half: float) -> DrawnPicture:
        way = max(0.0, min(half - 0.7 * height, 0.5))
        return DrawnPicture(
            [Placement(0, way * (1.2 * t - 0.6), 0.5 + 0.08 * (1 - height) * math.sin(6 * t), height, roll)], []
        )

    return show


def _roll_over(t: float, half: float) -> DrawnPicture:
    return DrawnPicture([Placement(0, 0.1 * math.sin(5 * t), 0.5, 0.25, math.pi * t)], [])


def _visit(x: float, y: float) -> Scene:
    """Empty; a face enters from the edge that (x, y) points to, stays for a moment, and leaves there; empty."""

    def show(t: float, half: float) -> DrawnPicture:
        height = 0.3
        part = math.sin(math.pi * min(max((t - 0.1) / 0.8, 0.0), 1.0))
        far = (half + 0.6 * height) if x else 0.5 + 0.6 * height
        near = far - 1.7 * height
        away = far + (near - far) * part
        return DrawnPicture([Placement(0, x * away, 0.5 + y * away, height)] if 0.1 < t < 0.9 else [], [])

    return show


def _rush(t: float, half: float) -> DrawnPicture:
    """A face that crosses the picture twice, moving its own height in two to three frames."""
    return DrawnPicture([Placement(0, 0.8 * half * math.cos(4 * math.pi * t), 0.5 + 0.1 * math.sin(9 * t), 0.22)], [])


def _change_places(t: float, half: float) -> DrawnPicture:
    """Two different pictures, one before t = 1, the other after it (for a cross-fade)."""
    if t < 1:
        return DrawnPicture([Placement(0, -0.4 * half + 0.1 * t, 0.45, 0.3)], [], 0)
    return DrawnPicture([Placement(1, 0.4 * half - 0.1 * (t - 1), 0.5, 0.26, 0.1)], [], 1)


def _cut(t: float, half: float) -> DrawnPicture:
    """From the middle on another person at another position and size."""
    if t < 0.5:
        return DrawnPicture([Placement(0, -0.4 * half + 0.1 * t, 0.45, 0.3)], [], 0)
    return DrawnPicture([Placement(1, 0.45 * half, 0.55 + 0.1 * t, 0.24, 0.2)], [], 1)


FILMS: dict[str, SyntheticFilm] = {
    **{f"{size} px": SyntheticFilm(_walk(size / 720), 1.6) for size in SIZES_PX},
    f"{LARGEST_PX} px (1080 lines)": SyntheticFilm(_walk(LARGEST_PX / 1080), 1.0, 1920, 1080),
    **{f"rolled {turn} deg": SyntheticFilm(_walk(0.25, math.radians(turn)), 1.6) for turn in ROLLS_DEG},
    "rolling 0 to 180 deg": SyntheticFilm(_roll_over, 3.0),
    "moving fast": SyntheticFilm(_rush, 2.0),
    "moving fast, motion-blurred": SyntheticFilm(_rush, 2.0, shutter=0.8),
    "behind a pillar": SyntheticFilm(SCENES["occluded"], 2.4),
    **{
        f"in and out {edge}": SyntheticFilm(_visit(x, y), 2.4)
        for edge, x, y in (("left", -1, 0), ("right", 1, 0), ("top", 0, -1), ("bottom", 0, 1))
    },
    "dark with noise": SyntheticFilm(_walk(0.2), 2.0, change=darken_much),
    "hard-compressed": SyntheticFilm(_walk(0.12), 2.0, crf=45),
    "cut": SyntheticFilm(_cut, 2.0),
    "cross-fade": SyntheticFilm(_change_places, 2.0, fade=(0.35, 0.65)),
    "two crossing": SyntheticFilm(SCENES["crossing"], 2.4),
    "eight faces": SyntheticFilm(SCENES["crowd"], 2.0),
    "nobody": SyntheticFilm(SCENES["nobody"], 2.0),
}


def write_synthetic(name: str, path: Path) -> Truth:
    """Write one of FILMS; returns its faces, which are hard if less than half is visible (or they are half faded)."""
    film = FILMS[name]
    count = round(film.seconds * FRAME_RATE)
    seen = write_film(
        path,
        _draw(film, count),
        width=film.width,
        height=film.height,
        frame_rate=FRAME_RATE,
        frame_count=count,
        crf=film.crf,
    )
    return Truth(
        name,
        {
            frame: [TrueFace(_choose_kind(face.visible), face.ellipse, face.face + 1) for face in faces]
            for frame, faces in enumerate(seen)
        },
        True,
        {who + 1: f"face {who + 1}" for who in {face.face for faces in seen for face in faces}},
    )


def _choose_kind(visible: float) -> str:
    return CLEAR if visible >= _CLEAR_FROM else HARD if visible >= _HARD_FROM else IGNORE


def _draw(film: SyntheticFilm, count: int) -> Iterator[Drawn]:
    for index in range(count):
        picture, faces = _draw_fading(film, index, count) if film.fade else _draw_moment(film, index, count)
        yield (film.change(picture, index) if film.change else picture), faces


def _draw_moment(film: SyntheticFilm, index: int, count: int) -> Drawn:
    """One frame; with a shutter the mean of moments around it, with the truth of the middle one."""
    half = film.width / film.height / 2
    t = index / count
    picture, faces = draw_picture(film.scene(t, half), t, film.width, film.height)
    if not film.shutter:
        return picture, faces
    light = np.zeros(picture.shape, np.float32)
    for step in range(_SHUTTER_STEPS):
        moment = t + film.shutter * ((step + 0.5) / _SHUTTER_STEPS - 0.5) / count
        light += draw_picture(film.scene(moment, half), t, film.width, film.height)[0]
    return np.rint(light / _SHUTTER_STEPS).astype(np.uint8), faces


def _draw_fading(film: SyntheticFilm, index: int, count: int) -> Drawn:
    assert film.fade is not None
    half, t = film.width / film.height / 2, index / count
    part = min(max((t - film.fade[0]) / (film.fade[1] - film.fade[0]), 0.0), 1.0)
    one, its = draw_picture(film.scene(min(t, 0.999), half), t, film.width, film.height)
    other, others = draw_picture(film.scene(1 + t, half), t, film.width, film.height)
    faces = [
        FaceTruth(face.face, face.ellipse, face.visible * share)
        for share, found in ((1 - part, its), (part, others))
        for face in found
        if share > 0
    ]
    return np.rint((1 - part) * one + part * other.astype(np.float32)).astype(np.uint8), faces
