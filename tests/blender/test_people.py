# SPDX-License-Identifier: GPL-3.0-or-later
"""People in a project are suggested, named, left visible or blurred, as renders of three disks as faces show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

import blender_faceblur
from blender_faceblur.batch.people import Recognition
from blender_faceblur.blender.common.jobs import JOB
from blender_faceblur.blender.correction.panels import correct
from blender_faceblur.blender.cover.covering import cover_footage
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.masks import overlay_cache
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.overlay import outlines
from blender_faceblur.blender.people import cache as people_cache
from blender_faceblur.blender.people import (
    contact_sheet,
    embedding,
    forgetting,
    memory,
    person_list,
)
from blender_faceblur.blender.people import decisions as people_decisions
from blender_faceblur.blender.people import files as people_files
from blender_faceblur.blender.preferences import properties as preferences
from blender_faceblur.blender.review.queue import list_entries
from blender_faceblur.blender.thumbnails import store as thumbnails
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import read_document as read_file
from blender_faceblur.core.people.decisions import Mode, People, Person, get_kept_person
from blender_faceblur.core.people.embeddings_file import ENDING, read_embeddings
from blender_faceblur.core.people.people_file import (
    EDITOR,
    MACHINE,
    Assignment,
    Decisions,
    read_decisions,
    write_decisions,
)
from blender_faceblur.core.people.similarity import FaceEmbedding
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    ReviewReason,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
)
from blender_faceblur.sources import compute_fingerprint
from blender_faceblur.worker import client
from blender_faceblur.worker.protocol import (
    EmbeddingsDone,
    EmbedRequest,
    ErrorMessage,
    Message,
    Progress,
    ReferenceRequest,
    Stage,
    Started,
    TrackEmbedding,
    Waiting,
    Warned,
)

from . import disks

PLACES = (60.0, 160.0, 260.0)
Y = 90.0
ANNA, BEN, CLARA = range(3)
LIKE_BEN = 99
"""At a distance of 0.6 from Ben, and so possibly but not certainly a different person."""

Who = Callable[[int, int], int]


def make_vector(who: int, noise: int = 0) -> list[float]:
    """128 numbers. Two people are 0.9 apart, two embeddings of one person 0.1."""
    vector = np.random.default_rng(noise).normal(size=128)
    vector *= 0.07 / np.linalg.norm(vector)
    if who == LIKE_BEN:
        vector[60] += 0.6
        who = BEN
    vector[who] += 0.64
    return [round(float(v), 5) for v in vector]


class FakeWorker:
    """Replaces the worker that embeds faces. `who` gives the person at a place in a frame."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.who: Who = lambda place, frame: place
        self.quality: dict[int, float] = {}

    def answer(self, request: Any, wait_s: float | None = None, worker: object = None) -> Iterator[Message]:
        self.requests.append(request)
        yield Waiting() if wait_s is not None else Progress(Stage.RECOGNISE, 0, 1, 0.0)
        yield Started(1)
        if isinstance(request, ReferenceRequest):
            for name in request.pictures:
                stem = Path(name).parent.name if Path(name).stem.isdigit() else Path(name).stem
                if stem == "nobody":
                    yield Warned("nobody.png: no face was found in it; it is not used as a reference.")
                else:
                    yield TrackEmbedding(name, 0, 0.9, make_vector(["Anna", "Ben", "Clara"].index(stem), 7))
        else:
            assert isinstance(request, EmbedRequest)
            for track in read_file(Path(request.tracks)).tracks:
                for sample in track.samples[::4] if len(track.samples) > 4 else track.samples:
                    place = int(np.argmin([abs(x - sample.ellipse.cx) for x in PLACES]))
                    yield TrackEmbedding(
                        track.name,
                        sample.source_frame,
                        self.quality.get(place, 0.8),
                        make_vector(self.who(place, sample.source_frame), sample.source_frame),
                    )
        yield EmbeddingsDone("dlib_resnet", 1, 0.1)


def write_film(path: Path, grey: int = 90) -> Path:
    import av

    y, x = np.mgrid[0 : disks.HEIGHT, 0 : disks.WIDTH] + 0.5
    picture = np.full((disks.HEIGHT, disks.WIDTH), grey, np.uint8)
    for cx in PLACES:
        picture[(x - cx) ** 2 + (y - Y) ** 2 < disks.RADIUS**2] = 235
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = disks.WIDTH, disks.HEIGHT, "yuv420p"
        for _ in range(disks.FRAMES):
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, 2), format="rgb24")
            for packet in stream.encode(frame):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "three.mp4")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    worker = FakeWorker()
    monkeypatch.setattr(client, "run_job", worker.answer)
    monkeypatch.setattr(embedding, "get_model_path", Path)
    return worker


@pytest.fixture
def scene(film: Path, worker: FakeWorker) -> Iterator[Any]:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    blender_faceblur.register()
    scene = get_scene()
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps = 24
    scene.sequence_editor_create()
    add_strip(scene, film, "three", 1)
    yield scene
    blender_faceblur.unregister()
    JOB.problems, JOB.notes = [], []


