# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggest which faces are the same person, from what they look like and from what an editor said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import bpy

from ...core.document.editing import sample_at
from ...core.people.similarity import (
    GOOD,
    SAME_GROUP,
    View,
    choose_best,
    find_apart,
    find_median,
    group_tracks,
    measure_distances,
)
from ...core.review.queue import find_clearest
from ...core.types import TrackDocument, TrackKind
from ..masks.record import fingerprint_of
from .memory import find_references, find_views, knows, list_masks, read_as_covered
from .person_list import MACHINE, NOBODY, add_face, add_person, find_face_track, find_person, remove_empty, show_person


@dataclass(slots=True)
class Cast:
    """What is known of a scene's sources; keys are fingerprint and track."""

    documents: dict[str, TrackDocument]
    views: dict[tuple[str, str], list[View]]
    faces: dict[tuple[str, str], list[int]]
    """The numbers, in the scene's list, of what was said of a track: by an editor, or else what is suggested."""


def read_cast(scene: bpy.types.Scene) -> Cast:
    """What the masks, the scene and memory say together. Raises FaceBlurError where a document is lost."""
    cast = Cast({}, {}, {})
    for _, mask in list_masks(scene):
        fingerprint = fingerprint_of(mask)
        if fingerprint in cast.documents:
            continue
        document = cast.documents[fingerprint] = read_as_covered(mask)
        cast.views.update({(fingerprint, name): views for name, views in find_views(document).items()})
    for number, face in enumerate(scene.faceblur.people.faces):
        if face.fingerprint not in cast.documents:
            continue
        track = find_face_track(face, cast.documents[face.fingerprint].tracks)
        if track is None:
            continue
        face.track = track.name
        cast.faces.setdefault((face.fingerprint, track.name), []).append(number)
    for key, numbers in cast.faces.items():
        cast.faces[key] = [n for n in numbers if scene.faceblur.people.faces[n].by != MACHINE] or numbers
    return cast


def propose(scene: bpy.types.Scene) -> int:
    """Suggest whose each well seen track is; what an editor said stays. How many people there are. FaceBlurError."""
    people, cast = scene.faceblur.people, read_cast(scene)
    said = {key: people.faces[numbers[0]].person for key, numbers in cast.faces.items()
            if people.faces[numbers[0]].by != MACHINE}
    seen = {key: views for key, views in cast.views.items() if any(view.quality >= GOOD for view in views)}
    apart = [((fingerprint, one), (fingerprint, other)) for fingerprint, document in cast.documents.items()
             for one, other in find_apart(t for t in document.tracks if t.kind is TrackKind.FACE)]
    apart += [(one, other) for one in said for other in said if one < other and said[one] != said[other]]
    active = people.persons[people.active_person].uid if people.active_person < len(people.persons) else 0
    for number in reversed(range(len(people.faces))):
        if people.faces[number].by == MACHINE and knows(people.faces[number].fingerprint):
            people.faces.remove(number)
    remove_empty(people)
    for group in group_tracks(seen, apart):
        uid = next((said[key] for key in group if key in said), 0)
        person = find_person(people, uid) or _find_alike(people, [v for key in group for v in seen[key]])
        ordered = sorted((key for key in group if key not in said), key=lambda k: -choose_best(seen[k])[0].quality)
        if ordered and person is None:
            person = add_person(people)
        for fingerprint, name in ordered:
            track = next(t for t in cast.documents[fingerprint].tracks if t.name == name)
            clearest = choose_best(seen[fingerprint, name])[0].source_frame
            add_face(people, fingerprint, track, person.uid, MACHINE, sample_at(track, clearest))
    for fingerprint, name in cast.views:
        # So that several of them can be picked at once.
        if (fingerprint, name) not in seen and (fingerprint, name) not in said and knows(fingerprint):
            document = cast.documents[fingerprint]
            track = next(t for t in document.tracks if t.name == name)
            size = document.source.width, document.source.height
            add_face(people, fingerprint, track, NOBODY, MACHINE, find_clearest(track.samples, size))
    remove_empty(people)
    show_person(people, active)
    return len(people.persons)


def _find_alike(people: Any, views: list[View]) -> Any:
    """The person whose reference pictures are most like these looks; None for nobody."""
    near = [(find_median(measure_distances(views, references), views), number)
            for number, person in enumerate(people.persons) if (references := find_references(person))]
    distance, number = min(near, default=(math.inf, -1))
    return people.persons[number] if distance <= SAME_GROUP else None
