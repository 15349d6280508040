# SPDX-License-Identifier: GPL-3.0-or-later
"""Degraded versions of a clip, made on demand: dark, darker, blurred, halved, rolled, strongly compressed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Ellipse, Picture
from blender_faceblur.sources import open_source
from tools.film import FaceTruth, write_film

from .annotations import TrueFace, Truth

ROLL_DEG = 25.0
_CRF, _HARD_CRF = 12, 40


def darken(picture: Picture, seed: int) -> Picture:
    """Encoded values times 0.4 and noise of 5 levels, as from a sensor with too little light."""
    return _darken(picture, seed, 0.4, 5)


def darken_much(picture: Picture, seed: int) -> Picture:
    """Encoded values times 0.25 and noise of 8 levels: in a clip that is already dark, faces are close to the noise."""
    return _darken(picture, seed, 0.25, 8)


def _darken(picture: Picture, seed: int, light: float, noise: float) -> Picture:
    grain = np.random.default_rng(seed).normal(0, noise, picture.shape).astype(np.float32)
    dark: Picture = np.clip(picture * np.float32(light) + grain, 0, 255).astype(np.uint8)
    return dark


def blur(picture: Picture, seed: int) -> Picture:
    """Out of focus: a Gaussian of 1/240 of the picture's height (3 px at 720 lines)."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[0] / 240), np.uint8)


def _keep(picture: Picture, seed: int) -> Picture:
    return picture


@dataclass(frozen=True, slots=True)
class Version:
    """How pictures change; `scale` and `roll_deg` (clockwise) also move their content."""

    change: Callable[[Picture, int], Picture] = _keep
    scale: float = 1.0
    roll_deg: float = 0.0
    crf: int = _CRF


VERSIONS = {
    "dark": Version(darken),
    "darker": Version(darken_much),
    "blurred": Version(blur),
    "halved": Version(scale=0.5),
    "rolled": Version(roll_deg=ROLL_DEG),
    "compressed": Version(crf=_HARD_CRF),
}


def write_version(clip: Path, truth: list[Truth], name: str, path: Path) -> list[Truth]:
    """Write a version of a clip; returns the positions of its faces. Raises FaceBlurError if it cannot be read."""
    version = VERSIONS[name]
    with open_source(clip) as source:
        info = source.info
        size, matrix = compute_placement(info.width, info.height, version)

        def change() -> Iterator[tuple[Picture, list[FaceTruth]]]:
            for frame, picture in source.read_frames(0, info.frame_count, (info.width, info.height)):
                moved = picture
                if version.roll_deg:
                    moved = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR)
                elif version.scale != 1:
                    moved = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
                moved = moved[: size[1], : size[0]]
                yield version.change(np.asarray(moved, np.uint8), frame), []

        write_film(
            path,
            change(),
            width=size[0],
            height=size[1],
            frame_rate=info.frame_rate,
            frame_count=info.frame_count,
            crf=version.crf,
        )
    return [
        Truth(
            f"{one.name}, {name}",
            {
                frame: [TrueFace(face.kind, move_ellipse(face.ellipse, matrix), face.who) for face in faces]
                for frame, faces in one.frames.items()
            },
            one.dense,
            one.people,
        )
        for one in truth
    ]


def compute_placement(width: int, height: int, version: Version) -> tuple[tuple[int, int], NDArray[np.float64]]:
    """The new size (even numbers) and the 2 x 3 matrix from old pixel coordinates to new ones.

    A rolled picture lies completely on a larger black background, so that no face is cut off. The matrix uses OpenCV's
    pixel centres to within half a pixel of `scale` - 1, which is less than the precision of the boxes.
    """
    turn = math.radians(version.roll_deg)
    c, s = math.cos(turn), math.sin(turn)
    wide = (width * abs(c) + height * abs(s)) * version.scale
    high = (width * abs(s) + height * abs(c)) * version.scale
    size = (
        (2 * math.ceil(wide / 2), 2 * math.ceil(high / 2))
        if version.roll_deg
        else (2 * int(wide / 2), 2 * int(high / 2))
    )
    linear = version.scale * np.array([[c, -s], [s, c]])
    offset = np.zeros(2) if not version.roll_deg else (np.array(size) / 2 - linear @ np.array([width / 2, height / 2]))
    return size, np.hstack([linear, offset[:, None]])


def move_ellipse(ellipse: Ellipse, matrix: NDArray[np.float64]) -> Ellipse:
    """An ellipse after a rotation, a scaling and a shift."""
    centre = matrix[:, :2] @ (ellipse.cx, ellipse.cy) + matrix[:, 2]
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    turn = math.atan2(matrix[1, 0], matrix[0, 0])
    return Ellipse(float(centre[0]), float(centre[1]), ellipse.rx * scale, ellipse.ry * scale, ellipse.angle + turn)
