# SPDX-License-Identifier: GPL-3.0-or-later
"""Films in which faces of many people move side by side, and some are replaced by others: for bench identity.

Portraits are pasted on a plain background, so the films vary size, roll, light and compression, but not the side from
which a face is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Picture
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.base import FaceDetector
from blender_faceblur.files.paths import get_model_path

SIZE, COLUMNS, ROWS, FRAMES, VISIT_FRAMES, RATE = (1280, 720), 3, 2, 90, 150, Fraction(25)
CELLS = COLUMNS * ROWS
SEEN_PX = 400
_WIDTHS_PX = (56, 110)
_HEAD = (1.35, 1.5)
_FADE = 4


@dataclass(frozen=True, slots=True)
class SourcePortrait:
    """A picture of one face and the face's box in it."""

    name: str
    picture: Picture
    box: tuple[float, float, float, float]


def open_detector() -> FaceDetector:
    """The detector for the faces of portraits. Raises FaceBlurError if its weights are missing."""
    return get_detector("yunet_2023mar")(get_model_path("yunet_2023mar"), 0.5, "cpu")


def read_portrait(name: str, path: Path, detector: FaceDetector) -> SourcePortrait | None:
    """The most confident face of a picture file; None if there is none."""
    picture = cv2.imread(str(path))
    if picture is None:
        return None
    scale = SEEN_PX / max(picture.shape[:2])
    seen = np.asarray(
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC),
        np.uint8,
    )
    found = detector.detect(seen)
    return SourcePortrait(name, seen, found[0].box) if found else None


def write_mixed(
    path: Path, faces: Sequence[SourcePortrait], other: SourcePortrait, seed: int
) -> list[list[tuple[int, int, str]]]:
    """Write a film with a face in each cell (`faces`, CELLS of them); in the last one `other` takes its place midway.

    Returns the people in each cell, row by row, as (first frame, frame after the last, name).
    """
    middle = FRAMES // 2
    _write(path, faces, FRAMES, [(CELLS - 1, other, range(middle, FRAMES))], seed)
    who = [[(0, FRAMES, face.name)] for face in faces]
    who[-1] = [(0, middle, faces[-1].name), (middle, FRAMES, other.name)]
    return who


def write_visits(
    path: Path, faces: Sequence[SourcePortrait], others: Sequence[SourcePortrait], length: int, seed: int
) -> list[range]:
    """Write a film whose faces are each replaced for `length` frames by another; returns these frames by cell."""
    visits = [range(start, start + length) for start in (40 + 14 * cell + 5 * seed % 7 for cell in range(CELLS))]
    _write(path, faces, VISIT_FRAMES, list(zip(range(CELLS), others, visits, strict=True)), seed)
    return visits


def _write(
    path: Path,
    faces: Sequence[SourcePortrait],
    frame_count: int,
    others: Sequence[tuple[int, SourcePortrait, range]],
    seed: int,
) -> None:
    """`others` appear in a cell for some frames and fade in."""
    import av

    rng = np.random.default_rng(seed)
    ways = [rng.uniform(0, 2 * np.pi, 4) for _ in faces]
    widths = rng.uniform(*_WIDTHS_PX, len(faces))
    behind = cv2.resize(rng.uniform(60, 170, (9, 16, 3)).astype(np.float32), SIZE, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "24"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in range(frame_count):
            picture = behind.copy()
            for cell, face in enumerate(faces):
                _paste(picture, face, cell, frame, widths[cell], ways[cell], 1.0)
            for cell, other, frames in others:
                if frame in frames:
                    share = min(1.0, (frame - frames.start + 1) / _FADE)
                    _paste(picture, other, cell, frame, widths[cell], ways[cell], share)
            noisy = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "bgr24")))
        container.mux(stream.encode(None))


def compute_cell(x: float, y: float) -> int:
    """The cell that contains a position."""
    column, row = int(x * COLUMNS / SIZE[0]), int(y * ROWS / SIZE[1])
    return min(max(row, 0), ROWS - 1) * COLUMNS + min(max(column, 0), COLUMNS - 1)


def _paste(
    picture: NDArray[np.float32],
    face: SourcePortrait,
    cell: int,
    frame: int,
    width: float,
    way: NDArray[np.float64],
    share: float,
) -> None:
    """Paste a head at its position in that frame; `share` is its opacity."""
    t = frame / float(RATE)
    x1, y1, x2, y2 = face.box
    scale = width / (x2 - x1) * (1 + 0.08 * np.sin(1.3 * t + way[0]))
    turn = 8 * np.sin(0.9 * t + way[1])
    cx = (cell % COLUMNS + 0.5) * SIZE[0] / COLUMNS + 45 * np.sin(1.1 * t + way[2])
    cy = (cell // COLUMNS + 0.5) * SIZE[1] / ROWS + 30 * np.sin(1.7 * t + way[3])
    matrix = cv2.getRotationMatrix2D(((x1 + x2) / 2, (y1 + y2) / 2), turn, scale)
    matrix[:, 2] += (cx - (x1 + x2) / 2, cy - (y1 + y2) / 2)
    # Smooth before reducing, because warping alone would leave jagged edges.
    smooth = cv2.GaussianBlur(face.picture, (0, 0), max(0.01, 0.4 / scale)) if scale < 0.8 else face.picture
    warped = cv2.warpAffine(smooth, matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    half = round(width * 1.2)
    left, top = max(0, int(cx) - half), max(0, int(cy) - half)
    part = np.s_[top : int(cy) + half, left : int(cx) + half]
    ys, xs = np.mgrid[top : min(int(cy) + half, SIZE[1]), left : min(int(cx) + half, SIZE[0])]
    away = np.hypot((xs - cx) / (_HEAD[0] * width / 2), (ys - cy) / (_HEAD[1] * width / 2 * 1.2))
    inside = (np.clip((1.0 - away) / 0.12, 0, 1) * share)[..., None]
    light = 1 + 0.12 * np.sin(0.7 * t + way[0])
    picture[part] = (1 - inside) * picture[part] + inside * np.clip(warped[part] * light, 0, 255)
