# SPDX-License-Identifier: GPL-3.0-or-later
"""A cut clip of which one part is retimed: the cover stays on the face through all further edits, or all is covered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.common import speeds
from blender_faceblur.blender.common.speeds import compute_mask_timing
from blender_faceblur.blender.cover.strips import get_mask, sync_mask_strips
from blender_faceblur.blender.guard.checks import check_scene
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings

from . import disks
from .test_cover_transforms import check_covered

Edit = Callable[[Any, str], None]
EFFECT = EffectSettings("solid", disks.COVER)


def _find(scene: Any, name: str) -> Any:
    return scene.sequence_editor.strips_all[name]


def _get_pair(scene: Any, name: str) -> tuple[Any, Any]:
    strip = _find(scene, name)
    return strip, strip.modifiers[0].input_mask_strip


def _split(scene: Any, name: str, frame: int) -> str:
    """Cut a pair; returns the name of the footage's right half."""
    before = {strip.name for strip in scene.sequence_editor.strips_all}
    disks.operate(scene, bpy.ops.sequencer.split, *_get_pair(scene, name), frame=frame, type="SOFT", side="RIGHT")
    return next(str(s.name) for s in scene.sequence_editor.strips_all if s.type == "MOVIE" and s.name not in before)


def _retime(scene: Any, name: str, speed: float) -> None:
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, _find(scene, name), speed=speed)


def cut(film: Path, first: int, last: int = 0) -> tuple[Any, str]:
    """A scene with the pair cut at one or two frames, without the parts before and after; and the remaining footage."""
    scene = build_project(film, disks.build_document(film), EFFECT)
    left, _ = disks.get_cover(scene)
    name = left.name
    right = _split(scene, name, first)
    others = [*_get_pair(scene, name)]
    if last:
        others += _get_pair(scene, _split(scene, right, last))
    for other in [strip.name for strip in others]:
        scene.sequence_editor.strips.remove(_find(scene, other))
    return scene, right


def check_frames(scene: Any, name: str, folder: Path, scale: float = 2) -> None:
    """What the strip shows is covered, at five frames from its first to its last.

    The cover's centre is at most 5 pixels off: as far as the disk moves in a source frame.
    """
    strip = _find(scene, name)
    start, stop = strip.frame_final_start, strip.frame_final_end
    check_covered(scene, sorted({start + round((stop - 1 - start) * part / 4) for part in range(5)}), folder, scale)
    assert check_scene(scene) == [], "the guard finds nothing"


def move(scene: Any, name: str) -> None:
    for strip in _get_pair(scene, name):
        strip.frame_start += 30


def move_footage_alone(scene: Any, name: str) -> None:
    _find(scene, name).frame_start += 17


def trim(scene: Any, name: str) -> None:
    strip, _ = _get_pair(scene, name)
    strip.frame_offset_start += 5
    strip.frame_offset_end += 4


def copy_and_delete_original(scene: Any, name: str) -> None:
    pair = _get_pair(scene, name)
    disks.operate(scene, bpy.ops.sequencer.duplicate, *pair)
    copies = [strip for strip in scene.sequence_editor.strips if strip not in pair]
    assert len(copies) == 2
    for strip in sorted(copies, key=lambda s: -s.channel):
        strip.channel += 4
        strip.frame_start += 60
    copied = next(strip.name for strip in copies if strip.type == "MOVIE")
    for other in [strip.name for strip in pair]:
        scene.sequence_editor.strips.remove(_find(scene, other))
    _find(scene, copied).name = name


def scale(scene: Any, name: str) -> None:
    strip = _find(scene, name)
    strip.transform.scale_x = strip.transform.scale_y = 0.6


def retime_again(scene: Any, name: str) -> None:
    _retime(scene, name, 80)


def retime_both_again(scene: Any, name: str) -> None:
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, *_get_pair(scene, name), speed=80)


def retime_the_mask_alone(scene: Any, name: str) -> None:
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, _get_pair(scene, name)[1], speed=120)


