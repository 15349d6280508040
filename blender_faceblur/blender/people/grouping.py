# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a scene: who is on its covered strips, what an editor said of them, and what is decided.

The scene keeps names, and whose each track is, by a place in a source: after tracks were renamed, split or found anew
it speaks of the track that is there. What faces look like is not in it; see `looking`.
"""

from __future__ import annotations

import colorsys
import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    StringProperty,
)

from ...core.editing import copy_document, sample_at
from ...core.likeness import (
    GOOD,
    SAME_GROUP,
    Vector,
    View,
    choose_best,
    find_apart,
    find_median,
    find_threshold,
    group_tracks,
    measure_distances,
)
from ...core.looks_file import forget_looks
from ...core.people import (
    RATES,
    USUAL_RATE,
    Mode,
    People,
    Person,
    apply_decisions,
    decide_tracks,
    find_kept,
)
from ...core.people_file import EDITOR as SAID
from ...core.people_file import MACHINE as GUESSED
from ...core.people_file import Assignment, Decisions, read_decisions, write_decisions
from ...core.review import find_clearest
from ...core.types import Ellipse, FaceBlurError, Sample, Track, TrackDocument, TrackKind, TrackStatus
from ...paths import stored_looks
from ...recognising import Recognition
from .. import thumbnails
from ..cover import find_mask
from ..editing import change_tracks
from ..footage import find_rate
from ..mask_record import MaskRecord, fingerprint_of, list_own_masks
from ..masks import find_layer
from ..review import read_queue
from ..running import STATE, redraw
from .memory import (
    MEMORY,
    cover_as_found,
    find_views,
    knows,
    list_jobs,
    list_masks,
    look_at,
    read_as_covered,
    take_looks,
)

MACHINE, SPLIT, TICKED, EDITOR = "machine", "split", "ticked", "editor"
"""Who said whose a face is: a suggestion; an editor who named its person, or said whose it is not; one who ticked the
person that it stands for in the list; one who said that it is this person."""

NOBODY = 0
"""In the place of a person's `uid`: a face of nobody known, as it was never seen well enough."""

ALL, ONLY, KEEP = "ALL", "ONLY", "KEEP"
MODES = [
    (ALL, "Blur All", "Everybody is blurred"),
    (ONLY, "Blur Only These", "Those with a tick are blurred, and all of whom it is not sure that they are others"),
    (KEEP, "Keep These Clear", "Those with a tick stay clear where that is sure; all others are blurred"),
]
RATE_ITEMS = [
    (f"{round(1 / rate)}", f"1 stranger in {round(1 / rate):,}".replace(",", " "),
     "How often somebody else who is seen as well would be kept clear by mistake, as measured on strangers")
    for rate in RATES]

_NEW_REFERENCES, _PER_TRACK = 4, 6
_AT_PLACE = 0.7
"""How far from the middle of a face, in its half axes, a place may be that speaks of it."""

_TICK_S = 0.5

_MOST_PICTURES, _APART_S = 12, 0.5
"""Of one person in the sheet; two of one track are at least so far apart."""

_HUES = [step / 12 for step in range(12)]

Color = tuple[float, float, float, float]


def _find_first(person: Any) -> Any:
    """The face that stands for a person in the list; None where there is none."""
    return next((face for face in person.id_data.faceblur.people.faces if face.person == person.uid), None)


def _take_tick(item: Any, context: bpy.types.Context | None) -> None:
    first = _find_first(item)
    if first is not None and first.by != EDITOR:
        first.by = TICKED if item.chosen else SPLIT


def _settle_name(item: Any, context: bpy.types.Context | None) -> None:
    people = item.id_data.faceblur.people
    free = _find_free_name({person.name for person in people.persons if person.uid != item.uid}, item.name.strip())
    if item.name != free:
        # Which calls this again.
        item.name = free
        return
    first = _find_first(item)
    if first is not None and first.by == MACHINE:
        # A name is no word about likeness; but the next look must not give it to somebody else.
        first.by = SPLIT


