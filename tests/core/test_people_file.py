# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about people are saved and read as untrusted data, and people are named after folders of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.batch import people as recognising
from blender_faceblur.batch.cli import USAGE, main
from blender_faceblur.batch.people import PeopleOptions, Recognition, list_references, open_recognition
from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.people.decisions import Decision, Mode, get_kept_person
from blender_faceblur.core.people.people_file import EDITOR, Assignment, Decisions, read_decisions, write_decisions
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.worker.protocol import TrackEmbedding

from .test_people import keep, make_document, make_embeddings, make_track

FULL = Decisions(
    True,
    "/people",
    {"Ann": Mode.KEEP, "Bé": Mode.BLUR},
    [Assignment("ab" * 32, "film.mp4", "Face 01", 3, 100.0, 99.5, "Ann", EDITOR, ((0, 5), (7, 9)), "warnings")],
)


def test_a_written_file_reads_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    write_decisions(FULL, path)
    assert read_decisions(path) == FULL
    assert [file.name for file in tmp_path.iterdir()] == ["people.json"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "other"),
        ("version", 2),
        ("others", "perhaps"),
        ("references", 5),
        ("people", [{"name": "", "mode": "keep"}]),
        ("people", [{"name": "A", "mode": "shoot"}]),
        ("people", [{"name": "A", "mode": "keep"}] * 2),
        ("tracks", [[]]),
        ("tracks", [{"at": [0.5, 1, 1]}]),
        ("tracks", {"a": 1}),
        ("others", "x" * 3000),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    write_decisions(FULL, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(FaceBlurError):
        read_decisions(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 5000])
def test_other_text_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text(text)
    with pytest.raises(FaceBlurError):
        read_decisions(tmp_path / "people.json")


def test_an_assignment_finds_its_track_by_place() -> None:
    """This also holds after a new analysis has changed the names of tracks. Other sources never match."""
    document = make_document(make_track("Face 07", 0, 50), make_track("Face 08", 0, 50, 300))
    assert FULL.list_assigned(document) == {"Face 07": "Ann"}
    document.source = make_document().source
    other = Decisions(tracks=[Assignment("cd" * 32, "film.mp4", "Face 07", 3, 100, 100, "Ann", EDITOR)])
    machine = Decisions(tracks=[Assignment("ab" * 32, "film.mp4", "Face 07", 3, 100, 100, "Ann")])
    assert other.list_assigned(document) == machine.list_assigned(document) == {}


def test_a_new_decision_replaces_the_old_one() -> None:
    document = make_document(make_track("Face 01", 0, 50), make_track("Face 02", 0, 50, 300))
    tracks = {track.name: track for track in document.tracks}
    decisions = Decisions(tracks=list(FULL.tracks))
    for person in ("Bo", "Cy"):
        decisions.remember(
            document, tracks, [Decision("Face 01", "Ann", by_editor=True), Decision("Face 02", person, [(0, 50)])]
        )
    assert [(t.track, t.person, t.by) for t in decisions.tracks] == [
        ("Face 01", "Ann", EDITOR),
        ("Face 02", "Cy", "machine"),
    ]


def test_people_are_named_after_folders_and_files(tmp_path: Path) -> None:
    for name in ("Ann.jpg", "Ann 2.JPG", "Ann_3.png", "Bo (1).jpeg", "42.png", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "Cy Young").mkdir()
    for name in ("a.jpg", "b.webp", "c.txt"):
        (tmp_path / "Cy Young" / name).touch()
    found = {name: len(paths) for name, paths in list_references(tmp_path).items()}
    assert found == {"Ann": 3, "Bo": 1, "42": 1, "Cy Young": 2}


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceBlurError, match="no pictures"):
        list_references(tmp_path)
    with pytest.raises(FaceBlurError, match="cannot be read"):
        list_references(tmp_path / "missing")


def nothing(*_: object) -> None:
    pass


def test_a_missing_file_needs_a_folder_of_pictures(tmp_path: Path) -> None:
    with pytest.raises(FaceBlurError, match="--keep or --blur-only"):
        open_recognition(PeopleOptions(None, None, tmp_path / "people.json"), nothing, nothing)


