# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline as an OpenTimelineIO file, read by the package opentimelineio: each track's pictures and their times,
and footage that the file must not refer to."""

from __future__ import annotations

import math
import shutil
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import bpy
import numpy as np
import pytest

from blender_faceblur.batch import cli
from blender_faceblur.blender import command
from blender_faceblur.blender.bake.baking import FOLDER, apply, bake
from blender_faceblur.blender.common.jobs import run_to_end
from blender_faceblur.blender.cover.covering import cover_footage, leave_uncovered
from blender_faceblur.blender.export.timeline import ExportedTimeline, export_timeline
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths

from . import disks

otio = pytest.importorskip("opentimelineio", reason="opentimelineio has no build for this Python")

SOLID = EffectSettings("solid", disks.COVER)
RATE = 24


def _write_film(path: Path, timecode: str = "") -> Path:
    """The film of the moving disk with a tone, and a timecode."""
    silent = disks.write_film(path.with_name(f"{path.stem} silent.mp4"))
    with av.open(str(silent)) as source, av.open(str(path), "w") as target:
        if timecode:
            target.metadata["timecode"] = timecode
        picture = target.add_stream_from_template(source.streams.video[0])
        sound: Any = target.add_stream("aac", rate=48000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                target.mux(packet)
        tone = np.zeros((1, 80000), np.float32)
        for start in range(0, 79872, 1024):
            frame = av.AudioFrame.from_ndarray(tone[:, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    return path


def _make_scene(folder: Path, timecode: str = "") -> Any:
    film = _write_film(folder / "disk.mp4", timecode)
    bpy.ops.wm.read_factory_settings(app_template="Video_Editing")
    scene = bpy.context.workspace.sequencer_scene or bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = disks.WIDTH, disks.HEIGHT
    scene.render.fps, scene.render.fps_base = RATE, 1.0
    scene.view_settings.view_transform = "Standard"
    scene.frame_start, scene.frame_end = 1, 100
    strips = scene.sequence_editor_create().strips
    strip = strips.new_movie("disk", str(film), 2, 1)
    strips.new_sound("tone", str(film), 1, 1)
    cover_footage(scene, strip, disks.build_document(film), SOLID)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "project.blend"))
    return scene


@pytest.fixture
def covered(extension: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A saved project with the covered film and its sound at frame 1, not baked."""
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    (tmp_path / "user").mkdir()
    return _make_scene(tmp_path)


@pytest.fixture
def scene(covered: Any) -> Any:
    _bake(covered)
    return covered


def _bake(scene: Any) -> None:
    movies = [strip for strip in scene.sequence_editor.strips_all if strip.type == "MOVIE"]
    assert apply(run_to_end(bake(movies)))[1] == []


def _get_strip(scene: Any) -> Any:
    return scene.sequence_editor.strips_all["disk"]


def _export(scene: Any, folder: Path) -> tuple[Any, ExportedTimeline]:
    result = export_timeline(scene, folder / "film")
    assert result.path == folder / "film.otio"
    return otio.adapters.read_from_file(str(result.path)), result


def _find_picture(timeline: Any, frame: int, rate: float) -> int | None:
    """The number of the picture that the topmost video track shows at a frame of the timeline."""
    for track in reversed(timeline.video_tracks()):
        clip = track.child_at_time(otio.opentime.RationalTime(frame, rate))
        if isinstance(clip, otio.schema.Clip) and clip.enabled and track.enabled:
            inside = frame - clip.range_in_parent().start_time.rescaled_to(rate).value
            speed = math.prod(effect.time_scalar for effect in clip.effects)
            start = clip.source_range.start_time
            first = clip.available_range().start_time.value
            place: float = start.value + inside * speed * start.rate / rate - first
            return math.floor(place + 1e-6)
    return None


def _cut(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.split, _get_strip(scene), frame=20, side="LEFT")
    right = next(s for s in scene.sequence_editor.strips_all if s.type == "MOVIE" and s.frame_final_start == 20)
    right.frame_start += 9


