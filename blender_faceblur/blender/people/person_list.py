# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of people in a scene, and whose face each track is.

An assignment is saved with a place in a source: after tracks were renamed, split or detected again, it applies to the
track that lies there. Embeddings are not part of the list; see `memory`.
"""

from __future__ import annotations

import colorsys
import math
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import bpy

from ...core.document.editing import get_sample
from ...core.translation import translate
from ...core.types import FaceBlurError, Sample, Track, TrackKind
from ..masks.record import get_fingerprint
from .memory import read_as_covered

MACHINE, SPLIT, TICKED, EDITOR = "machine", "split", "ticked", "editor"
"""Where an assignment comes from: a suggestion by the program; an editor who named the person, or separated the face
from another person; an editor who ticked the person that this face stands for in the list; an editor who assigned the
face to this person."""

NO_PERSON = 0
"""Instead of a person's `uid`: a face without a person, as it is never seen well enough."""

ALL, ONLY, KEEP = "ALL", "ONLY", "KEEP"

_AT_PLACE = 0.7
"""The largest distance of an assignment's place from the middle of the face, in half axes of the face."""

_HUES = [step / 12 for step in range(12)]


def get_first_face(person: Any) -> Any:
    """The face that stands for a person in the list; None if the person has no face."""
    return next((face for face in person.id_data.faceblur.people.faces if face.person == person.uid), None)


def get_face_track(face: Any, tracks: Iterable[Track]) -> Track | None:
    """The track at the place of a face of the scene's list; None if there is none."""
    best: tuple[float, Track] | None = None
    for track in tracks:
        sample = get_sample(track, face.frame) if track.kind is TrackKind.FACE else None
        if sample is not None:
            away = math.hypot(
                (face.x - sample.ellipse.cx) / sample.ellipse.rx, (face.y - sample.ellipse.cy) / sample.ellipse.ry
            )
            if away < _AT_PLACE and (best is None or away < best[0]):
                best = away, track
    return best[1] if best is not None else None


def get_person(people: Any, uid: int) -> Any:
    return next((person for person in people.persons if person.uid == uid), None)


def get_listed(people: Any) -> int:
    """Whose faces are listed: the active person's `uid`, NO_PERSON for faces without a person, -1 if there are none."""
    if people.show_unlisted:
        return NO_PERSON
    active = people.active_person
    return int(people.persons[active].uid) if 0 <= active < len(people.persons) else -1


def show_person(people: Any, uid: int) -> None:
    """Make a person active in the list."""
    people.active_person = next((n for n, person in enumerate(people.persons) if person.uid == uid), 0)


def add_person(people: Any, name: str = "") -> Any:
    """Add a person, with a name and a colour that no other has."""
    taken = {person.name for person in people.persons}
    hues = [colorsys.rgb_to_hsv(*person.color)[0] for person in people.persons]
    # The hue that is farthest from the nearest one in use.
    hue = max(_HUES, key=lambda h: min((min(abs(h - o), 1 - abs(h - o)) for o in hues), default=0.0))
    person = people.persons.add()
    person.color = colorsys.hsv_to_rgb(hue, 0.65, 1.0)
    # Random, so that no person gets the number of one whose adding was undone: memory may still hold it.
    person.uid = secrets.randbits(31)
    person.name = choose_free_name(taken, name)
    return person


def choose_free_name(taken: set[str], wanted: str) -> str:
    if wanted and wanted not in taken:
        return wanted
    number = 2 if wanted else 1
    while (name := f"{wanted or 'Person'} {number:02}") in taken:
        number += 1
    return name


def add_face(people: Any, fingerprint: str, track: Track, person: int, by: str, at: Sample | None = None) -> Any:
    """Add a face for a track to the scene's list, assigned to a person."""
    sample = at or track.samples[len(track.samples) // 2]
    face = people.faces.add()
    face.fingerprint, face.track, face.frame = fingerprint, track.name, sample.source_frame
    face.x, face.y = sample.ellipse.cx, sample.ellipse.cy
    face.person, face.by = person, by
    return face


def assign_faces(scene: bpy.types.Scene, faces: Sequence[int], uid: int, by: str = EDITOR) -> None:
    """Assign the scene's faces with these indices to a person, and remove people who then have no face."""
    people = scene.faceblur.people
    for number in faces:
        face = people.faces[number]
        face.person, face.by, face.picked = uid, by, False
    remove_empty(people)


def assign_track(scene: bpy.types.Scene, mask: bpy.types.Mask, track: str, uid: int, source_frame: int = -1) -> None:
    """Assign a track to a person, whether it is in the list or not. Raises FaceBlurError if it is no face's track."""
    people, document = scene.faceblur.people, read_as_covered(mask)
    found = next((t for t in document.tracks if t.name == track and t.kind is TrackKind.FACE), None)
    if found is None:
        raise FaceBlurError(translate("'{track}' is not a face.", track=track))
    fingerprint = get_fingerprint(mask)
    known = [
        number
        for number, face in enumerate(people.faces)
        if face.fingerprint == fingerprint and get_face_track(face, document.tracks) is found
    ]
    if not known:
        add_face(people, fingerprint, found, uid, EDITOR, get_sample(found, source_frame))
    assign_faces(scene, known, uid)


def remove_empty(people: Any) -> None:
    """Remove people who have neither a face nor a reference."""
    used = {face.person for face in people.faces}
    for number in reversed(range(len(people.persons))):
        if people.persons[number].uid not in used and not people.persons[number].references:
            people.persons.remove(number)
    people.active_person = min(people.active_person, max(len(people.persons) - 1, 0))