def get_scene() -> Any:
    return bpy.context.workspace.sequencer_scene or bpy.context.scene


def add_strip(scene: Any, film: Path, name: str, channel: int) -> Any:
    strip = scene.sequence_editor.strips.new_movie(name, str(film), channel, 1)
    scene.sequence_editor.active_strip = strip
    source = SourceInfo(
        film.name, "movie", disks.WIDTH, disks.HEIGHT, disks.FRAMES, Fraction(24), compute_fingerprint(film)
    )
    tracks = [
        Track(
            f"Face 0{number}",
            [Sample(f, Ellipse(x, Y, disks.RADIUS, disks.RADIUS), Evidence.DETECTED, 1.0) for f in range(disks.FRAMES)],
        )
        for number, x in enumerate(PLACES, 1)
    ]
    document = TrackDocument(source, "balanced", 1.2, [], [], tracks, [])
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    return strip


def see(scene: Any, frame: int, folder: Path) -> list[bool]:
    """Which of the disks are visible."""
    picture = disks.render_frame(scene, frame, folder / "seen.png").astype(int)
    shown = []
    for x in PLACES:
        part = picture[int(Y) - 14 : int(Y) + 14, int(x) - 14 : int(x) + 14]
        share = float((part.min(axis=2) > 165).mean())
        assert share in (0.0, 1.0), f"a face is shown in part: {share}"
        shown.append(share == 1.0)
    return shown


def find_own(name: str) -> Any:
    return next(person for person in get_scene().faceblur.people.persons if person.name == name)


def list_faces_of(name: str) -> list[tuple[str, str]]:
    uid = find_own(name).uid
    return [(face.track, face.by) for face in get_scene().faceblur.people.faces if face.person == uid]


def choose(scene: Any, place: int, mode: str) -> None:
    """Tick the person whose face is at a place."""
    settings = scene.faceblur.people
    face = next(f for f in settings.faces if abs(f.x - PLACES[place]) < 1)
    person_list.get_person(settings, face.person).chosen = True
    settings.mode = mode


def pick(scene: Any, *places: int) -> None:
    for face in scene.faceblur.people.faces:
        face.picked = any(abs(face.x - PLACES[place]) < 1 for place in places)


def test_suggested_people_all_stay_covered(scene: Any, tmp_path: Path) -> None:
    assert bpy.ops.faceblur.recognise_faces() == {"FINISHED"}
    assert [person.name for person in scene.faceblur.people.persons] == ["Person 01", "Person 02", "Person 03"]
    assert [list_faces_of(f"Person 0{n}") for n in (1, 2, 3)] == [[(f"Face 0{n}", "machine")] for n in (1, 2, 3)]
    assert see(scene, 9, tmp_path) == [False, False, False]
    # A second recognition finds the same people.
    bpy.ops.faceblur.recognise_faces()
    assert len(scene.faceblur.people.persons) == len(scene.faceblur.people.faces) == 3


def test_one_of_three_people_stays_visible_until_undo(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.faceblur.apply_people() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Apply People")
    for frame in (1, 20, 40):
        assert see(scene, frame, tmp_path) == [False, True, False]
    document = load_document(get_mask(scene.sequence_editor.strips["three"]))
    assert [(track.name, get_kept_person(track)) for track in document.uncovered] == [("Face 02", "Person 02")]
    assert any("Kept visible: Person 02 in Face 02" in note for note in document.all_notes)
    bpy.ops.ed.undo()
    assert see(get_scene(), 20, tmp_path) == [False, False, False]
    bpy.ops.ed.redo()
    assert see(get_scene(), 20, tmp_path) == [False, True, False]
    get_scene().faceblur.people.mode = person_list.ALL
    bpy.ops.faceblur.apply_people()
    assert see(get_scene(), 20, tmp_path) == [False, False, False]


def test_only_one_of_three_people_is_blurred(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, CLARA, person_list.ONLY)
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [True, True, False]


def test_a_name_or_a_removed_tick_leaves_no_person_visible(scene: Any, worker: FakeWorker, tmp_path: Path) -> None:
    """If only Ben is blurred, so is everyone who might be Ben, until an editor assigns the face to another person."""
    worker.who = lambda place, frame: LIKE_BEN if place == CLARA else place
    bpy.ops.faceblur.recognise_faces()
    clara = find_own("Person 03")
    clara.name = "Clara"
    clara.chosen = True
    clara.chosen = False
    choose(scene, BEN, person_list.ONLY)
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [True, False, False]
    pick(scene, CLARA)
    bpy.ops.faceblur.this_is(person=str(find_own("Clara").uid))
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [True, False, True]


@pytest.mark.parametrize("mode", [person_list.KEEP, person_list.ONLY])
def test_a_person_who_is_never_seen_well_stays_covered(
    mode: str, scene: Any, worker: FakeWorker, tmp_path: Path
) -> None:
    worker.quality = {ANNA: 0.2}
    bpy.ops.faceblur.recognise_faces()
    assert people_cache.count_unlisted(scene) == 1
    assert sorted(face.person == person_list.NO_PERSON for face in scene.faceblur.people.faces) == [False, False, True]
    choose(scene, CLARA, mode)
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, mode == person_list.ONLY, mode == person_list.KEEP]
    strip = scene.sequence_editor.strips["three"]
    assert "Face 01" not in [place.track for place in list_entries(strip, get_mask(strip))]


