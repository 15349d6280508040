# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes films of a real, free face (scikit-image's astronaut) whose position in every frame is known exactly.

Eileen Collins, NASA, public domain. The picture is part of the scikit-image wheel, so nothing is fetched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Ellipse

ASTRONAUT_FACE = Ellipse(225.0, 129.0, 44.0, 51.0, 0.04)
"""The face in the 512 x 512 picture, fringe to chin and cheek to cheek: measured in the picture enlarged four times.

YuNet's box there is (178, 63) to (268, 176), its eyes lie 0.02 rad off the horizontal.
"""

ASTRONAUT_HEAD = Ellipse(225.0, 112.0, 86.0, 108.0, 0.0)
"""The part of the picture that is cut out: the head with hair and a little of the collar."""

SAMPLE_RATE = 48000

STRANGERS: dict[int, tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]] = {
    10: (((-0.26, -0.40), (0.01, 0.36), (-0.15, -0.14)), ((0.08, -0.43), (-0.01, 0.12), (0.10, 0.29))),
    12: (((-0.22, 0.12), (0.06, -0.31), (0.18, 0.52)), ((-0.02, -0.36), (0.06, -0.16), (0.14, 0.06))),
    14: (((0.12, 0.23), (-0.46, -0.44), (0.45, -0.45)), ((-0.66, -0.01), (-0.31, 0.17), (0.68, 0.26))),
}
"""Faces with features moved so far that a recogniser sees other people (distance 0.9; strangers usually have 0.6): the
shift, in half axes of the face, sideways and down, at three heights of its left half."""


@dataclass(frozen=True, slots=True)
class FaceTruth:
    """The ellipse of a face in one frame, in pixels, and the visible share of it (0 to 1).

    The ellipse may lie partly outside the picture. `face` is the number of the face within the film.
    """

    face: int
    ellipse: Ellipse
    visible: float


@dataclass(frozen=True, slots=True)
class Placement:
    """A face in one frame: centre and face height as fractions of the picture's height (x from the middle), roll."""

    face: int
    x: float
    y: float
    height: float
    roll: float = 0.0


