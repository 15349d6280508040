# SPDX-License-Identifier: GPL-3.0-or-later
"""How many number plates, or with --text lines of text, are covered in pictures: build.py bench plates FOLDER...

Each FOLDER is a set of pictures with annotated plates in one of four forms: a .txt file beside each picture
(github.com/openalpr/benchmarks: name, x, y, width, height, separated by tabs), the corners in the picture's name
(github.com/detectRecog/CCPD), one GroundTruth_others.xml (github.com/liuruoze/EasyPR), or for text one textdet*.json
(github.com/open-mmlab/mmocr). Each picture is analysed like a film of one frame. docs/people.md has the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.picture_sizes import compute_decode_size
from blender_faceblur.core.detection.settings import DEFAULT_MARGIN, get_preset
from blender_faceblur.core.tracking.analysis import analyse_frames, build_document
from blender_faceblur.core.tracking.objects import PLATE_CLASS, TEXT_CLASS, ObjectClass, mark_objects
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.types import Ellipse, FaceBlurError, SourceInfo
from blender_faceblur.detectors.passes import combine_passes
from blender_faceblur.worker.ensemble import Networks, choose_usable, open_sessions

from .accuracy import describe_machine
from .covers import Mask, TracksCover
from .scoring import ALLOWED, COVERED, draw_ellipse

Corners = NDArray[np.float64]

_WIDTHS = (32, 48, 64, 96)
"""Borders between groups of plates by width, in pixels of a picture whose long side is 1280."""


@dataclass(slots=True)
class Tally:
    """The results of a set."""

    pictures: int = 0
    found: list[tuple[float, bool]] = field(default_factory=list)
    """The width of each plate in a picture of 1280, and whether it is covered."""
    needless: list[float] = field(default_factory=list)
    """The share of each picture that is covered beyond its plates."""
    seconds: float = 0.0


def read_set(folder: Path) -> Iterator[tuple[Path, list[Corners]]]:
    """Pictures and the corners (N x 2) of each of their plates or lines. Raises FaceBlurError if there are none."""
    tagged = folder / "GroundTruth_others.xml"
    if tagged.is_file():
        # The file declares Latin-1 but is UTF-8.
        for image in ElementTree.fromstring(tagged.read_text(encoding="utf-8").partition("?>")[2]):  # noqa: S314
            rectangles = [
                [float(r.attrib[name]) for name in ("x", "y", "width", "height", "rotation")]
                for r in image.iter("taggedRectangle")
            ]
            yield (
                folder / f"{image.findtext('imageName')}.jpg",
                [cv2.boxPoints(((x, y), (w, h), turn)).astype(float) for x, y, w, h, turn in rectangles],
            )
        return
    listed = [line.split("\t") for file in sorted(folder.glob("*.txt")) for line in file.read_text().splitlines()]
    plates: dict[Path, list[Corners]] = {}
    for name, *numbers in (parts for parts in listed if len(parts) >= 5):
        x, y, w, h = map(float, numbers[:4])
        plates.setdefault(folder / name, []).append(np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]))
    for picture in sorted(folder.glob("*-*-*-*-*-*-*.jpg")):
        points = [point.split("&") for point in picture.stem.split("-")[3].split("_")]
        plates[picture] = [np.array(points, float)]
    for file in sorted(folder.glob("textdet*.json")):
        for entry in json.loads(file.read_text(encoding="utf-8"))["data_list"]:
            # What is marked to be ignored was illegible for the annotators.
            lines = [one["polygon"] for one in entry["instances"] if not one["ignore"]]
            (picture,) = folder.rglob(Path(entry["img_path"]).name)
            plates[picture] = [np.array(line, float).reshape(-1, 2) for line in lines]
    if not plates:
        raise FaceBlurError(f"{folder}: there are no pictures with annotations in a known form")
    yield from plates.items()


def measure(folder: Path, every: int, sought: ObjectClass = PLATE_CLASS) -> Tally:
    """Analyse every picture of a set, or every `every`th one."""
    preset = get_preset(sought.preset.name)
    uses, _ = choose_usable(preset)
    tally = Tally()
    with Networks() as networks:
        sessions = open_sessions(networks, uses, "cpu")
        for path, plates in itertools.islice(read_set(folder), 0, None, every):
            if not path.is_file():
                continue
            # With NumPy: OpenCV on Windows cannot open a file whose name is outside its code page.
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                raise FaceBlurError(f"{path} cannot be read as a picture.")
            size = picture.shape[1], picture.shape[0]
            seen = cv2.resize(picture, compute_decode_size(size, uses), interpolation=cv2.INTER_AREA)
            detection_passes = combine_passes([(sessions[use.detector], use) for use in uses], size)
            began = time.process_time()
            table = ObservationTable([Segment(0, 1)])
            for record in analyse_frames(
                [(0, np.asarray(seen, np.uint8))], size, 25.0, detection_passes, preset.strong_confidence
            ):
                table.add(0, record)
            tally.seconds += time.process_time() - began
            info = SourceInfo(path.name, "image", *size, 1, Fraction(25), "0" * 64)
            document = build_document(table, info, preset, DEFAULT_MARGIN, [], [])
            mark_objects(document, sought.kind)
            mask = TracksCover(document, 0.0).draw(0)
            assert mask is not None
            count_cover(tally, mask, plates)
    return tally


def count_cover(tally: Tally, mask: Mask, plates: list[Corners]) -> None:
    """Add a picture: its mask (height x width, 1 where covered), and its plates."""
    allowed = np.zeros_like(mask)
    for corners in plates:
        plate = np.zeros_like(mask)
        cv2.fillPoly(plate, [np.round(corners).astype(np.int32)], [1])
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        share = float((plate & mask).sum()) / max(1, int(plate.sum()))
        tally.found.append(((right - left) * 1280 / max(mask.shape), share >= COVERED))
        round_it = Ellipse.inscribed((left, top, right, bottom)).scaled(2**0.5 * ALLOWED)
        allowed |= draw_ellipse(round_it, mask.shape)
    tally.pictures += 1
    tally.needless.append(float((mask & (1 - allowed)).mean()))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build.py bench plates", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth picture")
    parser.add_argument("--text", action="store_true", help="measure lines of text instead of number plates")
    options = parser.parse_args(arguments)
    print("\n".join(describe_machine()), flush=True)
    borders = (0.0, *_WIDTHS, math.inf)
    groups = [
        f"{low:.0f}-{high:.0f} px" if high < math.inf else f"{low:.0f} px-" for low, high in itertools.pairwise(borders)
    ]
    print(
        " | ".join(
            ("set", "pictures", "lines covered" if options.text else "plates covered", "needless", "CPU s", *groups)
        )
    )
    for folder in options.folders:
        try:
            tally = measure(folder, max(1, options.every), TEXT_CLASS if options.text else PLATE_CLASS)
        except FaceBlurError as error:
            print(error, file=sys.stderr)
            return 1
        sorted_in: list[list[bool]] = [[] for _ in groups]
        for width, covered in tally.found:
            sorted_in[bisect_right(_WIDTHS, width)].append(covered)
        print(
            " | ".join(
                (
                    folder.name,
                    str(tally.pictures),
                    _share([covered for _, covered in tally.found]),
                    f"{100 * float(np.mean(tally.needless or [0.0])):.2f} %",
                    f"{tally.seconds / max(1, tally.pictures):.2f}",
                    *map(_share, sorted_in),
                )
            ),
            flush=True,
        )
    return 0


def _share(covered: list[bool]) -> str:
    return f"{sum(covered)} of {len(covered)}" if covered else "-"


if __name__ == "__main__":
    sys.exit(main())