@pytest.mark.parametrize("known", ["by the editor", "by a picture"])
def test_a_track_is_covered_from_where_it_switches_to_another_person(
    known: str,
    scene: Any,
    worker: FakeWorker,
    tmp_path: Path,
) -> None:
    worker.who = lambda place, frame: 4 if place == BEN and frame >= 20 else place
    if known == "by a picture":
        (tmp_path / "Ben.png").touch()
        bpy.ops.faceblur.add_people(directory=str(tmp_path))
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    assert see(scene, 10, tmp_path) == [False, True, False]
    for frame in (22, 30, 40):
        assert see(scene, frame, tmp_path) == [False, False, False]
    strip = scene.sequence_editor.strips["three"]
    assert any(
        one.item.reason is ReviewReason.DIFFERENT_PERSON
        for place in list_entries(strip, get_mask(strip))
        for one in (place, *place.members)
    )

    # A second decision has the same result, and rejoins the tracks that the first one cut.
    def list_names() -> tuple[list[str], list[str]]:
        document = load_document(get_mask(strip))
        return sorted(track.name for track in document.tracks), [track.name for track in document.uncovered]

    once = list_names()
    assert once == (["Face 01", "Face 02", "Face 03"], ["Face 04"])
    bpy.ops.faceblur.apply_people()
    assert list_names() == once
    bpy.ops.faceblur.recognise_faces()
    bpy.ops.faceblur.apply_people()
    assert list_names() == once
    assert see(scene, 10, tmp_path) == [False, True, False] and not see(scene, 30, tmp_path)[BEN]
    scene.faceblur.people.mode = person_list.ALL
    bpy.ops.faceblur.apply_people()
    assert list_names() == (["Face 01", "Face 02", "Face 03"], [])
    assert not any(see(scene, 10, tmp_path) + see(scene, 30, tmp_path))


def test_a_suggestion_alone_leaves_no_person_visible(scene: Any, worker: FakeWorker, tmp_path: Path) -> None:
    """Of two strangers in one suggested group, only the one whose face was ticked stays visible."""
    bpy.ops.faceblur.recognise_faces()
    settings = scene.faceblur.people
    clara = next(face for face in settings.faces if abs(face.x - PLACES[CLARA]) < 1)
    clara.person = settings.faces[0].person
    settings.persons[0].chosen = True
    settings.mode = person_list.KEEP
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [True, False, False]


