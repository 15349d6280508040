# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the right people stay visible: build.py bench identity [FOLDER] [--portraits FOLDER].

FOLDER holds the clips whose people benchmarks/truth/people annotates. Each person in turn is kept visible, and then
blurred alone, in all clips, recognised by the best crops of one of their tracks. With --portraits (a picture or a
folder of pictures for each of many people) the distances between strangers and between photographs of one person are
measured, and films are made in which strangers move side by side and replace each other, permanently or for a moment.
docs/people.md explains the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.batch.people import collect_embeddings, list_references
from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.people.decisions import RATES, USUAL_RATE, Mode, People, Person, decide_tracks
from blender_faceblur.core.people.similarity import (
    GOOD,
    STRANGER_DISTANCES,
    FaceEmbedding,
    Vector,
    choose_best,
    group_tracks,
    list_coexisting_pairs,
)
from blender_faceblur.core.types import Ellipse, FaceBlurError, Track, TrackDocument
from blender_faceblur.worker.client import AnalysisOptions, Request, build_embed_request, build_request, finish_job
from blender_faceblur.worker.embedding import FaceEmbedder
from blender_faceblur.worker.protocol import Message, SourceRef, TrackEmbedding

from .accuracy import describe_machine
from .annotations import compute_digest
from .mixing import (
    CELLS,
    FRAMES,
    VISIT_FRAMES,
    SourcePortrait,
    compute_cell,
    open_detector,
    read_portrait,
    write_mixed,
    write_visits,
)

TRUTH = Path(__file__).resolve().parent / "truth" / "people" / "clips.json"

_REFERENCES = 3
_LEAST_SHARE = 0.8
_DISTANCES = tuple(row[0] for row in STRANGER_DISTANCES)
_VISITS = (15, 8)
"""Frames."""
_WHEN = ("while it is analysed", "afterwards")
_BLURS = (None, (48, 20), (24, 20), (16, 20))
"""How portraits are degraded: the face's width in pixels, and its width divided by the blur's sigma."""


@dataclass(frozen=True, slots=True)
class PersonSpan:
    """The position of a person's face: frames (half-open) and a box for its middle."""

    who: str
    start: int
    stop: int
    box: tuple[float, float, float, float]

    def holds(self, frame: int, face: Ellipse) -> bool:
        x1, y1, x2, y2 = self.box
        return self.start <= frame < self.stop and x1 <= face.cx <= x2 and y1 <= face.cy <= y2


@dataclass(slots=True)
class WatchedFilm:
    """A film that was analysed with embeddings, and the person of every track in every frame."""

    name: str
    document: TrackDocument
    embeddings: dict[str, list[FaceEmbedding]]
    who: dict[str, dict[int, str]] = field(default_factory=dict)

    def get_person(self, track: str) -> str:
        """The person whom a track shows in most of its frames; empty for unknown people, or for several."""
        people = list(self.who[track].values())
        best = max(set(people), key=people.count, default="")
        return best if best and people.count(best) >= _LEAST_SHARE * len(people) else ""


@dataclass(slots=True)
class Count:
    """The decisions: frames and tracks of people who may be visible, and of people who may not."""

    own_tracks: int = 0
    own_clear: int = 0
    own_frames: int = 0
    own_clear_frames: int = 0
    other_tracks: int = 0
    other_clear: int = 0
    other_frames: int = 0
    other_clear_frames: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(
        self, film: WatchedFilm, track: Track, clear: Sequence[tuple[int, int]], mine: Sequence[str], label: str
    ) -> None:
        """`mine` are the people who may be visible; frames of unknown people count as others'."""
        shown = {frame for start, stop in clear for frame in range(start, stop)}
        people = film.who[track.name]
        own = [f for f, who in people.items() if who in mine]
        others = [f for f, who in people.items() if who not in mine]
        wrongly = [f for f in others if f in shown]
        self.own_tracks += bool(own)
        self.own_clear += bool(own) and sum(f in shown for f in own) > len(own) / 2
        self.own_frames += len(own)
        self.own_clear_frames += sum(f in shown for f in own)
        self.other_tracks += bool(others)
        self.other_clear += bool(wrongly)
        self.other_frames += len(others)
        self.other_clear_frames += len(wrongly)
        if wrongly:
            self.wrong.append(
                f"{film.name} {track.name}, frames {wrongly[0]} to {wrongly[-1]} ({len(wrongly)}), "
                f"{people[wrongly[0]] or 'an unknown person'}: {label}"
            )

    def describe(self) -> str:
        return (
            f"intended tracks visible: {self.own_clear} of {self.own_tracks} tracks, {self.own_clear_frames} of "
            f"{self.own_frames} frames; others visible: {self.other_clear} of {self.other_tracks} tracks, "
            f"{self.other_clear_frames} of {self.other_frames} frames"
        )