def _take_sheet(people: Any, context: bpy.types.Context | None) -> None:
    if people.show_sheet and not bpy.app.background:
        make_thumbnails(people.id_data)


def _settle_person(people: Any, context: bpy.types.Context | None) -> None:
    """Of the person who is active now a face is the active one too, so that the buttons have something to work on."""
    if 0 <= people.active_person < len(people.persons):
        uid = people.persons[people.active_person].uid
        own = [number for number, face in enumerate(people.faces) if face.person == uid]
        if own and people.active_face not in own:
            people.active_face = own[0]
        people.show_unlisted = False
    _take_sheet(people, context)


class FACEBLUR_PG_person(bpy.types.PropertyGroup):
    """`uid` is never used again; `references` are the numbers, by which memory has them, of vectors from pictures."""

    uid: IntProperty(options={"HIDDEN"})
    name: StringProperty(name="Name", description="Who this is", maxlen=200, update=_settle_name)
    chosen: BoolProperty(name="Chosen", update=_take_tick, description=(
        "One of those whom the mode speaks of. A tick says that the face shown here is this person's"))
    color: FloatVectorProperty(name="Color", subtype="COLOR_GAMMA", size=3, min=0.0, max=1.0, default=(1.0, 0.35, 0.35),
                               description="Of this person's outlines over the preview, with Color by Person")
    references: StringProperty(options={"HIDDEN"})


class FACEBLUR_PG_person_face(bpy.types.PropertyGroup):
    """Whose the track is that has its face at a place of a source; `track` was its name, only to be shown."""

    fingerprint: StringProperty(options={"HIDDEN"})
    track: StringProperty(options={"HIDDEN"})
    frame: IntProperty(options={"HIDDEN"})
    x: FloatProperty(options={"HIDDEN"})
    y: FloatProperty(options={"HIDDEN"})
    person: IntProperty(options={"HIDDEN"}, description="Its `uid`; 0: nobody known")
    by: StringProperty(default=MACHINE, options={"HIDDEN"})
    picked: BoolProperty(name="Picked", description="What the buttons below work on; drag over several to pick them")


class FACEBLUR_PG_people(bpy.types.PropertyGroup):
    persons: CollectionProperty(type=FACEBLUR_PG_person)
    faces: CollectionProperty(type=FACEBLUR_PG_person_face)
    active_person: IntProperty(name="Person", update=_settle_person)
    active_face: IntProperty(name="Face")
    mode: EnumProperty(name="Mode", items=MODES, description="Whom to blur")
    color_by_person: BoolProperty(name="Color by Person", description=(
        "Outlines over the preview have the colour of whose face it is, where that is known"))
    show_unlisted: BoolProperty(name="Show Them", update=_take_sheet, description=(
        "List the faces that were never seen well enough, to say whose they are"))
    show_sheet: BoolProperty(name="Show Pictures", update=_take_sheet, description=(
        "Show this person's clearest faces, over all strips. The pictures are in memory only, and never saved"))
    stranger_rate: EnumProperty(name="Mistakes", items=RATE_ITEMS, default=f"{round(1 / USUAL_RATE)}",
                                description="How often a stranger may be taken for somebody who stays clear")


GROUPS = (FACEBLUR_PG_person, FACEBLUR_PG_person_face, FACEBLUR_PG_people)


def find_face_track(face: Any, tracks: Iterable[Track]) -> Track | None:
    """The track that a face of the scene speaks of."""
    best: tuple[float, Track] | None = None
    for track in tracks:
        sample = sample_at(track, face.frame) if track.kind is TrackKind.FACE else None
        if sample is not None:
            away = math.hypot((face.x - sample.ellipse.cx) / sample.ellipse.rx,
                              (face.y - sample.ellipse.cy) / sample.ellipse.ry)
            if away < _AT_PLACE and (best is None or away < best[0]):
                best = away, track
    return best[1] if best is not None else None


def find_person(people: Any, uid: int) -> Any:
    return next((person for person in people.persons if person.uid == uid), None)


