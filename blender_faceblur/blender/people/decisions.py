# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide who stays visible and who is covered, and apply it to the masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from ...batch.people import Recognition
from ...core.document.editing import copy_document, get_sample
from ...core.people.decisions import USUAL_RATE, Mode, People, Person, apply_decisions, decide_tracks, get_kept_person
from ...core.people.people_file import Decisions
from ...core.people.similarity import FaceEmbedding, Vector, choose_best, compute_threshold
from ...core.translation import translate
from ...core.types import FaceBlurError, Sample, TrackDocument, TrackKind
from ..common.footage import get_frame_rate
from ..masks.changes import change_tracks
from ..masks.record import MaskRecord, get_fingerprint, get_layer_name
from .embedding import embed_faces, list_jobs, store_crops
from .grouping import SceneFaces, read_scene_faces
from .memory import MEMORY, cover_as_found, get_embeddings, get_references, is_embedded, list_masks
from .person_list import ALL, EDITOR, KEEP, ONLY, TICKED

_NEW_REFERENCES = 4
"""How many embeddings of one track become references of a person who stays visible."""

_PER_TRACK = 6
"""How many become references of a person who is blurred."""


def _choose_references(embeddings: Sequence[FaceEmbedding], most: int) -> list[Vector]:
    """The vectors of the best embeddings that certainly show the same person as the best one.

    The others are left out because a track may switch from one person to another.
    """
    best, limit = choose_best(embeddings, most), compute_threshold(USUAL_RATE)
    return [chosen.vector for chosen in best if float(np.linalg.norm(chosen.vector - best[0].vector)) <= limit]


def gather_people(scene: bpy.types.Scene, scene_faces: SceneFaces) -> tuple[People, dict[tuple[str, str], str]]:
    """Turn the scene's list and mode into people to recognise, and list the tracks that are assigned to a person.

    A person who stays visible is recognised only by faces that an editor assigned, a person who is blurred also by
    suggested ones. A track that is listed for a person who is blurred is blurred. Raises FaceBlurError if no person is
    ticked, or if a person who is to be blurred has no reference.
    """
    settings = scene.faceblur.people
    only = settings.mode == ONLY
    people = People(others_clear=only, stranger_rate=1 / float(settings.stranger_rate))
    assigned: dict[tuple[str, str], str] = {}
    if not any(person.chosen for person in settings.persons):
        raise FaceBlurError(
            "Tick the people who are to be blurred first." if only else "Tick the people who are to stay visible first."
        )
    for person in settings.persons:
        clear = person.chosen != only
        own = [key for key, numbers in scene_faces.faces.items() if _belongs(settings, numbers, person.uid, clear)]
        references = get_references(person)
        for key in own:
            most = _NEW_REFERENCES if clear else _PER_TRACK
            references += _choose_references(scene_faces.embeddings.get(key, []), most)
        if only and person.chosen and not references:
            raise FaceBlurError(
                translate(
                    "There is no face or picture of {name} in memory to tell others apart from {name}. Use Recognise "
                    "Faces again, or add pictures.",
                    name=person.name,
                )
            )
        if only and clear and not own:
            # A suggestion alone never leaves a person visible.
            continue
        people.persons.append(Person(person.name, Mode.KEEP if clear else Mode.BLUR, references))
        assigned.update(dict.fromkeys(own, person.name))
    return people, assigned


def _belongs(settings: Any, numbers: Sequence[int], uid: int, clear: bool) -> bool:
    """Whether the track that these faces stand for belongs to a person. A disputed track belongs to a blurred one."""
    faces = [settings.faces[number] for number in numbers]
    if clear:
        sure = (EDITOR, TICKED) if settings.mode == KEEP else (EDITOR,)
        return all(face.person == uid and face.by in sure for face in faces)
    return any(face.person == uid for face in faces)


def check_embedded(scene_faces: SceneFaces) -> None:
    """Raise FaceBlurError if any sample of a track lies where no face was embedded."""
    for fingerprint, document in scene_faces.documents.items():
        if not is_embedded(fingerprint):
            raise FaceBlurError("Face embeddings are not saved in the project. Use Recognise Faces again.")
        known: dict[int, list[Sample]] = {}
        for track in MEMORY.tracks[fingerprint]:
            for sample in track.samples:
                known.setdefault(sample.source_frame, []).append(sample)
        for track in document.tracks:
            if track.kind is not TrackKind.FACE:
                continue
            for sample in track.samples:
                if not any(_is_near(sample, other) for other in known.get(sample.source_frame, ())):
                    raise FaceBlurError(
                        translate(
                            "'{name}' has changed since faces were recognised. Use Recognise Faces again.",
                            name=track.name,
                        )
                    )