def compute_bound(wrong: int, of: int) -> float:
    """The upper end of the exact one-sided 95 % interval of a share (Clopper and Pearson 1934), by bisection."""
    if wrong >= of:
        return 1.0
    low, high = wrong / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        term = (1 - middle) ** of
        total = term
        for k in range(1, wrong + 1):
            term *= (of - k + 1) / k * middle / (1 - middle)
            total += term
        low, high = (middle, high) if total > 0.05 else (low, middle)
    return high


def read_truth(path: Path = TRUTH) -> dict[str, tuple[str, list[PersonSpan]]]:
    """By clip: its SHA-256 and its people's positions. Raises FaceBlurError if the file is invalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            clip["clip"]: (
                clip["sha256"],
                [
                    PersonSpan(person["who"], start, stop, (x1, y1, x2, y2))
                    for person in clip["people"]
                    for start, stop, x1, y1, x2, y2 in person["places"]
                ],
            )
            for clip in content["clips"]
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FaceBlurError(f"{path} cannot be read: {error!r}") from error


def watch(clip: Path, name: str) -> WatchedFilm:
    """Analyse a film as the command does, with embeddings."""
    with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as place:
        tracks = Path(place) / "tracks.json"
        embeddings = _collect(build_request(clip, tracks, AnalysisOptions(recognise=True)))
        return WatchedFilm(name, read_document(tracks), embeddings)


def _collect(request: Request) -> dict[str, list[FaceEmbedding]]:
    seen = []

    def collect(message: Message) -> None:
        if isinstance(message, TrackEmbedding):
            seen.append(message)

    finish_job(request, lambda *_: None, collect)
    return collect_embeddings(seen)


def name_people(film: WatchedFilm, places: Sequence[PersonSpan]) -> None:
    """Assign a person to each frame of each track."""
    for track in film.document.tracks:
        film.who[track.name] = {
            s.source_frame: next((p.who for p in places if p.holds(s.source_frame, s.ellipse)), "")
            for s in track.samples
        }


def measure_clips(folder: Path) -> bool:  # noqa: C901
    """Print the decisions in the clips of a folder; returns whether no person was shown who had to be covered."""
    films = []
    for name, (sha256, places) in read_truth().items():
        clip = folder / name
        if not clip.is_file():
            print(f"{name}: the file is missing, not measured")
        elif compute_digest(clip) != sha256:
            print(f"{name}: this is not the annotated file, not measured")
        else:
            film = watch(clip, name)
            name_people(film, places)
            films.append(film)
            good = sum(len(choose_best(embeddings)) > 0 for embeddings in film.embeddings.values())
            print(
                f"{name}: {len(film.document.tracks)} tracks, {sum(map(len, film.embeddings.values()))} embeddings; "
                f"{good} tracks have usable embeddings",
                flush=True,
            )
    people = sorted({who for film in films for track in film.who.values() for who in track.values() if who})
    again, same, blur = Count(), Count(), Count()
    known = 0
    for person in people:
        source = _get_source(films, person)
        if source is None:
            print(f"{person}: no embedding is good enough for a reference")
            continue
        known += 1
        film_at, track_at = source
        best = choose_best(films[film_at].embeddings[track_at], _REFERENCES)
        for mode, others_clear in ((Mode.KEEP, False), (Mode.BLUR, True)):
            asked = People([Person(person, mode, [embedding.vector for embedding in best])], others_clear)
            for number, film in enumerate(films):
                tracks = {track.name: track for track in film.document.tracks}
                for decision in decide_tracks(film.document, film.embeddings, asked):
                    track = tracks[decision.track]
                    if mode is Mode.BLUR:
                        blur.add(
                            film,
                            track,
                            decision.clear,
                            [p for p in (*people, "") if p != person],
                            f"only {person} is to be blurred; {decision.why}",
                        )
                    elif (number, track.name) == source:
                        if not decision.clear:
                            print(
                                f"{person}: not kept in {film.name} {track.name}: {decision.why}; embeddings "
                                f"{_describe_embeddings(film.embeddings.get(track.name, ()))}"
                            )
                        same.add(film, track, decision.clear, [person], f"{person} is kept; {decision.why}")
                    else:
                        again.add(film, track, decision.clear, [person], f"{person} is kept; {decision.why}")
    print(
        f"\nclips: {len(films)} films, {len(people)} people, {known} of them kept visible in turn by {_REFERENCES} "
        "embeddings of one track"
    )
    print(f"keep, track of the references: {same.describe()}")
    print(f"keep, all other tracks: {again.describe()}")
    print(f"blur only: {blur.describe()}")
    for count in (same, again, blur):
        for text in count.wrong:
            print(f"  WRONG: {text}")
    _measure_groups(films)
    return not (again.wrong or same.wrong or blur.wrong)


def _describe_embeddings(embeddings: Sequence[FaceEmbedding]) -> str:
    return " ".join(f"{embedding.source_frame}:{embedding.quality:.2f}" for embedding in embeddings)


def _get_source(films: list[WatchedFilm], person: str) -> tuple[int, str] | None:
    """The film and track with a person's best embeddings."""
    best: tuple[float, int, str] | None = None
    for number, film in enumerate(films):
        for track, embeddings in film.embeddings.items():
            own = [
                embedding
                for embedding in choose_best(embeddings, _REFERENCES)
                if film.who[track].get(embedding.source_frame) == person
            ]
            score = sum(embedding.quality for embedding in own)
            if len(own) == _REFERENCES and (best is None or score > best[0]):
                best = score, number, track
    return None if best is None or best[0] < _REFERENCES * GOOD else (best[1], best[2])


