# SPDX-License-Identifier: GPL-3.0-or-later
"""The error of the recogniser's file against its network in floats: build.py bench recogniser PACKAGE FOLDER.

PACKAGE is the tarball that models.toml names, FOLDER holds portraits. The faces of half of them, sharp, blurred, small
and dark, give the smallest and largest value of each layer, printed as in weights/dlib_net.py; the faces of the others
are used to compare the two.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.batch.people import list_references
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files.paths import get_model_path
from blender_faceblur.recognition.dlib_resnet import DlibResNet
from blender_faceblur.weights.dlib_net import RANGES, Pixels, compute, compute_ranges, list_blocks, read_package

from .accuracy import describe_machine
from .mixing import SEEN_PX, open_detector

Faces = NDArray[np.uint8]

_AT_ONCE = 8


def read_faces(folder: Path, recognizer: DlibResNet) -> Faces:
    """The most confident face of each portrait, aligned: N x 150 x 150 x 3."""
    detector = open_detector()
    faces = []
    for files in list_references(folder).values():
        picture = cv2.imread(str(files[0]))
        if picture is None:
            continue
        scale = SEEN_PX / max(picture.shape[:2])
        seen = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        found = detector.detect(seen)
        if found and found[0].landmarks is not None:
            faces.append(recognizer.align(seen, found[0].landmarks))
    if len(faces) < 2:
        raise FaceBlurError(f"No faces were detected in {folder}.")
    return np.stack(faces)


def make_worse(faces: Faces) -> dict[str, Faces]:
    """The unchanged faces, and blurred, small and dark ones."""
    side = faces.shape[1]
    small = [cv2.resize(face, (24, 24), interpolation=cv2.INTER_AREA) for face in faces]
    return {
        "sharp": faces,
        "blurred (sigma 5 of 150)": np.stack(
            [np.asarray(cv2.GaussianBlur(face, (0, 0), 5), np.uint8) for face in faces]
        ),
        "24 pixels wide": np.stack([np.asarray(cv2.resize(face, (side, side)), np.uint8) for face in small]),
        "a quarter of the light": (faces // 4).astype(np.uint8),
    }


def to_pixels(faces: Faces) -> Pixels:
    return np.ascontiguousarray(faces[..., ::-1].transpose(0, 3, 1, 2), np.float32)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="build.py bench recogniser", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        weights = read_package(options.package)
        recognizer = DlibResNet(get_model_path("dlib_resnet"))
        faces = read_faces(options.folder, recognizer)
    except (OSError, tarfile.TarError, json.JSONDecodeError, FaceBlurError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in describe_machine():
        print(line)
    print(f"{len(faces)} faces, every other one for the ranges")
    several = [
        to_pixels(part[i : i + _AT_ONCE])
        for part in make_worse(faces[::2]).values()
        for i in range(0, len(part), _AT_ONCE)
    ]
    ranges = compute_ranges(weights, several)
    print(f"\n_FIRST = {ranges['conv32_down/active'][1]:.3f}")
    for name, _ in list_blocks():
        (_, active), (least, most), (_, out) = (ranges[f"{name}/{layer}"] for layer in ("active", "y", "out"))
        print(f'    "{name}": ({active:.3f}, {least:.3f}, {most:.3f}, {out:.3f}),')
    beyond = [
        name
        for name, (least, most) in ranges.items()
        if least < RANGES[name][0] - 0.001 or most > RANGES[name][1] + 0.001
    ]
    print(f"beyond the file's own ranges: {', '.join(beyond) or 'none'}")
    print("\ndistance between the file's descriptors and those in floats: mean, largest")
    for kind, part in make_worse(faces[1::2]).items():
        exact = np.concatenate(
            [compute(weights, to_pixels(part[i : i + _AT_ONCE])) for i in range(0, len(part), _AT_ONCE)]
        )
        away = np.linalg.norm(recognizer.embed_many(list(part)) - exact, axis=1)
        print(f"{kind:26} {away.mean():.3f}  {away.max():.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
