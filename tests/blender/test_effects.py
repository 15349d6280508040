# SPDX-License-Identifier: GPL-3.0-or-later
"""What remains of a face under each effect, measured on rendered pictures of a real face."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.blender.cover.compositing import compute_mask_unit_px
from blender_faceblur.blender.cover.covering import compute_largest_face_px
from blender_faceblur.blender.masks.mask import PICTURE_LAYER
from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import MOSAIC, EffectSettings, compute_grid
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
)

from . import disks
from .astronaut import write_astronaut
from .writing import write_mask

Picture = NDArray[np.float64]


def _document(size: tuple[int, int], face_px: float) -> TrackDocument:
    source = SourceInfo("astronaut.png", "image", *size, 1, Fraction(24), "0" * 64)
    ellipse = Ellipse(size[0] * 0.43, size[1] * 0.24, face_px / 2, face_px * 0.6)
    samples = [Sample(0, ellipse, Evidence.DETECTED, 1.0)]
    return TrackDocument(source, "balanced", 1.4, [], [], [Track("Face 01", samples)], [])


def _render_whole(path: Path, document: TrackDocument, effect: EffectSettings, folder: Path) -> Picture:
    """The effect over the whole picture, as Blender renders it if the mask shows nothing."""
    scene = build_project(path, document, effect)
    bpy.data.masks[0].layers[PICTURE_LAYER].hide_render = True
    return disks.render_frame(scene, 1, folder / "effect.png").astype(float)


def _mean_blocks(picture: Picture, columns: int, rows: int, spread: float = 0.0) -> Picture:
    """The mean of each cell of a grid, in linear light: rows x columns x 3. Grid lines may cut through pixels.

    `spread` is the standard deviation, in cells, of the Gaussian that blurs the picture first.
    """
    import cv2

    height, width = picture.shape[:2]
    value = picture / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    if spread:
        linear = np.asarray(
            cv2.GaussianBlur(
                linear,
                (0, 0),
                sigmaX=spread * width / columns,
                sigmaY=spread * height / rows,
                borderType=cv2.BORDER_REPLICATE,
            )
        )
    summed = np.zeros((height + 1, width + 1, 3))
    summed[1:, 1:] = linear.cumsum(0).cumsum(1)
    for axis, count, length in ((0, rows, height), (1, columns, width)):
        edges = np.linspace(0, length, count + 1)
        below = np.minimum((edges + 1e-9).astype(int), length - 1)
        share = (edges - below).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        at = summed.take(below, axis) * (1 - share) + summed.take(below + 1, axis) * share
        summed = np.diff(at, axis=axis) / (length / count)
    mean: Picture = np.where(summed <= 0.0031308, summed * 12.92, 1.055 * np.maximum(summed, 1e-9) ** (1 / 2.4) - 0.055)
    return 255 * mean


@pytest.mark.parametrize(
    ("size", "face_px"), [((512, 512), 100), ((640, 360), 77), ((642, 358), 50), ((1280, 720), 333), ((960, 540), 68)]
)
def test_each_mosaic_block_is_the_mean_of_the_blurred_picture(
    size: tuple[int, int], face_px: float, tmp_path: Path
) -> None:
    path = write_astronaut(tmp_path, size)
    document = _document(size, face_px)
    shown = _render_whole(path, document, EffectSettings("mosaic"), tmp_path)
    bare = disks.render_frame(build_project(path, document, None), 1, tmp_path / "bare.png").astype(float)
    columns, rows = compute_grid(size, compute_largest_face_px(document), 6)
    expected = _mean_blocks(bare, columns, rows, MOSAIC.spread)
    across = ((np.arange(columns) + 0.5) * size[0] / columns).astype(int)
    down = ((np.arange(rows) + 0.5) * size[1] / rows).astype(int)
    difference = np.abs(shown[np.ix_(down, across)] - expected)
    assert difference.mean() < 0.6
    # At the picture's edge Blender weights the outside differently.
    inner = difference[2:-2, 2:-2]
    assert np.percentile(inner, 98) <= 2.0, f"{np.percentile(inner, (50, 90, 98, 100))}"
    # A block has one colour, so its middle half is flat.
    block = shown[: size[1] // rows, : size[0] // columns]
    inner = block[len(block) // 4 : -len(block) // 4, len(block[0]) // 4 : -len(block[0]) // 4]
    assert np.ptp(inner, axis=(0, 1)).max() <= 1


def test_a_picture_with_odd_sides_has_no_more_blocks_than_set(tmp_path: Path) -> None:
    # Blender shifts an even grid by half a sample in an odd picture, so blocks are not exactly over what they hide.
    size = (641, 361)
    shown = _render_whole(write_astronaut(tmp_path, size), _document(size, 50), EffectSettings("mosaic"), tmp_path)
    columns, rows = compute_grid(size, 50, 6)
    for lines, most in ((np.diff(shown, axis=1).any(axis=2), columns), (np.diff(shown, axis=0).any(axis=2).T, rows)):
        assert lines.sum(axis=1).max() <= most + 1


def test_blur_is_smooth_and_has_no_detail_finer_than_its_samples(tmp_path: Path) -> None:
    size = (640, 360)
    path = write_astronaut(tmp_path, size)
    document = _document(size, 90)
    shown = _render_whole(path, document, EffectSettings("blur"), tmp_path)
    columns, rows = compute_grid(size, 90, 6)
    assert np.abs(np.diff(shown, axis=1)).max() < 16, "the blur has edges"
    # No detail is finer than the samples: reduced to three times as many and enlarged, the picture is the same.
    import cv2

    coarse = cv2.resize(shown, (columns * 3, rows * 3), interpolation=cv2.INTER_AREA)
    again = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    assert np.abs(again - shown)[4:-4, 4:-4].mean() < 1.0
    mosaic = _render_whole(path, document, EffectSettings("mosaic"), tmp_path)
    means = [_mean_blocks(picture, 1, 1)[0, 0] for picture in (shown, mosaic)]
    assert np.abs(means[0] - means[1]).max() < 0.5


def test_solid_has_the_colour_of_its_settings(tmp_path: Path) -> None:
    size = (320, 240)
    shown = _render_whole(
        write_astronaut(tmp_path, size), _document(size, 40), EffectSettings("solid", "1A80F3"), tmp_path
    )
    # Blender 5.0.1 gets one pixel wrong in every mask's raster.
    assert (np.abs(shown - (0x1A, 0x80, 0xF3)).max(axis=2) > 1).sum() <= 1


def test_erase_uses_only_the_surroundings_of_the_face(tmp_path: Path) -> None:
    import cv2

    size = (640, 360)
    path = write_astronaut(tmp_path, size)
    document = _document(size, 90)
    shown = disks.render_frame(build_project(path, document, EffectSettings("erase")), 1, tmp_path / "a.png")
    face = document.tracks[0].samples[0].ellipse
    y, x = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    away = np.hypot((x - face.cx) / face.rx, (y - face.cy) / face.ry)
    picture = cv2.imread(str(path))
    picture[away < 1.3] = np.random.default_rng(1).integers(0, 255, ((away < 1.3).sum(), 3))
    cv2.imwrite(str(tmp_path / "another.png"), picture)
    another = disks.render_frame(
        build_project(tmp_path / "another.png", document, EffectSettings("erase")), 1, tmp_path / "b.png"
    )
    difference = np.abs(shown.astype(int) - another)
    difference[:2, -2:] = 0  # the corner that Blender 5.0.1 leaves out of every mask
    assert difference.max() <= 1, "the covered pixels influence the result"
    inside = shown[away < 1.2].astype(float)
    assert np.ptp(inside, axis=0).max() < 120 and inside.mean() > 60, "the fill does not look like the surroundings"


def test_an_editors_change_to_an_effect_is_kept(tmp_path: Path) -> None:
    size = (320, 240)
    path = write_astronaut(tmp_path, size)
    build_project(path, _document(size, 40), EffectSettings("solid"))
    from blender_faceblur.blender.cover.compositing import build_strip_group

    tree = bpy.data.node_groups["Face Blur Solid"]
    tree.nodes.new("CompositorNodeBlur").name = "Mine"
    build_strip_group("another", size, compute_mask_unit_px(size, size), 40, EffectSettings("solid"))
    assert bpy.data.node_groups["Face Blur Solid"] == tree and "Mine" in tree.nodes


def test_a_cover_has_no_animation_data(tmp_path: Path) -> None:
    size = (320, 240)
    scene: Any = build_project(write_astronaut(tmp_path, size), _document(size, 40), EffectSettings("mosaic"))
    assert scene.animation_data is None
    assert all(group.animation_data is None for group in bpy.data.node_groups)


@pytest.mark.parametrize("effect", ["mosaic", "solid"])
def test_a_picture_keeps_its_transparency_outside_of_covers(effect: str, tmp_path: Path) -> None:
    import cv2

    from blender_faceblur.blender.rendering.render import RenderSettings, render_still

    size = (320, 240)
    path = write_astronaut(tmp_path, size)
    alpha = np.tile(np.linspace(0, 255, size[0]).astype(np.uint8), (size[1], 1))
    cv2.imwrite(str(path), np.dstack([cv2.imread(str(path)), alpha]))
    document = _document(size, 40)
    scene = build_project(path, document, EffectSettings(effect, "00FF00"))
    render_still(scene, RenderSettings(tmp_path / "out.png"), "RGBA", 8)
    result = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert result.shape == (240, 320, 4)
    face = document.tracks[0].samples[0].ellipse
    y, x = np.mgrid[0:240, 0:320]
    outside = np.hypot(x - face.cx, y - face.cy) > 60
    outside[:2, -2:] = False  # the corner that Blender 5.0.1 leaves out of every mask
    assert np.abs(result[..., 3].astype(int) - alpha)[outside].max() <= 1
    if effect == "solid":
        assert result[int(face.cy), int(face.cx)].tolist() == [0, 255, 0, 255]


def test_gaussian_is_as_wide_as_a_sample_and_preserves_brightness(tmp_path: Path) -> None:
    import cv2

    size = (640, 360)
    path = tmp_path / "edge.png"
    picture = np.full((360, 640, 3), 30, np.uint8)
    picture[:, 320:] = 220
    cv2.imwrite(str(path), picture)
    shown = _render_whole(path, _document(size, 90), EffectSettings("gaussian"), tmp_path)
    assert np.abs(shown[:, :40] - 30).max() <= 1 and np.abs(shown[:, -40:] - 220).max() <= 1, (
        "the picture's edge is darkened"
    )
    linear = ((shown[180, :, 0] / 255 + 0.055) / 1.055) ** 2.4
    bell = np.diff(linear)
    x = np.arange(639) + 1 - 320
    width = np.sqrt((bell * x**2).sum() / bell.sum())
    assert width == pytest.approx(size[0] / compute_grid(size, 90, 6)[0], rel=0.1)


def _write_disks(folder: Path, places: list[tuple[float, float, float]]) -> tuple[Path, TrackDocument]:
    """A grey picture of 640 x 360, covered by disks (x, y, radius; the margin included)."""
    import cv2

    path = folder / "grey.png"
    cv2.imwrite(str(path), np.full((360, 640, 3), 128, np.uint8))
    tracks = [
        Track(f"Face {n:02d}", [Sample(0, Ellipse(x, y, r / 1.4, r / 1.4), Evidence.DETECTED, 1.0)])
        for n, (x, y, r) in enumerate(places, 1)
    ]
    source = SourceInfo("grey.png", "image", 640, 360, 1, Fraction(24), "0" * 64)
    return path, TrackDocument(source, "balanced", 1.4, [], [], tracks, [])


def _write_sticker(folder: Path) -> Path:
    """A red disk that fills the picture, with a green right half."""
    import cv2

    sticker = np.zeros((128, 128, 4), np.uint8)
    cv2.circle(sticker, (64, 64), 63, (0, 0, 255, 255), -1)
    sticker[:, 64:, :2] = sticker[:, 64:, 2:3] * np.array([0, 1])
    sticker[:, 64:, 2] = 0
    cv2.imwrite(str(folder / "sticker.png"), sticker)
    return folder / "sticker.png"


def test_each_face_has_a_sticker_of_its_size(tmp_path: Path) -> None:
    places = [(150.0, 200.0, 70.0), (430.0, 120.0, 24.0), (600.0, 300.0, 30.0)]
    path, document = _write_disks(tmp_path, places)
    scene = build_project(path, document, EffectSettings("image", "0000FF", image=str(_write_sticker(tmp_path))))
    shown = disks.render_frame(scene, 1, tmp_path / "out.png").astype(int)
    y, x = np.mgrid[0:360, 0:640] + 0.5
    covered = np.zeros((360, 640), bool)
    for cx, cy, radius in places:
        near = np.hypot(x - cx, y - cy) < radius
        covered |= np.hypot(x - cx, y - cy) < 1.35 * radius + 4
        red = near & (shown[..., 0] > 200) & (shown[..., 2] < 60)
        green = near & (shown[..., 1] > 200) & (shown[..., 2] < 60)
        blue = near & (shown[..., 2] > 200)
        # Every pixel of the cover is red, green or blue, and the sticker's halves meet in its centre.
        assert (red | green | blue).sum() > 0.93 * near.sum()
        assert 0.6 < (red | green).sum() / near.sum() < 1
        middle = x[red | green].mean(), y[red | green].mean()
        assert np.hypot(middle[0] - cx, middle[1] - cy) < 0.08 * radius + 1
        assert abs((x[red].max() + x[green].min()) / 2 - cx) < 0.1 * radius + 1
    assert np.abs(shown - 128)[~covered][:, :].max(axis=1).sum() < 400, "pixels outside of the covers changed"


@pytest.mark.parametrize("how", ["never there", "removed", "file lost"])
def test_without_its_sticker_a_cover_has_one_colour(how: str, tmp_path: Path) -> None:
    path, document = _write_disks(tmp_path, [(300.0, 180.0, 60.0)])
    sticker = _write_sticker(tmp_path)
    name = "" if how == "never there" else str(sticker)
    scene = build_project(path, document, EffectSettings("image", "0000FF", image=name))
    if how == "removed":
        bpy.data.images.remove(bpy.data.images["sticker.png"])
    if how == "file lost":
        bpy.data.images["sticker.png"].unpack(method="REMOVE")
        sticker.unlink()
        bpy.data.images["sticker.png"].reload()
    shown = disks.render_frame(scene, 1, tmp_path / "out.png").astype(int)
    y, x = np.mgrid[0:360, 0:640] + 0.5
    near = np.hypot(x - 300, y - 180) < 60
    assert np.abs(shown[near] - (0, 0, 255)).max() <= 1


def test_a_sticker_is_packed_into_the_project(tmp_path: Path) -> None:
    path, document = _write_disks(tmp_path, [(300.0, 180.0, 60.0)])
    build_project(path, document, EffectSettings("image", image=str(_write_sticker(tmp_path))))
    assert bpy.data.images["sticker.png"].packed_file is not None


@pytest.mark.parametrize("effect", ["mosaic", "solid", "erase"])
def test_inverse_covers_everything_but_the_faces(effect: str, tmp_path: Path) -> None:
    size = (640, 360)
    path = write_astronaut(tmp_path, size)
    document = _document(size, 90)
    bare = disks.render_frame(build_project(path, document, None), 1, tmp_path / "a.png").astype(int)
    scene = build_project(path, document, EffectSettings(effect, "0000FF", inverse=True))
    shown = disks.render_frame(scene, 1, tmp_path / "b.png").astype(int)
    face = document.tracks[0].samples[0].ellipse
    y, x = np.mgrid[0:360, 0:640] + 0.5
    away = np.hypot((x - face.cx) / face.rx, (y - face.cy) / face.ry)
    changed = np.abs(shown - bare).max(axis=2)
    changed[:2, -2:] = 255  # the corner that Blender 5.0.1 leaves out of every mask
    assert changed[away < 1.38].max() <= 1
    assert np.median(changed[away > 1.75]) > 5
    if effect == "solid":
        beyond = away > 1.75
        beyond[:2, -2:] = False
        assert np.abs(shown[beyond] - (0, 0, 255)).max() <= 1


@pytest.mark.parametrize("lost", ["mask strip", "picture layer", "all layers", "no face"])
def test_inverse_shows_nothing_if_the_mask_is_lost(lost: str, tmp_path: Path) -> None:
    size = (320, 240)
    document = _document(size, 40)
    if lost == "no face":
        document.tracks.clear()
    scene = build_project(write_astronaut(tmp_path, size), document, EffectSettings("solid", "0000FF", inverse=True))
    mask = bpy.data.masks[0]
    if lost == "mask strip":
        from blender_faceblur.blender.cover.strips import remove_strip

        remove_strip(scene, next(strip for strip in scene.sequence_editor.strips if strip.type == "MASK"))
    elif lost == "picture layer":
        mask.layers[PICTURE_LAYER].hide_render = True
    elif lost == "all layers":
        mask.layers.clear()
        mask.update_tag()
    with disks.without_guard():
        shown = disks.render_frame(scene, 1, tmp_path / "out.png").astype(int)
    assert np.abs(shown - (0, 0, 255))[2:, :-2].max() <= 1


@pytest.mark.parametrize("name", ["Face Blur: Mosaic", "Face Blur: Solid", "Face Blur: Erase"])
def test_an_effect_of_the_library_covers_without_the_extension(name: str, tmp_path: Path) -> None:
    from blender_faceblur.blender.common.marks import get_modifier
    from blender_faceblur.blender.cover.strips import cover_strip
    from tools.library import build_library

    library = tmp_path / "library.blend"
    build_library(library)
    film = disks.write_film(tmp_path / "disk.mp4")
    size = (disks.WIDTH, disks.HEIGHT)
    document = disks.build_document(film)
    scene = build_project(film, document, None)
    with bpy.data.libraries.load(str(library), assets_only=True) as (there, wanted):
        assert len(there.node_groups) == 6
        wanted.node_groups = [name]
    group = wanted.node_groups[0]
    inputs = [item for item in group.interface.items_tree if item.in_out == "INPUT"]
    assert group.asset_data.description and all(item.description for item in inputs)
    effect = next(node for node in group.nodes if getattr(node, "node_tree", None) and "Mask" not in node.inputs)
    inputs = [item for item in effect.node_tree.interface.items_tree if item.in_out == "INPUT"]
    assert all(item.description for item in inputs)
    if "Columns" in effect.inputs:
        effect.inputs["Columns"].default_value, effect.inputs["Rows"].default_value = 2, 2
    strip = scene.sequence_editor.strips[0]
    mask = write_mask(document, compute_mask_unit_px(size, size))
    cover_strip(scene, strip, mask, group)
    assert get_modifier(strip) is None, "the extension does not manage a group that an editor uses"
    for frame in (1, 20, 40):
        assert disks.see(disks.render_frame(scene, frame, tmp_path / "x.png")).disk == 0
    bpy.data.masks[0].layers[PICTURE_LAYER].hide_render = True
    bare = disks.render_frame(scene, 20, tmp_path / "x.png")
    assert np.ptp(bare[10:-10, 10:-10].reshape(-1, 3), axis=0).max() < 60, "a lost mask covers everything"


@pytest.mark.parametrize(("size", "whole_head", "expected"), [(1.4, False, 1.4), (1.4, True, 1.8), (2.5, True, 2.5)])
def test_whole_head_sets_a_minimum_margin(size: float, whole_head: bool, expected: float) -> None:
    from types import SimpleNamespace

    from blender_faceblur.blender.detection.properties import read_detection_settings

    scene: Any = SimpleNamespace(
        faceblur=SimpleNamespace(
            preset="fast", expansion=size, whole_head=whole_head, find_plates=False, find_text=False
        )
    )
    assert read_detection_settings(scene).margin == expected
