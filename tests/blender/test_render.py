# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's own render: every frame of a film, muted modifiers, outdated caches, and unchanged projects."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.blender import child
from blender_faceblur.blender.cover.compositing import compute_mask_unit_px
from blender_faceblur.blender.rendering.messages import PREFIX
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.blender.rendering.render import RenderSettings, render_film
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.types import FaceBlurError, TrackDocument

from . import disks
from .writing import write_mask

EFFECT = EffectSettings("solid", disks.COVER)
SIZE = (disks.WIDTH, disks.HEIGHT)


def _spans(document: TrackDocument) -> list[tuple[int, int]]:
    return [span for track in document.tracks for span in track.list_spans()]


def _read(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def _render(scene: Any, document: TrackDocument, output: Path) -> list[NDArray[np.uint8]]:
    render_film(scene, RenderSettings(output), _spans(document), lambda done: None)
    return _read(output)


def test_every_frame_with_a_face_is_covered_and_all_others_are_unchanged(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film, frames=range(6, 14))
    document.tracks[0].samples += disks.build_document(film, frames=range(16, 31)).tracks[0].samples
    pictures = _render(build_project(film, document, EFFECT), document, tmp_path / "out.mkv")
    assert len(pictures) == disks.FRAMES
    covered = [number for number, picture in enumerate(pictures) if disks.see(picture).cover > 100]
    assert covered == [*range(6, 14), *range(16, 31)]
    assert all(disks.see(pictures[number]).disk == 0 for number in covered)
    for before, after in zip(_read(film), pictures, strict=True):
        tinted = np.abs(after.astype(int) - before).max(axis=2) > 20
        tinted[:2, -2:] = False  # the corner that Blender 5.0.1 leaves out of every mask
        rows, columns = np.nonzero(tinted)
        outside = np.ones(tinted.shape, bool)
        if len(rows):
            outside[rows.min() - 8 : rows.max() + 8, columns.min() - 8 : columns.max() + 8] = False
            assert np.ptp(rows) < 75 and np.ptp(columns) < 75
        error = (before.astype(float) - after)[outside]
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 40


def test_a_render_leaves_the_project_unchanged(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film, frames=range(6, 14))
    scene = build_project(film, document, EFFECT)
    _render(scene, document, tmp_path / "out.mkv")
    assert not disks.get_cover(scene)[1].mute
    action = scene.animation_data and scene.animation_data.action
    curves = [c for layer in action.layers for s in layer.strips for bag in s.channelbags for c in bag.fcurves]
    assert not curves, "a keyed mute left behind could uncover a face after the strip is moved"


def test_a_render_uses_a_mask_that_changed_after_frames_were_cached(film: Path, tmp_path: Path) -> None:
    wrong = disks.build_document(film)
    for sample in list(wrong.tracks[0].samples):
        wrong.tracks[0].samples[sample.source_frame] = type(sample)(
            sample.source_frame, type(sample.ellipse)(20, 160, 10, 10), sample.evidence, sample.confidence
        )
    scene = build_project(film, wrong, EFFECT)
    assert disks.see(_render(scene, wrong, tmp_path / "wrong.mkv")[10]).disk > 1000
    right = disks.build_document(film)
    mask = disks.get_cover(scene)[1].input_mask_strip.mask
    write_mask(right, compute_mask_unit_px(SIZE, SIZE), mask)
    assert all(disks.see(picture).disk == 0 for picture in _render(scene, right, tmp_path / "right.mkv"))


def _write_job(folder: Path, film: Path, document: TrackDocument, **changes: Any) -> Path:
    write_document(document, folder / "tracks.json")
    job = {
        "source": str(film),
        "tracks": str(folder / "tracks.json"),
        "effect": {"kind": "solid", "color": disks.COVER, "samples_across": 6},
        "render": None,
        "save_blend": None,
    }
    path = folder / "job.json"
    path.write_text(json.dumps({**job, **changes}), encoding="utf-8")
    return path


def _messages(out: str) -> list[dict[str, Any]]:
    return [json.loads(line[len(PREFIX) :]) for line in out.splitlines() if line.startswith(PREFIX)]


def test_a_job_saves_renders_and_reports_progress(
    film: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    blend, output = tmp_path / "a film's project.blend", tmp_path / "film.mkv"
    job = _write_job(
        tmp_path,
        film,
        disks.build_document(film),
        save_blend=str(blend),
        render={"output": str(output), "codec": "h264", "quality": "high"},
    )
    assert child.main(job) == 0
    messages = _messages(capfd.readouterr().out)
    assert messages[-1]["type"] == "result"
    assert (messages[-1]["frames"], messages[-1]["width"], messages[-1]["height"]) == (disks.FRAMES, *SIZE)
    done = [message["done"] for message in messages if message["type"] == "progress"]
    assert done == sorted(done) and done[-1] == disks.FRAMES
    assert all(disks.see(picture).disk == 0 for picture in _read(output))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert disks.see(disks.render_frame(bpy.context.scene, 22, tmp_path / "opened.png")).disk == 0
    assert sorted(path.name for path in tmp_path.glob("*.blend*")) == [blend.name]


def test_a_job_with_another_picture_size_than_was_analysed_is_refused(
    film: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = disks.build_document(film, (disks.HEIGHT, disks.WIDTH))
    assert child.main(_write_job(tmp_path, film, document)) == 1
    message = _messages(capfd.readouterr().out)[-1]
    assert message["type"] == "error" and "320 x 180" in message["text"]


def test_an_unknown_codec_is_refused(film: Path, tmp_path: Path) -> None:
    document = disks.build_document(film)
    with pytest.raises(FaceBlurError, match="'mp3'"):
        render_film(build_project(film, document, EFFECT), RenderSettings(tmp_path / "x.mkv", "mp3"), [], print)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(25, 2), Fraction(2997, 100)])
def test_the_scene_has_the_frame_rate_of_the_source(rate: Fraction, film: Path) -> None:
    document = disks.build_document(film)
    document.source = type(document.source)(
        **{name: getattr(document.source, name) for name in document.source.__slots__} | {"frame_rate": rate}
    )
    render = build_project(film, document, None).render
    assert render.fps / render.fps_base == pytest.approx(float(rate), rel=1e-6)
