# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide who stays clear and who is covered, and apply it to the masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from ...batch.people import Recognition
from ...core.document.editing import copy_document, sample_at
from ...core.people.decisions import USUAL_RATE, Mode, People, Person, apply_decisions, decide_tracks, get_kept_person
from ...core.people.people_file import Decisions
from ...core.people.similarity import FaceEmbedding, Vector, choose_best, compute_threshold
from ...core.types import FaceBlurError, Sample, TrackDocument, TrackKind
from ..common.footage import frame_rate_of
from ..masks.changes import change_tracks
from ..masks.mask import get_layer_name
from ..masks.record import MaskRecord, fingerprint_of
from .embedding import embed_faces, list_jobs, store_crops
from .grouping import SceneFaces, read_scene_faces
from .memory import MEMORY, cover_as_found, get_embeddings, get_references, is_embedded, list_masks
from .person_list import ALL, EDITOR, KEEP, ONLY, TICKED

_NEW_REFERENCES, _PER_TRACK = 4, 6


def _choose_references(views: Sequence[FaceEmbedding], most: int) -> list[Vector]:
    """The vectors of the best looks that surely show who the very best does: a track may go over to somebody else."""
    best, limit = choose_best(views, most), compute_threshold(USUAL_RATE)
    return [view.vector for view in best if float(np.linalg.norm(view.vector - best[0].vector)) <= limit]


def gather_people(scene: bpy.types.Scene, scene_faces: SceneFaces) -> tuple[People, dict[tuple[str, str], str]]:
    """What the scene's list and mode mean for deciding, and of which tracks it is said whose they are.

    Whoever is to stay clear is recognised by what an editor has said alone, whoever is to be blurred by everything; a
    track that is listed as somebody's who is to be blurred is blurred. Raises FaceBlurError where nobody can be told.
    """
    settings = scene.faceblur.people
    only = settings.mode == ONLY
    people = People(others_clear=only, stranger_rate=1 / float(settings.stranger_rate))
    assigned: dict[tuple[str, str], str] = {}
    if not any(person.chosen for person in settings.persons):
        raise FaceBlurError(f"Tick who is to {'be blurred' if only else 'stay clear'} first.")
    for person in settings.persons:
        clear = person.chosen != only
        own = [key for key, numbers in scene_faces.faces.items() if _belongs(settings, numbers, person.uid, clear)]
        references = get_references(person)
        for key in own:
            most = _NEW_REFERENCES if clear else _PER_TRACK
            references += _choose_references(scene_faces.embeddings.get(key, []), most)
        if only and person.chosen and not references:
            raise FaceBlurError(
                f"Nothing in memory shows what {person.name} looks like, so others cannot be told from "
                f"{person.name}: Recognise Faces again, or add pictures."
            )
        if only and clear and not own:
            # By what is only suggested nobody stays clear.
            continue
        people.persons.append(Person(person.name, Mode.KEEP if clear else Mode.BLUR, references))
        assigned.update(dict.fromkeys(own, person.name))
    return people, assigned


def _belongs(settings: Any, numbers: Sequence[int], uid: int, clear: bool) -> bool:
    """Whether a track of which those faces speak is somebody's; of several people's it is theirs who is blurred."""
    faces = [settings.faces[number] for number in numbers]
    if clear:
        sure = (EDITOR, TICKED) if settings.mode == KEEP else (EDITOR,)
        return all(face.person == uid and face.by in sure for face in faces)
    return any(face.person == uid for face in faces)


def check_embedded(scene_faces: SceneFaces) -> None:
    """Raise FaceBlurError where a track is, anywhere, where nobody has looked for who it is."""
    for fingerprint, document in scene_faces.documents.items():
        if not is_embedded(fingerprint):
            raise FaceBlurError("What faces look like is not kept in the project: Recognise Faces again.")
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
                        f"'{track.name}' has changed since faces were recognised: Recognise Faces again."
                    )


def _is_near(one: Sample, other: Sample) -> bool:
    if one is other:
        return True
    return math.hypot(one.ellipse.cx - other.ellipse.cx, one.ellipse.cy - other.ellipse.cy) < other.ellipse.rx


@dataclass(slots=True)
class Applied:
    """What was decided: tracks that stay clear, of how many people, of how many tracks, and new doubts."""

    clear: int = 0
    people: set[str] = field(default_factory=set)
    tracks: int = 0
    review_items: int = 0


def apply_people(scene: bpy.types.Scene) -> Applied:
    """Cover everybody but those who surely stay clear. Raises FaceBlurError, with nothing changed."""
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
    scene: bpy.types.Scene, strips: Iterable[str], recognition: Recognition, tell: Callable[[str, int, int], None]
) -> Applied:
    """Decide about the covered strips of those names with people who are known from pictures or a file.

    Looks at their faces first, in processes of their own. Raises FaceBlurError, with all of them still covered.
    """
    jobs = list_jobs(scene, strips)
    looking = embed_faces(jobs, (), frame_rate_of(scene))
    while True:
        try:
            step = next(looking)
        except StopIteration as end:
            store_crops(end.value)
            break
        if step is not None:
            tell(step.stage, step.done, step.total)
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
    """Decide about a mask's tracks, with what an editor has said: `assigned`, or in a file, which is told of it."""
    fingerprint = fingerprint_of(mask)

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
            for track in document.aside:
                if get_kept_person(track) and track.name not in names:
                    first = track.samples[0]
                    MEMORY.pieces[fingerprint, track.name] = next(
                        other.name for other in covered if sample_at(other, first.source_frame) is first
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