def test_a_wrong_group_is_corrected(scene: Any, worker: FakeWorker, tmp_path: Path) -> None:
    worker.who = lambda place, frame: ANNA if place == CLARA else place
    mask = get_mask(scene.sequence_editor.strips["three"])

    def apart(document: TrackDocument) -> list[str]:
        # Faces in the same frame could not be one person.
        for track, frames in ((document.tracks[0], range(20)), (document.tracks[2], range(20, 40))):
            track.samples = [s for s in track.samples if s.source_frame in frames]
        return ["Face 01", "Face 03"]

    change_tracks(mask, apart)
    bpy.ops.faceblur.recognise_faces()
    assert sorted(list_faces_of("Person 01")) == [("Face 01", "machine"), ("Face 03", "machine")]
    pick(scene, CLARA)
    assert bpy.ops.faceblur.not_this_person() == {"FINISHED"}
    assert list_faces_of("Person 01") == [("Face 01", "split")] and list_faces_of("Person 03") == [("Face 03", "split")]
    # A later recognition does not join them again.
    bpy.ops.faceblur.recognise_faces()
    assert list_faces_of("Person 01") == [("Face 01", "split")] and list_faces_of("Person 03") == [("Face 03", "split")]
    choose(scene, ANNA, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    assert see(scene, 10, tmp_path)[ANNA] and not see(scene, 30, tmp_path)[CLARA]
    # Both are assigned to one person.
    pick(scene, ANNA, CLARA)
    bpy.ops.faceblur.this_is(person=str(find_own("Person 01").uid))
    assert sorted(list_faces_of("Person 01")) == [("Face 01", "editor"), ("Face 03", "editor")]
    assert [person.name for person in scene.faceblur.people.persons] == ["Person 01", "Person 02"]
    bpy.ops.faceblur.apply_people()
    assert see(scene, 10, tmp_path)[ANNA] and see(scene, 30, tmp_path)[CLARA]


def test_a_track_assigned_to_two_people_is_blurred(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    settings = scene.faceblur.people
    choose(scene, BEN, person_list.KEEP)
    document = load_document(get_mask(scene.sequence_editor.strips["three"]))
    person_list.add_face(
        settings, settings.faces[0].fingerprint, document.tracks[1], find_own("Person 01").uid, person_list.EDITOR
    )
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, False, False]


def test_names_are_unique_and_stay(scene: Any) -> None:
    bpy.ops.faceblur.recognise_faces()
    persons = scene.faceblur.people.persons
    persons[0].name = "Anna"
    persons[1].name = "Anna"
    persons[2].name = " "
    assert [person.name for person in persons] == ["Anna", "Anna 02", "Person 01"]
    # A named person keeps the name.
    bpy.ops.faceblur.recognise_faces()
    assert list_faces_of("Anna") == [("Face 01", "split")] and list_faces_of("Anna 02") == [("Face 02", "split")]


def test_people_are_recognised_from_pictures(scene: Any, worker: FakeWorker, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    (folder / "Ben").mkdir(parents=True)
    for name in ("Ben/1.png", "Ben/2.png", "Clara.png", "nobody.png"):
        (folder / name).touch()
    with pytest.raises(RuntimeError, match="no face was found"):
        bpy.ops.faceblur.add_people(directory=str(folder))
    persons = scene.faceblur.people.persons
    assert [(p.name, p.chosen, len(memory.get_references(p))) for p in persons] == [
        ("Ben", True, 2),
        ("Clara", True, 1),
    ]
    assert len(worker.requests[0].pictures) == 4
    bpy.ops.faceblur.recognise_faces()
    assert list_faces_of("Ben") == [("Face 02", "machine")] and list_faces_of("Clara") == [("Face 03", "machine")]
    scene.faceblur.people.mode = person_list.KEEP
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, True]


def test_only_chosen_pictures_become_people(scene: Any, tmp_path: Path) -> None:
    for name in ("Anna.png", "Ben 2.png"):
        (tmp_path / name).touch()
    bpy.ops.faceblur.add_people(directory=str(tmp_path), files=[{"name": "Anna.png"}])
    assert [person.name for person in scene.faceblur.people.persons] == ["Anna"]
    with pytest.raises(RuntimeError, match="is not a picture"):
        bpy.ops.faceblur.add_people(directory=str(tmp_path), files=[{"name": "film.mp4"}])


def test_undo_removes_a_reference(scene: Any, tmp_path: Path) -> None:
    (tmp_path / "Ben.png").touch()
    bpy.ops.faceblur.recognise_faces()
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.faceblur.add_people(directory=str(tmp_path))
    bpy.ops.ed.undo_push(message="Add People")
    assert len(memory.get_references(find_own("Ben"))) == 1
    bpy.ops.ed.undo()
    persons = get_scene().faceblur.people.persons
    assert all(not memory.get_references(person) for person in persons)
    get_scene().faceblur.people.mode = person_list.KEEP
    with pytest.raises(RuntimeError, match="Tick the people who"):
        bpy.ops.faceblur.apply_people()


def test_a_person_is_added_from_a_face_in_the_current_frame(scene: Any, worker: FakeWorker, tmp_path: Path) -> None:
    strip = scene.sequence_editor.strips["three"]
    mask = get_mask(strip)
    mask.layers.active = mask.layers["Face 03"]
    scene.frame_set(12)
    bpy.ops.faceblur.add_person_here(person="NEW")
    assert list_faces_of("Person 01") == [("Face 03", "editor")] and find_own("Person 01").chosen
    assert len(memory.get_references(find_own("Person 01"))) == 1
    bpy.ops.faceblur.recognise_faces()
    scene.faceblur.people.mode = person_list.KEEP
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, False, True]
    worker.quality = {ANNA: 0.05}
    mask.layers.active = mask.layers["Face 01"]
    with pytest.raises(RuntimeError, match="too small, blurred or turned away"):
        bpy.ops.faceblur.add_person_here(person="NEW")


def test_people_are_the_same_over_several_sources(scene: Any, tmp_path: Path) -> None:
    other = write_film(tmp_path / "other.mp4", grey=60)
    add_strip(scene, other, "other", 5).mute = False
    scene.sequence_editor.strips["three"].mute = False
    bpy.ops.faceblur.recognise_faces()
    assert [len(list_faces_of(f"Person 0{n}")) for n in (1, 2, 3)] == [2, 2, 2]
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    kept = [
        [get_kept_person(track) for track in load_document(get_mask(scene.sequence_editor.strips[name])).uncovered]
        for name in ("three", "other")
    ]
    # An editor assigned him in one source, and he is recognised in the other.
    assert kept == [["Person 02"], ["Person 02"]]