def _is_near(one: Sample, other: Sample) -> bool:
    if one is other:
        return True
    return math.hypot(one.ellipse.cx - other.ellipse.cx, one.ellipse.cy - other.ellipse.cy) < other.ellipse.rx


@dataclass(slots=True)
class Applied:
    """The result of the decisions.

    `clear` is the number of tracks that stay visible, `people` whose they are, `tracks` the number of all faces, and
    `review_items` the number of new review items.
    """

    clear: int = 0
    people: set[str] = field(default_factory=set)
    tracks: int = 0
    review_items: int = 0


def apply_people(scene: bpy.types.Scene) -> Applied:
    """Cover everyone except the people who certainly stay visible. Raises FaceBlurError, with nothing changed."""
    masks = list_masks(scene)
    if not masks:
        raise FaceBlurError("No strip is covered: Detect Faces first.")
    people: People | None = None
    assigned: dict[tuple[str, str], str] = {}
    if scene.faceblur.people.mode != ALL:
        scene_faces = read_scene_faces(scene)
        check_embedded(scene_faces)
        people, assigned = gather_people(scene, scene_faces)
    applied = Applied()
    for _, mask in masks:
        _apply_to(mask, people, assigned, applied)
    return applied


def apply_known(
    scene: bpy.types.Scene, strips: Iterable[str], recognition: Recognition, report: Callable[[str, int, int], None]
) -> Applied:
    """Decide about the covered strips with these names, for people who are known from pictures or from a file.

    First computes face embeddings in processes of their own; `report` gets stage, done and total. Raises
    FaceBlurError, with all faces still covered.
    """
    jobs = list_jobs(scene, strips)
    steps = embed_faces(jobs, (), get_frame_rate(scene))
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            store_crops(end.value)
            break
        if step is not None:
            report(step.stage, step.done, step.total)
    applied = Applied()
    for job in jobs:
        _apply_to(bpy.data.masks[job.mask], recognition.people, {}, applied, recognition.decisions)
    return applied


def _apply_to(
    mask: bpy.types.Mask,
    people: People | None,
    assigned: dict[tuple[str, str], str],
    applied: Applied,
    file: Decisions | None = None,
) -> None:
    """Decide about a mask's tracks. An editor's assignments are in `assigned` or `file`; `file` records the results."""
    fingerprint = get_fingerprint(mask)

    def change(document: TrackDocument) -> set[str]:
        before = {track.name: copy for track, copy in zip(document.tracks, copy_document(document).tracks, strict=True)}
        cover_as_found(document)
        names = {track.name for track in document.tracks}
        applied.tracks += sum(track.kind is TrackKind.FACE for track in document.tracks)
        if people is not None:
            covered = copy_document(document).tracks
            here = {track: person for (source, track), person in assigned.items() if source == fingerprint}
            if file is not None:
                here = file.list_assigned(document)
            decisions = [
                decision
                for decision in decide_tracks(document, get_embeddings(document), people, here)
                if not _is_freehand(mask, decision.track)
            ]
            if file is not None:
                file.remember(document, {track.name: track for track in document.tracks}, decisions)
            apply_decisions(document, decisions, people)
            for track in document.uncovered:
                if get_kept_person(track) and track.name not in names:
                    first = track.samples[0]
                    MEMORY.pieces[fingerprint, track.name] = next(
                        other.name for other in covered if get_sample(other, first.source_frame) is first
                    )
            for decision in decisions:
                MEMORY.reasons[fingerprint, decision.track] = decision.why
                applied.clear += bool(decision.clear)
                applied.review_items += len(decision.review_items)
                if decision.clear:
                    applied.people.add(decision.person)
        after = {track.name: track for track in document.tracks}
        return {name for name in names | set(before) | set(after) if before.get(name) != after.get(name)}

    document = change_tracks(mask, change)
    record = MaskRecord.load(mask)
    record.notes = [*document.source.warnings, *document.all_notes]
    record.save(mask)


def _is_freehand(mask: bpy.types.Mask, track: str) -> bool:
    layer = get_layer_name(mask, track)
    return bool(layer and MaskRecord.load(mask).layers[layer].freehand)
