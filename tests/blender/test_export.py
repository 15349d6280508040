# SPDX-License-Identifier: GPL-3.0-or-later
"""Export of covered footage: what the copy of a project shows without the extension, and what cannot be exported."""

from __future__ import annotations

import hashlib
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import bpy
import numpy as np
import pytest

import blender_faceblur
from blender_faceblur.blender.bake.baking import FOLDER, apply, bake
from blender_faceblur.blender.common.context import borrow_selection
from blender_faceblur.blender.common.jobs import run_to_end
from blender_faceblur.blender.common.marks import (
    BAKED,
    MARK,
    get_modifier,
)
from blender_faceblur.blender.correction.edit_masks import open_masks
from blender_faceblur.blender.cover.covering import MUST_BE_COVERED, cover_footage, put_cover
from blender_faceblur.blender.cover.strips import get_mask, sync_mask_strips
from blender_faceblur.blender.export.covered_footage import Exported, export_covered
from blender_faceblur.blender.masks.document import load_document
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
)
from blender_faceblur.delivery.verify import read_sound
from blender_faceblur.files import paths

from . import disks


def _add_sound(film: Path, output: Path) -> Path:
    """Copy a film's packets and add a tone."""
    with av.open(str(film)) as source, av.open(str(output), "w") as target:
        picture = target.add_stream_from_template(source.streams.video[0])
        sound: Any = target.add_stream("aac", rate=48000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                target.mux(packet)
        length = round(48000 * disks.FRAMES / 24)
        tone = (0.3 * np.sin(np.arange(length) * 2 * np.pi * 440 / 48000)).astype(np.float32)
        for start in range(0, length, 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    return output


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    return _add_sound(disks.write_film(folder / "silent.mp4"), folder / "disk.mp4")


@pytest.fixture
def scene(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The covered film with its sound at frame 11, with its first eight frames cut off."""
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.view_settings.view_transform = "Standard"
    scene.frame_start, scene.frame_end = 1, 60
    strips = scene.sequence_editor_create().strips
    strip = strips.new_movie("disk", str(film), 2, 11)
    strip.frame_offset_start = 8
    strips.new_sound("tone", str(film), 1, 11)
    cover_footage(scene, strip, disks.build_document(film), EffectSettings("solid", disks.COVER))
    return scene


def _save(folder: Path) -> Path:
    project = folder / "my film.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(project))
    return project


def _export(folder: Path, **options: Any) -> Exported:
    job = export_covered(folder, **options)
    while True:
        try:
            next(job)
        except StopIteration as end:
            result: Exported = end.value
            return result


def _check_nothing_of_ours_is_left() -> None:
    strips = [strip for scene in bpy.data.scenes if scene.sequence_editor for strip in scene.sequence_editor.strips_all]
    assert not [strip.name for strip in strips if strip.type == "MASK" or MUST_BE_COVERED in strip]
    assert not [strip.name for strip in strips if strip.type == "MOVIE" and len(strip.modifiers)]
    for kind in ("masks", "node_groups", "texts"):
        assert not list(getattr(bpy.data, kind)), kind


def test_the_exported_copy_shows_no_face_and_does_not_need_the_extension(
    scene: Any, film: Path, tmp_path: Path
) -> None:
    project = _save(tmp_path)
    before = project.read_bytes()
    data = hashlib.sha256(film.read_bytes()).digest()
    exported = _export(tmp_path / "out")
    assert exported.notes == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["disk.covered.mp4", "my film.covered.blend"]
    assert project.read_bytes() == before and hashlib.sha256(film.read_bytes()).digest() == data
    assert get_modifier(bpy.context.scene.sequence_editor.strips["disk"]) is not None, "the open project was changed"
    assert read_sound(exported.films[0]) == read_sound(film)

    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    _check_nothing_of_ours_is_left()
    assert not any("disk.mp4" in path for path in bpy.utils.blend_paths(absolute=True))
    scene = bpy.context.scene
    strips = scene.sequence_editor.strips
    assert sorted(strip.name for strip in strips) == ["disk", "tone"]
    assert strips["disk"].filepath == "//disk.covered.mp4" == strips["tone"].sound.filepath
    assert strips["tone"].sound.channels == "MONO"
    assert (strips["disk"].frame_start, strips["disk"].frame_offset_start) == (11, 8)
    for frame in (19, 20, 35, 49, 50):
        sight = disks.see(disks.render_frame(scene, frame, tmp_path / "x.png"))
        assert sight.disk == 0 and sight.cover > 800, frame
        x, y = disks.place_disk(frame - 11)
        assert np.hypot(sight.cover_centre[0] - x, sight.cover_centre[1] - y) < 2, frame


def test_an_editors_changes_are_in_the_film(scene: Any, tmp_path: Path) -> None:
    """The change is a layer drawn by hand over the top left corner, which is in no document."""
    mask = bpy.data.masks[0]
    layer = mask.layers.new(name="mine")
    layer.invert, layer.blend = True, "MUL"
    spline = layer.splines.new()
    spline.use_cyclic = True
    spline.points.add(3)
    for point, place in zip(spline.points, ((0, 0.6), (0.2, 0.6), (0.2, 0.8), (0, 0.8)), strict=True):
        point.co = point.handle_left = point.handle_right = place
    mask.update_tag()
    _save(tmp_path)
    exported = _export(tmp_path / "out")
    with av.open(str(exported.films[0])) as container:
        for number, frame in enumerate(container.decode(video=0)):
            picture = frame.to_ndarray(format="rgb24")
            assert disks.see(picture).disk == 0, number
            assert picture[10, 20, 2] > 150 and picture[10, 20, 0] < 90, number


def test_strips_that_share_a_cover_share_a_film(scene: Any, tmp_path: Path) -> None:
    strips = scene.sequence_editor.strips
    with borrow_selection(scene, strips["disk"], *(strip for strip in strips if strip.type == "MASK")):
        bpy.ops.sequencer.split(frame=30, side="RIGHT", ignore_selection=False)
    halves = [strip.name for strip in strips if strip.type == "MOVIE"]
    assert len(halves) == 2
    # One half goes into a meta strip, where operators cannot reach it.
    second = strips[halves[1]]
    with borrow_selection(scene, second, get_modifier(second).input_mask_strip):
        bpy.ops.sequencer.meta_make()
    _save(tmp_path)
    exported = _export(tmp_path / "out")
    assert [path.name for path in exported.films] == ["disk.covered.mp4"]
    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    _check_nothing_of_ours_is_left()
    for frame in (22, 29, 30, 31, 45):
        sight = disks.see(disks.render_frame(bpy.context.scene, frame, tmp_path / "x.png"))
        assert sight.disk == 0 and sight.cover > 800, frame


def test_a_strip_with_several_speeds_is_exported_with_only_its_faces_covered(scene: Any, tmp_path: Path) -> None:
    """In the project it is covered completely, as a Mask strip cannot follow the speeds. A film needs no Mask strip."""
    strip = scene.sequence_editor.strips["disk"]
    with borrow_selection(scene, strip):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=100)
        bpy.ops.sequencer.retiming_key_add(timeline_frame=30)
    strip.retiming_keys[1].timeline_frame = 45
    assert "covered completely" in sync_mask_strips(scene)[0]
    length = strip.frame_final_duration
    exported = _export(tmp_path / "out")
    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    _check_nothing_of_ours_is_left()
    strip = bpy.context.scene.sequence_editor.strips["disk"]
    assert strip.frame_final_duration == length and len(strip.retiming_keys) > 2
    for frame in range(strip.frame_final_start, strip.frame_final_end, 6):
        sight = disks.see(disks.render_frame(bpy.context.scene, frame, tmp_path / "x.png"))
        assert sight.disk == 0 and 800 < sight.cover < 6000, frame


def test_the_uncovered_footage_of_an_edited_mask_is_not_exported(scene: Any, tmp_path: Path) -> None:
    open_masks(scene, scene.sequence_editor.strips["disk"], None)
    exported = _export(tmp_path / "out")
    assert exported.notes == []
    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    assert [scene.name for scene in bpy.data.scenes if scene.sequence_editor is not None] == ["Edit"]


def test_a_strip_without_a_cover_is_reported(scene: Any, film: Path, tmp_path: Path) -> None:
    scene.sequence_editor.strips.new_movie("bare", str(film), 8, 11)
    _save(tmp_path)
    exported = _export(tmp_path / "out")
    assert len(exported.notes) == 1 and exported.notes[0].startswith("disk.mp4 is still in the copy")


def test_a_picture_is_exported(tmp_path: Path) -> None:
    import cv2

    from blender_faceblur.sources import compute_fingerprint

    picture = np.full((disks.HEIGHT, disks.WIDTH, 3), 90, np.uint8)
    cv2.circle(picture, (60, 60), disks.RADIUS, (235, 235, 235), -1)
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), picture)
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.view_settings.view_transform = "Standard"
    strip = scene.sequence_editor_create().strips.new_image("still", str(path), 2, 1)
    document = disks.build_document(path, frames=range(1))
    document.source = SourceInfo(
        "still.png", "image", disks.WIDTH, disks.HEIGHT, 1, Fraction(24), compute_fingerprint(path)
    )
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    scene.sequence_editor.strips.new_image("bare", str(path), 9, 100)
    exported = _export(tmp_path / "out")
    assert exported.project.name == "Untitled.covered.blend"
    assert len(exported.notes) == 1 and exported.notes[0].startswith("still.png is still in the copy")
    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    assert bpy.context.scene.sequence_editor.strips["bare"].elements[0].filename == "still.png"
    assert bpy.context.scene.sequence_editor.strips["still"].elements[0].filename == "still.covered.png"
    sight = disks.see(disks.render_frame(bpy.context.scene, 1, tmp_path / "x.png"))
    assert sight.disk == 0 and sight.cover > 800


def test_a_picture_sequence_is_exported_as_a_folder(tmp_path: Path) -> None:
    import cv2

    from blender_faceblur.sources.sequence import fingerprint_files

    folder = tmp_path / "shots"
    folder.mkdir()
    y, x = np.mgrid[0 : disks.HEIGHT, 0 : disks.WIDTH] + 0.5
    names = [f"b{number}.png" for number in (7, 3, 12)]
    for number, name in enumerate(names):
        cx, cy = disks.place_disk(10 * number)
        grey = np.where((x - cx) ** 2 + (y - cy) ** 2 < disks.RADIUS**2, 235, 90).astype(np.uint8)
        cv2.imwrite(str(folder / name), np.repeat(grey[..., None], 3, 2))
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.view_settings.view_transform = "Standard"
    strip = scene.sequence_editor_create().strips.new_image("shots", str(folder / names[0]), 2, 5)
    for name in names[1:]:
        strip.elements.append(name)
    source = SourceInfo(
        names[0], "sequence", disks.WIDTH, disks.HEIGHT, 3, Fraction(24), fingerprint_files(folder, names)
    )
    samples = [
        Sample(n, Ellipse(*disks.place_disk(10 * n), disks.RADIUS, disks.RADIUS), Evidence.DETECTED, 1.0)
        for n in range(3)
    ]
    document = TrackDocument(source, "balanced", 1.4, [], [], [Track("Face 01", samples)], [])
    cover_footage(scene, strip, document, EffectSettings("solid", disks.COVER))
    exported = _export(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "shots.covered").iterdir()) == sorted(names)
    with pytest.raises(FaceBlurError, match="already exists"):
        _export(tmp_path / "out")
    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    strip = bpy.context.scene.sequence_editor.strips["shots"]
    assert [element.filename for element in strip.elements] == names
    for number in range(3):
        sight = disks.see(disks.render_frame(bpy.context.scene, 5 + number, tmp_path / "x.png"))
        place = disks.place_disk(10 * number)
        assert sight.disk == 0 and np.hypot(sight.cover_centre[0] - place[0], sight.cover_centre[1] - place[1]) < 2


def test_a_project_that_would_show_a_face_is_not_exported(scene: Any, tmp_path: Path) -> None:
    get_modifier(scene.sequence_editor.strips["disk"]).mute = True
    with pytest.raises(FaceBlurError, match="'disk' would show faces: Its cover is switched off"):
        _export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_project_without_covers_is_not_exported(tmp_path: Path) -> None:
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    with pytest.raises(FaceBlurError, match="no covered strip"):
        _export(tmp_path / "out")


def test_files_are_overwritten_only_on_request(scene: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "disk.covered.mov").write_text("precious")
    with pytest.raises(FaceBlurError, match=r"disk\.covered\.mov already exists"):
        _export(folder)
    assert [path.name for path in folder.iterdir()] == ["disk.covered.mov"]


def test_a_cancelled_export_leaves_nothing_behind(scene: Any, tmp_path: Path) -> None:
    job = export_covered(tmp_path / "out")
    for step in job:
        if step is not None and step.done > 1:
            break
    job.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_film_that_fails_ends_the_export(scene: Any, film: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    shutil.copy(film, copy)
    scene.sequence_editor.strips["disk"].filepath = str(copy)
    job = export_covered(tmp_path / "out")
    next(job)
    with copy.open("ab") as file:
        file.write(b"changed")
    with pytest.raises(FaceBlurError, match=r"copy\.mp4 .*changed"):
        run_to_end(job)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_baked_strip_is_exported_with_its_film(scene: Any, film: Path, tmp_path: Path) -> None:
    _save(tmp_path)
    strips = scene.sequence_editor.strips
    other = strips.new_movie("other", str(film), 6, 70)
    put_cover(
        scene, other, get_mask(strips["disk"]), EffectSettings("solid", "00FF00"), load_document(bpy.data.masks[0])
    )
    apply(run_to_end(bake([strips["disk"]])))
    exported = _export(tmp_path / "out")
    assert exported.notes == []
    assert sorted(path.name for path in exported.films) == ["disk 2.covered.mp4", "disk.covered.mp4"]
    shutil.rmtree(tmp_path / FOLDER)
    bpy.ops.wm.open_mainfile(filepath=str(exported.project))
    _check_nothing_of_ours_is_left()
    assert not [strip.name for strip in bpy.context.scene.sequence_editor.strips if BAKED in strip]
    for frame in (20, 35, 80):
        sight = disks.see(disks.render_frame(bpy.context.scene, frame, tmp_path / "x.png"))
        assert sight.disk == 0, frame
    assert disks.see(disks.render_frame(bpy.context.scene, 35, tmp_path / "x.png")).cover > 800


def test_a_baked_strip_whose_film_was_replaced_is_not_exported(scene: Any, film: Path, tmp_path: Path) -> None:
    _save(tmp_path)
    made = run_to_end(bake([scene.sequence_editor.strips["disk"]]))
    apply(made)
    shutil.copy(film, made.films[0].path)
    with pytest.raises(FaceBlurError, match="'disk' would show faces: Its baked film was changed"):
        _export(tmp_path / "out")


def test_an_effect_that_was_changed_by_hand_is_not_exported(scene: Any, tmp_path: Path) -> None:
    group = get_modifier(scene.sequence_editor.strips["disk"]).node_group
    del group["faceblur_effect"]
    with pytest.raises(FaceBlurError, match="cannot be baked"):
        _export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_operator_works_without_a_window(scene: Any, tmp_path: Path) -> None:
    project = _save(tmp_path)
    blender_faceblur.register()
    try:
        assert bpy.ops.faceblur.export_covered() == {"FINISHED"}
        with pytest.raises(RuntimeError, match="already exists"):
            bpy.ops.faceblur.export_covered()
    finally:
        blender_faceblur.unregister()
    assert (tmp_path / "my film covered" / "my film.covered.blend").is_file()
    assert MARK in bpy.data.masks[0] and Path(bpy.data.filepath) == project
