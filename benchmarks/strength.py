# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a covered face can still be detected and recognised: build.py bench strength FOLDER.

FOLDER holds portraits: a picture for each person, or a folder for each with two different photographs; at least 100
people. docs/strength.md lists sources of portraits, the measurements and the results.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.settings import PRESETS
from blender_faceblur.core.types import FaceBlurError, Picture
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.base import FaceDetector
from blender_faceblur.files.paths import get_model_path, list_models
from blender_faceblur.recognition import get_recognizer
from blender_faceblur.recognition.base import Recognizer
from blender_faceblur.weights.fetch import fetch_models

from .accuracy import describe_machine
from .attacks import ATTACKS, ON_SHOTS, Setting, list_values, show_only_covered, sum_shot
from .obscuring import draw_cover, imitate, render_tiles, to_levels, to_linear
from .portraits import FACE_HEIGHT, FACE_PX, Tile, compute_middle, gather, photograph_again, read_people

SAMPLES = (2, 3, 4, 5, 6, 8, 12, 16)
SETTINGS = (
    *(Setting(kind, samples) for kind in ("mosaic", "blur") for samples in SAMPLES),
    *(Setting("gaussian", samples) for samples in (4, 6, 8)),
    Setting("erase", 0),
    Setting("solid", 0),
)
ANOTHER, SAME = "another photograph", "the same photograph, taken again"
FEW = ("deconvolved", "16 frames, deconvolved")
"""The attacks that are measured if the attacker owns the same photograph."""
VALUES = "values of the blocks"
LEAST_PEOPLE = 100
_LOOKED_AT = _OWNED = 100
_FOUND = 0.5
_FALSE_ACCEPTS = 0.01
_SURE = 0.999


@dataclass(frozen=True, slots=True)
class AttackResult:
    """Of `people` probes: how many have their own person nearest in the gallery, how many pass at 1 % false accepts."""

    probes: str
    attack: str
    gallery: str
    people: int
    nearest: int
    accepted: int

    def at_chance(self) -> bool:
        """Whether guessing would do as well at least once in a thousand times."""
        return self.nearest <= compute_bound(self.people, 1 / self.people) and self.accepted <= compute_bound(
            self.people, _FALSE_ACCEPTS
        )


@dataclass(slots=True)
class SettingResult:
    """The measurements of one setting; `setting` is None for uncovered faces."""

    setting: Setting | None
    found: dict[str, float] = field(default_factory=dict)
    results: list[AttackResult] = field(default_factory=list)
    imitation: tuple[float, float] | None = None
    """Mean and 98th percentile of the difference, in levels, between the computed and the rendered effect."""

    @property
    def name(self) -> str:
        return str(self.setting) if self.setting else "nothing"


def compute_bound(trials: int, chance: float) -> int:
    """The largest number of hits in `trials` that guessing reaches in 999 of 1000 cases."""
    share, total, hits = (1 - chance) ** trials, 0.0, 0
    while True:
        total += share
        if total >= _SURE or hits == trials:
            return hits
        share *= (trials - hits) / (hits + 1) * chance / (1 - chance)
        hits += 1


def count_hits(distances: NDArray[np.float32]) -> tuple[int, int]:
    """Of a table probes x gallery with people in the same order: how many probes are nearest to their own person, and
    how many are nearer to it than all but 1 % of the strangers are. Ties do not count."""
    own = np.diag(distances)
    others = distances[~np.eye(len(distances), dtype=bool)].reshape(len(distances), -1)
    limit = np.quantile(others, _FALSE_ACCEPTS)
    return int((own < others.min(axis=1)).sum()), int((own < limit).sum())