def _move(scene: Any) -> None:
    _get_strip(scene).frame_start += 7


def _trim(scene: Any) -> None:
    strip = _get_strip(scene)
    strip.frame_offset_start, strip.frame_offset_end = 8, 5


def _reverse(scene: Any) -> None:
    _get_strip(scene).use_reverse_frames = True
    _trim(scene)


def _slow_down(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, _get_strip(scene), speed=50)
    _trim(scene)


def _speed_up(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.retiming_segment_speed_set, _get_strip(scene), speed=200)


def _play_at_another_rate(scene: Any) -> None:
    """Blender then plays one picture of the film in each frame of the scene."""
    scene.render.fps = 30


def _begin_later(scene: Any) -> None:
    scene.frame_start, scene.frame_end = 6, 30


def _put_in_meta(scene: Any) -> None:
    disks.operate(scene, bpy.ops.sequencer.meta_make, _get_strip(scene))
    meta = next(strip for strip in scene.sequence_editor.strips if strip.type == "META")
    meta.frame_start += 4
    meta.frame_offset_start = 3


@pytest.mark.parametrize(
    "edit", [_cut, _move, _trim, _reverse, _slow_down, _speed_up, _play_at_another_rate, _begin_later]
)
def test_the_file_shows_the_pictures_that_a_render_shows(
    edit: Callable[[Any], None], scene: Any, tmp_path: Path
) -> None:
    edit(scene)
    bpy.context.view_layer.update()
    timeline = _export(scene, tmp_path)[0]
    shown = 0
    for frame in range(scene.frame_start, min(scene.frame_end, 60) + 1, 4):
        seen = disks.see(disks.render_frame(scene, frame, tmp_path / "x.png"))
        picture = _find_picture(timeline, frame - scene.frame_start, scene.render.fps)
        assert (picture is not None) == (seen.cover > 800), frame
        if picture is not None:
            # The disk moves by 5 pixels from one picture to the next.
            assert seen.cover_centre[0] == pytest.approx(disks.place_disk(picture)[0], abs=1.5), frame
            shown += 1
    assert shown > 2
    clips = [clip for track in timeline.video_tracks() for clip in track.find_clips()]
    films = [Path(clip.media_reference.target_url) for clip in clips]
    assert all(film.is_file() and film.parent == tmp_path / FOLDER for film in films)
    assert str(tmp_path / "disk") not in (tmp_path / "film.otio").read_text(encoding="utf-8")


def test_a_meta_strip_is_a_nested_stack_with_its_trims(scene: Any, tmp_path: Path) -> None:
    _put_in_meta(scene)
    timeline = _export(scene, tmp_path)[0]
    stacks = timeline.find_children(descended_from_type=otio.schema.Stack)
    assert len(stacks) == 1
    place = stacks[0].range_in_parent()
    # From frame 8 of the scene, which begins at 1, with the film's picture 3.
    assert (place.start_time.value, place.duration.value) == (7, disks.FRAMES - 3)
    clip = stacks[0].find_clips()[0]
    assert clip.source_range.start_time.value == 3
    assert clip.transformed_time_range(clip.trimmed_range(), timeline.tracks).start_time.value == 7
    assert disks.see(disks.render_frame(scene, 8, tmp_path / "x.png")).cover_centre[0] == pytest.approx(
        disks.place_disk(3)[0], abs=1.5
    )


def test_sound_plays_the_baked_film_at_its_times(scene: Any, tmp_path: Path) -> None:
    tone = scene.sequence_editor.strips_all["tone"]
    tone.frame_start, tone.frame_offset_start = 5, 6
    timeline = _export(scene, tmp_path)[0]
    assert [track.kind for track in timeline.tracks] == ["Video", "Audio"]
    (clip,) = timeline.audio_tracks()[0].find_clips()
    place = clip.range_in_parent()
    assert (place.start_time.value, clip.source_range.start_time.value) == (10, 6)
    assert clip.media_reference.target_url == timeline.video_tracks()[0].find_clips()[0].media_reference.target_url