def find_listed(people: Any) -> int:
    """Whose faces are listed: the `uid` of the active person, NOBODY for those of nobody known; -1 for none at all."""
    if people.show_unlisted:
        return NOBODY
    active = people.active_person
    return int(people.persons[active].uid) if 0 <= active < len(people.persons) else -1


def show_person(people: Any, uid: int) -> None:
    """Make a person the active one of the list."""
    people.active_person = next((n for n, person in enumerate(people.persons) if person.uid == uid), 0)


def add_person(people: Any, name: str = "") -> Any:
    """A new person, under a free name."""
    taken = {person.name for person in people.persons}
    hues = [colorsys.rgb_to_hsv(*person.color)[0] for person in people.persons]
    # As far as can be from the nearest of the others'.
    hue = max(_HUES, key=lambda h: min((min(abs(h - o), 1 - abs(h - o)) for o in hues), default=0.0))
    person = people.persons.add()
    person.color = colorsys.hsv_to_rgb(hue, 0.65, 1.0)
    # Never one that an undone person had: memory may still know that one.
    person.uid = secrets.randbits(31)
    person.name = _find_free_name(taken, name)
    return person


def _find_free_name(taken: set[str], wanted: str) -> str:
    if wanted and wanted not in taken:
        return wanted
    number = 2 if wanted else 1
    while (name := f"{wanted or 'Person'} {number:02}") in taken:
        number += 1
    return name


