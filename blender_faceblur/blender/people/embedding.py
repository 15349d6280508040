# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute embeddings of the faces in covered strips and in pictures, and keep them in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from ...core.document.editing import get_sample
from ...core.document.tracks_file import write_document
from ...core.people.embeddings_file import write_embeddings
from ...core.people.similarity import RECOGNIZER, FaceEmbedding, Vector
from ...core.translation import translate
from ...core.types import FaceBlurError, Track, TrackDocument, TrackKind
from ...files.paths import get_model_path
from ...files.workplace import Workplace
from ...worker.client import Request, build_embed_request, build_reference_request
from ...worker.protocol import Message, TrackEmbedding, Warned
from ..common.footage import Footage, get_footage
from ..common.jobs import JobProgress, Step
from ..masks.record import get_fingerprint
from ..review.queue import list_covered
from .memory import MEMORY, FaceCrop, get_embeddings_folder, name_model, read_as_covered


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """The tracks of one source whose faces are to be embedded."""

    mask: str
    name: str
    footage: Footage
    fingerprint: str
    document: TrackDocument


@dataclass(slots=True)
class EmbeddingResults:
    """The face crops of each job, and the vectors of picture files by their path."""

    crops: list[tuple[EmbeddingJob, list[FaceCrop]]] = field(default_factory=list)
    pictures: dict[str, Vector] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def explain_missing_weights(again: bool = False) -> str:
    """Why no person can be recognised: the weights are missing. Empty if they exist.

    Only the first call searches for them, and those with `again`.
    """
    if MEMORY.weights is None or again:
        try:
            get_model_path(RECOGNIZER)
            MEMORY.weights = ""
        except FaceBlurError as error:
            MEMORY.weights = str(error)
    return MEMORY.weights


def check_weights() -> None:
    """Raise FaceBlurError if the weights of the recogniser are missing."""
    if explain_missing_weights(again=True):
        raise FaceBlurError(
            translate("No person can be recognised, so all faces stay blurred. {weights}", weights=MEMORY.weights)
        )


def list_jobs(scene: bpy.types.Scene, strips: Iterable[str] = ()) -> list[EmbeddingJob]:
    """A job for each source of the covered strips with these names, or of all covered strips. Raises FaceBlurError."""
    check_weights()
    names = set(strips)
    jobs: dict[str, EmbeddingJob] = {}
    for strip, mask in list_covered(scene):
        fingerprint = get_fingerprint(mask)
        if (not names or strip.name in names) and fingerprint not in jobs:
            jobs[fingerprint] = EmbeddingJob(
                mask.name, strip.name, get_footage(strip), fingerprint, read_as_covered(mask)
            )
    if not jobs:
        raise FaceBlurError("No strip is covered: Detect Faces first.")
    return list(jobs.values())


def make_job_here(strip: bpy.types.Strip, mask: bpy.types.Mask, track: str, source_frame: int) -> EmbeddingJob:
    """A job for one track in one frame. Raises FaceBlurError."""
    check_weights()
    document = read_as_covered(mask)
    found = next((t for t in document.tracks if t.name == track), None)
    sample = get_sample(found, source_frame) if found is not None else None
    if sample is None:
        raise FaceBlurError(
            translate("'{track}' is not in this frame. Go to a frame in which it is seen well.", track=track)
        )
    document.tracks, document.uncovered = [Track(track, [sample])], []
    return EmbeddingJob(mask.name, strip.name, get_footage(strip), get_fingerprint(mask), document)


def embed_faces(
    jobs: Sequence[EmbeddingJob], pictures: Sequence[Path], rate: float, wait_s: float | None = None
) -> Generator[Step | None, None, EmbeddingResults]:
    """Compute face embeddings in processes of their own; closing the generator ends them.

    With `wait_s` it yields None whenever nothing has happened for that long. `rate` is the frame rate of picture
    sequences. Raises FaceBlurError.
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

    def receive(message: Message) -> None:
        if isinstance(message, TrackEmbedding):
            embeddings.append(message)
        elif isinstance(message, Warned):
            results.warnings.append(message.text)

    yield from progress.run(request, name, number, receive)
    return embeddings


def _place_crops(job: EmbeddingJob, embeddings: Iterable[TrackEmbedding]) -> Iterator[FaceCrop]:
    tracks = {track.name: track for track in job.document.tracks}
    for embedding in sorted(embeddings, key=lambda v: v.frame):
        sample = get_sample(tracks[embedding.track], embedding.frame) if embedding.track in tracks else None
        if sample is not None:
            face = sample.ellipse
            yield FaceCrop(
                (face.cx - face.rx, face.cy - face.ry, face.cx + face.rx, face.cy + face.ry),
                FaceEmbedding(embedding.frame, np.array(embedding.vector, np.float32), embedding.quality),
            )


def store_crops(results: EmbeddingResults) -> None:
    """Keep the embeddings of whole sources in memory, and in the user's folder if the preferences say so.

    A failure to write them to the folder is added to the warnings.
    """
    folder = get_embeddings_folder()
    for job, crops in results.crops:
        MEMORY.crops[job.fingerprint] = crops
        MEMORY.tracks[job.fingerprint] = [track for track in job.document.tracks if track.kind is TrackKind.FACE]
        if folder is not None:
            try:
                write_embeddings(folder, job.document, [(crop.box, crop.embedding) for crop in crops], name_model())
            except FaceBlurError as error:
                results.warnings.append(str(error))
