# SPDX-License-Identifier: GPL-3.0-or-later
"""A tracks document of 0.1.0 in a project can be read, and is converted when something changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.masks import overlay_cache
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import get_document_text, load_document
from blender_faceblur.blender.masks.mask import PICTURE_LAYER
from blender_faceblur.blender.review import queue as review
from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import VERSION
from blender_faceblur.core.document.tracks_file import read_document as read_file
from blender_faceblur.core.types import TrackDocument, TrackStatus, Verdict
from tests.words_of_0_1_0 import describe_place, describe_status

from .writing import write_mask

FOLDER = Path(__file__).parent.parent / "data" / "v0_1_0" / "states"
pytestmark = pytest.mark.usefixtures("single_items")
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def mask() -> Iterator[Any]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    made = write_mask(read_file(FOLDER / "tracks.json"), 640.0)
    text = get_document_text(made)
    assert text is not None
    text.from_string((FOLDER / "tracks.json").read_text(encoding="utf-8"))
    review._forget_project()
    yield made
    review._forget_project()


def read_version(mask: Any) -> int:
    text = get_document_text(mask)
    assert text is not None
    return int(json.loads(text.as_string())["version"])


def test_an_old_document_shows_what_0_1_0_showed(mask: Any) -> None:
    assert read_version(mask) == 2
    queue = review.read_queue(mask)
    # This version decides on the order.
    assert sorted((p.key, describe_place(p), p.verdict or "") for p in queue.entries) == sorted(
        (p["key"], p["sentence"], p["verdict"]) for p in EXPECTED["places"]
    )
    overlay_cache.refresh_overview(mask)
    overview = overlay_cache.get_cached(mask).overview
    assert overview is not None
    assert [(g.name, describe_status(g)) for g in overview.uncovered] == [
        (name, why) for name, _, _, why, *_ in EXPECTED["uncovered"]
    ]
    assert [layer.name for layer in mask.layers if layer.name != PICTURE_LAYER] == [t[0] for t in EXPECTED["tracks"]]
    assert read_version(mask) == 2, "reading changes nothing"


def test_a_verdict_converts_the_document(mask: Any) -> None:
    place = next(p for p in review.read_queue(mask).entries if not p.verdict)
    review.accept(mask, place)
    assert read_version(mask) == VERSION
    verdicts = {p.key: p.verdict for p in review.read_queue(mask).entries}
    assert verdicts.pop(place.key) is Verdict.CONFIRMED
    assert verdicts == {p["key"]: p["verdict"] or None for p in EXPECTED["places"] if p["key"] != place.key}


def test_a_suppressed_track_can_be_covered(mask: Any) -> None:
    names: list[str] = []

    def change(document: TrackDocument) -> list[str]:
        names.append(editing.bring_back(document, "Face 06").name)
        return names

    change_tracks(mask, change)
    assert read_version(mask) == VERSION and names[0] in mask.layers
    assert editing.get_track(load_document(mask), names[0]).status is TrackStatus.COVERED
