# SPDX-License-Identifier: GPL-3.0-or-later
"""Another person who takes a face's place for half a second gets an embedding and is covered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blender_faceblur.batch.people import collect_embeddings
from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.people.decisions import Mode, People, Person, decide_tracks
from blender_faceblur.core.people.similarity import FaceEmbedding
from blender_faceblur.worker.client import build_embed_request, run_job
from blender_faceblur.worker.protocol import Message, SourceRef, TrackEmbedding

from .faces import analyse, write_face

VISIT = range(50, 56)
"""Half a second of another person."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tools.film import STRANGERS

    one, _, other = STRANGERS
    return write_face(
        tmp_path_factory.mktemp("film") / "visit.mp4",
        100,
        12,
        lambda n: (other if n in VISIT else one, 0.002 * n - 0.1),
    )


@pytest.fixture(scope="module")
def analysed(film: Path) -> tuple[Path, list[Message]]:
    return analyse(film)


@pytest.mark.parametrize("later", [False, True], ids=["while it is analysed", "later"])
def test_a_short_appearance_is_detected_and_covered(
    later: bool, film: Path, analysed: tuple[Path, list[Message]]
) -> None:
    tracks, messages = analysed
    document = read_document(tracks)
    if later:
        messages = list(
            run_job(build_embed_request(SourceRef.of(film, fingerprint=document.source.fingerprint), tracks))
        )
    views: dict[str, list[FaceEmbedding]] = collect_embeddings(m for m in messages if isinstance(m, TrackEmbedding))
    own = next(view for looks in views.values() for view in looks if view.source_frame < VISIT.start)
    visits = [v for looks in views.values() for v in looks if v.source_frame in VISIT]
    assert visits and min(float(np.linalg.norm(v.vector - own.vector)) for v in visits) > 0.6
    shown = {
        frame
        for decision in decide_tracks(document, views, People([Person("P", Mode.KEEP, [own.vector])]))
        for start, stop in decision.clear
        for frame in range(start, stop)
    }
    assert len(shown) > 20 and not shown & set(VISIT)
