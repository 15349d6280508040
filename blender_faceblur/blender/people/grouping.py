# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggest which faces are the same person, from their embeddings and from an editor's assignments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import bpy

from ...core.document.editing import get_sample
from ...core.people.similarity import (
    GOOD,
    SAME_GROUP,
    FaceEmbedding,
    choose_best,
    compute_median_distance,
    group_tracks,
    list_coexisting_pairs,
    measure_distances,
)
from ...core.review.queue import choose_clearest
from ...core.types import TrackDocument, TrackKind
from ..masks.record import get_fingerprint
from .memory import get_embeddings, get_references, is_embedded, list_masks, read_as_covered
from .person_list import MACHINE, NO_PERSON, add_face, add_person, get_face_track, get_person, remove_empty, show_person


@dataclass(slots=True)
class SceneFaces:
    """The faces of a scene's sources. Keys of `embeddings` and `faces` are fingerprint and track name."""

    documents: dict[str, TrackDocument]
    embeddings: dict[tuple[str, str], list[FaceEmbedding]]
    faces: dict[tuple[str, str], list[int]]
    """The indices of a track's faces in the scene's list: an editor's assignments, or suggestions if there are none."""


def read_scene_faces(scene: bpy.types.Scene) -> SceneFaces:
    """Collect what the masks, the scene and memory hold. Raises FaceBlurError if a document is lost."""
    scene_faces = SceneFaces({}, {}, {})
    for _, mask in list_masks(scene):
        fingerprint = get_fingerprint(mask)
        if fingerprint in scene_faces.documents:
            continue
        document = scene_faces.documents[fingerprint] = read_as_covered(mask)
        scene_faces.embeddings.update(
            {(fingerprint, name): embeddings for name, embeddings in get_embeddings(document).items()}
        )
    for number, face in enumerate(scene.faceblur.people.faces):
        if face.fingerprint not in scene_faces.documents:
            continue
        track = get_face_track(face, scene_faces.documents[face.fingerprint].tracks)
        if track is None:
            continue
        face.track = track.name
        scene_faces.faces.setdefault((face.fingerprint, track.name), []).append(number)
    for key, numbers in scene_faces.faces.items():
        scene_faces.faces[key] = [n for n in numbers if scene.faceblur.people.faces[n].by != MACHINE] or numbers
    return scene_faces


def propose_people(scene: bpy.types.Scene) -> int:
    """Suggest a person for each track that is seen well, without changing an editor's assignments.

    Returns the number of people. Raises FaceBlurError.
    """
    people, scene_faces = scene.faceblur.people, read_scene_faces(scene)
    assigned = {
        key: people.faces[numbers[0]].person
        for key, numbers in scene_faces.faces.items()
        if people.faces[numbers[0]].by != MACHINE
    }
    results = {
        key: embeddings
        for key, embeddings in scene_faces.embeddings.items()
        if any(embedding.quality >= GOOD for embedding in embeddings)
    }
    apart = [
        ((fingerprint, one), (fingerprint, other))
        for fingerprint, document in scene_faces.documents.items()
        for one, other in list_coexisting_pairs(t for t in document.tracks if t.kind is TrackKind.FACE)
    ]
    apart += [
        (one, other) for one in assigned for other in assigned if one < other and assigned[one] != assigned[other]
    ]
    active = people.persons[people.active_person].uid if people.active_person < len(people.persons) else 0
    for number in reversed(range(len(people.faces))):
        if people.faces[number].by == MACHINE and is_embedded(people.faces[number].fingerprint):
            people.faces.remove(number)
    remove_empty(people)
    for group in group_tracks(results, apart):
        uid = next((assigned[key] for key in group if key in assigned), 0)
        person = get_person(people, uid) or _find_most_similar(people, [v for key in group for v in results[key]])
        ordered = sorted(
            (key for key in group if key not in assigned), key=lambda k: -choose_best(results[k])[0].quality
        )
        if ordered and person is None:
            person = add_person(people)
        for fingerprint, name in ordered:
            track = next(t for t in scene_faces.documents[fingerprint].tracks if t.name == name)
            clearest = choose_best(results[fingerprint, name])[0].source_frame
            add_face(people, fingerprint, track, person.uid, MACHINE, get_sample(track, clearest))
    for fingerprint, name in scene_faces.embeddings:
        # Faces that are not seen well enough are listed too, so that several of them can be picked at once.
        if (fingerprint, name) not in results and (fingerprint, name) not in assigned and is_embedded(fingerprint):
            document = scene_faces.documents[fingerprint]
            track = next(t for t in document.tracks if t.name == name)
            size = document.source.width, document.source.height
            add_face(people, fingerprint, track, NO_PERSON, MACHINE, choose_clearest(track.samples, size))
    remove_empty(people)
    show_person(people, active)
    return len(people.persons)


def _find_most_similar(people: Any, embeddings: list[FaceEmbedding]) -> Any:
    """The person whose reference pictures are most similar to these embeddings; None if no person's are."""
    near = [
        (compute_median_distance(measure_distances(embeddings, references), embeddings), number)
        for number, person in enumerate(people.persons)
        if (references := get_references(person))
    ]
    distance, number = min(near, default=(math.inf, -1))
    return people.persons[number] if distance <= SAME_GROUP else None