def _measure_groups(films: list[WatchedFilm]) -> None:
    embeddings = {
        (number, track): own
        for number, film in enumerate(films)
        for track, own in film.embeddings.items()
        if choose_best(own)
    }
    apart = {
        ((number, one), (number, other))
        for number, film in enumerate(films)
        for one, other in list_coexisting_pairs(film.document.tracks)
    }
    who = {key: films[key[0]].get_person(key[1]) for key in embeddings}
    groups = group_tracks(embeddings, apart)
    joined = right = missed = unknown = 0
    group_of = {key: number for number, group in enumerate(groups) for key in group}
    keys = list(embeddings)
    for i, one in enumerate(keys):
        for other in keys[i + 1 :]:
            together = group_of[one] == group_of[other]
            if not who[one] or not who[other]:
                unknown += together
                continue
            joined += together
            right += together and who[one] == who[other]
            missed += not together and who[one] == who[other]
    print(
        f"groups: {len(keys)} tracks in {len(groups)} groups; of {joined} joined pairs {right} are one "
        f"person's; of {right + missed} pairs of one person {right} were joined; {unknown} pairs include an "
        "unknown person"
    )


def measure_portraits(folder: Path, most: int) -> None:
    """Print the distances between strangers, and between photographs of one person."""
    embedder, detector = FaceEmbedder(), open_detector()
    sharp: list[Vector] = []
    again: list[tuple[int, Vector]] = []
    worse: dict[tuple[int, int], list[Vector]] = {blur: [] for blur in _BLURS if blur}
    rng = np.random.default_rng(0)
    for name, files in list(list_references(folder).items())[:most]:
        vectors = []
        for file in files[:2]:
            portrait = read_portrait(name, file, detector)
            vector = _embed(embedder, portrait) if portrait is not None else None
            if portrait is not None and vector is not None:
                vectors.append(vector)
                if len(vectors) == 1:
                    for blur in worse:
                        poor = _embed(embedder, _make_worse(portrait, blur, rng))
                        worse[blur] += [] if poor is None else [poor]
        if vectors:
            sharp.append(vectors[0])
            again += [(len(sharp) - 1, vector) for vector in vectors[1:]]
    own = np.stack(sharp)
    apart = np.linalg.norm(own[:, None] - own[None], axis=2)
    pairs = apart[np.triu_indices(len(own), 1)]
    print(f"\nportraits: {len(own)} people, {len(pairs)} pairs of strangers, {len(again)} second photographs")
    poor_apart = {
        blur: np.linalg.norm(np.stack(vectors)[:, None] - own[None], axis=2)
        for blur, vectors in worse.items()
        if vectors
    }
    same = np.array([float(np.linalg.norm(vector - own[i])) for i, vector in again])
    print("distance  strangers nearer  95 % up to  worst of reduced and blurred  one person's farther")
    for distance in _DISTANCES:
        near = apart < distance
        np.fill_diagonal(near, False)
        poor = max(
            float((values < distance).sum() - (np.sort(values, axis=1)[:, 0] < distance).sum()) / values.size
            for values in poor_apart.values()
        )
        farther = f"{(same > distance).mean():.4f}" if len(same) else "-"
        print(
            f"{distance:8.2f}  {(pairs < distance).mean():16.2e}  {_bound_pairs(near, rng):10.2e}  {poor:28.2e}  "
            f"{farther:>20}"
        )


