# SPDX-License-Identifier: GPL-3.0-or-later
"""What the list of people and the outlines show, computed again only when something has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import bpy

from ...core.people.decisions import get_kept_person
from ...core.types import Color, TrackKind, TrackStatus
from ..masks.record import get_fingerprint, list_own_masks
from ..review.queue import read_queue
from .memory import list_masks
from .person_list import NO_PERSON, get_face_track


@dataclass(slots=True)
class ListedFace:
    """The current mask and track of a face in the scene's list, and the person it is left visible for, if any."""

    mask: str = ""
    track: str = ""
    kept: str = ""


@dataclass(slots=True)
class ShownFaces:
    """What each scene's list shows, by the scene's session_uid, with the state it was computed from. Only
    `list_shown_faces` uses it. Cleared before another project is opened."""

    by_scene: dict[int, tuple[object, list[ListedFace]]] = field(default_factory=dict)


SHOWN_FACES = ShownFaces()


def list_shown_faces(scene: bpy.types.Scene) -> list[ListedFace]:
    """One ListedFace for each face of the scene's list. Fast, as it is computed again only after a change."""
    faces = scene.faceblur.people.faces
    masks = {get_fingerprint(mask): mask for mask in list_own_masks()}
    stamp = (
        [(face.fingerprint, face.frame, face.x, face.y) for face in faces],
        [(mask.name, read_queue(mask).stamp) for mask in masks.values()],
    )
    known = SHOWN_FACES.by_scene.get(scene.session_uid)
    if known is None or known[0] != stamp:
        known = SHOWN_FACES.by_scene[scene.session_uid] = (
            stamp,
            [_compute_shown(face, masks.get(face.fingerprint)) for face in faces],
        )
    return known[1]


def _compute_shown(face: Any, mask: bpy.types.Mask | None) -> ListedFace:
    document = read_queue(mask).document if mask is not None else None
    if mask is None or document is None:
        return ListedFace()
    track = get_face_track(face, [*(track for track in document.uncovered if get_kept_person(track)), *document.tracks])
    return ListedFace(mask.name, track.name, get_kept_person(track)) if track is not None else ListedFace()


def get_outline_colors(scene: bpy.types.Scene) -> dict[str, dict[str, Color]]:
    """The colour of each face's person, by mask and track; empty unless outlines are coloured by person."""
    people = scene.faceblur.people
    if not people.color_by_person:
        return {}
    own = {person.uid: (*person.color, 1.0) for person in people.persons}
    colors: dict[str, dict[str, Color]] = {}
    for face, shown in zip(people.faces, list_shown_faces(scene), strict=True):
        if shown.track and face.person in own:
            colors.setdefault(shown.mask, {})[shown.track] = own[face.person]
    return colors


def count_unlisted(scene: bpy.types.Scene) -> int:
    """How many faces have no person, because they are never seen well enough."""
    shown = {
        (item.mask, item.track)
        for face, item in zip(scene.faceblur.people.faces, list_shown_faces(scene), strict=True)
        if face.person != NO_PERSON
    }
    count = 0
    for _, mask in list_masks(scene):
        document = read_queue(mask).document
        for track in [*document.tracks, *document.uncovered] if document is not None else ():
            counts = track.kind is TrackKind.FACE and track.status in (TrackStatus.COVERED, TrackStatus.ALLOWED)
            count += counts and (mask.name, track.name) not in shown
    return count
