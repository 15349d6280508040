# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to cover in a batch: people known from reference pictures, or from what was decided earlier.

Vectors of faces are only ever in the memory of this process; pictures are read where they lie and copied nowhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.document.tracks_file import write_document
from ..core.people.decisions import USUAL_RATE, Decision, Mode, People, Person, apply_decisions, decide_tracks
from ..core.people.people_file import EDITOR, Decisions, read_decisions, write_decisions
from ..core.people.similarity import RECOGNIZER, FaceEmbedding
from ..core.types import FaceBlurError, TrackDocument
from ..files.paths import get_model_path
from ..worker.client import Request, build_embed_request, build_reference_request, finish_job
from ..worker.protocol import Message, SourceRef, TrackEmbedding, Warned

REFERENCE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

_NUMBERED = re.compile(r"[\s_.\-]*\(?\d+\)?$")

OnProgress = Callable[[str, int, int], None]
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """What was asked for: at least one of a folder of references and a file of earlier decisions.

    `others_clear` is None where only the file says whether others stay clear.
    """

    folder: Path | None
    others_clear: bool | None
    file: Path | None
    stranger_rate: float = USUAL_RATE


def list_references(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each person: of a sub-folder under its name, else under the file's (without a number at its end).

    Raises FaceBlurError where there are none.
    """
    found: dict[str, list[Path]] = {}
    try:
        entries = sorted(folder.iterdir())
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                for path in sorted(entry.iterdir()):
                    if path.suffix.lower() in REFERENCE_ENDINGS and not path.name.startswith("."):
                        found.setdefault(entry.name, []).append(path)
            elif entry.suffix.lower() in REFERENCE_ENDINGS:
                found.setdefault(_NUMBERED.sub("", entry.stem) or entry.stem, []).append(entry)
    except OSError as error:
        raise FaceBlurError(f"The folder of people {folder} cannot be read: {error.strerror}.") from error
    if not found:
        raise FaceBlurError(
            f"{folder} holds no pictures of people: name files, or sub-folders with pictures, after the people."
        )
    return found


@dataclass(slots=True)
class Recognition:
    """The people of a batch, and what has been seen of the film at hand."""

    people: People
    decisions: Decisions
    file: Path | None
    digest: str
    """What shapes a result: names, modes and the reference pictures, hashed."""
    notes: list[str] = field(default_factory=list)
    _embeddings: list[TrackEmbedding] = field(default_factory=list, repr=False)
    _whole: bool = False

    def begin(self) -> None:
        """Forget what was seen of the film before."""
        self._embeddings, self._whole = [], False

    def take(self, embedding: TrackEmbedding) -> None:
        self._embeddings.append(embedding)

    def end(self) -> None:
        """All looks at this film were taken."""
        self._whole = True

    def decide(
        self, source: Path, tracks: Path, document: TrackDocument, on_progress: OnProgress, warn: Warn
    ) -> list[Decision]:
        """Decide about a document that lies at `tracks`, change it, and write it there again. Raises FaceBlurError."""
        if not self._whole:
            wanted = SourceRef.of(source, fingerprint=document.source.fingerprint)
            self._embeddings = _run_embedding(build_embed_request(wanted, tracks), on_progress, warn)
        decided = decide_tracks(
            document, collect_embeddings(self._embeddings), self.people, self.decisions.list_assigned(document)
        )
        self.decisions.remember(document, {track.name: track for track in document.tracks}, decided)
        apply_decisions(document, decided, self.people)
        self.begin()
        try:
            write_document(document, tracks)
        except OSError as error:
            raise FaceBlurError(f"The tracks cannot be written to {tracks}: {error.strerror}.") from error
        return decided

    def save(self) -> None:
        """Write the decisions where they were asked for."""
        if self.file is not None:
            write_decisions(self.decisions, self.file)


def collect_embeddings(track_embeddings: Iterable[TrackEmbedding]) -> dict[str, list[FaceEmbedding]]:
    """Looks by track, each track's by frame."""
    embeddings: dict[str, list[FaceEmbedding]] = {}
    for embedding in sorted(track_embeddings, key=lambda s: s.frame):
        embeddings.setdefault(embedding.track, []).append(
            FaceEmbedding(embedding.frame, np.array(embedding.vector, np.float32), embedding.quality)
        )
    return embeddings


def open_recognition(choice: PeopleOptions, on_progress: OnProgress, warn: Warn) -> Recognition:  # noqa: C901
    """Look at the reference pictures. Raises FaceBlurError where nobody can be recognised."""
    decisions = Decisions()
    if choice.file is not None and choice.file.exists():
        decisions = read_decisions(choice.file)
        if choice.others_clear is not None and decisions.others_clear != choice.others_clear:
            option = "--blur-only" if decisions.others_clear else "--keep"
            raise FaceBlurError(f"{choice.file} was made with {option}; name another file.")
    elif choice.folder is None:
        raise FaceBlurError(f"There is no {choice.file} yet: name the people's pictures with --keep or --blur-only.")
    else:
        decisions.others_clear = bool(choice.others_clear)
    # Before hours are spent.
    get_model_path(RECOGNIZER)
    if choice.folder is not None:
        decisions.references = str(choice.folder.resolve())
    # What an editor has said of films needs no pictures.
    is_said = any(entry.by == EDITOR for entry in decisions.tracks)
    if not decisions.references and not is_said:
        raise FaceBlurError(f"{choice.file} names no folder of reference pictures: give it with --keep or --blur-only.")
    pictures = list_references(Path(decisions.references)) if decisions.references else {}
    usual = Mode.BLUR if decisions.others_clear else Mode.KEEP
    for name in pictures:
        decisions.modes.setdefault(name, usual)
    notes: list[str] = []
    files = [path for paths in pictures.values() for path in paths]
    track_embeddings = _run_embedding(build_reference_request(files), on_progress, notes.append) if files else []
    vectors = {Path(embedding.track): np.array(embedding.vector, np.float32) for embedding in track_embeddings}
    people = People([], decisions.others_clear, choice.stranger_rate)
    for name, mode in decisions.modes.items():
        references = [vectors[path.resolve()] for path in pictures.get(name, ()) if path.resolve() in vectors]
        people.persons.append(Person(name, mode, references))
        if references:
            continue
        if mode is Mode.BLUR and decisions.others_clear:
            raise FaceBlurError(
                f"{name} cannot be recognised: no picture of {name} can be used, so others cannot be "
                f"told from {name}. {' '.join(notes)}"
            )
        if mode is Mode.KEEP:
            notes.append(
                f"No picture of {name} can be used: {name} is covered like everybody else"
                f"{', but where you said who it is' if is_said else ''}."
            )
    if not any(person.references for person in people.persons) and not is_said:
        raise FaceBlurError(f"Nobody can be recognised by the pictures in {decisions.references}. {' '.join(notes)}")
    for text in notes:
        warn(text)
    shape = [
        decisions.others_clear,
        people.stranger_rate,
        {name: mode.value for name, mode in decisions.modes.items()},
        sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files),
        [[t.fingerprint, t.frame, t.x, t.y, t.person] for t in decisions.tracks if t.by == EDITOR],
    ]
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()
    return Recognition(people, decisions, choice.file, digest, notes)


def _run_embedding(request: Request, on_progress: OnProgress, warn: Warn) -> list[TrackEmbedding]:
    embeddings = []

    def hear(message: Message) -> None:
        match message:
            case TrackEmbedding():
                embeddings.append(message)
            case Warned():
                warn(message.text)

    finish_job(request, on_progress, hear)
    return embeddings