def test_a_file_of_the_other_mode_is_refused(tmp_path: Path) -> None:
    write_decisions(FULL, tmp_path / "people.json")
    with pytest.raises(FaceBlurError, match="--blur-only"):
        open_recognition(PeopleOptions(tmp_path, False, tmp_path / "people.json"), nothing, nothing)


def test_embeddings_of_the_analysis_are_enough(tmp_path: Path) -> None:
    """No process starts, the document is written with the decisions, and the people file holds no embeddings."""
    document = make_document(make_track("Face 01", 0, 250), make_track("Face 02", 0, 250, 300))
    recognition = Recognition(keep(1), Decisions(modes={"P1": Mode.KEEP}), tmp_path / "people.json", "digest")
    recognition.begin()
    for number, name in ((1, "Face 01"), (2, "Face 02")):
        for view in make_embeddings(5, 250, number):
            recognition.take(TrackEmbedding(name, view.source_frame, view.quality, view.vector.tolist()))
    recognition.end()
    recognition.decide(tmp_path / "no film.mp4", tmp_path / "tracks.json", document, nothing, nothing)
    recognition.save()
    written = read_document(tmp_path / "tracks.json")
    assert [t.name for t in written.tracks] == ["Face 02"] and [get_kept_person(t) for t in written.uncovered] == ["P1"]
    assert [(t.track, t.person, t.clear) for t in read_decisions(tmp_path / "people.json").tracks] == [
        ("Face 01", "P1", ((0, 250),)),
        ("Face 02", "", ()),
    ]
    for file in tmp_path.iterdir():
        assert "vector" not in file.read_text()
    recognition.begin()
    with pytest.raises(FaceBlurError):
        recognition.decide(tmp_path / "no film.mp4", tmp_path / "tracks.json", document, nothing, nothing)


def test_the_command_refuses_impossible_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "film.mp4").touch()
    film = str(tmp_path / "film.mp4")
    assert main([film, "--people", str(tmp_path / "people.json")]) == USAGE
    assert main([film, "--keep", str(tmp_path / "nobody")]) == USAGE
    assert "--keep or --blur-only" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([film, "--keep", "a", "--blur-only", "b"])
    with pytest.raises(SystemExit):
        main([film, "--keep", "a", "--mistakes", "7"])


def test_an_editors_assignment_needs_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A people file from Blender may have only assignments. Where everyone else stays visible, the people to be covered
    need pictures."""
    monkeypatch.setattr(recognising, "get_model_path", Path)
    path = tmp_path / "people.json"
    warnings: list[str] = []
    word = Assignment("ab" * 32, "film.mp4", "Face 01", 3, 100.0, 99.5, "Ann", EDITOR)
    modes = {"Ann": Mode.KEEP, "Bo": Mode.BLUR}
    write_decisions(Decisions(False, "", modes, [word]), path)
    recognition = open_recognition(PeopleOptions(None, None, path), nothing, warnings.append)
    document = make_document(make_track("Face 07", 0, 250), make_track("Face 08", 0, 250, 300))
    recognition.end()
    recognition.decide(tmp_path / "no film.mp4", tmp_path / "tracks.json", document, nothing, nothing)
    assert [get_kept_person(t) for t in document.uncovered] == ["Ann"] and [t.name for t in document.tracks] == [
        "Face 08"
    ]
    assert len(warnings) == 1 and "except where you assigned the name" in warnings[0]
    write_decisions(Decisions(True, "", modes, [word]), path)
    with pytest.raises(FaceBlurError, match="Bo cannot be recognised, because no picture of Bo can be used"):
        open_recognition(PeopleOptions(None, None, path), nothing, nothing)
    write_decisions(Decisions(False, "", modes, []), path)
    with pytest.raises(FaceBlurError, match="names no folder"):
        open_recognition(PeopleOptions(None, None, path), nothing, nothing)


def test_halves_of_surrogate_pairs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    write_decisions(FULL, path)
    path.write_text(path.read_text().replace("Ann", "\\ud800"))
    with pytest.raises(FaceBlurError, match="damaged"):
        read_decisions(path)