def test_no_embedding_is_saved_with_the_project(scene: Any, tmp_path: Path) -> None:
    (tmp_path / "Clara.png").touch()
    bpy.ops.faceblur.recognise_faces()
    bpy.ops.faceblur.add_people(directory=str(tmp_path))
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    vectors = [crop.embedding.vector for crops in memory.MEMORY.crops.values() for crop in crops]
    vectors += list(memory.MEMORY.references.values())
    assert len(vectors) == 31
    path = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=False)
    content = path.read_bytes()
    assert b"Person 02" in content and b"Clara.png" not in content
    for vector in vectors:
        for kind in (np.float32, np.float64):
            for at in range(0, 128, 8):
                assert vector[at : at + 4].astype(kind).tobytes() not in content
        assert str(round(float(vector[5]), 5)).encode() not in content
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert not memory.MEMORY.crops and not memory.MEMORY.references
    scene = get_scene()
    assert [person.name for person in scene.faceblur.people.persons] == ["Clara", "Person 01", "Person 02"]
    # The decisions still apply. New decisions need another recognition, and Clara's picture.
    assert see(scene, 20, tmp_path) == [False, True, True]
    with pytest.raises(RuntimeError, match="not saved in the project"):
        bpy.ops.faceblur.apply_people()
    bpy.ops.faceblur.recognise_faces()
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, False]


