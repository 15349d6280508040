# SPDX-License-Identifier: GPL-3.0-or-later
"""The painted effects: what they leave of a picture, and that a region is painted like the whole picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.cover.effects import EffectSettings, compute_grid
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.painting.effects import Floats, Region, make_effect

KINDS = ("solid", "mosaic", "blur", "gaussian", "erase", "image")
SAMPLED = ("mosaic", "blur", "gaussian")

Cover = tuple[float, float, float]
"""Centre (x, y) and radius of a round cover, in pixels."""


def _draw_picture(size: tuple[int, int]) -> Floats:
    """Smooth shapes under fine noise, different everywhere."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / 40
    waves = np.stack((np.sin(x + y), np.cos(x * 1.3 - y), np.sin(y * 0.7)), axis=2) * 0.3 + 0.5
    return np.asarray(np.clip(waves + rng.normal(0, 0.15, waves.shape), 0, 1), np.float32)


def _draw_shown(size: tuple[int, int], *covers: Cover) -> Floats:
    """0 within the covers, with an edge that is four pixels wide around them."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    shown = np.ones((size[1], size[0]))
    for cx, cy, radius in covers:
        shown = np.minimum(shown, np.clip((np.hypot(x - cx, y - cy) - radius) / 4, 0, 1))
    return np.asarray(shown, np.float32)


def _draw_sticker() -> NDArray[np.uint8]:
    """Red, with a green right half."""
    sticker = np.full((64, 64, 4), 255, np.uint8)
    sticker[:, :32, 1:3] = 0
    sticker[:, 32:, (0, 2)] = 0
    return sticker


def _paint(kind: str, rgb: Floats, shown: Floats, face_px: float, samples: float = 6.0) -> Floats:
    """The effect over a whole picture."""
    size = (rgb.shape[1], rgb.shape[0])
    effect = make_effect(EffectSettings(kind, "1A80F3", samples), _draw_sticker())
    return effect.paint(Region(rgb, shown, (0, 0), size, face_px))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "cover", "others"),
    [
        ((640, 360), (300.0, 180.0, 50.0), [(480.0, 100.0, 30.0)]),
        ((360, 640), (350.0, 630.0, 40.0), [(100.0, 200.0, 60.0)]),
        ((641, 361), (5.0, 100.0, 30.0), []),
        ((1280, 720), (640.0, 300.0, 35.0), [(700.0, 380.0, 40.0)]),
    ],
)
def test_a_region_is_painted_like_the_whole_picture(
    kind: str, size: tuple[int, int], cover: Cover, others: list[Cover]
) -> None:
    face_px = size[1] / 8
    rgb, shown = _draw_picture(size), _draw_shown(size, cover, *others)
    effect = make_effect(EffectSettings(kind, "1A80F3", 5.0), _draw_sticker())
    whole = effect.paint(Region(rgb, shown, (0, 0), size, face_px))
    margin = effect.compute_margin(size, face_px)
    around = [
        (max(int(middle - cover[2]) - 4, 0), min(int(middle + cover[2]) + 5, side))
        for middle, side in zip(cover[:2], size, strict=True)
    ]
    left, top = (max(low - margin, 0) for low, _ in around)
    right, bottom = (min(high + margin, side) for (_, high), side in zip(around, size, strict=True))
    if kind in SAMPLED and size == (1280, 720):
        assert (right - left) * (bottom - top) < 0.5 * size[0] * size[1], "the margin is almost the whole picture"
    part = Region(rgb[top:bottom, left:right], shown[top:bottom, left:right], (left, top), size, face_px)
    painted = effect.paint(part)
    assert painted.shape == part.rgb.shape and painted.dtype == np.float32
    (x0, x1), (y0, y1) = around
    apart = np.abs(painted[y0 - top : y1 - top, x0 - left : x1 - left] - whole[y0:y1, x0:x1])
    assert apart.max() <= 0.1 / 255


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_painted_like_the_whole_region(kind: str) -> None:
    size, parts = (641, 361), [(0, 0, 60, 50), (300, 101, 420, 240), (590, 300, 641, 361)]
    effect = make_effect(EffectSettings(kind, "1A80F3", 5.0), _draw_sticker())
    shown = _draw_shown(size, (25.0, 20.0, 20.0), (360.0, 170.0, 50.0), (620.0, 340.0, 15.0))
    region = Region(_draw_picture(size), shown, (0, 0), size, 70)
    whole = effect.paint(region)
    for (x1, y1, x2, y2), painted in zip(parts, effect.paint_parts(region, parts), strict=True):
        assert painted.shape == (y2 - y1, x2 - x1, 3) and painted.dtype == np.float32
        assert np.abs(painted - whole[y1:y2, x1:x2]).max() <= 0.1 / 255


@pytest.mark.parametrize("kind", [*SAMPLED, "erase"])
def test_levels_are_painted_like_floats(kind: str) -> None:
    size = (640, 360)
    levels = np.rint(_draw_picture(size) * 255).astype(np.uint8)
    shown = _draw_shown(size, (300.0, 150.0, 70.0))
    effect = make_effect(EffectSettings(kind))
    of_bytes = effect.paint(Region(levels, shown, (0, 0), size, 90))
    of_floats = effect.paint(Region(levels / np.float32(255), shown, (0, 0), size, 90))
    assert np.abs(of_bytes - of_floats).max() <= 0.1 / 255
    assert np.ptp(of_bytes) > 0.1


@pytest.mark.parametrize("kind", [*SAMPLED, "erase"])
@pytest.mark.parametrize("size", [(640, 360), (333, 517)])
def test_an_even_picture_keeps_its_colour_up_to_the_edges(kind: str, size: tuple[int, int]) -> None:
    rgb = np.full((size[1], size[0], 3), (0.1, 0.5, 0.9), np.float32)
    painted = _paint(kind, rgb, _draw_shown(size, (0.0, 0.0, 60.0), (200.0, 200.0, 80.0)), 60)
    assert np.abs(painted - rgb).max() < 0.3 / 255


@pytest.mark.parametrize("kind", SAMPLED)
def test_light_is_averaged_in_linear_light(kind: str) -> None:
    black_or_white = np.random.default_rng(2).integers(0, 2, (360, 640, 1)).astype(np.float32)
    painted = _paint(kind, np.repeat(black_or_white, 3, axis=2), _draw_shown((640, 360)), 90)
    # Half the light of white is 188 of 255.
    assert painted.mean() * 255 == pytest.approx(187.5, abs=2)


@pytest.mark.parametrize(
    ("size", "face_px", "samples"), [((640, 360), 90, 6), ((641, 361), 45, 3), ((360, 640), 80, 8)]
)
def test_mosaic_blocks_are_the_cells_of_the_grid(size: tuple[int, int], face_px: float, samples: float) -> None:
    painted = _paint("mosaic", _draw_picture(size), _draw_shown(size), face_px, samples)
    for axis, (count, length) in enumerate(zip(compute_grid(size, face_px, samples), size, strict=True)):
        changes = np.abs(np.diff(painted, axis=1 - axis)).max(axis=(axis, 2)) > 1e-4
        edges = np.flatnonzero(changes) + 1
        assert len(edges) == count - 1
        assert np.abs(edges - np.arange(1, count) * length / count).max() <= 1
        assert np.diff(edges).min() >= face_px / samples - 1


@pytest.mark.parametrize("size", [(640, 360), (641, 361)])
def test_blocks_lie_over_what_they_hide(size: tuple[int, int]) -> None:
    linear = np.linspace(0.1, 0.9, size[0])
    encoded = 1.055 * linear ** (1 / 2.4) - 0.055
    rgb = np.tile(encoded[None, :, None], (size[1], 1, 3)).astype(np.float32)
    painted = _paint("mosaic", rgb, _draw_shown(size), 90)[size[1] // 2, :, 0]
    found = ((painted + 0.055) / 1.055) ** 2.4
    edges = np.flatnonzero(np.diff(painted)) + 1
    for start, stop in pairwise(edges[2:-2]):
        assert found[start] == pytest.approx(linear[start:stop].mean(), abs=1.2 * 0.8 / size[0])


@pytest.mark.parametrize("kind", SAMPLED)
def test_no_detail_of_a_third_of_a_sample_survives(kind: str) -> None:
    face_px, samples = 180.0, 6.0
    size = (640, 360)
    x = np.arange(size[0])
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * x / (face_px / samples / 3))
    rgb = np.tile(wave[None, :, None], (size[1], 1, 3)).astype(np.float32)
    painted = _paint(kind, rgb, _draw_shown(size), face_px, samples)[:, 120:-120]
    assert np.ptp(rgb[:, 120:-120]) > 0.7
    assert np.ptp(painted) < 0.05


def test_erase_uses_only_what_is_shown() -> None:
    size = (640, 360)
    shown = _draw_shown(size, (300.0, 150.0, 70.0), (600.0, 350.0, 40.0))
    rgb = _draw_picture(size)
    another = rgb.copy()
    another[shown == 0] = np.random.default_rng(1).random(((shown == 0).sum(), 3))
    first, second = (_paint("erase", picture, shown, 90) for picture in (rgb, another))
    assert (first == second).all()
    assert np.abs(first[150, 300] - rgb[60:240, 200:400].mean(axis=(0, 1))).max() < 0.25


@pytest.mark.parametrize("shown", [0.0, 1.0])
def test_erase_copes_with_pictures_that_are_covered_or_shown_completely(shown: float) -> None:
    rgb = _draw_picture((320, 240))
    painted = _paint("erase", rgb, np.full((240, 320), shown, np.float32), 40)
    assert np.isfinite(painted).all()
    assert (painted.max() > 0.2) == (shown == 1)


def test_solid_is_exactly_its_colour() -> None:
    painted = _paint("solid", _draw_picture((64, 48)), _draw_shown((64, 48)), 10)
    assert (np.rint(painted * 255) == (0x1A, 0x80, 0xF3)).all()
    assert not make_effect(EffectSettings("solid")).uses_picture and make_effect(EffectSettings("mosaic")).uses_picture


def test_each_cover_has_a_sticker_of_its_size() -> None:
    size = (640, 360)
    covers = [(150.0, 200.0, 70.0), (430.0, 120.0, 24.0)]
    painted = _paint("image", _draw_picture(size), _draw_shown(size, *covers), 100) * 255
    y, x = np.mgrid[0:360, 0:640] + 0.5
    for cx, cy, radius in covers:
        near = np.hypot(x - cx, y - cy) < radius
        red, green = (near & (painted[..., channel] > 200) & (painted[..., 2] < 60) for channel in (0, 1))
        assert x[red].max() < x[green].min()
        assert (x[red].max() + x[green].min()) / 2 == pytest.approx(cx, abs=0.05 * radius)
        # A square whose side is the diameter times 0.92, measured with the soft edge.
        side = np.ptp(y[(red | green) & (np.abs(x - cx) < 0.3 * radius)]) + 1
        assert side == pytest.approx(2 * radius * 0.92, rel=0.12)
        assert (red | green).sum() > 0.9 * near.sum()


def test_a_transparent_sticker_shows_the_colour_and_never_the_picture() -> None:
    size = (640, 360)
    shown = _draw_shown(size, (300.0, 150.0, 70.0))
    sticker = np.zeros((20, 30, 4), np.uint8)
    sticker[..., :3] = 255
    for effect in (
        make_effect(EffectSettings("image", "1A80F3"), sticker),
        make_effect(EffectSettings("image", "1A80F3", image="lost.png")),
    ):
        assert not effect.uses_picture
        painted = effect.paint(Region(_draw_picture(size), shown, (0, 0), size, 100))
        assert np.abs(painted * 255 - (0x1A, 0x80, 0xF3)).max() < 0.5


@pytest.mark.parametrize("kind", ["pixelate", "", "Solid"])
def test_an_unknown_effect_is_refused(kind: str) -> None:
    with pytest.raises(FaceBlurError, match="There is no effect"):
        make_effect(EffectSettings(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_invalid_colour_is_refused(kind: str) -> None:
    with pytest.raises(FaceBlurError, match="not a colour"):
        make_effect(EffectSettings(kind, "#12345"))
