# SPDX-License-Identifier: GPL-3.0-or-later
"""The embeddings of covered faces.

They exist only in this process's memory, and in a folder of the user's if the preferences say so.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ...core.document.editing import copy_document, get_sample, merge, rename
from ...core.people.decisions import cover_everybody
from ...core.people.embeddings_file import read_embeddings
from ...core.people.similarity import RECOGNIZER, FaceEmbedding, Vector, assign_embeddings
from ...core.types import Box, Track, TrackDocument, TrackKind
from ...files.paths import get_stored_embeddings_folder, list_models
from ..masks.changes import sync_from_blender
from ..masks.record import get_fingerprint
from ..preferences.properties import get_preferences
from ..review.queue import list_covered


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """The embedding of one face, and the face's box in its picture."""

    box: Box
    embedding: FaceEmbedding


@dataclass(slots=True)
class EmbeddingMemory:
    """All face embeddings of the process. Never saved with a project.

    `forget` clears it, which also happens before another project is opened and when the extension is disabled.
    `crops` and `tracks` (as they were when their faces were embedded) are by the source's fingerprint, `references`
    by number.
    """

    crops: dict[str, list[FaceCrop]] = field(default_factory=dict)
    tracks: dict[str, list[Track]] = field(default_factory=dict)
    references: dict[str, Vector] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why a track was last decided to stay visible or be covered, as a sentence for the editor."""
    pieces: dict[tuple[str, str], str] = field(default_factory=dict)
    """Tracks that a decision has cut off from another track: the other's name, by source and name."""
    weights: str | None = None
    """Why no person can be recognised; empty if it is possible, None before the weights were searched for."""
    asked: set[str] = field(default_factory=set)
    """Sources that were already searched for in the user's folder."""
    folder: str = ""
    """The folder that pictures of people were last added from."""

    def clear(self) -> None:
        """Forget everything except whether the weights exist."""
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
    """A copy of a mask's document in which every person is covered, including edits made with Blender's own tools."""
    document = copy_document(sync_from_blender(mask))
    cover_as_found(document)
    return document


def cover_as_found(document: TrackDocument) -> None:
    """Cover every person, and rejoin tracks that an earlier decision has cut in two."""
    cover_everybody(document)
    fingerprint = document.source.fingerprint
    looked_at = {track.name: track for track in MEMORY.tracks.get(fingerprint, ())}
    for (source, name), whole in MEMORY.pieces.items():
        tracks = [track for track in document.tracks if track.name in (name, whole)]
        if source != fingerprint or len(tracks) != 2 or whole not in looked_at:
            continue
        samples = [sample for track in tracks for sample in track.samples]
        # Not if an editor has changed them since, or if another track has the name now.
        if len({sample.source_frame for sample in samples}) == len(samples) and all(
            get_sample(looked_at[whole], sample.source_frame) == sample for sample in samples
        ):
            merged = merge(document, [name, whole])
            if merged.name != whole:
                rename(document, merged.name, whole)


def get_embeddings_folder() -> Path | None:
    """The folder in which embeddings are kept; None if the preferences do not ask for that."""
    preferences = get_preferences()
    return get_stored_embeddings_folder() if preferences is not None and preferences.keep_looks else None


def name_model() -> str:
    return f"{RECOGNIZER} {list_models()[RECOGNIZER].sha256}"


def is_embedded(fingerprint: str) -> bool:
    """Whether memory has embeddings of a source. The first call tries to load them from the user's folder."""
    if fingerprint not in MEMORY.crops and fingerprint not in MEMORY.asked:
        MEMORY.asked.add(fingerprint)
        folder = get_embeddings_folder()
        kept = read_embeddings(folder, fingerprint, name_model()) if folder is not None else None
        if kept is not None:
            document, crops = kept
            MEMORY.crops[fingerprint] = [FaceCrop(box, embedding) for box, embedding in crops]
            MEMORY.tracks[fingerprint] = [track for track in document.tracks if track.kind is TrackKind.FACE]
    return fingerprint in MEMORY.crops


def get_embeddings(document: TrackDocument) -> dict[str, list[FaceEmbedding]]:
    """The embeddings in memory, by track and in order, for a document in which every person is covered."""
    crops = MEMORY.crops[document.source.fingerprint] if is_embedded(document.source.fingerprint) else []
    embeddings: dict[str, list[FaceEmbedding]] = {
        track.name: [] for track in document.tracks if track.kind is TrackKind.FACE
    }
    for name, number in assign_embeddings(document.tracks, [(crop.embedding.source_frame, crop.box) for crop in crops]):
        embeddings[name].append(crops[number].embedding)
    return embeddings


def has_embeddings(scene: bpy.types.Scene) -> bool:
    """Whether there are embeddings of any source of the scene's strips."""
    return any(is_embedded(get_fingerprint(mask)) for _, mask in list_masks(scene))


def add_reference(person: Any, vector: Vector) -> None:
    """Add a reference to a person. The scene lists which references count, so that undo takes this one back."""
    number = f"{secrets.randbits(40):x}"
    MEMORY.references[number] = vector
    person.references = f"{person.references},{number}" if person.references else number


def get_references(person: Any) -> list[Vector]:
    """The vectors of a person's reference pictures that are in memory."""
    return [MEMORY.references[number] for number in person.references.split(",") if number in MEMORY.references]
