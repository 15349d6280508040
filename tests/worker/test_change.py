# SPDX-License-Identifier: GPL-3.0-or-later
"""A face that is somebody else's for less time than lies between two looks is looked at all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.document import read_document
from blender_faceblur.core.likeness import View
from blender_faceblur.core.people import Mode, People, Person, decide_tracks
from blender_faceblur.recognising import collect_views
from blender_faceblur.worker.change import SIDE, Change
from blender_faceblur.worker.client import build_embed_request, run_job
from blender_faceblur.worker.protocol import FaceView, Message

from .faces import analyse, write_face

VISIT = range(50, 56)
"""Half a second of another person."""


def draw(seed: int) -> NDArray[np.uint8]:
    import cv2

    noise = np.random.default_rng(seed).integers(0, 255, (6, 6)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_another_face_is_a_change_and_light_or_a_small_shift_is_none() -> None:
    one, other = draw(1), draw(2)
    change = Change(24.0)
    darker = (one * 0.5 + 20).astype(np.uint8)
    seen = [one, one, np.roll(one, 2, axis=1), darker, one]
    assert not any(change.see(frame, face) for frame, face in enumerate(seen))
    assert change.see(5, other) and not change.see(6, other)
    assert change.see(9, one), "and back"


def test_a_face_that_changes_slowly_does_not_change() -> None:
    change, one, other = Change(24.0), draw(1).astype(float), draw(2).astype(float)
    assert not any(change.see(n, ((1 - n / 240) * one + n / 240 * other).astype(np.uint8)) for n in range(240))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tools.film import STRANGERS

    one, _, other = STRANGERS
    return write_face(tmp_path_factory.mktemp("film") / "visit.mp4", 100, 12,
                      lambda n: (other if n in VISIT else one, 0.002 * n - 0.1))


@pytest.fixture(scope="module")
def analysed(film: Path) -> tuple[Path, list[Message]]:
    return analyse(film)


@pytest.mark.parametrize("later", [False, True], ids=["while it is analysed", "later"])
def test_a_short_visit_is_seen_and_covered(later: bool, film: Path, analysed: tuple[Path, list[Message]]) -> None:
    tracks, messages = analysed
    document = read_document(tracks)
    if later:
        messages = list(run_job(build_embed_request(film, tracks, document.source.fingerprint)))
    views: dict[str, list[View]] = collect_views(m for m in messages if isinstance(m, FaceView))
    own = next(view for looks in views.values() for view in looks if view.source_frame < VISIT.start)
    visits = [v for looks in views.values() for v in looks if v.source_frame in VISIT]
    assert visits and min(float(np.linalg.norm(v.vector - own.vector)) for v in visits) > 0.6
    shown = {frame for decision in decide_tracks(document, views, People([Person("P", Mode.KEEP, [own.vector])]))
             for start, stop in decision.clear for frame in range(start, stop)}
    assert len(shown) > 20 and not shown & set(VISIT)
