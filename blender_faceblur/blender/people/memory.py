# SPDX-License-Identifier: GPL-3.0-or-later
"""What covered faces look like: strips and pictures are looked at, and the vectors are kept in memory.

They are only ever in this process's memory, and in a folder of the user's where the preferences say so.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...core.document import write_document
from ...core.editing import copy_document, merge, rename, sample_at
from ...core.likeness import RECOGNIZER, Vector, View, assign_looks
from ...core.looks_file import read_looks, write_looks
from ...core.people import cover_everybody
from ...core.types import Box, FaceBlurError, Track, TrackDocument, TrackKind
from ...paths import find_model, list_models, stored_looks
from ...worker.client import Request, build_embed_request, build_reference_request
from ...worker.protocol import FaceView, Message, Warned
from ...workplace import Workplace
from ..editing import take_in
from ..footage import Footage, find_footage
from ..mask_record import fingerprint_of
from ..preferences import find_preferences
from ..review import list_covered
from ..running import Course, Step


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One look at a face, and where in its picture it was."""

    box: Box
    view: View


@dataclass(slots=True)
class Memory:
    """All that says what faces look like. Never written anywhere; there is one for the process.

    Emptied by `forget`, also before another project is opened and when the extension is switched off. `looks`
    and `tracks` (what was looked at) are by source, by its fingerprint; `references` by number.
    """

    looks: dict[str, list[Look]] = field(default_factory=dict)
    tracks: dict[str, list[Track]] = field(default_factory=dict)
    references: dict[str, Vector] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    """On what evidence it was last decided about a track."""
    pieces: dict[tuple[str, str], str] = field(default_factory=dict)
    """Tracks that deciding has cut from others: the name of the other, by source and name."""
    weights: str | None = None
    """Why nobody can be recognised; empty where it is possible, None before the first look for the weights."""
    asked: set[str] = field(default_factory=set)
    """Sources for which was looked in the user's folder."""
    folder: str = ""
    """Where pictures of people were last taken from."""

    def clear(self) -> None:
        """Forget all of it but whether the weights are there."""
        for kept in (self.looks, self.tracks, self.references, self.reasons, self.pieces, self.asked):
            kept.clear()
        self.folder = ""


