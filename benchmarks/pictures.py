# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of errors: uncovered faces, and the frames with the largest covered area without a face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from blender_faceblur.core.types import Ellipse, Picture
from blender_faceblur.sources import open_source

from .annotations import CLEAR, HARD, IGNORE, TrueFace, Truth
from .covers import Mask, ProgramCover
from .scoring import ALLOWED, Score, draw_ellipse

COLOURS = {CLEAR: (0, 255, 0), HARD: (0, 200, 255), IGNORE: (160, 160, 160)}
_MOST, _TILE, _COLUMNS = 24, 300, 6


def read_frames(clip: Path, wanted: set[int]) -> dict[int, Picture]:
    """Some frames of a clip (height x width x 3, BGR)."""
    found: dict[int, Picture] = {}
    if wanted:
        with open_source(clip) as source:
            size = source.info.width, source.info.height
            for frame, picture in source.read_frames(min(wanted), max(wanted) + 1, size):
                if frame in wanted:
                    found[frame] = picture.copy()
    return found


def draw_over(picture: Picture, mask: Mask | None, faces: list[TrueFace], thickness: int = 1) -> Picture:
    """A copy with the mask in red and the annotated ellipses: green clear, yellow hard, grey ignored."""
    drawn = picture.copy()
    if mask is not None:
        drawn[..., 2] = np.where(mask > 0, np.maximum(drawn[..., 2], 90) // 2 + 127, drawn[..., 2])
    for face in faces:
        draw_outline(drawn, face.ellipse, COLOURS[face.kind], thickness)
    return drawn


def draw_outline(picture: Picture, ellipse: Ellipse, colour: tuple[int, int, int], thickness: int = 1) -> None:
    centre = round((ellipse.cx - 0.5) * 16), round((ellipse.cy - 0.5) * 16)
    axes = round(ellipse.rx * 16), round(ellipse.ry * 16)
    cv2.ellipse(picture, centre, axes, float(np.degrees(ellipse.angle)), 0, 360, colour, thickness, cv2.LINE_AA, 4)


def crop_face(picture: Picture, ellipse: Ellipse, times: float, side: int) -> Picture:
    """A square around a face, `times` its larger side wide, enlarged or reduced to `side`."""
    half = times * max(ellipse.rx, ellipse.ry)
    matrix = side / (2 * half) * np.array([[1, 0, half - ellipse.cx], [0, 1, half - ellipse.cy]])
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_CUBIC), np.uint8)


def lay_out(tiles: list[tuple[str, Picture]], columns: int) -> Picture:
    """A sheet of pictures of one size, each with its text in the upper left corner."""
    for words, tile in tiles:
        for colour, width in (((0, 0, 0), 3), ((0, 255, 255), 1)):
            cv2.putText(tile, words, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)
    pictures = [tile for _, tile in tiles]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    rows = [np.hstack(pictures[at : at + columns]) for at in range(0, len(pictures), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def save_misses(clip: Path, truth: Truth, cover: ProgramCover, score: Score, folder: Path, program: str) -> None:
    """A sheet of up to 24 misses (clear ones first, evenly picked) with mask and truth."""
    misses = sorted(score.misses, key=lambda miss: miss.face.kind)
    if not misses:
        return
    if len(misses) > _MOST:
        misses = [misses[at] for at in np.linspace(0, len(misses) - 1, _MOST).round().astype(int)]
    pictures = read_frames(clip, {miss.frame for miss in misses})
    tiles = []
    for miss in misses:
        mask = cover.draw(miss.frame)
        drawn = draw_over(pictures[miss.frame], mask, truth.frames[miss.frame])
        tiles.append((f"{miss.frame} {miss.face.kind} {miss.share:.2f}", crop_face(drawn, miss.face.ellipse, 3, _TILE)))
    cv2.imwrite(str(folder / f"{_name(truth, program)} missed.png"), lay_out(tiles, min(_COLUMNS, len(tiles))))


def save_worst_excess(clip: Path, truth: Truth, cover: ProgramCover, folder: Path, program: str) -> None:
    """The six frames, at least a twelfth of the clip apart, with the largest covered area away from faces."""
    excess: dict[int, int] = {}
    for frame, faces in truth.frames.items():
        mask = cover.draw(frame)
        if mask is not None:
            allowed = np.zeros_like(mask)
            for face in faces:
                allowed |= draw_ellipse(face.ellipse.scaled(ALLOWED), mask.shape)
            excess[frame] = int((mask & (1 - allowed)).sum())
    chosen: list[int] = []
    for frame in sorted(excess, key=lambda frame: -excess[frame]):
        if excess[frame] and all(abs(frame - other) >= len(truth.frames) / 12 for other in chosen):
            chosen.append(frame)
    chosen = sorted(chosen[:6])
    if not chosen:
        return
    pictures = read_frames(clip, set(chosen))
    tiles = []
    for frame in chosen:
        drawn = draw_over(pictures[frame], cover.draw(frame), truth.frames[frame], 2)
        height = round(520 * drawn.shape[0] / drawn.shape[1])
        part = 100 * excess[frame] / (cover.width * cover.height)
        tiles.append((f"{frame} outside {part:.2f} %", np.asarray(cv2.resize(drawn, (520, height)), np.uint8)))
    cv2.imwrite(str(folder / f"{_name(truth, program)} outside.png"), lay_out(tiles, min(3, len(tiles))))


def _name(truth: Truth, program: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_.," else "_" for sign in f"{truth.name} {program}")