def _bound_pairs(near: NDArray[np.bool_], rng: np.random.Generator) -> float:
    """The 97.5th percentile of the share over 200 samples of the people, drawn with replacement: pairs share people."""
    shares = []
    for _ in range(200):
        weights = np.bincount(rng.integers(0, len(near), len(near)), minlength=len(near)).astype(float)
        shares.append(weights @ (near @ weights) / (weights.sum() ** 2 - (weights**2).sum()))
    return float(np.quantile(shares, 0.975))


def _make_worse(portrait: SourcePortrait, blur: tuple[int, int], rng: np.random.Generator) -> SourcePortrait:
    width, share = blur
    scale = width / (portrait.box[2] - portrait.box[0])
    small = cv2.resize(portrait.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), width / share)
    noisy = np.clip(small + rng.normal(0, 4, small.shape), 0, 255).astype(np.uint8)
    x1, y1, x2, y2 = (value * scale for value in portrait.box)
    return SourcePortrait(portrait.name, noisy, (x1, y1, x2, y2))


def _embed(embedder: FaceEmbedder, portrait: SourcePortrait) -> Vector | None:
    found = embedder.embed_face(portrait.picture, Ellipse.inscribed(portrait.box))
    return None if found is None else found[1]


def measure_mixed(folder: Path, films: int, known: int) -> bool:  # noqa: C901
    """Print the decisions in films made of portraits; returns whether no person was shown who had to be covered."""
    detector, embedder = open_detector(), FaceEmbedder()
    references: dict[str, Vector] = {}
    faces: list[SourcePortrait] = []
    for name, files in list_references(folder).items():
        portrait = read_portrait(name, files[0], detector)
        if portrait is None:
            continue
        faces.append(portrait)
        if len(files) > 1 and len(references) < known:
            second = read_portrait(name, files[1], detector)
            vector = _embed(embedder, second) if second is not None else None
            if vector is not None:
                references[name] = vector
        if len(faces) == films * (CELLS + 1):
            break
    counts, blur = {rate: Count() for rate in RATES}, Count()
    strangers: set[str] = set()
    kept = dict.fromkeys(RATES, 0)
    trials = switched = 0
    with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as place:
        for number in range(len(faces) // (CELLS + 1)):
            scene_faces = faces[number * (CELLS + 1) : (number + 1) * (CELLS + 1)]
            clip = Path(place) / "mixed.mp4"
            cells = write_mixed(clip, scene_faces[:CELLS], scene_faces[CELLS], number)
            film = watch(clip, f"film {number + 1}")
            for track in film.document.tracks:
                film.who[track.name] = {}
                for sample in track.samples:
                    cell = cells[compute_cell(sample.ellipse.cx, sample.ellipse.cy)]
                    film.who[track.name][sample.source_frame] = next(
                        who for start, stop, who in cell if start <= sample.source_frame < stop
                    )
            switched += sum(len(set(who.values())) > 1 for who in film.who.values())
            tracks = {track.name: track for track in film.document.tracks}
            for person, reference in references.items():
                for rate, count in counts.items():
                    for decision in decide_tracks(
                        film.document, film.embeddings, People([Person(person, Mode.KEEP, [reference])], False, rate)
                    ):
                        count.add(film, tracks[decision.track], decision.clear, [person], f"{person} is kept")
                        theirs = set(film.who[decision.track].values())
                        if person not in theirs:
                            strangers |= theirs
                            trials += rate == RATES[0]
                            kept[rate] += bool(decision.clear)
                for decision in decide_tracks(
                    film.document, film.embeddings, People([Person(person, Mode.BLUR, [reference])], True)
                ):
                    blur.add(
                        film,
                        tracks[decision.track],
                        decision.clear,
                        [p.name for p in scene_faces if p.name != person],
                        f"only {person} is to be blurred",
                    )
            print(
                f"film {number + 1}: {len(tracks)} tracks, {sum(map(len, film.embeddings.values()))} embeddings",
                flush=True,
            )
    print(
        f"\nmixed films: {len(faces) // (CELLS + 1)} of {FRAMES} frames, {len(strangers)} strangers, "
        f"{len(references)} people kept visible in turn, each by one other photograph; {switched} tracks change to "
        "another"
    )
    for rate, count in counts.items():
        usual = " (usual)" if rate == USUAL_RATE else ""
        print(f"keep, 1 stranger in {1 / rate:.0f}{usual}: {count.describe()}")
        print(
            f"  strangers' tracks kept visible: {kept[rate]} of {trials} trials ({kept[rate] / max(trials, 1):.1e}), "
            f"95 % up to {compute_bound(kept[rate], trials):.1e} if trials were independent, up to "
            f"{compute_bound(min(kept[rate], len(strangers)), len(strangers)):.1e} if only strangers are"
        )
        for text in count.wrong:
            print(f"  WRONG: {text}")
    print(f"blur only: {blur.describe()}")
    for text in blur.wrong:
        print(f"  WRONG: {text}")
    return not (counts[USUAL_RATE].wrong or blur.wrong)


def measure_visits(folder: Path, films: int) -> bool:
    """Print whether a person is shown who briefly replaces a kept face; returns whether none was."""
    detector, embedder = open_detector(), FaceEmbedder()
    portraits = (read_portrait(name, files[0], detector) for name, files in list_references(folder).items())
    faces = list(itertools.islice((face for face in portraits if face is not None), 2 * CELLS * films))
    count = len(faces) // (2 * CELLS)
    well = True
    with tempfile.TemporaryDirectory(prefix="faceblur-bench-") as place:
        clip, tracks = Path(place) / "visits.mp4", Path(place) / "tracks.json"
        for length in _VISITS:
            shown: dict[str, list[str]] = {when: [] for when in _WHEN}
            own, trials = dict.fromkeys(_WHEN, 0), 0
            for number in range(count):
                scene_faces, others = (
                    faces[(2 * number + part) * CELLS : (2 * number + part + 1) * CELLS] for part in (0, 1)
                )
                visits = write_visits(clip, scene_faces, others, length, number)
                embeddings = {_WHEN[0]: _collect(build_request(clip, tracks, AnalysisOptions(recognise=True)))}
                document = read_document(tracks)
                request = build_embed_request(SourceRef.of(clip, fingerprint=document.source.fingerprint), tracks)
                embeddings[_WHEN[1]] = _collect(request)
                for cell, (face, visit) in enumerate(zip(scene_faces, visits, strict=True)):
                    vector = _embed(embedder, face)
                    if vector is None:
                        continue
                    trials += 1
                    kept = People([Person(face.name, Mode.KEEP, [vector])])
                    for when in _WHEN:
                        clear = _list_clear(document, embeddings[when], kept, cell)
                        own[when] += len(clear - set(visit))
                        if clear & set(visit):
                            shown[when].append(f"film {number + 1}, {others[cell].name} in place of {face.name}")
            frames = trials * (VISIT_FRAMES - length)
            for when in _WHEN:
                wrong = len(shown[when])
                print(
                    f"visits of {length} frames, embedded {when}: {wrong} of {trials} shown, 95 % up to "
                    f"{compute_bound(wrong, trials):.1%}; {own[when]} of {frames} own frames visible",
                    flush=True,
                )
                for text in shown[when]:
                    print(f"  WRONG: {text}")
            well &= not any(shown.values())
    return well


def _list_clear(
    document: TrackDocument, embeddings: dict[str, list[FaceEmbedding]], people: People, cell: int
) -> set[int]:
    """The frames in which a face in that cell stays visible."""
    tracks = {track.name: track for track in document.tracks}
    clear: set[int] = set()
    for decision in decide_tracks(document, embeddings, people):
        samples = tracks[decision.track].samples
        middle = samples[len(samples) // 2].ellipse
        if compute_cell(middle.cx, middle.cy) == cell:
            clear |= {frame for start, stop in decision.clear for frame in range(start, stop)}
    return clear


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build.py bench identity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="annotated clips")
    parser.add_argument("--portraits", type=Path, metavar="FOLDER", help="pictures of many people")
    parser.add_argument("--people", type=int, default=2000, metavar="N", help="use at most N portraits (2000)")
    parser.add_argument("--films", type=int, default=20, metavar="N", help="number of mixed films (20; 0: none)")
    parser.add_argument(
        "--known", type=int, default=60, metavar="N", help="number of people kept visible in turn in them (60)"
    )
    parser.add_argument("--visits", type=int, default=20, metavar="N", help="number of films of visits (20; 0: none)")
    options = parser.parse_args(arguments)
    if options.folder is None and options.portraits is None:
        parser.error("name a folder of clips, or use --portraits")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the measurement; returns 1 if a person was shown who had to be covered."""
    options = parse(arguments)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    well = True
    try:
        print("\n".join(describe_machine()), flush=True)
        if options.folder is not None:
            well &= measure_clips(options.folder)
        if options.portraits is not None:
            measure_portraits(options.portraits, options.people)
            if options.films:
                well &= measure_mixed(options.portraits, options.films, options.known)
            if options.visits:
                well &= measure_visits(options.portraits, options.visits)
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
