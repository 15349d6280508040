# SPDX-License-Identifier: GPL-3.0-or-later
"""What covered faces look like.

That is only ever in this process's memory, and in a folder of the user's where the preferences say so.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ...core.document.editing import copy_document, merge, rename, sample_at
from ...core.people.decisions import cover_everybody
from ...core.people.embeddings_file import read_embeddings
from ...core.people.similarity import RECOGNIZER, FaceEmbedding, Vector, assign_embeddings
from ...core.types import Box, Track, TrackDocument, TrackKind
from ...files.paths import list_models, stored_embeddings
from ..masks.changes import sync_from_blender
from ..masks.record import fingerprint_of
from ..preferences.properties import get_preferences
from ..review.queue import list_covered


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """One look at a face, and where in its picture it was."""

    box: Box
    embedding: FaceEmbedding


@dataclass(slots=True)
class EmbeddingMemory:
    """All that says what faces look like. Never written anywhere; there is one for the process.

    Emptied by `forget`, also before another project is opened and when the extension is switched off. `crops`
    and `tracks` (what was looked at) are by source, by its fingerprint; `references` by number.
    """

    crops: dict[str, list[FaceCrop]] = field(default_factory=dict)
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
        for kept in (self.crops, self.tracks, self.references, self.reasons, self.pieces, self.asked):
            kept.clear()
        self.folder = ""


MEMORY = EmbeddingMemory()


def list_masks(scene: bpy.types.Scene) -> list[tuple[Any, Any]]:
    """The covered strips of a scene with their masks, each mask once."""
    found: dict[str, tuple[Any, Any]] = {}
    for strip, mask in list_covered(scene):
        found.setdefault(mask.name, (strip, mask))
    return list(found.values())


def read_as_covered(mask: bpy.types.Mask) -> TrackDocument:
    """The document of a mask as if everybody were covered, with what was done by other tools. Nothing is changed."""
    document = copy_document(sync_from_blender(mask))
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
            sample_at(looked_at[whole], sample.source_frame) == sample for sample in samples
        ):
            merged = merge(document, [name, whole])
            if merged.name != whole:
                rename(document, merged.name, whole)


def get_looks_folder() -> Path | None:
    """Where what faces look like is kept; None where it is not."""
    preferences = get_preferences()
    return stored_embeddings() if preferences is not None and preferences.keep_looks else None


def name_model() -> str:
    return f"{RECOGNIZER} {list_models()[RECOGNIZER].sha256}"


def is_embedded(fingerprint: str) -> bool:
    """Whether memory has the looks at a source; for the first time, from the user's folder."""
    if fingerprint not in MEMORY.crops and fingerprint not in MEMORY.asked:
        MEMORY.asked.add(fingerprint)
        folder = get_looks_folder()
        kept = read_embeddings(folder, fingerprint, name_model()) if folder is not None else None
        if kept is not None:
            document, crops = kept
            MEMORY.crops[fingerprint] = [FaceCrop(box, embedding) for box, embedding in crops]
            MEMORY.tracks[fingerprint] = [track for track in document.tracks if track.kind is TrackKind.FACE]
    return fingerprint in MEMORY.crops


def get_embeddings(document: TrackDocument) -> dict[str, list[FaceEmbedding]]:
    """The looks in memory at the tracks of a document in which everybody is covered, by track, in order."""
    crops = MEMORY.crops[document.source.fingerprint] if is_embedded(document.source.fingerprint) else []
    embeddings: dict[str, list[FaceEmbedding]] = {
        track.name: [] for track in document.tracks if track.kind is TrackKind.FACE
    }
    for name, number in assign_embeddings(document.tracks, [(crop.embedding.source_frame, crop.box) for crop in crops]):
        embeddings[name].append(crops[number].embedding)
    return embeddings


def has_embeddings(scene: bpy.types.Scene) -> bool:
    """Whether any source of the scene's strips was looked at since Blender was started or the project opened."""
    return any(is_embedded(fingerprint_of(mask)) for _, mask in list_masks(scene))


def add_reference(person: Any, vector: Vector) -> None:
    """A face that is known to be somebody's. Undoing leads back to before: the scene says which ones count."""
    number = f"{secrets.randbits(40):x}"
    MEMORY.references[number] = vector
    person.references = f"{person.references},{number}" if person.references else number


def get_references(person: Any) -> list[Vector]:
    """The vectors of a person's reference pictures that are in memory."""
    return [MEMORY.references[number] for number in person.references.split(",") if number in MEMORY.references]
