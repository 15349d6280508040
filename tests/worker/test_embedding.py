# SPDX-License-Identifier: GPL-3.0-or-later
"""Face embeddings: the choice of frames, and the real recogniser during and after an analysis."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from blender_faceblur.batch.people import PeopleOptions, collect_embeddings, open_recognition
from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.people.decisions import get_kept_person
from blender_faceblur.core.people.similarity import FaceEmbedding
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track
from blender_faceblur.worker.client import build_embed_request, run_job
from blender_faceblur.worker.embedding import EMBEDDING, choose_crops, compute_detail
from blender_faceblur.worker.protocol import EmbeddingsDone, ErrorMessage, SourceRef, TrackEmbedding

from .faces import analyse, write_face


def make_track(name: str, frames: range, best: int = -1, x: float = 100.0) -> Track:
    return Track(
        name, [Sample(f, Ellipse(x, 100, 20, 25), Evidence.DETECTED, 0.99 if f == best else 0.6) for f in frames]
    )


def test_the_best_frame_of_each_moment_is_embedded() -> None:
    crops = list(choose_crops([make_track("a", range(250), best=64)], 25.0))
    assert crops == sorted(crops) and 64 in crops
    # A person who is visible for seven frames gets an embedding.
    assert all(4 <= other - one <= 6 for one, other in itertools.pairwise(crops[:-1]))
    assert crops[0] <= 1 and crops[-1] >= 248


@pytest.mark.parametrize("count", range(1, 60))
def test_even_the_shortest_track_is_embedded(count: int) -> None:
    for rate in (5.0, 25.0, 60.0, 120.0):
        crops = list(choose_crops([make_track("a", range(count))], rate))
        step = max(1, min(round(0.2 * rate), count // EMBEDDING.least_crops))
        edges = [-step, *crops, count + step // 4]
        assert crops and all(0 < other - one <= step + step // 4 for one, other in itertools.pairwise(edges))


def test_short_tracks_are_embedded_more_often() -> None:
    assert len(choose_crops([make_track("a", range(12))], 25.0)) >= EMBEDDING.least_crops
    crops = choose_crops([make_track("a", range(12)), make_track("b", range(3, 250), x=300)], 25.0)
    assert {name for tracks in crops.values() for name, _ in tracks} == {"a", "b"}


def test_both_sides_of_a_gap_are_embedded() -> None:
    track = make_track("a", range(100))
    track.samples = [s for s in track.samples if not 40 <= s.source_frame < 98]
    assert any(f >= 98 for f in choose_crops([track], 25.0))


def test_blur_reduces_detail() -> None:
    import cv2

    sharp = np.random.default_rng(0).integers(0, 255, (150, 150, 3)).astype(np.uint8)
    assert compute_detail(sharp) > 2 * compute_detail(np.asarray(cv2.GaussianBlur(sharp, (0, 0), 8), np.uint8))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a face."""
    return write_face(tmp_path_factory.mktemp("film") / "face.mp4", 50, 25, lambda n: (0, 0.006 * n - 0.15))


@pytest.fixture(scope="module")
def embedded(film: Path) -> tuple[Path, list[FaceEmbedding]]:
    """The tracks document, and the embeddings of its analysis."""
    tracks, messages = analyse(film)
    assert any(isinstance(m, EmbeddingsDone) for m in messages)
    embeddings = collect_embeddings(m for m in messages if isinstance(m, TrackEmbedding))
    (track,) = read_document(tracks).tracks
    return tracks, embeddings[track.name]


def test_faces_are_embedded_during_the_analysis(embedded: tuple[Path, list[FaceEmbedding]]) -> None:
    _, embeddings = embedded
    assert len(embeddings) >= 4
    assert max(float(np.linalg.norm(a.vector - b.vector)) for a in embeddings for b in embeddings) < 0.35
    assert min(embedding.quality for embedding in embeddings) > 0.35


def test_a_later_embedding_shows_the_same_person(film: Path, embedded: tuple[Path, list[FaceEmbedding]]) -> None:
    tracks, before = embedded
    messages = list(
        run_job(build_embed_request(SourceRef.of(film, fingerprint=read_document(tracks).source.fingerprint), tracks))
    )
    assert isinstance(messages[-1], EmbeddingsDone), messages[-1]
    (embeddings,) = collect_embeddings(m for m in messages if isinstance(m, TrackEmbedding)).values()
    assert len(embeddings) >= 4
    assert max(float(np.linalg.norm(a.vector - b.vector)) for a in embeddings for b in before) < 0.4


def test_another_film_is_rejected(film: Path, embedded: tuple[Path, list[FaceEmbedding]]) -> None:
    *_, last = run_job(build_embed_request(SourceRef.of(film, fingerprint="0" * 64), embedded[0]))
    assert isinstance(last, ErrorMessage) and "changed" in last.text


def test_a_person_from_a_reference_picture_stays_visible(
    film: Path, embedded: tuple[Path, list[FaceEmbedding]], tmp_path: Path
) -> None:
    """From a folder of references to the document; references without a face are reported and not used."""
    import cv2

    from blender_faceblur.sources import open_source

    people = tmp_path / "people"
    people.mkdir()
    with open_source(film) as source:
        cv2.imwrite(str(people / "Eileen.png"), next(iter(source.read_frames(10, 11)))[1])
    cv2.imwrite(str(people / "Wall.png"), np.full((200, 200, 3), 128, np.uint8))
    messages: list[str] = []
    recognition = open_recognition(
        PeopleOptions(people, False, tmp_path / "people.json"), lambda *_: None, messages.append
    )
    assert any("Wall" in text for text in messages)
    document = read_document(embedded[0])
    recognition.decide(film, embedded[0], document, lambda *_: None, messages.append)
    assert [get_kept_person(track) for track in read_document(embedded[0]).uncovered] == [
        "Eileen"
    ] and not document.tracks
    recognition.save()
    assert "Eileen" in (tmp_path / "people.json").read_text() and len((tmp_path / "people.json").read_text()) < 2000


def test_references_that_cannot_be_decoded_are_reported_and_not_used(film: Path, tmp_path: Path) -> None:
    """A picture that claims to be huge, a folder with a picture's name, and a pipe."""
    import cv2

    from blender_faceblur.sources import open_source
    from tests.core.test_huge_pictures import make_bmp, make_png

    with open_source(film) as source:
        cv2.imwrite(str(tmp_path / "Eileen.png"), next(iter(source.read_frames(10, 11)))[1])
    (tmp_path / "Ann.png").write_bytes(make_png(60_000, 60_000))
    (tmp_path / "Bob.bmp").write_bytes(make_bmp(60_000, 60_000))
    (tmp_path / "Cid").mkdir()
    (tmp_path / "Cid" / "folder.png").mkdir()
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "Dan.png")
    messages: list[str] = []
    recognition = open_recognition(PeopleOptions(tmp_path, False, None), lambda *_: None, messages.append)
    assert [person.name for person in recognition.people.persons if person.references] == ["Eileen"]
    for name in ("Ann.png", "Bob.bmp"):
        assert any(text.startswith(f"{name}: the picture is too large") for text in messages), name
    assert any("folder.png" in text for text in messages)
    assert any("Dan.png: this is a pipe" in text for text in messages) == (sys.platform != "win32")
