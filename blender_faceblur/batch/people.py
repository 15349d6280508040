# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to cover in a batch: people known from reference pictures, or from earlier decisions.

Face embeddings stay in the memory of this process. Reference pictures are read in place and never copied.
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
from ..core.types import FaceBlurError, TrackDocument, Warn
from ..files.paths import get_model_path
from ..worker.client import Request, build_embed_request, build_reference_request, finish_job
from ..worker.protocol import Message, SourceRef, TrackEmbedding, Warned

REFERENCE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".heic", ".heif", ".avif"})

_NUMBERED = re.compile(r"[\s_.\-]*\(?\d+\)?$")

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class PeopleOptions:
    """The options about people: a folder of reference pictures, a file of earlier decisions, or both.

    `others_clear` is None where the file decides whether other people stay visible.
    """

    folder: Path | None
    others_clear: bool | None
    file: Path | None
    stranger_rate: float = USUAL_RATE


def list_references(folder: Path) -> dict[str, list[Path]]:
    """The reference pictures by person: the name is that of the sub-folder, or of the file without a number at its end.

    Raises FaceBlurError where there are no pictures.
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
        raise FaceBlurError(f"The folder of reference pictures {folder} cannot be read: {error.strerror}.") from error
    for name in found:
        if name.encode("utf-8", "ignore").decode() != name:
            raise FaceBlurError(f"{folder / name}: the name of a person must be valid UTF-8. Rename it.")
    if not found:
        raise FaceBlurError(
            f"{folder} holds no pictures of people. Name pictures, or sub-folders with pictures, after the people."
        )
    return found


@dataclass(slots=True)
class Recognition:
    """The people of a batch, and the embeddings of the current film."""

    people: People
    decisions: Decisions
    file: Path | None
    digest: str
    """A hash of everything that affects a result: names, modes and reference pictures."""
    notes: list[str] = field(default_factory=list)
    _embeddings: list[TrackEmbedding] = field(default_factory=list, repr=False)
    _whole: bool = False

    def begin(self) -> None:
        """Forget the embeddings of the previous film."""
        self._embeddings, self._whole = [], False

    def take(self, embedding: TrackEmbedding) -> None:
        self._embeddings.append(embedding)

    def end(self) -> None:
        """Note that all embeddings of this film have arrived."""
        self._whole = True

    def decide(
        self, source: Path, tracks: Path, document: TrackDocument, on_progress: OnProgress, warn: Warn
    ) -> list[Decision]:
        """Decide about the document, whose file is `tracks`, and write it there with the changes. Raises
        FaceBlurError."""
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
            raise FaceBlurError(f"The tracks document {tracks} cannot be written: {error.strerror}.") from error
        return decided

    def save(self) -> None:
        """Write the people file if one was asked for."""
        if self.file is not None:
            write_decisions(self.decisions, self.file)


def collect_embeddings(track_embeddings: Iterable[TrackEmbedding]) -> dict[str, list[FaceEmbedding]]:
    """The embeddings by track name, sorted by frame."""
    embeddings: dict[str, list[FaceEmbedding]] = {}
    for embedding in sorted(track_embeddings, key=lambda s: s.frame):
        embeddings.setdefault(embedding.track, []).append(
            FaceEmbedding(embedding.frame, np.array(embedding.vector, np.float32), embedding.quality)
        )
    return embeddings


def open_recognition(choice: PeopleOptions, on_progress: OnProgress, warn: Warn) -> Recognition:  # noqa: C901
    """Compute the embeddings of the reference pictures. Raises FaceBlurError where no person can be recognised."""
    decisions = Decisions()
    if choice.file is not None and choice.file.exists():
        decisions = read_decisions(choice.file)
        if choice.others_clear is not None and decisions.others_clear != choice.others_clear:
            option = "--blur-only" if decisions.others_clear else "--keep"
            raise FaceBlurError(f"{choice.file} was made with {option}. Name another file for --people.")
    elif choice.folder is None:
        raise FaceBlurError(
            f"{choice.file} does not exist yet. Name the folder of reference pictures with --keep or --blur-only."
        )
    else:
        decisions.others_clear = bool(choice.others_clear)
    # Missing weights must be reported before the long work.
    get_model_path(RECOGNIZER)
    if choice.folder is not None:
        decisions.references = str(choice.folder.resolve())
    # An editor's assignments need no pictures.
    has_assignments = any(entry.by == EDITOR for entry in decisions.tracks)
    if not decisions.references and not has_assignments:
        raise FaceBlurError(f"{choice.file} names no folder of reference pictures. Name it with --keep or --blur-only.")
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
                f"{name} cannot be recognised, because no picture of {name} can be used. Add a clear picture. "
                f"{' '.join(notes)}"
            )
        if mode is Mode.KEEP:
            notes.append(
                f"No picture of {name} can be used, so {name} is covered like everyone else"
                f"{', except where you assigned the name' if has_assignments else ''}."
            )
    if not any(person.references for person in people.persons) and not has_assignments:
        raise FaceBlurError(
            f"No person can be recognised with the pictures in {decisions.references}. {' '.join(notes)}"
        )
    for text in notes:
        warn(text)
    shape = [
        decisions.others_clear,
        people.stranger_rate,
        {name: mode.value for name, mode in decisions.modes.items()},
        # Only of pictures that are used: others may not even be readable.
        sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.resolve() in vectors),
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
