# SPDX-License-Identifier: GPL-3.0-or-later
"""A stored analysis is reused only for its own source and settings, and never if it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.files import storage
from blender_faceblur.worker.client import AnalysisOptions, build_request, run_job
from blender_faceblur.worker.protocol import ErrorMessage, Message, Progress, Result

from .. import films


def analyse(film: Path, folder: Path, preset: str = "fast", margin: float = 1.4) -> tuple[list[Message], str]:
    output = film.with_name("tracks.json")
    messages = list(run_job(build_request(film, output, AnalysisOptions(preset, margin, storage=folder))))
    assert isinstance(messages[-1], Result), messages
    return messages, output.read_text(encoding="utf-8")


def was_analysed(messages: list[Message]) -> bool:
    return any(isinstance(message, Progress) for message in messages)


def test_a_second_analysis_reuses_the_stored_one(tmp_path: Path) -> None:
    film = films.write_film(tmp_path / "a.mp4", range(12))
    folder = tmp_path / "kept" / "analyses"
    first, text = analyse(film, folder)
    second, again = analyse(film, folder)
    assert was_analysed(first) and not was_analysed(second)
    assert text == again


@pytest.mark.parametrize("change", ["expansion", "preset", "content", "damage", "forgotten"])
def test_any_change_requires_a_new_analysis(change: str, tmp_path: Path) -> None:
    film = films.write_film(tmp_path / "a.mp4", range(12))
    folder = tmp_path / "analyses"
    analyse(film, folder)
    if change == "content":
        films.write_film(film, range(20, 32))
    elif change == "damage":
        for path in folder.glob("*.json"):
            path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    elif change == "forgotten":
        assert storage.forget_all(folder) == 1
    messages, _ = analyse(
        film, folder, "balanced" if change == "preset" else "fast", 1.5 if change == "expansion" else 1.4
    )
    assert was_analysed(messages)
    assert read_document(tmp_path / "tracks.json").margin == (1.5 if change == "expansion" else 1.4)


def test_an_unwritable_storage_does_not_fail_the_analysis(tmp_path: Path) -> None:
    film = films.write_film(tmp_path / "a.mp4", range(12))
    (tmp_path / "analyses").write_text("a file where the folder should be")
    messages, _ = analyse(film, tmp_path / "analyses")
    assert not any(isinstance(message, ErrorMessage) for message in messages)


def test_the_oldest_analyses_are_deleted_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setattr(storage, "MOST_BYTES", 25)
    tracks = tmp_path / "tracks.json"
    tracks.write_text("x" * 10)
    names = [storage.name_stored(tmp_path / "kept", [number]) for number in range(3)]
    for age, path in enumerate(names):
        storage.store(path, tracks)
        os.utime(path, (age, age)) if path.exists() else None
    storage.store(storage.name_stored(tmp_path / "kept", ["new"]), tracks)
    assert [path.exists() for path in names] == [False, False, True]
    assert storage.forget_all(tmp_path / "kept") == 2
