# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of a cover's strength counts correctly, and its attacks work as described."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.attacks import (
    ATTACKS,
    Setting,
    deconvolve,
    deconvolve_sum,
    list_values,
    show_only_covered,
    sum_shot,
)
from benchmarks.obscuring import SPREAD, draw_cover, imitate, spread_splines, to_levels, to_linear
from benchmarks.portraits import (
    FACE_PX,
    TILE_PX,
    Tile,
    compare_photographs,
    compute_middle,
    match_colours,
)
from benchmarks.strength import AttackResult, compute_bound, count_hits
from blender_faceblur.core.types import Picture

POINTS = np.array([(-14, -12), (14, -12), (0, 3), (-11, 18), (11, 18)], np.float64) + compute_middle()


def draw_tile(seed: int, fine: float = 3) -> Picture:
    """A picture with spots of about `fine` pixels."""
    noise = np.random.default_rng(seed).normal(size=(TILE_PX, TILE_PX, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), fine)
    return np.asarray(np.clip(128 + 50 * soft / soft.std(), 0, 255), np.uint8)


def cover(tile: Picture, setting: Setting) -> Picture:
    done = to_levels(imitate(to_linear(tile), setting.kind, setting.samples))
    return np.where(draw_cover()[..., None], done, tile)


def compute_error(picture: Picture, tile: Picture) -> float:
    return float(np.abs(picture.astype(int) - tile)[draw_cover()].mean())


def test_matches_are_counted_and_ties_do_not_count() -> None:
    apart = np.full((4, 4), 1.0, np.float32) - 0.5 * np.eye(4, dtype=np.float32)
    assert count_hits(apart) == (4, 4)
    apart[2, 3] = 0.4
    assert count_hits(apart)[0] == 3
    assert count_hits(np.zeros((5, 5), np.float32)) == (0, 0)


def test_guesses_stay_within_the_bound_for_chance() -> None:
    rng = np.random.default_rng(2)
    for trials, chance in ((200, 1 / 200), (200, 0.01), (100, 0.2)):
        beyond = (rng.binomial(trials, chance, 20000) > compute_bound(trials, chance)).mean()
        assert beyond <= 0.002
        assert (rng.binomial(trials, chance, 20000) > compute_bound(trials, chance) - 1).mean() > 0.0005


def test_strangers_are_at_chance_and_the_same_people_are_not() -> None:
    rng = np.random.default_rng(7)
    probes, gallery = rng.normal(size=(2, 200, 16)).astype(np.float32)
    for own, chance in ((gallery, True), (probes + 0.1 * gallery, False)):
        hits = count_hits(np.linalg.norm(probes[:, None] - own[None], axis=2).astype(np.float32))
        assert AttackResult("", "", "", 200, *hits).at_chance() is chance


def test_blocks_are_means_of_the_pixels_in_and_around_them() -> None:
    tile = to_linear(draw_tile(1))
    for samples in (4, 6, 16):
        count = 3 * samples
        block = TILE_PX // count
        if TILE_PX % count:
            continue
        soft = cv2.GaussianBlur(tile, (0, 0), SPREAD * block, borderType=cv2.BORDER_REPLICATE)
        means = soft.reshape(count, block, count, block, 3).mean(axis=(1, 3))
        assert np.abs(imitate(tile, "mosaic", samples)[block // 2 :: block, block // 2 :: block] - means).max() < 1e-5


def test_splines_keep_a_flat_picture_and_a_slope() -> None:
    matrix = spread_splines(12, 8)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-6) and (matrix >= 0).all()
    at = (np.arange(96) + 0.5) / 8 - 0.5
    assert np.allclose((matrix @ np.arange(12))[16:-16], at[16:-16], atol=1e-5)


def test_colours_survive_the_way_to_linear_light_and_back() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    assert (to_levels(to_linear(levels)) == levels).all()


def test_frames_of_a_moving_shot_show_more_than_one_of_a_blur_but_not_of_a_mosaic() -> None:
    tile = draw_tile(3, fine=8)
    for kind, most in (("blur", 0.75), ("mosaic", 1.0)):
        setting = Setting(kind, 6)
        covered = cover(tile, setting)
        shown = compute_error(deconvolve_sum(sum_shot(tile, covered, setting), setting), tile)
        assert shown < most * compute_error(covered, tile)
        assert kind == "blur" or shown > 0.95 * compute_error(deconvolve(covered, setting), tile)
    outside = ~draw_cover()
    for attack in ATTACKS.values():
        assert (attack(covered, setting)[outside] == tile[outside]).all()


def test_only_covered_pixels_are_compared() -> None:
    setting = Setting("solid", 0)
    one, other = (np.where(draw_cover()[..., None], np.uint8(0), draw_tile(seed)) for seed in (4, 5))
    assert not list_values(one, setting).any()
    assert (show_only_covered(one) == show_only_covered(other)).all()
    blocks = [list_values(cover(draw_tile(seed, 8), Setting("mosaic", 6)), Setting("mosaic", 6)) for seed in (4, 5)]
    assert blocks[0] @ blocks[0] == pytest.approx(1) and abs(blocks[0] @ blocks[1]) < 0.5


def test_a_mirrored_copy_is_the_same_photograph() -> None:
    tile = Tile(draw_tile(8, 6), POINTS)
    turned = POINTS.copy()
    turned[:, 0] = TILE_PX - turned[:, 0]
    mirrored = Tile(np.ascontiguousarray(tile.picture[:, ::-1]), turned[[1, 0, 2, 4, 3]])
    assert compare_photographs(tile, mirrored) > 0.9
    assert compare_photographs(tile, Tile(draw_tile(9, 6), POINTS)) < 0.6


def test_both_pictures_become_grey_where_one_is() -> None:
    grey = Tile(np.full((TILE_PX, TILE_PX, 3), 90, np.uint8), POINTS)
    colours = Tile(draw_tile(10), POINTS)
    assert np.ptp(match_colours([colours, grey])[0].picture, axis=2).max() == 0
    assert match_colours([colours, colours])[0] is colours


def test_a_face_lies_inside_its_tile_and_cover() -> None:
    inside = draw_cover()
    assert inside[tuple(POINTS.astype(int).T[::-1])].all() and not inside[0].any() and not inside[:, -1].any()
    assert inside.any(axis=0).sum() == pytest.approx(1.4 * FACE_PX, abs=2)