@dataclass(slots=True)
class Side:
    """One photograph of each person: the tiles, and their covered versions with the current setting."""

    tiles: list[Tile]
    covered: list[Picture] = field(default_factory=list)

    def embed(
        self, recognizer: Recognizer, pictures: Iterable[Picture], usual: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """`usual` are landmarks for all faces: those of a covered face are hidden, and would identify it."""
        return np.array(
            [
                recognizer.embed(recognizer.align(picture, tile.landmarks if usual is None else usual))
                for picture, tile in zip(pictures, self.tiles, strict=True)
            ]
        )


class Bench:
    """The people, the recogniser and the detectors of a run."""

    def __init__(self, people: list[list[Tile]], recognizer: Recognizer, folder: Path) -> None:
        rng = np.random.default_rng(6)
        self._recognizer, self._folder = recognizer, folder
        firsts = [tiles[0] for tiles in people]
        again = [photograph_again(tile, firsts[i - 7].picture, rng) for i, tile in enumerate(firsts[:_OWNED])]
        with_two = [tiles for tiles in people if len(tiles) > 1]
        self._pairs: dict[str, tuple[Side, Side]] = {}
        if with_two:
            self._pairs[ANOTHER] = (Side([tiles[1] for tiles in with_two]), Side([tiles[0] for tiles in with_two]))
        self._pairs[SAME] = Side(again), Side(firsts[:_OWNED])
        self._clear = {
            probes: gallery.embed(recognizer, (tile.picture for tile in gallery.tiles))
            for probes, (_, gallery) in self._pairs.items()
        }
        self._usual = np.mean([tile.landmarks for tile in firsts], axis=0)
        self._detectors = list_detectors()

    def close(self) -> None:
        for detector in self._detectors:
            detector.close()

    def measure(self, setting: Setting | None) -> SettingResult:
        row = SettingResult(setting)
        if setting is None:
            for probes, (side, _) in self._pairs.items():
                bare = side.embed(self._recognizer, (tile.picture for tile in side.tiles))
                row.results.append(self._compare(probes, "plain", "clear", bare, self._clear[probes]))
            row.found = self._find_people([tile.picture for tile in self._looked_at().tiles])
            return row
        self._cover(setting)
        row.found = self._find_people(self._looked_at().covered)
        if setting.can_be_computed:
            row.imitation = self._check_imitation(setting)
        for probes, (side, gallery) in self._pairs.items():
            values = [np.array([list_values(picture, setting) for picture in one.covered]) for one in (side, gallery)]
            row.results.append(self._rate(probes, VALUES, "covered", -(values[0] @ values[1].T)))
            for attack, faces in self._attack(setting, probes):
                if probes == ANOTHER:
                    row.results.append(self._compare(probes, attack, "clear", faces[0], self._clear[probes]))
                row.results.append(self._compare(probes, attack, "covered", faces[0], faces[1]))
        return row

    def _attack(self, setting: Setting, probes: str) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
        """Each attack's name, with the values of probes and gallery after it.

        For the same photograph only the covered area is compared, because hair and clothes around it are identical.
        """
        sides = self._pairs[probes]
        shots: list[list[Picture]] = []
        if setting.can_be_computed:
            shots = [
                [
                    sum_shot(tile.picture, picture, setting)
                    for tile, picture in zip(side.tiles, side.covered, strict=True)
                ]
                for side in sides
            ]
        for attack, change in (ATTACKS | ON_SHOTS).items():
            wanted = ("plain",) if not setting.samples else FEW if probes == SAME else (*ATTACKS, *ON_SHOTS)
            if attack not in wanted or (attack in ON_SHOTS and not shots):
                continue
            pictures = shots if attack in ON_SHOTS else [side.covered for side in sides]
            changed = [[change(picture, setting) for picture in part] for part in pictures]
            if probes == SAME:
                changed = [[show_only_covered(picture) for picture in part] for part in changed]
            yield (
                attack,
                [side.embed(self._recognizer, part, self._usual) for side, part in zip(sides, changed, strict=True)],
            )

    def _cover(self, setting: Setting) -> None:
        for side in (side for pair in self._pairs.values() for side in pair):
            side.covered = render_tiles(
                [tile.picture for tile in side.tiles], setting.kind, setting.samples or 6, self._folder
            )

    def _looked_at(self) -> Side:
        side = next(iter(self._pairs.values()))[0]
        return Side(side.tiles[:_LOOKED_AT], side.covered[:_LOOKED_AT])

    def _find_people(self, pictures: list[Picture]) -> dict[str, float]:
        return {
            detector.name: sum(_has_face(detector, picture) for picture in pictures) / len(pictures)
            for detector in self._detectors
        }

    def _check_imitation(self, setting: Setting) -> tuple[float, float]:
        inside = cv2.erode(draw_cover().astype(np.uint8), np.ones((5, 5))).astype(bool)
        side = self._looked_at()
        apart = np.concatenate(
            [
                np.abs(
                    to_levels(imitate(to_linear(tile.picture), setting.kind, setting.samples)).astype(int) - covered
                )[inside].max(axis=-1)
                for tile, covered in zip(side.tiles, side.covered, strict=True)
            ]
        )
        return float(apart.mean()), float(np.percentile(apart, 98))

    def _compare(
        self, probes: str, attack: str, gallery: str, a: NDArray[np.float32], b: NDArray[np.float32]
    ) -> AttackResult:
        return self._rate(probes, attack, gallery, self._recognizer.distance(a[:, None], b[None]))

    @staticmethod
    def _rate(probes: str, attack: str, gallery: str, distances: NDArray[np.float32]) -> AttackResult:
        return AttackResult(probes, attack, gallery, len(distances), *count_hits(distances))


def list_detectors() -> list[FaceDetector]:
    """The presets' detectors that can run here, except those for profiles only."""
    found = []
    for name in dict.fromkeys(use.detector for preset in PRESETS for use in preset.detectors):
        kind = get_detector(name)
        try:
            model = get_model_path(name)
        except FaceBlurError:
            continue
        if not kind.only_profiles and not kind.explain_unavailable():
            found.append(kind(model, _FOUND, "cpu"))
    return found


def _has_face(detector: FaceDetector, picture: Picture) -> bool:
    """Whether a detection has about the size and position of the face."""
    middle = compute_middle()
    for d in detector.detect(picture):
        x, y, width = (d.box[0] + d.box[2]) / 2, (d.box[1] + d.box[3]) / 2, d.box[2] - d.box[0]
        if math.hypot(x - middle[0], (y - middle[1]) / FACE_HEIGHT) < FACE_PX / 2 and 0.5 < width / FACE_PX < 2:
            return True
    return False


def describe(rows: list[SettingResult]) -> list[str]:
    """The tables, as Markdown, in the order of `SETTINGS`, uncovered faces first."""
    rows = sorted(rows, key=lambda row: -1 if row.setting is None else SETTINGS.index(row.setting))
    lines = ["### Found", ""]
    lines += _lay_table(
        ["cover", *rows[0].found], [[row.name, *(f"{100 * v:.0f} %" for v in row.found.values())] for row in rows]
    )
    for probes in dict.fromkeys(result.probes for result in rows[0].results):
        people = next(r.people for r in rows[0].results if r.probes == probes)
        bounds = [f"{100 * compute_bound(people, chance) / people:.1f} %" for chance in (1 / people, _FALSE_ACCEPTS)]
        lines += [
            "",
            f"### Recognised: {probes}",
            "",
            (
                f"{people} people. Chance: rank-1 {100 / people:.1f} % (guessing stays within {bounds[0]}), "
                f"verification 1.0 % (within {bounds[1]})."
            ),
            "",
        ]
        columns = list(dict.fromkeys((r.gallery, r.attack) for row in rows for r in row.results if r.probes == probes))
        columns.sort(key=lambda column: column[0])
        head = ["cover", *(f"{attack}, {gallery} gallery" for gallery, attack in columns), "at chance"]
        body = []
        for row in rows:
            by = {(r.gallery, r.attack): r for r in row.results if r.probes == probes}
            cells = [
                f"{100 * by[c].nearest / people:.1f} / {100 * by[c].accepted / people:.1f}" if c in by else ""
                for c in columns
            ]
            body.append([row.name, *cells, "yes" if all(r.at_chance() for r in by.values()) else "no"])
        lines += _lay_table(head, body)
    return lines


def _lay_table(head: list[str], body: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build.py bench strength", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="portraits: pictures, or a folder for each person")
    parser.add_argument("--gather", type=Path, metavar="CLONES", help="first fill FOLDER from git clones in CLONES")
    parser.add_argument("--people", type=int, default=1000, metavar="N", help="largest number of people")
    parser.add_argument(
        "--settings", nargs="+", metavar="EFFECT[:SAMPLES]", help="only these settings, such as: mosaic:6 solid"
    )
    parser.add_argument("--recogniser", default="dlib_resnet", metavar="NAME", help="dlib_resnet or sface")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    options = parser.parse_args(arguments)
    names = {f"{s.kind}:{s.samples}" if s.samples else s.kind: s for s in SETTINGS}
    unknown = [name for name in options.settings or () if name not in names]
    if unknown:
        parser.error(f"unknown setting {', '.join(unknown)}; choose from {', '.join(names)}")
    options.settings = [names[name] for name in options.settings or names]
    return options


def measure(options: argparse.Namespace) -> list[str]:
    """Measure everything and print the results as they come; returns the lines of the report."""
    missing = fetch_models([options.recogniser], lambda line: print(line, file=sys.stderr))
    if missing:
        raise FaceBlurError(f"The recogniser is missing: {missing[options.recogniser]}")
    kind = get_recognizer(options.recogniser)
    if options.gather is not None:
        print(f"{gather(options.gather, options.folder)} people with two photographs each in {options.folder}")
    people = list(read_people(options.folder, options.people).values())
    if len(people) < LEAST_PEOPLE:
        raise FaceBlurError(
            f"{options.folder}: faces of {len(people)} people were detected, but {LEAST_PEOPLE} are needed."
        )
    today = datetime.datetime.now(datetime.UTC).date()
    weights = list_models()[kind.name]
    lines = [
        f"{today}, {' '.join(describe_machine())}",
        (
            f"{len(people)} people, {sum(len(tiles) > 1 for tiles in people)} of them with two different photographs; "
            f"recogniser {kind.name} ({weights.sha256[:16]})"
        ),
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as scratch:
        bench = Bench(people, kind(get_model_path(kind.name)), Path(scratch))
        rows = []
        for setting in (None, *options.settings):
            row = bench.measure(setting)
            rows.append(row)
            print(f"\n{row.name}: detected {json.dumps({name: round(v, 2) for name, v in row.found.items()})}")
            if row.imitation:
                print(
                    f"  computed and rendered differ by {row.imitation[0]:.2f} levels, 98 % by at most "
                    f"{row.imitation[1]:.0f}"
                )
            for r in row.results:
                print(
                    f"  {r.probes}; {r.attack}; {r.gallery} gallery: rank-1 {100 * r.nearest / r.people:.1f} %, "
                    f"verification {100 * r.accepted / r.people:.1f} %{'' if r.at_chance() else ', above chance'}",
                    flush=True,
                )
            _write(options, lines, rows)
        bench.close()
    return [*lines, "", *describe(rows)]


def _write(options: argparse.Namespace, lines: list[str], rows: list[SettingResult]) -> None:
    """Write after every setting, so that an interrupted run leaves its results."""
    if options.markdown is not None:
        options.markdown.write_text("\n".join([*lines, "", *describe(rows)]) + "\n", encoding="utf-8")
    if options.json is not None:
        options.json.write_text(
            json.dumps({"run": lines, "rows": [asdict(row) for row in rows]}, indent=1), encoding="utf-8"
        )


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        print("\n".join(["", *measure(options)]))
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
