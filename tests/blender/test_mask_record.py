# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a mask: it loads as it was saved, and a damaged one raises an error and renders its strip black."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.common.marks import MARK
from blender_faceblur.blender.cover import handlers as alignment
from blender_faceblur.blender.guard import checks as guard
from blender_faceblur.blender.guard import handlers
from blender_faceblur.blender.masks.faces import MaskFace, describe_origin
from blender_faceblur.blender.masks.record import (
    DamagedRecordError,
    LayerRecord,
    MaskRecord,
    compute_stamp,
    get_fingerprint,
    get_picture_size,
    has_record,
)
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError

from . import disks

LAYER = LayerRecord(
    layer="Face 01",
    track="Ann",
    spans=[(2, 5), (8, 12)],
    frames=[2, 4, 8, 11],
    shapes=np.array([[10.0 * number, 20.0, 3.0, 4.0, 0.1 * number] for number in range(4)]),
    evidence={Evidence.DETECTED: 5, Evidence.LOCKED: 2},
    clearest=4,
    size=7.5,
    locked=[4, 9],
)


@pytest.fixture
def mask() -> Iterator[Any]:
    made = bpy.data.masks.new("test")
    record = MaskRecord(
        (320, 180),
        320.0,
        "f" * 64,
        "fast",
        ["A note."],
        [(0, 20), (30, 40)],
        (1, 41),
        ["Picture", "Face 01"],
        ["Picture", "Face 01", "Mine"],
        3,
        "abc",
        "ends 1-2 3,4,5,6",
    )
    record.layers["Face 01"] = LAYER
    record.save(made)
    yield made
    bpy.data.masks.remove(made)


def test_a_record_loads_as_it_was_saved(mask: Any) -> None:
    record = MaskRecord.load(mask)
    assert (record.size, record.unit_px, record.fingerprint, record.preset, record.notes) == (
        (320, 180),
        320.0,
        "f" * 64,
        "fast",
        ["A note."],
    )
    assert (record.analysed, record.frames, record.own, record.order) == (
        [(0, 20), (30, 40)],
        (1, 41),
        ["Picture", "Face 01"],
        ["Picture", "Face 01", "Mine"],
    )
    assert (record.to_review, record.serial, record.reviewing) == (3, "abc", "ends 1-2 3,4,5,6")
    assert (get_fingerprint(mask), get_picture_size(mask)) == (record.fingerprint, record.size)
    layer = record.layers["Face 01"]
    for name in ("layer", "track", "spans", "frames", "clearest", "size", "locked", "freehand"):
        assert getattr(layer, name) == getattr(LAYER, name), name
    assert (layer.shapes == LAYER.shapes).all()
    assert layer.evidence == dict.fromkeys(Evidence, 0) | LAYER.evidence


def test_ellipses_are_interpolated_between_keys_and_only_in_spans(mask: Any) -> None:
    record = MaskRecord.load(mask)
    found = {frame: record.compute_ellipse("Face 01", frame) for frame in range(14)}
    assert [frame for frame, ellipse in found.items() if ellipse is not None] == [2, 3, 4, 8, 9, 10, 11]
    assert found[2] == Ellipse(0.0, 20.0, 3.0, 4.0, 0.0) and found[3] == Ellipse(5.0, 20.0, 3.0, 4.0, 0.05)
    assert record.compute_ellipse("nobody", 3) is None
    layer = record.layers["Face 01"]
    assert [layer.shape_at(frame)[0] for frame in (0, 6, 20)] == [0.0, 15.0, 30.0], (
        "constant before the first and after the last key, linear between keys"
    )


def test_layers_can_be_renamed_changed_and_removed(mask: Any) -> None:
    record = MaskRecord.load(mask)
    assert record.sync_order(["Picture", "Ann", "Mine"]) == []
    assert record.own == ["Picture", "Ann"] and record.order == ["Picture", "Ann", "Mine"]
    assert list(record.layers) == ["Ann"] and record.layers["Ann"].layer == "Ann"
    assert list(MaskRecord.load(mask).layers) == ["Face 01"], "nothing is stored yet"
    record.layers["Ann"] = replace(record.layers["Ann"], freehand=True)
    record.save(mask)
    stored = MaskRecord.load(mask)
    assert stored.layers["Ann"].freehand and stored.layers.track_of("Ann") == "Ann"
    assert "Face 01" not in stored.layers and len(stored.layers) == 1
    stored.forget_layers(["Ann"])
    with pytest.raises(KeyError):
        stored.forget_layers(["Ann"])
    stored.save(mask)
    assert list(MaskRecord.load(mask).layers) == [] and MaskRecord.load(mask).own == ["Picture"]