def test_a_sound_file_is_at_its_times(scene: Any, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "music.wav"), "wb") as sound:
        sound.setparams((1, 2, 48000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 48000 * 2))
    strip = scene.sequence_editor.strips.new_sound("music", str(tmp_path / "music.wav"), 6, 11)
    strip.frame_offset_start, strip.frame_offset_end = 12, 6
    strip.volume = 0.5
    timeline, result = _export(scene, tmp_path)
    (clip,) = timeline.audio_tracks()[1].find_clips()
    place = clip.range_in_parent()
    assert (place.start_time.value, place.duration.value) == (22, 30)
    assert (clip.source_range.start_time.value, clip.available_range().duration.value) == (12, 48)
    assert not clip.effects and clip.media_reference.target_url.endswith("/music.wav")
    assert any("Volume" in note and "'music'" in note for note in result.notes)


def test_a_timecode_is_the_beginning_of_the_media(
    extension: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths._INSTALLATION, "user_folder", tmp_path / "user")
    (tmp_path / "user").mkdir()
    scene = _make_scene(tmp_path, "01:00:00:05")
    _bake(scene)
    _trim(scene)
    (clip,) = _export(scene, tmp_path)[0].video_tracks()[0].find_clips()
    assert clip.available_range().start_time.to_timecode() == "01:00:00:05"
    assert clip.source_range.start_time.to_timecode() == "01:00:00:13"


def test_markers_channels_and_muted_strips(scene: Any, tmp_path: Path) -> None:
    scene.timeline_markers.new("Kiss", frame=12)
    scene.timeline_markers.new("after the end", frame=200)
    scene.sequence_editor.channels[2].name = "Interview"
    _get_strip(scene).mute = True
    timeline = _export(scene, tmp_path)[0]
    assert [(m.name, m.marked_range.start_time.value) for m in timeline.tracks.markers] == [("Kiss", 11)]
    track = timeline.video_tracks()[0]
    assert track.name == "Interview" and not track.find_clips()[0].enabled
    assert timeline.name == scene.name and timeline.global_start_time.rate == RATE


def test_pictures_are_numbered_or_left_out(scene: Any, tmp_path: Path) -> None:
    import cv2

    names = [f"shot {number:04d}.png" for number in range(7, 17)]
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.full((90, 160, 3), 90, np.uint8))
    strips = scene.sequence_editor.strips
    sequence = strips.new_image("shot", str(tmp_path / names[0]), 4, 50)
    for name in names[1:]:
        sequence.elements.append(name)
    still = strips.new_image("still", str(tmp_path / names[0]), 5, 50)
    still.frame_final_duration = 30
    odd = strips.new_image("odd", str(tmp_path / names[0]), 6, 50)
    odd.elements.append(names[4])
    for strip in (sequence, still, odd):
        leave_uncovered(strip, True)
    sequence.frame_offset_start = 2
    timeline, result = _export(scene, tmp_path)
    (first,), (second,) = (track.find_clips() for track in timeline.video_tracks()[1:])
    reference = first.media_reference
    assert isinstance(reference, otio.schema.ImageSequenceReference)
    assert (reference.start_frame, reference.number_of_images_in_sequence()) == (7, 10)
    url = reference.target_url_for_image_number(3)
    assert Path(otio.url_utils.filepath_from_url(url)) == tmp_path / names[3]
    assert (first.source_range.start_time.value, first.source_range.duration.value) == (2, 8)
    assert second.source_range.duration.value == 30 and second.media_reference.available_range is None
    assert any("numbered" in note and "'odd'" in note for note in result.notes)
    assert any("on purpose" in note and "'still'" in note for note in result.notes)


