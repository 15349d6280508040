# SPDX-License-Identifier: GPL-3.0-or-later
"""A project that version 0.1.0 saved opens, lists its faces, looks and renders as it did there.

tests/data/v0_1_0/README.md describes it. `expected.json` has the results of `describe` and `render` under 0.1.0.
"""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.blender import registration
from blender_faceblur.blender.bake.orders import plan
from blender_faceblur.blender.cover.covering import read_effect
from blender_faceblur.blender.cover.strips import get_mask
from blender_faceblur.blender.guard import blackout
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.masks import overlay_cache
from blender_faceblur.blender.masks.changes import change_tracks
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.blender.masks.faces import describe_origin, list_faces
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.review import queue as review
from blender_faceblur.core.document import editing
from blender_faceblur.core.document.tracks_file import read_document as read_file
from blender_faceblur.core.types import Ellipse, Evidence, TrackDocument

from . import disks
from .corrected import list_corrected

DATA = Path(__file__).resolve().parents[1] / "data" / "v0_1_0"
RENDERED = (1, 13, 21, 29, 33, 40)
"""Timeline frames, including a locked key, an off range and frames in which a layer was redrawn."""


_RENAMED = {"followed": "tracked", "guessed": "estimated"}
"""Words in the list of faces that 0.1.0 used -> words of today."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Any]:
    for name in ("film.mp4", "project.blend"):
        shutil.copy(DATA / name, tmp_path)
    registration.register()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "project.blend"))
    yield bpy.context.scene
    registration.unregister()


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
    return content


def get_strip(scene: Any) -> Any:
    return next(strip for strip in scene.sequence_editor.strips if strip.type == "MOVIE")


def describe(scene: Any) -> dict[str, Any]:
    """What the extension shows of the project: the list of faces, their covers in every frame, and the review."""
    strip = get_strip(scene)
    mask = get_mask(strip)
    document = load_document(mask)
    overlay_cache.refresh_overview(mask)
    frames, effect = range(-2, document.source.frame_count + 2), read_effect(strip)
    assert effect is not None
    return {
        "effect": [effect.kind, effect.color],
        "faces": {
            face.name: {
                "spans": face.spans,
                "evidence": [face.evidence.get(kind, 0) for kind in Evidence],
                "track": face.track,
                "freehand": face.freehand,
                "clearest": face.clearest,
                "size": face.size,
                "origin": describe_origin(face),
                "off": mask.layers[face.name].hide_render,
            }
            for face in list_faces(mask)
        },
        "covers": {
            face.name: [_to_numbers(MaskRecord.load(mask).compute_ellipse(face.name, frame)) for frame in frames]
            for face in list_faces(mask)
        },
        "outlines": {
            cover.layer: [cover.shape_at(frame).tolist() for frame in frames]
            for cover in overlay_cache.get_cached(mask).covers
        },
        "locked": {cover.layer: cover.locked for cover in overlay_cache.get_cached(mask).covers},
        "tracks": {track.name: track.list_covered_spans() for track in document.tracks},
        "left_out": {track.name: track.list_spans() for track in document.uncovered},
        "review": [
            [place.key, place.frame, place.track, place.covered, place.verdict or ""]
            for place in review.list_entries(strip, mask)
        ],
        "looked_at": getattr(review.get_current(mask), "key", ""),
        "left": review.count_left(scene),
        "corrected": list_corrected(mask),
    }


def _to_numbers(ellipse: Ellipse | None) -> list[float] | None:
    return [ellipse.cx, ellipse.cy, ellipse.rx, ellipse.ry, ellipse.angle] if ellipse is not None else None


def render(scene: Any, folder: Path) -> dict[str, str]:
    """The covered pixels of the frames `RENDERED`, packed."""
    return {
        str(frame): base64.b64encode(
            zlib.compress(np.packbits(_find_covered(scene, frame, folder)).tobytes(), 9)
        ).decode()
        for frame in RENDERED
    }


def _find_covered(scene: Any, frame: int, folder: Path) -> NDArray[np.bool_]:
    picture = disks.render_frame(scene, frame, folder / "seen.png").astype(int)
    return np.asarray((picture[..., 2] > 150) & (picture[..., :2].max(axis=2) < 90))


@pytest.mark.usefixtures("single_items")
def test_the_list_the_covers_and_the_review_are_the_same(scene: Any, expected: dict[str, Any]) -> None:
    described = json.loads(json.dumps(describe(scene)))
    assert described.keys() <= expected.keys()
    for face in expected["faces"].values():
        for old, new in _RENAMED.items():
            face["origin"] = face["origin"].replace(old, new)
    for name, face in expected["faces"].items():
        if sum(face["evidence"]) != sum(stop - start for start, stop in face["spans"]):
            # Of a face that is off for a while, 0.1.0 shows shares above 100 %.
            face["origin"] = described["faces"][name]["origin"]
    for one in (described, expected):
        # This version decides on the order, and on the frame that Review goes to.
        one["review"] = sorted([key, *rest] for key, _, *rest in one["review"])
    for part, content in described.items():
        # Numbers must be equal to the last digit.
        assert content == expected[part], part


def test_the_tracks_file_is_the_same_document(expected: dict[str, Any]) -> None:
    document = read_file(DATA / "tracks.json")
    assert {track.name: [list(span) for span in track.list_covered_spans()] for track in document.tracks} == (
        expected["tracks"]
    )
    assert {track.name: [list(span) for span in track.list_spans()] for track in document.uncovered} == expected[
        "left_out"
    ]


def test_the_render_is_the_same(scene: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    assert guard.check_scene(scene) == [] and blackout.black_out(scene) == []
    for frame in RENDERED:
        covered = _find_covered(scene, frame, tmp_path)
        packed = np.frombuffer(zlib.decompress(base64.b64decode(expected["render"][str(frame)])), np.uint8)
        before = np.unpackbits(packed, count=covered.size).astype(bool).reshape(covered.shape)
        assert before.sum() > 500
        # Blender 5.0.1 does not write the last pixel of a mask's raster, so its value is undefined.
        covered[0, -1] = before[0, -1]
        # Only pixels in soft edges may differ between versions of Blender.
        most = 0 if bpy.app.version[:2] == (5, 0) else 0.01 * before.sum()
        assert (covered != before).sum() <= most, frame


@pytest.mark.usefixtures("single_items")
def test_it_can_be_edited_saved_and_opened_again(scene: Any, expected: dict[str, Any]) -> None:
    before = describe(scene)

    def change(document: TrackDocument) -> list[str]:
        editing.switch(editing.get_track(document, "Grace"), 5, 9, on=False)
        return ["Grace"]

    change_tracks(get_mask(get_strip(scene)), change)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    after = describe(bpy.context.scene)
    assert after["faces"]["Grace"]["spans"] == [(3, 5), (9, 17), (22, 36)]
    assert guard.check_scene(bpy.context.scene) == []
    for name, covers in before["covers"].items():
        off = range(7, 11) if name == "Grace" else ()
        kept = [None if number in off else cover for number, cover in enumerate(covers)]
        if name != "Grace":
            assert after["covers"][name] == kept
            continue
        # Its keys were planned anew: the covers reach up to 2 px beyond a small face, those of 0.1.0 up to 3.
        assert [cover is None for cover in after["covers"][name]] == [cover is None for cover in kept]
        shapes = [[cover for cover in some if cover is not None] for some in (after["covers"][name], kept)]
        assert np.abs(np.array(shapes[0]) - np.array(shapes[1])).max() < 3
    # The stored record must still have the types that 0.1.0 reads, which looks at no others.
    stored = get_mask(get_strip(bpy.context.scene))["faceblur"].to_dict()
    later = {"widest_px"}
    assert {key: type(value) for key, value in stored.items() if key not in later} == {
        key: type(value) for key, value in expected["stored"].items()
    }
    assert {key: type(value) for key, value in stored["faces"]["Grace"].items()} == {
        key: type(value) for key, value in expected["stored"]["faces"]["Grace"].items()
    }


def test_the_old_nodes_can_be_baked(scene: Any) -> None:
    """Newer Blenders add nodes to it when they open it."""
    (order,) = plan([get_strip(scene)])
    assert order.strips == [(scene.name, get_strip(scene).name)]
