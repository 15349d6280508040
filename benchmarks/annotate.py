# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a dense run: writes sheets of every frame, enlarged around each person, with the box drawn there.

python -m benchmarks.annotate benchmarks/truth/NAME.json CLIP FOLDER [--every N]. Edit the keys in the JSON file and
run it again until each frame is right. The crop around a person moves with the box, so that a lagging box is visible.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from blender_faceblur.core.types import Picture

from .annotations import read_dense
from .pictures import COLOURS, crop_face, lay_out, read_frames

_ROWS = 6


def save_sheets(truth_file: Path, clip: Path, folder: Path, every: int, side: int, times: float, light: float) -> None:
    """One or more sheets for each person; crops are `times` box sides wide, `light` above 1 brightens dark pictures."""
    truth = read_dense(truth_file)[2]
    pictures = read_frames(clip, set(truth.frames))
    curve = (255 * (np.arange(256) / 255) ** (1 / light)).astype(np.uint8)
    columns = max(1, 1500 // side)
    for who, words in truth.people.items():
        tiles: list[tuple[str, Picture]] = []
        for frame, faces in truth.frames.items():
            face = next((face for face in faces if face.who == who), None)
            if face is None or frame % every:
                continue
            tile = crop_face(np.asarray(cv2.LUT(pictures[frame], curve), np.uint8), face.ellipse, times, side)
            e = face.ellipse
            factor = side / (2 * times * max(e.rx, e.ry))
            low = round(side / 2 - e.rx * factor), round(side / 2 - e.ry * factor)
            high = round(side / 2 + e.rx * factor), round(side / 2 + e.ry * factor)
            cv2.rectangle(tile, low, high, COLOURS[face.kind], 1)
            tiles.append((str(frame), tile))
        for at in range(0, len(tiles), columns * _ROWS):
            part = tiles[at : at + columns * _ROWS]
            name = f"{truth_file.stem} {who} {words} {part[0][0]}-{part[-1][0]}.png"
            cv2.imwrite(str(folder / name), lay_out(part, columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--side", type=int, default=150, help="side of each picture, in pixels")
    parser.add_argument("--times", type=float, default=1.5, help="width of a picture, in box sides")
    parser.add_argument("--light", type=float, default=1.0, help="above 1 brightens")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    save_sheets(given.truth, given.clip, given.folder, given.every, given.side, given.times, given.light)


if __name__ == "__main__":
    main()
