# SPDX-License-Identifier: GPL-3.0-or-later
"""The masks that the extension writes: what they cover, and when, and what they leave unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_faceblur.blender.common.context import borrow_sequencer
from blender_faceblur.blender.cover.compositing import build_strip_group, compute_mask_unit_px
from blender_faceblur.blender.cover.strips import cover_strip
from blender_faceblur.blender.masks.document import get_document_text
from blender_faceblur.blender.masks.mask import PICTURE_LAYER
from blender_faceblur.blender.masks.record import MaskRecord
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.tracks_file import from_json
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track, TrackDocument

from . import disks
from .writing import write_mask

SIZE = (disks.WIDTH, disks.HEIGHT)
CORNER_PX = 1
"""Blender 5.0.1 leaves the last pixel of a mask's raster empty: the picture's upper right corner is covered."""
EFFECT = EffectSettings("solid", disks.COVER)


def _build(film: Path, document: TrackDocument) -> Any:
    return build_project(film, document, EFFECT)


def _mask_of(scene: Any) -> Any:
    return disks.get_cover(scene)[1].input_mask_strip.mask


def _cover(scene: Any, frame: int, folder: Path) -> int:
    return disks.see(disks.render_frame(scene, frame, folder / "frame.png")).cover


def test_opacity_begins_and_ends_with_the_track(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film, frames=range(10, 20))
    document.tracks[0].samples += disks.build_document(film, frames=range(30, 34)).tracks[0].samples
    scene = _build(film, document)
    covered = [frame - 1 for frame in range(1, 41) if _cover(scene, frame, tmp_path) > CORNER_PX]
    assert covered == [*range(10, 20), *range(30, 34)]


def test_a_film_without_faces_is_shown(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    document.tracks.clear()
    assert _cover(_build(film, document), 5, tmp_path) <= CORNER_PX


def test_faces_that_overlap_leave_no_hole(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    second = [
        Sample(s.source_frame, Ellipse(s.ellipse.cx + 15, s.ellipse.cy, 20, 20), s.evidence, s.confidence)
        for s in document.tracks[0].samples
    ]
    document.tracks.append(Track("Face 02", second))
    picture = disks.render_frame(_build(film, document), 15, tmp_path / "two.png").astype(int)
    cx, cy = disks.place_disk(14)
    between = picture[int(cy) - 15 : int(cy) + 15, int(cx) - 10 : int(cx) + 25]
    assert between[..., 2].min() > 200 and between[..., 0].max() < 60


def test_an_ellipse_is_rotated_by_its_angle(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    samples = [Sample(f, Ellipse(160, 90, 60, 12, 0.5), Evidence.DETECTED, 1.0) for f in range(disks.FRAMES)]
    document.tracks = [Track("Face 01", samples)]
    picture = disks.render_frame(_build(film, document), 3, tmp_path / "turned.png").astype(int)
    rows, columns = np.nonzero(picture[..., 2] - picture[..., 0] > 150)
    slope = np.polyfit(columns, rows, 1)[0]
    # Clockwise on the screen, with y down: it falls to the right.
    assert slope == pytest.approx(np.tan(0.5), abs=0.06)


def _delete_mask_strip(scene: Any) -> None:
    # With the operator, as an editor does: strips.remove() leaves the modifier a dangling pointer (Blender 5.0.1).
    for strip in scene.sequence_editor.strips:
        strip.select = strip.type == "MASK"
    with borrow_sequencer(scene):
        bpy.ops.sequencer.delete()
    assert [strip.type for strip in scene.sequence_editor.strips] == ["MOVIE"]


def _remove_layer(mask: Any, name: str) -> None:
    mask.layers.remove(mask.layers[name])
    # Removing from Python does not notify Blender of the change, and the next frame crashes (5.0.1, 5.2.3).
    mask.update_tag()


def test_the_edge_is_soft_only_outside_the_ellipse(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    document.tracks[0].samples[:] = [
        Sample(f, Ellipse(160, 90, 50, 50), Evidence.DETECTED, 1.0) for f in range(disks.FRAMES)
    ]
    picture = disks.render_frame(_build(film, document), 2, tmp_path / "soft.png").astype(int)
    blue = picture[90, 160:, 2]
    assert blue[:70].min() >= 254, "70 = 1.4 x 50 pixels from the centre are covered completely"
    edge = blue[70:90]
    assert edge[-1] == pytest.approx(90, abs=4) and ((edge > 110) & (edge < 240)).sum() >= 3


BREAKS: dict[str, Callable[[Any, Any], None]] = {
    "mask strip deleted": lambda scene, mask: _delete_mask_strip(scene),
    "no layers left": lambda scene, mask: mask.layers.clear(),
    "picture layer deleted": lambda scene, mask: _remove_layer(mask, PICTURE_LAYER),
    "picture layer hidden in render": lambda scene, mask: setattr(mask.layers[PICTURE_LAYER], "hide_render", True),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_damaged_mask_covers_everything(name: str, film: Path, tmp_path: Path) -> None:
    scene = _build(film, disks.build_document(film))
    BREAKS[name](scene, _mask_of(scene))
    assert disks.see(disks.render_frame(scene, 7, tmp_path / "frame.png")).all_covered


def test_a_mask_strip_that_ends_early_still_covers_later_frames(film: Path, tmp_path: Path) -> None:
    scene = _build(film, disks.build_document(film))
    mask_strip = next(s for s in scene.sequence_editor.strips if s.type == "MASK")
    mask_strip.frame_offset_end = 20
    assert _cover(scene, 35, tmp_path) > 0


def test_deleting_one_face_leaves_the_others_covered(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    far = [Sample(f, Ellipse(40, 150, 15, 15), Evidence.DETECTED, 1.0) for f in range(disks.FRAMES)]
    document.tracks.append(Track("Face 02", far))
    scene = _build(film, document)
    mask = _mask_of(scene)
    _remove_layer(mask, "Face 01")
    sight = disks.see(disks.render_frame(scene, 9, tmp_path / "one.png"))
    assert sight.disk > 900 and sight.cover_centre == pytest.approx((39.5, 149.5), abs=1.5)


def test_rewriting_a_mask_replaces_only_our_layers(film: Path, tmp_path: Path) -> None:
    scene = _build(film, disks.build_document(film))
    mask = _mask_of(scene)
    own = mask.layers.new(name="The editor's")
    own.invert, own.blend = True, "MUL"
    spline = own.splines.new()
    spline.points.add(2)
    for point, place in zip(spline.points, ((0.1, 0.3), (0.2, 0.3), (0.15, 0.4)), strict=True):
        point.co = place
    spline.use_cyclic = True
    footage, modifier = disks.get_cover(scene)
    mask_strip = modifier.input_mask_strip
    document = disks.build_document(film, frames=range(20, 25))
    unit_px = compute_mask_unit_px(SIZE, SIZE)
    assert write_mask(document, unit_px, mask) == mask
    assert [layer.name for layer in mask.layers] == [PICTURE_LAYER, "The editor's", "Face 01"]
    assert MaskRecord.load(mask).own == [PICTURE_LAYER, "Face 01"]
    assert [tuple(round(c, 3) for c in p.co) for p in own.splines[0].points] == [(0.1, 0.3), (0.2, 0.3), (0.15, 0.4)]
    group = build_strip_group("new", SIZE, unit_px, 40, EFFECT)
    assert cover_strip(scene, footage, mask, group) == mask_strip
    assert len(footage.modifiers) == 1 and len(scene.sequence_editor.strips) == 2
    covered = [frame - 1 for frame in range(15, 32) if _cover(scene, frame, tmp_path) > 1500]
    assert covered == list(range(20, 25))


def test_rewriting_a_mask_restores_a_deleted_picture_layer_in_first_place(film: Path, tmp_path: Path) -> None:
    scene = _build(film, disks.build_document(film))
    mask = _mask_of(scene)
    mask.layers.new(name="The editor's")
    _remove_layer(mask, PICTURE_LAYER)
    write_mask(disks.build_document(film), compute_mask_unit_px(SIZE, SIZE), mask)
    assert mask.layers[0].name == PICTURE_LAYER
    sight = disks.see(disks.render_frame(scene, 12, tmp_path / "restored.png"))
    assert sight.disk == 0 and 0 < sight.cover < 4000


def test_the_document_is_saved_in_the_project(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    _build(film, document)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    text = get_document_text(_mask_of(bpy.context.scene))
    assert text is not None
    kept = from_json(text.as_string())
    assert kept.source == document.source and len(kept.tracks[0].samples) == disks.FRAMES


def test_the_mask_strip_is_muted_connected_and_above(film: Path) -> None:
    scene = _build(film, disks.build_document(film))
    footage, modifier = disks.get_cover(scene)
    mask_strip = modifier.input_mask_strip
    assert mask_strip.mute and mask_strip.channel > footage.channel
    assert modifier.mask_time == "ABSOLUTE"
    if hasattr(footage, "connections"):  # Blender 5.2
        assert list(footage.connections) == [mask_strip]