def test_saving_writes_only_what_changed(mask: Any) -> None:
    """Handlers may write to the record in the meantime."""
    record, stamp = MaskRecord.load(mask), compute_stamp(mask)
    mask[MARK]["serial"], mask[MARK]["newer"] = "later", 1
    record.notes = []
    record.save(mask)
    assert mask[MARK]["serial"] == "later" and mask[MARK]["newer"] == 1
    assert MaskRecord.load(mask).notes == [] and compute_stamp(mask) == stamp


def test_fields_that_older_files_lack_have_defaults(mask: Any) -> None:
    for key in ("preset", "notes", "analysed", "frames", "doubts", "serial", "looked_at"):
        del mask[MARK][key]
    for key in ("track", "clearest", "size", "locked"):
        del mask[MARK]["faces"]["Face 01"][key]
    record = MaskRecord.load(mask)
    layer = record.layers["Face 01"]
    assert (record.notes, record.analysed, record.frames, record.reviewing) == ([], [], None, "")
    assert (layer.track, layer.clearest, layer.size, layer.locked) == ("Face 01", 2, 0.0, [])


def _set(key: str, value: object) -> Callable[[Any], None]:
    return lambda mask: mask[MARK].__setitem__(key, value)


def _set_in_layer(key: str, value: object) -> Callable[[Any], None]:
    return lambda mask: mask[MARK]["faces"]["Face 01"].__setitem__(key, value)


DAMAGE: dict[str, Callable[[Any], None]] = {
    "no record": lambda mask: mask.__setitem__(MARK, "x"),
    "no list of layers": lambda mask: mask[MARK].__delitem__("layers"),
    "no fingerprint": lambda mask: mask[MARK].__delitem__("fingerprint"),
    "fingerprint a number": _set("fingerprint", 3),
    "size a word": _set("size", "x"),
    "size of three": _set("size", [1, 2, 3]),
    "size negative": _set("size", [-1, 20]),
    "size with fractions": _set("size", [1.5, 20.0]),
    "unit a word": _set("unit_px", "x"),
    "unit zero": _set("unit_px", 0.0),
    "unit endless": _set("unit_px", float("inf")),
    "analysed odd": _set("analysed", [1, 2, 3]),
    "notes numbers": _set("notes", [1, 2]),
    "frames one": _set("frames", [1]),
    "order a number": _set("order", 7),
    "faces a word": _set("faces", "x"),
    "no faces": lambda mask: mask[MARK].__delitem__("faces"),
    "layer a word": lambda mask: mask[MARK]["faces"].__setitem__("Face 01", "x"),
    "no keys": lambda mask: mask[MARK]["faces"]["Face 01"].__delitem__("keys"),
    "keys cut off": _set_in_layer("keys", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "keys no numbers": _set_in_layer("keys", [0.0, float("nan"), 2.0, 3.0, 4.0, 5.0]),
    "keys out of order": _set_in_layer("keys", [5.0, 1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
    "spans odd": _set_in_layer("spans", [1, 2, 3]),
    "spans words": _set_in_layer("spans", ["a", "b"]),
    "evidence a word": _set_in_layer("evidence", "x"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_record_raises_an_error(damage: Callable[[Any], None], mask: Any) -> None:
    damage(mask)
    assert has_record(mask), "the mask is still recognised as ours"
    with pytest.raises(DamagedRecordError, match="the mask's record is wrong"):
        MaskRecord.load(mask).layers["Face 01"]
    assert not issubclass(DamagedRecordError, FaceBlurError), "code that handles FaceBlurError would ignore it"


@pytest.fixture(scope="module")
def damaged_project(film: Path) -> Iterator[tuple[Any, Any]]:
    scene = build_project(film, disks.build_document(film), EffectSettings("solid", disks.COVER))
    alignment.register_handlers()
    handlers.register_handlers()
    yield scene, disks.get_cover(scene)
    handlers.unregister_handlers()
    alignment.unregister_handlers()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_record_renders_its_strip_black(
    damage: Callable[[Any], None], damaged_project: tuple[Any, Any], tmp_path: Path
) -> None:
    scene, (strip, modifier) = damaged_project
    mask = modifier.input_mask_strip.mask
    before = mask[MARK].to_dict()
    damage(mask)
    faults = guard.check_scene(scene)
    assert [fault.shows for fault in faults if "damaged" in fault.text] == [True]
    picture = disks.render_frame(scene, 20, tmp_path / "seen.png")
    mask[MARK] = before
    assert picture[..., :2].max() <= 2 and strip.color_multiply == 1.0
    assert guard.check_scene(scene) == []


def test_the_shares_of_a_faces_origin_do_not_grow_when_it_is_switched_off_for_a_while() -> None:
    shown = MaskFace("Face 01", [(0, 3)], {Evidence.DETECTED: 6, Evidence.FLOW: 2})
    assert describe_origin(shown) == "75 % detected, 25 % tracked"