def test_what_the_format_does_not_know_is_named(scene: Any, tmp_path: Path) -> None:
    strips = scene.sequence_editor.strips
    strips.new_effect("title", "TEXT", 6, 1, length=20)
    strip = _get_strip(scene)
    strip.transform.scale_x = 0.5
    result = _export(scene, tmp_path)[1]
    assert any("no file" in note and "'title'" in note for note in result.notes)
    assert any("cropping" in note and "'disk'" in note for note in result.notes)
    assert result.clips == 2


def _is_refused(scene: Any, folder: Path, *parts: str) -> bool:
    with pytest.raises(FaceBlurError) as caught:
        export_timeline(scene, folder / "film.otio")
    return all(part in str(caught.value) for part in parts) and not (folder / "film.otio").exists()


def test_footage_that_is_covered_but_not_baked_is_refused(covered: Any, tmp_path: Path) -> None:
    assert _is_refused(covered, tmp_path, "'disk'", "Bake Covers", "'tone'", "disk.mp4")


def test_footage_that_was_never_detected_is_refused_until_it_is_left_uncovered(scene: Any, tmp_path: Path) -> None:
    other = disks.write_film(tmp_path / "other.mp4", (160, 90))
    strip = scene.sequence_editor.strips.new_movie("other", str(other), 7, 1)
    assert _is_refused(scene, tmp_path, "'other'", "never detected")
    leave_uncovered(strip, True)
    timeline, result = _export(scene, tmp_path)
    assert len(timeline.find_clips()) == 3
    assert any("on purpose" in note and "'other'" in note for note in result.notes)


def test_a_muted_strip_that_is_not_baked_is_left_out(scene: Any, tmp_path: Path) -> None:
    other = disks.write_film(tmp_path / "other.mp4", (160, 90))
    scene.sequence_editor.strips.new_movie("other", str(other), 7, 1).mute = True
    result = _export(scene, tmp_path)[1]
    assert "other.mp4" not in result.path.read_text(encoding="utf-8")
    assert any("muted" in note and "'other'" in note for note in result.notes)


def test_a_baked_strip_whose_film_was_replaced_is_refused(scene: Any, tmp_path: Path) -> None:
    film = next((tmp_path / FOLDER).glob("*.mp4"))
    shutil.copy(tmp_path / "disk.mp4", film)
    assert _is_refused(scene, tmp_path, "'disk'")


def test_an_existing_file_is_kept(scene: Any, tmp_path: Path) -> None:
    (tmp_path / "film.otio").write_text("mine", encoding="utf-8")
    with pytest.raises(FaceBlurError, match="already exists"):
        export_timeline(scene, tmp_path / "film.otio")
    assert (tmp_path / "film.otio").read_text(encoding="utf-8") == "mine"
    export_timeline(scene, tmp_path / "film.otio", overwrite=True)
    assert otio.adapters.read_from_file(str(tmp_path / "film.otio")).find_clips()


def test_the_operator_writes_the_file(scene: Any, tmp_path: Path) -> None:
    assert bpy.ops.faceblur.export_timeline(filepath=str(tmp_path / "film.otio")) == {"FINISHED"}
    assert len(otio.adapters.read_from_file(str(tmp_path / "film.otio")).find_clips()) == 2


def test_the_command_writes_the_timeline_of_a_baked_project(
    covered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "check_detectors", lambda _: None)
    monkeypatch.setattr(command, "check_models", lambda _: None)
    arguments = ["--strips", "--timeline", str(tmp_path / "film.otio")]
    assert command.blur_strips(arguments) == cli.USAGE
    assert "--bake" in capsys.readouterr().err and not (tmp_path / "film.otio").exists()
    _bake(covered)
    assert command.blur_strips(arguments) == cli.ALL_WELL
    assert len(otio.adapters.read_from_file(str(tmp_path / "film.otio")).find_clips()) == 2
    assert command.blur_strips(arguments) == cli.SOME_FAILED
    assert command.blur_strips([*arguments, "--overwrite"]) == cli.ALL_WELL