@pytest.mark.parametrize("cover", [True, False])
def test_everything_is_forgotten(cover: bool, scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    bpy.ops.faceblur.forget_people(cover=cover)
    assert not memory.MEMORY.crops and not memory.MEMORY.tracks and not memory.MEMORY.references
    assert not memory.MEMORY.reasons
    assert not scene.faceblur.people.persons and not scene.faceblur.people.faces
    assert see(scene, 20, tmp_path) == [False, not cover, False]


def test_files_that_cannot_be_deleted_are_reported_and_the_rest_is_forgotten(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: object) -> int:
        raise FaceBlurError("the folder still holds what faces look like")

    bpy.ops.faceblur.recognise_faces()
    monkeypatch.setattr(forgetting, "forget_embeddings", fail)
    monkeypatch.setattr(preferences, "forget_embeddings", fail)
    with pytest.raises(RuntimeError, match="still holds"):
        bpy.ops.faceblur.forget_people(cover=False)
    assert not memory.MEMORY.crops and not scene.faceblur.people.faces
    preferences._on_keeping_changed(SimpleNamespace(keep_looks=False), None)
    assert JOB.problems == ["the folder still holds what faces look like"]


def test_a_changed_track_must_be_recognised_again(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    mask = get_mask(scene.sequence_editor.strips["three"])

    def move(document: TrackDocument) -> list[str]:
        track = editing.get_track(document, "Face 02")
        track.samples = [
            s if s.source_frame < 30 else Sample(s.source_frame, Ellipse(160, 150, 20, 20), s.evidence, 1)
            for s in track.samples
        ]
        return ["Face 02"]

    change_tracks(mask, move)
    with pytest.raises(RuntimeError, match="'Face 02' has changed since"):
        bpy.ops.faceblur.apply_people()
    assert not load_document(mask).uncovered


def test_a_new_analysis_covers_everyone_again(scene: Any, film: Path, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    strip = scene.sequence_editor.strips["three"]
    document = load_document(get_mask(strip))
    document.tracks, document.uncovered = [*document.tracks, *document.uncovered], []
    for track in document.tracks:
        track.cover()
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    assert see(scene, 20, tmp_path) == [False, False, False]
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, False]


def test_a_renamed_face_keeps_its_person(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    get_mask(scene.sequence_editor.strips["three"]).layers["Face 02"].name = "The man"
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, False]
    assert list_faces_of("Person 02") == [("The man", "ticked")]


def test_a_layer_drawn_by_hand_stays_covered(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    mask = get_mask(scene.sequence_editor.strips["three"])
    mask.layers["Face 02"].splines.new()
    mask.update_tag()
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, False, False]
    assert not load_document(mask).uncovered


def test_without_weights_everyone_stays_covered(scene: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> Path:
        raise FaceBlurError(f"{name} is missing: in a checkout run `build.py models`.")

    monkeypatch.setattr(embedding, "get_model_path", missing)
    memory.MEMORY.weights = None
    assert "build.py models" in embedding.explain_missing_weights()
    for operator in (bpy.ops.faceblur.recognise_faces, bpy.ops.faceblur.add_people, bpy.ops.faceblur.add_person_here):
        with pytest.raises(RuntimeError, match=r"all faces stay blurred.*build\.py models"):
            operator()
    assert see(scene, 20, tmp_path) == [False, False, False]
    # The weights are found as soon as they exist.
    monkeypatch.setattr(embedding, "get_model_path", Path)
    assert bpy.ops.faceblur.recognise_faces() == {"FINISHED"} and not embedding.explain_missing_weights()


def test_a_cancelled_or_failed_recognition_changes_nothing(
    scene: Any, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = embedding.embed_faces(embedding.list_jobs(scene), (), 24.0, 0.0)
    next(job)
    job.close()
    broken = ErrorMessage("three.mp4 is broken")
    monkeypatch.setattr(client, "run_job", lambda request, wait_s, worker: (message for message in [broken]))
    with pytest.raises(RuntimeError, match=r"three\.mp4 is broken"):
        bpy.ops.faceblur.recognise_faces()
    assert not memory.MEMORY.crops and not scene.faceblur.people.persons


def test_a_mode_without_ticks_leaves_no_person_visible(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    for mode in (person_list.KEEP, person_list.ONLY):
        scene.faceblur.people.mode = mode
        with pytest.raises(RuntimeError, match="Tick the people who"):
            bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, False, False]


def test_invalid_saved_people_do_no_harm(scene: Any, tmp_path: Path) -> None:
    settings = scene.faceblur.people
    bpy.ops.faceblur.recognise_faces()
    for uid, references in ((1, "a,b,,c"), (1, "../x"), (-5, "")):
        person = settings.persons.add()
        person.uid, person.references = uid, references
    face = settings.faces.add()
    face.fingerprint, face.frame, face.x, face.person, face.by = "none", -9, float("nan"), 77, "whoever"
    face = settings.faces.add()
    face.fingerprint, face.frame, face.x = settings.faces[0].fingerprint, 1 << 30, 1e30
    settings.active_person = settings.active_face = 900
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.recognise_faces()
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, False]
    settings.active_face = 900
    assert not bpy.ops.faceblur.this_is.poll()


def test_an_active_person_has_an_active_face(scene: Any) -> None:
    bpy.ops.faceblur.recognise_faces()
    person_list.show_person(scene.faceblur.people, find_own("Person 03").uid)
    assert bpy.ops.faceblur.not_this_person.poll() and bpy.ops.faceblur.this_is(
        person=str(find_own("Person 01").uid)
    ) == {"FINISHED"}
    assert list_faces_of("Person 01") == [("Face 01", "machine"), ("Face 03", "editor")]


def test_assigning_faces_of_several_people_is_one_undo_step(scene: Any) -> None:
    bpy.ops.faceblur.recognise_faces()
    pick(scene, BEN, CLARA)
    bpy.ops.ed.undo_push(message="before")
    anna = find_own("Person 01").uid
    assert bpy.ops.faceblur.this_is("EXEC_DEFAULT", True, person=str(anna)) == {"FINISHED"}
    assert sorted(list_faces_of("Person 01")) == [("Face 01", "machine"), ("Face 02", "editor"), ("Face 03", "editor")]
    assert not any(face.picked for face in scene.faceblur.people.faces)
    bpy.ops.ed.undo()
    assert [list_faces_of(f"Person 0{n}") for n in (1, 2, 3)] == [[(f"Face 0{n}", "machine")] for n in (1, 2, 3)]


def test_faces_without_a_person_can_be_picked_together(scene: Any, worker: FakeWorker, tmp_path: Path) -> None:
    """Faces that are not seen well enough have no person until an editor assigns them."""
    worker.quality = {ANNA: 0.2, CLARA: 0.05}
    bpy.ops.faceblur.recognise_faces()
    assert [person.name for person in scene.faceblur.people.persons] == ["Person 01"]
    bpy.ops.faceblur.recognise_faces()
    settings = scene.faceblur.people
    assert sorted(face.track for face in settings.faces) == ["Face 01", "Face 02", "Face 03"], "each is listed once"
    settings.show_unlisted = True
    bpy.ops.faceblur.pick_faces()
    assert [face.track for face in settings.faces if face.picked] == ["Face 01", "Face 03"]
    bpy.ops.faceblur.this_is(person=str(find_own("Person 01").uid))
    assert sorted(list_faces_of("Person 01")) == [("Face 01", "editor"), ("Face 02", "machine"), ("Face 03", "editor")]
    assert people_cache.count_unlisted(scene) == 0
    person_list.show_person(settings, find_own("Person 01").uid)
    assert not settings.show_unlisted
    people_files.write_file(scene, tmp_path / "a.json")
    assert len(read_decisions(tmp_path / "a.json").tracks) == 3


def test_people_have_different_colours(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    colors = [tuple(person.color) for person in scene.faceblur.people.persons]
    assert (
        min(
            max(abs(a - b) for a, b in zip(one, other, strict=True))
            for one in colors
            for other in colors
            if one is not other
        )
        > 0.3
    )
    assert people_cache.get_outline_colors(scene) == {}
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    scene.faceblur.people.color_by_person = True
    mask = get_mask(scene.sequence_editor.strips["three"])
    theirs = people_cache.get_outline_colors(scene)[mask.name]
    assert [theirs[f"Face 0{n}"][:3] for n in (1, 2, 3)] == colors
    overlay_cache.refresh_overview(mask)
    region = SimpleNamespace(
        width=320, height=180, view2d=SimpleNamespace(region_to_view=lambda x, y: (x - 160, y - 90))
    )
    drawn = outlines.compose(bpy.context, scene, region, 0)
    assert {color[:3] for _, color in (*drawn.thin, *drawn.thick)} == set(colors), "including the visible person's"


def test_a_sheet_shows_the_clearest_faces_of_all_strips(scene: Any, tmp_path: Path) -> None:
    other = write_film(tmp_path / "other.mp4", grey=60)
    add_strip(scene, other, "other", 5).mute = False
    scene.sequence_editor.strips["three"].mute = False
    bpy.ops.faceblur.recognise_faces()
    ben = find_own("Person 02").uid
    sheet = contact_sheet.get_sheet(scene, ben)
    faces = scene.faceblur.people.faces
    assert len(sheet) > 2 and len({p.fingerprint for p in sheet}) == 2
    assert all(faces[p.face].person == ben and abs(p.ellipse.cx - PLACES[BEN]) < 1 for p in sheet)
    assert contact_sheet.get_sheet(scene, ben) is sheet, "chosen again only after a change"
    strip = scene.sequence_editor.strips["other"]
    own = [p for p in sheet if p.mask == get_mask(strip).name]
    thumbnails.start(scene, strip, [(p.frame, p.ellipse) for p in own])
    assert all(thumbnails.get_picture(p.fingerprint, p.frame, p.ellipse) for p in own)
    assert bpy.ops.faceblur.go_to_person_face(number=own[1].face, source_frame=own[1].frame) == {"FINISHED"}
    assert (scene.sequence_editor.active_strip.name, scene.frame_current) == ("other", own[1].frame + 1)
    pick(scene, BEN)
    bpy.ops.faceblur.this_is(person=str(find_own("Person 01").uid))
    assert contact_sheet.get_sheet(scene, ben) == []
    thumbnails.forget()


def test_a_people_file_is_saved_and_loaded(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    find_own("Person 02").name = "Ben"
    choose(scene, BEN, person_list.KEEP)
    pick(scene, CLARA)
    bpy.ops.faceblur.this_is(person="NEW")
    bpy.ops.faceblur.apply_people()
    assert bpy.ops.faceblur.save_people(filepath=str(tmp_path / "who")) == {"FINISHED"}
    decisions = read_decisions(tmp_path / "who.json")
    assert not decisions.others_clear
    assert {t.track: (t.person, t.by, t.clear) for t in decisions.tracks} == {
        "Face 01": ("Person 01", MACHINE, ()),
        "Face 02": ("Ben", EDITOR, ((0, disks.FRAMES),)),
        "Face 03": ("Person 02", EDITOR, ()),
    }
    assert decisions.modes == {"Person 01": Mode.BLUR, "Ben": Mode.KEEP, "Person 02": Mode.BLUR}
    # The command reads it as well, and only an editor's assignment counts there.
    document = load_document(get_mask(scene.sequence_editor.strips["three"]))
    assert Decisions(tracks=decisions.tracks).list_assigned(document) == {"Face 03": "Person 02"}

    bpy.ops.faceblur.forget_people(cover=True)
    assert see(scene, 20, tmp_path) == [False, False, False]
    assert bpy.ops.faceblur.load_people(filepath=str(tmp_path / "who.json")) == {"FINISHED"}
    assert scene.faceblur.people.mode == person_list.KEEP
    assert {p.name: p.chosen for p in scene.faceblur.people.persons} == {
        "Person 01": False,
        "Ben": True,
        "Person 02": False,
    }
    assert list_faces_of("Ben") == [("Face 02", "editor")] and list_faces_of("Person 01") == [("Face 01", "machine")]
    assert see(scene, 20, tmp_path) == [False, False, False], "covered until the people are applied"
    bpy.ops.faceblur.recognise_faces()
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, False]


def test_a_people_file_confirms_no_face_that_it_does_not_assign(scene: Any, tmp_path: Path) -> None:
    """A tick in the file does not confirm this project's face of the person, and a suggestion stays a suggestion."""
    bpy.ops.faceblur.recognise_faces()
    fingerprint = scene.faceblur.people.faces[0].fingerprint
    write_decisions(
        Decisions(
            False,
            "",
            {"Person 01": Mode.KEEP, "Somebody": Mode.KEEP, "Zoe": Mode.KEEP},
            [
                Assignment(fingerprint, "three.mp4", "x", 3, PLACES[BEN], Y, "Somebody", MACHINE),
                Assignment(fingerprint, "three.mp4", "x", 3, 300.0, 20.0, "Nowhere", EDITOR),
                Assignment("cd" * 32, "other.mp4", "x", 3, PLACES[ANNA], Y, "Elsewhere", EDITOR),
            ],
        ),
        tmp_path / "a.json",
    )
    assert people_files.read_file(scene, tmp_path / "a.json") == (1, ["Zoe"])
    assert [p.name for p in scene.faceblur.people.persons] == ["Person 01", "Person 03", "Somebody"]
    assert list_faces_of("Person 01") == [("Face 01", "machine")]
    assert list_faces_of("Somebody") == [("Face 02", "machine")]
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, False, False]
    (tmp_path / "b.json").write_text(json.dumps({"schema": "faceblur-people"}))
    with pytest.raises(RuntimeError, match=r"b\.json is not a people file"):
        bpy.ops.faceblur.load_people(filepath=str(tmp_path / "b.json"))
    with pytest.raises(RuntimeError, match="Enter a file name"):
        bpy.ops.faceblur.load_people(filepath="")


def test_of_two_assignments_in_a_file_the_blurred_person_counts(scene: Any, tmp_path: Path) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    settings = scene.faceblur.people
    document = load_document(get_mask(scene.sequence_editor.strips["three"]))
    person_list.add_face(
        settings, settings.faces[0].fingerprint, document.tracks[1], find_own("Person 01").uid, person_list.EDITOR
    )
    settings.faces.move(len(settings.faces) - 1, 0)
    people_files.write_file(scene, tmp_path / "a.json")
    assert read_decisions(tmp_path / "a.json").list_assigned(document)["Face 02"] == "Person 01"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which embeddings are stored if the preferences say so."""
    for module in (memory, forgetting):
        monkeypatch.setattr(module, "get_stored_embeddings_folder", lambda: tmp_path / "own" / "faces")
    return tmp_path / "own" / "faces"


def test_embeddings_are_stored_only_if_the_editor_asks_for_it(
    scene: Any,
    worker: FakeWorker,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    bpy.ops.faceblur.recognise_faces()
    assert not folder.exists()
    monkeypatch.setattr(memory, "get_preferences", lambda: SimpleNamespace(keep_looks=True))
    bpy.ops.faceblur.recognise_faces()
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    choose(scene, BEN, person_list.KEEP)
    path = tmp_path / "saved.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=False)
    numbers = json.loads(file.read_text())["looks"][0][6]
    assert str(numbers[5]).encode() not in path.read_bytes()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    requested = len(worker.requests)
    scene = get_scene()
    # The opened project has the embeddings without another recognition.
    assert not memory.MEMORY.crops and memory.has_embeddings(scene)
    bpy.ops.faceblur.apply_people()
    assert see(scene, 20, tmp_path) == [False, True, False] and len(worker.requests) == requested
    bpy.ops.faceblur.forget_people(cover=False)
    assert not folder.exists() and not memory.has_embeddings(scene)


def test_invalid_stored_embeddings_are_ignored(scene: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "get_preferences", lambda: SimpleNamespace(keep_looks=True))
    bpy.ops.faceblur.recognise_faces()
    (file,) = folder.iterdir()
    fingerprint, model, text = file.name.removesuffix(ENDING), memory.name_model(), file.read_text()
    document, stored = read_embeddings(folder, fingerprint, model) or pytest.fail("the file cannot be read")
    assert [track.name for track in document.tracks] == ["Face 01", "Face 02", "Face 03"]
    assert all(isinstance(one, FaceEmbedding) and one.vector.shape == (128,) for _, one in stored) and len(stored) == 30
    assert read_embeddings(folder, fingerprint, "another") is None and read_embeddings(folder, "../x", model) is None
    content = json.loads(text)
    for key, value in (
        ("schema", "x"),
        ("version", 2),
        ("tracks", "{}"),
        ("looks", 5),
        ("looks", [[0] * 7]),
        ("looks", [[0, 0, 0, 0, 0, 1, [1e99] * 128]]),
    ):
        file.write_text(json.dumps(content | {key: value}))
        assert read_embeddings(folder, fingerprint, model) is None, key
    forgetting.forget()
    assert not memory.has_embeddings(scene)


def test_the_command_decides_by_pictures_and_by_a_people_file(scene: Any, tmp_path: Path) -> None:
    """It also records its decisions in the file."""
    mask = get_mask(scene.sequence_editor.strips["three"])
    fingerprint = load_document(mask).source.fingerprint
    ben = Person("Ben", Mode.KEEP, [np.array(make_vector(BEN, 7), np.float32)])
    decisions = Decisions(
        False,
        "",
        {"Ben": Mode.KEEP, "Clara": Mode.KEEP},
        [Assignment(fingerprint, "three.mp4", "x", 3, PLACES[CLARA], Y, "Clara", EDITOR)],
    )
    recognition = Recognition(People([ben, Person("Clara", Mode.KEEP)]), decisions, tmp_path / "people.json", "")
    reported: list[str] = []
    applied = people_decisions.apply_known(
        scene, ["three"], recognition, lambda stage, done, total: reported.append(stage)
    )
    assert applied.people == {"Ben", "Clara"} and "recognise" in reported
    assert see(scene, 20, tmp_path) == [False, True, True]
    assert [(t.track, t.person, t.by) for t in decisions.tracks] == [
        ("x", "Clara", EDITOR),
        ("Face 01", "", MACHINE),
        ("Face 02", "Ben", MACHINE),
    ]


def test_a_person_who_stays_visible_is_not_listed_as_ignored(scene: Any) -> None:
    bpy.ops.faceblur.recognise_faces()
    choose(scene, BEN, person_list.KEEP)
    bpy.ops.faceblur.apply_people()
    mask = get_mask(scene.sequence_editor.strips["three"])
    overlay_cache.refresh_overview(mask)
    overview = overlay_cache.get_cached(mask).overview
    assert overview is not None and [track_overview.name for track_overview in overview.uncovered] == ["Face 02"]
    assert not correct.FACEBLUR_PT_left_out.poll(bpy.context)