def cut_again(scene: Any, name: str) -> None:
    strip = _find(scene, name)
    _split(scene, name, (strip.frame_final_start + strip.frame_final_end) // 2)


def put_in_a_meta_strip(scene: Any, name: str) -> None:
    disks.operate(scene, bpy.ops.sequencer.meta_make, *_get_pair(scene, name))


def save_and_open(scene: Any, name: str) -> None:
    path = str(Path(bpy.app.tempdir) / "project.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)


EDITS: list[Edit] = [
    move, move_footage_alone, trim, copy_and_delete_original, scale, retime_again, retime_both_again,
    retime_the_mask_alone, cut_again, put_in_a_meta_strip, save_and_open,
]  # fmt: skip


@pytest.mark.parametrize("speed", [25, 50, 77, 150, 200])
@pytest.mark.parametrize("last", [0, 31])
def test_slow_and_fast_motion_in_a_cut_clip(
    speed: float, last: int, film: Path, tmp_path: Path, extension: None
) -> None:
    scene, name = cut(film, 11, last)
    _retime(scene, name, speed)
    assert len(_find(scene, name).retiming_keys) > 2, "Blender keeps a segment in the hidden part"
    if last and speed > 100 and bpy.app.version < (5, 2):
        # Blender 5.0 moves the key and leaves the strip's end, so that two speeds are in sight.
        strip = _find(scene, name)
        sight = disks.see(disks.render_frame(scene, strip.frame_final_start + 3, tmp_path / "whole.png"))
        assert sight.all_covered and get_mask(strip) is None
        return
    check_frames(scene, name, tmp_path)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_the_cover_stays_through_later_edits(edit: Edit, film: Path, tmp_path: Path, extension: None) -> None:
    scene, name = cut(film, 11)
    _retime(scene, name, 50)
    disks.render_frame(scene, 20, tmp_path / "first.png")
    assert get_mask(_find(scene, name)) is not None
    edit(scene, name)
    check_frames(bpy.context.scene, name, tmp_path)


def test_every_frame_at_half_speed(film: Path, tmp_path: Path, extension: None) -> None:
    scene, name = cut(film, 11)
    _retime(scene, name, 50)
    strip = _find(scene, name)
    check_covered(scene, list(range(strip.frame_final_start, strip.frame_final_end)), tmp_path, scale=1.5)


def test_a_part_of_a_slow_part_gets_another_speed(film: Path, tmp_path: Path, extension: None) -> None:
    """Blender 5.0 keeps the hidden part slow, 5.2 sets it to 100 %: that must be measured, not assumed."""
    scene, name = cut(film, 11)
    _retime(scene, name, 50)
    right = _split(scene, name, 31)
    for strip in [strip.name for strip in _get_pair(scene, name)]:
        scene.sequence_editor.strips.remove(_find(scene, strip))
    _retime(scene, right, 80)
    check_frames(scene, right, tmp_path)
    timing = compute_mask_timing(_find(scene, right), disks.FRAMES)
    assert timing is not None and timing.hidden + timing.start <= 30
    disk = place_disk_at(_find(scene, right), scene, tmp_path)
    assert disk == (20 if bpy.app.version < (5, 2) else 30)


def place_disk_at(strip: Any, scene: Any, folder: Path) -> int:
    """The source frame that the strip's first frame shows, from where the disk is in a render."""
    with disks.without_guard():
        strip.modifiers[0].mute = True
        sight = disks.see(disks.render_frame(scene, strip.frame_final_start, folder / "first.png"))
        strip.modifiers[0].mute = False
    return round((sight.disk_centre[0] - disks.place_disk(0)[0]) / 5)


def test_all_strips_are_measured_at_once(
    film: Path, tmp_path: Path, extension: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each strip alone, Blender would evaluate a whole project several times."""
    scene, name = cut(film, 5)
    _retime(scene, name, 50)
    names = [name]
    for speed in (60, 80, 70):
        names.append(_split(scene, names[-1], _find(scene, names[-1]).frame_final_start + 8))
        _retime(scene, names[-1], speed)
        sync_mask_strips(scene)
    disks.operate(scene, bpy.ops.sequencer.meta_make, *_get_pair(scene, names[1]))
    measured: list[int] = []
    measure = speeds._measure_shares

    def count(copy: Any, strips: list[Any]) -> dict[str, tuple[float, ...]]:
        measured.append(len(strips))
        return measure(copy, strips)

    monkeypatch.setattr(speeds, "_measure_shares", count)
    assert sync_mask_strips(scene) == []
    several = [each for each in names if len(_find(scene, each).retiming_keys) > 2]
    assert names[1] in several and len(measured) == 2 and sum(measured) == len(several) > 2
    for each in names:
        check_frames(scene, each, tmp_path)


def test_two_speeds_in_sight_are_covered_completely(film: Path, tmp_path: Path, extension: None) -> None:
    scene, name = cut(film, 11)
    _retime(scene, name, 50)
    strip = _find(scene, name)
    strip.frame_offset_start = 4
    sight = disks.see(disks.render_frame(scene, 8, tmp_path / "whole.png"))
    assert sight.all_covered
    assert [fault.text[:30] for fault in check_scene(scene)] == ["Its mask cannot have its speed"]
    assert [s.type for s in scene.sequence_editor.strips_all] == ["MOVIE"], "no Mask strip is left behind"


def test_a_reversed_strip_with_a_hidden_speed_is_covered_completely(
    film: Path, tmp_path: Path, extension: None
) -> None:
    scene, name = cut(film, 11)
    _retime(scene, name, 50)
    _find(scene, name).use_reverse_frames = True
    assert disks.see(disks.render_frame(scene, 20, tmp_path / "whole.png")).all_covered
