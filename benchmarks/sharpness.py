# SPDX-License-Identifier: GPL-3.0-or-later
"""How sharp a face must be to be recognised: build.py bench sharpness PORTRAITS.

Portraits are taken again in other light (see `portraits.photograph_again`) and blurred more and more: by a Gaussian,
by a square, and by motion in three directions. A recogniser that knows the unblurred portraits guesses who it is.
Beside its rate stands the sharpness that an analysis stores (`core/detection/sharpness.py`). Blurs are standard
deviations in widths of the face.

PORTRAITS is a folder as for `bench crowd`. `--half 0` and `--half 1` measure every second portrait.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.sharpness import measure_sharpness
from blender_faceblur.core.types import Picture
from blender_faceblur.files.paths import get_model_path
from blender_faceblur.recognition.dlib_resnet import DlibResNet

from .accuracy import describe_machine, print_report
from .portraits import FACE_HEIGHT, FACE_PX, compute_middle, photograph_again, read_people

_BLURS = (0.0, 0.02, 0.03, 0.045, 0.06, 0.08, 0.1, 0.13, 0.17, 0.25)
_FEW = 10
"""Guesses among which the right person counts as nearly recognised."""
_WIDE = 12**0.5
"""The width of an even blur, in its standard deviations."""
_KINDS = ("gaussian", "square", "motion 0", "motion 45", "motion 90")


def blur(picture: Picture, kind: str, deviation_px: float) -> Picture:
    if not deviation_px:
        return picture
    width = max(1, round(_WIDE * deviation_px))
    if kind == "gaussian":
        blurred = cv2.GaussianBlur(picture, (0, 0), deviation_px)
    elif kind == "square":
        blurred = cv2.blur(picture, (width, width))
    else:
        blurred = cv2.filter2D(picture, -1, _draw_motion(width, np.radians(float(kind.partition(" ")[2]))))
    return np.asarray(blurred, np.uint8)


def _draw_motion(width: int, angle: float) -> NDArray[np.float32]:
    """A line through the middle of a square, whose pixels add up to 1."""
    kernel, middle = np.zeros((2 * width + 3,) * 2, np.float32), width + 1
    along = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    first, last = ((round(middle + sign * along[0]), round(middle + sign * along[1])) for sign in (-1, 1))
    cv2.line(kernel, first, last, 1.0, 1, cv2.LINE_AA)
    kernel /= kernel.sum()
    return kernel


def run(options: argparse.Namespace) -> Iterator[str]:
    """The lines of the report."""
    yield from describe_machine()
    recognizer = DlibResNet(get_model_path(DlibResNet.name))
    tiles = [own[0] for own in read_people(options.portraits, options.people).values()]
    rng = np.random.default_rng(options.seed)
    again = [photograph_again(tile, tiles[(number + 1) % len(tiles)].picture, rng) for number, tile in enumerate(tiles)]
    known = recognizer.embed_many([recognizer.align(tile.picture, tile.landmarks) for tile in tiles])
    chosen = range(len(tiles)) if options.half is None else range(options.half, len(tiles), 2)
    middle, tall = compute_middle(), FACE_PX * FACE_HEIGHT
    box = np.array(
        [middle[0] - FACE_PX / 2, middle[1] - tall / 2, middle[0] + FACE_PX / 2, middle[1] + tall / 2], float
    )
    yield f"{len(chosen)} of {len(tiles)} portraits are blurred; faces {FACE_PX} px wide"
    yield f"blur: recognised, among the first {_FEW}; sharpness: 5 %, median, 95 %"
    for kind in _KINDS:
        yield kind
        for share in _BLURS:
            pictures = [blur(again[number].picture, kind, share * FACE_PX) for number in chosen]
            seen = recognizer.embed_many(
                [recognizer.align(one, again[number].landmarks) for one, number in zip(pictures, chosen, strict=True)]
            )
            distances = recognizer.distance(seen[:, None], known[None])
            own = distances[np.arange(len(chosen)), list(chosen)]
            closer = (distances < own[:, None]).sum(axis=1)
            sharpness = [measure_sharpness(picture, box) for picture in pictures]
            values = ", ".join(f"{value:.2f}" for value in np.percentile(sharpness, [5, 50, 95]))
            yield f"  {share:.3f}: {(closer < 1).mean():.2f}, {(closer < _FEW).mean():.2f}; {values}"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py bench sharpness", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("portraits", type=Path, help="a folder of pictures with one face each")
    parser.add_argument("--people", type=int, default=75)
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--seed", type=int, default=3)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return print_report(run(parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())