def add_face(people: Any, fingerprint: str, track: Track, person: int, by: str, at: Sample | None = None) -> Any:
    """Say whose a track is."""
    sample = at or track.samples[len(track.samples) // 2]
    face = people.faces.add()
    face.fingerprint, face.track, face.frame = fingerprint, track.name, sample.source_frame
    face.x, face.y = sample.ellipse.cx, sample.ellipse.cy
    face.person, face.by = person, by
    return face


def say(scene: bpy.types.Scene, faces: Sequence[int], uid: int, by: str = EDITOR) -> None:
    """An editor says that the scene's faces of those numbers are somebody's. People without a face go."""
    people = scene.faceblur.people
    for number in faces:
        face = people.faces[number]
        face.person, face.by, face.picked = uid, by, False
    remove_empty(people)


def say_track(scene: bpy.types.Scene, mask: bpy.types.Mask, track: str, uid: int, source_frame: int = -1) -> None:
    """An editor says whose a track is, in the list or not. Raises FaceBlurError where there is no such track."""
    people, document = scene.faceblur.people, read_as_covered(mask)
    found = next((t for t in document.tracks if t.name == track and t.kind is TrackKind.FACE), None)
    if found is None:
        raise FaceBlurError(f"'{track}' is no face.")
    fingerprint = fingerprint_of(mask)
    known = [number for number, face in enumerate(people.faces)
             if face.fingerprint == fingerprint and find_face_track(face, document.tracks) is found]
    if not known:
        add_face(people, fingerprint, found, uid, EDITOR, sample_at(found, source_frame))
    say(scene, known, uid)


def remove_empty(people: Any) -> None:
    """Let go of people who have neither a face nor a reference."""
    used = {face.person for face in people.faces}
    for number in reversed(range(len(people.persons))):
        if people.persons[number].uid not in used and not people.persons[number].references:
            people.persons.remove(number)
    people.active_person = min(people.active_person, max(len(people.persons) - 1, 0))


def add_reference(person: Any, vector: Vector) -> None:
    """A face that is known to be somebody's. Undoing leads back to before: the scene says which ones count."""
    number = f"{secrets.randbits(40):x}"
    MEMORY.references[number] = vector
    person.references = f"{person.references},{number}" if person.references else number


def find_references(person: Any) -> list[Vector]:
    """The vectors of a person's reference pictures that are in memory."""
    return [MEMORY.references[number] for number in person.references.split(",") if number in MEMORY.references]


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


def _choose_references(views: Sequence[View], most: int) -> list[Vector]:
    """The vectors of the best looks that surely show who the very best does: a track may go over to somebody else."""
    best, limit = choose_best(views, most), find_threshold(USUAL_RATE)
    return [view.vector for view in best if float(np.linalg.norm(view.vector - best[0].vector)) <= limit]


def gather_people(scene: bpy.types.Scene, cast: Cast) -> tuple[People, dict[tuple[str, str], str]]:
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
        own = [key for key, numbers in cast.faces.items() if _belongs(settings, numbers, person.uid, clear)]
        references = find_references(person)
        for key in own:
            most = _NEW_REFERENCES if clear else _PER_TRACK
            references += _choose_references(cast.views.get(key, []), most)
        if only and person.chosen and not references:
            raise FaceBlurError(f"Nothing in memory shows what {person.name} looks like, so others cannot be told from "
                                f"{person.name}: Recognise Faces again, or add pictures.")
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


def check_looked_at(cast: Cast) -> None:
    """Raise FaceBlurError where a track is, anywhere, where nobody has looked for who it is."""
    for fingerprint, document in cast.documents.items():
        if not knows(fingerprint):
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
                    raise FaceBlurError(f"'{track.name}' has changed since faces were recognised: Recognise Faces "
                                        "again.")


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
    doubts: int = 0


def apply_people(scene: bpy.types.Scene) -> Applied:
    """Cover everybody but those who surely stay clear. Raises FaceBlurError, with nothing changed."""
    masks = list_masks(scene)
    if not masks:
        raise FaceBlurError("No strip is covered: Detect Faces first.")
    people: People | None = None
    assigned: dict[tuple[str, str], str] = {}
    if scene.faceblur.people.mode != ALL:
        cast = read_cast(scene)
        check_looked_at(cast)
        people, assigned = gather_people(scene, cast)
    applied = Applied()
    for _, mask in masks:
        _apply_to(mask, people, assigned, applied)
    return applied


def apply_known(scene: bpy.types.Scene, strips: Iterable[str], recognition: Recognition,
                tell: Callable[[str, int, int], None]) -> Applied:
    """Decide about the covered strips of those names with people who are known from pictures or a file.

    Looks at their faces first, in processes of their own. Raises FaceBlurError, with all of them still covered.
    """
    jobs = list_jobs(scene, strips)
    looking = look_at(jobs, (), find_rate(scene))
    while True:
        try:
            step = next(looking)
        except StopIteration as end:
            take_looks(end.value)
            break
        if step is not None:
            tell(step.stage, step.done, step.total)
    applied = Applied()
    for job in jobs:
        _apply_to(bpy.data.masks[job.mask], recognition.people, {}, applied, recognition.decisions)
    return applied


def _apply_to(mask: bpy.types.Mask, people: People | None, assigned: dict[tuple[str, str], str],
              applied: Applied, file: Decisions | None = None) -> None:
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
                here = file.find_assigned(document)
            decisions = [decision for decision in decide_tracks(document, find_views(document), people, here)
                         if not _is_freehand(mask, decision.track)]
            if file is not None:
                file.remember(document, {track.name: track for track in document.tracks}, decisions)
            apply_decisions(document, decisions, people)
            for track in document.aside:
                if find_kept(track) and track.name not in names:
                    first = track.samples[0]
                    MEMORY.pieces[fingerprint, track.name] = next(
                        other.name for other in covered if sample_at(other, first.source_frame) is first)
            for decision in decisions:
                MEMORY.reasons[fingerprint, decision.track] = decision.why
                applied.clear += bool(decision.clear)
                applied.doubts += len(decision.doubts)
                if decision.clear:
                    applied.people.add(decision.person)
        after = {track.name: track for track in document.tracks}
        return {name for name in names | set(before) | set(after) if before.get(name) != after.get(name)}

    document = change_tracks(mask, change)
    record = MaskRecord.load(mask)
    record.notes = [*document.source.warnings, *document.all_notes]
    record.save(mask)


def _is_freehand(mask: bpy.types.Mask, track: str) -> bool:
    layer = find_layer(mask, track)
    return bool(layer and MaskRecord.load(mask).layers[layer].freehand)


@dataclass(slots=True)
class Shown:
    """A face of the scene's list as it is drawn: where it is now, and who stays clear in it."""

    mask: str = ""
    track: str = ""
    kept: str = ""


def write_file(scene: bpy.types.Scene, path: Path) -> int:
    """Write who is who, and who stays clear, as the command's --people does; how many faces. Raises FaceBlurError."""
    people = scene.faceblur.people
    only = people.mode == ONLY
    decisions = Decisions(only, MEMORY.folder, {
        person.name: Mode.BLUR if person.chosen == only else Mode.KEEP for person in people.persons})
    names = {person.uid: person.name for person in people.persons}
    files = {fingerprint_of(mask): read_queue(mask).document for _, mask in list_masks(scene)}
    sure = (EDITOR,) if only else (EDITOR, TICKED)
    for face, shown in zip(people.faces, find_shown_faces(scene), strict=True):
        document = files.get(face.fingerprint)
        if document is None or face.person not in names:
            continue
        kept = next((track for track in document.aside if shown.kept and track.name == shown.track), None)
        decisions.tracks.append(Assignment(
            face.fingerprint, document.source.file_name, shown.track or face.track, face.frame, round(face.x, 1),
            round(face.y, 1), names[face.person], SAID if face.by in sure else GUESSED,
            tuple(kept.spans()) if kept is not None else (), MEMORY.reasons.get((face.fingerprint, shown.track), "")))
    # Of two words about one track the last one counts: that it is somebody who is to be blurred.
    decisions.tracks.sort(key=lambda entry: decisions.modes[entry.person] is Mode.BLUR)
    write_decisions(decisions, path)
    return len(decisions.tracks)


def read_file(scene: bpy.types.Scene, path: Path) -> tuple[int, list[str]]:
    """Take over such a file, from here or the command: mode and ticks, and of this scene's sources whose each face is.

    An editor's word in it takes the place of what was said of that face; a guess only that of another guess. Returns
    how many faces it was, and who in it has none here. Raises FaceBlurError.
    """
    people, decisions = scene.faceblur.people, read_decisions(path)
    tracks = {}
    for _, mask in list_masks(scene):
        document = read_queue(mask).document
        if document is not None:
            tracks[document.source.fingerprint] = [*document.tracks, *filter(find_kept, document.aside)]
    found = [(entry, track) for entry in decisions.tracks if entry.person and entry.fingerprint in tracks
             and (track := find_face_track(entry, tracks[entry.fingerprint])) is not None]
    people.mode = ONLY if decisions.others_clear else KEEP
    MEMORY.folder = decisions.references
    uids = {person.name: person.uid for person in people.persons}
    for name in dict.fromkeys(entry.person for entry, _ in found):
        if name not in uids:
            uids[name] = add_person(people, name).uid
    asked = Mode.BLUR if decisions.others_clear else Mode.KEEP
    chosen = {uids[name] for name, mode in decisions.modes.items() if mode is asked and name in uids}
    for person in people.persons:
        first = _find_first(person)
        by = first.by if first is not None else ""
        person.chosen = person.uid in chosen
        if first is not None:
            # The tick comes from the file: it says nothing of the face that is shown here.
            first.by = by
    taken = 0
    for entry, track in found:
        own = [number for number, face in enumerate(people.faces) if face.fingerprint == entry.fingerprint
               and find_face_track(face, tracks[entry.fingerprint]) is track]
        if entry.by != SAID and any(people.faces[number].by != MACHINE for number in own):
            continue
        for number in reversed(own):
            people.faces.remove(number)
        face = people.faces.add()
        face.fingerprint, face.track, face.frame = entry.fingerprint, track.name, entry.frame
        face.x, face.y, face.person = entry.x, entry.y, uids[entry.person]
        face.by = EDITOR if entry.by == SAID else MACHINE
        taken += 1
    remove_empty(people)
    return taken, [name for name in decisions.modes if name not in {person.name for person in people.persons}]


@dataclass(slots=True)
class ShownFaces:
    """What each scene's list shows, by the scene's session_uid, and what that was found for. Only `find_shown_faces`
    uses it; emptied before another project is opened."""

    by_scene: dict[int, tuple[object, list[Shown]]] = field(default_factory=dict)


SHOWN_FACES = ShownFaces()


def find_shown_faces(scene: bpy.types.Scene) -> list[Shown]:
    """For each face of the scene's list what to show of it. Quick: found anew only when something has changed."""
    faces = scene.faceblur.people.faces
    masks = {fingerprint_of(mask): mask for mask in list_own_masks()}
    stamp = ([(face.fingerprint, face.frame, face.x, face.y) for face in faces],
             [(mask.name, read_queue(mask).stamp) for mask in masks.values()])
    known = SHOWN_FACES.by_scene.get(scene.session_uid)
    if known is None or known[0] != stamp:
        known = SHOWN_FACES.by_scene[scene.session_uid] = stamp, [
            _find_shown(face, masks.get(face.fingerprint)) for face in faces]
    return known[1]


def _find_shown(face: Any, mask: bpy.types.Mask | None) -> Shown:
    document = read_queue(mask).document if mask is not None else None
    if mask is None or document is None:
        return Shown()
    track = find_face_track(face, [*(track for track in document.aside if find_kept(track)), *document.tracks])
    return Shown(mask.name, track.name, find_kept(track)) if track is not None else Shown()


def find_outline_colors(scene: bpy.types.Scene) -> dict[str, dict[str, Color]]:
    """By mask and track, the colour of whose face it is; nothing where outlines are not to show people."""
    people = scene.faceblur.people
    if not people.color_by_person:
        return {}
    own = {person.uid: (*person.color, 1.0) for person in people.persons}
    colors: dict[str, dict[str, Color]] = {}
    for face, shown in zip(people.faces, find_shown_faces(scene), strict=True):
        if shown.track and face.person in own:
            colors.setdefault(shown.mask, {})[shown.track] = own[face.person]
    return colors


@dataclass(frozen=True, slots=True)
class Pictured:
    """A place in a source that shows a person clearly; `face` is its number in the scene's list."""

    face: int
    mask: str
    fingerprint: str
    frame: int
    ellipse: Ellipse


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What was found, and for what."""

    shown: list[Shown]
    persons: list[int]
    pictures: list[Pictured]


@dataclass(slots=True)
class SheetState:
    """The sheets that were found, by the scene's session_uid, and whose pictures are still to be made. Only this module
    uses it; emptied before another project is opened."""

    sheets: dict[int, _Sheet] = field(default_factory=dict)
    scene: str = ""
    strips: list[str] = field(default_factory=list)
    """Those of `scene` whose faces' pictures are still to be made, the next one first."""

    def forget(self) -> None:
        self.sheets.clear()
        self.strips.clear()


SHEETS = SheetState()


def find_sheet(scene: bpy.types.Scene, uid: int) -> list[Pictured]:
    """The clearest faces of a person over all strips, in the list's order; found anew only when that has changed."""
    shown, persons = find_shown_faces(scene), [uid, *(face.person for face in scene.faceblur.people.faces)]
    known = SHEETS.sheets.get(scene.session_uid)
    # The list of what is shown is a new one whenever anything in it has changed.
    if known is None or known.shown is not shown or known.persons != persons:
        own = [number for number, item in enumerate(shown) if persons[number + 1] == uid and item.track]
        own = own[:_MOST_PICTURES]
        each = _MOST_PICTURES // max(len(own), 1)
        known = SHEETS.sheets[scene.session_uid] = _Sheet(shown, persons, [
            pictured for number in own for pictured in _find_pictured(number, shown[number], each)])
    return known.pictures


def _find_pictured(number: int, shown: Shown, most: int) -> Iterator[Pictured]:
    """The clearest sample of each of so many parts of a track."""
    mask = bpy.data.masks.get(shown.mask)
    document = read_queue(mask).document if mask is not None else None
    if document is None:
        return
    source = document.source
    samples = next(t.samples for t in (*document.aside, *document.tracks) if t.name == shown.track)
    step = max(1, math.ceil(len(samples) / most), round(_APART_S * float(source.frame_rate)))
    for start in range(0, len(samples), step):
        sample = find_clearest(samples[start:start + step], (source.width, source.height))
        yield Pictured(number, shown.mask, source.fingerprint, sample.source_frame, sample.ellipse)


def count_unlisted(scene: bpy.types.Scene) -> int:
    """How many faces are nobody's in the list: they were never seen well enough."""
    shown = {(item.mask, item.track) for face, item in zip(scene.faceblur.people.faces, find_shown_faces(scene),
                                                           strict=True) if face.person != NOBODY}
    count = 0
    for _, mask in list_masks(scene):
        document = read_queue(mask).document
        for track in [*document.tracks, *document.aside] if document is not None else ():
            counts = track.kind is TrackKind.FACE and track.status in (TrackStatus.COVERED, TrackStatus.ALLOWED)
            count += counts and (mask.name, track.name) not in shown
    return count


def forget_everything(scene: bpy.types.Scene | None) -> int:
    """As `forget`, and in the user's folder as well, of all projects. Raises FaceBlurError where something stays there.
    """
    count = forget(scene)
    forget_looks(stored_looks())
    return count


def forget(scene: bpy.types.Scene | None = None) -> int:
    """Let go of everything in memory that says what faces look like, and of a scene's list; how many vectors it was."""
    count = sum(map(len, MEMORY.looks.values())) + len(MEMORY.references)
    MEMORY.clear()
    if scene is not None:
        people = scene.faceblur.people
        people.persons.clear()
        people.faces.clear()
        people.active_person = people.active_face = 0
        people.mode = ALL
    return count


def make_thumbnails(scene: bpy.types.Scene) -> None:
    """Have pictures made of the faces of all covered strips, one strip after the other."""
    sheet = _list_sheet(scene)
    SHEETS.scene = scene.name
    SHEETS.strips = [strip.name for strip, mask in list_masks(scene)
                     if thumbnails.list_missing(mask) or any(p.mask == mask.name for p in sheet)]
    if not bpy.app.timers.is_registered(_make_next):
        bpy.app.timers.register(_make_next)


def _list_sheet(scene: bpy.types.Scene) -> list[Pictured]:
    """The places of the sheet that is shown of which there is no picture."""
    people = scene.faceblur.people
    if not people.show_sheet:
        return []
    return [p for p in find_sheet(scene, find_listed(people))
            if thumbnails.find_picture(p.fingerprint, p.frame, p.ellipse) is None]


def _make_next() -> float | None:
    scene = bpy.data.scenes.get(SHEETS.scene) if SHEETS.strips else None
    if scene is None or scene.sequence_editor is None:
        SHEETS.strips.clear()
        return None
    if not thumbnails.is_running():
        strip = scene.sequence_editor.strips_all.get(SHEETS.strips.pop(0))
        mask = find_mask(strip)
        if mask is not None:
            try:
                thumbnails.start(scene, strip, [(p.frame, p.ellipse) for p in _list_sheet(scene)
                                                if p.mask == mask.name])
            except FaceBlurError as error:
                STATE.problems = [f"No thumbnails: {error}"]
        redraw()
    return _TICK_S


@persistent
def _forget_project(*_: object) -> None:
    forget()
    SHOWN_FACES.by_scene.clear()
    SHEETS.forget()


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_forget_project)


def unregister_handlers() -> None:
    bpy.app.handlers.load_pre.remove(_forget_project)
    if bpy.app.timers.is_registered(_make_next):
        bpy.app.timers.unregister(_make_next)
    forget()
    MEMORY.weights = None