MEMORY = Memory()


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be looked at: of one source, the tracks of a document."""

    mask: str
    name: str
    footage: Footage
    fingerprint: str
    document: TrackDocument


@dataclass(slots=True)
class Seen:
    """What came of it; `looks` are by job, those at picture files by path."""

    looks: list[tuple[Job, list[Look]]] = field(default_factory=list)
    pictures: dict[str, Vector] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find_weights_problem(again: bool = False) -> str:
    """Why nobody can be recognised: the weights are not there. Empty where they are. Quick but for the first time."""
    if MEMORY.weights is None or again:
        try:
            find_model(RECOGNIZER)
            MEMORY.weights = ""
        except FaceBlurError as error:
            MEMORY.weights = str(error)
    return MEMORY.weights


def check_weights() -> None:
    """Raise FaceBlurError where nobody can be recognised."""
    if find_weights_problem(again=True):
        raise FaceBlurError(f"Nobody can be recognised, everybody stays blurred. {MEMORY.weights}")


def list_masks(scene: bpy.types.Scene) -> list[tuple[Any, Any]]:
    """The covered strips of a scene with their masks, each mask once."""
    found: dict[str, tuple[Any, Any]] = {}
    for strip, mask in list_covered(scene):
        found.setdefault(mask.name, (strip, mask))
    return list(found.values())


def read_as_covered(mask: bpy.types.Mask) -> TrackDocument:
    """The document of a mask as if everybody were covered, with what was done by other tools. Nothing is changed."""
    document = copy_document(take_in(mask))
    cover_as_found(document)
    return document


def cover_as_found(document: TrackDocument) -> None:
    """Cover all, and put together again what deciding has cut apart."""
    cover_everybody(document)
    fingerprint = document.source.fingerprint
    looked_at = {track.name: track for track in MEMORY.tracks.get(fingerprint, ())}
    for (source, name), whole in MEMORY.pieces.items():
        tracks = [track for track in document.tracks if track.name in (name, whole)]
        if source != fingerprint or len(tracks) != 2 or whole not in looked_at:
            continue
        samples = [sample for track in tracks for sample in track.samples]
        # Nothing that an editor has changed meanwhile, nor another track of that name.
        if len({sample.source_frame for sample in samples}) == len(samples) and all(
                sample_at(looked_at[whole], sample.source_frame) == sample for sample in samples):
            merged = merge(document, [name, whole])
            if merged.name != whole:
                rename(document, merged.name, whole)


def list_jobs(scene: bpy.types.Scene, strips: Iterable[str] = ()) -> list[Job]:
    """What to look at: every source once, of the covered strips of those names, or of all. Raises FaceBlurError."""
    check_weights()
    names = set(strips)
    jobs: dict[str, Job] = {}
    for strip, mask in list_covered(scene):
        fingerprint = fingerprint_of(mask)
        if (not names or strip.name in names) and fingerprint not in jobs:
            jobs[fingerprint] = Job(mask.name, strip.name, find_footage(strip), fingerprint, read_as_covered(mask))
    if not jobs:
        raise FaceBlurError("No strip is covered: Detect Faces first.")
    return list(jobs.values())


def make_job_here(strip: bpy.types.Strip, mask: bpy.types.Mask, track: str, source_frame: int) -> Job:
    """To look at one track in one frame. Raises FaceBlurError."""
    check_weights()
    document = read_as_covered(mask)
    found = next((t for t in document.tracks if t.name == track), None)
    sample = sample_at(found, source_frame) if found is not None else None
    if sample is None:
        raise FaceBlurError(f"'{track}' is nowhere in this frame; go to one in which it is seen well.")
    document.tracks, document.aside = [Track(track, [sample])], []
    return Job(mask.name, strip.name, find_footage(strip), fingerprint_of(mask), document)


def look_at(jobs: Sequence[Job], pictures: Sequence[Path], rate: float,
            wait_s: float | None = None) -> Generator[Step | None, None, Seen]:
    """Look at faces in processes of their own. With `wait_s` it yields None meanwhile; closing it ends them.

    `rate`: frames a second at which picture sequences are shown. Raises FaceBlurError.
    """
    seen, course = Seen(), Course(len(jobs) + bool(pictures), wait_s)
    with Workplace() as workplace:
        for number, job in enumerate(jobs, 1):
            path = workplace.folder / f"tracks-{number}.json"
            write_document(job.document, path)
            request = build_embed_request(job.footage.to_source_ref(rate, job.fingerprint), path)
            found = yield from _run(course, request, job.name, number, seen)
            seen.looks.append((job, list(_place_looks(job, found))))
            path.unlink()
        if pictures:
            found = yield from _run(course, build_reference_request(pictures), "Pictures", len(jobs) + 1, seen)
            seen.pictures = {view.track: np.array(view.vector, np.float32) for view in found}
    return seen


def _run(course: Course, request: Request, name: str, number: int,
         seen: Seen) -> Generator[Step | None, None, list[FaceView]]:
    views = []

    def hear(message: Message) -> None:
        if isinstance(message, FaceView):
            views.append(message)
        elif isinstance(message, Warned):
            seen.warnings.append(message.text)

    yield from course.run(request, name, number, hear)
    return views


def _place_looks(job: Job, views: Iterable[FaceView]) -> Iterator[Look]:
    tracks = {track.name: track for track in job.document.tracks}
    for view in sorted(views, key=lambda v: v.frame):
        sample = sample_at(tracks[view.track], view.frame) if view.track in tracks else None
        if sample is not None:
            face = sample.ellipse
            yield Look((face.cx - face.rx, face.cy - face.ry, face.cx + face.rx, face.cy + face.ry),
                       View(view.frame, np.array(view.vector, np.float32), view.quality))


def take_looks(seen: Seen) -> None:
    """Remember what whole sources showed; in the user's folder too where the preferences say so.

    What cannot be kept there is told among the warnings.
    """
    folder = _find_folder()
    for job, looks in seen.looks:
        MEMORY.looks[job.fingerprint] = looks
        MEMORY.tracks[job.fingerprint] = [track for track in job.document.tracks if track.kind is TrackKind.FACE]
        if folder is not None:
            try:
                write_looks(folder, job.document, [(look.box, look.view) for look in looks], _name_model())
            except FaceBlurError as error:
                seen.warnings.append(str(error))


def _find_folder() -> Path | None:
    """Where what faces look like is kept; None where it is not."""
    preferences = find_preferences()
    return stored_looks() if preferences is not None and preferences.keep_looks else None


def _name_model() -> str:
    return f"{RECOGNIZER} {list_models()[RECOGNIZER].sha256}"


def knows(fingerprint: str) -> bool:
    """Whether memory has the looks at a source; for the first time, from the user's folder."""
    if fingerprint not in MEMORY.looks and fingerprint not in MEMORY.asked:
        MEMORY.asked.add(fingerprint)
        folder = _find_folder()
        kept = read_looks(folder, fingerprint, _name_model()) if folder is not None else None
        if kept is not None:
            document, looks = kept
            MEMORY.looks[fingerprint] = [Look(box, view) for box, view in looks]
            MEMORY.tracks[fingerprint] = [track for track in document.tracks if track.kind is TrackKind.FACE]
    return fingerprint in MEMORY.looks


def find_views(document: TrackDocument) -> dict[str, list[View]]:
    """The looks in memory at the tracks of a document in which everybody is covered, by track, in order."""
    looks = MEMORY.looks[document.source.fingerprint] if knows(document.source.fingerprint) else []
    views: dict[str, list[View]] = {track.name: [] for track in document.tracks if track.kind is TrackKind.FACE}
    for name, number in assign_looks(document.tracks, [(look.view.source_frame, look.box) for look in looks]):
        views[name].append(looks[number].view)
    return views


def has_looks(scene: bpy.types.Scene) -> bool:
    """Whether any source of the scene's strips was looked at since Blender was started or the project opened."""
    return any(knows(fingerprint_of(mask)) for _, mask in list_masks(scene))