@dataclass(frozen=True, slots=True)
class Bar:
    """An upright pillar in front of the faces; x as in Placement."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """The faces of a scene at one time, from back to front, and its background."""

    faces: list[Placement]
    bars: list[Bar]
    background: int = 0


Scene = Callable[[float, float], DrawnPicture]
"""(time as a fraction of the film, half the picture's width as a fraction of its height) -> the drawn picture."""


def _show_demo(t: float, half: float) -> DrawnPicture:
    walk = -half - 0.35 + (2 * half + 0.7) * t
    faces = [
        Placement(
            0, walk, 0.5 + 0.08 * math.sin(9 * t), 0.22 + 0.16 * math.sin(math.pi * t) ** 2, 0.5 * math.sin(7 * t)
        )
    ]
    if 0.3 <= t < 0.85:
        drop = (t - 0.3) / 0.55
        faces.insert(0, Placement(1, 0.55 * half * math.cos(5 * t), -0.2 + 1.4 * drop, 0.16, 0.25 * math.cos(8 * t)))
    return DrawnPicture(faces, [Bar(0.45 * half, 0.10)])


def _show_steady(t: float, half: float) -> DrawnPicture:
    return DrawnPicture([Placement(0, 0.1 * math.sin(6 * t), 0.5 + 0.05 * math.cos(6 * t), 0.35)], [])


def _show_passing(t: float, half: float) -> DrawnPicture:
    """An empty picture; then a face enters on the left and leaves on the right; then an empty picture."""
    if not 0.15 <= t < 0.85:
        return DrawnPicture([], [])
    part = (t - 0.15) / 0.7
    return DrawnPicture([Placement(0, (half + 0.25) * (2 * part - 1), 0.45 + 0.1 * part, 0.3)], [])


def _show_turning(t: float, half: float) -> DrawnPicture:
    return DrawnPicture([Placement(0, 0.15 * math.sin(4 * t), 0.5, 0.4, 0.6 * math.sin(2 * math.pi * t))], [])


def _show_occluded(t: float, half: float) -> DrawnPicture:
    return DrawnPicture([Placement(0, half * (1.2 * t - 0.6), 0.5, 0.3)], [Bar(0.0, 0.22)])


def _show_crossing(t: float, half: float) -> DrawnPicture:
    return DrawnPicture(
        [
            Placement(1, 0.6 * half * (1 - 2 * t), 0.42, 0.2, 0.1),
            Placement(0, 0.6 * half * (2 * t - 1), 0.52, 0.28, -0.1),
        ],
        [],
    )


def _show_crowd(t: float, half: float) -> DrawnPicture:
    faces = [
        Placement(
            i,
            half * (0.75 - 0.5 * (i % 4)) + 0.04 * math.sin(6 * t + i),
            0.3 + 0.4 * (i // 4),
            0.13,
            0.2 * math.sin(5 * t + 2 * i),
        )
        for i in range(8)
    ]
    return DrawnPicture(faces, [])


def _show_cut(t: float, half: float) -> DrawnPicture:
    if t < 0.5:
        return DrawnPicture([Placement(0, -0.4 * half + 0.1 * t, 0.45, 0.3)], [], 0)
    return DrawnPicture([Placement(0, 0.45 * half, 0.55 + 0.1 * t, 0.24, 0.2)], [], 1)


def _show_people(t: float, half: float) -> DrawnPicture:
    """Three different people who do not move."""
    faces = [
        Placement(
            face,
            0.62 * half * at + 0.03 * math.sin(6 * t + at),
            0.45 + 0.03 * math.cos(5 * t + at),
            0.3,
            0.1 * math.sin(4 * t + at),
        )
        for face, at in zip(STRANGERS, (-1, 0, 1), strict=True)
    ]
    return DrawnPicture(faces, [])


def _show_nobody(t: float, half: float) -> DrawnPicture:
    return DrawnPicture([], [Bar(half * (2 * t - 1), 0.2)])


SCENES: dict[str, Scene] = {
    "demo": _show_demo,
    "steady": _show_steady,
    "passing": _show_passing,
    "turning": _show_turning,
    "occluded": _show_occluded,
    "crossing": _show_crossing,
    "crowd": _show_crowd,
    "cut": _show_cut,
    "people": _show_people,
    "nobody": _show_nobody,
}


def make_film(
    path: Path,
    *,
    width: int,
    height: int,
    frame_rate: Fraction,
    seconds: float,
    scene: str = "demo",
    sound: bool = True,
) -> list[list[FaceTruth]]:
    """Write the film (H.264, near lossless, with an AAC tone) and return the visible faces of each frame.

    Width and height must be even. The file name extension selects the container.
    """
    frame_count = max(1, round(seconds * frame_rate))
    drawn = (draw_frame(index / frame_count, width, height, scene) for index in range(frame_count))
    return write_film(
        path, drawn, width=width, height=height, frame_rate=frame_rate, frame_count=frame_count, sound=sound
    )


def write_film(
    path: Path,
    drawn: Iterable[tuple[NDArray[np.uint8], list[FaceTruth]]],
    *,
    width: int,
    height: int,
    frame_rate: Fraction,
    frame_count: int,
    sound: bool = False,
    crf: int = 12,
) -> list[list[FaceTruth]]:
    """Write pictures (height x width x 3, BGR) as H.264 and return their faces; `crf` up to 51 (worst)."""
    import av

    truths = []
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=frame_rate, options={"crf": str(crf), "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.color_primaries = video.codec_context.color_trc = video.codec_context.colorspace = 1
        video.codec_context.color_range = 1
        tone: Any = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if sound else None
        if tone is not None:
            for samples in _make_tone(frame_count / frame_rate):
                container.mux(tone.encode(samples))
            container.mux(tone.encode(None))
        for index, (image, faces) in enumerate(drawn):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame = frame.reformat(
                format="yuv420p", src_colorspace="ITU709", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = index, 1 / frame_rate
            container.mux(video.encode(frame))
            truths.append(faces)
        container.mux(video.encode(None))
    return truths


def draw_frame(t: float, width: int, height: int, scene: str) -> tuple[NDArray[np.uint8], list[FaceTruth]]:
    """One picture (height x width x 3, BGR) of the scene at time t (0 to 1), and its visible faces."""
    return draw_picture(SCENES[scene](t, width / height / 2), t, width, height)


def draw_picture(picture: DrawnPicture, t: float, width: int, height: int) -> tuple[NDArray[np.uint8], list[FaceTruth]]:
    """The picture (height x width x 3, BGR), with its background panned to time t (0 to 1), and its visible faces."""
    image = _draw_background(width, height, t, picture.background)
    shapes: list[tuple[int, Ellipse, NDArray[np.bool_]]] = []
    for placement in picture.faces:
        ellipse, cover = _paste_face(image, placement)
        shapes = [(face, other, seen & ~cover) for face, other, seen in shapes]
        shapes.append((placement.face, ellipse, _rasterize(ellipse, width, height)))
    for bar in picture.bars:
        left = max(0, round(width / 2 + (bar.x - bar.width / 2) * height))
        right = min(width, max(left, round(width / 2 + (bar.x + bar.width / 2) * height)))
        image[:, left:right] = (90, 60, 40)
        for _, _, seen in shapes:
            seen[:, left:right] = False
    faces = []
    for face, ellipse, seen in shapes:
        visible = min(1.0, float(seen.sum()) / (math.pi * ellipse.rx * ellipse.ry))
        if visible > 0:
            faces.append(FaceTruth(face, ellipse, visible))
    return image, faces


def _paste_face(image: NDArray[np.uint8], placement: Placement) -> tuple[Ellipse, NDArray[np.bool_]]:
    """Draw the head; returns the face's ellipse in the picture and the pixels (bool) that the head hides."""
    import cv2

    height, width = image.shape[:2]
    scale = placement.height * height / (2 * ASTRONAUT_FACE.ry)
    patch, matte, factor = _load_head(placement.face, max(0, math.floor(-math.log2(scale))))
    face = _mirror(ASTRONAUT_FACE) if placement.face % 2 else ASTRONAUT_FACE
    turn, centre = placement.roll, (width / 2 + placement.x * height, placement.y * height)
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    offset = np.array(centre) - linear @ np.array([face.cx, face.cy])
    # OpenCV puts pixel centres at whole numbers, this program at halves; the patch may be a reduced one.
    reduced = linear * factor
    matrix = np.hstack([reduced, (offset + reduced @ np.array([0.5, 0.5]) - 0.5)[:, None]])
    ellipse = Ellipse(centre[0], centre[1], face.rx * scale, face.ry * scale, face.angle + turn)
    cover = np.zeros((height, width), np.bool_)
    # No part of the head lies farther than this from the face's middle.
    rows, columns = _compute_window(centre, (ASTRONAUT_HEAD.ry + 40) * scale + 2, width, height)
    if rows.start == rows.stop or columns.start == columns.stop:
        return ellipse, cover
    matrix[:, 2] -= (columns.start, rows.start)
    size = columns.stop - columns.start, rows.stop - rows.start
    warped = cv2.warpAffine(patch, matrix, size, flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(matte, matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    image[rows, columns] = np.rint(warped * alpha + image[rows, columns] * (1 - alpha)).astype(np.uint8)
    cover[rows, columns] = alpha[..., 0] > 0.5
    return ellipse, cover


def _compute_window(centre: tuple[float, float], reach: float, width: int, height: int) -> tuple[slice, slice]:
    """The rows and columns of the picture within reach of a point; empty slices if the point is too far outside."""

    def cut(middle: float, most: int) -> slice:
        start = min(max(math.floor(middle - reach), 0), most)
        return slice(start, min(max(math.ceil(middle + reach), start), most))

    return cut(centre[1], height), cut(centre[0], width)


def read_astronaut() -> NDArray[np.uint8]:
    """The picture (512 x 512 x 3, BGR)."""
    import av

    # Only the file is read, because importing the package needs SciPy and more, which build.py demo does not install.
    package = find_spec("skimage")
    assert package is not None and package.submodule_search_locations
    # OpenCV would print a warning about the picture's profile.
    with av.open(str(Path(package.submodule_search_locations[0]) / "data" / "astronaut.png")) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format="bgr24"), np.uint8)


@cache
def _load_head(face: int, halvings: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
    """The astronaut (BGR), the matte of the head (0 to 1), and the number of original pixels per reduced pixel."""
    import cv2

    patch = read_astronaut()
    if face in STRANGERS:
        patch = _make_stranger(patch, face)
    y, x = np.mgrid[0:512, 0:512] + 0.5
    head = ASTRONAUT_HEAD
    distance = np.hypot((x - head.cx) / head.rx, (y - head.cy) / head.ry)
    matte = np.clip((1 - distance) * 12, 0, 1).astype(np.float32)
    if face % 2:
        patch, matte = np.ascontiguousarray(patch[:, ::-1]), np.ascontiguousarray(matte[:, ::-1])
    tint = np.array([1.0, 1.0 - 0.04 * (face % 3), 1.0 - 0.07 * (face % 4)])
    patch = np.rint(patch * tint).astype(np.uint8)
    side = 512 >> min(halvings, 5)
    if side < 512:
        patch = cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)
        matte = cv2.resize(matte, (side, side), interpolation=cv2.INTER_AREA)
    return patch, matte, 512 / side


def _make_stranger(patch: NDArray[np.uint8], face: int) -> NDArray[np.uint8]:
    """The astronaut with other features."""
    import cv2

    y, x = (np.mgrid[0:512, 0:512]).astype(np.float32)
    across, down = (x - ASTRONAUT_FACE.cx) / ASTRONAUT_FACE.rx, (y - ASTRONAUT_FACE.cy) / ASTRONAUT_FACE.ry
    columns, rows = (np.clip((across + 1) / 2, 0, 1) * 3, np.clip((down + 1) / 2, 0, 1) * 2)
    fade = np.clip(1.9 - np.hypot(across, down), 0, 1)
    moved = []
    for half, sign in zip(STRANGERS[face], (-1, 1), strict=True):
        left = np.array(half, np.float32)
        grid = np.hstack([left, sign * left[:, ::-1]])
        moved.append(cv2.GaussianBlur(cv2.remap(grid, columns, rows, cv2.INTER_LINEAR), (0, 0), 6) * fade)
    found = cv2.remap(
        patch,
        x + moved[0] * ASTRONAUT_FACE.rx,
        y + moved[1] * ASTRONAUT_FACE.ry,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(found, np.uint8)


def _mirror(face: Ellipse) -> Ellipse:
    return Ellipse(512 - face.cx, face.cy, face.rx, face.ry, -face.angle)


def _draw_background(width: int, height: int, t: float, which: int) -> NDArray[np.uint8]:
    plate = _make_plate(width, height, which)
    shift = round(t * 0.1 * width)
    return plate[:, shift : shift + width].copy()


@cache
def _make_plate(width: int, height: int, which: int) -> NDArray[np.uint8]:
    """Soft coloured noise without face-like shapes, wider than the picture so that it can be panned."""
    import cv2

    random = np.random.default_rng(7 + which)
    size = (width + math.ceil(0.1 * width), height)
    plate = np.full((size[1], size[0], 3), (120, 130, 110) if which == 0 else (70, 90, 140), np.float32)
    for cells, strength in ((4, 40), (16, 20), (64, 10)):
        noise = random.uniform(-1, 1, (cells, cells * 2, 3)).astype(np.float32)
        plate += strength * cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(plate, 0, 255).astype(np.uint8)


def _rasterize(ellipse: Ellipse, width: int, height: int) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    rows, columns = _compute_window((ellipse.cx, ellipse.cy), max(ellipse.rx, ellipse.ry) + 1, width, height)
    y, x = np.mgrid[rows, columns] + 0.5
    along = (x - ellipse.cx) * math.cos(ellipse.angle) + (y - ellipse.cy) * math.sin(ellipse.angle)
    across = (y - ellipse.cy) * math.cos(ellipse.angle) - (x - ellipse.cx) * math.sin(ellipse.angle)
    mask[rows, columns] = (along / ellipse.rx) ** 2 + (across / ellipse.ry) ** 2 <= 1
    return mask


def _make_tone(seconds: Fraction) -> list[Any]:
    import av

    count = round(seconds * SAMPLE_RATE)
    wave = (0.2 * np.sin(2 * np.pi * 440 * np.arange(count) / SAMPLE_RATE)).astype(np.float32)
    frames = []
    for start in range(0, count, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        frames.append(frame)
    return frames
