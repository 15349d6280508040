# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the faces of covered strips and of pictures looked at, and remember what they look like."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from ...core.document.editing import sample_at
from ...core.document.tracks_file import write_document
from ...core.people.embeddings_file import write_embeddings
from ...core.people.similarity import RECOGNIZER, FaceEmbedding, Vector
from ...core.types import FaceBlurError, Track, TrackDocument, TrackKind
from ...files.paths import get_model_path
from ...files.workplace import Workplace
from ...worker.client import Request, build_embed_request, build_reference_request
from ...worker.protocol import Message, TrackEmbedding, Warned
from ..common.footage import Footage, get_footage
from ..common.jobs import JobProgress, Step
from ..masks.record import fingerprint_of
from ..review.queue import list_covered
from .memory import MEMORY, FaceCrop, get_looks_folder, name_model, read_as_covered


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """What is to be looked at: of one source, the tracks of a document."""

    mask: str
    name: str
    footage: Footage
    fingerprint: str
    document: TrackDocument


@dataclass(slots=True)
class EmbeddingResults:
    """What came of it; `crops` are by job, those at picture files by path."""

    crops: list[tuple[EmbeddingJob, list[FaceCrop]]] = field(default_factory=list)
    pictures: dict[str, Vector] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def explain_missing_weights(again: bool = False) -> str:
    """Why nobody can be recognised: the weights are not there. Empty where they are. Quick but for the first time."""
    if MEMORY.weights is None or again:
        try:
            get_model_path(RECOGNIZER)
            MEMORY.weights = ""
        except FaceBlurError as error:
            MEMORY.weights = str(error)
    return MEMORY.weights


def check_weights() -> None:
    """Raise FaceBlurError where nobody can be recognised."""
    if explain_missing_weights(again=True):
        raise FaceBlurError(f"Nobody can be recognised, everybody stays blurred. {MEMORY.weights}")


def list_jobs(scene: bpy.types.Scene, strips: Iterable[str] = ()) -> list[EmbeddingJob]:
    """What to look at: every source once, of the covered strips of those names, or of all. Raises FaceBlurError."""
    check_weights()
    names = set(strips)
    jobs: dict[str, EmbeddingJob] = {}
    for strip, mask in list_covered(scene):
        fingerprint = fingerprint_of(mask)
        if (not names or strip.name in names) and fingerprint not in jobs:
            jobs[fingerprint] = EmbeddingJob(
                mask.name, strip.name, get_footage(strip), fingerprint, read_as_covered(mask)
            )
    if not jobs:
        raise FaceBlurError("No strip is covered: Detect Faces first.")
    return list(jobs.values())


def make_job_here(strip: bpy.types.Strip, mask: bpy.types.Mask, track: str, source_frame: int) -> EmbeddingJob:
    """To look at one track in one frame. Raises FaceBlurError."""
    check_weights()
    document = read_as_covered(mask)
    found = next((t for t in document.tracks if t.name == track), None)
    sample = sample_at(found, source_frame) if found is not None else None
    if sample is None:
        raise FaceBlurError(f"'{track}' is nowhere in this frame; go to one in which it is seen well.")
    document.tracks, document.aside = [Track(track, [sample])], []
    return EmbeddingJob(mask.name, strip.name, get_footage(strip), fingerprint_of(mask), document)


def embed_faces(
    jobs: Sequence[EmbeddingJob], pictures: Sequence[Path], rate: float, wait_s: float | None = None
) -> Generator[Step | None, None, EmbeddingResults]:
    """Look at faces in processes of their own. With `wait_s` it yields None meanwhile; closing it ends them.

    `rate`: frames a second at which picture sequences are shown. Raises FaceBlurError.
    """
    results, progress = EmbeddingResults(), JobProgress(len(jobs) + bool(pictures), wait_s)
    with Workplace() as workplace:
        for number, job in enumerate(jobs, 1):
            path = workplace.folder / f"tracks-{number}.json"
            write_document(job.document, path)
            request = build_embed_request(job.footage.to_source_ref(rate, job.fingerprint), path)
            found = yield from _run(progress, request, job.name, number, results)
            results.crops.append((job, list(_place_crops(job, found))))
            path.unlink()
        if pictures:
            found = yield from _run(progress, build_reference_request(pictures), "Pictures", len(jobs) + 1, results)
            results.pictures = {embedding.track: np.array(embedding.vector, np.float32) for embedding in found}
    return results


def _run(
    progress: JobProgress, request: Request, name: str, number: int, results: EmbeddingResults
) -> Generator[Step | None, None, list[TrackEmbedding]]:
    embeddings = []

    def hear(message: Message) -> None:
        if isinstance(message, TrackEmbedding):
            embeddings.append(message)
        elif isinstance(message, Warned):
            results.warnings.append(message.text)

    yield from progress.run(request, name, number, hear)
    return embeddings


def _place_crops(job: EmbeddingJob, embeddings: Iterable[TrackEmbedding]) -> Iterator[FaceCrop]:
    tracks = {track.name: track for track in job.document.tracks}
    for embedding in sorted(embeddings, key=lambda v: v.frame):
        sample = sample_at(tracks[embedding.track], embedding.frame) if embedding.track in tracks else None
        if sample is not None:
            face = sample.ellipse
            yield FaceCrop(
                (face.cx - face.rx, face.cy - face.ry, face.cx + face.rx, face.cy + face.ry),
                FaceEmbedding(embedding.frame, np.array(embedding.vector, np.float32), embedding.quality),
            )


def store_crops(results: EmbeddingResults) -> None:
    """Remember what whole sources showed; in the user's folder too where the preferences say so.

    What cannot be kept there is told among the warnings.
    """
    folder = get_looks_folder()
    for job, crops in results.crops:
        MEMORY.crops[job.fingerprint] = crops
        MEMORY.tracks[job.fingerprint] = [track for track in job.document.tracks if track.kind is TrackKind.FACE]
        if folder is not None:
            try:
                write_embeddings(folder, job.document, [(crop.box, crop.embedding) for crop in crops], name_model())
            except FaceBlurError as error:
                results.warnings.append(str(error))
