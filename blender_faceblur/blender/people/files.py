# SPDX-License-Identifier: GPL-3.0-or-later
"""Write and read people files, as the command's option --people does: whose each face is, and who stays visible."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.people.decisions import Mode, get_kept_person
from ...core.people.people_file import EDITOR as BY_EDITOR
from ...core.people.people_file import MACHINE as BY_MACHINE
from ...core.people.people_file import Assignment, Decisions, read_decisions, write_decisions
from ..masks.record import get_fingerprint
from ..review.queue import read_queue
from .cache import list_shown_faces
from .memory import MEMORY, list_masks
from .person_list import EDITOR, KEEP, MACHINE, ONLY, TICKED, add_person, get_face_track, get_first_face, remove_empty


def write_file(scene: bpy.types.Scene, path: Path) -> int:
    """Write the scene's people and assignments to a file; returns the number of faces. Raises FaceBlurError."""
    people = scene.faceblur.people
    only = people.mode == ONLY
    decisions = Decisions(
        only,
        MEMORY.folder,
        {person.name: Mode.BLUR if person.chosen == only else Mode.KEEP for person in people.persons},
    )
    names = {person.uid: person.name for person in people.persons}
    files = {get_fingerprint(mask): read_queue(mask).document for _, mask in list_masks(scene)}
    sure = (EDITOR,) if only else (EDITOR, TICKED)
    for face, shown in zip(people.faces, list_shown_faces(scene), strict=True):
        document = files.get(face.fingerprint)
        if document is None or face.person not in names:
            continue
        kept = next((track for track in document.uncovered if shown.kept and track.name == shown.track), None)
        decisions.tracks.append(
            Assignment(
                face.fingerprint,
                document.source.file_name,
                shown.track or face.track,
                face.frame,
                round(face.x, 1),
                round(face.y, 1),
                names[face.person],
                BY_EDITOR if face.by in sure else BY_MACHINE,
                tuple(kept.list_spans()) if kept is not None else (),
                MEMORY.reasons.get((face.fingerprint, shown.track), ""),
            )
        )
    # The last assignment of a track counts, so those to people who are blurred come last.
    decisions.tracks.sort(key=lambda entry: decisions.modes[entry.person] is Mode.BLUR)
    write_decisions(decisions, path)
    return len(decisions.tracks)


def read_file(scene: bpy.types.Scene, path: Path) -> tuple[int, list[str]]:
    """Load the mode, the ticks and the assignments of this scene's faces from a file of the extension or the command.

    An editor's assignment in the file replaces any assignment of that face; a suggestion replaces only a suggestion.
    Returns the number of faces and the people in the file who have no face here. Raises FaceBlurError.
    """
    people, decisions = scene.faceblur.people, read_decisions(path)
    tracks = {}
    for _, mask in list_masks(scene):
        document = read_queue(mask).document
        if document is not None:
            tracks[document.source.fingerprint] = [*document.tracks, *filter(get_kept_person, document.uncovered)]
    found = [
        (entry, track)
        for entry in decisions.tracks
        if entry.person
        and entry.fingerprint in tracks
        and (track := get_face_track(entry, tracks[entry.fingerprint])) is not None
    ]
    people.mode = ONLY if decisions.others_clear else KEEP
    MEMORY.folder = decisions.references
    uids = {person.name: person.uid for person in people.persons}
    for name in dict.fromkeys(entry.person for entry, _ in found):
        if name not in uids:
            uids[name] = add_person(people, name).uid
    asked = Mode.BLUR if decisions.others_clear else Mode.KEEP
    chosen = {uids[name] for name, mode in decisions.modes.items() if mode is asked and name in uids}
    for person in people.persons:
        first = get_first_face(person)
        by = first.by if first is not None else ""
        person.chosen = person.uid in chosen
        if first is not None:
            # The tick comes from the file, so it does not confirm the face that is shown here.
            first.by = by
    taken = 0
    for entry, track in found:
        own = [
            number
            for number, face in enumerate(people.faces)
            if face.fingerprint == entry.fingerprint and get_face_track(face, tracks[entry.fingerprint]) is track
        ]
        if entry.by != BY_EDITOR and any(people.faces[number].by != MACHINE for number in own):
            continue
        for number in reversed(own):
            people.faces.remove(number)
        face = people.faces.add()
        face.fingerprint, face.track, face.frame = entry.fingerprint, track.name, entry.frame
        face.x, face.y, face.person = entry.x, entry.y, uids[entry.person]
        face.by = EDITOR if entry.by == BY_EDITOR else MACHINE
        taken += 1
    remove_empty(people)
    return taken, [name for name in decisions.modes if name not in {person.name for person in people.persons}]
